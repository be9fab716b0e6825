//! Devices of `/dev`: `null(4)`, `full(4)`, `random(4)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_NONBLOCK, O_RDWR};
use chitin_abi::poll::{POLLIN, POLLOUT};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, fails, tests};
use crate::tests::shared::vector;

fn device(k: &dyn Kernel, name: &str) -> Fd {
    k.open(&format!("/dev/{name}"), O_RDWR, 0).unwrap()
}

tests! { "devices", "null(4)";
    [read, write] null(k) {
        let fd = device(k, "null");
        assert_eq!((k.read(fd, &mut [9; 5]), k.write(fd, &[0; 1000]), k.pread(fd, &mut [0], 500)), (Ok(0), Ok(1000), Ok(0)));
        assert_eq!(call!(k, WRITE, fd, Arg::Bad, 1000), Ok(1000));
        assert_eq!(k.fstat(fd).unwrap().st_size, 0);
    }
    [mmap] null_cannot_be_mapped(k) { fails(k.map(4096, 3, 2, device(k, "null"), 0).map(drop), Errno::ENODEV); }
    [read, write] zero(k) {
        let fd = device(k, "zero");
        let mut buffer = [9; 1000];
        assert_eq!((k.read(fd, &mut buffer), buffer, k.write(fd, &[1; 50])), (Ok(1000), [0; 1000], Ok(50)));
        fails(call!(k, READ, fd, Arg::Bad, 10), Errno::EFAULT);
        assert_eq!(call!(k, READ, fd, Arg::Edge(10), 100), Ok(10));
    }
    [mmap] zero_maps_fresh_memory(k) {
        let fd = device(k, "zero");
        let memory = k.map(4096, 3, 2, fd, 0).unwrap();
        memory.set(0, 7);
        assert_eq!((memory.get(0), memory.get(1)), (7, 0));
        let shared = k.map(4096, 3, 1, fd, 0).unwrap();
        crate::tests::shared::apart(k, || shared.set(5, 9));
        assert_eq!(shared.get(5), 9);
    }
    [read, write] full(k) {
        let fd = device(k, "full");
        assert_eq!(k.read_some(fd, 10).unwrap(), [0; 10]);
        fails(k.write(fd, b"x"), Errno::ENOSPC);
        fails(k.write(fd, b""), Errno::ENOSPC);
    }
    [read] random_bytes_differ(k) {
        for name in ["random", "urandom"] {
            let fd = device(k, name);
            let (mut a, mut b) = ([0; 32], [0; 32]);
            assert_eq!((k.read(fd, &mut a), k.read(fd, &mut b)), (Ok(32), Ok(32)));
            assert_ne!(a, b);
            assert_eq!(k.write(fd, b"entropy"), Ok(7));
        }
    }
    [read] large_random_reads(k) {
        let fd = device(k, "urandom");
        let bytes = k.read_some(fd, 100_000).unwrap();
        assert_eq!(bytes.len(), 100_000);
        assert!(bytes.iter().filter(|byte| **byte == 0).count() < 1000);
    }
    [ioctl] entropy_count(k) {
        let mut count = [0_u8; 4];
        call!(k, IOCTL, device(k, "random"), 0x8004_5200_u32, &mut count).unwrap();
        assert!(i32::from_ne_bytes(count) > 0);
    }
    [readv] several_buffers(k) {
        let (mut a, mut b) = ([9; 3], [9; 4]);
        let iov = vector(&mut [&mut a, &mut b]);
        assert_eq!(call!(k, READV, device(k, "zero"), iov.as_slice(), 2), Ok(7));
        assert_eq!((a, b), ([0; 3], [0; 4]));
    }
    [poll] always_ready(k) {
        for name in ["null", "zero", "full", "urandom"] { assert_eq!(k.ready(device(k, name), POLLIN | POLLOUT), POLLIN | POLLOUT, "{name}"); }
    }
    [openat] flags(k) {
        let fd = k.open("/dev/null", O_RDWR | O_NONBLOCK | 0o1000, 0).unwrap();
        assert_eq!(k.fcntl(fd, 3, 0).unwrap() as u32 & O_NONBLOCK, O_NONBLOCK);
        fails(k.open("/dev/null", 0o200000, 0), Errno::ENOTDIR);
        fails(k.open("/dev/null/x", 0, 0), Errno::ENOTDIR);
    }
    [getrandom] arguments(k) {
        let mut buffer = [0; 64];
        assert_eq!(call!(k, GETRANDOM, &mut buffer, 64, 0), Ok(64));
        assert_eq!(call!(k, GETRANDOM, &mut buffer, 64, 3), Ok(64));
        fails(call!(k, GETRANDOM, &mut buffer, 64, 8), Errno::EINVAL);
        fails(call!(k, GETRANDOM, &mut buffer, 64, 6), Errno::EINVAL);
        fails(call!(k, GETRANDOM, Arg::Bad, 64, 0), Errno::EFAULT);
        assert_eq!(call!(k, GETRANDOM, Arg::Null, 0, 0), Ok(0));
    }
    [openat] standard_links(k) {
        assert_eq!(k.readlink("/dev/fd").unwrap(), b"/proc/self/fd");
        assert_eq!(k.readlink("/dev/stdin").unwrap(), b"/proc/self/fd/0");
    }
}
