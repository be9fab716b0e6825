//! Files in memory and their seals: `memfd_create(2)`.

use chitin_abi::fs::{
    F_ADD_SEALS, F_GET_SEALS, F_GETFD, F_GETFL, F_SEAL_EXEC, F_SEAL_FUTURE_WRITE, F_SEAL_GROW,
    F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC,
    MFD_NOEXEC_SEAL, O_RDWR,
};
use chitin_abi::{Errno, Result};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, fails, tests};
use crate::tests::shared::apart;

fn memfd(k: &dyn Kernel, flags: u32) -> Fd {
    call!(k, MEMFD_CREATE, c"name", flags).unwrap() as Fd
}

/// A sealable file of 100 bytes.
fn sealable(k: &dyn Kernel) -> Fd {
    let fd = memfd(k, MFD_ALLOW_SEALING);
    k.write(fd, &[1; 100]).unwrap();
    fd
}

fn seal(k: &dyn Kernel, fd: Fd, seals: u32) -> Result<u64> {
    k.fcntl(fd, F_ADD_SEALS, u64::from(seals))
}

tests! { "memfd", "memfd_create(2)";
    [memfd_create] file_without_a_name(k) {
        let fd = memfd(k, 0);
        let stat = k.fstat(fd).unwrap();
        assert_eq!((stat.st_nlink, stat.st_size, stat.st_mode), (0, 0, 0o100777));
        assert_eq!(k.readlink(&format!("/proc/self/fd/{fd}")).unwrap(), b"/memfd:name (deleted)");
        assert_eq!(k.fcntl(fd, F_GETFL, 0).unwrap() as u32 & 3, O_RDWR);
    }
    [memfd_create] flags(k) {
        assert_eq!(k.fcntl(memfd(k, MFD_CLOEXEC), F_GETFD, 0), Ok(1));
        assert_eq!(k.fcntl(memfd(k, 0), F_GETFD, 0), Ok(0));
        fails(call!(k, MEMFD_CREATE, c"x", 0x100), Errno::EINVAL);
        fails(call!(k, MEMFD_CREATE, c"x", MFD_EXEC | MFD_NOEXEC_SEAL), Errno::EINVAL);
    }
    [memfd_create] names(k) {
        let name = |length: usize| [vec![b'n'; length], vec![0]].concat();
        call!(k, MEMFD_CREATE, name(249).as_slice(), 0).unwrap();
        fails(call!(k, MEMFD_CREATE, name(250).as_slice(), 0), Errno::EINVAL);
        fails(call!(k, MEMFD_CREATE, Arg::Bad, 0), Errno::EFAULT);
        let fd = call!(k, MEMFD_CREATE, c"", 0).unwrap();
        assert_eq!(k.readlink(&format!("/proc/self/fd/{fd}")).unwrap(), b"/memfd: (deleted)");
    }
    [memfd_create] two_of_a_name_are_two(k) {
        let (a, b) = (memfd(k, 0), memfd(k, 0));
        assert_ne!(k.fstat(a).unwrap().st_ino, k.fstat(b).unwrap().st_ino);
    }
    [fcntl] sealed_from_the_start(k) {
        let fd = memfd(k, 0);
        assert_eq!(k.fcntl(fd, F_GET_SEALS, 0), Ok(u64::from(F_SEAL_SEAL)));
        fails(seal(k, fd, F_SEAL_WRITE), Errno::EPERM);
    }
    [fcntl] seals_add_up(k) {
        let fd = sealable(k);
        assert_eq!(k.fcntl(fd, F_GET_SEALS, 0), Ok(0));
        seal(k, fd, F_SEAL_GROW).unwrap();
        seal(k, fd, F_SEAL_SHRINK).unwrap();
        assert_eq!(k.fcntl(fd, F_GET_SEALS, 0), Ok(u64::from(F_SEAL_GROW | F_SEAL_SHRINK)));
        seal(k, fd, F_SEAL_SEAL).unwrap();
        fails(seal(k, fd, F_SEAL_WRITE), Errno::EPERM);
    }
    [fcntl] unknown_seals(k) { fails(seal(k, sealable(k), 0x100), Errno::EINVAL); }
    [fcntl] other_files_have_no_seals(k) {
        fails(k.fcntl(k.open("/proc/version", 0, 0).unwrap(), F_GET_SEALS, 0), Errno::EINVAL);
        let (reader, writer) = k.pipe2(0).unwrap();
        fails(k.fcntl(reader, F_GET_SEALS, 0), Errno::EINVAL);
        fails(seal(k, writer, F_SEAL_GROW), Errno::EINVAL);
    }
    [ftruncate, write] sealed_against_growth(k) {
        let fd = sealable(k);
        seal(k, fd, F_SEAL_GROW).unwrap();
        fails(k.ftruncate(fd, 101), Errno::EPERM);
        fails(k.pwrite(fd, b"x", 100), Errno::EPERM);
        fails(call!(k, FALLOCATE, fd, 0, 0, 200), Errno::EPERM);
        assert_eq!(k.pwrite(fd, b"xx", 98), Ok(2));
        k.ftruncate(fd, 50).unwrap();
    }
    [write] write_across_the_sealed_end(k) {
        let fd = sealable(k);
        seal(k, fd, F_SEAL_GROW).unwrap();
        match k.pwrite(fd, &[2; 10], 95) { Ok(count) => assert_eq!(count, 5), Err(errno) => assert_eq!(errno, Errno::EPERM) }
        assert_eq!(k.fstat(fd).unwrap().st_size, 100);
    }
    [ftruncate] sealed_against_shrinking(k) {
        let fd = sealable(k);
        seal(k, fd, F_SEAL_SHRINK).unwrap();
        fails(k.ftruncate(fd, 99), Errno::EPERM);
        k.ftruncate(fd, 200).unwrap();
        fails(k.open(&format!("/proc/self/fd/{fd}"), O_RDWR | 0o1000, 0), Errno::EPERM);
    }
    [write] sealed_against_writing(k) {
        let fd = sealable(k);
        seal(k, fd, F_SEAL_WRITE).unwrap();
        fails(k.write(fd, b"x"), Errno::EPERM);
        fails(call!(k, FALLOCATE, fd, 3, 0, 10), Errno::EPERM);
        fails(k.map(4096, 3, 1, fd, 0).map(drop), Errno::EPERM);
        k.map(4096, 1, 1, fd, 0).unwrap();
        k.map(4096, 3, 2, fd, 0).unwrap();
    }
    [fcntl, mmap] write_seal_waits_for_no_mapping(k) {
        let fd = sealable(k);
        let memory = k.map(4096, 3, 1, fd, 0).unwrap();
        fails(seal(k, fd, F_SEAL_WRITE), Errno::EBUSY);
        drop(memory);
        seal(k, fd, F_SEAL_WRITE).unwrap();
    }
    [fcntl, mmap] future_writes_only(k) {
        let fd = sealable(k);
        let memory = k.map(4096, 3, 1, fd, 0).unwrap();
        seal(k, fd, F_SEAL_FUTURE_WRITE).unwrap();
        memory.set(0, 9);
        fails(k.write(fd, b"x"), Errno::EPERM);
        fails(k.map(4096, 3, 1, fd, 0).map(drop), Errno::EPERM);
        assert_eq!(memory.get(0), 9);
    }
    [mprotect] sealed_mapping_cannot_become_writable(k) {
        let fd = sealable(k);
        seal(k, fd, F_SEAL_WRITE).unwrap();
        let memory = k.map(4096, 1, 1, fd, 0).unwrap();
        let errno = call!(k, MPROTECT, memory.address(), 4096, 3).unwrap_err();
        assert!(errno == Errno::EACCES || errno == Errno::EPERM, "{errno:?}");
    }
    [fcntl] seals_need_a_writable_descriptor(k) {
        let fd = sealable(k);
        let reader = k.open(&format!("/proc/self/fd/{fd}"), 0, 0).unwrap();
        fails(seal(k, reader, F_SEAL_GROW), Errno::EPERM);
        assert_eq!(k.fcntl(reader, F_GET_SEALS, 0), Ok(0));
    }
    [fchmod] execution_seal(k) {
        let fd = call!(k, MEMFD_CREATE, c"x", MFD_NOEXEC_SEAL).unwrap() as Fd;
        assert_eq!(k.fstat(fd).unwrap().st_mode & 0o777, 0o666);
        assert_eq!(k.fcntl(fd, F_GET_SEALS, 0).unwrap() as u32, F_SEAL_EXEC);
        fails(call!(k, FCHMOD, fd, 0o777), Errno::EPERM);
        call!(k, FCHMOD, fd, 0o600).unwrap();
    }
    [fork] children_share_the_file(k) {
        let fd = sealable(k);
        apart(k, || { k.pwrite(fd, b"child", 0).unwrap(); seal(k, fd, F_SEAL_WRITE).unwrap(); });
        let mut buffer = [0; 5];
        k.pread(fd, &mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"child");
        fails(k.write(fd, b"x"), Errno::EPERM);
    }
    [linkat] cannot_be_named(k) {
        let fd = memfd(k, 0);
        let path = format!("/proc/self/fd/{fd}\0");
        let errno = call!(k, LINKAT, -100, path.as_bytes(), -100, c"g", 0x400).unwrap_err();
        assert!(errno == Errno::EXDEV || errno == Errno::ENOENT, "{errno:?}");
    }
    [memfd_create] holes_and_data(k) {
        let fd = memfd(k, 0);
        k.ftruncate(fd, 0x10000).unwrap();
        k.pwrite(fd, b"x", 0x4000).unwrap();
        assert_eq!((k.lseek(fd, 0, 3), k.lseek(fd, 0x4000, 4)), (Ok(0x4000), Ok(0x5000)));
    }
}
