//! Making processes with a structure: `clone3(2)`.

use chitin_abi::Errno as E;
use chitin_abi::Result;
use chitin_abi::signal::{SIG_IGN, SIGCHLD, SIGUSR1, SIGUSR2};

use super::super::support::{WALL, as_user, born, end, fd, i32_at, sleeper, text, u64_at, words};
use crate::call;
use crate::suite::{Arg, Calls, Child, Kernel, Processes, fails, tests};

const FS: u64 = 0x200;
const SIGHAND: u64 = 0x800;
const PIDFD: u64 = 0x1000;
const THREAD: u64 = 0x1_0000;
const DETACHED: u64 = 0x40_0000;
const CHILD_SETTID: u64 = 0x100_0000;
const PARENT_SETTID: u64 = 0x10_0000;
const NEWNS: u64 = 0x2_0000;
const NEWPID: u64 = 0x2000_0000;
const CLEAR_SIGHAND: u64 = 1 << 32;
const INTO_CGROUP: u64 = 1 << 33;
const CHLD: u64 = SIGCHLD as u64;

/// `struct clone_args`; unnamed fields are zero.
#[derive(Clone, Copy, Default)]
struct Args {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

impl Args {
    const CHILD: Self = Self {
        flags: 0,
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: CHLD,
        stack: 0,
        stack_size: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: 0,
    };

    fn bytes(self) -> Vec<u8> {
        words([
            self.flags,
            self.pidfd,
            self.child_tid,
            self.parent_tid,
            self.exit_signal,
            self.stack,
            self.stack_size,
            0,
            self.set_tid,
            self.set_tid_size,
            self.cgroup,
        ])
    }

    fn call(self, k: &dyn Kernel) -> Result<u64> {
        call!(k, CLONE3, self.bytes().as_slice(), 88)
    }

    fn child(self, k: &dyn Kernel, body: impl FnOnce() -> i32) -> Child {
        born(k, self.call(k), body).unwrap()
    }
}

/// An id that is free.
fn free_id(k: &dyn Kernel) -> i32 {
    let last = k.child(|| 0);
    k.status(last);
    last.pid + 50
}

/// A child with a free id, and that id; `first` are the ids in inner namespaces. Another process of the machine may
/// take the id before the child does; then another one is tried.
fn with_free_id(
    k: &dyn Kernel,
    flags: u64,
    first: &[i32],
    body: impl FnOnce(i32) -> i32,
) -> (i32, Child) {
    for _ in 0..20 {
        let id = free_id(k);
        let ids: Vec<u8> = first.iter().chain([&id]).flat_map(|id| id.to_ne_bytes()).collect();
        let (set_tid, set_tid_size) = (ids.as_ptr() as u64, ids.len() as u64 / 4);
        match (Args { flags, set_tid, set_tid_size, ..Args::CHILD }).call(k) {
            Err(E::EEXIST) => {}
            made => return (id, born(k, made, || body(id)).unwrap()),
        }
    }
    panic!("every id that was free was taken");
}

tests! { "clone3", "clone3(2)";
    [clone3] makes_a_child(k) needs Native { let child = Args::CHILD.child(k, || 5); assert_eq!(k.status(child), 5 << 8); }
    [clone3] first_version_of_the_structure_is_enough(k) needs Native {
        let made = call!(k, CLONE3, &Args::CHILD.bytes()[..64], 64);
        let child = born(k, made, || 5).unwrap();
        assert_eq!(k.status(child), 5 << 8);
    }
    [clone3] smaller_structure(k) needs Native { fails(call!(k, CLONE3, &Args::CHILD.bytes()[..56], 56), E::EINVAL); }
    [clone3] zero_tail_is_accepted(k) needs Native {
        let mut bytes = Args::CHILD.bytes();
        bytes.extend([0; 40]);
        let made = call!(k, CLONE3, bytes.as_slice(), 128);
        let child = born(k, made, || 1).unwrap();
        assert_eq!(k.status(child), 1 << 8);
    }
    [clone3] other_tail_is_too_big(k) needs Native {
        let mut bytes = Args::CHILD.bytes();
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        fails(call!(k, CLONE3, bytes.as_slice(), 96), E::E2BIG);
    }
    [clone3] structure_larger_than_a_page(k) needs Native { fails(call!(k, CLONE3, &[0_u8; 8192], 4097), E::E2BIG); }
    [clone3] structure_across_the_end_of_memory(k) needs Native { fails(call!(k, CLONE3, Arg::Edge(40), 88), E::EFAULT); }
    [clone3] null_structure(k) needs Native { fails(call!(k, CLONE3, Arg::Null, 88), E::EFAULT); }
    [clone3] unknown_flag(k) needs Native { fails(Args { flags: 1 << 40, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] signal_in_the_flags(k) needs Native { fails(Args { flags: CHLD, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] detached_is_refused(k) needs Native { fails(Args { flags: DETACHED, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] exit_signal_out_of_range(k) needs Native { for signal in [65, 256, 1 << 32] { fails(Args { exit_signal: signal, ..Args::CHILD }.call(k), E::EINVAL); } }
    [clone3] thread_has_no_exit_signal(k) needs Native { fails(Args { flags: THREAD | SIGHAND | 0x100, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] stack_without_a_size(k) needs Native { fails(Args { stack: 0x10000, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] size_without_a_stack(k) needs Native { fails(Args { stack_size: 0x1000, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] stack_outside_the_address_space(k) needs Native { fails(Args { stack: u64::MAX - 4096, stack_size: 0x2000, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] flag_newns_excludes_fs(k) needs Native { fails(Args { flags: NEWNS | FS, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] pidfd_and_parent_tid_go_together(k) needs Native {
        let (mut pidfd, mut tid) = (vec![0_u8; 4], vec![0_u8; 4]);
        let args = Args { flags: PIDFD | PARENT_SETTID, pidfd: pidfd.as_mut_ptr() as u64, parent_tid: tid.as_mut_ptr() as u64, ..Args::CHILD };
        let child = args.child(k, || 0);
        assert_eq!((i32_at(&tid, 0), k.fcntl(i32_at(&pidfd, 0), 1, 0)), (child.pid, Ok(1)));
        assert_eq!(k.status(child), 0);
    }
    [clone3] pidfd_excludes_detached_and_bad_memory(k) needs Native {
        fails(Args { flags: PIDFD, pidfd: 16, ..Args::CHILD }.call(k), E::EFAULT);
        fails(k.wait4(-1, 0), E::ECHILD);
    }
    [clone3] pidfd_shows_the_child_in_fdinfo(k) needs Native {
        let mut pidfd = vec![0_u8; 4];
        let args = Args { flags: PIDFD, pidfd: pidfd.as_mut_ptr() as u64, ..Args::CHILD };
        let child = args.child(k, || { loop { k.sleep_ms(1000); } });
        let info = text(k, &format!("/proc/self/fdinfo/{}", i32_at(&pidfd, 0)));
        assert!(info.contains(&format!("Pid:\t{}\n", child.pid)), "{info}");
        end(k, child);
        let info = text(k, &format!("/proc/self/fdinfo/{}", i32_at(&pidfd, 0)));
        assert!(info.contains("Pid:\t-1\n"), "{info}");
    }
    [clone3] child_tid_is_written_in_the_child(k) needs Native {
        let tid = vec![0_u8; 4];
        let args = Args { flags: CHILD_SETTID, child_tid: tid.as_ptr() as u64, ..Args::CHILD };
        let made = args.call(k);
        let found = i32_at(std::hint::black_box(&tid), 0);
        let child = born(k, made, || i32::from(found != k.getpid())).unwrap();
        assert_eq!(k.status(child), 0);
    }
    [clone3] other_exit_signal(k) needs Native {
        k.catch(SIGUSR1, 0).unwrap();
        let child = Args { exit_signal: u64::from(SIGUSR1), ..Args::CHILD }.child(k, || 0);
        assert_eq!(k.wait4(child.pid, WALL), Ok((child.pid, 0)));
        assert_eq!(k.caught(SIGUSR1).0, 1);
    }
    [clone3] no_exit_signal(k) needs Native {
        let child = Args { exit_signal: 0, ..Args::CHILD }.child(k, || 0);
        assert_eq!(k.wait4(child.pid, WALL), Ok((child.pid, 0)));
    }
    [clone3, rt_sigaction] clear_sighand_resets_handlers(k) needs Native {
        k.catch(SIGUSR1, 0).unwrap();
        let child = Args { flags: CLEAR_SIGHAND, ..Args::CHILD }.child(k, || { k.kill(k.getpid(), SIGUSR1).unwrap(); 0 });
        assert_eq!(k.status(child), SIGUSR1 as i32);
    }
    [clone3, rt_sigaction] clear_sighand_keeps_ignored_signals(k) needs Native {
        k.set_action(SIGUSR2, SIG_IGN).unwrap();
        let child = Args { flags: CLEAR_SIGHAND, ..Args::CHILD }.child(k, || { k.kill(k.getpid(), SIGUSR2).unwrap(); 4 });
        assert_eq!(k.status(child), 4 << 8);
    }
    [clone3] clear_sighand_excludes_sighand(k) needs Native { fails(Args { flags: CLEAR_SIGHAND | SIGHAND | 0x100, exit_signal: 0, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] set_tid_chooses_the_id(k) needs Root, Native {
        let (id, child) = with_free_id(k, 0, &[], |id| i32::from(k.getpid() != id));
        assert_eq!((child.pid, k.status(child)), (id, 0));
    }
    [clone3] set_tid_of_a_taken_id(k) needs Root, Native {
        let id = halves(k.getpid());
        fails(Args { set_tid: id.as_ptr() as u64, set_tid_size: 1, ..Args::CHILD }.call(k), E::EEXIST);
    }
    [clone3] set_tid_of_a_bad_id(k) needs Root, Native {
        for value in [0, -1, 1 << 30] {
            let id = halves(value);
            fails(Args { set_tid: id.as_ptr() as u64, set_tid_size: 1, ..Args::CHILD }.call(k), E::EINVAL);
        }
    }
    [clone3] set_tid_without_a_size(k) needs Native { let id = [0_u8; 4]; fails(Args { set_tid: id.as_ptr() as u64, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] set_tid_size_without_ids(k) needs Native { fails(Args { set_tid_size: 1, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] set_tid_deeper_than_any_namespace(k) needs Native { let ids = [0_u8; 200]; fails(Args { set_tid: ids.as_ptr() as u64, set_tid_size: 33, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] set_tid_deeper_than_this_namespace(k) needs Root, Native {
        let ids = [9_u8; 128];
        fails(Args { set_tid: ids.as_ptr() as u64, set_tid_size: 32, ..Args::CHILD }.call(k), E::EINVAL);
    }
    [clone3] set_tid_bad_memory(k) needs Root, Native { fails(Args { set_tid: 16, set_tid_size: 1, ..Args::CHILD }.call(k), E::EFAULT); }
    [clone3] set_tid_needs_privilege(k) needs Root, Native {
        let id = halves(free_id(k));
        as_user(k, || fails(Args { set_tid: id.as_ptr() as u64, set_tid_size: 1, ..Args::CHILD }.call(k), E::EPERM));
    }
    [clone3] set_tid_in_a_new_namespace_is_one(k) needs Root, Native {
        let id = halves(1);
        let child = Args { flags: NEWPID, set_tid: id.as_ptr() as u64, set_tid_size: 1, ..Args::CHILD }.child(k, || i32::from(k.getpid() != 1));
        assert_eq!(k.status(child), 0);
    }
    [clone3] set_tid_in_a_new_namespace_is_only_one(k) needs Root, Native {
        let id = halves(7);
        fails(Args { flags: NEWPID, set_tid: id.as_ptr() as u64, set_tid_size: 1, ..Args::CHILD }.call(k), E::EINVAL);
    }
    [clone3] set_tid_in_both_namespaces(k) needs Root, Native {
        let (id, child) = with_free_id(k, NEWPID, &[1], |_| i32::from(k.getpid() != 1));
        assert_eq!((child.pid, k.status(child)), (id, 0));
    }
    [clone3] into_cgroup_of_a_bad_descriptor(k) needs Native { fails(Args { flags: INTO_CGROUP, cgroup: 999, ..Args::CHILD }.call(k), E::EBADF); }
    [clone3] into_cgroup_number_out_of_range(k) needs Native { fails(Args { flags: INTO_CGROUP, cgroup: 1 << 32, ..Args::CHILD }.call(k), E::EINVAL); }
    [clone3] into_cgroup_needs_the_second_structure(k) needs Native {
        let bytes = Args { flags: INTO_CGROUP, ..Args::CHILD }.bytes();
        fails(call!(k, CLONE3, &bytes[..64], 64), E::EINVAL);
    }
    [clone3] into_cgroup_of_another_file(k) needs Native {
        let file = fd(call!(k, OPENAT, -100, c"/", 0o200_000, 0));
        fails(Args { flags: INTO_CGROUP, cgroup: file as u64, ..Args::CHILD }.call(k), E::EBADF);
    }
    [clone3, clone] child_of_a_child_is_no_child(k) needs Native {
        let (reader, writer) = k.pipe2(0).unwrap();
        let child = k.child(|| { let inner = sleeper(k); k.write(writer, &u64::from(inner.pid.cast_unsigned()).to_ne_bytes()).unwrap(); end(k, inner); 0 });
        let inner = u64_at(&k.read_some(reader, 8).unwrap(), 0) as i32;
        fails(k.wait4(inner, 1), E::ECHILD);
        assert_eq!(k.status(child), 0);
    }
}

fn halves(value: i32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}
