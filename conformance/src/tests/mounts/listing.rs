//! Asking for mounts: `statmount(2)`, `listmount(2)`.

use chitin_abi::fs::{
    LSMT_ROOT, MntIdReq, STATMOUNT_FS_TYPE, STATMOUNT_MNT_BASIC, STATMOUNT_MNT_POINT,
    STATMOUNT_SB_BASIC, Statx,
};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use crate::call;
use crate::suite::{Arg, Calls, Kernel, fails, tests};
use crate::tests::shared::{filled, in_own_mounts, int, long};

/// The unique number of the mount that a path is on.
fn mount_of(k: &dyn Kernel, path: &str) -> u64 {
    let path = format!("{path}\0");
    let statx: Statx =
        filled(|out| call!(k, STATX, -100, path.as_bytes(), 0, 0x4000, out)).unwrap();
    statx.stx_mnt_id
}

fn request(id: u64, param: u64) -> MntIdReq {
    MntIdReq { size: 24, mnt_id: id, param, ..MntIdReq::default() }
}

fn list(k: &dyn Kernel, id: u64, room: usize) -> Result<Vec<u64>> {
    let mut ids = vec![0_u64; room];
    let count = call!(k, LISTMOUNT, request(id, 0).as_bytes(), ids.as_mut_bytes(), room, 0)?;
    ids.truncate(count as usize);
    Ok(ids)
}

tests! { "listmount", "statmount(2)";
    [listmount] everything_below_the_root(k) {
        let ids = list(k, LSMT_ROOT, 200).unwrap();
        assert!(ids.contains(&mount_of(k, "/proc")) && ids.is_sorted(), "{ids:?}");
    }
    [listmount] new_mounts_and_their_children(k) needs Root {
        k.mkdir("m", 0o755).unwrap();
        in_own_mounts(k, || {
            call!(k, MOUNT, c"none", c"m", c"tmpfs", 0, Arg::Null).unwrap();
            let id = mount_of(k, "m");
            assert!(list(k, LSMT_ROOT, 200).unwrap().contains(&id));
            assert_eq!(list(k, id, 200).unwrap(), [0_u64; 0]);
            k.mkdir("m/d", 0o755).unwrap();
            call!(k, MOUNT, c"none", c"m/d", c"tmpfs", 0, Arg::Null).unwrap();
            assert_eq!(list(k, id, 200).unwrap(), [mount_of(k, "m/d")]);
        });
    }
    [listmount] in_turns(k) {
        let all = list(k, LSMT_ROOT, 200).unwrap();
        let mut two = [0_u64; 2];
        assert_eq!(call!(k, LISTMOUNT, request(LSMT_ROOT, all[0]).as_bytes(), two.as_mut_bytes(), 2, 0), Ok(2.min(all.len() as u64 - 1)));
        assert_eq!(two[0], all[1]);
    }
    [listmount, statmount] arguments(k) {
        let mut room = [0_u8; 512];
        fails(call!(k, LISTMOUNT, Arg::Bad, &mut room, 1, 0), Errno::EFAULT);
        fails(call!(k, LISTMOUNT, request(LSMT_ROOT, 0).as_bytes(), &mut room, 1, 8), Errno::EINVAL);
        fails(call!(k, LISTMOUNT, request(1 << 40, 0).as_bytes(), &mut room, 1, 0), Errno::ENOENT);
        fails(call!(k, STATMOUNT, Arg::Bad, &mut room, 512, 0), Errno::EFAULT);
        fails(call!(k, STATMOUNT, request(1 << 40, 1).as_bytes(), &mut room, 512, 0), Errno::ENOENT);
        fails(call!(k, STATMOUNT, request(mount_of(k, "/proc"), 1).as_bytes(), &mut room, 512, 1), Errno::EINVAL);
    }
    [statmount] what_a_mount_is(k) {
        let id = mount_of(k, "/proc");
        let mut out = [0_u8; 1024];
        let mask = STATMOUNT_SB_BASIC | STATMOUNT_MNT_BASIC | STATMOUNT_FS_TYPE | STATMOUNT_MNT_POINT;
        call!(k, STATMOUNT, request(id, mask).as_bytes(), &mut out, 1024, 0).unwrap();
        assert_eq!((long(&out, 8) & mask, long(&out, 24), long(&out, 40)), (mask, 0x9fa0, id));
        let string = |at: usize| {
            let start = 512 + int(&out, at) as usize;
            out[start..].iter().copied().take_while(|byte| *byte != 0).collect::<Vec<_>>()
        };
        assert_eq!((string(36), string(108)), (b"proc".to_vec(), b"/proc".to_vec()));
    }
    [statmount] too_little_room(k) {
        let request = request(mount_of(k, "/proc"), STATMOUNT_FS_TYPE);
        fails(call!(k, STATMOUNT, request.as_bytes(), &mut [0_u8; 514], 514, 0), Errno::EOVERFLOW);
    }
}
