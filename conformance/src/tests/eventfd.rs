//! Event counters: `eventfd(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::O_NONBLOCK;
use chitin_abi::poll::{POLLERR, POLLIN, POLLOUT};

use super::support::{asleep, when_asleep};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, Processes, fails, tests};

const EFD_SEMAPHORE: u32 = 1;

fn eventfd(k: &dyn Kernel, value: u32, flags: u32) -> Fd {
    call!(k, EVENTFD2, value, flags).unwrap() as Fd
}

fn add(k: &dyn Kernel, fd: Fd, value: u64) -> chitin_abi::Result<usize> {
    k.write(fd, &value.to_ne_bytes())
}

fn take(k: &dyn Kernel, fd: Fd) -> chitin_abi::Result<u64> {
    let mut value = [0; 8];
    k.read(fd, &mut value)?;
    Ok(u64::from_ne_bytes(value))
}

tests! { "eventfd", "eventfd(2)";
    [eventfd2] flags_are_checked(k) { fails(call!(k, EVENTFD2, 0, 0x10), Errno::EINVAL); }
    [eventfd2, read] read_takes_the_sum(k) {
        let fd = eventfd(k, 3, 0);
        assert_eq!(add(k, fd, 4), Ok(8));
        assert_eq!(take(k, fd), Ok(7));
    }
    [read] zero_would_block(k) { fails(take(k, eventfd(k, 0, O_NONBLOCK)), Errno::EAGAIN); }
    [read] semaphore_counts_down_by_one(k) {
        let fd = eventfd(k, 2, EFD_SEMAPHORE | O_NONBLOCK);
        assert_eq!((take(k, fd), take(k, fd)), (Ok(1), Ok(1)));
        fails(take(k, fd), Errno::EAGAIN);
    }
    [read, write] short_buffers_are_refused(k) {
        let fd = eventfd(k, 1, 0);
        fails(k.read(fd, &mut [0; 7]), Errno::EINVAL);
        fails(k.write(fd, &[0; 7]), Errno::EINVAL);
    }
    [write] largest_value_is_refused(k) { fails(add(k, eventfd(k, 0, 0), u64::MAX), Errno::EINVAL); }
    [write] overflow_would_block(k) {
        let fd = eventfd(k, 0, O_NONBLOCK);
        assert_eq!(add(k, fd, u64::MAX - 1), Ok(8));
        fails(add(k, fd, 1), Errno::EAGAIN);
        assert_eq!(k.ready(fd, POLLIN | POLLOUT), POLLIN);
        assert_eq!(take(k, fd), Ok(u64::MAX - 1));
    }
    [poll] readiness(k) {
        let fd = eventfd(k, 0, 0);
        assert_eq!(k.ready(fd, POLLIN | POLLOUT | POLLERR), POLLOUT);
        add(k, fd, 1).unwrap();
        assert_eq!(k.ready(fd, POLLIN | POLLOUT), POLLIN | POLLOUT);
    }
    [read] blocked_reader_is_woken_by_a_child(k) {
        let fd = eventfd(k, 0, 0);
        let child = when_asleep(k, || i32::from(add(k, fd, 9) != Ok(8)));
        assert_eq!(take(k, fd), Ok(9));
        assert_eq!(k.status(child), 0);
    }
    [write] blocked_writer_is_woken_by_a_read(k) {
        let fd = eventfd(k, 1, 0);
        let child = k.child(|| i32::from(add(k, fd, u64::MAX - 1) != Ok(8)));
        asleep(k, child);
        assert_eq!(take(k, fd), Ok(1));
        assert_eq!(k.status(child), 0);
        assert_eq!(take(k, fd), Ok(u64::MAX - 1));
    }
    [read, write] bad_pointers_fault(k) {
        let fd = eventfd(k, 1, 0);
        fails(call!(k, WRITE, fd, Arg::Bad, 8), Errno::EFAULT);
        fails(call!(k, READ, fd, Arg::Bad, 8), Errno::EFAULT);
    }
    [lseek, ftruncate] is_no_file_with_a_position(k) {
        let fd = eventfd(k, 1, 0);
        assert_eq!(k.lseek(fd, 5, 0), Ok(0));
        fails(k.pread(fd, &mut [0; 8], 0), Errno::ESPIPE);
        fails(k.ftruncate(fd, 0), Errno::EINVAL);
    }
    [readlink] link_text(k) {
        let fd = eventfd(k, 1, 0);
        assert_eq!(k.readlink(&format!("/proc/self/fd/{fd}")).unwrap(), b"anon_inode:[eventfd]");
    }
}
