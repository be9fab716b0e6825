//! A kernel, and its first process without a program.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use chitin_abi::Regs;
use chitin_mm::platform::{Platform, ThreadState};
use chitin_mm::space::{Space, SpaceConfig, SpaceLimits};
use chitin_task::Kernel;
use chitin_task::boot::{BootConfig, boot};
use chitin_task::cred::Credentials;
use chitin_task::limits::Limits;
use chitin_task::memory::{Image, Mm};
use chitin_task::namespace::{Namespaces, Pid, PidNamespace};
use chitin_task::process::{NewGroup, ProcessEntry, ThreadGroup};
use chitin_task::signal::{Actions, TaskSignals};
use chitin_task::task::{FsContext, NewTask, Task};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fdtable::FdTable;
use chitin_vfs::namespace::MountNamespace;

use super::guest::Guest;
use super::platform::{Local, MAX_ADDRESS, MIN_ADDRESS};
use super::tree;
use crate::subject::Root;

/// Where the heap of the first process begins.
const HEAP: u64 = 0x0555_5555_0000;

/// The first process of a kernel, which stands before its first instruction.
pub(super) struct First {
    /// Its thread.
    pub(super) guest: Guest,
    /// Where its threads to come are found.
    pub(super) platform: Arc<Local>,
    /// The kernel.
    pub(super) kernel: Arc<Kernel>,
}

/// Starts a kernel.
pub(super) fn start(platform: &Arc<Local>, root: Root) -> Result<First, String> {
    let contract = Arc::clone(platform) as Arc<dyn Platform>;
    let kernel = boot(contract, BootConfig::default()).map_err(|error| error.to_string())?;
    chitin_task::sys::register(&kernel);
    let env = VfsEnv::new(Arc::clone(&kernel.vfs), None);
    let mounts = tree::build(root, &env).map_err(|errno| format!("the root: {errno:?}"))?;
    let (sender, receiver) = sync_channel(1);
    let (starter, platform_there) = (Arc::clone(&kernel), Arc::clone(platform));
    kernel.scheduler.spawn(async move {
        // Whoever asked waits for the answer.
        let _ = sender.send(launch(&starter, &platform_there, mounts).await);
    });
    let result = receiver.recv().map_err(|error| error.to_string())?;
    result.map_err(|errno| format!("the first process: {errno:?}"))?;
    let newborn = platform.newborn.lock().pop_front().ok_or("no thread was made")?;
    let mut guest = Guest::new(newborn);
    guest.wait_resumed(None).map_err(|lost| format!("the first process: {lost:?}"))?;
    Ok(First { guest, platform: Arc::clone(platform), kernel })
}

async fn launch(
    kernel: &Arc<Kernel>,
    platform: &Local,
    mounts: Arc<MountNamespace>,
) -> chitin_abi::Result<()> {
    let host = platform.new_address_space().await?;
    let mm = Mm::new(space(kernel), host, Image::default());
    let regs = Regs { rip: super::kernel::CODE, ..Regs::default() };
    let thread = mm.host().spawn(ThreadState { regs, extended: Vec::new() }).await?;
    let pid_ns = PidNamespace::initial(Arc::clone(&kernel.user_ns));
    let pid = Pid::new(&kernel.numbers, &pid_ns, &[])?;
    let group = ThreadGroup::new(NewGroup {
        pid: Arc::clone(&pid),
        actions: Arc::new(Actions::default()),
        limits: Limits::default(),
        container: 0,
        start_time: kernel.clock.monotonic(),
    });
    let root = mounts.root();
    let namespaces =
        Namespaces::initial(&kernel.user_ns, Arc::clone(&pid_ns), mounts, b"conformance");
    kernel.unbound.bind(&namespaces, &pid_ns);
    let new = NewTask {
        pid: Arc::clone(&pid),
        group: Arc::clone(&group),
        mm: Some(mm),
        fs: FsContext::new(root.clone(), root, 0o22),
        files: FdTable::new(),
        cred: Arc::new(Credentials::root(Arc::clone(&kernel.user_ns))),
        namespaces,
        signals: TaskSignals::default(),
        name: b"case".to_vec(),
    };
    let task = Task::new(kernel, new);
    enter_tree(kernel, group, pid, &task);
    chitin_task::run::start(task, thread, regs);
    Ok(())
}

fn space(kernel: &Kernel) -> Space {
    let mut space = Space::new(SpaceConfig {
        min_address: MIN_ADDRESS,
        max_address: MAX_ADDRESS,
        vdso: None,
        stack_limit: 8 << 20,
        seed: 1,
        object_ids: Arc::clone(&kernel.object_ids),
    });
    space.set_brk_start(HEAP);
    space.set_limits(SpaceLimits::default());
    space
}

fn enter_tree(kernel: &Kernel, group: Arc<ThreadGroup>, pid: Arc<Pid>, task: &Arc<Task>) {
    kernel.tree.lock().insert_process(ProcessEntry {
        group,
        parent: 0,
        parent_task: 0,
        exit_signal: 0,
        children: Vec::new(),
        tasks: vec![Arc::clone(task)],
        pgrp: Arc::clone(&pid),
        session: pid,
        zombie: None,
        stop_report: None,
        continue_report: false,
        stopped: false,
        name: Vec::new(),
    });
    kernel.users.add(0);
}
