//! Where paths start: `chdir(2)`, `fchdir(2)`, `getcwd(2)`, `chroot(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::O_DIRECTORY;

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, fails, tests};
use crate::tests::shared::{apart, as_user, in_own_mounts};

fn cwd(k: &dyn Kernel) -> String {
    let mut buffer = [0_u8; 4096];
    let count = call!(k, GETCWD, &mut buffer, 4096).unwrap() as usize;
    String::from_utf8(buffer[..count - 1].to_vec()).unwrap()
}

tests! { "cwd", "chdir(2)";
    [getcwd] counts_the_end(k) {
        call!(k, CHDIR, c"/").unwrap();
        let mut buffer = [7_u8; 4];
        assert_eq!((call!(k, GETCWD, &mut buffer, 4), buffer), (Ok(2), [b'/', 0, 7, 7]));
    }
    [getcwd] short_buffers(k) {
        call!(k, CHDIR, c"/proc").unwrap();
        fails(call!(k, GETCWD, &mut [0_u8; 5], 5), Errno::ERANGE);
        fails(call!(k, GETCWD, &mut [0_u8; 1], 0), Errno::ERANGE);
        assert_eq!(call!(k, GETCWD, &mut [0_u8; 6], 6), Ok(6));
        fails(call!(k, GETCWD, Arg::Bad, 100), Errno::EFAULT);
    }
    [chdir, getcwd] relative_and_absolute(k) {
        let start = cwd(k);
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHDIR, c"d").unwrap();
        assert_eq!(cwd(k), format!("{start}/d"));
        call!(k, CHDIR, c"..").unwrap();
        assert_eq!(cwd(k), start);
        call!(k, CHDIR, c"/").unwrap();
        call!(k, CHDIR, c"..").unwrap();
        assert_eq!(cwd(k), "/");
    }
    [chdir, getcwd] links_are_resolved(k) {
        k.mkdir("d", 0o755).unwrap();
        k.symlink("d", "l").unwrap();
        call!(k, CHDIR, c"l").unwrap();
        assert!(cwd(k).ends_with("/d"));
    }
    [chdir] chdir_errors(k) {
        k.file("f", b"");
        k.symlink("l", "l").unwrap();
        fails(call!(k, CHDIR, c"f"), Errno::ENOTDIR);
        fails(call!(k, CHDIR, c"none"), Errno::ENOENT);
        fails(call!(k, CHDIR, c""), Errno::ENOENT);
        fails(call!(k, CHDIR, c"l"), Errno::ELOOP);
        fails(call!(k, CHDIR, Arg::Bad), Errno::EFAULT);
        fails(call!(k, FCHDIR, 999), Errno::EBADF);
        fails(call!(k, FCHDIR, k.file("f", b"")), Errno::ENOTDIR);
    }
    [chdir, fchdir] search_permission(k) needs Root {
        k.mkdir("d", 0o644).unwrap();
        as_user(k, 1000, || {
            fails(call!(k, CHDIR, c"d"), Errno::EACCES);
            let d = k.open("d", O_DIRECTORY, 0).unwrap();
            fails(call!(k, FCHDIR, d), Errno::EACCES);
        });
    }
    [fchdir] comes_back(k) {
        let (start, fd) = (cwd(k), k.open(".", O_DIRECTORY, 0).unwrap());
        call!(k, CHDIR, c"/").unwrap();
        call!(k, FCHDIR, fd).unwrap();
        assert_eq!(cwd(k), start);
    }
    [chdir, fork] children_have_their_own(k) {
        let start = cwd(k);
        apart(k, || { call!(k, CHDIR, c"/").unwrap(); });
        assert_eq!(cwd(k), start);
    }
    [chdir] threads_share_it(k) {
        std::thread::scope(|scope| { scope.spawn(|| call!(k, CHDIR, c"/").unwrap()); });
        assert_eq!(cwd(k), "/");
    }
    [unshare, chdir] unsharing_thread_has_its_own(k) {
        let start = cwd(k);
        std::thread::scope(|scope| {
            scope.spawn(|| { call!(k, UNSHARE, 0x200).unwrap(); call!(k, CHDIR, c"/").unwrap(); });
        });
        assert_eq!(cwd(k), start);
    }
    [chdir] proc_link_shows_it(k) {
        call!(k, CHDIR, c"/proc").unwrap();
        assert_eq!(k.readlink("/proc/self/cwd").unwrap(), b"/proc");
        assert_eq!(k.readlink("/proc/self/root").unwrap(), b"/");
    }
    [chroot] paths_start_there(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/f", b"inside");
        apart(k, || {
            call!(k, CHROOT, c"d").unwrap();
            assert_eq!(k.content("/f"), b"inside");
            assert_eq!(k.content("/../../f"), b"inside");
            call!(k, CHDIR, c"/").unwrap();
            assert_eq!(cwd(k), "/");
        });
    }
    [chroot, getcwd] working_directory_outside_is_unreachable(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        apart(k, || {
            call!(k, CHROOT, c"d").unwrap();
            assert!(cwd(k).starts_with("(unreachable)/"));
        });
    }
    [chroot] links_are_resolved_inside(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/f", b"inside");
        k.symlink("/f", "d/l").unwrap();
        apart(k, || {
            call!(k, CHROOT, c"d").unwrap();
            call!(k, CHDIR, c"/").unwrap();
            assert_eq!(k.content("l"), b"inside");
        });
    }
    [chroot] descriptors_still_lead_out(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        k.file("f", b"outside");
        let out = k.open(".", O_DIRECTORY, 0).unwrap();
        apart(k, || {
            call!(k, CHROOT, c"d").unwrap();
            call!(k, FCHDIR, out).unwrap();
            assert_eq!(k.content("f"), b"outside");
        });
    }
    [chroot] chroot_errors(k) needs Root {
        k.file("f", b"");
        fails(call!(k, CHROOT, c"none"), Errno::ENOENT);
        fails(call!(k, CHROOT, c"f"), Errno::ENOTDIR);
        fails(call!(k, CHROOT, Arg::Bad), Errno::EFAULT);
        as_user(k, 1000, || fails(call!(k, CHROOT, c"/"), Errno::EPERM));
    }
    [chroot] permission_comes_after_the_path(k) needs Root {
        k.mkdir("d", 0).unwrap();
        as_user(k, 1000, || {
            fails(call!(k, CHROOT, c"none"), Errno::ENOENT);
            fails(call!(k, CHROOT, c"d"), Errno::EACCES);
        });
    }
    [chroot, fork] children_inherit_it(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/mark", b"");
        apart(k, || {
            call!(k, CHROOT, c"d").unwrap();
            apart(k, || { k.stat("/mark").unwrap(); });
        });
        fails(k.stat("/mark"), Errno::ENOENT);
    }
    [getcwd] below_a_mount(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            let start = cwd(k);
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            call!(k, CHDIR, c"m").unwrap();
            k.mkdir("d", 0o755).unwrap();
            call!(k, CHDIR, c"d").unwrap();
            assert_eq!(cwd(k), format!("{start}/m/d"));
            call!(k, UMOUNT2, format!("{start}/m\0").as_bytes(), 2).unwrap();
            assert!(cwd(k).starts_with("(unreachable)"), "{}", cwd(k));
        });
    }
    [chdir] long_paths_by_steps(k) {
        let name = "n".repeat(250);
        for _ in 0..20 {
            k.mkdir(&name, 0o755).unwrap();
            let path = std::ffi::CString::new(name.as_str()).unwrap();
            call!(k, CHDIR, path.as_c_str()).unwrap();
        }
        fails(call!(k, GETCWD, &mut [0_u8; 8192], 8192), Errno::ENAMETOOLONG);
        k.file("f", b"deep");
        assert_eq!(k.content("f"), b"deep");
    }
}
