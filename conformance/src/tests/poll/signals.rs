//! Signals as files: `signalfd(2)`.

use chitin_abi::signal::{SIG_SETMASK, SIGKILL, SIGUSR1, SIGUSR2};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, fails, tests};
use crate::tests::shared::{apart, fdinfo, int, woken};

const fn bit(signal: u32) -> u64 {
    1 << (signal - 1)
}

/// A descriptor for signals that are blocked.
fn signals(k: &dyn Kernel, set: u64) -> Fd {
    k.set_mask(SIG_SETMASK, set).unwrap();
    make(k, -1, set, 0o4000).unwrap()
}

fn make(k: &dyn Kernel, fd: Fd, set: u64, flags: u32) -> Result<Fd> {
    call!(k, SIGNALFD4, fd, &set.to_ne_bytes(), 8, flags).map(|fd| fd as Fd)
}

fn take(k: &dyn Kernel, fd: Fd) -> Result<i32> {
    k.read_some(fd, 128).map(|bytes| int(&bytes, 0))
}

tests! { "signalfile", "signalfd(2)";
    [signalfd4] creation(k) {
        let fd = make(k, -1, bit(SIGUSR1), 0o2004000).unwrap();
        assert_eq!((k.fcntl(fd, 1, 0), k.fcntl(fd, 3, 0).unwrap() & 0o4000), (Ok(1), 0o4000));
        fails(make(k, -1, 0, 1), Errno::EINVAL);
        fails(make(k, 999, 0, 0), Errno::EBADF);
        fails(make(k, 0, 0, 0), Errno::EINVAL);
        fails(call!(k, SIGNALFD4, -1, Arg::Bad, 8, 0), Errno::EFAULT);
        fails(call!(k, SIGNALFD4, -1, &[0_u8; 8], 4, 0), Errno::EINVAL);
        assert_eq!(k.readlink(&format!("/proc/self/fd/{fd}")).unwrap(), b"anon_inode:[signalfd]");
    }
    [read] sender_and_signal(k) {
        let fd = signals(k, bit(SIGUSR1));
        fails(take(k, fd), Errno::EAGAIN);
        k.kill(k.getpid(), SIGUSR1).unwrap();
        let info = k.read_some(fd, 128).unwrap();
        assert_eq!((info.len(), int(&info, 0), int(&info, 8), int(&info, 12)), (128, SIGUSR1 as i32, 0, k.getpid()));
        fails(take(k, fd), Errno::EAGAIN);
    }
    [read] several_at_once(k) {
        let fd = signals(k, bit(SIGUSR1) | bit(SIGUSR2));
        for signal in [SIGUSR2, SIGUSR1] { k.kill(k.getpid(), signal).unwrap(); }
        let info = k.read_some(fd, 300).unwrap();
        assert_eq!((info.len(), int(&info, 0), int(&info, 128)), (256, SIGUSR1 as i32, SIGUSR2 as i32));
    }
    [read] other_signals_stay(k) {
        let fd = signals(k, bit(SIGUSR1));
        k.set_mask(SIG_SETMASK, bit(SIGUSR1) | bit(SIGUSR2)).unwrap();
        k.kill(k.getpid(), SIGUSR2).unwrap();
        fails(take(k, fd), Errno::EAGAIN);
        assert_eq!(k.ready(fd, 1), 0);
    }
    [signalfd4] mask_can_be_replaced(k) {
        let fd = signals(k, bit(SIGUSR1));
        k.set_mask(SIG_SETMASK, bit(SIGUSR1) | bit(SIGUSR2)).unwrap();
        k.kill(k.getpid(), SIGUSR2).unwrap();
        assert_eq!(make(k, fd, bit(SIGUSR2), 0), Ok(fd));
        assert_eq!(take(k, fd), Ok(SIGUSR2 as i32));
    }
    [read] small_buffers(k) {
        let fd = signals(k, bit(SIGUSR1));
        k.kill(k.getpid(), SIGUSR1).unwrap();
        fails(k.read(fd, &mut [0; 127]), Errno::EINVAL);
    }
    [read] waiting(k) {
        signals(k, bit(SIGUSR1));
        let (fd, me) = (make(k, -1, bit(SIGUSR1), 0).unwrap(), k.getpid());
        assert_eq!(woken(k, || k.kill(me, SIGUSR1).unwrap(), || take(k, fd)), Ok(SIGUSR1 as i32));
    }
    [read] values_of_queued_signals(k) {
        let fd = signals(k, bit(40));
        let mut info = [0_u8; 128];
        info[..4].copy_from_slice(&40_i32.to_ne_bytes());
        info[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
        info[24..28].copy_from_slice(&77_i32.to_ne_bytes());
        call!(k, RT_SIGQUEUEINFO, k.getpid(), 40, info.as_bytes()).unwrap();
        let found = k.read_some(fd, 128).unwrap();
        assert_eq!((int(&found, 0), int(&found, 8), int(&found, 44)), (40, -1, 77));
    }
    [poll, fork] readiness_is_the_readers(k) {
        let fd = signals(k, bit(SIGUSR1));
        k.kill(k.getpid(), SIGUSR1).unwrap();
        assert_eq!(k.ready(fd, 1), 1);
        apart(k, || fails(take(k, fd), Errno::EAGAIN));
    }
    [signalfd4] kill_and_stop_cannot_be_had(k) {
        let fd = signals(k, bit(SIGKILL) | bit(SIGUSR1));
        assert_eq!(fdinfo(k, fd, "sigmask").unwrap(), "0000000000000200");
    }
    [write] cannot_be_written(k) { fails(k.write(signals(k, bit(SIGUSR1)), b"x"), Errno::EINVAL); }
}
