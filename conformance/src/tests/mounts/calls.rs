//! `mount(2)`, `umount2(2)`, `pivot_root(2)`.

use chitin_abi::fs::{
    MNT_DETACH, MNT_EXPIRE, MS_BIND, MS_MOVE, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE,
    MS_RDONLY, MS_REC, MS_REMOUNT, MS_SHARED, MS_SLAVE, MS_UNBINDABLE, O_RDWR, UMOUNT_NOFOLLOW,
};
use chitin_abi::{Errno, Result};

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, Processes, fails, tests};
use crate::tests::shared::{apart, as_user, exec_shell, in_own_mounts, text};

fn tmpfs(k: &dyn Kernel, at: &str, flags: u64) -> Result<u64> {
    let at = format!("{at}\0");
    call!(k, MOUNT, c"none", at.as_bytes(), c"tmpfs", flags, Arg::Null)
}

fn bind(k: &dyn Kernel, from: &str, to: &str, flags: u64) -> Result<u64> {
    let (from, to) = (format!("{from}\0"), format!("{to}\0"));
    call!(
        k,
        MOUNT,
        from.as_bytes(),
        to.as_bytes(),
        Arg::Null,
        u64::from(MS_BIND) | flags,
        Arg::Null
    )
}

fn change(k: &dyn Kernel, at: &str, flags: u64) -> Result<u64> {
    let at = format!("{at}\0");
    call!(k, MOUNT, Arg::Null, at.as_bytes(), Arg::Null, flags, Arg::Null)
}

fn umount(k: &dyn Kernel, at: &str, flags: u32) -> Result<u64> {
    let at = format!("{at}\0");
    call!(k, UMOUNT2, at.as_bytes(), flags)
}

/// The line of a mount point in `/proc/self/mountinfo`.
fn line(k: &dyn Kernel, name: &str) -> Option<String> {
    let end = format!("/{name}");
    let text = text(k, "/proc/self/mountinfo");
    text.lines()
        .rev()
        .find(|line| line.split(' ').nth(4).is_some_and(|at| at.ends_with(&end)))
        .map(str::to_owned)
}

fn with_directories(k: &dyn Kernel, body: impl Fn()) {
    for name in ["m", "n"] {
        k.mkdir(name, 0o755).unwrap();
    }
    in_own_mounts(k, body);
}

tests! { "mount", "mount(2)";
    [mount, umount2] covers_and_uncovers(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        k.file("m/below", b"");
        in_own_mounts(k, || {
            tmpfs(k, "m", 0).unwrap();
            fails(k.stat("m/below"), Errno::ENOENT);
            k.close(k.file("m/above", b"")).unwrap();
            umount(k, "m", 0).unwrap();
            k.stat("m/below").unwrap();
            fails(k.stat("m/above"), Errno::ENOENT);
        });
    }
    [mount] stacks(k) needs Root {
        with_directories(k, || {
            for name in ["a", "b"] { tmpfs(k, "m", 0).unwrap(); k.close(k.file(&format!("m/{name}"), b"")).unwrap(); }
            k.stat("m/b").unwrap();
            umount(k, "m", 0).unwrap();
            k.stat("m/a").unwrap();
        });
    }
    [mount] errors(k) needs Root {
        k.file("f", b"");
        with_directories(k, || {
            fails(tmpfs(k, "none", 0), Errno::ENOENT);
            fails(tmpfs(k, "f", 0), Errno::ENOTDIR);
            fails(call!(k, MOUNT, c"none", c"m", c"no-such-type", 0, Arg::Null), Errno::ENODEV);
            fails(call!(k, MOUNT, c"none", c"m", Arg::Null, 0, Arg::Null), Errno::EINVAL);
            fails(call!(k, MOUNT, c"none", Arg::Bad, c"tmpfs", 0, Arg::Null), Errno::EFAULT);
            fails(call!(k, MOUNT, c"none", c"m", Arg::Bad, 0, Arg::Null), Errno::EFAULT);
            fails(call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, c"no-such-option"), Errno::EINVAL);
            fails(bind(k, "none", "m", 0), Errno::ENOENT);
            fails(bind(k, "f", "m", 0), Errno::ENOTDIR);
            fails(bind(k, "m", "f", 0), Errno::ENOTDIR);
        });
    }
    [mount, umount2] capability(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        as_user(k, 1000, || {
            fails(tmpfs(k, "m", 0), Errno::EPERM);
            fails(umount(k, "/proc", 0), Errno::EPERM);
        });
    }
    [mount] options_of_tmpfs(k) needs Root {
        with_directories(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, c"size=8k,nr_inodes=3,mode=0711,uid=5,gid=6").unwrap();
            let stat = k.stat("m").unwrap();
            assert_eq!((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid), (0o711, 5, 6));
            let fd = k.open("m/f", O_RDWR | 0o100, 0o600).unwrap();
            assert_eq!(k.write(fd, &[1; 20_000]), Ok(8192));
            fails(k.write(fd, b"x"), Errno::ENOSPC);
            k.close(k.file("m/g", b"")).unwrap();
            fails(k.open("m/h", 0o101, 0o600), Errno::ENOSPC);
        });
    }
    [mount] read_only(k) needs Root {
        with_directories(k, || {
            tmpfs(k, "m", MS_RDONLY.into()).unwrap();
            fails(k.open("m/f", 0o101, 0o600), Errno::EROFS);
            change(k, "m", MS_REMOUNT.into()).unwrap();
            let fd = k.file("m/f", b"");
            fails(change(k, "m", u64::from(MS_REMOUNT | MS_RDONLY)), Errno::EBUSY);
            k.close(fd).unwrap();
            change(k, "m", u64::from(MS_REMOUNT | MS_RDONLY)).unwrap();
            fails(k.open("m/f", O_RDWR, 0), Errno::EROFS);
        });
    }
    [mount] read_only_bind_of_a_writable_tree(k) needs Root {
        with_directories(k, || {
            bind(k, "m", "n", 0).unwrap();
            change(k, "n", u64::from(MS_REMOUNT | MS_BIND | MS_RDONLY)).unwrap();
            fails(k.open("n/f", 0o101, 0o600), Errno::EROFS);
            k.close(k.file("m/f", b"seen")).unwrap();
            assert_eq!(k.content("n/f"), b"seen");
        });
    }
    [mount, execve] no_execution(k) needs Root {
        with_directories(k, || {
            tmpfs(k, "m", MS_NOEXEC.into()).unwrap();
            let fd = k.file("m/run", b"#!/bin/sh\n");
            k.close(fd).unwrap();
            call!(k, CHMOD, c"m/run", 0o755).unwrap();
            let child = k.child(|| { exec_shell(k, "m/run"); 1 });
            assert_eq!(k.status(child) >> 8, 126);
            fails(call!(k, ACCESS, c"m/run", 1), Errno::EACCES);
        });
    }
    [mount, openat] no_devices(k) needs Root {
        with_directories(k, || {
            tmpfs(k, "m", MS_NODEV.into()).unwrap();
            call!(k, MKNOD, c"m/null", 0o20666, 0x103).unwrap();
            fails(k.open("m/null", 0, 0), Errno::EACCES);
        });
    }
    [mount] flags_are_shown(k) needs Root {
        with_directories(k, || {
            tmpfs(k, "m", u64::from(MS_NOSUID | MS_NODEV | MS_NOEXEC)).unwrap();
            let line = line(k, "m").unwrap();
            assert!(line.contains(" rw,nosuid,nodev,noexec,relatime") && line.contains(" - tmpfs none rw"), "{line}");
        });
    }
    [mount] bound_files(k) needs Root {
        k.file("f", b"one");
        k.file("g", b"two");
        in_own_mounts(k, || {
            bind(k, "f", "g", 0).unwrap();
            assert_eq!(k.content("g"), b"one");
            umount(k, "g", 0).unwrap();
            assert_eq!(k.content("g"), b"two");
        });
    }
    [mount] binds_with_and_without_what_is_below(k) needs Root {
        with_directories(k, || {
            k.mkdir("m/sub", 0o755).unwrap();
            tmpfs(k, "m/sub", 0).unwrap();
            k.close(k.file("m/sub/f", b"")).unwrap();
            bind(k, "m", "n", 0).unwrap();
            fails(k.stat("n/sub/f"), Errno::ENOENT);
            umount(k, "n", 0).unwrap();
            bind(k, "m", "n", MS_REC.into()).unwrap();
            k.stat("n/sub/f").unwrap();
        });
    }
    [mount] moving(k) needs Root {
        with_directories(k, || {
            tmpfs(k, "m", 0).unwrap();
            k.close(k.file("m/f", b"")).unwrap();
            call!(k, MOUNT, c"m", c"n", Arg::Null, MS_MOVE, Arg::Null).unwrap();
            k.stat("n/f").unwrap();
            fails(k.stat("m/f"), Errno::ENOENT);
            fails(call!(k, MOUNT, c"m", c"n", Arg::Null, MS_MOVE, Arg::Null), Errno::EINVAL);
            k.mkdir("n/d", 0o755).unwrap();
            fails(call!(k, MOUNT, c"n", c"n/d", Arg::Null, MS_MOVE, Arg::Null), Errno::ELOOP);
        });
    }
    [umount2] busy_and_lazy(k) needs Root {
        with_directories(k, || {
            tmpfs(k, "m", 0).unwrap();
            let fd = k.file("m/f", b"open");
            fails(umount(k, "m", 0), Errno::EBUSY);
            umount(k, "m", MNT_DETACH).unwrap();
            assert!(line(k, "m").is_none());
            assert_eq!(k.read_some(fd, 9).unwrap(), b"open");
            fails(k.stat("m/f"), Errno::ENOENT);
        });
    }
    [umount2] errors_of_umount(k) needs Root {
        with_directories(k, || {
            fails(umount(k, "m", 0), Errno::EINVAL);
            fails(umount(k, "none", 0), Errno::ENOENT);
            fails(umount(k, "m", 0x100), Errno::EINVAL);
            fails(call!(k, UMOUNT2, Arg::Bad, 0), Errno::EFAULT);
            tmpfs(k, "m", 0).unwrap();
            k.symlink("m", "l").unwrap();
            fails(umount(k, "l", UMOUNT_NOFOLLOW), Errno::EINVAL);
            fails(umount(k, "m", MNT_EXPIRE | MNT_DETACH), Errno::EINVAL);
            fails(umount(k, "m", MNT_EXPIRE), Errno::EAGAIN);
            umount(k, "m", MNT_EXPIRE).unwrap();
        });
    }
    [mount] sharing_and_slaves(k) needs Root {
        with_directories(k, || {
            tmpfs(k, "m", 0).unwrap();
            change(k, "m", MS_SHARED.into()).unwrap();
            bind(k, "m", "n", 0).unwrap();
            k.mkdir("m/sub", 0o755).unwrap();
            tmpfs(k, "m/sub", 0).unwrap();
            k.close(k.file("m/sub/f", b"")).unwrap();
            k.stat("n/sub/f").unwrap();
            umount(k, "n/sub", 0).unwrap();
            fails(k.stat("m/sub/f"), Errno::ENOENT);
            change(k, "n", MS_SLAVE.into()).unwrap();
            tmpfs(k, "n/sub", 0).unwrap();
            k.close(k.file("n/sub/g", b"")).unwrap();
            fails(k.stat("m/sub/g"), Errno::ENOENT);
        });
    }
    [mount] propagation_is_shown(k) needs Root {
        with_directories(k, || {
            tmpfs(k, "m", 0).unwrap();
            assert!(!line(k, "m").unwrap().contains("shared:"));
            change(k, "m", MS_SHARED.into()).unwrap();
            assert!(line(k, "m").unwrap().contains(" shared:"));
            change(k, "m", MS_UNBINDABLE.into()).unwrap();
            assert!(line(k, "m").unwrap().contains(" unbindable "));
            fails(bind(k, "m", "n", 0), Errno::EINVAL);
            fails(change(k, "m", u64::from(MS_PRIVATE | MS_SHARED)), Errno::EINVAL);
        });
    }
    [unshare, mount] namespaces_are_apart(k) needs Root {
        with_directories(k, || {
            apart(k, || {
                call!(k, UNSHARE, 0x2_0000).unwrap();
                tmpfs(k, "m", 0).unwrap();
                k.close(k.file("m/f", b"")).unwrap();
            });
            fails(k.stat("m/f"), Errno::ENOENT);
        });
    }
    [pivot_root] new_root(k) needs Root {
        with_directories(k, || {
            tmpfs(k, "m", 0).unwrap();
            k.mkdir("m/old", 0o755).unwrap();
            k.close(k.file("m/mark", b"")).unwrap();
            call!(k, PIVOT_ROOT, c"m", c"m/old").unwrap();
            call!(k, CHDIR, c"/").unwrap();
            k.stat("/mark").unwrap();
            k.stat("/old/proc").unwrap();
            umount(k, "/old", MNT_DETACH).unwrap();
            fails(k.stat("/old/proc"), Errno::ENOENT);
        });
    }
    [pivot_root] errors_of_pivot(k) needs Root {
        with_directories(k, || {
            fails(call!(k, PIVOT_ROOT, c"none", c"m"), Errno::ENOENT);
            tmpfs(k, "m", 0).unwrap();
            fails(call!(k, PIVOT_ROOT, Arg::Bad, c"n"), Errno::EFAULT);
        });
        as_user(k, 1000, || fails(call!(k, PIVOT_ROOT, c"m", c"m"), Errno::EPERM));
    }
    [mount] proc_lists_mounts(k) needs Root {
        with_directories(k, || {
            call!(k, MOUNT, c"a source", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            let mounts = text(k, "/proc/self/mounts");
            assert!(mounts.lines().any(|line| line.starts_with("a\\040source ") && line.contains("/m tmpfs rw,relatime")), "{mounts}");
        });
    }
    [poll, mount] changes_are_told_to_who_polls(k) needs Root {
        with_directories(k, || {
            let fd = k.open("/proc/self/mountinfo", 0, 0).unwrap();
            k.read_some(fd, 65536).unwrap();
            assert_eq!(k.ready(fd, 2), 0);
            tmpfs(k, "m", 0).unwrap();
            assert_eq!(k.ready(fd, 2) & 2, 2);
        });
    }
}
