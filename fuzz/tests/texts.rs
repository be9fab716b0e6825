//! Options of mounts, and other text and attributes that calls decode.

use chitin_abi::Errno;
use chitin_abi::signal::SigInfo;
use chitin_abi::time::{Timespec, Timeval};
use chitin_fuzz::fuzz;
use chitin_task::cred::Credentials;
use chitin_task::cred::exec::FileCaps;
use chitin_task::namespace::UserNamespace;
use chitin_task::namespace::user::IdKind;
use chitin_vfs::fs::tmpfs::TmpfsOptions;
use chitin_vfs::fs::{devpts, overlay};
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn mount_options() {
    let samples: [&[u8]; 6] = [
        b"lowerdir=/a\\:b:/c,upperdir=/u,workdir=/w,index=off",
        b"lowerdir+=/a,lowerdir+=/b,volatile",
        b"size=50%,nr_inodes=1k,mode=1777,uid=0,gid=5,huge=never",
        b"size=18446744073709551615,nr_blocks=99999999999999",
        b"gid=5,mode=620,ptmxmode=666,max=1048576,newinstance",
        b"hidepid=invisible,gid=0,subset=pid",
    ];
    fuzz(&samples.map(<[u8]>::to_vec), |data| {
        if let Ok(shown) = overlay::check_options(data) {
            assert!(shown.len() <= 3 * data.len() + 1, "options grow");
        }
        if let Ok(shown) = devpts::check_options(data) {
            let again = devpts::check_options(shown.as_bytes());
            assert_eq!(again.as_ref(), Ok(&shown), "options change");
        }
        if let Ok(shown) = chitin_task::proc::check_options(data) {
            assert_eq!(chitin_task::proc::check_options(shown.as_bytes()), Ok(shown));
        }
        let _ = TmpfsOptions::default().parse(data, 1 << 40);
    });
}

#[test]
fn user_namespace_maps() {
    let samples: [&[u8]; 3] =
        [b"0 0 4294967295\n", b"0 1000 1\n1 100000 65536\n", b"4294967295 0 1\n"];
    let root = Credentials::root(UserNamespace::initial());
    fuzz(&samples.map(<[u8]>::to_vec), |data| {
        let ns = UserNamespace::new(&root, 2).expect("root may");
        for kind in [IdKind::User, IdKind::Group] {
            if ns.write_map(kind, &root, data).is_ok() {
                assert_eq!(ns.write_map(kind, &root, data), Err(Errno::EPERM), "written twice");
            }
        }
        for id in [0, 1, 1000, u32::MAX - 1, u32::MAX] {
            if let Some(outside) = ns.uid(id) {
                assert_eq!(ns.show_uid(outside), id, "a user is another inside");
            }
        }
    });
}

#[test]
fn structures() {
    let file_caps = [&[0, 0, 0, 2], [0xff; 16].as_slice()].concat();
    let info = SigInfo::timer(14, 1, 2, 3).as_bytes().to_vec();
    let time = [u64::MAX.to_le_bytes(), 999_999_999_u64.to_le_bytes()].concat();
    fuzz(&[file_caps, info, time], |data| {
        let _ = FileCaps::parse(data);
        if let Ok((mut info, _)) = SigInfo::read_from_prefix(data) {
            let _ = (info.layout(), info.to_signalfd(), info.value(), info.address());
            let signal = info.signo();
            info.set_signo(signal);
        }
        if let Ok((time, _)) = Timespec::read_from_prefix(data)
            && let Some(nanos) = time.to_nanos()
            && let Ok(nanos) = i64::try_from(nanos)
            && nanos < i64::MAX
        {
            assert_eq!(Timespec::from_nanos(nanos), time, "a time changes");
        }
        if let Ok((time, _)) = Timeval::read_from_prefix(data) {
            let _ = time.to_nanos();
        }
    });
}
