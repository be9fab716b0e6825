//! What a fuzzer runs: the bodies of fuzz targets, as ordinary functions.

use chitin_abi::{GuestAddr, Regs};
use chitin_mm::platform::Event;

use crate::code::Identity;
use crate::code::functions::cpuids;
use crate::frame::Channel;
use crate::layout::{self, CHANNEL_LEN, channel};
use crate::luggage::{self, Luggage};
use crate::raw::arena::Arena;
use crate::xstate::Shape;

const OWN: Channel = Channel { offset: CHANNEL_LEN, address: layout::CHANNELS + CHANNEL_LEN };
const SHAPE: Shape = Shape { features: 0xe7, size: 2696, mxcsr_mask: 0xffff };

/// Checks that an extended state from anywhere becomes one of the right size that is accepted again, or none.
///
/// # Panics
/// When something is wrong with the crate.
pub fn extended_state(data: &[u8]) {
    let Ok(state) = SHAPE.checked(data) else { return };
    assert_eq!(state.len(), SHAPE.size, "a state of another size");
    assert_eq!(SHAPE.checked(&state), Ok(state), "a checked state changes");
}

/// Looks for `cpuid` in the functions of a file with these contents; says how many there are. `None` where the host has no
/// memory for it.
///
/// # Panics
/// When something is wrong with the crate.
pub fn functions(data: &[u8]) -> Option<usize> {
    let file = rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    rustix::io::pwrite(&file, data, 0).ok().filter(|count| *count == data.len())?;
    let part = Identity::of(&file, 0, data.len() as u64)?;
    let places = cpuids(&file, &part, data);
    for place in &places {
        let bytes = usize::try_from(*place).ok().and_then(|place| data.get(place..place + 2));
        assert_eq!(bytes, Some(&[0x0f, 0xa2][..]), "no cpuid at {place}");
    }
    Some(places.len())
}

/// A channel between two others that a guest has filled with anything.
pub struct HostileChannel {
    arena: Arena,
    orders: Arena,
}

impl HostileChannel {
    /// One that is empty; `None` where the host has no memory for it.
    pub fn new() -> Option<Self> {
        let arena = Arena::new("fuzz", 3 * CHANNEL_LEN as usize, false).ok()?;
        let orders = Arena::new("fuzz", layout::CONFIG_LEN as usize, false).ok()?;
        luggage::configure(&orders);
        Some(Self { arena, orders })
    }

    /// The last bytes of a channel of a thread that has stopped for this signal.
    pub fn sample(&self, signal: i32) -> Vec<u8> {
        let arena = &self.arena;
        arena.clear(0, 3 * CHANNEL_LEN);
        let regs = Regs { rip: 0x40_1000, rsp: 0x7fff_0000, ..Regs::default() };
        OWN.prepare(arena, &SHAPE, &regs, &SHAPE.initial());
        arena.store32(OWN.offset + channel::HEADER + channel::SIGNAL, signal.cast_unsigned());
        let mut bytes = vec![0; 4096];
        arena.read(2 * CHANNEL_LEN - 4096, &mut bytes);
        bytes
    }

    /// Reads and writes everything that the sentry does in a channel whose last bytes are `data`.
    ///
    /// # Panics
    /// When something is wrong with the crate, also when a byte outside of the channel changes.
    pub fn run(&self, data: &[u8]) {
        let arena = &self.arena;
        let room = CHANNEL_LEN as usize;
        let data = data.get(..room).unwrap_or(data);
        let start = (CHANNEL_LEN - data.len() as u64) & !7;
        arena.clear(0, 3 * CHANNEL_LEN);
        arena.write(CHANNEL_LEN + start, data);
        let own = OWN;
        let mut regs = Regs::default();
        if let Some(stopped) = own.stopped(arena) {
            own.load_registers(arena, stopped.frame, stopped.event, &mut regs);
            own.store_registers(arena, stopped.frame, &regs);
        }
        if let Some(frame) = own.frame(arena) {
            own.load_registers(arena, frame, Event::Interrupted, &mut regs);
        }
        own.load_call(arena, &mut regs);
        let mut luggage = Luggage::default();
        let mut bytes = [0; 300];
        for number in [libc::SYS_openat, libc::SYS_write, libc::SYS_rename, libc::SYS_prlimit64] {
            regs.rax = number as u64;
            luggage.arrive(own, (&self.orders, arena), &regs);
            for start in regs.syscall_args() {
                let _ = luggage.read(own, arena, GuestAddr(start.wrapping_add(5)), &mut bytes);
                luggage.write(own, arena, GuestAddr(start), &bytes);
            }
            luggage.deliver(own, arena, |_, _| {});
        }
        let state = own.read_extended(arena, &SHAPE);
        if let Ok(state) = SHAPE.checked(&state) {
            own.write_extended(arena, &SHAPE, &state);
        }
        own.set_bases(arena, u64::MAX, 0);
        own.release(arena, channel::GO);
        let mut outside = vec![0; room];
        for offset in [0, 2 * CHANNEL_LEN] {
            arena.read(offset, &mut outside);
            assert!(outside.iter().all(|byte| *byte == 0), "a write outside of the channel");
        }
    }
}
