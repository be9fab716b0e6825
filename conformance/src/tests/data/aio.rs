//! Asynchronous I/O: `io_setup(2)` and its kin.

use chitin_abi::uio::{
    IOCB_CMD_FDSYNC, IOCB_CMD_FSYNC, IOCB_CMD_NOOP, IOCB_CMD_POLL, IOCB_CMD_PREAD, IOCB_CMD_PREADV,
    IOCB_CMD_PWRITE, IOCB_CMD_PWRITEV, IOCB_FLAG_RESFD, IoEvent, Iocb,
};
use chitin_abi::{Errno, Result};
use zerocopy::{FromZeros, IntoBytes};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{interrupted, vector};

fn setup(k: &dyn Kernel) -> u64 {
    let mut context = 0_u64;
    call!(k, IO_SETUP, 16, context.as_mut_bytes()).unwrap();
    context
}

fn operation(kind: u16, fd: Fd, buffer: u64, count: usize, offset: i64) -> Iocb {
    let fildes = fd.cast_unsigned();
    Iocb {
        data: 77,
        lio_opcode: kind,
        fildes,
        buf: buffer,
        nbytes: count as u64,
        offset,
        ..Iocb::new_zeroed()
    }
}

fn submit(k: &dyn Kernel, context: u64, iocb: &mut Iocb) -> Result<u64> {
    let pointers = [iocb.as_mut_bytes().as_mut_ptr() as u64];
    call!(k, IO_SUBMIT, context, 1, pointers.as_bytes())
}

fn events(k: &dyn Kernel, context: u64, least: i64) -> Vec<IoEvent> {
    let mut events = [IoEvent::new_zeroed(); 8];
    let count =
        call!(k, IO_GETEVENTS, context, least, 8, events.as_mut_bytes(), Arg::Null).unwrap();
    events[..count as usize].to_vec()
}

fn run(k: &dyn Kernel, context: u64, iocb: &mut Iocb) -> i64 {
    submit(k, context, iocb).unwrap();
    let found = events(k, context, 1);
    assert_eq!(
        (found.len(), found[0].data, found[0].obj),
        (1, 77, iocb.as_mut_bytes().as_mut_ptr() as u64)
    );
    found[0].res
}

tests! { "aio", "io_submit(2)";
    [io_setup, io_destroy] contexts(k) {
        let context = setup(k);
        assert_ne!(context, 0);
        call!(k, IO_DESTROY, context).unwrap();
        fails(call!(k, IO_DESTROY, context), Errno::EINVAL);
    }
    [io_setup] errors(k) {
        fails(call!(k, IO_SETUP, 0, &mut [0_u8; 8]), Errno::EINVAL);
        fails(call!(k, IO_SETUP, 1, &mut [1_u8; 8]), Errno::EINVAL);
        fails(call!(k, IO_SETUP, 1, Arg::Bad), Errno::EFAULT);
        fails(call!(k, IO_SETUP, u32::MAX, &mut [0_u8; 8]), Errno::EINVAL);
    }
    [io_submit, io_getevents] reading_and_writing(k) {
        let (context, fd) = (setup(k), k.file("f", b""));
        let mut data = *b"asynchronous";
        let mut write = operation(IOCB_CMD_PWRITE as u16, fd, data.as_mut_ptr() as u64, 12, 3);
        assert_eq!((run(k, context, &mut write), k.content("f")), (12, b"\0\0\0asynchronous".to_vec()));
        let mut back = [0; 5];
        assert_eq!(run(k, context, &mut operation(IOCB_CMD_PREAD as u16, fd, back.as_mut_ptr() as u64, 5, 4)), 5);
        assert_eq!((&back, k.lseek(fd, 0, 1)), (b"synch", Ok(0)));
    }
    [io_submit] vectors(k) {
        let (context, fd) = (setup(k), k.file("f", b"abcdef"));
        let (mut a, mut b) = ([0; 2], [0; 2]);
        let iov = vector(&mut [&mut a, &mut b]);
        assert_eq!(run(k, context, &mut operation(IOCB_CMD_PREADV as u16, fd, iov.as_ptr() as u64, 2, 1)), 4);
        assert_eq!((&a, &b), (b"bc", b"de"));
        assert_eq!(run(k, context, &mut operation(IOCB_CMD_PWRITEV as u16, fd, iov.as_ptr() as u64, 2, 0)), 4);
        assert_eq!(k.content("f"), b"bcdeef");
    }
    [io_submit] syncing(k) {
        let (context, fd) = (setup(k), k.file("f", b"x"));
        for kind in [IOCB_CMD_FSYNC, IOCB_CMD_FDSYNC] { assert_eq!(run(k, context, &mut operation(kind as u16, fd, 0, 0, 0)), 0); }
    }
    [io_submit] errors_of_operations_are_results_or_refusals(k) {
        let (context, fd) = (setup(k), k.file("f", b"x"));
        fails(submit(k, context, &mut operation(IOCB_CMD_PREAD as u16, 999, 0, 1, 0)), Errno::EBADF);
        fails(submit(k, context, &mut operation(99, fd, 0, 1, 0)), Errno::EINVAL);
        fails(submit(k, context, &mut operation(IOCB_CMD_NOOP as u16, fd, 0, 0, 0)), Errno::EINVAL);
        k.file("g", b"");
        let reader = k.open("g", 0, 0).unwrap();
        fails(submit(k, context, &mut operation(IOCB_CMD_PWRITE as u16, reader, 0, 1, 0)), Errno::EBADF);
    }
    [io_submit] bad_buffers(k) {
        let (context, fd) = (setup(k), k.file("f", b"abc"));
        let mut read = operation(IOCB_CMD_PREAD as u16, fd, 1, 3, 0);
        match submit(k, context, &mut read) { Ok(_) => assert_eq!(events(k, context, 1)[0].res, -14), Err(errno) => assert_eq!(errno, Errno::EFAULT) }
    }
    [io_submit] reserved_fields(k) {
        let (context, fd) = (setup(k), k.file("f", b"abc"));
        let mut iocb = operation(IOCB_CMD_FSYNC as u16, fd, 0, 0, 0);
        iocb.reserved2 = 1;
        fails(submit(k, context, &mut iocb), Errno::EINVAL);
        let mut iocb = operation(IOCB_CMD_PREAD as u16, fd, 0, usize::MAX, 0);
        fails(submit(k, context, &mut iocb), Errno::EINVAL);
    }
    [io_submit] arguments(k) {
        let context = setup(k);
        assert_eq!(call!(k, IO_SUBMIT, context, 0, Arg::Null), Ok(0));
        fails(call!(k, IO_SUBMIT, context, -1, Arg::Null), Errno::EINVAL);
        fails(call!(k, IO_SUBMIT, context, 1, Arg::Bad), Errno::EFAULT);
        fails(call!(k, IO_SUBMIT, 12345, 1, Arg::Bad), Errno::EINVAL);
        fails(call!(k, IO_SUBMIT, context, 1, &[1_u8, 0, 0, 0, 0, 0, 0, 0]), Errno::EFAULT);
    }
    [io_submit] stops_at_the_first_bad_one(k) {
        let (context, fd) = (setup(k), k.file("f", b"abc"));
        let (mut good, mut bad) = (operation(IOCB_CMD_FSYNC as u16, fd, 0, 0, 0), operation(99, fd, 0, 0, 0));
        let pointers = [good.as_mut_bytes().as_mut_ptr() as u64, bad.as_mut_bytes().as_mut_ptr() as u64];
        assert_eq!(call!(k, IO_SUBMIT, context, 2, pointers.as_bytes()), Ok(1));
        assert_eq!(events(k, context, 1).len(), 1);
    }
    [io_getevents] arguments_of_getevents(k) {
        let context = setup(k);
        let mut room = [0_u8; 64];
        fails(call!(k, IO_GETEVENTS, context, -1, 1, &mut room, Arg::Null), Errno::EINVAL);
        fails(call!(k, IO_GETEVENTS, context, 2, 1, &mut room, Arg::Null), Errno::EINVAL);
        fails(call!(k, IO_GETEVENTS, 12345, 0, 1, &mut room, Arg::Null), Errno::EINVAL);
        fails(call!(k, IO_GETEVENTS, context, 0, 1, &mut room, Arg::Bad), Errno::EFAULT);
        assert_eq!(call!(k, IO_GETEVENTS, context, 0, 1, &mut room, Arg::Null), Ok(0));
    }
    [io_getevents] timeout(k) {
        let context = setup(k);
        let time = [0_i64, 20_000_000];
        assert_eq!(call!(k, IO_GETEVENTS, context, 1, 1, &mut [0_u8; 32], time.as_bytes()), Ok(0));
    }
    [io_getevents] waiting_is_interrupted(k) {
        let context = setup(k);
        interrupted(k, || call!(k, IO_GETEVENTS, context, 1, 1, &mut [0_u8; 32], Arg::Null));
    }
    [io_submit] completion_counts_on_an_event_counter(k) {
        let (context, fd) = (setup(k), k.file("f", b"abc"));
        let counter = call!(k, EVENTFD2, 0, 0).unwrap() as u32;
        let mut iocb = operation(IOCB_CMD_FSYNC as u16, fd, 0, 0, 0);
        (iocb.flags, iocb.resfd) = (IOCB_FLAG_RESFD, counter);
        submit(k, context, &mut iocb).unwrap();
        assert_eq!(k.read_some(counter.cast_signed(), 8).unwrap(), 1_u64.to_ne_bytes());
        iocb.resfd = fd.cast_unsigned();
        fails(submit(k, context, &mut iocb), Errno::EINVAL);
    }
    [io_submit] polling(k) {
        let context = setup(k);
        let (reader, writer) = k.pipe2(0).unwrap();
        let mut iocb = operation(IOCB_CMD_POLL as u16, reader, 1, 0, 0);
        submit(k, context, &mut iocb).unwrap();
        assert_eq!(events(k, context, 0).len(), 0);
        k.write(writer, b"x").unwrap();
        assert_eq!(events(k, context, 1)[0].res & 1, 1);
    }
    [io_cancel] nothing_to_cancel(k) {
        let context = setup(k);
        let mut iocb = operation(IOCB_CMD_FSYNC as u16, 0, 0, 0, 0);
        fails(call!(k, IO_CANCEL, context, iocb.as_mut_bytes(), &mut [0_u8; 32]), Errno::EINVAL);
        fails(call!(k, IO_CANCEL, 12345, iocb.as_mut_bytes(), &mut [0_u8; 32]), Errno::EINVAL);
        fails(call!(k, IO_CANCEL, context, Arg::Bad, &mut [0_u8; 32]), Errno::EFAULT);
    }
    [io_setup, fork] children_have_no_contexts(k) {
        let context = setup(k);
        crate::tests::shared::apart(k, || fails(call!(k, IO_GETEVENTS, context, 0, 1, &mut [0_u8; 32], Arg::Null), Errno::EINVAL));
    }
}
