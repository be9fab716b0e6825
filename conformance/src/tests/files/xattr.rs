//! Extended attributes: `xattr(7)`.

use chitin_abi::{Errno, Result};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::as_user;

fn set(k: &dyn Kernel, path: &str, name: &str, value: &[u8], flags: u32) -> Result<u64> {
    let (path, name) = (format!("{path}\0"), format!("{name}\0"));
    call!(k, LSETXATTR, path.as_bytes(), name.as_bytes(), value, value.len(), flags)
}

fn get(k: &dyn Kernel, path: &str, name: &str) -> Result<Vec<u8>> {
    let (path, name, mut value) = (format!("{path}\0"), format!("{name}\0"), vec![0; 65536]);
    let count = call!(k, LGETXATTR, path.as_bytes(), name.as_bytes(), value.as_mut_slice(), 65536)?;
    value.truncate(count as usize);
    Ok(value)
}

fn list(k: &dyn Kernel, path: &str) -> Vec<String> {
    let (path, mut names) = (format!("{path}\0"), vec![0; 65536]);
    let count =
        call!(k, LLISTXATTR, path.as_bytes(), names.as_mut_slice(), 65536).unwrap() as usize;
    let texts = names[..count].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut names: Vec<_> = texts.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    names.sort();
    names
}

tests! { "xattr", "xattr(7)";
    [setxattr, getxattr] values_are_bytes(k) {
        k.file("f", b"");
        for value in [b"".as_slice(), b"\0", b"a\0b", &[255; 1000]] {
            set(k, "f", "user.a", value, 0).unwrap();
            assert_eq!(get(k, "f", "user.a").unwrap(), value);
        }
    }
    [listxattr] names_in_a_list(k) {
        k.file("f", b"");
        for name in ["user.b", "user.a", "user.c"] { set(k, "f", name, b"", 0).unwrap(); }
        assert_eq!(list(k, "f"), ["user.a", "user.b", "user.c"]);
    }
    [listxattr] sizes(k) {
        k.file("f", b"");
        set(k, "f", "user.abc", b"x", 0).unwrap();
        assert_eq!(call!(k, LISTXATTR, c"f", Arg::Null, 0), Ok(9));
        fails(call!(k, LISTXATTR, c"f", &mut [0_u8; 8], 8), Errno::ERANGE);
        fails(call!(k, LISTXATTR, c"f", Arg::Bad, 9), Errno::EFAULT);
    }
    [setxattr] creating_and_replacing(k) {
        k.file("f", b"");
        fails(set(k, "f", "user.a", b"1", 2), Errno::ENODATA);
        set(k, "f", "user.a", b"1", 1).unwrap();
        fails(set(k, "f", "user.a", b"2", 1), Errno::EEXIST);
        set(k, "f", "user.a", b"3", 2).unwrap();
        assert_eq!(get(k, "f", "user.a").unwrap(), b"3");
        fails(set(k, "f", "user.a", b"4", 4), Errno::EINVAL);
    }
    [setxattr] names(k) {
        k.file("f", b"");
        fails(set(k, "f", &format!("user.{}", "x".repeat(251)), b"", 0), Errno::ERANGE);
        set(k, "f", &format!("user.{}", "x".repeat(250)), b"", 0).unwrap();
        fails(set(k, "f", "none.a", b"", 0), Errno::EOPNOTSUPP);
        fails(set(k, "f", "user", b"", 0), Errno::EOPNOTSUPP);
        fails(set(k, "f", "user.", b"", 0), Errno::EINVAL);
        fails(set(k, "f", "", b"", 0), Errno::ERANGE);
    }
    [setxattr] largest_value(k) {
        k.file("f", b"");
        fails(set(k, "f", "user.a", &vec![0; 65537], 0), Errno::E2BIG);
    }
    [getxattr] sizes_of_values(k) {
        k.file("f", b"");
        set(k, "f", "user.a", b"12345", 0).unwrap();
        assert_eq!(call!(k, GETXATTR, c"f", c"user.a", Arg::Null, 0), Ok(5));
        assert_eq!(call!(k, GETXATTR, c"f", c"user.a", Arg::Bad, 0), Ok(5));
        fails(call!(k, GETXATTR, c"f", c"user.a", &mut [0_u8; 4], 4), Errno::ERANGE);
        fails(call!(k, GETXATTR, c"f", c"user.a", Arg::Bad, 5), Errno::EFAULT);
    }
    [setxattr, getxattr, removexattr] pointers_fault(k) {
        k.file("f", b"");
        fails(call!(k, SETXATTR, Arg::Bad, c"user.a", b"x", 1, 0), Errno::EFAULT);
        fails(call!(k, SETXATTR, c"f", Arg::Bad, b"x", 1, 0), Errno::EFAULT);
        fails(call!(k, SETXATTR, c"f", c"user.a", Arg::Bad, 1, 0), Errno::EFAULT);
        fails(call!(k, GETXATTR, c"f", Arg::Null, Arg::Null, 0), Errno::EFAULT);
        fails(call!(k, REMOVEXATTR, c"f", Arg::Bad), Errno::EFAULT);
    }
    [removexattr] removal(k) {
        k.file("f", b"");
        set(k, "f", "user.a", b"1", 0).unwrap();
        call!(k, REMOVEXATTR, c"f", c"user.a").unwrap();
        fails(get(k, "f", "user.a"), Errno::ENODATA);
        fails(call!(k, REMOVEXATTR, c"f", c"user.a"), Errno::ENODATA);
        fails(call!(k, REMOVEXATTR, c"none", c"user.a"), Errno::ENOENT);
    }
    [fsetxattr, fgetxattr, flistxattr, fremovexattr] by_descriptor(k) {
        let fd = k.file("f", b"");
        let reader = k.open("f", 0, 0).unwrap();
        call!(k, FSETXATTR, reader, c"user.a", b"1", 1, 0).unwrap();
        assert_eq!(call!(k, FGETXATTR, fd, c"user.a", Arg::Null, 0), Ok(1));
        assert_eq!(call!(k, FLISTXATTR, fd, Arg::Null, 0), Ok(7));
        call!(k, FREMOVEXATTR, fd, c"user.a").unwrap();
        for errno in [call!(k, FGETXATTR, 999, c"user.a", Arg::Null, 0), call!(k, FLISTXATTR, 999, Arg::Null, 0)] { fails(errno, Errno::EBADF); }
    }
    [setxattr, lsetxattr] links(k) needs Root {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        call!(k, SETXATTR, c"l", c"user.a", b"1", 1, 0).unwrap();
        assert_eq!(get(k, "f", "user.a").unwrap(), b"1");
        fails(set(k, "l", "user.a", b"1", 0), Errno::EPERM);
        fails(get(k, "l", "user.a"), Errno::ENODATA);
        set(k, "l", "trusted.a", b"1", 0).unwrap();
        assert_eq!((get(k, "l", "trusted.a").unwrap(), get(k, "f", "trusted.a")), (b"1".to_vec(), Err(Errno::ENODATA)));
    }
    [setxattr] user_attributes_are_for_files_and_directories(k) {
        k.mkdir("d", 0o755).unwrap();
        set(k, "d", "user.a", b"1", 0).unwrap();
        call!(k, MKNOD, c"p", 0o10600, 0).unwrap();
        fails(set(k, "p", "user.a", b"1", 0), Errno::EPERM);
        fails(get(k, "p", "user.a"), Errno::ENODATA);
    }
    [setxattr] user_attributes_follow_permissions(k) needs Root {
        k.file("f", b"");
        set(k, "f", "user.a", b"1", 0).unwrap();
        call!(k, CHMOD, c"f", 0o644).unwrap();
        as_user(k, 1000, || {
            assert_eq!(get(k, "f", "user.a").unwrap(), b"1");
            fails(set(k, "f", "user.a", b"2", 0), Errno::EACCES);
            fails(call!(k, REMOVEXATTR, c"f", c"user.a"), Errno::EACCES);
        });
        call!(k, CHMOD, c"f", 0o600).unwrap();
        as_user(k, 1000, || fails(get(k, "f", "user.a"), Errno::EACCES));
    }
    [setxattr] sticky_directories_belong_to_their_owner(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHMOD, c"d", 0o1777).unwrap();
        as_user(k, 1000, || fails(set(k, "d", "user.a", b"1", 0), Errno::EPERM));
    }
    [setxattr, listxattr] trusted_attributes_are_for_user_0(k) needs Root {
        k.file("f", b"");
        set(k, "f", "trusted.a", b"1", 0).unwrap();
        assert_eq!(list(k, "f"), ["trusted.a"]);
        call!(k, CHMOD, c"f", 0o666).unwrap();
        as_user(k, 1000, || {
            fails(set(k, "f", "trusted.a", b"1", 0), Errno::EPERM);
            fails(get(k, "f", "trusted.a"), Errno::ENODATA);
            assert!(list(k, "f").is_empty());
        });
    }
    [setxattr] security_attributes(k) needs Root {
        k.file("f", b"");
        set(k, "f", "security.other", b"1", 0).unwrap();
        call!(k, CHMOD, c"f", 0o666).unwrap();
        as_user(k, 1000, || {
            assert_eq!(get(k, "f", "security.other").unwrap(), b"1");
            fails(set(k, "f", "security.other", b"2", 0), Errno::EPERM);
        });
    }
    [setxattr] capabilities_are_checked(k) needs Root {
        k.file("f", b"");
        fails(set(k, "f", "security.capability", b"short", 0), Errno::EINVAL);
        let mut caps = [0_u8; 20];
        caps[3] = 2;
        set(k, "f", "security.capability", &caps, 0).unwrap();
        assert_eq!(get(k, "f", "security.capability").unwrap(), caps);
    }
    [write, getxattr] writing_drops_capabilities(k) needs Root {
        let fd: Fd = k.file("f", b"");
        let mut caps = [0_u8; 20];
        caps[3] = 2;
        set(k, "f", "security.capability", &caps, 0).unwrap();
        k.write(fd, b"x").unwrap();
        fails(get(k, "f", "security.capability"), Errno::ENODATA);
    }
    [setxattr] change_time_moves(k) {
        k.file("f", b"");
        let before = k.stat("f").unwrap();
        k.sleep_ms(15);
        set(k, "f", "user.a", b"1", 0).unwrap();
        let after = k.stat("f").unwrap();
        assert!((after.st_ctime, after.st_ctime_nsec) > (before.st_ctime, before.st_ctime_nsec));
    }
    [setxattr, rename] attributes_belong_to_the_inode(k) {
        k.file("f", b"");
        set(k, "f", "user.a", b"1", 0).unwrap();
        k.link("f", "g").unwrap();
        k.rename2("f", "h", 0).unwrap();
        assert_eq!((get(k, "g", "user.a"), get(k, "h", "user.a")), (Ok(b"1".to_vec()), Ok(b"1".to_vec())));
    }
    [setxattrat, getxattrat, listxattrat, removexattrat] at_calls(k) {
        k.file("f", b"");
        let value = *b"12";
        let mut args = [0_u8; 16];
        args[..8].copy_from_slice(&(value.as_ptr() as u64).to_ne_bytes());
        args[8] = 2;
        match call!(k, SETXATTRAT, -100, c"f", 0, c"user.a", &args, 16) {
            Err(errno) => assert_eq!(errno, Errno::ENOSYS, "a kernel before 6.13"),
            Ok(_) => {
                assert_eq!(call!(k, GETXATTRAT, -100, c"f", 0, c"user.a", &[0_u8; 16], 16), Ok(2));
                assert_eq!(call!(k, LISTXATTRAT, -100, c"f", 0, Arg::Null, 0), Ok(7));
                call!(k, REMOVEXATTRAT, -100, c"f", 0, c"user.a").unwrap();
                fails(call!(k, REMOVEXATTRAT, -100, c"f", 1, c"user.a"), Errno::EINVAL);
            }
        }
    }
}
