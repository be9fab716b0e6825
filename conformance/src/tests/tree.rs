//! Names: `mkdir(2)`, `rename(2)`, `link(2)`, `unlink(2)`, `symlink(2)`, `getdents64(2)`.

use chitin_abi::Errno;

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, fails, tests};

const NOREPLACE: u32 = 1;
const EXCHANGE: u32 = 2;

/// The names in a directory, sorted.
fn names(k: &dyn Kernel, directory: &str) -> Vec<String> {
    let fd = k.open(directory, 0o200000, 0).unwrap();
    let mut found = Vec::new();
    let mut buffer = [0_u8; 512];
    loop {
        let count = call!(k, GETDENTS64, fd, &mut buffer, 512).unwrap() as usize;
        if count == 0 {
            break;
        }
        let mut at = 0;
        while at < count {
            let length = usize::from(u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]));
            let name = &buffer[at + 19..at + length];
            let end = name.iter().position(|byte| *byte == 0).unwrap();
            found.push(String::from_utf8_lossy(&name[..end]).into_owned());
            at += length;
        }
    }
    k.close(fd).unwrap();
    found.sort();
    found
}

tests! { "tree", "path_resolution(7)";
    [mkdir] existing_names(k) {
        k.mkdir("d", 0o755).unwrap();
        k.file("f", b"");
        k.symlink("nowhere", "l").unwrap();
        for name in ["d", "f", "l", ".", "..", "/"] { fails(k.mkdir(name, 0o755), Errno::EEXIST); }
    }
    [mkdir] trailing_slash_is_fine(k) { k.mkdir("d/", 0o755).unwrap(); }
    [mkdir] errors(k) {
        fails(k.mkdir("", 0o755), Errno::ENOENT);
        fails(k.mkdir("a/b", 0o755), Errno::ENOENT);
        k.file("f", b"");
        fails(k.mkdir("f/d", 0o755), Errno::ENOTDIR);
    }
    [mkdir, stat] links_count_subdirectories(k) {
        k.mkdir("d", 0o755).unwrap();
        let before = k.stat("d").unwrap().st_nlink;
        k.mkdir("d/e", 0o755).unwrap();
        let after = k.stat("d").unwrap().st_nlink;
        assert!(after == before + 1 || before == 1, "{before} {after}");
    }
    [rmdir] errors_of_rmdir(k) {
        k.mkdir("d", 0o755).unwrap();
        k.mkdir("d/e", 0o755).unwrap();
        k.file("f", b"");
        fails(k.rmdir("d"), Errno::ENOTEMPTY);
        fails(k.rmdir("f"), Errno::ENOTDIR);
        fails(k.rmdir("none"), Errno::ENOENT);
        fails(k.rmdir("d/e/."), Errno::EINVAL);
        fails(k.rmdir("d/e/.."), Errno::ENOTEMPTY);
        k.rmdir("d/e/").unwrap();
        k.rmdir("d").unwrap();
    }
    [unlink] errors_of_unlink(k) {
        k.mkdir("d", 0o755).unwrap();
        fails(k.unlink("d"), Errno::EISDIR);
        fails(k.unlink("none"), Errno::ENOENT);
        k.file("f", b"");
        fails(k.unlink("f/"), Errno::ENOTDIR);
        fails(k.unlink(""), Errno::ENOENT);
    }
    [unlink, read] open_file_lives_on(k) {
        let fd = k.file("f", b"still here");
        k.unlink("f").unwrap();
        assert_eq!(k.read_some(fd, 20).unwrap(), b"still here");
        assert_eq!(k.fstat(fd).unwrap().st_nlink, 0);
        let link = k.readlink(&format!("/proc/self/fd/{fd}")).unwrap();
        assert!(link.ends_with(b"/f (deleted)"), "{}", String::from_utf8_lossy(&link));
    }
    [link] shares_the_inode(k) {
        k.file("a", b"x");
        k.link("a", "b").unwrap();
        let (a, b) = (k.stat("a").unwrap(), k.stat("b").unwrap());
        assert_eq!((a.st_ino, a.st_nlink), (b.st_ino, 2));
        k.unlink("a").unwrap();
        assert_eq!((k.stat("b").unwrap().st_nlink, k.content("b")), (1, b"x".to_vec()));
    }
    [link] errors_of_link(k) {
        k.file("f", b"");
        k.mkdir("d", 0o755).unwrap();
        fails(k.link("d", "e"), Errno::EPERM);
        fails(k.link("f", "f"), Errno::EEXIST);
        fails(k.link("none", "x"), Errno::ENOENT);
        fails(k.link("f", "none/x"), Errno::ENOENT);
    }
    [link] does_not_follow_links(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        k.link("l", "m").unwrap();
        assert_eq!(k.readlink("m").unwrap(), b"f");
    }
    [symlink, readlink] text_is_kept(k) {
        k.symlink("any//text/../", "l").unwrap();
        assert_eq!(k.readlink("l").unwrap(), b"any//text/../");
        assert_eq!(k.lstat("l").unwrap().st_size, 13);
        fails(k.symlink("", "m"), Errno::ENOENT);
        fails(k.symlink("x", "l"), Errno::EEXIST);
    }
    [readlink] errors_of_readlink(k) {
        k.file("f", b"");
        fails(k.readlink("f"), Errno::EINVAL);
        fails(k.readlink("none"), Errno::ENOENT);
        k.symlink("x", "l").unwrap();
        fails(call!(k, READLINK, c"l", &mut [0_u8; 8], 0), Errno::EINVAL);
        fails(call!(k, READLINK, c"l", Arg::Bad, 8), Errno::EFAULT);
    }
    [readlink] short_buffer_cuts(k) {
        k.symlink("abcdef", "l").unwrap();
        let mut buffer = [0_u8; 3];
        assert_eq!(call!(k, READLINK, c"l", &mut buffer, 3), Ok(3));
        assert_eq!(&buffer, b"abc");
    }
    [renameat2] replaces_a_file(k) {
        k.file("a", b"new");
        k.file("b", b"old");
        k.rename2("a", "b", 0).unwrap();
        assert_eq!((k.content("b"), names(k, ".")), (b"new".to_vec(), [".", "..", "b"].map(String::from).to_vec()));
    }
    [renameat2] of_a_name_to_its_link_does_nothing(k) {
        k.file("a", b"");
        k.link("a", "b").unwrap();
        k.rename2("a", "b", 0).unwrap();
        k.stat("a").unwrap();
    }
    [renameat2] types_must_match(k) {
        k.file("f", b"");
        k.mkdir("d", 0o755).unwrap();
        fails(k.rename2("f", "d", 0), Errno::EISDIR);
        fails(k.rename2("d", "f", 0), Errno::ENOTDIR);
        k.mkdir("e", 0o755).unwrap();
        k.file("e/x", b"");
        fails(k.rename2("d", "e", 0), Errno::ENOTEMPTY);
        k.rename2("e", "d", 0).unwrap();
        k.stat("d/x").unwrap();
    }
    [renameat2] directory_into_itself(k) {
        k.mkdir("d", 0o755).unwrap();
        k.mkdir("d/e", 0o755).unwrap();
        fails(k.rename2("d", "d/e/x", 0), Errno::EINVAL);
        fails(k.rename2("d/e", "d", 0), Errno::ENOTEMPTY);
        fails(k.rename2("d", "d/.", 0), Errno::EBUSY);
        fails(k.rename2("d/..", "x", 0), Errno::EBUSY);
    }
    [renameat2] noreplace(k) {
        k.file("a", b"");
        k.file("b", b"");
        fails(k.rename2("a", "b", NOREPLACE), Errno::EEXIST);
        k.rename2("a", "c", NOREPLACE).unwrap();
    }
    [renameat2] exchange(k) {
        k.file("a", b"A");
        k.mkdir("d", 0o755).unwrap();
        k.rename2("a", "d", EXCHANGE).unwrap();
        assert_eq!(k.content("d"), b"A");
        k.rmdir("a").unwrap();
        fails(k.rename2("d", "none", EXCHANGE), Errno::ENOENT);
        fails(k.rename2("d", "x", EXCHANGE | NOREPLACE), Errno::EINVAL);
        fails(k.rename2("d", "x", 8), Errno::EINVAL);
    }
    [getdents64] lists_everything_once(k) {
        k.mkdir("d", 0o755).unwrap();
        for i in 0..200 { k.file(&format!("d/file{i:03}"), b""); }
        let found = names(k, "d");
        assert_eq!(found.len(), 202);
        assert_eq!((found[0].as_str(), found[2].as_str(), found[201].as_str()), (".", "file000", "file199"));
    }
    [getdents64] errors_of_getdents(k) {
        let file = k.file("f", b"");
        fails(call!(k, GETDENTS64, file, &mut [0_u8; 100], 100), Errno::ENOTDIR);
        let directory = k.open(".", 0, 0).unwrap();
        fails(call!(k, GETDENTS64, directory, &mut [0_u8; 10], 10), Errno::EINVAL);
        fails(call!(k, GETDENTS64, directory, Arg::Bad, 1000), Errno::EFAULT);
    }
    [getdents64, lseek] rewinding_starts_again(k) {
        let directory = k.open(".", 0, 0).unwrap();
        let mut buffer = [0_u8; 1000];
        let first = call!(k, GETDENTS64, directory, &mut buffer, 1000).unwrap();
        assert_eq!(call!(k, GETDENTS64, directory, &mut buffer, 1000), Ok(0));
        k.lseek(directory, 0, 0).unwrap();
        assert_eq!(call!(k, GETDENTS64, directory, &mut buffer, 1000), Ok(first));
    }
    [getcwd, chdir] working_directory(k) {
        k.mkdir("d", 0o755).unwrap();
        let mut before = [0_u8; 4096];
        let length = call!(k, GETCWD, &mut before, 4096).unwrap() as usize;
        call!(k, CHDIR, c"d").unwrap();
        let mut after = [0_u8; 4096];
        assert_eq!(call!(k, GETCWD, &mut after, 4096), Ok(length as u64 + 2));
        assert_eq!(&after[..length + 1], [&before[..length - 1], b"/d"].concat());
        fails(call!(k, GETCWD, &mut after, length), Errno::ERANGE);
        fails(call!(k, CHDIR, c"none"), Errno::ENOENT);
    }
    [getcwd] removed_directory(k) {
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHDIR, c"d").unwrap();
        k.rmdir("../d").unwrap();
        fails(call!(k, GETCWD, &mut [0_u8; 4096], 4096), Errno::ENOENT);
        fails(k.open("new", 0o100, 0o600), Errno::ENOENT);
        let here = k.open(".", 0, 0).unwrap();
        fails(call!(k, GETDENTS64, here, &mut [0_u8; 512], 512), Errno::ENOENT);
    }
}
