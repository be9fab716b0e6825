//! `select(2)` and `pselect6(2)`.

use chitin_abi::signal::{SIG_SETMASK, SIGUSR1};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{interrupted, woken};

type Set = [u8; 128];

fn set(fds: &[Fd]) -> Set {
    let mut set = [0; 128];
    for fd in fds {
        set[*fd as usize / 8] |= 1 << (*fd % 8);
    }
    set
}

fn now(k: &dyn Kernel, count: i32, read: &mut Set, write: &mut Set) -> Result<u64> {
    call!(k, SELECT, count, read, write, Arg::Null, &mut [0_u8; 16])
}

tests! { "selecting", "select(2)";
    [select] sets_are_what_is_ready(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let (mut read, mut write) = (set(&[reader]), set(&[writer]));
        assert_eq!(now(k, writer + 1, &mut read, &mut write), Ok(1));
        assert_eq!((read, write), (set(&[]), set(&[writer])));
        k.write(writer, b"x").unwrap();
        let (mut read, mut write) = (set(&[reader]), set(&[writer]));
        assert_eq!(now(k, writer + 1, &mut read, &mut write), Ok(2));
        assert_eq!((read, write), (set(&[reader]), set(&[writer])));
    }
    [select] end_of_file_is_readable(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.close(writer).unwrap();
        assert_eq!(now(k, reader + 1, &mut set(&[reader]), &mut set(&[])), Ok(1));
    }
    [select] broken_pipe_is_writable(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.close(reader).unwrap();
        assert_eq!(now(k, writer + 1, &mut set(&[]), &mut set(&[writer])), Ok(1));
    }
    [select] files_are_always_ready(k) {
        let fd = k.file("f", b"");
        assert_eq!(now(k, fd + 1, &mut set(&[fd]), &mut set(&[fd])), Ok(2));
    }
    [select] descriptors_beyond_the_count_are_left_out(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        k.write(writer, b"x").unwrap();
        let mut read = set(&[reader]);
        assert_eq!(now(k, reader, &mut read, &mut set(&[])), Ok(0));
    }
    [select] closed_descriptors(k) {
        fails(now(k, 51, &mut set(&[50]), &mut set(&[])), Errno::EBADF);
        fails(now(k, -1, &mut set(&[]), &mut set(&[])), Errno::EINVAL);
    }
    [select] pointers_fault(k) {
        fails(call!(k, SELECT, 1, Arg::Bad, Arg::Null, Arg::Null, &mut [0_u8; 16]), Errno::EFAULT);
        fails(call!(k, SELECT, 1, Arg::Null, Arg::Bad, Arg::Null, &mut [0_u8; 16]), Errno::EFAULT);
        fails(call!(k, SELECT, 1, Arg::Null, Arg::Null, Arg::Bad, &mut [0_u8; 16]), Errno::EFAULT);
        fails(call!(k, SELECT, 0, Arg::Null, Arg::Null, Arg::Null, Arg::Bad), Errno::EFAULT);
    }
    [select] times(k) {
        assert_eq!(call!(k, SELECT, 0, Arg::Null, Arg::Null, Arg::Null, [0_i64, 20_000].as_mut_bytes()), Ok(0));
        fails(call!(k, SELECT, 0, Arg::Null, Arg::Null, Arg::Null, [-1_i64, 0].as_mut_bytes()), Errno::EINVAL);
        let mut time = [0_i64, 20_000];
        call!(k, SELECT, 0, Arg::Null, Arg::Null, Arg::Null, time.as_mut_bytes()).unwrap();
        assert_eq!(time, [0, 0], "what was left");
    }
    [select] waiting(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let mut read = set(&[reader]);
        assert_eq!(woken(k, || { k.write(writer, b"x").unwrap(); }, || call!(k, SELECT, reader + 1, &mut read, Arg::Null, Arg::Null, Arg::Null)), Ok(1));
        k.read(reader, &mut [0]).unwrap();
        interrupted(k, || call!(k, SELECT, reader + 1, &mut set(&[reader]), Arg::Null, Arg::Null, Arg::Null));
    }
    [pselect6] masks(k) {
        k.catch(SIGUSR1, 0).unwrap();
        k.set_mask(SIG_SETMASK, 1 << (SIGUSR1 - 1)).unwrap();
        k.kill(k.getpid(), SIGUSR1).unwrap();
        let memory = k.map(4096, 3, 0x22, -1, 0).unwrap();
        let argument = [memory.address(), 8];
        fails(call!(k, PSELECT6, 0, Arg::Null, Arg::Null, Arg::Null, [5_i64, 0].as_bytes(), argument.as_bytes()), Errno::EINTR);
        assert_eq!(k.caught(SIGUSR1).0, 1);
        fails(call!(k, PSELECT6, 0, Arg::Null, Arg::Null, Arg::Null, [0_i64, 0].as_bytes(), [memory.address(), 4].as_bytes()), Errno::EINVAL);
        fails(call!(k, PSELECT6, 0, Arg::Null, Arg::Null, Arg::Null, [0_i64, 1_000_000_000].as_bytes(), Arg::Null), Errno::EINVAL);
    }
}
