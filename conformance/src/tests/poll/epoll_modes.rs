//! Modes of `epoll(7)`: edges, one shot, exclusive, nested sets.

use chitin_abi::poll::{
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLET, EPOLLEXCLUSIVE,
    EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLRDHUP,
};
use chitin_abi::signal::{SIG_SETMASK, SIGUSR1};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{apart, fdinfo, int, interrupted, long, text, woken};

fn epoll(k: &dyn Kernel) -> Fd {
    call!(k, EPOLL_CREATE1, 0).unwrap() as Fd
}

fn control(k: &dyn Kernel, ep: Fd, operation: u32, fd: Fd, events: u32) -> Result<u64> {
    let event = [&events.to_ne_bytes()[..], &(fd as u64).to_ne_bytes()].concat();
    call!(k, EPOLL_CTL, ep, operation, fd, event.as_slice())
}

fn add(k: &dyn Kernel, ep: Fd, fd: Fd, events: u32) {
    control(k, ep, EPOLL_CTL_ADD, fd, events).unwrap();
}

fn wait(k: &dyn Kernel, ep: Fd, timeout: i32) -> Vec<(u32, u64)> {
    let mut buffer = [0_u8; 12 * 16];
    let count = call!(k, EPOLL_WAIT, ep, &mut buffer, 16, timeout).unwrap() as usize;
    buffer
        .chunks(12)
        .take(count)
        .map(|entry| (int(entry, 0).cast_unsigned(), long(entry, 4)))
        .collect()
}

tests! { "epollmode", "epoll(7)";
    [epoll_create, epoll_create1] creation(k) {
        assert_eq!(k.fcntl(call!(k, EPOLL_CREATE1, EPOLL_CLOEXEC).unwrap() as Fd, 1, 0), Ok(1));
        assert_eq!(k.fcntl(call!(k, EPOLL_CREATE, 1).unwrap() as Fd, 1, 0), Ok(0));
        fails(call!(k, EPOLL_CREATE, -1), Errno::EINVAL);
        fails(call!(k, EPOLL_CREATE1, 1), Errno::EINVAL);
        assert_eq!(k.readlink(&format!("/proc/self/fd/{}", epoll(k))).unwrap(), b"anon_inode:[eventpoll]");
    }
    [epoll_wait] edge_is_told_again_after_more_data(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0).unwrap());
        add(k, ep, reader, EPOLLIN | EPOLLET);
        k.write(writer, b"x").unwrap();
        assert_eq!((wait(k, ep, 0).len(), wait(k, ep, 0).len()), (1, 0));
        k.write(writer, b"y").unwrap();
        assert_eq!(wait(k, ep, 0).len(), 1);
        k.read(reader, &mut [0]).unwrap();
        assert_eq!(wait(k, ep, 0).len(), 0);
    }
    [epoll_ctl] edge_is_armed_by_a_change(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0).unwrap());
        k.write(writer, b"x").unwrap();
        add(k, ep, reader, EPOLLIN | EPOLLET);
        assert_eq!((wait(k, ep, 0).len(), wait(k, ep, 0).len()), (1, 0));
        control(k, ep, EPOLL_CTL_MOD, reader, EPOLLIN | EPOLLET).unwrap();
        assert_eq!(wait(k, ep, 0).len(), 1);
    }
    [epoll_wait] edge_of_room_for_writing(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0o4000).unwrap());
        add(k, ep, writer, EPOLLOUT | EPOLLET);
        assert_eq!((wait(k, ep, 0).len(), wait(k, ep, 0).len()), (1, 0));
        k.write(writer, &[0; 65536]).unwrap();
        k.read_some(reader, 65536).unwrap();
        assert_eq!(wait(k, ep, 0).len(), 1);
    }
    [epoll_ctl] one_shot_stays_registered(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0).unwrap());
        add(k, ep, reader, EPOLLIN | EPOLLONESHOT);
        k.write(writer, b"x").unwrap();
        assert_eq!((wait(k, ep, 0).len(), wait(k, ep, 0).len()), (1, 0));
        fails(control(k, ep, EPOLL_CTL_ADD, reader, EPOLLIN), Errno::EEXIST);
        k.close(writer).unwrap();
        assert_eq!(wait(k, ep, 0).len(), 0);
    }
    [epoll_ctl] exclusive(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0).unwrap());
        add(k, ep, reader, EPOLLIN | EPOLLEXCLUSIVE);
        fails(control(k, ep, EPOLL_CTL_MOD, reader, EPOLLIN), Errno::EINVAL);
        k.write(writer, b"x").unwrap();
        assert_eq!(wait(k, ep, 0).len(), 1);
        fails(control(k, ep, EPOLL_CTL_ADD, writer, EPOLLEXCLUSIVE | EPOLLONESHOT), Errno::EINVAL);
        fails(control(k, ep, EPOLL_CTL_ADD, epoll(k), EPOLLIN | EPOLLEXCLUSIVE), Errno::EINVAL);
        control(k, ep, EPOLL_CTL_DEL, reader, 0).unwrap();
    }
    [epoll_ctl] deletion_needs_no_event(k) {
        let (ep, (reader, _writer)) = (epoll(k), k.pipe2(0).unwrap());
        add(k, ep, reader, EPOLLIN);
        call!(k, EPOLL_CTL, ep, EPOLL_CTL_DEL, reader, Arg::Null).unwrap();
        fails(control(k, ep, EPOLL_CTL_DEL, reader, 0), Errno::ENOENT);
        fails(call!(k, EPOLL_CTL, ep, EPOLL_CTL_ADD, reader, Arg::Null), Errno::EFAULT);
    }
    [epoll_ctl] files_without_readiness(k) {
        let ep = epoll(k);
        for fd in [k.file("f", b""), k.open(".", 0, 0).unwrap()] { fails(control(k, ep, EPOLL_CTL_ADD, fd, EPOLLIN), Errno::EPERM); }
        fails(control(k, ep, EPOLL_CTL_ADD, k.open("f", 0o10000000, 0).unwrap(), EPOLLIN), Errno::EBADF);
    }
    [epoll_wait] errors_are_told_unasked(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0).unwrap());
        add(k, ep, writer, 0);
        k.close(reader).unwrap();
        assert_eq!(wait(k, ep, 0), [(EPOLLERR, writer as u64)]);
    }
    [epoll_wait] hang_up_of_a_socket(k) {
        let mut fds = [0_i32; 2];
        call!(k, SOCKETPAIR, 1, 1, 0, fds.as_mut_bytes()).unwrap();
        let ep = epoll(k);
        add(k, ep, fds[0], EPOLLIN | EPOLLRDHUP);
        k.close(fds[1]).unwrap();
        assert_eq!(wait(k, ep, 0), [(EPOLLIN | EPOLLRDHUP | EPOLLHUP, fds[0] as u64)]);
    }
    [epoll_wait] turns_are_fair(k) {
        let ep = epoll(k);
        let pipes: Vec<_> = (0..4).map(|_| k.pipe2(0).unwrap()).collect();
        for (reader, writer) in &pipes { add(k, ep, *reader, EPOLLIN); k.write(*writer, b"x").unwrap(); }
        let mut seen: Vec<u64> = (0..4).map(|_| { let mut one = [0_u8; 12]; call!(k, EPOLL_WAIT, ep, &mut one, 1, 0).unwrap(); long(&one, 4) }).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 4);
    }
    [epoll_ctl] data_is_any_number(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0).unwrap());
        let event = [&EPOLLIN.to_ne_bytes()[..], &u64::MAX.to_ne_bytes()].concat();
        call!(k, EPOLL_CTL, ep, EPOLL_CTL_ADD, reader, event.as_slice()).unwrap();
        k.write(writer, b"x").unwrap();
        assert_eq!(wait(k, ep, 0), [(EPOLLIN, u64::MAX)]);
    }
    [epoll_ctl] nested_sets_are_files(k) {
        let (outer, inner, (reader, writer)) = (epoll(k), epoll(k), k.pipe2(0).unwrap());
        add(k, inner, reader, EPOLLIN);
        add(k, outer, inner, EPOLLIN | EPOLLET);
        k.write(writer, b"x").unwrap();
        assert_eq!((wait(k, outer, 0).len(), wait(k, outer, 0).len(), wait(k, inner, 0).len()), (1, 0, 1));
        assert_eq!(k.ready(inner, 1), 1);
    }
    [epoll_ctl] loops_and_depth(k) {
        let sets: Vec<_> = (0..7).map(|_| epoll(k)).collect();
        fails(control(k, sets[0], EPOLL_CTL_ADD, sets[0], EPOLLIN), Errno::EINVAL);
        for i in 1..5 { add(k, sets[i], sets[i - 1], EPOLLIN); }
        fails(control(k, sets[0], EPOLL_CTL_ADD, sets[4], EPOLLIN), Errno::ELOOP);
        fails(control(k, sets[5], EPOLL_CTL_ADD, sets[4], EPOLLIN), Errno::ELOOP);
    }
    [epoll_wait] arguments(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0).unwrap());
        add(k, ep, reader, EPOLLIN);
        for count in [0, -1, i32::MAX] { fails(call!(k, EPOLL_WAIT, ep, &mut [0_u8; 12], count, 0), Errno::EINVAL); }
        k.write(writer, b"x").unwrap();
        fails(call!(k, EPOLL_WAIT, ep, Arg::Bad, 1, 0), Errno::EFAULT);
        fails(call!(k, EPOLL_WAIT, reader, &mut [0_u8; 12], 1, 0), Errno::EINVAL);
    }
    [epoll_wait] waiting(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0).unwrap());
        add(k, ep, reader, EPOLLIN);
        assert_eq!(woken(k, || { k.write(writer, b"x").unwrap(); }, || wait(k, ep, 5000)).len(), 1);
        k.read(reader, &mut [0]).unwrap();
        interrupted(k, || call!(k, EPOLL_WAIT, ep, &mut [0_u8; 12], 1, -1));
    }
    [epoll_wait] handlers_that_restart_do_not(k) {
        let ep = epoll(k);
        fails(crate::tests::shared::alarmed(k, 0x1000_0000, || call!(k, EPOLL_WAIT, ep, &mut [0_u8; 12], 1, -1)), Errno::EINTR);
    }
    [epoll_pwait, epoll_pwait2] masks_and_times(k) {
        let ep = epoll(k);
        k.catch(SIGUSR1, 0).unwrap();
        k.set_mask(SIG_SETMASK, 1 << (SIGUSR1 - 1)).unwrap();
        k.kill(k.getpid(), SIGUSR1).unwrap();
        fails(call!(k, EPOLL_PWAIT, ep, &mut [0_u8; 12], 1, 1000, &[0_u8; 8], 8), Errno::EINTR);
        assert_eq!(k.caught(SIGUSR1).0, 1);
        fails(call!(k, EPOLL_PWAIT, ep, &mut [0_u8; 12], 1, 0, &[0_u8; 8], 4), Errno::EINVAL);
        assert_eq!(call!(k, EPOLL_PWAIT2, ep, &mut [0_u8; 12], 1, [0_i64, 1_000_000].as_bytes(), Arg::Null, 8), Ok(0));
        fails(call!(k, EPOLL_PWAIT2, ep, &mut [0_u8; 12], 1, [0_i64, -1].as_bytes(), Arg::Null, 8), Errno::EINVAL);
    }
    [epoll_ctl, fork] children_share_the_set(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0).unwrap());
        apart(k, || add(k, ep, reader, EPOLLIN));
        k.write(writer, b"x").unwrap();
        assert_eq!(wait(k, ep, 0).len(), 1);
    }
    [openat] proc_shows_what_is_registered(k) {
        let (ep, (reader, _writer)) = (epoll(k), k.pipe2(0).unwrap());
        add(k, ep, reader, EPOLLIN);
        let info = text(k, &format!("/proc/self/fdinfo/{ep}"));
        let line = info.lines().find(|line| line.starts_with("tfd:")).unwrap();
        assert!(line.contains(&format!("{reader} events:")) && line.contains("data:"), "{line}");
        assert_eq!(fdinfo(k, ep, "pos").unwrap(), "0");
    }
    [epoll_wait] another_thread_registers(k) {
        let (ep, (reader, writer)) = (epoll(k), k.pipe2(0).unwrap());
        k.write(writer, b"x").unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(k, ep, 5000));
            k.sleep_ms(30);
            add(k, ep, reader, EPOLLIN);
            assert_eq!(waiting.join().unwrap().len(), 1);
        });
    }
}
