//! Identity: `credentials(7)`, `capabilities(7)`, `prctl(2)`.

use chitin_abi::Errno;

use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, Processes, fails, tests};

fn ids(k: &dyn Kernel) -> (u32, u32, u32) {
    let (mut real, mut effective, mut saved) = ([0; 4], [0; 4], [0; 4]);
    call!(k, GETRESUID, &mut real, &mut effective, &mut saved).unwrap();
    (u32::from_ne_bytes(real), u32::from_ne_bytes(effective), u32::from_ne_bytes(saved))
}

fn status_line(k: &dyn Kernel, key: &str) -> String {
    let text = String::from_utf8(k.content("/proc/self/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.trim_start_matches(':').trim().to_owned()
}

/// Runs a body in a child, because it changes who this process is.
fn apart(k: &dyn Kernel, body: impl Fn()) {
    assert_eq!(
        k.status(k.child(|| {
            body();
            0
        })),
        0
    );
}

tests! { "cred", "credentials(7)";
    [setuid, getresuid] root_loses_all_ids(k) needs Root {
        apart(k, || {
            call!(k, SETUID, 1000).unwrap();
            assert_eq!(ids(k), (1000, 1000, 1000));
            fails(call!(k, SETUID, 0), Errno::EPERM);
            assert_eq!(status_line(k, "CapEff"), "0000000000000000");
        });
    }
    [seteuid, setresuid] saved_id_allows_the_way_back(k) needs Root {
        apart(k, || {
            call!(k, SETRESUID, -1, 1000, -1).unwrap();
            assert_eq!(ids(k), (0, 1000, 0));
            assert_eq!(status_line(k, "CapEff"), "0000000000000000");
            call!(k, SETRESUID, -1, 0, -1).unwrap();
            assert_ne!(status_line(k, "CapEff"), "0000000000000000");
        });
    }
    [setreuid] rules_of_setreuid(k) needs Root {
        apart(k, || {
            call!(k, SETREUID, 1000, 1001).unwrap();
            assert_eq!(ids(k), (1000, 1001, 1001));
            call!(k, SETREUID, 1001, 1000).unwrap();
            assert_eq!(ids(k), (1001, 1000, 1000));
            fails(call!(k, SETREUID, 5, -1), Errno::EPERM);
        });
    }
    [setgroups, getgroups] groups(k) needs Root {
        apart(k, || {
            let list = [5_u32, 3, 9];
            call!(k, SETGROUPS, 3, zerocopy::IntoBytes::as_bytes(&list)).unwrap();
            assert_eq!(call!(k, GETGROUPS, 0, Arg::Null), Ok(3));
            fails(call!(k, GETGROUPS, 2, &mut [0_u8; 8]), Errno::EINVAL);
            let mut found = [0_u8; 12];
            call!(k, GETGROUPS, 3, &mut found).unwrap();
            fails(call!(k, SETGROUPS, 65537, Arg::Null), Errno::EINVAL);
            call!(k, SETUID, 1000).unwrap();
            fails(call!(k, SETGROUPS, 0, Arg::Null), Errno::EPERM);
        });
    }
    [setfsuid] answers_the_old_id(k) needs Root {
        apart(k, || {
            assert_eq!(call!(k, SETFSUID, 1000), Ok(0));
            assert_eq!(call!(k, SETFSUID, -1), Ok(1000));
            k.open("f", 0o100, 0o600).map(drop).unwrap_or_default();
        });
    }
    [capget, capset] dropping_a_capability(k) needs Root {
        apart(k, || {
            let mut header = [0_u8; 8];
            header[..4].copy_from_slice(&0x2008_0522_u32.to_ne_bytes());
            let mut data = [0_u8; 24];
            call!(k, CAPGET, &mut header, &mut data).unwrap();
            data[0] &= !1;
            data[4] &= !1;
            call!(k, CAPSET, &header, &data).unwrap();
            k.file("f", b"");
            fails(call!(k, CHOWN, c"f", 5, 5), Errno::EPERM);
            data[4] |= 1;
            fails(call!(k, CAPSET, &header, &data), Errno::EPERM);
        });
    }
    [capget] unknown_version_is_answered_with_the_right_one(k) {
        let mut header = [9_u8; 8];
        header[4..].copy_from_slice(&[0; 4]);
        fails(call!(k, CAPGET, &mut header, &mut [0_u8; 24]), Errno::EINVAL);
        assert_eq!(u32::from_ne_bytes(header[..4].try_into().unwrap()), 0x2008_0522);
        assert_eq!(call!(k, CAPGET, &mut [9_u8, 9, 9, 9, 0, 0, 0, 0], Arg::Null), Ok(0));
    }
    [prctl] name(k) {
        call!(k, PRCTL, 15, c"a-name-that-is-too-long").unwrap();
        let mut name = [0_u8; 16];
        call!(k, PRCTL, 16, &mut name).unwrap();
        assert_eq!(&name, b"a-name-that-is-\0");
        assert_eq!(k.content("/proc/self/comm"), b"a-name-that-is-\n");
    }
    [prctl] no_new_privs_sticks(k) {
        assert_eq!(call!(k, PRCTL, 39, 0, 0, 0, 0), Ok(0));
        fails(call!(k, PRCTL, 38, 0, 0, 0, 0), Errno::EINVAL);
        call!(k, PRCTL, 38, 1, 0, 0, 0).unwrap();
        assert_eq!(call!(k, PRCTL, 39, 0, 0, 0, 0), Ok(1));
        assert_eq!(status_line(k, "NoNewPrivs"), "1");
    }
    [prctl] parent_death_signal(k) {
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| {
            let (ready, tell) = k.pipe2(0).unwrap();
            k.child(|| {
                call!(k, PRCTL, 1, 10).unwrap();
                k.catch(10, 0).unwrap();
                k.write(tell, b"r").unwrap();
                while k.caught(10).0 == 0 { k.sleep_ms(5); }
                k.write(writer, b"x").unwrap();
                0
            });
            k.read_some(ready, 1).unwrap();
            0
        });
        assert_eq!(k.status(child), 0);
        assert_eq!(k.read_some(reader, 1).unwrap(), b"x");
    }
    [prctl] unknown_option(k) { fails(call!(k, PRCTL, 99_999, 0, 0, 0, 0), Errno::EINVAL); }
    [getrlimit, prlimit64] limits(k) {
        let mut limit = [0_u8; 16];
        call!(k, GETRLIMIT, 7, &mut limit).unwrap();
        fails(call!(k, GETRLIMIT, 99, &mut limit), Errno::EINVAL);
        fails(call!(k, SETRLIMIT, 7, &[9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]), Errno::EINVAL);
        let mut old = [0_u8; 16];
        call!(k, PRLIMIT64, 0, 7, Arg::Null, &mut old).unwrap();
        assert_eq!(old, limit);
    }
    [setsid, setpgid] sessions_and_groups(k) {
        apart(k, || {
            let pid = k.getpid();
            assert_eq!(call!(k, SETSID), Ok(pid as u64));
            fails(call!(k, SETSID), Errno::EPERM);
            assert_eq!((call!(k, GETSID, 0), call!(k, GETPGID, 0)), (Ok(pid as u64), Ok(pid as u64)));
            fails(call!(k, SETPGID, 0, 0), Errno::EPERM);
            fails(call!(k, SETPGID, -1, 0), Errno::EINVAL);
            fails(call!(k, GETPGID, 99_999_999), Errno::ESRCH);
        });
    }
    [uname] names_linux(k) {
        let mut name = [0_u8; 390];
        call!(k, UNAME, &mut name).unwrap();
        assert_eq!(&name[..6], b"Linux\0");
        assert_eq!(&name[260..267], b"x86_64\0");
        fails(call!(k, UNAME, Arg::Bad), Errno::EFAULT);
    }
}
