//! Named pipes: `fifo(7)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_NONBLOCK, O_RDWR, O_WRONLY};
use chitin_abi::poll::{POLLHUP, POLLIN};

use crate::call;
use crate::suite::{Calls, Kernel, Processes, fails, tests};
use crate::tests::shared::{blocks, interrupted, restarted, woken};

fn make(k: &dyn Kernel) {
    call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
}

tests! { "fifo", "fifo(7)";
    [openat] reader_waits_for_a_writer(k) {
        make(k);
        assert!(blocks(k, || { let _ = k.open("p", 0, 0); }));
        let fd = woken(k, || { let fd = k.open("p", O_WRONLY, 0).unwrap(); k.write(fd, b"x").unwrap(); }, || k.open("p", 0, 0)).unwrap();
        assert_eq!(k.read_some(fd, 9).unwrap(), b"x");
    }
    [openat] writer_waits_for_a_reader(k) {
        make(k);
        assert!(blocks(k, || { let _ = k.open("p", O_WRONLY, 0); }));
        woken(k, || { k.open("p", 0, 0).unwrap(); }, || k.open("p", O_WRONLY, 0)).unwrap();
    }
    [openat] waiting_is_interrupted_and_restarted(k) {
        make(k);
        interrupted(k, || k.open("p", 0, 0));
        restarted(k, || { k.open("p", O_WRONLY, 0).unwrap(); }, || k.open("p", 0, 0));
    }
    [openat] without_waiting(k) {
        make(k);
        fails(k.open("p", O_WRONLY | O_NONBLOCK, 0), Errno::ENXIO);
        let reader = k.open("p", O_NONBLOCK, 0).unwrap();
        assert_eq!(k.read(reader, &mut [0]), Ok(0));
        let writer = k.open("p", O_WRONLY | O_NONBLOCK, 0).unwrap();
        fails(k.read(reader, &mut [0]), Errno::EAGAIN);
        k.write(writer, b"x").unwrap();
        assert_eq!(k.read(reader, &mut [0]), Ok(1));
    }
    [read] several_writers_one_after_the_other(k) {
        make(k);
        let reader = k.open("p", O_NONBLOCK, 0).unwrap();
        for part in [b"one".as_slice(), b"two"] {
            let writer = k.open("p", O_WRONLY, 0).unwrap();
            k.write(writer, part).unwrap();
            k.close(writer).unwrap();
            assert_eq!((k.read_some(reader, 9).unwrap(), k.read_some(reader, 9).unwrap()), (part.to_vec(), vec![]));
        }
    }
    [poll] hang_up_only_after_a_writer(k) {
        make(k);
        let reader = k.open("p", O_NONBLOCK, 0).unwrap();
        assert_eq!(k.ready(reader, POLLIN), 0);
        k.close(k.open("p", O_WRONLY, 0).unwrap()).unwrap();
        assert_eq!(k.ready(reader, POLLIN), POLLHUP);
        k.open("p", O_WRONLY, 0).unwrap();
        assert_eq!(k.ready(reader, POLLIN), 0);
    }
    [unlink] content_lives_while_it_is_open(k) {
        make(k);
        let fd = k.open("p", O_RDWR, 0).unwrap();
        k.write(fd, b"kept").unwrap();
        k.unlink("p").unwrap();
        assert_eq!(k.read_some(fd, 9).unwrap(), b"kept");
    }
    [link] names_of_one_pipe(k) {
        make(k);
        k.link("p", "q").unwrap();
        let reader = k.open("p", O_NONBLOCK, 0).unwrap();
        let writer = k.open("q", O_WRONLY, 0).unwrap();
        k.write(writer, b"x").unwrap();
        assert_eq!(k.read(reader, &mut [0]), Ok(1));
    }
    [write] broken(k) {
        make(k);
        let reader = k.open("p", O_NONBLOCK, 0).unwrap();
        let writer = k.open("p", O_WRONLY, 0).unwrap();
        k.close(reader).unwrap();
        let child = k.child(|| { let _ = k.write(writer, b"x"); 0 });
        assert_eq!(k.status(child), 13);
    }
    [fstat] what_it_looks_like(k) {
        make(k);
        let fd = k.open("p", O_RDWR, 0).unwrap();
        k.write(fd, b"12345").unwrap();
        let stat = k.fstat(fd).unwrap();
        assert_eq!((stat.st_mode, stat.st_size, stat.st_nlink), (0o10600, 0, 1));
        fails(k.lseek(fd, 0, 0), Errno::ESPIPE);
        fails(k.ftruncate(fd, 0), Errno::EINVAL);
    }
}
