//! Making processes: `fork(2)`, `vfork(2)`, `clone(2)`.

use chitin_abi::Errno as E;
use chitin_abi::signal::{SIGCHLD, SIGUSR1};

use super::super::support::{
    WALL, WCLONE, apart, as_user, bit, born, end, fd, i32_at, memory, now, shared, sleeper,
    status_of, text, until, words,
};
use crate::call;
use crate::suite::{Arg, Calls, Files, Kernel, Processes, fails, tests};

const VM: u64 = 0x100;
const FS: u64 = 0x200;
const FILES: u64 = 0x400;
const SIGHAND: u64 = 0x800;
const PIDFD: u64 = 0x1000;
const PARENT: u64 = 0x8000;
const THREAD: u64 = 0x1_0000;
const NEWNS: u64 = 0x2_0000;
const SETTLS: u64 = 0x8_0000;
const PARENT_SETTID: u64 = 0x10_0000;
const CHILD_CLEARTID: u64 = 0x20_0000;
const DETACHED: u64 = 0x40_0000;
const CHILD_SETTID: u64 = 0x100_0000;
const NEWUSER: u64 = 0x1000_0000;
const NEWPID: u64 = 0x2000_0000;
const CHLD: u64 = SIGCHLD as u64;

fn clone(
    k: &dyn Kernel,
    flags: u64,
    body: impl FnOnce() -> i32,
) -> chitin_abi::Result<crate::suite::Child> {
    born(k, call!(k, CLONE, flags, 0, 0, 0, 0), body)
}

tests! { "clone", "clone(2)";
    [clone] child_gets_zero_and_parent_its_id(k) needs Native {
        let child = clone(k, CHLD, || 4).unwrap();
        assert_eq!((k.status(child), child.pid > 1), (4 << 8, true));
    }
    [clone, getppid] parent_of_the_child_is_the_caller(k) needs Native {
        let me = k.getpid();
        apart(k, || assert_eq!(call!(k, GETPPID), Ok(me as u64)));
    }
    [clone] flag_parent_makes_a_sibling(k) needs Native {
        let me = k.getpid();
        let child = k.child(|| {
            let sibling = clone(k, PARENT | CHLD, || i32::from(call!(k, GETPPID) != Ok(me as u64))).unwrap();
            fails(k.wait4(sibling.pid, 0), E::ECHILD);
            0
        });
        assert_eq!(k.status(child), 0);
        assert_eq!(k.wait4(-1, 0).unwrap().1, 0);
    }
    [clone, chdir] flag_fs_shares_the_directory(k) needs Native {
        k.mkdir("d", 0o755).unwrap();
        let child = clone(k, FS | CHLD, || i32::from(call!(k, CHDIR, c"d").is_err())).unwrap();
        assert_eq!(k.status(child), 0);
        assert!(k.readlink("/proc/self/cwd").unwrap().ends_with(b"/d"));
    }
    [clone, umask] flag_fs_shares_the_umask(k) needs Native {
        let child = clone(k, FS | CHLD, || { call!(k, UMASK, 0o57).unwrap(); 0 }).unwrap();
        assert_eq!((k.status(child), call!(k, UMASK, 0)), (0, Ok(0o57)));
    }
    [fork, chdir, umask] fork_copies_directory_and_umask(k) needs Native {
        k.mkdir("d", 0o755).unwrap();
        call!(k, UMASK, 0o22).unwrap();
        apart(k, || { call!(k, CHDIR, c"d").unwrap(); call!(k, UMASK, 0o77).unwrap(); });
        assert_eq!(call!(k, UMASK, 0), Ok(0o22));
        assert!(!k.readlink("/proc/self/cwd").unwrap().ends_with(b"/d"));
    }
    [clone, close] flag_files_shares_descriptors(k) needs Native {
        let file = k.file("f", b"x");
        let child = clone(k, FILES | CHLD, || i32::from(k.close(file).is_err())).unwrap();
        assert_eq!(k.status(child), 0);
        fails(k.fcntl(file, 1, 0), E::EBADF);
    }
    [fork, close] fork_copies_descriptors(k) needs Native {
        let file = k.file("f", b"x");
        apart(k, || k.close(file).unwrap());
        assert_eq!(k.fcntl(file, 1, 0), Ok(0));
    }
    [clone] exit_signal_may_be_another(k) needs Native {
        k.catch(SIGUSR1, 0).unwrap();
        let child = clone(k, u64::from(SIGUSR1), || 3).unwrap();
        until(k, || k.caught(SIGUSR1).0 == 1);
        fails(k.wait4(child.pid, 0), E::ECHILD);
        assert_eq!(k.wait4(child.pid, WCLONE), Ok((child.pid, 3 << 8)));
    }
    [clone] exit_signal_may_be_none(k) needs Native {
        k.catch(SIGCHLD, 0).unwrap();
        let child = clone(k, 0, || 5).unwrap();
        assert_eq!(k.wait4(child.pid, WALL), Ok((child.pid, 5 << 8)));
        assert_eq!(k.caught(SIGCHLD).0, 0);
    }
    [clone] exit_signal_is_sigchld_after_exec(k) needs Native {
        k.catch(SIGCHLD, 0).unwrap();
        k.catch(SIGUSR1, 0).unwrap();
        let arguments = words([c"true".as_ptr() as u64, 0]);
        let child = clone(k, u64::from(SIGUSR1), || { let _ = call!(k, EXECVE, c"/bin/true", arguments.as_slice(), Arg::Null); 1 }).unwrap();
        assert_eq!(k.wait4(child.pid, WALL), Ok((child.pid, 0)));
        assert_eq!((k.caught(SIGCHLD).0, k.caught(SIGUSR1).0), (1, 0));
    }
    [clone] parent_settid_is_written_in_the_parent(k) needs Native {
        let mut id = [0_u8; 4];
        let made = call!(k, CLONE, PARENT_SETTID | CHLD, 0, &mut id, 0, 0);
        let child = born(k, made, || 0).unwrap();
        assert_eq!((i32_at(&id, 0), k.status(child)), (child.pid, 0));
    }
    [clone] bad_parent_settid_pointer_still_makes_the_child(k) needs Native {
        let made = call!(k, CLONE, PARENT_SETTID | CHLD, 0, Arg::Bad, 0, 0);
        let child = born(k, made, || 6).unwrap();
        assert_eq!(k.status(child), 6 << 8);
    }
    [clone] child_settid_is_written_in_the_child_alone(k) needs Native {
        let mut id = [0_u8; 4];
        let made = call!(k, CLONE, CHILD_SETTID | CHLD, 0, 0, &mut id, 0);
        let found = i32_at(&id, 0);
        let child = born(k, made, || i32::from(found != k.getpid())).unwrap();
        assert_eq!((k.status(child), found), (0, 0));
    }
    [clone, pidfd_open] flag_pidfd_gives_a_close_on_exec_descriptor(k) needs Native {
        let mut pidfd = [0_u8; 4];
        let made = call!(k, CLONE, PIDFD | CHLD, 0, &mut pidfd, 0, 0);
        let child = born(k, made, || 0).unwrap();
        let pidfd = i32_at(&pidfd, 0);
        assert_eq!(k.fcntl(pidfd, 1, 0), Ok(1));
        call!(k, WAITID, 3, pidfd, Arg::Null, 4, Arg::Null).unwrap();
        fails(k.wait4(child.pid, 0), E::ECHILD);
    }
    [clone] flag_pidfd_excludes_parent_settid(k) needs Native { fails(call!(k, CLONE, PIDFD | PARENT_SETTID | CHLD, 0, &mut [0_u8; 4], 0, 0), E::EINVAL); }
    [clone] flag_pidfd_excludes_detached(k) needs Native { fails(call!(k, CLONE, PIDFD | DETACHED | CHLD, 0, &mut [0_u8; 4], 0, 0), E::EINVAL); }
    [clone] bad_pidfd_pointer_makes_no_child(k) needs Native {
        fails(call!(k, CLONE, PIDFD | CHLD, 0, Arg::Bad, 0, 0), E::EFAULT);
        fails(k.wait4(-1, 0), E::ECHILD);
    }
    [clone] detached_is_ignored(k) needs Native {
        let child = clone(k, DETACHED | CHLD, || 1).unwrap();
        assert_eq!(k.status(child), 1 << 8);
    }
    [clone] flag_sighand_needs_vm(k) needs Native { fails(call!(k, CLONE, SIGHAND | CHLD, 0, 0, 0, 0), E::EINVAL); }
    [clone] flag_thread_needs_sighand(k) needs Native { fails(call!(k, CLONE, THREAD | VM, 0, 0, 0, 0), E::EINVAL); }
    [clone] flag_newns_excludes_fs(k) needs Native { fails(call!(k, CLONE, NEWNS | FS | CHLD, 0, 0, 0, 0), E::EINVAL); }
    [clone] flag_newuser_excludes_fs(k) needs Native { fails(call!(k, CLONE, NEWUSER | FS | CHLD, 0, 0, 0, 0), E::EINVAL); }
    [clone] flag_newpid_excludes_thread(k) needs Native { fails(call!(k, CLONE, NEWPID | THREAD | SIGHAND | VM, 0, 0, 0, 0), E::EINVAL); }
    [clone] flag_newpid_excludes_parent_no_more(k) needs Root, Native {
        let child = k.child(|| i32::from(clone(k, NEWPID | PARENT | CHLD, || 0).is_err()));
        assert_eq!(k.status(child), 0);
        k.wait4(-1, 0).unwrap();
    }
    [clone] flag_newpid_needs_privilege(k) needs Root, Native { as_user(k, || fails(call!(k, CLONE, NEWPID | CHLD, 0, 0, 0, 0), E::EPERM)); }
    [clone] flag_newns_needs_privilege(k) needs Root, Native { as_user(k, || fails(call!(k, CLONE, NEWNS | CHLD, 0, 0, 0, 0), E::EPERM)); }
    [clone] flag_newpid_makes_the_child_the_first(k) needs Root, Native {
        let child = clone(k, NEWPID | CHLD, || i32::from((k.getpid(), call!(k, GETPPID)) != (1, Ok(0)))).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [clone, kill] first_of_a_pid_namespace_takes_all_with_it(k) needs Root, Native {
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = clone(k, NEWPID | CHLD, || { sleeper(k); k.close(writer).unwrap(); 0 }).unwrap();
        k.close(writer).unwrap();
        assert_eq!((k.status(child), k.read_some(reader, 1)), (0, Ok(vec![])));
    }
    [clone, kill] first_of_a_pid_namespace_is_immune_from_inside(k) needs Root, Native {
        let child = clone(k, NEWPID | CHLD, || { k.kill(1, 9).unwrap(); k.kill(1, 15).unwrap(); 0 }).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [clone, kill] first_of_a_pid_namespace_dies_by_its_parent(k) needs Root, Native {
        let child = clone(k, NEWPID | CHLD, || { loop { k.sleep_ms(1000); } }).unwrap();
        end(k, child);
    }
    [vfork] child_shares_memory_until_exec(k) needs Native {
        let status = std::process::Command::new("/bin/sh").args(["-c", "exit 3"]).status().unwrap();
        assert_eq!((status.code(), k.getpid() > 0), (Some(3), true));
    }
    [fork] mask_and_actions_are_copied(k) needs Native {
        k.catch(SIGUSR1, 0).unwrap();
        k.set_mask(0, bit(12)).unwrap();
        apart(k, || {
            assert_eq!(k.set_mask(0, 0).unwrap(), bit(12));
            k.kill(k.getpid(), SIGUSR1).unwrap();
            assert_eq!(k.caught(SIGUSR1).0, 1);
        });
        assert_eq!(k.caught(SIGUSR1).0, 0);
    }
    [fork, alarm] alarms_are_not_inherited(k) needs Native {
        call!(k, ALARM, 100).unwrap();
        apart(k, || assert_eq!(call!(k, ALARM, 0), Ok(0)));
        assert!((50..=100).contains(&call!(k, ALARM, 0).unwrap()));
    }
    [fork, timer_create] timers_are_not_inherited(k) needs Native {
        let mut id = [0; 4];
        call!(k, TIMER_CREATE, 1, Arg::Null, &mut id).unwrap();
        apart(k, || fails(call!(k, TIMER_GETTIME, i32_at(&id, 0), &mut [0_u8; 32]), E::EINVAL));
    }
    [fork, times] cpu_times_start_at_zero(k) needs Native {
        let start = now(k, 2);
        while now(k, 2) - start < 30_000_000 { std::hint::black_box(()); }
        apart(k, || assert!(now(k, 2) < 20_000_000));
    }
    [fork, flock] file_locks_of_the_process_are_not_inherited(k) needs Native {
        let file = k.file("f", b"x");
        let lock = words([1, 0, 0, 0]);
        call!(k, FCNTL, file, 6, lock.as_slice()).unwrap();
        apart(k, || fails(call!(k, FCNTL, file, 6, lock.as_slice()), E::EAGAIN));
    }
    [fork] nice_and_name_are_inherited(k) needs Native {
        call!(k, SETPRIORITY, 0, 0, 5).unwrap();
        call!(k, PRCTL, 15, c"namesake").unwrap();
        apart(k, || {
            assert_eq!(call!(k, GETPRIORITY, 0, 0), Ok(15));
            assert_eq!(k.content("/proc/self/comm"), b"namesake\n");
        });
    }
    [fork, mlock] locked_memory_is_not_inherited(k) needs Root, Native {
        let memory = memory(k, 4);
        call!(k, MLOCK, memory.address(), 16384).unwrap();
        assert_eq!(status_of(k, "self", "VmLck"), "16 kB");
        apart(k, || assert_eq!(status_of(k, "self", "VmLck"), "0 kB"));
    }
    [fork, setrlimit] process_limit_of_a_user(k) needs Root, Native {
        as_user(k, || {
            call!(k, SETRLIMIT, 6, words([0, 0]).as_slice()).unwrap();
            fails(k.fork(&mut || 0), E::EAGAIN);
        });
    }
    [fork] children_are_listed(k) needs Native {
        let child = sleeper(k);
        let listed = text(k, &format!("/proc/self/task/{}/children", k.getpid()));
        assert_eq!(listed, format!("{} ", child.pid));
        end(k, child);
    }
    [clone] tls_may_be_given_to_a_process(k) needs Native {
        // The child's thread pointer is the parent's own, so that it can go on.
        let mut base = [0_u8; 8];
        call!(k, ARCH_PRCTL, 0x1003, &mut base).unwrap();
        let made = call!(k, CLONE, SETTLS | CHLD, 0, 0, 0, u64::from_ne_bytes(base));
        let child = born(k, made, || 2).unwrap();
        assert_eq!(k.status(child), 2 << 8);
    }
    [clone] tls_outside_the_address_space(k) needs Native { fails(call!(k, CLONE, SETTLS | CHLD, 0, 0, 0, 1_u64 << 63), E::EPERM); }
    [clone, futex] cleared_tid_in_private_memory_is_nobodys(k) needs Native {
        let mut id = [9_u8; 4];
        let made = call!(k, CLONE, CHILD_CLEARTID | CHLD, 0, 0, &mut id, 0);
        let child = born(k, made, || 0).unwrap();
        assert_eq!((k.status(child), id), (0, [9; 4]));
    }
    [clone, futex] cleared_tid_in_shared_memory_stays_when_nobody_shares_the_space(k) needs Native {
        let memory = shared(k, 1);
        memory.set(0, 7);
        let made = call!(k, CLONE, CHILD_CLEARTID | CHLD, 0, 0, memory.address(), 0);
        let child = born(k, made, || 0).unwrap();
        assert_eq!((k.status(child), memory.get(0)), (0, 7));
    }
    [fork, read] offset_of_a_directory_is_shared(k) needs Native {
        let dir = fd(call!(k, OPENAT, -100, c"/proc", 0o200_000, 0));
        apart(k, || { while call!(k, GETDENTS64, dir, &mut [0_u8; 4096], 4096).unwrap() > 0 {} });
        assert_eq!(call!(k, GETDENTS64, dir, &mut [0_u8; 4096], 4096), Ok(0));
    }
    [fork] pages_are_copied_on_write(k) needs Native {
        let memory = memory(k, 3);
        memory.set(4096, 1);
        apart(k, || { assert_eq!(memory.get(4096), 1); memory.set(4096, 2); memory.set(8192, 3); });
        assert_eq!((memory.get(4096), memory.get(8192)), (1, 0));
    }
}
