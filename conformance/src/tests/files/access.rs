//! Asking for rights: `access(2)`, `faccessat2(2)`.

use chitin_abi::Errno;
use chitin_abi::fs::{AT_EACCESS, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, O_DIRECTORY};

use crate::call;
use crate::suite::{Arg, Calls, Files, fails, tests};
use crate::tests::shared::{apart, as_user, in_own_mounts};

tests! { "access", "access(2)";
    [access] existence(k) {
        k.file("f", b"");
        call!(k, ACCESS, c"f", 0).unwrap();
        fails(call!(k, ACCESS, c"g", 0), Errno::ENOENT);
        fails(call!(k, ACCESS, c"f/x", 0), Errno::ENOTDIR);
        fails(call!(k, ACCESS, c"", 0), Errno::ENOENT);
    }
    [access] modes_of_others(k) needs Root {
        for (mode, allowed) in [(0o777, 7), (0o774, 4), (0o772, 2), (0o771, 1), (0o770, 0)] {
            k.file("f", b"");
            call!(k, CHMOD, c"f", mode).unwrap();
            as_user(k, 1000, || for want in [1, 2, 4] {
                let result = call!(k, ACCESS, c"f", want);
                if want & allowed != 0 { result.unwrap(); } else { fails(result, Errno::EACCES); }
            });
        }
    }
    [access] user_0_runs_only_what_somebody_may_run(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o600).unwrap();
        fails(call!(k, ACCESS, c"f", 1), Errno::EACCES);
        call!(k, CHMOD, c"f", 0o601).unwrap();
        call!(k, ACCESS, c"f", 1).unwrap();
        k.mkdir("d", 0).unwrap();
        call!(k, ACCESS, c"d", 7).unwrap();
    }
    [access] unknown_modes(k) {
        k.file("f", b"");
        for mode in [8, 0x10, -1] { fails(call!(k, ACCESS, c"f", mode), Errno::EINVAL); }
    }
    [faccessat2] unknown_flags(k) {
        k.file("f", b"");
        fails(call!(k, FACCESSAT2, -100, c"f", 0, 0x1), Errno::EINVAL);
        fails(call!(k, FACCESSAT2, -100, c"f", 0, 0x400), Errno::EINVAL);
        call!(k, FACCESSAT2, -100, c"f", 0, AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH).unwrap();
    }
    [faccessat] has_no_flags(k) {
        k.file("f", b"");
        call!(k, FACCESSAT, -100, c"f", 4, 0x7fff).unwrap();
    }
    [faccessat2] link_itself_is_always_accessible(k) {
        k.symlink("none", "l").unwrap();
        fails(call!(k, FACCESSAT2, -100, c"l", 0, 0), Errno::ENOENT);
        call!(k, FACCESSAT2, -100, c"l", 7, AT_SYMLINK_NOFOLLOW).unwrap();
    }
    [faccessat2] empty_path(k) {
        let fd = k.file("f", b"");
        call!(k, FACCESSAT2, fd, c"", 4, AT_EMPTY_PATH).unwrap();
        fails(call!(k, FACCESSAT2, fd, c"", 4, 0), Errno::ENOENT);
        fails(call!(k, FACCESSAT2, 999, c"", 4, AT_EMPTY_PATH), Errno::EBADF);
    }
    [faccessat] relative_to_descriptors(k) {
        k.mkdir("d", 0o755).unwrap();
        let f = k.file("d/f", b"");
        let d = k.open("d", O_DIRECTORY, 0).unwrap();
        call!(k, FACCESSAT, d, c"f", 4).unwrap();
        fails(call!(k, FACCESSAT, f, c"f", 4), Errno::ENOTDIR);
        fails(call!(k, FACCESSAT, 999, c"f", 4), Errno::EBADF);
    }
    [access, faccessat2] real_and_effective_ids(k) needs Root {
        k.file("f", b"");
        call!(k, CHMOD, c"f", 0o600).unwrap();
        apart(k, || {
            call!(k, SETRESUID, 0, 1000, 0).unwrap();
            call!(k, ACCESS, c"f", 4).unwrap();
            fails(call!(k, FACCESSAT2, -100, c"f", 4, AT_EACCESS), Errno::EACCES);
        });
    }
    [access] search_permission_on_the_way(k) needs Root {
        k.mkdir("d", 0o700).unwrap();
        k.file("d/f", b"");
        as_user(k, 1000, || fails(call!(k, ACCESS, c"d/f", 0), Errno::EACCES));
    }
    [access] writing_on_a_read_only_mount(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 1, Arg::Null).unwrap();
            fails(call!(k, ACCESS, c"m", 2), Errno::EROFS);
            call!(k, ACCESS, c"m", 5).unwrap();
        });
    }
    [access] bad_pointers(k) {
        fails(call!(k, ACCESS, Arg::Bad, 0), Errno::EFAULT);
        fails(call!(k, FACCESSAT2, -100, Arg::Null, 0, 0), Errno::EFAULT);
    }
    [access] loops_and_long_names(k) {
        k.symlink("l", "l").unwrap();
        fails(call!(k, ACCESS, c"l", 0), Errno::ELOOP);
        let long = format!("{}\0", "x".repeat(256));
        fails(call!(k, ACCESS, long.as_bytes(), 0), Errno::ENAMETOOLONG);
    }
}
