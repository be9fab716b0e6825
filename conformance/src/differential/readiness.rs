//! Operations on what one can wait for: pipes, socket pairs, event counters, `poll` and `epoll`.

use chitin_abi::fs::O_NONBLOCK;
use chitin_abi::poll::PollFd;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use serde::{Deserialize, Serialize};
use zerocopy::IntoBytes;

use super::table::{SLOTS, Slots, bytes, done, show};
use crate::suite::{Calls, Kernel, call};

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Pipe { read: u8, write: u8, packets: bool },
    Pair { one: u8, other: u8, kind: u32 },
    Counter { slot: u8, value: u32, semaphore: bool },
    Epoll { slot: u8 },
    Close { slot: u8 },
    Dup { from: u8, to: u8 },
    Read { slot: u8, count: u32 },
    Write { slot: u8, count: u32 },
    Add { slot: u8, value: u64 },
    Shutdown { slot: u8, how: u32 },
    PipeSize { slot: u8, size: u64 },
    Unread { slot: u8 },
    Poll { events: u16 },
    Control { epoll: u8, operation: u32, slot: u8, events: u32 },
    Wait { epoll: u8, most: u32 },
}

const POLL: [u16; 5] = [1, 4, 5, 0x2001, 0x0045];
/// Without and with edge triggering and one shot.
const EPOLL: [u32; 7] = [1, 4, 5, 0x8000_0001, 0x8000_0005, 0x4000_0005, 0x2001];

/// Any operation.
pub(super) fn operations() -> impl Strategy<Value = Operation> + 'static {
    use Operation as O;
    let slot = || 0..SLOTS;
    let count =
        || prop_oneof![4 => 0..16_u32, 2 => prop::sample::select(vec![4096, 5000, 65536, 70_000])];
    let sizes = prop::sample::select(vec![1, 4096, 8192, 65536, 100_000]);
    prop_oneof![
        2 => (slot(), slot(), any::<bool>())
            .prop_map(|(read, write, packets)| O::Pipe { read, write, packets }),
        1 => (slot(), slot(), prop::sample::select(vec![1, 2, 5]))
            .prop_map(|(one, other, kind)| O::Pair { one, other, kind }),
        1 => (slot(), 0..3_u32, any::<bool>())
            .prop_map(|(slot, value, semaphore)| O::Counter { slot, value, semaphore }),
        2 => slot().prop_map(|slot| O::Epoll { slot }),
        1 => slot().prop_map(|slot| O::Close { slot }),
        1 => (slot(), slot()).prop_map(|(from, to)| O::Dup { from, to }),
        4 => (slot(), count()).prop_map(|(slot, count)| O::Read { slot, count }),
        4 => (slot(), count()).prop_map(|(slot, count)| O::Write { slot, count }),
        1 => (slot(), prop_oneof![Just(1), Just(u64::MAX - 1), Just(u64::MAX)])
            .prop_map(|(slot, value)| O::Add { slot, value }),
        1 => (slot(), 0..4_u32).prop_map(|(slot, how)| O::Shutdown { slot, how }),
        1 => (slot(), sizes).prop_map(|(slot, size)| O::PipeSize { slot, size }),
        1 => slot().prop_map(|slot| O::Unread { slot }),
        3 => prop::sample::select(POLL.to_vec()).prop_map(|events| O::Poll { events }),
        6 => (slot(), 1..4_u32, slot(), prop::sample::select(EPOLL.to_vec()))
            .prop_map(|(epoll, operation, slot, events)| O::Control { epoll, operation, slot, events }),
        6 => (slot(), 0..6_u32).prop_map(|(epoll, most)| O::Wait { epoll, most }),
    ]
}

/// Runs operations.
pub(super) fn run(k: &dyn Kernel, operations: &[Operation]) -> Vec<String> {
    let mut slots = Slots::default();
    let mut lines: Vec<String> = vec![done(k.set_action(13, 1))];
    for operation in operations {
        let result = step(k, &mut slots, operation);
        lines.push(format!("{operation:?} -> {result}"));
    }
    lines.push(poll(k, &slots, 0x2045));
    slots.close_all(k);
    lines
}

fn step(k: &dyn Kernel, slots: &mut Slots, operation: &Operation) -> String {
    use Operation as O;
    match *operation {
        O::Pipe { read, write, packets } => {
            let flags = O_NONBLOCK | if packets { chitin_abi::fs::O_DIRECT } else { 0 };
            both(k, slots, (read, write), k.pipe2(flags))
        }
        O::Pair { one, other, kind } => {
            const NONBLOCK: u32 = O_NONBLOCK;
            let mut fds = [0_i32; 2];
            let made = call!(k, SOCKETPAIR, 1, kind | NONBLOCK, 0, fds.as_mut_bytes());
            both(k, slots, (one, other), made.map(|_| (fds[0], fds[1])))
        }
        O::Counter { slot, value, semaphore } => {
            let made = call!(k, EVENTFD2, value, O_NONBLOCK | u32::from(semaphore));
            show(slots.put(k, slot, made.map(descriptor)))
        }
        O::Epoll { slot } => {
            let made = call!(k, EPOLL_CREATE1, 0);
            show(slots.put(k, slot, made.map(descriptor)))
        }
        O::Close { slot } => done(slots.close(k, slot)),
        O::Dup { from, to } => {
            let copy = k.dup(slots.get(from));
            show(slots.put(k, to, copy))
        }
        O::Read { slot, count } => {
            let mut buffer = vec![0; count as usize];
            let result = k.read(slots.get(slot), &mut buffer);
            show(result.map(|count| bytes(&buffer[..count])))
        }
        O::Write { slot, count } => show(k.write(slots.get(slot), &vec![7; count as usize])),
        O::Add { slot, value } => show(k.write(slots.get(slot), &value.to_ne_bytes())),
        O::Shutdown { slot, how } => done(call!(k, SHUTDOWN, slots.get(slot), how)),
        O::PipeSize { slot, size } => {
            show(k.fcntl(slots.get(slot), chitin_abi::fs::F_SETPIPE_SZ, size))
        }
        O::Unread { slot } => {
            let mut count = [0; 4];
            let result = call!(k, IOCTL, slots.get(slot), 0x541b_u32, &mut count);
            show(result.map(|_| i32::from_ne_bytes(count)))
        }
        O::Poll { events } => poll(k, slots, events),
        O::Control { epoll, operation, slot, events } => {
            let mut event = [0_u8; 12];
            event[..4].copy_from_slice(&events.to_ne_bytes());
            event[4] = slot;
            done(call!(k, EPOLL_CTL, slots.get(epoll), operation, slots.get(slot), &event))
        }
        O::Wait { epoll, most } => wait(k, slots.get(epoll), most),
    }
}

fn descriptor(value: u64) -> i32 {
    i32::try_from(value).unwrap_or(-1)
}

fn both(
    k: &dyn Kernel,
    slots: &mut Slots,
    (one, other): (u8, u8),
    made: chitin_abi::Result<(i32, i32)>,
) -> String {
    let first = slots.put(k, one, made.map(|fds| fds.0));
    let second = slots.put(k, other, made.map(|fds| fds.1));
    format!("{} {}", show(first), show(second))
}

fn poll(k: &dyn Kernel, slots: &Slots, events: u16) -> String {
    let of = |slot| PollFd { fd: slots.get(slot), events, revents: 0 };
    let mut fds: Vec<PollFd> = (0..SLOTS).map(of).collect();
    let count = k.poll(&mut fds, 0);
    let found: Vec<u16> = fds.iter().map(|fd| fd.revents).collect();
    format!("{} {found:x?}", show(count))
}

fn wait(k: &dyn Kernel, epoll: i32, most: u32) -> String {
    let mut events = [0_u8; 12 * 8];
    let result = call!(k, EPOLL_WAIT, epoll, &mut events, most, 0);
    let count = result.map_or(0, |count| count as usize);
    let mut found: Vec<(u32, u8)> = events
        .chunks(12)
        .take(count)
        .map(|event| (u32::from_ne_bytes([event[0], event[1], event[2], event[3]]), event[4]))
        .collect();
    // Where there is room for all, their order is the kernel's business.
    if (most as usize) >= usize::from(SLOTS) {
        found.sort_unstable();
    }
    format!("{} {found:x?}", show(result))
}
