//! Processes as descriptors: `pidfd_open(2)`, `pidfd_send_signal(2)`, `pidfd_getfd(2)`.

use chitin_abi::Errno as E;
use chitin_abi::poll::POLLIN;
use chitin_abi::signal::{SIGKILL, SIGTERM, SIGUSR1};

use super::super::support::{
    apart, as_user, asleep, bit, end, fd, gettid, i32_at, in_state, ok, sleeper, stat_fields, text,
    until,
};
use crate::call;
use crate::suite::{Arg, Calls, Fd, Files, Kernel, Processes, Threads, fails, tests};

const THREAD: u32 = 0o200;

fn open(k: &dyn Kernel, pid: i32) -> Fd {
    fd(call!(k, PIDFD_OPEN, pid, 0))
}

fn info(signal: u32, code: i32) -> Vec<u8> {
    let mut info = vec![0; 128];
    info[..4].copy_from_slice(&signal.to_ne_bytes());
    info[8..12].copy_from_slice(&code.to_ne_bytes());
    info[24] = 77;
    info
}

tests! { "pidfd", "pidfd_open(2)";
    [pidfd_open] close_on_exec_is_set(k) needs Native { let own = open(k, k.getpid()); assert_eq!(k.fcntl(own, 1, 0), Ok(1)); }
    [pidfd_open] nonblock_flag_is_kept(k) needs Native { let own = fd(call!(k, PIDFD_OPEN, k.getpid(), 0o4000)); assert_eq!(k.fcntl(own, 3, 0).unwrap() & 0o4000, 0o4000); }
    [pidfd_open] unknown_flags(k) needs Native { for flag in [1, 2, 0o2_000_000] { fails(call!(k, PIDFD_OPEN, k.getpid(), flag), E::EINVAL); } }
    [pidfd_open] zero_and_negative_ids(k) needs Native { for pid in [0, -1, i32::MIN] { fails(call!(k, PIDFD_OPEN, pid, 0), E::EINVAL); } }
    [pidfd_open] unknown_id(k) needs Native { fails(call!(k, PIDFD_OPEN, 0x3fff_ffff, 0), E::ESRCH); }
    [pidfd_open] thread_is_no_process(k) needs Native {
        k.on_thread(|| { let found = call!(k, PIDFD_OPEN, gettid(k), 0); assert!(matches!(found, Err(E::EINVAL | E::ENOENT)), "{found:?}"); });
    }
    [pidfd_open] thread_with_the_flag(k) needs Native { k.on_thread(|| assert!(call!(k, PIDFD_OPEN, gettid(k), THREAD).is_ok())); }
    [pidfd_open] zombie_can_be_opened(k) needs Native {
        let child = k.child(|| 0);
        until(k, || stat_fields(k, &child.pid.to_string())[0] == "Z");
        let zombie = open(k, child.pid);
        assert_eq!(k.ready(zombie, POLLIN), POLLIN);
        k.status(child);
    }
    [pidfd_open, poll] readable_when_it_ends(k) needs Native {
        let (parent, (reader, writer)) = (k.getpid().to_string(), k.pipe2(0).unwrap());
        let child = k.child(|| { k.read(reader, &mut [0]).unwrap(); in_state(k, &parent, "S"); 0 });
        let pidfd = open(k, child.pid);
        assert_eq!(k.ready(pidfd, POLLIN), 0);
        k.write(writer, b"x").unwrap();
        let mut fds = [chitin_abi::poll::PollFd { fd: pidfd, events: POLLIN, revents: 0 }];
        assert_eq!((k.poll(&mut fds, 5000), fds[0].revents), (Ok(1), POLLIN));
        k.status(child);
    }
    [pidfd_open, poll] hangup_when_it_is_reaped(k) needs Native {
        let child = k.child(|| 0);
        let pidfd = open(k, child.pid);
        k.status(child);
        assert_eq!(k.ready(pidfd, POLLIN) & POLLIN, POLLIN);
    }
    [read, write] descriptor_has_no_content(k) needs Native { let own = open(k, k.getpid()); fails(k.read(own, &mut [0; 8]), E::EINVAL); fails(k.write(own, &[0]), E::EINVAL); }
    [lseek] descriptor_has_no_position(k) needs Native { let own = open(k, k.getpid()); assert!(k.lseek(own, 0, 0).is_ok() || k.lseek(own, 0, 0) == Err(E::ESPIPE)); }
    [readlink] link_names_the_kind(k) needs Native { let own = open(k, k.getpid()); let name = k.readlink(&format!("/proc/self/fd/{own}")).unwrap(); assert!(name.starts_with(b"anon_inode:[pidfd]") || name.starts_with(b"pidfd:["), "{name:?}"); }
    [pidfd_open] fdinfo_shows_ids(k) needs Native {
        let own = open(k, k.getpid());
        let shown = text(k, &format!("/proc/self/fdinfo/{own}"));
        assert!(shown.contains(&format!("Pid:\t{}\n", k.getpid())) && shown.contains("NSpid:\t"), "{shown}");
    }
    [pidfd_send_signal] reaches_the_process(k) needs Native { let child = sleeper(k); call!(k, PIDFD_SEND_SIGNAL, open(k, child.pid), SIGTERM, Arg::Null, 0).unwrap(); assert_eq!(k.status(child), 15); }
    [pidfd_send_signal] zero_probes(k) needs Native { let child = sleeper(k); let pidfd = open(k, child.pid); assert_eq!(call!(k, PIDFD_SEND_SIGNAL, pidfd, 0, Arg::Null, 0), Ok(0)); end(k, child); fails(call!(k, PIDFD_SEND_SIGNAL, pidfd, 0, Arg::Null, 0), E::ESRCH); }
    [pidfd_send_signal] unknown_signal(k) needs Native { fails(call!(k, PIDFD_SEND_SIGNAL, open(k, k.getpid()), 65, Arg::Null, 0), E::EINVAL); }
    [pidfd_send_signal] unknown_flag(k) needs Native { fails(call!(k, PIDFD_SEND_SIGNAL, open(k, k.getpid()), 0, Arg::Null, 8), E::EINVAL); }
    [pidfd_send_signal] two_scopes(k) needs Native { fails(call!(k, PIDFD_SEND_SIGNAL, open(k, k.getpid()), 0, Arg::Null, 3), E::EINVAL); }
    [pidfd_send_signal] descriptor_that_is_none(k) needs Native { fails(call!(k, PIDFD_SEND_SIGNAL, 999, 0, Arg::Null, 0), E::EBADF); }
    [pidfd_send_signal] descriptor_of_another_kind(k) needs Native { fails(call!(k, PIDFD_SEND_SIGNAL, 0, 0, Arg::Null, 0), E::EBADF); }
    [pidfd_send_signal] directory_of_proc_serves(k) needs Native { let dir = k.open("/proc/self", 0o200_000, 0).unwrap(); assert_eq!(call!(k, PIDFD_SEND_SIGNAL, dir, 0, Arg::Null, 0), Ok(0)); }
    [pidfd_send_signal] info_is_carried(k) needs Native {
        k.set_mask(0, bit(40)).unwrap();
        call!(k, PIDFD_SEND_SIGNAL, open(k, k.getpid()), 40, info(40, -1).as_slice(), 0).unwrap();
        let mut got = [0_u8; 128];
        call!(k, RT_SIGTIMEDWAIT, &bit(40).to_ne_bytes(), &mut got, Arg::Null, 8).unwrap();
        assert_eq!((i32_at(&got, 8), got[24]), (-1, 77));
    }
    [pidfd_send_signal] info_names_the_signal(k) needs Native { fails(call!(k, PIDFD_SEND_SIGNAL, open(k, k.getpid()), 40, info(41, -1).as_slice(), 0), E::EINVAL); }
    [pidfd_send_signal] info_of_another_process_is_no_kernels(k) needs Native { let child = sleeper(k); fails(call!(k, PIDFD_SEND_SIGNAL, open(k, child.pid), 40, info(40, 0).as_slice(), 0), E::EPERM); end(k, child); }
    [pidfd_send_signal] bad_info_pointer(k) needs Native { fails(call!(k, PIDFD_SEND_SIGNAL, open(k, k.getpid()), 40, Arg::Bad, 0), E::EFAULT); }
    [pidfd_send_signal] strangers_process(k) needs Root, Native { let own = open(k, k.getpid()); as_user(k, || fails(call!(k, PIDFD_SEND_SIGNAL, own, SIGTERM, Arg::Null, 0), E::EPERM)); }
    [pidfd_send_signal] thread_scope(k) needs Native {
        k.catch(SIGUSR1, 0).unwrap();
        let own = fd(call!(k, PIDFD_OPEN, k.getpid(), THREAD));
        call!(k, PIDFD_SEND_SIGNAL, own, SIGUSR1, Arg::Null, 0).unwrap();
        assert_eq!((k.caught(SIGUSR1).0, k.caught(SIGUSR1).1), (1, -6));
    }
    [pidfd_send_signal] group_scope(k) needs Native {
        apart(k, || {
            call!(k, SETPGID, 0, 0).unwrap();
            k.catch(SIGTERM, 0).unwrap();
            let child = k.child(|| { k.set_action(SIGTERM, 0).unwrap(); loop { k.sleep_ms(1000); } });
            asleep(k, child);
            call!(k, PIDFD_SEND_SIGNAL, open(k, k.getpid()), SIGTERM, Arg::Null, 4).unwrap();
            assert_eq!((k.status(child), k.caught(SIGTERM).0), (15, 1));
        });
    }
    [pidfd_getfd] copies_a_descriptor(k) needs Native {
        let file = k.file("f", b"abc");
        let child = sleeper(k);
        k.close(file).unwrap();
        let copy = fd(call!(k, PIDFD_GETFD, open(k, child.pid), file, 0));
        assert_eq!((k.fcntl(copy, 1, 0), k.pread(copy, &mut [0; 3], 0)), (Ok(1), Ok(3)));
        end(k, child);
    }
    [pidfd_getfd] position_is_shared(k) needs Native {
        let file = k.file("f", b"abc");
        let copy = fd(call!(k, PIDFD_GETFD, open(k, k.getpid()), file, 0));
        k.lseek(file, 2, 0).unwrap();
        assert_eq!(k.lseek(copy, 0, 1), Ok(2));
    }
    [pidfd_getfd] getfd_has_no_flags(k) needs Native { fails(call!(k, PIDFD_GETFD, open(k, k.getpid()), 0, 1), E::EINVAL); }
    [pidfd_getfd] target_without_that_descriptor(k) needs Native { fails(call!(k, PIDFD_GETFD, open(k, k.getpid()), 999, 0), E::EBADF); }
    [pidfd_getfd] no_pidfd(k) needs Native { fails(call!(k, PIDFD_GETFD, 999, 0, 0), E::EBADF); fails(call!(k, PIDFD_GETFD, 0, 0, 0), E::EBADF); }
    [pidfd_getfd] process_that_ended(k) needs Native {
        let child = k.child(|| 0);
        let pidfd = open(k, child.pid);
        k.status(child);
        fails(call!(k, PIDFD_GETFD, pidfd, 0, 0), E::ESRCH);
    }
    [pidfd_getfd] needs_the_right_to_trace(k) needs Root, Native { let own = open(k, k.getpid()); as_user(k, || fails(call!(k, PIDFD_GETFD, own, 0, 0), E::EPERM)); }
    [pidfd_open, setns] descriptor_of_the_own_process(k) needs Root, Native { apart(k, || ok(call!(k, SETNS, open(k, k.getpid()), 0x0400_0000))); }
    [pidfd_open, setns] joins_several_namespaces(k) needs Root, Native {
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| { call!(k, UNSHARE, 0x0400_0000 | 0x0800_0000).unwrap(); call!(k, SETHOSTNAME, c"other", 5).unwrap(); k.write(writer, b"x").unwrap(); loop { k.sleep_ms(1000); } });
        k.read_some(reader, 1).unwrap();
        assert_ne!(k.readlink(&format!("/proc/{}/ns/ipc", child.pid)), k.readlink("/proc/self/ns/ipc"));
        let pidfd = open(k, child.pid);
        apart(k, || { call!(k, SETNS, pidfd, 0x0400_0000 | 0x0800_0000).unwrap(); assert_eq!(text(k, "/proc/sys/kernel/hostname"), "other\n"); });
        end(k, child);
    }
    [pidfd_open, setns] unknown_namespaces(k) needs Native { fails(call!(k, SETNS, open(k, k.getpid()), 1), E::EINVAL); fails(call!(k, SETNS, open(k, k.getpid()), 0), E::EINVAL); }
    [pidfd_open, kill] signals_do_not_reach_a_reused_id(k) needs Native { let child = k.child(|| 0); let pidfd = open(k, child.pid); k.status(child); fails(call!(k, PIDFD_SEND_SIGNAL, pidfd, SIGKILL, Arg::Null, 0), E::ESRCH); }
}
