//! File handles: `name_to_handle_at(2)`, `open_by_handle_at(2)`.

use chitin_abi::fs::{AT_EMPTY_PATH, AT_SYMLINK_FOLLOW, O_DIRECTORY, O_PATH, O_RDWR};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{as_user, fdinfo, int};

/// A handle with room for as much as there may be, and the mount it is on.
fn handle(k: &dyn Kernel, at: Fd, path: &str, flags: u32) -> Result<(Vec<u8>, i32)> {
    let (path, mut handle, mut mount) = (format!("{path}\0"), vec![0_u8; 136], 0_i32);
    handle[0] = 128;
    call!(
        k,
        NAME_TO_HANDLE_AT,
        at,
        path.as_bytes(),
        handle.as_mut_slice(),
        mount.as_mut_bytes(),
        flags
    )?;
    Ok((handle, mount))
}

fn open_handle(k: &dyn Kernel, mount: Fd, handle: &[u8], flags: u32) -> Result<Fd> {
    call!(k, OPEN_BY_HANDLE_AT, mount, handle, flags).map(|fd| fd as Fd)
}

tests! { "handle", "open_by_handle_at(2)";
    [name_to_handle_at, open_by_handle_at] there_and_back(k) needs Root {
        k.file("f", b"content");
        let (handle, _) = handle(k, -100, "f", 0).unwrap();
        let fd = open_handle(k, -100, &handle, 0).unwrap();
        assert_eq!(k.read_some(fd, 9).unwrap(), b"content");
    }
    [name_to_handle_at] mount_is_told(k) {
        let fd = k.file("f", b"");
        let (_, mount) = handle(k, -100, "f", 0).unwrap();
        assert_eq!(mount.to_string(), fdinfo(k, fd, "mnt_id").unwrap());
    }
    [name_to_handle_at] needed_size_is_told(k) {
        k.file("f", b"");
        let (mut bytes, mut mount) = ([0_u8; 8], 0_i32);
        fails(call!(k, NAME_TO_HANDLE_AT, -100, c"f", &mut bytes, mount.as_mut_bytes(), 0), Errno::EOVERFLOW);
        assert_eq!(int(&bytes, 0), int(&handle(k, -100, "f", 0).unwrap().0, 0));
    }
    [name_to_handle_at] one_file_has_one_handle(k) {
        k.file("f", b"");
        k.link("f", "g").unwrap();
        k.file("h", b"");
        let [f, g, h] = ["f", "g", "h"].map(|name| handle(k, -100, name, 0).unwrap().0);
        assert!(f == g && f != h);
    }
    [open_by_handle_at] rename_changes_nothing(k) needs Root {
        k.file("f", b"moved");
        let (handle, _) = handle(k, -100, "f", 0).unwrap();
        k.rename2("f", "g", 0).unwrap();
        assert_eq!(k.read_some(open_handle(k, -100, &handle, 0).unwrap(), 9).unwrap(), b"moved");
    }
    [open_by_handle_at] removed_file_is_stale(k) needs Root {
        let fd = k.file("f", b"");
        let (handle, _) = handle(k, -100, "f", 0).unwrap();
        k.close(fd).unwrap();
        k.unlink("f").unwrap();
        fails(open_handle(k, -100, &handle, 0), Errno::ESTALE);
    }
    [open_by_handle_at] flags_of_open(k) needs Root {
        k.file("f", b"abc");
        k.mkdir("d", 0o755).unwrap();
        let (f, d) = (handle(k, -100, "f", 0).unwrap().0, handle(k, -100, "d", 0).unwrap().0);
        k.write(open_handle(k, -100, &f, O_RDWR).unwrap(), b"X").unwrap();
        assert_eq!(k.content("f"), b"Xbc");
        open_handle(k, -100, &d, O_DIRECTORY).unwrap();
        fails(open_handle(k, -100, &f, O_DIRECTORY), Errno::ENOTDIR);
        fails(open_handle(k, -100, &d, O_RDWR), Errno::EISDIR);
        open_handle(k, -100, &f, O_PATH).unwrap();
    }
    [open_by_handle_at] capability(k) needs Root {
        k.file("f", b"");
        let (handle, _) = handle(k, -100, "f", 0).unwrap();
        as_user(k, 1000, || fails(open_handle(k, -100, &handle, 0), Errno::EPERM));
    }
    [name_to_handle_at] needs_no_capability(k) needs Root {
        k.file("f", b"");
        as_user(k, 1000, || { handle(k, -100, "f", 0).unwrap(); });
    }
    [name_to_handle_at] links(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        let (file, link) = (handle(k, -100, "f", 0).unwrap().0, handle(k, -100, "l", 0).unwrap().0);
        assert!(file != link && handle(k, -100, "l", AT_SYMLINK_FOLLOW).unwrap().0 == file);
    }
    [name_to_handle_at] descriptors(k) {
        let fd = k.file("f", b"");
        assert_eq!(handle(k, fd, "", AT_EMPTY_PATH).unwrap(), handle(k, -100, "f", 0).unwrap());
        fails(handle(k, fd, "", 0), Errno::ENOENT);
        fails(handle(k, 999, "f", 0), Errno::EBADF);
    }
    [name_to_handle_at] errors(k) {
        k.file("f", b"");
        let (mut bytes, mut mount) = ([0_u8; 136], [0_u8; 4]);
        bytes[0] = 129;
        fails(call!(k, NAME_TO_HANDLE_AT, -100, c"f", &mut bytes, &mut mount, 0), Errno::EINVAL);
        bytes[0] = 128;
        fails(call!(k, NAME_TO_HANDLE_AT, -100, c"f", &mut bytes, &mut mount, 0x100), Errno::EINVAL);
        fails(call!(k, NAME_TO_HANDLE_AT, -100, c"none", &mut bytes, &mut mount, 0), Errno::ENOENT);
        fails(call!(k, NAME_TO_HANDLE_AT, -100, Arg::Bad, &mut bytes, &mut mount, 0), Errno::EFAULT);
        fails(call!(k, NAME_TO_HANDLE_AT, -100, c"f", Arg::Bad, &mut mount, 0), Errno::EFAULT);
        fails(call!(k, NAME_TO_HANDLE_AT, -100, c"f", &mut bytes, Arg::Bad, 0), Errno::EFAULT);
    }
    [open_by_handle_at] errors_of_handles(k) needs Root {
        k.file("f", b"");
        let (mut good, _) = handle(k, -100, "f", 0).unwrap();
        fails(open_handle(k, 999, &good, 0), Errno::EBADF);
        fails(call!(k, OPEN_BY_HANDLE_AT, -100, Arg::Bad, 0), Errno::EFAULT);
        fails(open_handle(k, -100, &[0; 8], 0), Errno::EINVAL);
        good[0] = 129;
        fails(open_handle(k, -100, &good, 0), Errno::EINVAL);
        good[0] = 8;
        good[8..16].fill(0xee);
        fails(open_handle(k, -100, &good, 0), Errno::ESTALE);
    }
    [name_to_handle_at] proc_has_no_handles(k) {
        fails(handle(k, -100, "/proc/version", 0), Errno::EOPNOTSUPP);
    }
}
