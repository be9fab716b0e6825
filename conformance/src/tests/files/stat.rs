//! What files look like: `stat(2)`, `statx(2)`, `statfs(2)`.

use chitin_abi::fs::{
    AT_EMPTY_PATH, AT_STATX_DONT_SYNC, AT_STATX_FORCE_SYNC, AT_SYMLINK_NOFOLLOW, O_CREAT,
    O_DIRECTORY, O_PATH, STATX_ALL, STATX_BASIC_STATS, STATX_BTIME, STATX_MNT_ID,
    STATX_MNT_ID_UNIQUE, STATX_SIZE, STATX_TYPE, Statfs, Statx,
};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};
use crate::tests::shared::{as_user, fdinfo, filled, in_own_mounts};

fn statx(k: &dyn Kernel, at: Fd, path: &str, flags: u32, mask: u32) -> Result<Statx> {
    let path = std::ffi::CString::new(path).unwrap();
    filled(|out| call!(k, STATX, at, path.as_c_str(), flags, mask, out))
}

fn statfs(k: &dyn Kernel, path: &str) -> Statfs {
    let path = std::ffi::CString::new(path).unwrap();
    filled(|out| call!(k, STATFS, path.as_c_str(), out)).unwrap()
}

tests! { "stat", "stat(2)";
    [stat] regular_file(k) {
        k.file("f", &[1; 5000]);
        let stat = k.stat("f").unwrap();
        assert_eq!((stat.st_mode, stat.st_nlink, stat.st_size, stat.st_blksize), (0o100644, 1, 5000, 4096));
        assert!(stat.st_blocks >= 8 && stat.st_blocks <= 16, "{}", stat.st_blocks);
    }
    [stat] directory_counts_its_subdirectories(k) {
        k.mkdir("d", 0o755).unwrap();
        k.mkdir("d/a", 0o755).unwrap();
        k.mkdir("d/b", 0o755).unwrap();
        k.file("d/f", b"");
        assert_eq!(k.stat("d").unwrap().st_nlink, 4);
    }
    [lstat] link_has_the_length_of_its_target(k) {
        k.symlink("twelve chars", "l").unwrap();
        let stat = k.lstat("l").unwrap();
        assert_eq!((stat.st_mode, stat.st_size), (0o120777, 12));
    }
    [stat] devices(k) {
        for (path, minor) in [("/dev/null", 3), ("/dev/zero", 5), ("/dev/full", 7), ("/dev/random", 8), ("/dev/urandom", 9)] {
            let stat = k.stat(path).unwrap();
            assert_eq!((stat.st_mode & 0o170777, stat.st_rdev), (0o020666, 0x100 + minor), "{path}");
        }
    }
    [fstat] pipes_and_sockets(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let (one, two) = (k.fstat(reader).unwrap(), k.fstat(writer).unwrap());
        assert_eq!((one.st_mode, one.st_ino, one.st_dev), (0o10600, two.st_ino, two.st_dev));
        let socket = call!(k, SOCKET, 1, 1, 0).unwrap() as Fd;
        assert_eq!(k.fstat(socket).unwrap().st_mode, 0o140777);
    }
    [fstat] anonymous_files(k) {
        let fd = call!(k, EVENTFD2, 0, 0).unwrap() as Fd;
        assert_eq!(k.fstat(fd).unwrap().st_mode, 0o600);
    }
    [stat] hard_links_are_one_inode(k) {
        k.file("f", b"");
        k.link("f", "g").unwrap();
        let (one, two) = (k.stat("f").unwrap(), k.stat("g").unwrap());
        assert_eq!((one.st_ino, one.st_dev, one.st_nlink), (two.st_ino, two.st_dev, 2));
    }
    [stat] errors_of_paths(k) {
        k.file("f", b"");
        fails(k.stat("none"), Errno::ENOENT);
        fails(k.stat(""), Errno::ENOENT);
        fails(k.stat("f/x"), Errno::ENOTDIR);
        fails(k.stat("f/"), Errno::ENOTDIR);
        fails(k.stat(&"x".repeat(256)), Errno::ENAMETOOLONG);
    }
    [stat, lstat, fstat] stat_pointers_fault(k) {
        let fd = k.file("f", b"");
        fails(call!(k, STAT, c"f", Arg::Bad), Errno::EFAULT);
        fails(call!(k, STAT, c"f", Arg::Edge(143)), Errno::EFAULT);
        call!(k, STAT, c"f", Arg::Edge(144)).unwrap();
        fails(call!(k, LSTAT, Arg::Bad, &mut [0_u8; 144]), Errno::EFAULT);
        fails(call!(k, FSTAT, fd, Arg::Null), Errno::EFAULT);
        fails(call!(k, FSTAT, fd, Arg::Kernel), Errno::EFAULT);
    }
    [newfstatat] flags(k) {
        k.file("f", b"");
        k.symlink("f", "l").unwrap();
        assert_eq!(k.fstatat(-100, "l", AT_SYMLINK_NOFOLLOW).unwrap().st_mode >> 12, 0o12);
        k.fstatat(-100, "l", 0x800).unwrap();
        for flags in [1, 0x200, 0x400, 0x10000] { fails(k.fstatat(-100, "f", flags), Errno::EINVAL); }
    }
    [newfstatat] empty_path_of_the_working_directory(k) {
        assert_eq!(k.fstatat(-100, "", AT_EMPTY_PATH).unwrap().st_ino, k.stat(".").unwrap().st_ino);
    }
    [newfstatat] null_path_with_the_empty_flag(k) {
        let fd = k.file("f", b"123");
        let mut stat = [0_u8; 144];
        call!(k, NEWFSTATAT, fd, Arg::Null, &mut stat, AT_EMPTY_PATH).unwrap();
        fails(call!(k, NEWFSTATAT, fd, Arg::Null, &mut stat, 0), Errno::EFAULT);
    }
    [stat] search_permission_only(k) needs Root {
        k.mkdir("d", 0o711).unwrap();
        k.file("d/f", b"");
        call!(k, CHMOD, c"d/f", 0).unwrap();
        as_user(k, 1000, || { k.stat("d/f").unwrap(); });
        call!(k, CHMOD, c"d", 0o600).unwrap();
        as_user(k, 1000, || fails(k.stat("d/f"), Errno::EACCES));
    }
    [write, stat] change_time_follows_link_count_and_mode(k) {
        k.file("f", b"");
        for change in [0, 1, 2] {
            let before = k.stat("f").unwrap();
            k.sleep_ms(15);
            match change {
                0 => k.link("f", "g").unwrap(),
                1 => { call!(k, CHMOD, c"f", 0o640).unwrap(); }
                _ => k.rename2("f", "h", 0).map(|()| k.rename2("h", "f", 0).unwrap()).unwrap(),
            }
            let after = k.stat("f").unwrap();
            assert!((after.st_ctime, after.st_ctime_nsec) > (before.st_ctime, before.st_ctime_nsec), "{change}");
            assert_eq!((after.st_mtime, after.st_mtime_nsec), (before.st_mtime, before.st_mtime_nsec));
        }
    }
    [stat] directory_time_follows_its_entries(k) {
        k.mkdir("d", 0o755).unwrap();
        for change in 0..3 {
            let before = k.stat("d").unwrap();
            k.sleep_ms(15);
            match change { 0 => { k.file("d/f", b""); } 1 => k.rename2("d/f", "d/g", 0).unwrap(), _ => k.unlink("d/g").unwrap() }
            let after = k.stat("d").unwrap();
            assert!((after.st_mtime, after.st_mtime_nsec) > (before.st_mtime, before.st_mtime_nsec), "{change}");
        }
    }
    [statx] agrees_with_stat(k) {
        k.file("f", &[0; 100]);
        let (new, old) = (statx(k, -100, "f", 0, STATX_BASIC_STATS).unwrap(), k.stat("f").unwrap());
        assert_eq!((new.stx_ino, new.stx_size, u32::from(new.stx_mode)), (old.st_ino, 100, old.st_mode));
        assert_eq!((u64::from(new.stx_nlink), new.stx_blocks), (old.st_nlink, old.st_blocks.cast_unsigned()));
        assert_eq!((new.stx_mtime.tv_sec, i64::from(new.stx_mtime.tv_nsec)), (old.st_mtime, old.st_mtime_nsec));
        assert_eq!(new.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
    }
    [statx] birth_time(k) {
        k.file("f", b"");
        let found = statx(k, -100, "f", 0, STATX_ALL).unwrap();
        assert_ne!(found.stx_mask & STATX_BTIME, 0);
        assert!(found.stx_btime.tv_sec > 1_000_000_000 && found.stx_btime.tv_sec <= found.stx_mtime.tv_sec);
    }
    [statx] mask_may_be_empty(k) {
        k.file("f", b"12");
        let found = statx(k, -100, "f", 0, 0).unwrap();
        assert_eq!(found.stx_mask & (STATX_TYPE | STATX_SIZE), STATX_TYPE | STATX_SIZE);
        assert_eq!(found.stx_size, 2);
    }
    [statx] reserved_mask_bit(k) { fails(statx(k, -100, ".", 0, 0x8000_0000), Errno::EINVAL); }
    [statx] unknown_mask_bits_are_ignored(k) { statx(k, -100, ".", 0, 0x4000_0000).unwrap(); }
    [statx] sync_flags(k) {
        for flags in [AT_STATX_DONT_SYNC, AT_STATX_FORCE_SYNC] { statx(k, -100, ".", flags, STATX_ALL).unwrap(); }
        fails(statx(k, -100, ".", AT_STATX_DONT_SYNC | AT_STATX_FORCE_SYNC, STATX_ALL), Errno::EINVAL);
        fails(statx(k, -100, ".", 1, STATX_ALL), Errno::EINVAL);
    }
    [statx] descriptors(k) {
        let fd = k.file("f", b"123");
        assert_eq!(statx(k, fd, "", AT_EMPTY_PATH, STATX_SIZE).unwrap().stx_size, 3);
        fails(statx(k, fd, "", 0, STATX_SIZE), Errno::ENOENT);
        fails(statx(k, fd, "x", 0, STATX_SIZE), Errno::ENOTDIR);
        fails(statx(k, 999, "x", 0, STATX_SIZE), Errno::EBADF);
        let mut out = [0_u8; 256];
        call!(k, STATX, fd, Arg::Null, AT_EMPTY_PATH, STATX_SIZE, &mut out).unwrap();
    }
    [statx] mount_identifiers(k) {
        let fd = k.file("f", b"");
        let found = statx(k, fd, "", AT_EMPTY_PATH, STATX_MNT_ID).unwrap();
        assert_eq!(found.stx_mnt_id.to_string(), fdinfo(k, fd, "mnt_id").unwrap());
        let unique = statx(k, fd, "", AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE).unwrap();
        assert!(unique.stx_mask & STATX_MNT_ID_UNIQUE != 0 && unique.stx_mnt_id > 1 << 31);
    }
    [statx] mount_root_attribute(k) {
        assert_eq!(statx(k, -100, "/proc", 0, 0).unwrap().stx_attributes & 0x2000, 0x2000);
        assert_eq!(statx(k, -100, ".", 0, 0).unwrap().stx_attributes & 0x2000, 0);
    }
    [statx] device_numbers(k) {
        let found = statx(k, -100, "/dev/zero", 0, STATX_ALL).unwrap();
        assert_eq!((found.stx_rdev_major, found.stx_rdev_minor), (1, 5));
    }
    [statx] statx_pointers_fault(k) {
        fails(call!(k, STATX, -100, c".", 0, 0, Arg::Edge(255)), Errno::EFAULT);
        fails(call!(k, STATX, -100, Arg::Bad, 0, 0, &mut [0_u8; 256]), Errno::EFAULT);
    }
    [statfs] space_is_consistent(k) {
        let found = statfs(k, ".");
        assert!(found.f_blocks >= found.f_bfree && found.f_bfree >= found.f_bavail && found.f_files >= found.f_ffree);
        assert_eq!((found.f_namelen, found.f_bsize), (255, 4096));
    }
    [statfs] kinds_of_file_systems(k) needs Root {
        assert_eq!((statfs(k, "/proc").f_type, statfs(k, "/dev/pts").f_type), (0x9fa0, 0x1cd1));
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0xe, c"size=64k").unwrap();
            let found = statfs(k, "m");
            assert_eq!((found.f_type, found.f_blocks, found.f_bfree), (0x0102_1994, 16, 16));
            assert_eq!(found.f_flags & 0xf, 0xe);
        });
    }
    [fstatfs] pipes_and_path_descriptors(k) {
        let (reader, _writer) = k.pipe2(0).unwrap();
        let found: Statfs = filled(|out| call!(k, FSTATFS, reader, out)).unwrap();
        assert_eq!(found.f_type, 0x5049_5045);
        let fd = k.open("/proc", O_PATH, 0).unwrap();
        let found: Statfs = filled(|out| call!(k, FSTATFS, fd, out)).unwrap();
        assert_eq!(found.f_type, 0x9fa0);
    }
    [statfs, fstatfs] errors(k) {
        k.file("f", b"");
        let mut out = [0_u8; 120];
        fails(call!(k, STATFS, c"f/x", &mut out), Errno::ENOTDIR);
        fails(call!(k, STATFS, Arg::Bad, &mut out), Errno::EFAULT);
        fails(call!(k, STATFS, c".", Arg::Edge(119)), Errno::EFAULT);
        fails(call!(k, FSTATFS, 0, Arg::Bad), Errno::EFAULT);
    }
    [ustat] unknown_device(k) { fails(call!(k, USTAT, 0xffff_u32, &mut [0_u8; 32]), Errno::EINVAL); }
    [stat] files_of_one_directory_are_on_its_device(k) {
        let d = k.open(".", O_DIRECTORY, 0).unwrap();
        k.open("f", O_CREAT, 0o600).unwrap();
        assert_eq!(k.fstat(d).unwrap().st_dev, k.stat("f").unwrap().st_dev);
        let stat = k.stat("f").unwrap();
        assert_eq!(stat.as_bytes().len(), 144);
    }
}
