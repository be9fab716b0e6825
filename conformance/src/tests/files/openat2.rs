//! Opening with restrictions: `openat2(2)`.

use chitin_abi::fs::{
    O_APPEND, O_CREAT, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDWR, O_TMPFILE, O_TRUNC, OpenHow,
    RESOLVE_BENEATH, RESOLVE_CACHED, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, fails, tests};

fn open2(k: &dyn Kernel, at: Fd, path: &str, flags: u32, mode: u64, resolve: u64) -> Result<Fd> {
    let how = OpenHow { flags: u64::from(flags), mode, resolve };
    let path = std::ffi::CString::new(path).unwrap();
    call!(k, OPENAT2, at, path.as_c_str(), how.as_bytes(), 24).map(|fd| fd as Fd)
}

/// A directory with a file and links out of it, open.
fn tree(k: &dyn Kernel) -> Fd {
    k.mkdir("d", 0o755).unwrap();
    k.mkdir("d/e", 0o755).unwrap();
    k.file("d/f", b"in");
    k.file("out", b"out");
    for (target, name) in [
        ("f", "d/l"),
        ("../out", "d/up"),
        ("/", "d/root"),
        ("/f", "d/abs"),
        ("e/../f", "d/round"),
        ("loop", "d/loop"),
    ] {
        k.symlink(target, name).unwrap();
    }
    k.open("d", O_DIRECTORY, 0).unwrap()
}

const BENEATH: u64 = RESOLVE_BENEATH;
const IN_ROOT: u64 = RESOLVE_IN_ROOT;
const NO_SYMLINKS: u64 = RESOLVE_NO_SYMLINKS;
const NO_MAGICLINKS: u64 = RESOLVE_NO_MAGICLINKS;
const NO_XDEV: u64 = RESOLVE_NO_XDEV;

tests! { "openat2", "openat2(2)";
    [openat2] opens_like_openat(k) {
        let d = tree(k);
        assert_eq!(k.read_some(open2(k, d, "f", 0, 0, 0).unwrap(), 9).unwrap(), b"in");
        open2(k, d, "new", O_CREAT | O_RDWR, 0o640, 0).unwrap();
        assert_eq!(k.stat("d/new").unwrap().st_mode, 0o100640);
    }
    [openat2] mode_without_create_is_refused(k) {
        let d = tree(k);
        fails(open2(k, d, "f", 0, 0o600, 0), Errno::EINVAL);
        open2(k, d, ".", O_TMPFILE | O_RDWR, 0o600, 0).unwrap();
    }
    [openat2] mode_beyond_permissions_is_refused(k) { fails(open2(k, -100, "n", O_CREAT, 0o1_0600, 0), Errno::EINVAL); }
    [openat2] unknown_open_flags_are_refused(k) {
        fails(open2(k, -100, ".", 0x4000_0000, 0, 0), Errno::EINVAL);
        let how = [1_u64 << 40, 0, 0];
        fails(call!(k, OPENAT2, -100, c".", how.as_bytes(), 24), Errno::EINVAL);
    }
    [openat2] unknown_resolve_flags_are_refused(k) { fails(open2(k, -100, ".", 0, 0, 0x40), Errno::EINVAL); }
    [openat2] path_only_takes_few_flags(k) {
        let d = tree(k);
        open2(k, d, "f", O_PATH | O_NOFOLLOW, 0, 0).unwrap();
        fails(open2(k, d, "f", O_PATH | O_RDWR, 0, 0), Errno::EINVAL);
        fails(open2(k, d, "f", O_PATH | O_APPEND, 0, 0), Errno::EINVAL);
    }
    [openat2] beneath_and_in_root_exclude_each_other(k) { fails(open2(k, -100, ".", 0, 0, BENEATH | IN_ROOT), Errno::EINVAL); }
    [openat2] beneath_refuses_leaving(k) {
        let d = tree(k);
        for path in ["..", "../d/f", "/", "up", "root", "abs", "e/../../d/f"] { fails(open2(k, d, path, 0, 0, BENEATH), Errno::EXDEV); }
    }
    [openat2] beneath_allows_what_stays(k) {
        let d = tree(k);
        for path in ["f", ".", "l", "e/../f", "round", "e/.."] { open2(k, d, path, 0, 0, BENEATH).unwrap(); }
    }
    [openat2] in_root_keeps_dots_and_absolute_paths_inside(k) {
        let d = tree(k);
        for path in ["/f", "../f", "../../../f", "abs", "root/f", "/e/../../f"] {
            assert_eq!(k.read_some(open2(k, d, path, 0, 0, IN_ROOT).unwrap(), 9).unwrap(), b"in", "{path}");
        }
        fails(open2(k, d, "up", 0, 0, IN_ROOT), Errno::ENOENT);
    }
    [openat2] no_symlinks_refuses_any(k) {
        let d = tree(k);
        for path in ["l", "root/proc", "up"] { fails(open2(k, d, path, 0, 0, NO_SYMLINKS), Errno::ELOOP); }
        open2(k, d, "f", 0, 0, NO_SYMLINKS).unwrap();
        open2(k, d, "l", O_PATH | O_NOFOLLOW, 0, NO_SYMLINKS).unwrap();
    }
    [openat2] no_magic_links_refuses_proc_links(k) {
        fails(open2(k, -100, "/proc/self/root", 0, 0, NO_MAGICLINKS), Errno::ELOOP);
        fails(open2(k, -100, "/proc/self/cwd/x", 0, 0, NO_MAGICLINKS), Errno::ELOOP);
        let d = tree(k);
        open2(k, d, "l", 0, 0, NO_MAGICLINKS).unwrap();
        open2(k, -100, "/proc/self/status", 0, 0, NO_MAGICLINKS).unwrap();
    }
    [openat2] beneath_refuses_magic_links(k) {
        let proc = k.open("/proc/self", O_DIRECTORY, 0).unwrap();
        fails(open2(k, proc, "root", 0, 0, BENEATH), Errno::EXDEV);
        fails(open2(k, proc, "cwd", 0, 0, BENEATH), Errno::EXDEV);
    }
    [openat2] no_xdev_stays_on_the_mount(k) {
        let root = k.open("/", O_DIRECTORY, 0).unwrap();
        fails(open2(k, root, "proc/version", 0, 0, NO_XDEV), Errno::EXDEV);
        fails(open2(k, root, "proc", O_PATH, 0, NO_XDEV), Errno::EXDEV);
        let proc = k.open("/proc", O_DIRECTORY, 0).unwrap();
        open2(k, proc, "version", 0, 0, NO_XDEV).unwrap();
        fails(open2(k, proc, "..", O_PATH, 0, NO_XDEV), Errno::EXDEV);
    }
    [openat2] cached_refuses_what_must_wait(k) {
        let d = tree(k);
        let resolve = RESOLVE_CACHED;
        for flags in [O_CREAT, O_TRUNC] { fails(open2(k, d, "f", flags | O_RDWR, 0, resolve), Errno::EAGAIN); }
        open2(k, d, "f", 0, 0, resolve).unwrap();
    }
    [openat2] loops_are_found(k) {
        let d = tree(k);
        fails(open2(k, d, "loop", 0, 0, BENEATH), Errno::ELOOP);
    }
    [openat2] sizes(k) {
        let how = [0_u8; 4096];
        fails(call!(k, OPENAT2, -100, c".", &how, 0), Errno::EINVAL);
        call!(k, OPENAT2, -100, c".", &how, 4096).unwrap();
        fails(call!(k, OPENAT2, -100, c".", &[0_u8; 4097], 4097), Errno::E2BIG);
    }
    [openat2] pointers_fault(k) {
        fails(call!(k, OPENAT2, -100, c".", Arg::Bad, 24), Errno::EFAULT);
        fails(call!(k, OPENAT2, -100, c".", Arg::Null, 24), Errno::EFAULT);
        fails(call!(k, OPENAT2, -100, c".", Arg::Edge(16), 24), Errno::EFAULT);
        fails(call!(k, OPENAT2, -100, Arg::Bad, &[0_u8; 24], 24), Errno::EFAULT);
    }
    [openat2] bad_starting_points(k) {
        let file = k.file("f", b"");
        fails(open2(k, 999, "f", 0, 0, 0), Errno::EBADF);
        fails(open2(k, file, "f", 0, 0, 0), Errno::ENOTDIR);
        fails(open2(k, 999, "/", 0, 0, IN_ROOT), Errno::EBADF);
    }
    [openat2] restricted_creation_stays_beneath(k) {
        let d = tree(k);
        fails(open2(k, d, "../new", O_CREAT | O_RDWR, 0o600, BENEATH), Errno::EXDEV);
        open2(k, d, "/made", O_CREAT | O_RDWR, 0o600, IN_ROOT).unwrap();
        k.stat("d/made").unwrap();
    }
    [openat2] large_file_flag_may_be_given(k) { open2(k, -100, ".", 0o100000, 0, 0).unwrap(); }
}
