//! A hundred hosts on one switch that loses one frame in fifty: each fetches 20 kB from the next one. With a fixed seed, so
//! that every run is the same.
//!
//! `cargo run --release -p chitin-net-stack --example hundred_hosts`

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use chitin_net_stack::link::{Faults, Wire, flatten};
use chitin_net_stack::wire::ethernet::{self, Mac};
use chitin_net_stack::{
    Checksum, InterfaceConfig, InterfaceId, Medium, SocketId, Stack, TcpOptions,
};

const HOSTS: u8 = 100;
const LENGTH: usize = 20_000;
const MS: u64 = 1_000_000;

struct Host {
    stack: Stack,
    interface: InterfaceId,
    listener: SocketId,
    client: SocketId,
    served: Option<(SocketId, usize)>,
    got: usize,
    port: Wire,
}

impl Host {
    fn new(number: u8) -> Result<Self, chitin_abi::Errno> {
        let mut stack = Stack::new(number.into());
        let interface = stack.add_interface(InterfaceConfig {
            name: "eth0".into(),
            medium: Medium::Ethernet(Mac([2, 0, 0, 0, 0, number])),
            mtu: 1500,
            checksum_offload: false,
            segment_offload: 0,
        });
        stack.add_address(interface, IpAddr::from([10, 0, 0, number]), 24)?;
        let listener = stack.tcp_open(TcpOptions::default());
        stack.bind(listener, SocketAddr::from(([0, 0, 0, 0], 80)), false)?;
        stack.listen(listener, 8)?;
        let client = stack.tcp_open(TcpOptions::default());
        let next = if number == HOSTS { 1 } else { number + 1 };
        let _ = stack.connect(client, SocketAddr::from(([10, 0, 0, next], 80)), 0);
        let faults = Faults { delay: 2 * MS, loss: 20_000, rate: 12_500_000, ..Faults::default() };
        let port = Wire::new(faults, number.into());
        Ok(Self { stack, interface, listener, client, served: None, got: 0, port })
    }

    /// Serves whoever has connected, and reads what was asked for.
    fn work(&mut self, now: u64) {
        if self.served.is_none()
            && let Ok(connection) = self.stack.accept(self.listener)
        {
            self.served = Some((connection, 0));
        }
        if let Some((connection, sent)) = &mut self.served
            && *sent < LENGTH
            && let Ok(count) = self.stack.tcp_send(*connection, &vec![7; LENGTH - *sent], now)
        {
            *sent += count;
        }
        let got = &mut self.got;
        let mut take = |bytes: &[u8]| {
            *got += bytes.len();
            Ok(bytes.len())
        };
        let _ = self.stack.tcp_receive(self.client, LENGTH, false, 0, &mut take);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut hosts = (1..=HOSTS).map(Host::new).collect::<Result<Vec<_>, _>>()?;
    let (mut now, mut frames) = (0, 0_u64);
    while hosts.iter().any(|host| host.got < LENGTH) {
        // The switch: a frame goes to the port of its hardware address, or to all others.
        let mut sent: Vec<(usize, Bytes)> = Vec::new();
        for (from, host) in hosts.iter_mut().enumerate() {
            while let Some(frame) = host.stack.transmit(host.interface) {
                sent.extend(flatten(&frame).map(|bytes| (from, bytes)));
            }
        }
        frames += sent.len() as u64;
        for (from, bytes) in sent {
            let Some((header, _)) = ethernet::Repr::parse(&bytes) else { continue };
            for (number, host) in hosts.iter_mut().enumerate() {
                let is_its = header.to == Mac([2, 0, 0, 0, 0, number as u8 + 1]);
                if number != from && (is_its || header.to.is_multicast()) {
                    host.port.send(bytes.clone(), now);
                }
            }
        }
        for host in &mut hosts {
            while let Some(frame) = host.port.receive(now) {
                host.stack.receive(host.interface, &frame, Checksum::Verify, now);
            }
            host.work(now);
        }
        let deadlines = hosts.iter().filter_map(|host| host.stack.deadline());
        let arrivals = hosts.iter().filter_map(|host| host.port.deadline());
        now = deadlines.chain(arrivals).min().unwrap_or(now).max(now + 1000);
        for host in &mut hosts {
            host.stack.advance(now);
        }
    }
    let lost: u64 = hosts.iter().map(|host| host.port.lost).sum();
    println!("{HOSTS} hosts: done after {} ms, {frames} frames, {lost} lost", now / MS);
    Ok(())
}
