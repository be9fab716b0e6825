//! Memory that the kernel itself cannot read: `memfd_secret(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{F_GETFD, O_CLOEXEC};

use crate::call;
use crate::suite::{Calls, Fd, Kernel, fails, tests};

/// The descriptor; `None` where the kernel was started without it.
fn secret(k: &dyn Kernel, flags: u32) -> Option<Fd> {
    match call!(k, MEMFD_SECRET, flags) {
        Err(Errno::ENOSYS) => None,
        fd => Some(fd.unwrap() as Fd),
    }
}

tests! { "secret", "memfd_secret(2)";
    [memfd_secret] flags(k) {
        if let Some(fd) = secret(k, O_CLOEXEC) {
            assert_eq!(k.fcntl(fd, F_GETFD, 0), Ok(1));
            fails(call!(k, MEMFD_SECRET, 1), Errno::EINVAL);
        }
    }
    [memfd_secret] only_mappings_reach_it(k) {
        let Some(fd) = secret(k, 0) else { return };
        fails(k.read(fd, &mut [0]), Errno::EINVAL);
        fails(k.write(fd, b"x"), Errno::EINVAL);
        k.ftruncate(fd, 8192).unwrap();
        fails(k.ftruncate(fd, 4096), Errno::EINVAL);
        let memory = k.map(8192, 3, 1, fd, 0).unwrap();
        memory.set(5000, 7);
        assert_eq!(memory.get(5000), 7);
    }
    [memfd_secret] private_mappings_are_refused(k) {
        let Some(fd) = secret(k, 0) else { return };
        k.ftruncate(fd, 4096).unwrap();
        fails(k.map(4096, 3, 2, fd, 0).map(drop), Errno::EINVAL);
    }
    [memfd_secret, read] calls_cannot_use_its_memory(k) {
        let Some(fd) = secret(k, 0) else { return };
        k.ftruncate(fd, 4096).unwrap();
        let memory = k.map(4096, 3, 1, fd, 0).unwrap();
        memory.set(0, 7);
        let (reader, writer) = k.pipe2(0).unwrap();
        assert_eq!(call!(k, WRITE, writer, memory.address(), 1), Ok(1), "copies go through the caller's own mapping");
        assert_eq!(k.read_some(reader, 1).unwrap(), [7]);
    }
}
