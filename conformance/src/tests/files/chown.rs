//! Owners: `chown(2)`, `fchownat(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, O_DIRECTORY};

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, fails, tests};
use crate::tests::shared::{apart, as_user};

fn owner(k: &dyn Kernel, path: &str) -> (u32, u32) {
    let stat = k.lstat(path).unwrap();
    (stat.st_uid, stat.st_gid)
}

tests! { "chown", "chown(2)";
    [chown] minus_one_keeps(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 7, -1).unwrap();
        assert_eq!(owner(k, "f"), (7, 0));
        call!(k, CHOWN, c"f", -1, 8).unwrap();
        call!(k, CHOWN, c"f", -1, -1).unwrap();
        assert_eq!(owner(k, "f"), (7, 8));
    }
    [chown, lchown] links(k) needs Root {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        call!(k, CHOWN, c"l", 7, 8).unwrap();
        assert_eq!((owner(k, "f"), owner(k, "l")), ((7, 8), (0, 0)));
        call!(k, LCHOWN, c"l", 5, 6).unwrap();
        assert_eq!((owner(k, "f"), owner(k, "l")), ((7, 8), (5, 6)));
    }
    [fchown] read_only_descriptor_is_enough(k) needs Root {
        k.file("f", b"");
        call!(k, FCHOWN, k.open("f", 0, 0).unwrap(), 3, 4).unwrap();
        assert_eq!(owner(k, "f"), (3, 4));
    }
    [fchownat] flags(k) needs Root {
        let fd = k.file("f", b"");
        k.symlink("f", "l").unwrap();
        call!(k, FCHOWNAT, -100, c"l", 1, 2, AT_SYMLINK_NOFOLLOW).unwrap();
        call!(k, FCHOWNAT, fd, c"", 3, 4, AT_EMPTY_PATH).unwrap();
        assert_eq!((owner(k, "l"), owner(k, "f")), ((1, 2), (3, 4)));
        fails(call!(k, FCHOWNAT, -100, c"f", 0, 0, 1), Errno::EINVAL);
        fails(call!(k, FCHOWNAT, fd, c"", 0, 0, 0), Errno::ENOENT);
    }
    [chown] errors_of_paths(k) {
        k.file("f", b"");
        fails(call!(k, CHOWN, c"none", -1, -1), Errno::ENOENT);
        fails(call!(k, CHOWN, c"f/x", -1, -1), Errno::ENOTDIR);
        fails(call!(k, CHOWN, Arg::Bad, -1, -1), Errno::EFAULT);
        fails(call!(k, FCHOWN, 999, -1, -1), Errno::EBADF);
        fails(call!(k, FCHOWNAT, 999, c"f", -1, -1, 0), Errno::EBADF);
    }
    [fchownat] relative_to_a_descriptor(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        k.file("d/f", b"");
        call!(k, FCHOWNAT, k.open("d", O_DIRECTORY, 0).unwrap(), c"f", 9, 9, 0).unwrap();
        assert_eq!(owner(k, "d/f"), (9, 9));
    }
    [chown] set_id_bits_are_cleared_even_for_user_0(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o6755).unwrap();
        call!(k, CHOWN, c"f", -1, -1).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mode & 0o7777, 0o755);
    }
    [chown] locking_bit_without_execution_stays(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o6644).unwrap();
        call!(k, CHOWN, c"f", 0, 0).unwrap();
        assert_eq!(k.stat("f").unwrap().st_mode & 0o7777, 0o2644);
    }
    [chown] directories_keep_their_bits(k) needs Root {
        k.mkdir("d", 0o755).unwrap();
        call!(k, CHMOD, c"d", 0o7755).unwrap();
        call!(k, CHOWN, c"d", 5, 5).unwrap();
        assert_eq!(k.stat("d").unwrap().st_mode & 0o7777, 0o7755);
    }
    [chown] owners_may_give_to_their_groups_only(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 1000, 1000).unwrap();
        apart(k, || {
            call!(k, SETGROUPS, 2, &[55_u8, 0, 0, 0, 66, 0, 0, 0]).unwrap();
            call!(k, SETRESGID, 1000, 1000, 1000).unwrap();
            call!(k, SETRESUID, 1000, 1000, 1000).unwrap();
            call!(k, CHOWN, c"f", -1, 55).unwrap();
            call!(k, CHOWN, c"f", 1000, 66).unwrap();
            fails(call!(k, CHOWN, c"f", -1, 77), Errno::EPERM);
            fails(call!(k, CHOWN, c"f", 1001, 66), Errno::EPERM);
        });
        assert_eq!(owner(k, "f"), (1000, 66));
    }
    [chown] others_may_not(k) needs Root {
        k.file("f", b"");
        as_user(k, 1000, || {
            fails(call!(k, CHOWN, c"f", 1000, 1000), Errno::EPERM);
            fails(call!(k, CHOWN, c"f", 0, 0), Errno::EPERM);
        });
    }
    [chown] nothing_to_change_needs_no_right(k) needs Root {
        k.file("f", b"");
        as_user(k, 1000, || { call!(k, CHOWN, c"f", -1, -1).unwrap(); });
    }
    [chown] owner_changing_the_group_drops_set_id_bits(k) needs Root {
        k.file("f", b"");
        call!(k, CHOWN, c"f", 1000, 1000).unwrap();
        call!(k, CHMOD, c"f", 0o6777).unwrap();
        as_user(k, 1000, || { call!(k, CHOWN, c"f", -1, 1000).unwrap(); });
        assert_eq!(k.stat("f").unwrap().st_mode & 0o7777, 0o777);
    }
    [chown] file_capabilities_are_dropped(k) needs Root {
        k.file("f", b"");
        let mut caps = [0_u8; 20];
        caps[3] = 2;
        caps[4] = 1;
        call!(k, SETXATTR, c"f", c"security.capability", &caps, 20, 0).unwrap();
        call!(k, CHOWN, c"f", 5, 5).unwrap();
        fails(call!(k, GETXATTR, c"f", c"security.capability", &mut caps, 20), Errno::ENODATA);
    }
    [creat] new_files_belong_to_the_file_system_ids(k) needs Root {
        call!(k, CHMOD, c".", 0o777).unwrap();
        apart(k, || {
            call!(k, SETFSGID, 1001).unwrap();
            call!(k, SETFSUID, 1000).unwrap();
            call!(k, CREAT, c"f", 0o600).unwrap();
        });
        assert_eq!(owner(k, "f"), (1000, 1001));
    }
    [chown] large_ids(k) needs Root {
        k.file("f", b"");
        let result = call!(k, CHOWN, c"f", 70_000, 70_001);
        if result != Err(Errno::EINVAL) { assert_eq!((result, owner(k, "f")), (Ok(0), (70_000, 70_001))); }
    }
}
