//! Descriptors and credentials in messages: `SCM_RIGHTS`, `SCM_CREDENTIALS`.

use chitin_abi::net::{
    CmsgHdr, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_PEEK, MsgHdr, SCM_CREDENTIALS,
    SCM_RIGHTS, SO_PASSCRED, SOCK_DGRAM, SOCK_STREAM,
};
use chitin_abi::{Errno, Result};
use zerocopy::{FromZeros, IntoBytes};

use super::{pair, receive, set_option};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{apart, become_user, int, is_open, limit, vector};

fn control(kind: i32, data: &[u8]) -> Vec<u8> {
    let header = CmsgHdr { len: 16 + data.len() as u64, level: 1, kind };
    let mut bytes = [header.as_bytes(), data].concat();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn rights(fds: &[Fd]) -> Vec<u8> {
    control(SCM_RIGHTS as i32, fds.as_bytes())
}

fn send(k: &dyn Kernel, fd: Fd, data: &[u8], control: &[u8]) -> Result<u64> {
    let (mut data, control) = (data.to_vec(), control.to_vec());
    let iov = vector(&mut [&mut data]);
    let header = MsgHdr {
        iov: iov.as_ptr() as u64,
        iovlen: 1,
        control: control.as_ptr() as u64,
        controllen: control.len() as u64,
        ..MsgHdr::new_zeroed()
    };
    call!(k, SENDMSG, fd, header.as_bytes(), MSG_DONTWAIT)
}

/// Bytes, control messages and flags.
fn take(k: &dyn Kernel, fd: Fd, room: usize, flags: u32) -> Result<(usize, Vec<u8>, u32)> {
    let (mut data, mut control) = (vec![0; 100], vec![0; room]);
    let iov = vector(&mut [&mut data]);
    let mut header = MsgHdr {
        iov: iov.as_ptr() as u64,
        iovlen: 1,
        control: control.as_mut_ptr() as u64,
        controllen: room as u64,
        ..MsgHdr::new_zeroed()
    };
    let count = call!(k, RECVMSG, fd, header.as_mut_bytes(), flags | MSG_DONTWAIT)?;
    control.truncate(header.controllen as usize);
    Ok((count as usize, control, header.flags))
}

/// The descriptors in the first control message.
fn fds(control: &[u8]) -> Vec<Fd> {
    if control.is_empty() {
        return Vec::new();
    }
    assert_eq!((int(control, 8), int(control, 12)), (1, SCM_RIGHTS as i32));
    (16..int(control, 0) as usize).step_by(4).map(|at| int(control, at)).collect()
}

tests! { "passing", "unix(7)";
    [sendmsg, recvmsg] descriptors_arrive_as_new_ones(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        let file = k.file("f", b"content");
        send(k, a, b"x", &rights(&[file])).unwrap();
        let (count, control, _) = take(k, b, 100, 0).unwrap();
        let found = fds(&control);
        assert!(count == 1 && found.len() == 1 && found[0] != file);
        assert_eq!(k.read_some(found[0], 9).unwrap(), b"content");
        assert_eq!(k.lseek(file, 0, 1), Ok(7), "the description is shared");
    }
    [recvmsg] close_on_exec(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        for (flags, expected) in [(0, 0), (MSG_CMSG_CLOEXEC, 1)] {
            send(k, a, b"x", &rights(&[a])).unwrap();
            let fd = fds(&take(k, b, 100, flags).unwrap().1)[0];
            assert_eq!(k.fcntl(fd, 1, 0), Ok(expected));
        }
    }
    [sendmsg] closed_by_the_sender_meanwhile(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        let (reader, writer) = k.pipe2(0).unwrap();
        send(k, a, b"x", &rights(&[writer])).unwrap();
        k.close(writer).unwrap();
        let fd = fds(&take(k, b, 100, 0).unwrap().1)[0];
        k.write(fd, b"kept").unwrap();
        assert_eq!(k.read_some(reader, 9).unwrap(), b"kept");
    }
    [recvfrom] dropped_where_nobody_asks(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        let (reader, writer) = k.pipe2(0).unwrap();
        send(k, a, b"x", &rights(&[writer])).unwrap();
        k.close(writer).unwrap();
        assert_eq!(receive(k, b, 9, 0).unwrap(), b"x");
        assert_eq!(k.read(reader, &mut [0]), Ok(0));
    }
    [recvmsg] too_little_room(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        send(k, a, b"x", &rights(&[a, a, a])).unwrap();
        let (_, control, flags) = take(k, b, 24, 0).unwrap();
        assert_eq!((fds(&control).len(), flags & MSG_CTRUNC), (2, MSG_CTRUNC));
        send(k, a, b"x", &rights(&[a])).unwrap();
        let (_, control, flags) = take(k, b, 0, 0).unwrap();
        assert_eq!((control.len(), flags & MSG_CTRUNC), (0, MSG_CTRUNC));
    }
    [recvmsg] no_free_descriptors(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        send(k, a, b"x", &rights(&[a, a])).unwrap();
        limit(k, 7, b as u64 + 2);
        let (_, control, flags) = take(k, b, 100, 0).unwrap();
        assert_eq!((fds(&control).len(), flags & MSG_CTRUNC), (1, MSG_CTRUNC));
    }
    [sendmsg] bad_descriptors(k) {
        let (a, _b) = pair(k, SOCK_STREAM);
        fails(send(k, a, b"x", &rights(&[999])), Errno::EBADF);
        fails(send(k, a, b"x", &rights(&[-1])), Errno::EBADF);
    }
    [sendmsg] too_many(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        send(k, a, b"x", &rights(&[a; 253])).unwrap();
        assert_eq!(fds(&take(k, b, 4096, 0).unwrap().1).len(), 253);
        fails(send(k, a, b"x", &rights(&[a; 254])), Errno::EINVAL);
    }
    [recvmsg] streams_stop_behind_descriptors(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        send(k, a, b"one", &rights(&[a])).unwrap();
        k.write(a, b"two").unwrap();
        assert_eq!(take(k, b, 100, 0).unwrap().0, 3);
        assert_eq!(take(k, b, 100, 0).unwrap().0, 3);
    }
    [recvmsg] peeking_copies_descriptors(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        send(k, a, b"x", &rights(&[a])).unwrap();
        let first = fds(&take(k, b, 100, MSG_PEEK).unwrap().1)[0];
        let second = fds(&take(k, b, 100, 0).unwrap().1)[0];
        assert!(first != second && is_open(k, first) && is_open(k, second));
    }
    [sendmsg, close] socket_in_itself_goes_away(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        let (reader, writer) = k.pipe2(0).unwrap();
        send(k, a, b"x", &rights(&[a, b, writer])).unwrap();
        for fd in [a, b, writer] { k.close(fd).unwrap(); }
        // A socket that goes makes the kernel look for those that nobody can reach.
        let (c, d) = pair(k, SOCK_STREAM);
        for fd in [c, d] { k.close(fd).unwrap(); }
        assert_eq!(k.read(reader, &mut [0]), Ok(0), "a cycle of sockets is collected");
    }
    [sendmsg] malformed_control(k) {
        let (a, _b) = pair(k, SOCK_STREAM);
        let mut short = rights(&[a]);
        short[0] = 8;
        fails(send(k, a, b"x", &short), Errno::EINVAL);
        short[0] = 200;
        fails(send(k, a, b"x", &short), Errno::EINVAL);
        fails(send(k, a, b"x", &control(99, b"1234")), Errno::EINVAL);
    }
    [sendmsg, recvmsg] credentials(k) needs Root {
        let (a, b) = pair(k, SOCK_DGRAM);
        set_option(k, b, SO_PASSCRED, 1).unwrap();
        k.write(a, b"x").unwrap();
        let (_, control, _) = take(k, b, 100, 0).unwrap();
        assert_eq!((int(&control, 12), int(&control, 16), int(&control, 20)), (SCM_CREDENTIALS as i32, k.getpid(), 0));
    }
    [sendmsg] credentials_of_others_need_capabilities(k) needs Root {
        let (a, b) = pair(k, SOCK_DGRAM);
        set_option(k, b, SO_PASSCRED, 1).unwrap();
        let claim = |pid: i32, uid: i32| control(SCM_CREDENTIALS as i32, [pid, uid, uid].as_bytes());
        send(k, a, b"x", &claim(k.getpid(), 77)).unwrap();
        let (_, found, _) = take(k, b, 100, 0).unwrap();
        assert_eq!(int(&found, 20), 77);
        fails(send(k, a, b"x", &claim(4_000_000, 0)), Errno::ESRCH);
        apart(k, || {
            become_user(k, 1000);
            fails(send(k, a, b"x", &claim(k.getpid(), 0)), Errno::EPERM);
            send(k, a, b"x", &claim(k.getpid(), 1000)).unwrap();
        });
    }
    [recvmsg] credentials_are_not_told_unless_asked_for(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        k.write(a, b"x").unwrap();
        assert!(take(k, b, 100, 0).unwrap().1.is_empty());
    }
    [sendmsg, recvmsg] pointers_fault(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        fails(call!(k, SENDMSG, a, Arg::Bad, 0), Errno::EFAULT);
        fails(call!(k, RECVMSG, b, Arg::Bad, MSG_DONTWAIT), Errno::EFAULT);
        let mut header = MsgHdr { iov: 1, iovlen: 1, ..MsgHdr::new_zeroed() };
        fails(call!(k, SENDMSG, a, header.as_bytes(), 0), Errno::EFAULT);
        header.iovlen = 1025;
        fails(call!(k, SENDMSG, a, header.as_bytes(), 0), Errno::EMSGSIZE);
        let header = MsgHdr { control: 1, controllen: 24, ..MsgHdr::new_zeroed() };
        fails(call!(k, SENDMSG, a, header.as_bytes(), 0), Errno::EFAULT);
    }
    [recvmsg] name_and_flags_are_written_back(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        k.write(a, b"0123456789").unwrap();
        let mut small = [0_u8; 4];
        let iov = vector(&mut [&mut small]);
        let mut header = MsgHdr { iov: iov.as_ptr() as u64, iovlen: 1, flags: 0xffff, ..MsgHdr::new_zeroed() };
        assert_eq!(call!(k, RECVMSG, b, header.as_mut_bytes(), 0), Ok(4));
        assert_eq!((header.flags, header.controllen), (0x20, 0));
    }
}
