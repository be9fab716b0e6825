//! Operations on unix sockets.

use chitin_abi::fs::O_NONBLOCK;
use chitin_abi::poll::PollFd;
use proptest::prelude::{Strategy, any, prop, prop_oneof};
use serde::{Deserialize, Serialize};
use zerocopy::IntoBytes;

use super::table::{SLOTS, Slots, bytes, done, show};
use crate::suite::{Arg, Calls, Kernel, call};

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Socket { slot: u8, kind: u32 },
    Pair { one: u8, other: u8, kind: u32 },
    Bind { slot: u8, name: u8 },
    Listen { slot: u8, backlog: u32 },
    Connect { slot: u8, name: u8 },
    Accept { from: u8, to: u8 },
    Send { slot: u8, count: u32, flags: u32 },
    SendTo { slot: u8, name: u8, count: u32 },
    Receive { slot: u8, count: u32, flags: u32 },
    Shutdown { slot: u8, how: u32 },
    Close { slot: u8 },
    Dup { from: u8, to: u8 },
    Name { slot: u8 },
    Peer { slot: u8 },
    Option { slot: u8, option: u32 },
    Poll,
    Unlink { name: u8 },
}

const DONTWAIT: u32 = 0x40;
const NOSIGNAL: u32 = 0x4000;
/// Names are files, or abstract ones from here on.
const ABSTRACT: u8 = 2;

/// Any operation.
pub(super) fn operations() -> impl Strategy<Value = Operation> + 'static {
    use Operation as O;
    let slot = || 0..SLOTS;
    let name = || 0..4_u8;
    let kind = || prop::sample::select(vec![1_u32, 1, 2, 5]);
    let count = || prop_oneof![4 => 0..32_u32, 1 => prop::sample::select(vec![5000, 70_000])];
    // Nothing, peek, truncated length, wait for all, end of record.
    let receive = prop::sample::select(vec![0_u32, 0, 2, 0x20, 0x22, 0x100]);
    // Nothing, end of record. MSG_OOB is a matter of configuration.
    let send = prop::sample::select(vec![0_u32, 0, 0x80]);
    // SO_TYPE, SO_ERROR, SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN, SO_PASSCRED.
    let option = prop::sample::select(vec![3_u32, 4, 30, 38, 39, 16]);
    prop_oneof![
        4 => (slot(), kind()).prop_map(|(slot, kind)| O::Socket { slot, kind }),
        2 => (slot(), slot(), kind()).prop_map(|(one, other, kind)| O::Pair { one, other, kind }),
        4 => (slot(), name()).prop_map(|(slot, name)| O::Bind { slot, name }),
        3 => (slot(), 0..4_u32).prop_map(|(slot, backlog)| O::Listen { slot, backlog }),
        5 => (slot(), name()).prop_map(|(slot, name)| O::Connect { slot, name }),
        4 => (slot(), slot()).prop_map(|(from, to)| O::Accept { from, to }),
        4 => (slot(), count(), send).prop_map(|(slot, count, flags)| O::Send { slot, count, flags }),
        2 => (slot(), name(), 0..32_u32)
            .prop_map(|(slot, name, count)| O::SendTo { slot, name, count }),
        4 => (slot(), count(), receive)
            .prop_map(|(slot, count, flags)| O::Receive { slot, count, flags }),
        1 => (slot(), 0..4_u32).prop_map(|(slot, how)| O::Shutdown { slot, how }),
        1 => slot().prop_map(|slot| O::Close { slot }),
        1 => (slot(), slot()).prop_map(|(from, to)| O::Dup { from, to }),
        1 => slot().prop_map(|slot| O::Name { slot }),
        1 => slot().prop_map(|slot| O::Peer { slot }),
        1 => (slot(), option).prop_map(|(slot, option)| O::Option { slot, option }),
        2 => any::<bool>().prop_map(|_| O::Poll),
        1 => (0..ABSTRACT).prop_map(|name| O::Unlink { name }),
    ]
}

/// A `sockaddr_un`. Abstract names are the host's own, so they have the process in them.
fn address(k: &dyn Kernel, name: u8) -> Vec<u8> {
    let mut address = vec![1, 0];
    if name >= ABSTRACT {
        address.push(0);
        address.extend(format!("conformance-{}-{name}", k.getpid()).bytes());
    } else {
        address.extend(format!("s{name}").bytes());
        address.push(0);
    }
    address
}

/// An address as text, without what depends on the process.
fn told(bytes: &[u8]) -> String {
    let (head, name) = bytes.split_at(bytes.len().min(2));
    match name {
        [] => format!("{head:?} unnamed"),
        [0, rest @ ..] if rest.starts_with(b"conformance-") => {
            format!("{head:?} abstract {:?}", rest.last().map(|byte| char::from(*byte)))
        }
        // One that the kernel chose.
        [0, ..] => format!("{head:?} abstract of {}", name.len()),
        _ => format!("{head:?} {}", name.escape_ascii()),
    }
}

/// Runs operations.
pub(super) fn run(k: &dyn Kernel, operations: &[Operation]) -> Vec<String> {
    let mut slots = Slots::default();
    let mut lines = Vec::new();
    for operation in operations {
        let result = step(k, &mut slots, operation);
        lines.push(format!("{operation:?} -> {result}"));
    }
    lines.push(poll(k, &slots));
    slots.close_all(k);
    lines
}

fn step(k: &dyn Kernel, slots: &mut Slots, operation: &Operation) -> String {
    use Operation as O;
    match *operation {
        O::Socket { slot, kind } => {
            let made = call!(k, SOCKET, 1, kind | O_NONBLOCK, 0);
            show(slots.put(k, slot, made.map(descriptor)))
        }
        O::Pair { one, other, kind } => {
            let mut fds = [0_i32; 2];
            let made = call!(k, SOCKETPAIR, 1, kind | O_NONBLOCK, 0, fds.as_mut_bytes());
            let first = slots.put(k, one, made.map(|_| fds[0]));
            let second = slots.put(k, other, made.map(|_| fds[1]));
            format!("{} {}", show(first), show(second))
        }
        O::Bind { slot, name } => {
            let address = address(k, name);
            done(call!(k, BIND, slots.get(slot), address.as_slice(), address.len()))
        }
        O::Listen { slot, backlog } => done(call!(k, LISTEN, slots.get(slot), backlog)),
        O::Connect { slot, name } => {
            let address = address(k, name);
            done(call!(k, CONNECT, slots.get(slot), address.as_slice(), address.len()))
        }
        O::Accept { from, to } => {
            let made = call!(k, ACCEPT4, slots.get(from), Arg::Null, Arg::Null, O_NONBLOCK);
            show(slots.put(k, to, made.map(descriptor)))
        }
        O::Shutdown { slot, how } => done(call!(k, SHUTDOWN, slots.get(slot), how)),
        O::Close { slot } => done(slots.close(k, slot)),
        O::Dup { from, to } => {
            let copy = k.dup(slots.get(from));
            show(slots.put(k, to, copy))
        }
        O::Poll => poll(k, slots),
        O::Unlink { name } => done(k.unlink(&format!("s{name}"))),
        O::Name { slot } => name(k, chitin_abi::nr::GETSOCKNAME, slots.get(slot)),
        O::Peer { slot } => name(k, chitin_abi::nr::GETPEERNAME, slots.get(slot)),
        O::Send { .. } | O::SendTo { .. } | O::Receive { .. } | O::Option { .. } => {
            data(k, slots, operation)
        }
    }
}

fn data(k: &dyn Kernel, slots: &Slots, operation: &Operation) -> String {
    use Operation as O;
    match *operation {
        O::Send { slot, count, flags } => {
            let (fd, content) = (slots.get(slot), vec![5; count as usize]);
            let flags = flags | DONTWAIT | NOSIGNAL;
            show(call!(k, SENDTO, fd, content.as_slice(), count, flags, Arg::Null, 0))
        }
        O::SendTo { slot, name, count } => {
            let (fd, content, to) = (slots.get(slot), vec![6; count as usize], address(k, name));
            let (flags, length) = (DONTWAIT | NOSIGNAL, to.len());
            show(call!(k, SENDTO, fd, content.as_slice(), count, flags, to.as_slice(), length))
        }
        O::Receive { slot, count, flags } => {
            let (fd, mut buffer) = (slots.get(slot), vec![0; count as usize]);
            let (mut from, mut length) = ([0_u8; 110], 110_u32.to_ne_bytes());
            let flags = flags | DONTWAIT;
            let result =
                call!(k, RECVFROM, fd, buffer.as_mut_slice(), count, flags, &mut from, &mut length);
            let length = u32::from_ne_bytes(length) as usize;
            show(result.map(|got| {
                let kept = (got as usize).min(buffer.len());
                let from = told(&from[..length.min(from.len())]);
                format!("{got}: {} from {from}", bytes(&buffer[..kept]))
            }))
        }
        O::Option { slot, option } => {
            let (mut value, mut length) = ([0_u8; 4], 4_u32.to_ne_bytes());
            let result = call!(k, GETSOCKOPT, slots.get(slot), 1, option, &mut value, &mut length);
            show(result.map(|_| i32::from_ne_bytes(value)))
        }
        _ => String::new(),
    }
}

fn descriptor(value: u64) -> i32 {
    i32::try_from(value).unwrap_or(-1)
}

fn name(k: &dyn Kernel, number: u64, fd: i32) -> String {
    let (mut address, mut length) = ([0_u8; 110], 110_u32.to_ne_bytes());
    let mut args = [Arg::from(fd), Arg::Out(&mut address), Arg::Out(&mut length)];
    let result = k.call(number, &mut args);
    let length = (u32::from_ne_bytes(length) as usize).min(address.len());
    show(result.map(|_| told(&address[..length])))
}

fn poll(k: &dyn Kernel, slots: &Slots) -> String {
    let of = |slot| PollFd { fd: slots.get(slot), events: 0x2045, revents: 0 };
    let mut fds: Vec<PollFd> = (0..SLOTS).map(of).collect();
    let count = k.poll(&mut fds, 0);
    let found: Vec<u16> = fds.iter().map(|fd| fd.revents).collect();
    format!("{} {found:x?}", show(count))
}
