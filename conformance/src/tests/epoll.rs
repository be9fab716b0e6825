//! Event notification: `epoll(7)`.

use chitin_abi::Errno;

use super::support::when_asleep;
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, Processes, fails, tests};

const ADD: u32 = 1;
const DEL: u32 = 2;
const MOD: u32 = 3;
const IN: u32 = 1;
const OUT: u32 = 4;
const HUP: u32 = 0x10;
const ET: u32 = 1 << 31;
const ONESHOT: u32 = 1 << 30;

fn epoll(k: &dyn Kernel) -> Fd {
    call!(k, EPOLL_CREATE1, 0).unwrap() as Fd
}

fn event(events: u32, data: u64) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&events.to_ne_bytes());
    bytes[4..].copy_from_slice(&data.to_ne_bytes());
    bytes
}

fn control(k: &dyn Kernel, ep: Fd, op: u32, fd: Fd, events: u32) -> chitin_abi::Result<u64> {
    call!(k, EPOLL_CTL, ep, op, fd, &event(events, fd as u64))
}

fn wait(k: &dyn Kernel, ep: Fd, timeout: i32) -> Vec<(u32, u64)> {
    let mut buffer = [0_u8; 12 * 8];
    let count = call!(k, EPOLL_WAIT, ep, &mut buffer, 8, timeout).unwrap() as usize;
    buffer
        .chunks(12)
        .take(count)
        .map(|entry| {
            (
                u32::from_ne_bytes(entry[..4].try_into().unwrap()),
                u64::from_ne_bytes(entry[4..].try_into().unwrap()),
            )
        })
        .collect()
}

tests! { "epoll", "epoll(7)";
    [epoll_create1, epoll_create] errors_of_create(k) {
        fails(call!(k, EPOLL_CREATE1, 1), Errno::EINVAL);
        fails(call!(k, EPOLL_CREATE, 0), Errno::EINVAL);
    }
    [epoll_ctl] errors_of_ctl(k) {
        let ep = epoll(k);
        let (reader, _writer) = k.pipe2(0).unwrap();
        fails(control(k, ep, ADD, 999, IN), Errno::EBADF);
        fails(control(k, 999, ADD, reader, IN), Errno::EBADF);
        fails(control(k, reader, ADD, ep, IN), Errno::EINVAL);
        fails(control(k, ep, ADD, ep, IN), Errno::EINVAL);
        fails(control(k, ep, 9, reader, IN), Errno::EINVAL);
        fails(control(k, ep, DEL, reader, IN), Errno::ENOENT);
        fails(control(k, ep, MOD, reader, IN), Errno::ENOENT);
        control(k, ep, ADD, reader, IN).unwrap();
        fails(control(k, ep, ADD, reader, IN), Errno::EEXIST);
        fails(call!(k, EPOLL_CTL, ep, MOD, reader, Arg::Bad), Errno::EFAULT);
        fails(control(k, ep, ADD, k.file("f", b""), IN), Errno::EPERM);
    }
    [epoll_wait] errors_of_wait(k) {
        let ep = epoll(k);
        fails(call!(k, EPOLL_WAIT, ep, &mut [0_u8; 12], 0, 0), Errno::EINVAL);
        fails(call!(k, EPOLL_WAIT, 0, &mut [0_u8; 12], 1, 0), Errno::EINVAL);
        fails(call!(k, EPOLL_WAIT, 999, &mut [0_u8; 12], 1, 0), Errno::EBADF);
    }
    [epoll_wait] level_repeats_and_edge_does_not(k) {
        for (flags, again) in [(0, 1), (ET, 0)] {
            let ep = epoll(k);
            let (reader, writer) = k.pipe2(0).unwrap();
            control(k, ep, ADD, reader, IN | flags).unwrap();
            assert_eq!(wait(k, ep, 0), []);
            k.write(writer, b"x").unwrap();
            assert_eq!(wait(k, ep, 0), [(IN, reader as u64)]);
            assert_eq!(wait(k, ep, 0).len(), again);
            k.write(writer, b"y").unwrap();
            assert_eq!(wait(k, ep, 0).len(), 1);
        }
    }
    [epoll_ctl] oneshot_until_modified(k) {
        let ep = epoll(k);
        let (reader, writer) = k.pipe2(0).unwrap();
        control(k, ep, ADD, reader, IN | ONESHOT).unwrap();
        k.write(writer, b"x").unwrap();
        assert_eq!(wait(k, ep, 0).len(), 1);
        k.write(writer, b"x").unwrap();
        assert_eq!(wait(k, ep, 0).len(), 0);
        control(k, ep, MOD, reader, IN | ONESHOT).unwrap();
        assert_eq!(wait(k, ep, 0).len(), 1);
    }
    [epoll_wait] hang_up_is_always_reported(k) {
        let ep = epoll(k);
        let (reader, writer) = k.pipe2(0).unwrap();
        control(k, ep, ADD, reader, 0).unwrap();
        k.close(writer).unwrap();
        assert_eq!(wait(k, ep, 0), [(HUP, reader as u64)]);
    }
    [close] last_close_removes(k) {
        let ep = epoll(k);
        let (reader, writer) = k.pipe2(0).unwrap();
        control(k, ep, ADD, reader, IN).unwrap();
        let copy = k.dup(reader).unwrap();
        k.close(reader).unwrap();
        k.write(writer, b"x").unwrap();
        assert_eq!(wait(k, ep, 0), [(IN, reader as u64)]);
        k.close(copy).unwrap();
        assert_eq!(wait(k, ep, 0), []);
    }
    [epoll_ctl] copies_are_registered_apart(k) {
        let ep = epoll(k);
        let (reader, writer) = k.pipe2(0).unwrap();
        let copy = k.dup(reader).unwrap();
        control(k, ep, ADD, reader, IN).unwrap();
        control(k, ep, ADD, copy, IN).unwrap();
        k.write(writer, b"x").unwrap();
        assert_eq!(wait(k, ep, 0).len(), 2);
    }
    [epoll_ctl] nested_sets_and_loops(k) {
        let (outer, inner) = (epoll(k), epoll(k));
        let (reader, writer) = k.pipe2(0).unwrap();
        control(k, outer, ADD, inner, IN).unwrap();
        control(k, inner, ADD, reader, IN).unwrap();
        fails(control(k, inner, ADD, outer, IN), Errno::ELOOP);
        assert_eq!(wait(k, outer, 0), []);
        k.write(writer, b"x").unwrap();
        assert_eq!(wait(k, outer, 0), [(IN, inner as u64)]);
        assert_eq!(k.ready(inner, 1), 1);
    }
    [epoll_wait] waits_for_a_child(k) {
        let ep = epoll(k);
        let (reader, writer) = k.pipe2(0).unwrap();
        control(k, ep, ADD, reader, IN).unwrap();
        let child = when_asleep(k, || { k.write(writer, b"x").unwrap(); 0 });
        assert_eq!(wait(k, ep, -1), [(IN, reader as u64)]);
        assert_eq!(k.status(child), 0);
    }
    [epoll_wait] timeout_passes(k) {
        let ep = epoll(k);
        assert_eq!(wait(k, ep, 20), []);
        assert_eq!(wait(k, ep, 0), []);
    }
    [epoll_wait] both_directions(k) {
        let ep = epoll(k);
        let mut fds = [0_u8; 8];
        call!(k, SOCKETPAIR, 1, 1, 0, &mut fds).unwrap();
        let (a, b) = (i32::from_ne_bytes(fds[..4].try_into().unwrap()), i32::from_ne_bytes(fds[4..].try_into().unwrap()));
        control(k, ep, ADD, a, IN | OUT).unwrap();
        assert_eq!(wait(k, ep, 0), [(OUT, a as u64)]);
        k.write(b, b"x").unwrap();
        assert_eq!(wait(k, ep, 0), [(IN | OUT, a as u64)]);
    }
}
