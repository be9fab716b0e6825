//! POSIX message queues: `mq_overview(7)`.

use std::ffi::CString;

use chitin_abi::fs::{O_CREAT, O_EXCL, O_NONBLOCK, O_RDONLY, O_RDWR};
use chitin_abi::ipc::MqAttr;
use chitin_abi::poll::{POLLIN, POLLOUT};
use chitin_abi::signal::{SI_MESGQ, SIGEV_SIGNAL, SIGUSR1, SigEvent};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use zerocopy::{FromZeros, IntoBytes};

use super::support::asleep;
use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, Processes, fails, tests};

fn attr(messages: i64, size: i64) -> MqAttr {
    MqAttr { mq_maxmsg: messages, mq_msgsize: size, ..MqAttr::default() }
}

/// A name that no other run of the suite has.
fn unique(k: &dyn Kernel, name: &str) -> CString {
    CString::new(format!("chitin-{name}-{}", k.getpid())).unwrap()
}

/// A queue of two messages of at most 16 bytes, whose name is gone again.
fn queue(k: &dyn Kernel, name: &str, flags: u32) -> Fd {
    let (attr, name) = (attr(2, 16), unique(k, name));
    let name = name.as_c_str();
    // A test that was killed may have left it.
    let _ = call!(k, MQ_UNLINK, name);
    let fd =
        call!(k, MQ_OPEN, name, O_RDWR | O_CREAT | O_EXCL | flags, 0o600, attr.as_bytes()).unwrap();
    call!(k, MQ_UNLINK, name).unwrap();
    fd as Fd
}

fn send(k: &dyn Kernel, fd: Fd, text: &[u8], priority: u32) -> Result<u64> {
    call!(k, MQ_TIMEDSEND, fd, text, text.len(), priority, Arg::Null)
}

fn receive(k: &dyn Kernel, fd: Fd) -> Result<(Vec<u8>, u32)> {
    let (mut buffer, mut priority) = ([0; 16], [0; 4]);
    let count = call!(k, MQ_TIMEDRECEIVE, fd, &mut buffer, 16, &mut priority, Arg::Null)? as usize;
    Ok((buffer[..count].to_vec(), u32::from_ne_bytes(priority)))
}

tests! { "mqueue", "mq_overview(7)";
    [mq_open, mq_unlink] names(k) {
        let name = unique(k, "names");
        let name = name.as_c_str();
        let _ = call!(k, MQ_UNLINK, name);
        fails(call!(k, MQ_OPEN, name, O_RDWR, 0, Arg::Null), Errno::ENOENT);
        fails(call!(k, MQ_UNLINK, name), Errno::ENOENT);
        fails(call!(k, MQ_OPEN, c"a/b", O_RDWR | O_CREAT, 0o600, Arg::Null), Errno::EACCES);
        for bad in [attr(0, 1), attr(1, 0), attr(-1, 1), attr(1 << 40, 1)] {
            fails(call!(k, MQ_OPEN, name, O_RDWR | O_CREAT, 0o600, bad.as_bytes()), Errno::EINVAL);
        }
        let fd = call!(k, MQ_OPEN, name, O_RDONLY | O_CREAT, 0o600, Arg::Null).unwrap() as Fd;
        fails(call!(k, MQ_OPEN, name, O_RDWR | O_CREAT | O_EXCL, 0o600, Arg::Null), Errno::EEXIST);
        fails(send(k, fd, b"x", 0), Errno::EBADF);
        call!(k, MQ_UNLINK, name).unwrap();
    }
    [mq_timedsend, mq_timedreceive] by_priority(k) {
        let fd = queue(k, "priority", O_NONBLOCK);
        fails(receive(k, fd), Errno::EAGAIN);
        assert_eq!((send(k, fd, b"low", 1), send(k, fd, b"high", 9)), (Ok(0), Ok(0)));
        fails(send(k, fd, b"x", 0), Errno::EAGAIN);
        assert_eq!(receive(k, fd), Ok((b"high".to_vec(), 9)));
        assert_eq!(receive(k, fd), Ok((b"low".to_vec(), 1)));
    }
    [mq_timedsend, mq_timedreceive] bad_messages(k) {
        let fd = queue(k, "bad", 0);
        fails(send(k, fd, &[0; 17], 0), Errno::EMSGSIZE);
        fails(send(k, fd, b"x", 32_768), Errno::EINVAL);
        let mut short = [0; 15];
        fails(call!(k, MQ_TIMEDRECEIVE, fd, &mut short, 15, Arg::Null, Arg::Null), Errno::EMSGSIZE);
        let past = Timespec { tv_sec: 1, tv_nsec: 0 };
        let mut buffer = [0; 16];
        fails(call!(k, MQ_TIMEDRECEIVE, fd, &mut buffer, 16, Arg::Null, past.as_bytes()), Errno::ETIMEDOUT);
        let never = Timespec { tv_sec: 1, tv_nsec: -1 };
        fails(call!(k, MQ_TIMEDRECEIVE, fd, &mut buffer, 16, Arg::Null, never.as_bytes()), Errno::EINVAL);
        fails(send(k, 99, b"x", 0), Errno::EBADF);
    }
    [mq_getsetattr] attributes(k) {
        let fd = queue(k, "attr", 0);
        send(k, fd, b"x", 0).unwrap();
        let mut old = MqAttr::new_zeroed();
        let new = MqAttr { mq_flags: i64::from(O_NONBLOCK), mq_maxmsg: 99, ..MqAttr::default() };
        call!(k, MQ_GETSETATTR, fd, new.as_bytes(), old.as_mut_bytes()).unwrap();
        assert_eq!((old.mq_flags, old.mq_maxmsg, old.mq_msgsize, old.mq_curmsgs), (0, 2, 16, 1));
        call!(k, MQ_GETSETATTR, fd, Arg::Null, old.as_mut_bytes()).unwrap();
        assert_eq!((old.mq_flags, old.mq_maxmsg), (i64::from(O_NONBLOCK), 2));
        let bad = MqAttr { mq_flags: 1, ..MqAttr::default() };
        fails(call!(k, MQ_GETSETATTR, fd, bad.as_bytes(), Arg::Null), Errno::EINVAL);
    }
    [poll] readiness(k) {
        let fd = queue(k, "poll", 0);
        assert_eq!(k.ready(fd, POLLIN | POLLOUT), POLLOUT);
        send(k, fd, b"a", 0).unwrap();
        assert_eq!(k.ready(fd, POLLIN | POLLOUT), POLLIN | POLLOUT);
        send(k, fd, b"b", 0).unwrap();
        assert_eq!(k.ready(fd, POLLIN | POLLOUT), POLLIN);
    }
    [mq_timedreceive] receivers_are_woken(k) {
        let fd = queue(k, "woken", 0);
        let child = k.child(|| i32::from(receive(k, fd) != Ok((b"hi".to_vec(), 3))));
        asleep(k, child);
        assert_eq!(send(k, fd, b"hi", 3), Ok(0));
        assert_eq!(k.status(child), 0);
    }
    [mq_notify] the_first_message_is_told(k) {
        let fd = queue(k, "notify", 0);
        k.catch(SIGUSR1, 0).unwrap();
        let event = SigEvent { value: 77, signo: SIGUSR1 as i32, notify: SIGEV_SIGNAL as i32, ..SigEvent::default() };
        call!(k, MQ_NOTIFY, fd, event.as_bytes()).unwrap();
        fails(call!(k, MQ_NOTIFY, fd, event.as_bytes()), Errno::EBUSY);
        send(k, fd, b"a", 0).unwrap();
        send(k, fd, b"b", 0).unwrap();
        assert_eq!(k.caught(SIGUSR1), (1, SI_MESGQ, 77));
        call!(k, MQ_NOTIFY, fd, event.as_bytes()).unwrap();
        call!(k, MQ_NOTIFY, fd, Arg::Null).unwrap();
    }
}
