//! The life of processes and their signals, on a platform whose guests are closures.

mod mock;

use std::sync::Arc;
use std::time::Duration;

use chitin_abi::process::{
    CLONE_PARENT_SETTID, CLONE_SIGHAND, CLONE_THREAD, CLONE_VFORK, CLONE_VM, WNOHANG, WUNTRACED,
};
use chitin_abi::signal::{
    SA_RESTART, SIG_BLOCK, SIG_UNBLOCK, SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTERM, SIGUSR1,
    SIGUSR2,
};
use chitin_abi::{Errno, Regs, nr};
use chitin_mm::platform::{Platform, ThreadState};
use chitin_mm::space::{Space, SpaceConfig};
use chitin_task::boot::{BootConfig, boot};
use chitin_task::cred::Credentials;
use chitin_task::limits::Limits;
use chitin_task::memory::{Image, Mm};
use chitin_task::namespace::{Namespaces, Pid, PidNamespace};
use chitin_task::process::{NewGroup, ProcessEntry, ThreadGroup};
use chitin_task::signal::{Actions, TaskSignals};
use chitin_task::task::{FsContext, NewTask, Task};
use chitin_vfs::fdtable::FdTable;
use mock::{BASE, Guest, Mock, STACK};

/// Runs a closure as the first process of a sandbox; its wait status.
fn run(body: impl Fn(&mut Guest) + Send + Sync + 'static) -> i32 {
    let mock = Arc::new(Mock::default());
    let rip = mock.code.add(body);
    let platform: Arc<dyn Platform> = Arc::clone(&mock) as Arc<dyn Platform>;
    let kernel = boot(Arc::clone(&platform), BootConfig::default()).expect("threads");
    let starter = Arc::clone(&kernel);
    let (sender, receiver) = std::sync::mpsc::channel();
    kernel.scheduler.spawn(async move {
        let kernel = starter;
        let host = platform.new_address_space().await.expect("memory");
        let space = Space::new(SpaceConfig {
            min_address: BASE,
            max_address: 0x7fff_0000_0000,
            vdso: None,
            stack_limit: 8 << 20,
            seed: 1,
            object_ids: Arc::clone(&kernel.object_ids),
        });
        let mm = Mm::new(space, host, Image::default());
        let regs = Regs { rip, rsp: STACK, ..Regs::default() };
        let thread =
            mm.host().spawn(ThreadState { regs, extended: Vec::new() }).await.expect("a thread");
        let pid_ns = PidNamespace::initial(Arc::clone(&kernel.user_ns));
        let pid = Pid::new(&kernel.numbers, &pid_ns, &[]).expect("a number");
        let group = ThreadGroup::new(NewGroup {
            pid: Arc::clone(&pid),
            actions: Arc::new(Actions::default()),
            limits: Limits::default(),
            container: 0,
            start_time: 0,
        });
        let mounts = mounts();
        let root = mounts.root();
        let task = Task::new(
            &kernel,
            NewTask {
                pid: Arc::clone(&pid),
                group: Arc::clone(&group),
                mm: Some(mm),
                fs: FsContext::new(root.clone(), root, 0o22),
                files: FdTable::new(),
                cred: Arc::new(Credentials::root(Arc::clone(&kernel.user_ns))),
                namespaces: Namespaces::initial(&kernel.user_ns, pid_ns, mounts, b"test"),
                signals: TaskSignals::default(),
                name: b"test".to_vec(),
            },
        );
        kernel.tree.lock().insert_process(ProcessEntry {
            group,
            parent: 0,
            parent_task: 0,
            exit_signal: 0,
            children: Vec::new(),
            tasks: vec![Arc::clone(&task)],
            pgrp: Arc::clone(&pid),
            session: pid,
            zombie: None,
            stop_report: None,
            continue_report: false,
            stopped: false,
            name: Vec::new(),
        });
        kernel.users.add(0);
        let _ = sender.send(task.tgid());
        chitin_task::run::start(task, thread, regs);
    });
    let tgid = receiver.recv().expect("started");
    let status =
        kernel.exits.wait_for(tgid, Duration::from_secs(20)).expect("the process does not end");
    kernel.scheduler.stop();
    status
}

fn mounts() -> Arc<chitin_vfs::namespace::MountNamespace> {
    use chitin_vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
    let (super_block, root) = Tmpfs::new(TmpfsOptions::default()).expect("memory");
    chitin_vfs::namespace::MountNamespace::new(chitin_vfs::mount::NewMount {
        super_block,
        root,
        flags: chitin_vfs::mount::MountFlags::empty(),
        source: b"none".to_vec(),
    })
}

const EXIT_WITH: fn(&mut Guest, u64) = |guest, code| {
    guest.syscall(nr::EXIT_GROUP, &[code]);
};

fn error(errno: Errno) -> i64 {
    -i64::from(errno.raw())
}

#[test]
fn a_parent_learns_how_its_child_ended() {
    let status = run(|guest| {
        assert_eq!(guest.syscall(nr::WAIT4, &[u64::MAX, 0, 0, 0]), error(Errno::ECHILD));
        let child = guest.fork(|guest| EXIT_WITH(guest, 7));
        assert_eq!(guest.syscall(nr::WAIT4, &[child as u64, BASE, 0, 0]), child);
        assert_eq!(guest.word(BASE), 7 << 8);
        let child = guest.fork(|guest| {
            guest.syscall(nr::PAUSE, &[]);
        });
        assert_eq!(guest.syscall(nr::WAIT4, &[child as u64, BASE, u64::from(WNOHANG), 0]), 0);
        assert_eq!(guest.syscall(nr::KILL, &[child as u64, u64::from(SIGKILL)]), 0);
        assert_eq!(guest.syscall(nr::WAIT4, &[u64::MAX, BASE, 0, 0]), child);
        assert_eq!(guest.word(BASE), SIGKILL);
        assert_eq!(guest.syscall(nr::KILL, &[child as u64, 0]), error(Errno::ESRCH));
        EXIT_WITH(guest, 3);
    });
    assert_eq!(status, 3 << 8);
}

#[test]
fn a_handler_interrupts_or_restarts() {
    let status = run(|guest| {
        guest.handle(SIGUSR1, 0, |guest| guest.put(BASE + 64, &1u32.to_ne_bytes()));
        guest.handle(SIGUSR2, SA_RESTART, |guest| guest.put(BASE + 68, &1u32.to_ne_bytes()));
        let parent = guest.syscall(nr::GETPID, &[]) as u64;
        let poke = |signal: u32| {
            move |guest: &mut Guest| {
                std::thread::sleep(Duration::from_millis(50));
                guest.syscall(nr::KILL, &[parent, u64::from(signal)]);
                std::thread::sleep(Duration::from_millis(50));
                EXIT_WITH(guest, 0);
            }
        };
        let child = guest.fork(poke(SIGUSR2));
        // Restarted: it ends with the child, not with the signal.
        assert_eq!(guest.syscall(nr::WAIT4, &[child as u64, 0, 0, 0]), child);
        assert_eq!(guest.word(BASE + 68), 1);
        let child = guest.fork(poke(SIGUSR1));
        assert_eq!(guest.syscall(nr::WAIT4, &[child as u64, 0, 0, 0]), error(Errno::EINTR));
        assert_eq!(guest.word(BASE + 64), 1);
        assert_eq!(guest.syscall(nr::WAIT4, &[child as u64, 0, 0, 0]), child);
        EXIT_WITH(guest, 0);
    });
    assert_eq!(status, 0);
}

#[test]
fn blocked_signals_wait() {
    let status = run(|guest| {
        guest.handle(SIGUSR1, 0, |guest| guest.put(BASE + 64, &1u32.to_ne_bytes()));
        let set = 1u64 << (SIGUSR1 - 1);
        guest.put(BASE, &set.to_ne_bytes());
        assert_eq!(guest.syscall(nr::RT_SIGPROCMASK, &[SIG_BLOCK.into(), BASE, 0, 8]), 0);
        let own = guest.syscall(nr::GETPID, &[]) as u64;
        guest.syscall(nr::KILL, &[own, SIGUSR1.into()]);
        assert_eq!(guest.word(BASE + 64), 0);
        assert_eq!(guest.syscall(nr::RT_SIGPENDING, &[BASE + 16, 8]), 0);
        assert_eq!(guest.word(BASE + 16), 1 << (SIGUSR1 - 1));
        guest.put(BASE, &set.to_ne_bytes());
        assert_eq!(guest.syscall(nr::RT_SIGPROCMASK, &[SIG_UNBLOCK.into(), BASE, 0, 8]), 0);
        assert_eq!(guest.word(BASE + 64), 1);
        EXIT_WITH(guest, 0);
    });
    assert_eq!(status, 0);
}

#[test]
fn a_running_guest_is_interrupted() {
    let status = run(|guest| {
        let child = guest.fork(|guest| {
            guest.compute(Duration::from_secs(10));
            EXIT_WITH(guest, 1);
        });
        std::thread::sleep(Duration::from_millis(50));
        guest.syscall(nr::KILL, &[child as u64, SIGTERM.into()]);
        assert_eq!(guest.syscall(nr::WAIT4, &[child as u64, BASE, 0, 0]), child);
        assert_eq!(guest.word(BASE), SIGTERM);
        EXIT_WITH(guest, 0);
    });
    assert_eq!(status, 0);
}

#[test]
fn stopping_and_continuing() {
    let status = run(|guest| {
        let child = guest.fork(|guest| {
            loop {
                guest.compute(Duration::from_millis(10));
                guest.syscall(nr::GETPID, &[]);
            }
        });
        let pid = child as u64;
        guest.syscall(nr::KILL, &[pid, SIGSTOP.into()]);
        assert_eq!(guest.syscall(nr::WAIT4, &[pid, BASE, WUNTRACED.into(), 0]), child);
        assert_eq!(guest.word(BASE), SIGSTOP << 8 | 0x7f);
        guest.syscall(nr::KILL, &[pid, SIGCONT.into()]);
        assert_eq!(
            guest.syscall(nr::WAIT4, &[pid, BASE, chitin_abi::process::WCONTINUED.into(), 0]),
            child
        );
        assert_eq!(guest.word(BASE), 0xffff);
        guest.syscall(nr::KILL, &[pid, SIGKILL.into()]);
        assert_eq!(guest.syscall(nr::WAIT4, &[pid, BASE, 0, 0]), child);
        EXIT_WITH(guest, 0);
    });
    assert_eq!(status, 0);
}

#[test]
fn threads_share_and_exit_together() {
    let status = run(|guest| {
        let flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_PARENT_SETTID;
        let own = guest.syscall(nr::GETPID, &[]);
        for index in 0..3u64 {
            let tid = guest.clone_with(flags, STACK + 0x1000 * (index + 1), move |guest| {
                assert_eq!(guest.syscall(nr::GETPID, &[]), own);
                assert_ne!(guest.syscall(nr::GETTID, &[]), own);
                guest.put(BASE + 128 + index * 4, &1u32.to_ne_bytes());
                if index == 2 {
                    // A thread takes the whole process along.
                    std::thread::sleep(Duration::from_millis(50));
                    EXIT_WITH(guest, 42);
                }
                guest.syscall(nr::PAUSE, &[]);
            });
            assert!(tid > own);
        }
        guest.syscall(nr::PAUSE, &[]);
    });
    assert_eq!(status, 42 << 8);
}

#[test]
fn vfork_waits_for_the_child() {
    let status = run(|guest| {
        let flags = CLONE_VM | CLONE_VFORK | u64::from(SIGCHLD);
        let child = guest.clone_with(flags, STACK + 0x1000, |guest| {
            std::thread::sleep(Duration::from_millis(50));
            guest.put(BASE + 64, &5u32.to_ne_bytes());
            EXIT_WITH(guest, 9);
        });
        assert_eq!(guest.word(BASE + 64), 5);
        assert_eq!(guest.syscall(nr::WAIT4, &[child as u64, BASE, 0, 0]), child);
        assert_eq!(guest.word(BASE), 9 << 8);
        EXIT_WITH(guest, 0);
    });
    assert_eq!(status, 0);
}

#[test]
fn orphans_go_to_the_first_process() {
    let status = run(|guest| {
        let child = guest.fork(|guest| {
            guest.fork(|guest| {
                std::thread::sleep(Duration::from_millis(50));
                assert_eq!(guest.syscall(nr::GETPPID, &[]), 1);
                EXIT_WITH(guest, 11);
            });
            EXIT_WITH(guest, 0);
        });
        assert_eq!(guest.syscall(nr::WAIT4, &[child as u64, 0, 0, 0]), child);
        let orphan = guest.syscall(nr::WAIT4, &[u64::MAX, BASE, 0, 0]);
        assert!(orphan > child);
        assert_eq!(guest.word(BASE), 11 << 8);
        EXIT_WITH(guest, 0);
    });
    assert_eq!(status, 0);
}

#[test]
fn the_first_process_takes_all_along() {
    let status = run(|guest| {
        guest.fork(|guest| {
            guest.syscall(nr::PAUSE, &[]);
        });
        // Not even a signal that it sends itself ends the first process.
        guest.syscall(nr::KILL, &[1, SIGKILL.into()]);
        EXIT_WITH(guest, 4);
    });
    assert_eq!(status, 4 << 8);
}

#[test]
fn bad_clone_flags_are_refused() {
    let status = run(|guest| {
        let refused = |guest: &mut Guest, flags: u64| {
            assert_eq!(guest.syscall(nr::CLONE, &[flags, 0]), error(Errno::EINVAL));
        };
        refused(guest, CLONE_THREAD);
        refused(guest, CLONE_SIGHAND);
        refused(guest, CLONE_THREAD | CLONE_SIGHAND);
        assert_eq!(guest.syscall(nr::CLONE3, &[BASE, 8]), error(Errno::EINVAL));
        assert_eq!(guest.syscall(nr::CLONE3, &[BASE, 5000]), error(Errno::E2BIG));
        EXIT_WITH(guest, 0);
    });
    assert_eq!(status, 0);
}
