//! Counters as files: `eventfd(2)`.

use chitin_abi::poll::{POLLERR, POLLIN, POLLOUT};
use chitin_abi::{Errno, Result};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, fails, tests};
use crate::tests::shared::{apart, fdinfo, interrupted, restarted, woken};

fn counter(k: &dyn Kernel, value: u32, flags: u32) -> Fd {
    call!(k, EVENTFD2, value, flags).unwrap() as Fd
}

fn add(k: &dyn Kernel, fd: Fd, value: u64) -> Result<usize> {
    k.write(fd, &value.to_ne_bytes())
}

fn take(k: &dyn Kernel, fd: Fd) -> Result<u64> {
    let mut value = [0; 8];
    k.read(fd, &mut value).map(|_| u64::from_ne_bytes(value))
}

tests! { "counter", "eventfd(2)";
    [eventfd, eventfd2] creation(k) {
        let fd = call!(k, EVENTFD, 5).unwrap() as Fd;
        assert_eq!(take(k, fd), Ok(5));
        let fd = counter(k, u32::MAX, 0o2000000);
        assert_eq!((k.fcntl(fd, 1, 0), take(k, fd)), (Ok(1), Ok(u64::from(u32::MAX))));
        fails(call!(k, EVENTFD2, 0, 2), Errno::EINVAL);
        assert_eq!(k.readlink(&format!("/proc/self/fd/{fd}")).unwrap(), b"anon_inode:[eventfd]");
    }
    [read] larger_buffers_get_eight_bytes(k) {
        let fd = counter(k, 1, 0);
        assert_eq!(k.read(fd, &mut [0; 100]), Ok(8));
    }
    [read, write] waiting(k) {
        let fd = counter(k, 0, 0);
        assert_eq!(woken(k, || { add(k, fd, 3).unwrap(); }, || take(k, fd)), Ok(3));
        interrupted(k, || take(k, fd));
        assert_eq!(restarted(k, || { add(k, fd, 4).unwrap(); }, || take(k, fd)), 4);
    }
    [write] full_counters_wait(k) {
        let fd = counter(k, 0, 0);
        add(k, fd, u64::MAX - 1).unwrap();
        assert_eq!(k.ready(fd, POLLIN | POLLOUT), POLLIN);
        assert_eq!(woken(k, || { take(k, fd).unwrap(); }, || add(k, fd, 2)), Ok(8));
        add(k, fd, u64::MAX - 3).unwrap();
        interrupted(k, || add(k, fd, 1));
    }
    [read] semaphores_wake_one_at_a_time(k) {
        let fd = counter(k, 0, 1);
        add(k, fd, 3).unwrap();
        assert_eq!((take(k, fd), take(k, fd), take(k, fd), k.ready(fd, POLLIN)), (Ok(1), Ok(1), Ok(1), 0));
    }
    [poll] readiness(k) {
        let fd = counter(k, 0, 0);
        assert_eq!(k.ready(fd, POLLIN | POLLOUT | POLLERR), POLLOUT);
        add(k, fd, 1).unwrap();
        assert_eq!(k.ready(fd, POLLIN | POLLOUT), POLLIN | POLLOUT);
    }
    [write] adding_nothing(k) {
        let fd = counter(k, 0, 0o4000);
        assert_eq!(add(k, fd, 0), Ok(8));
        fails(take(k, fd), Errno::EAGAIN);
    }
    [read, write] pointers_fault(k) {
        let fd = counter(k, 1, 0);
        fails(call!(k, READ, fd, Arg::Bad, 8), Errno::EFAULT);
        fails(call!(k, WRITE, fd, Arg::Bad, 8), Errno::EFAULT);
    }
    [fork] children_share_it(k) {
        let fd = counter(k, 0, 0);
        apart(k, || { add(k, fd, 7).unwrap(); });
        assert_eq!(take(k, fd), Ok(7));
    }
    [openat] proc_shows_the_count(k) {
        let fd = counter(k, 26, 0);
        assert_eq!(fdinfo(k, fd, "eventfd-count").unwrap(), "1a");
    }
}
