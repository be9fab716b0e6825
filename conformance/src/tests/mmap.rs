//! Mapped memory: `mmap(2)`, `munmap(2)`, `mprotect(2)`, `mremap(2)`, `madvise(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::O_WRONLY;
use chitin_abi::mm::{
    MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ,
    PROT_WRITE,
};
use chitin_abi::signal::{SIGBUS, SIGSEGV};

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, Mapping, Processes, fails, tests};

const RW: u32 = PROT_READ | PROT_WRITE;
const ANON: u32 = MAP_PRIVATE | MAP_ANONYMOUS;

fn pages(k: &dyn Kernel, count: usize) -> Box<dyn Mapping> {
    k.map(count * 4096, RW, ANON, -1, 0).unwrap()
}

/// How a child that does this ends: 0, or the signal.
fn dies(k: &dyn Kernel, action: impl Fn()) -> i32 {
    k.status(k.child(|| {
        action();
        0
    }))
}

/// The line of /proc/self/maps that holds an address: its rights.
fn rights(k: &dyn Kernel, address: u64) -> Option<String> {
    let text = String::from_utf8(k.content("/proc/self/maps")).unwrap();
    text.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let (start, end) =
            (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        (start..end).contains(&address).then(|| rest[..4].to_owned())
    })
}

tests! { "mmap", "mmap(2)";
    [mmap] fresh_memory_is_zero(k) {
        let memory = pages(k, 16);
        assert!((0..16).all(|page| memory.get(page * 4096 + 17) == 0));
        memory.set(65535, 9);
        assert_eq!(memory.get(65535), 9);
    }
    [mmap] errors_of_mmap(k) {
        let file = k.file("f", b"x");
        for (length, flags, fd, offset, errno) in [
            (0, ANON, -1, 0, Errno::EINVAL), (4096, MAP_ANONYMOUS, -1, 0, Errno::EINVAL), (4096, MAP_PRIVATE, -1, 0, Errno::EBADF),
            (4096, MAP_PRIVATE, file, 1, Errno::EINVAL), (usize::MAX, ANON, -1, 0, Errno::ENOMEM), (1 << 50, ANON, -1, 0, Errno::ENOMEM),
        ] {
            let result = k.map(length, RW, flags, fd, offset).map(|_| ());
            assert_eq!(result, Err(errno), "length {length:#x} flags {flags:#x} fd {fd} offset {offset}");
        }
    }
    [mmap] rights_of_the_descriptor_count(k) {
        k.file("f", b"x");
        let reader = k.open("f", 0, 0).unwrap();
        let writer = k.open("f", O_WRONLY, 0).unwrap();
        fails(k.map(4096, RW, MAP_SHARED, reader, 0).map(|_| ()), Errno::EACCES);
        fails(k.map(4096, PROT_READ, MAP_PRIVATE, writer, 0).map(|_| ()), Errno::EACCES);
        k.map(4096, RW, MAP_PRIVATE, reader, 0).unwrap();
    }
    [mmap] unmappable_files(k) {
        let (reader, _writer) = k.pipe2(0).unwrap();
        fails(k.map(4096, PROT_READ, MAP_PRIVATE, reader, 0).map(|_| ()), Errno::ENODEV);
        let directory = k.open(".", 0, 0).unwrap();
        fails(k.map(4096, PROT_READ, MAP_PRIVATE, directory, 0).map(|_| ()), Errno::ENODEV);
    }
    [mmap] private_changes_stay_private(k) {
        let fd = k.file("f", b"abc");
        let memory = k.map(4096, RW, MAP_PRIVATE, fd, 0).unwrap();
        memory.set(0, b'X');
        assert_eq!((memory.get(1), k.content("f")), (b'b', b"abc".to_vec()));
    }
    [mmap] shared_changes_reach_the_file(k) {
        let fd = k.file("f", b"abc");
        let memory = k.map(4096, RW, MAP_SHARED, fd, 0).unwrap();
        memory.set(0, b'X');
        assert_eq!(k.content("f"), b"Xbc");
        k.pwrite(fd, b"Z", 2).unwrap();
        assert_eq!(memory.get(2), b'Z');
        assert_eq!(memory.get(3), 0);
    }
    [mmap] mapping_outlives_descriptor_and_name(k) {
        let fd = k.file("f", b"abc");
        let memory = k.map(4096, PROT_READ, MAP_SHARED, fd, 0).unwrap();
        k.close(fd).unwrap();
        k.unlink("f").unwrap();
        assert_eq!(memory.get(0), b'a');
    }
    [mmap] behind_the_end_of_the_file_is_sigbus(k) {
        let fd = k.file("f", &[1; 5000]);
        let memory = k.map(3 * 4096, RW, MAP_SHARED, fd, 0).unwrap();
        assert_eq!(memory.get(8000), 0);
        assert_eq!(dies(k, || { memory.get(8192); }) & 0x7f, SIGBUS as i32);
        k.ftruncate(fd, 0).unwrap();
        assert_eq!(dies(k, || { memory.get(0); }) & 0x7f, SIGBUS as i32);
    }
    [mmap, fork] shared_memory_is_shared_with_children(k) {
        let (shared, private) = (k.map(4096, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0).unwrap(), pages(k, 1));
        assert_eq!(dies(k, || { shared.set(0, 1); private.set(0, 1); }), 0);
        assert_eq!((shared.get(0), private.get(0)), (1, 0));
    }
    [mprotect] rights_bite(k) {
        let memory = pages(k, 3);
        call!(k, MPROTECT, memory.address() + 4096, 4096, PROT_READ).unwrap();
        memory.get(4096);
        assert_eq!(dies(k, || memory.set(4096, 1)) & 0x7f, SIGSEGV as i32);
        memory.set(0, 1);
        memory.set(8192, 1);
        call!(k, MPROTECT, memory.address(), 4096, PROT_NONE).unwrap();
        assert_eq!(dies(k, || { memory.get(0); }) & 0x7f, SIGSEGV as i32);
        assert_eq!(rights(k, memory.address()).as_deref(), Some("---p"));
        assert_eq!(rights(k, memory.address() + 4096).as_deref(), Some("r--p"));
    }
    [mprotect] errors_of_mprotect(k) {
        let memory = pages(k, 2);
        fails(call!(k, MPROTECT, memory.address() + 1, 4096, PROT_READ), Errno::EINVAL);
        fails(call!(k, MPROTECT, memory.address(), 4096, 0x100), Errno::EINVAL);
        call!(k, MUNMAP, memory.address() + 4096, 4096).unwrap();
        fails(call!(k, MPROTECT, memory.address(), 8192, PROT_READ), Errno::ENOMEM);
        k.file("f", b"x");
        let shared = k.map(4096, PROT_READ, MAP_SHARED, k.open("f", 0, 0).unwrap(), 0).unwrap();
        fails(call!(k, MPROTECT, shared.address(), 4096, RW), Errno::EACCES);
    }
    [munmap] hole_in_the_middle(k) {
        let memory = pages(k, 3);
        call!(k, MUNMAP, memory.address() + 4096, 4096).unwrap();
        memory.set(0, 1);
        memory.set(8192, 1);
        assert_eq!(dies(k, || { memory.get(4096); }) & 0x7f, SIGSEGV as i32);
        call!(k, MUNMAP, memory.address() + 4096, 4096).unwrap();
        fails(call!(k, MUNMAP, memory.address() + 1, 4096), Errno::EINVAL);
        fails(call!(k, MUNMAP, memory.address(), 0), Errno::EINVAL);
    }
    [mmap] fixed_replaces_and_noreplace_refuses(k) {
        let memory = pages(k, 2);
        memory.set(0, 7);
        fails(call!(k, MMAP, memory.address(), 4096, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), Errno::EEXIST);
        assert_eq!(call!(k, MMAP, memory.address(), 4096, RW, ANON | MAP_FIXED, -1, 0), Ok(memory.address()));
        assert_eq!(memory.get(0), 0);
        fails(call!(k, MMAP, memory.address() + 1, 4096, RW, ANON | MAP_FIXED, -1, 0), Errno::EINVAL);
    }
    [mremap] grows_and_keeps_the_content(k) {
        let memory = pages(k, 1);
        memory.set(5, 50);
        let room = pages(k, 64).address();
        let moved = call!(k, MREMAP, memory.address(), 4096, 64 * 4096, 3, room).unwrap();
        assert_eq!(moved, room);
        let mut byte = [0];
        let fd = k.open("/proc/self/mem", 0, 0).unwrap();
        assert_eq!(k.pread(fd, &mut byte, moved as i64 + 5), Ok(1));
        assert_eq!(byte, [50]);
        call!(k, MUNMAP, moved, 64 * 4096).unwrap();
    }
    [mremap] errors_of_mremap(k) {
        let memory = pages(k, 2);
        fails(call!(k, MREMAP, memory.address() + 1, 4096, 4096, 0), Errno::EINVAL);
        fails(call!(k, MREMAP, memory.address(), 4096, 0, 0), Errno::EINVAL);
        fails(call!(k, MREMAP, memory.address(), 4096, 4096, 8), Errno::EINVAL);
        fails(call!(k, MREMAP, memory.address(), 4096, 4096, 2, 0), Errno::EINVAL);
        fails(call!(k, MREMAP, 4096 * 16, 4096, 8192, 1), Errno::EFAULT);
        call!(k, MREMAP, memory.address(), 8192, 4096, 0).unwrap();
        assert_eq!(dies(k, || { memory.get(4096); }) & 0x7f, SIGSEGV as i32);
    }
    [madvise] dontneed_gives_zeros_again(k) {
        let memory = pages(k, 2);
        memory.set(0, 1);
        memory.set(4096, 1);
        call!(k, MADVISE, memory.address(), 4096, 4).unwrap();
        assert_eq!((memory.get(0), memory.get(4096)), (0, 1));
        fails(call!(k, MADVISE, memory.address(), 4096, 999), Errno::EINVAL);
        fails(call!(k, MADVISE, memory.address() + 1, 4096, 4), Errno::EINVAL);
        call!(k, MUNMAP, memory.address() + 4096, 4096).unwrap();
        fails(call!(k, MADVISE, memory.address(), 8192, 4), Errno::ENOMEM);
    }
    [madvise, fork] dontfork_and_wipeonfork(k) {
        let (gone, wiped) = (pages(k, 1), pages(k, 1));
        gone.set(0, 1);
        wiped.set(0, 1);
        call!(k, MADVISE, gone.address(), 4096, 10).unwrap();
        call!(k, MADVISE, wiped.address(), 4096, 18).unwrap();
        assert_eq!(dies(k, || { gone.get(0); }) & 0x7f, SIGSEGV as i32);
        assert_eq!(dies(k, || assert_eq!(wiped.get(0), 0)), 0);
        assert_eq!(wiped.get(0), 1);
    }
    [brk] grows_and_shrinks(k) {
        let start = call!(k, BRK, 0).unwrap();
        assert_eq!(call!(k, BRK, start + 8192), Ok(start + 8192));
        assert_eq!(call!(k, BRK, start), Ok(start));
        assert_eq!(call!(k, BRK, 1), Ok(start));
    }
    [msync] errors_of_msync(k) {
        let memory = pages(k, 1);
        call!(k, MSYNC, memory.address(), 4096, 4).unwrap();
        fails(call!(k, MSYNC, memory.address(), 4096, 5), Errno::EINVAL);
        fails(call!(k, MSYNC, memory.address() + 1, 4096, 4), Errno::EINVAL);
        call!(k, MUNMAP, memory.address(), 4096).unwrap();
        fails(call!(k, MSYNC, memory.address(), 4096, 4), Errno::ENOMEM);
    }
    [mincore] touched_pages_are_resident(k) {
        let memory = pages(k, 2);
        memory.set(0, 1);
        let mut residency = [0_u8; 2];
        call!(k, MINCORE, memory.address(), 8192, &mut residency).unwrap();
        assert_eq!(residency[0] & 1, 1);
        fails(call!(k, MINCORE, memory.address() + 1, 4096, &mut residency), Errno::EINVAL);
        fails(call!(k, MINCORE, memory.address(), 8192, Arg::Bad), Errno::EFAULT);
    }
    [memfd_create] seals(k) {
        let fd = call!(k, MEMFD_CREATE, c"name", 2).unwrap() as i32;
        k.write(fd, b"data").unwrap();
        k.fcntl(fd, 1033, 0x2 | 0x8).unwrap();
        assert_eq!(k.fcntl(fd, 1034, 0), Ok(0xa));
        fails(k.ftruncate(fd, 0), Errno::EPERM);
        fails(k.write(fd, b"x"), Errno::EPERM);
        fails(k.map(4096, RW, MAP_SHARED, fd, 0).map(|_| ()), Errno::EPERM);
        let link = k.readlink(&format!("/proc/self/fd/{fd}")).unwrap();
        assert_eq!(link, b"/memfd:name (deleted)");
        let plain = call!(k, MEMFD_CREATE, c"name", 0).unwrap() as i32;
        fails(k.fcntl(plain, 1033, 1), Errno::EPERM);
        let held = call!(k, MEMFD_CREATE, c"", 2).unwrap() as i32;
        k.ftruncate(held, 4096).unwrap();
        let _memory = k.map(4096, RW, MAP_SHARED, held, 0).unwrap();
        fails(k.fcntl(held, 1033, 8), Errno::EBUSY);
    }
    [read, write] kernel_copies_obey_the_rights(k) {
        let fd = k.file("f", b"data");
        let memory = pages(k, 1);
        call!(k, MPROTECT, memory.address(), 4096, PROT_READ).unwrap();
        fails(call!(k, READ, fd, memory.address(), 4), Errno::EFAULT);
        call!(k, MPROTECT, memory.address(), 4096, PROT_NONE).unwrap();
        fails(call!(k, WRITE, fd, memory.address(), 4), Errno::EFAULT);
    }
}
