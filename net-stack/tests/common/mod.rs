//! Stacks that are joined by wires, and a clock that goes from event to event.

#![allow(dead_code, reason = "each test uses a part")]

use core::net::{IpAddr, SocketAddr};

use chitin_abi::Errno;
use chitin_net_stack::link::{Faults, Wire, flatten};
use chitin_net_stack::wire::ethernet::Mac;
use chitin_net_stack::{
    Checksum, InterfaceConfig, InterfaceId, Medium, SocketId, Stack, TcpOptions,
};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1000 * MS;

/// Two stacks on one link.
pub struct Net {
    pub stacks: [Stack; 2],
    pub wires: [Wire; 2],
    pub interface: InterfaceId,
    pub now: u64,
    /// Frames that were carried, and the longest.
    pub frames: [u64; 2],
    pub longest: usize,
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn ethernet(number: u8, mtu: u32) -> InterfaceConfig {
    InterfaceConfig {
        name: "eth0".into(),
        medium: Medium::Ethernet(Mac([2, 0, 0, 0, 0, number])),
        mtu,
        checksum_offload: false,
        segment_offload: 0,
    }
}

impl Net {
    pub fn new(faults: Faults, seed: u64) -> Self {
        Self::with_mtu(faults, seed, 1500)
    }

    pub fn with_mtu(faults: Faults, seed: u64, mtu: u32) -> Self {
        let mut stacks = [Stack::new(seed), Stack::new(seed + 1)];
        let mut interface = 0;
        for (number, stack) in (1_u8..).zip(&mut stacks) {
            interface = stack.add_interface(ethernet(number, mtu));
            stack.add_address(interface, IpAddr::from([10, 0, 0, number]), 24).unwrap();
            stack.add_address(interface, ip(&format!("fd00::{number}")), 64).unwrap();
        }
        let wires = [Wire::new(faults, seed), Wire::new(faults, seed + 7)];
        Self { stacks, wires, interface, now: SECOND, frames: [0; 2], longest: 0 }
    }

    /// Moves frames between stacks and wires, at the time that it is, until none moves.
    fn carry(&mut self) {
        while self.carry_once() {}
    }

    fn carry_once(&mut self) -> bool {
        let mut moved = false;
        for side in 0..2 {
            while let Some(frame) = self.stacks[side].transmit(self.interface) {
                let frame = flatten(&frame).unwrap();
                self.frames[side] += 1;
                moved = true;
                self.longest = self.longest.max(frame.len());
                self.wires[side].send(frame, self.now);
            }
        }
        for side in 0..2 {
            while let Some(frame) = self.wires[1 - side].receive(self.now) {
                self.stacks[side].receive(self.interface, &frame, Checksum::Verify, self.now);
                moved = true;
            }
        }
        moved
    }

    /// Goes on to the next event, at most until `until`; false when there is none before.
    pub fn step(&mut self, until: u64) -> bool {
        self.carry();
        let stacks = self.stacks.iter().filter_map(Stack::deadline);
        let wires = self.wires.iter().filter_map(Wire::deadline);
        let Some(next) = stacks.chain(wires).min().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            for stack in &mut self.stacks {
                stack.set_time(self.now);
            }
            return false;
        };
        self.now = self.now.max(next);
        for stack in &mut self.stacks {
            stack.advance(self.now);
        }
        self.carry();
        true
    }

    /// Lets time pass.
    pub fn run(&mut self, time: u64) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Lets time pass until something holds.
    pub fn until(&mut self, time: u64, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now + time;
        loop {
            if holds(self) {
                return true;
            }
            if !self.step(until) {
                return holds(self);
            }
        }
    }

    /// A connection from the first stack to the second.
    pub fn connect(&mut self, options: TcpOptions, at: &str) -> (SocketId, SocketId) {
        let options = TcpOptions { v6: address(at).is_ipv6(), ..options };
        let server = self.stacks[1].tcp_open(options);
        self.stacks[1].bind(server, address(at), false).unwrap();
        self.stacks[1].listen(server, 8).unwrap();
        let client = self.stacks[0].tcp_open(options);
        let now = self.now;
        assert_eq!(self.stacks[0].connect(client, address(at), now), Err(Errno::EINPROGRESS));
        let mut accepted = None;
        assert!(self.until(100 * SECOND, |net| {
            accepted = accepted.or(net.stacks[1].accept(server).ok());
            accepted.is_some()
        }));
        assert!(self.until(100 * SECOND, |net| net.stacks[0].connect_result(client).is_ok()));
        let now = self.now;
        self.stacks[1].close(server, now);
        (client, accepted.unwrap())
    }

    pub fn receive(&mut self, side: usize, id: SocketId, most: usize) -> Result<Vec<u8>, Errno> {
        let mut got = Vec::new();
        let mut take = |bytes: &[u8]| {
            got.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        self.stacks[side].tcp_receive(id, most, false, 0, &mut take).map(|_| got)
    }

    /// Sends data from one side's socket to the other's; says how long it took.
    pub fn transfer(
        &mut self,
        from: (usize, SocketId),
        to: SocketId,
        data: &[u8],
        time: u64,
    ) -> u64 {
        let (side, id) = from;
        let start = self.now;
        let (mut sent, mut got) = (0, Vec::with_capacity(data.len()));
        let done = self.until(time, |net| {
            let now = net.now;
            while sent < data.len() {
                let end = data.len().min(sent + 65536);
                match net.stacks[side].tcp_send(id, &data[sent..end], now) {
                    Ok(count) => sent += count,
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => panic!("send: {errno:?}"),
                }
            }
            while let Ok(bytes) = net.receive(1 - side, to, 1 << 20) {
                assert!(!bytes.is_empty(), "an early end");
                got.extend(bytes);
            }
            got.len() >= data.len()
        });
        assert!(done, "{} of {} bytes after {} ms", got.len(), data.len(), time / MS);
        assert!(got == data, "the data are not what was sent");
        self.now - start
    }
}

pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index ^ index >> 8 ^ index >> 16) as u8).collect()
}
