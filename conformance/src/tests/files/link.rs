//! Names and links: `link(2)`, `linkat(2)`, `symlink(2)`, `readlink(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, O_CREAT, O_DIRECTORY};

use crate::call;
use crate::suite::{Arg, Calls, Files, fails, tests};
use crate::tests::shared::{as_user, in_own_mounts};

tests! { "link", "link(2)";
    [link] content_and_inode_are_shared(k) {
        let fd = k.file("f", b"one");
        k.link("f", "g").unwrap();
        k.pwrite(fd, b"two", 0).unwrap();
        assert_eq!(k.content("g"), b"two");
    }
    [link] link_errors(k) {
        k.file("f", b"");
        k.mkdir("d", 0o755).unwrap();
        fails(k.link("none", "g"), Errno::ENOENT);
        fails(k.link("f", "d"), Errno::EEXIST);
        fails(k.link("f", "f"), Errno::EEXIST);
        fails(k.link("d", "g"), Errno::EPERM);
        fails(k.link("f", "none/g"), Errno::ENOENT);
        fails(k.link("f", "f/g"), Errno::ENOTDIR);
        fails(k.link("f/", "g"), Errno::ENOTDIR);
        fails(k.link("f", "g/"), Errno::ENOENT);
        fails(k.link("f", ""), Errno::ENOENT);
        fails(k.link("", "g"), Errno::ENOENT);
        fails(k.link("f", &"x".repeat(256)), Errno::ENAMETOOLONG);
    }
    [link] links_are_not_followed(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        k.link("l", "m").unwrap();
        assert_eq!((k.readlink("m").unwrap(), k.lstat("l").unwrap().st_nlink), (b"f".to_vec(), 2));
    }
    [linkat] following(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        call!(k, LINKAT, -100, c"l", -100, c"g", AT_SYMLINK_FOLLOW).unwrap();
        assert_eq!(k.stat("f").unwrap().st_nlink, 2);
        assert_eq!(k.lstat("g").unwrap().st_mode >> 12, 0o10);
    }
    [linkat] flags(k) {
        k.file("f", b"");
        fails(call!(k, LINKAT, -100, c"f", -100, c"g", 0x100), Errno::EINVAL);
        fails(call!(k, LINKAT, -100, c"", -100, c"g", AT_EMPTY_PATH), Errno::EPERM);
    }
    [linkat] relative_to_descriptors(k) {
        k.mkdir("a", 0o755).unwrap();
        k.mkdir("b", 0o755).unwrap();
        let file = k.file("a/f", b"x");
        let (a, b) = (k.open("a", O_DIRECTORY, 0).unwrap(), k.open("b", O_DIRECTORY, 0).unwrap());
        call!(k, LINKAT, a, c"f", b, c"g", 0).unwrap();
        assert_eq!(k.content("b/g"), b"x");
        fails(call!(k, LINKAT, 999, c"f", b, c"h", 0), Errno::EBADF);
        fails(call!(k, LINKAT, a, c"f", 999, c"h", 0), Errno::EBADF);
        fails(call!(k, LINKAT, file, c"f", b, c"h", 0), Errno::ENOTDIR);
    }
    [link] pointers_fault(k) {
        fails(call!(k, LINK, Arg::Bad, c"g"), Errno::EFAULT);
        k.file("f", b"");
        fails(call!(k, LINK, c"f", Arg::Bad), Errno::EFAULT);
    }
    [link] directory_permissions(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        as_user(k, 1000, || {
            k.file("f", b"");
            fails(k.link("f", "d/f"), Errno::EACCES);
        });
    }
    [link] other_mounts(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        k.file("f", b"");
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            fails(k.link("f", "m/f"), Errno::EXDEV);
            call!(k, UMOUNT2, c"m", 0).unwrap();
            call!(k, MOUNT, c".", c"m", Arg::Null, 0x1000, Arg::Null).unwrap();
            fails(k.link("f", "m/g"), Errno::EXDEV);
        });
    }
    [link] unlinked_file_cannot_come_back(k) needs Root {
        let fd = k.file("f", b"");
        k.unlink("f").unwrap();
        fails(call!(k, LINKAT, fd, c"", -100, c"g", AT_EMPTY_PATH), Errno::ENOENT);
    }
    [symlink] target_is_any_text(k) {
        for target in ["none", "/", "..", "a/b/../c", &"x".repeat(4095)] {
            k.symlink(target, "l").unwrap();
            assert_eq!(k.readlink("l").unwrap(), target.as_bytes());
            assert_eq!(k.lstat("l").unwrap().st_size, target.len() as i64);
            k.unlink("l").unwrap();
        }
    }
    [symlink] symlink_errors(k) {
        k.file("f", b"");
        fails(k.symlink("", "l"), Errno::ENOENT);
        fails(k.symlink("f", ""), Errno::ENOENT);
        fails(k.symlink("f", "f"), Errno::EEXIST);
        fails(k.symlink("f", "none/l"), Errno::ENOENT);
        fails(k.symlink("f", "f/l"), Errno::ENOTDIR);
        fails(k.symlink("f", "l/"), Errno::ENOENT);
        fails(k.symlink(&"x".repeat(4096), "l"), Errno::ENAMETOOLONG);
        fails(k.symlink("f", &"x".repeat(256)), Errno::ENAMETOOLONG);
        fails(call!(k, SYMLINK, Arg::Bad, c"l"), Errno::EFAULT);
        fails(call!(k, SYMLINK, c"f", Arg::Bad), Errno::EFAULT);
    }
    [symlinkat] relative_to_a_descriptor(k) {
        k.mkdir("d", 0o755).unwrap();
        let d = k.open("d", O_DIRECTORY, 0).unwrap();
        call!(k, SYMLINKAT, c"t", d, c"l").unwrap();
        assert_eq!(k.readlink("d/l").unwrap(), b"t");
        fails(call!(k, SYMLINKAT, c"t", 999, c"l"), Errno::EBADF);
    }
    [readlink] short_buffers_cut(k) {
        k.symlink("target", "l").unwrap();
        let mut buffer = *b"......";
        assert_eq!(call!(k, READLINK, c"l", &mut buffer, 3), Ok(3));
        assert_eq!(&buffer, b"tar...");
    }
    [readlink] readlink_errors(k) {
        k.file("f", b"");
        k.symlink("target", "l").unwrap();
        fails(call!(k, READLINK, c"f", &mut [0_u8; 9], 9), Errno::EINVAL);
        fails(call!(k, READLINK, c".", &mut [0_u8; 9], 9), Errno::EINVAL);
        fails(call!(k, READLINK, c"l", &mut [0_u8; 9], 0), Errno::EINVAL);
        fails(call!(k, READLINK, c"l", &mut [0_u8; 9], -1), Errno::EINVAL);
        fails(call!(k, READLINK, c"none", &mut [0_u8; 9], 9), Errno::ENOENT);
        fails(call!(k, READLINK, c"", &mut [0_u8; 9], 9), Errno::ENOENT);
        fails(call!(k, READLINK, c"f/x", &mut [0_u8; 9], 9), Errno::ENOTDIR);
        fails(call!(k, READLINK, c"l", Arg::Bad, 9), Errno::EFAULT);
        fails(call!(k, READLINK, Arg::Bad, &mut [0_u8; 9], 9), Errno::EFAULT);
        fails(call!(k, READLINKAT, 999, c"l", &mut [0_u8; 9], 9), Errno::EBADF);
    }
    [readlink] no_permission_on_the_link_is_needed(k) needs Root {
        k.symlink("target", "l").unwrap();
        as_user(k, 1000, || assert_eq!(k.readlink("l").unwrap(), b"target"));
        k.mkdir("d", 0o700).unwrap();
        k.symlink("t", "d/l").unwrap();
        as_user(k, 1000, || fails(k.readlink("d/l"), Errno::EACCES));
    }
    [readlink] magic_links(k) {
        assert_eq!(k.readlink("/proc/self").unwrap(), k.getpid().to_string().as_bytes());
        let (reader, _writer) = k.pipe2(0).unwrap();
        let link = k.readlink(&format!("/proc/self/fd/{reader}")).unwrap();
        assert_eq!(link, format!("pipe:[{}]", k.fstat(reader).unwrap().st_ino).as_bytes());
    }
    [symlink] trailing_slash_follows_to_a_directory(k) {
        k.mkdir("d", 0o755).unwrap();
        k.symlink("d", "l").unwrap();
        assert_eq!((k.lstat("l").unwrap().st_mode >> 12, k.lstat("l/").unwrap().st_mode >> 12), (0o12, 4));
        k.file("f", b"");
        k.symlink("f", "m").unwrap();
        fails(k.lstat("m/"), Errno::ENOTDIR);
    }
    [symlink] nested_links_count_together(k) {
        k.mkdir("d", 0o755).unwrap();
        k.symlink("d", "s0").unwrap();
        for i in 1..=20 { k.symlink(&format!("s{}", i - 1), &format!("s{i}")).unwrap(); }
        k.symlink("s19/../s19", "twice").unwrap();
        fails(k.open("twice/x", 0, 0), Errno::ELOOP);
        fails(k.open("s18/none", 0, 0), Errno::ENOENT);
    }
    [symlink] creating_through_a_link_makes_the_target(k) {
        k.mkdir("d", 0o755).unwrap();
        k.symlink("d/new", "l").unwrap();
        k.open("l", O_CREAT, 0o600).unwrap();
        k.stat("d/new").unwrap();
    }
    [symlink] modes_of_links_are_fixed(k) {
        call!(k, UMASK, 0o777).unwrap();
        k.symlink("t", "l").unwrap();
        assert_eq!(k.lstat("l").unwrap().st_mode, 0o120777);
    }
}
