//! Mounts as descriptors: `fsopen(2)`, `fsmount(2)`, `open_tree(2)`, `move_mount(2)`, `mount_setattr(2)`.

use chitin_abi::fs::{
    AT_EMPTY_PATH, AT_RECURSIVE, FSCONFIG_CMD_CREATE, FSCONFIG_CMD_RECONFIGURE, FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING, FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH, MountAttr, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE,
};
use chitin_abi::{Errno, Result};
use zerocopy::{FromZeros, IntoBytes};

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{as_user, in_own_mounts};

/// A new tmpfs that is mounted nowhere.
fn detached(k: &dyn Kernel) -> Fd {
    let context = call!(k, FSOPEN, c"tmpfs", FSOPEN_CLOEXEC).unwrap() as Fd;
    call!(k, FSCONFIG, context, FSCONFIG_CMD_CREATE, Arg::Null, Arg::Null, 0).unwrap();
    call!(k, FSMOUNT, context, FSMOUNT_CLOEXEC, 0).unwrap() as Fd
}

fn attach(k: &dyn Kernel, mount: Fd, to: &str) -> Result<u64> {
    let to = format!("{to}\0");
    call!(k, MOVE_MOUNT, mount, c"", -100, to.as_bytes(), MOVE_MOUNT_F_EMPTY_PATH)
}

fn set(k: &dyn Kernel, at: Fd, path: &str, flags: u32, attr: MountAttr) -> Result<u64> {
    let path = format!("{path}\0");
    call!(k, MOUNT_SETATTR, at, path.as_bytes(), flags, attr.as_bytes(), 32)
}

fn with_directory(k: &dyn Kernel, body: impl Fn()) {
    k.mkdir("m", 0o755).unwrap();
    in_own_mounts(k, body);
}

tests! { "mountfd", "fsopen(2)";
    [fsopen, fsconfig, fsmount, move_mount] step_by_step(k) needs Root {
        with_directory(k, || {
            let mount = detached(k);
            assert_eq!(k.fcntl(mount, 1, 0), Ok(1));
            let f = k.openat(mount, "f", 0o102, 0o600).unwrap();
            k.write(f, b"before").unwrap();
            k.close(f).unwrap();
            attach(k, mount, "m").unwrap();
            assert_eq!(k.content("m/f"), b"before");
        });
    }
    [fsopen] errors(k) needs Root {
        fails(call!(k, FSOPEN, c"no-such-type", 0), Errno::ENODEV);
        fails(call!(k, FSOPEN, c"tmpfs", 2), Errno::EINVAL);
        fails(call!(k, FSOPEN, Arg::Bad, 0), Errno::EFAULT);
        as_user(k, 1000, || fails(call!(k, FSOPEN, c"tmpfs", 0), Errno::EPERM));
    }
    [fsconfig] parameters(k) needs Root {
        let context = call!(k, FSOPEN, c"tmpfs", 0).unwrap() as Fd;
        call!(k, FSCONFIG, context, FSCONFIG_SET_STRING, c"size", c"64k", 0).unwrap();
        call!(k, FSCONFIG, context, FSCONFIG_SET_STRING, c"source", c"somewhere", 0).unwrap();
        call!(k, FSCONFIG, context, FSCONFIG_SET_FLAG, c"ro", Arg::Null, 0).unwrap();
        fails(call!(k, FSCONFIG, context, FSCONFIG_SET_STRING, c"no-such", c"x", 0), Errno::EINVAL);
        fails(call!(k, FSCONFIG, context, FSCONFIG_SET_STRING, Arg::Null, c"x", 0), Errno::EINVAL);
        fails(call!(k, FSCONFIG, context, 99, Arg::Null, Arg::Null, 0), Errno::EOPNOTSUPP);
        fails(call!(k, FSCONFIG, 999, FSCONFIG_CMD_CREATE, Arg::Null, Arg::Null, 0), Errno::EBADF);
        fails(call!(k, FSCONFIG, 0, FSCONFIG_CMD_CREATE, Arg::Null, Arg::Null, 0), Errno::EINVAL);
        call!(k, FSCONFIG, context, FSCONFIG_CMD_CREATE, Arg::Null, Arg::Null, 0).unwrap();
        fails(call!(k, FSCONFIG, context, FSCONFIG_CMD_CREATE, Arg::Null, Arg::Null, 0), Errno::EBUSY);
        let mount = call!(k, FSMOUNT, context, 0, 0).unwrap() as Fd;
        fails(k.openat(mount, "f", 0o101, 0o600), Errno::EROFS);
        fails(call!(k, FSMOUNT, context, 0, 0), Errno::EBUSY);
    }
    [fsmount] before_creation(k) needs Root {
        let context = call!(k, FSOPEN, c"tmpfs", 0).unwrap() as Fd;
        fails(call!(k, FSMOUNT, context, 0, 0), Errno::EINVAL);
        fails(call!(k, FSMOUNT, context, 2, 0), Errno::EINVAL);
        fails(call!(k, FSMOUNT, 0, 0, 0), Errno::EINVAL);
    }
    [fsmount] attributes(k) needs Root {
        let context = call!(k, FSOPEN, c"tmpfs", 0).unwrap() as Fd;
        call!(k, FSCONFIG, context, FSCONFIG_CMD_CREATE, Arg::Null, Arg::Null, 0).unwrap();
        fails(call!(k, FSMOUNT, context, 0, 0x8000), Errno::EINVAL);
        let mount = call!(k, FSMOUNT, context, 0, MOUNT_ATTR_RDONLY).unwrap() as Fd;
        fails(k.openat(mount, "f", 0o101, 0o600), Errno::EROFS);
    }
    [open_tree] copies_of_trees(k) needs Root {
        with_directory(k, || {
            k.close(k.file("m/f", b"tree")).unwrap();
            let tree = call!(k, OPEN_TREE, -100, c"m", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC).unwrap() as Fd;
            assert_eq!(k.fcntl(tree, 1, 0), Ok(1));
            k.mkdir("n", 0o755).unwrap();
            attach(k, tree, "n").unwrap();
            assert_eq!(k.content("n/f"), b"tree");
        });
    }
    [open_tree] without_cloning(k) {
        k.mkdir("m", 0o755).unwrap();
        let fd = call!(k, OPEN_TREE, -100, c"m", 0).unwrap() as Fd;
        fails(k.read(fd, &mut [0]), Errno::EBADF);
        fails(call!(k, OPEN_TREE, -100, c"none", 0), Errno::ENOENT);
        fails(call!(k, OPEN_TREE, -100, c"m", 2), Errno::EINVAL);
        fails(call!(k, OPEN_TREE, -100, c"m", AT_RECURSIVE), Errno::EINVAL);
        fails(call!(k, OPEN_TREE, -100, Arg::Bad, 0), Errno::EFAULT);
    }
    [move_mount] errors_of_move(k) needs Root {
        with_directory(k, || {
            let mount = detached(k);
            fails(attach(k, mount, "none"), Errno::ENOENT);
            k.close(k.file("f", b"")).unwrap();
            fails(attach(k, mount, "f"), Errno::EINVAL);
            fails(call!(k, MOVE_MOUNT, mount, c"", -100, c"m", 0x800), Errno::EINVAL);
            fails(call!(k, MOVE_MOUNT, mount, c"", -100, c"m", 0), Errno::ENOENT);
            fails(call!(k, MOVE_MOUNT, -100, c"m", -100, c"m", 0), Errno::EINVAL);
        });
    }
    [mount_setattr] changing_attributes(k) needs Root {
        with_directory(k, || {
            let mount = detached(k);
            attach(k, mount, "m").unwrap();
            let read_only = MountAttr { attr_set: MOUNT_ATTR_RDONLY, ..MountAttr::new_zeroed() };
            set(k, -100, "m", 0, read_only).unwrap();
            fails(k.open("m/f", 0o101, 0o600), Errno::EROFS);
            set(k, -100, "m", 0, MountAttr { attr_clr: MOUNT_ATTR_RDONLY, ..MountAttr::new_zeroed() }).unwrap();
            k.close(k.file("m/f", b"")).unwrap();
            set(k, mount, "", AT_EMPTY_PATH, MountAttr { attr_set: MOUNT_ATTR_NOEXEC, ..MountAttr::new_zeroed() }).unwrap();
        });
    }
    [mount_setattr] errors_of_setattr(k) needs Root {
        with_directory(k, || {
            let attr = MountAttr::new_zeroed();
            set(k, -100, "m", 0, attr).unwrap();
            let read_only = MountAttr { attr_set: MOUNT_ATTR_RDONLY, ..attr };
            fails(set(k, -100, "m", 0, read_only), Errno::EINVAL);
            fails(set(k, -100, ".", 0, MountAttr { attr_set: 1 << 40, ..attr }), Errno::EINVAL);
            fails(set(k, -100, ".", 0, MountAttr { propagation: 5, ..attr }), Errno::EINVAL);
            fails(set(k, -100, "m", 1, read_only), Errno::EINVAL);
            fails(call!(k, MOUNT_SETATTR, -100, c"m", 0, attr.as_bytes(), 31), Errno::EINVAL);
            fails(call!(k, MOUNT_SETATTR, -100, c"m", 0, &[1_u8; 40], 40), Errno::E2BIG);
            fails(call!(k, MOUNT_SETATTR, -100, c"m", 0, Arg::Bad, 32), Errno::EFAULT);
        });
    }
    [fspick, fsconfig] reconfiguration(k) needs Root {
        with_directory(k, || {
            attach(k, detached(k), "m").unwrap();
            let context = call!(k, FSPICK, -100, c"m", 0).unwrap() as Fd;
            call!(k, FSCONFIG, context, FSCONFIG_SET_FLAG, c"ro", Arg::Null, 0).unwrap();
            call!(k, FSCONFIG, context, FSCONFIG_CMD_RECONFIGURE, Arg::Null, Arg::Null, 0).unwrap();
            fails(k.open("m/f", 0o101, 0o600), Errno::EROFS);
            fails(call!(k, FSPICK, -100, c"m", 0x100), Errno::EINVAL);
            k.mkdir("n", 0o755).unwrap();
            fails(call!(k, FSPICK, -100, c"n", 0), Errno::EINVAL);
        });
    }
    [close] detached_mounts_go_with_their_descriptor(k) needs Root {
        let mount = detached(k);
        let file = k.openat(mount, "f", 0o102, 0o600).unwrap();
        k.close(mount).unwrap();
        assert_eq!(k.write(file, b"x"), Ok(1));
    }
}
