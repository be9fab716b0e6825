//! Quotas, on file systems without them: `quotactl(2)`.

use chitin_abi::Errno;

use crate::call;
use crate::suite::{Arg, Calls, Files, fails, tests};

const fn command(number: u32, kind: u32) -> u32 {
    number << 8 | kind
}

const SYNC: u32 = command(0x80_0001, 0);
const GETQUOTA: u32 = command(0x80_0007, 0);

tests! { "quota", "quotactl(2)";
    [quotactl] sync_of_everything_works(k) { call!(k, QUOTACTL, SYNC, Arg::Null, 0, Arg::Null).unwrap(); }
    [quotactl] kinds_are_checked(k) { fails(call!(k, QUOTACTL, command(0x80_0007, 9), c"/dev/null", 0, Arg::Null), Errno::EINVAL); }
    [quotactl] device_must_be_one(k) {
        k.file("f", b"");
        fails(call!(k, QUOTACTL, GETQUOTA, c"f", 0, &mut [0_u8; 72]), Errno::ENOTBLK);
        fails(call!(k, QUOTACTL, GETQUOTA, c"none", 0, &mut [0_u8; 72]), Errno::ENOENT);
        fails(call!(k, QUOTACTL, GETQUOTA, Arg::Bad, 0, &mut [0_u8; 72]), Errno::EFAULT);
        fails(call!(k, QUOTACTL, GETQUOTA, c"/dev/null", 0, &mut [0_u8; 72]), Errno::ENOTBLK);
    }
    [quotactl_fd] files_without_quotas(k) {
        let fd = k.file("f", b"");
        fails(call!(k, QUOTACTL_FD, 999, GETQUOTA, 0, &mut [0_u8; 72]), Errno::EBADF);
        fails(call!(k, QUOTACTL_FD, fd, command(0x80_0007, 9), 0, &mut [0_u8; 72]), Errno::EINVAL);
        let proc = k.open("/proc", 0, 0).unwrap();
        fails(call!(k, QUOTACTL_FD, proc, GETQUOTA, 0, &mut [0_u8; 72]), Errno::ENOSYS);
    }
}
