//! Listing directories: `getdents64(2)`, `getdents(2)`.

use std::collections::BTreeMap;

use chitin_abi::fs::{DIRENT64_NAME_OFFSET, O_DIRECTORY};
use chitin_abi::{Errno, Result};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::long;

/// An entry: name, inode, offset of the next, kind.
type Entry = (String, u64, i64, u8);

fn some(k: &dyn Kernel, fd: Fd, size: usize) -> Result<Vec<Entry>> {
    let mut buffer = vec![0; size];
    let count = call!(k, GETDENTS64, fd, buffer.as_mut_slice(), size)? as usize;
    let (mut entries, mut at) = (Vec::new(), 0);
    while at < count {
        let entry = &buffer[at..];
        let length = usize::from(u16::from_ne_bytes([entry[16], entry[17]]));
        let name: Vec<u8> = entry[DIRENT64_NAME_OFFSET..length]
            .iter()
            .copied()
            .take_while(|byte| *byte != 0)
            .collect();
        assert!(length % 8 == 0 && length > DIRENT64_NAME_OFFSET + name.len());
        entries.push((
            String::from_utf8(name).unwrap(),
            long(entry, 0),
            long(entry, 8).cast_signed(),
            entry[18],
        ));
        at += length;
    }
    Ok(entries)
}

fn rest(k: &dyn Kernel, fd: Fd, size: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        let part = some(k, fd, size).unwrap();
        if part.is_empty() {
            return entries;
        }
        entries.extend(part);
    }
}

fn names(k: &dyn Kernel, path: &str) -> Vec<String> {
    let fd = k.open(path, O_DIRECTORY, 0).unwrap();
    let mut names: Vec<String> = rest(k, fd, 4096).into_iter().map(|entry| entry.0).collect();
    names.sort();
    names
}

fn many(k: &dyn Kernel, count: usize) {
    for i in 0..count {
        let fd = k.file(&format!("file-{i:04}"), b"");
        k.close(fd).unwrap();
    }
}

tests! { "getdents", "getdents(2)";
    [getdents64] dots_come_too(k) {
        k.file("f", b"");
        assert_eq!(names(k, "."), [".", "..", "f"]);
    }
    [getdents64] kinds_and_inodes(k) {
        k.file("f", b"");
        k.mkdir("d", 0o755).unwrap();
        k.symlink("f", "l").unwrap();
        call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        call!(k, MKNOD, c"s", 0o140600, 0).unwrap();
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        let found: BTreeMap<_, _> = rest(k, fd, 4096).into_iter().map(|(name, inode, _, kind)| (name, (inode, kind))).collect();
        for (name, kind) in [("f", 8), ("d", 4), ("l", 10), ("p", 1), ("s", 12), (".", 4)] {
            assert_eq!(found[name], (k.lstat(name).unwrap().st_ino, kind), "{name}");
        }
    }
    [getdents64] end_is_zero_again_and_again(k) {
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        rest(k, fd, 4096);
        assert_eq!((some(k, fd, 100), some(k, fd, 100)), (Ok(vec![]), Ok(vec![])));
    }
    [getdents64] small_buffers_take_turns(k) {
        many(k, 50);
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        let mut names: Vec<_> = rest(k, fd, 40).into_iter().map(|entry| entry.0).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 52);
    }
    [getdents64] many_files(k) {
        many(k, 1000);
        assert_eq!(names(k, ".").len(), 1002);
    }
    [getdents64] buffer_too_small_for_one(k) {
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        fails(some(k, fd, 10), Errno::EINVAL);
        fails(some(k, fd, 23), Errno::EINVAL);
        some(k, fd, 24).unwrap();
    }
    [getdents64, lseek] rewinding_sees_changes(k) {
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        assert_eq!(rest(k, fd, 4096).len(), 2);
        k.file("f", b"");
        assert_eq!(k.lseek(fd, 0, 0), Ok(0));
        assert_eq!(rest(k, fd, 4096).len(), 3);
    }
    [getdents64, lseek] offsets_are_places_to_go_on(k) {
        many(k, 20);
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        let all = rest(k, fd, 4096);
        for at in [0, 5, 15] {
            k.lseek(fd, all[at].2, 0).unwrap();
            assert_eq!(rest(k, fd, 4096), all[at + 1..], "{at}");
        }
    }
    [getdents64] removing_while_listing_loses_nothing_else(k) {
        many(k, 200);
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        let mut seen = 0;
        loop {
            let part = some(k, fd, 200).unwrap();
            if part.is_empty() { break }
            for (name, ..) in part.iter().filter(|entry| entry.0.starts_with("file")) { k.unlink(name).unwrap(); seen += 1; }
        }
        assert_eq!((seen, names(k, ".").len()), (200, 2));
    }
    [getdents64] copies_share_the_position(k) {
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        rest(k, k.dup(fd).unwrap(), 4096);
        assert_eq!(some(k, fd, 4096), Ok(vec![]));
    }
    [getdents64] removed_directory_has_no_entries(k) {
        k.mkdir("d", 0o755).unwrap();
        let fd = k.open("d", O_DIRECTORY, 0).unwrap();
        k.rmdir("d").unwrap();
        fails(some(k, fd, 4096), Errno::ENOENT);
    }
    [getdents64] errors(k) {
        fails(some(k, k.file("f", b""), 100), Errno::ENOTDIR);
        fails(some(k, 999, 100), Errno::EBADF);
        let (reader, _writer) = k.pipe2(0).unwrap();
        fails(some(k, reader, 100), Errno::ENOTDIR);
        let fd = k.open(".", O_DIRECTORY, 0).unwrap();
        fails(call!(k, GETDENTS64, fd, Arg::Bad, 100), Errno::EFAULT);
        fails(call!(k, GETDENTS, fd, Arg::Bad, 100), Errno::EFAULT);
    }
    [getdents] old_form_has_the_kind_last(k) {
        k.mkdir("d", 0o755).unwrap();
        let fd = k.open("d", O_DIRECTORY, 0).unwrap();
        let mut buffer = [0_u8; 256];
        let count = call!(k, GETDENTS, fd, &mut buffer, 256).unwrap() as usize;
        let length = usize::from(u16::from_ne_bytes([buffer[16], buffer[17]]));
        assert!(length < count && buffer[18] == b'.');
        assert_eq!(buffer[length - 1], 4);
    }
    [getdents64] mount_points_show_the_inode_below(k) {
        let root = k.open("/", O_DIRECTORY, 0).unwrap();
        let entries = rest(k, root, 4096);
        assert!(entries.iter().any(|entry| entry.0 == "proc" && entry.3 == 4));
    }
    [getdents64] processes_are_directories(k) {
        let fd = k.open("/proc", O_DIRECTORY, 0).unwrap();
        let own = k.getpid().to_string();
        assert!(rest(k, fd, 4096).iter().any(|entry| entry.0 == own && entry.3 == 4));
    }
    [getdents64] descriptors_are_links(k) {
        let fd = k.open("/proc/self/fd", O_DIRECTORY, 0).unwrap();
        let entries = rest(k, fd, 4096);
        assert!(entries.iter().any(|entry| entry.0 == fd.to_string() && entry.3 == 10));
        assert_eq!(k.stat("/proc/self/fd").unwrap().st_size, entries.len() as i64 - 2);
    }
}
