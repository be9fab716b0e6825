//! New programs: `execve(2)`, `execveat(2)`.
//!
//! 1. Everything that can fail is done while the caller is as it was: arguments, the file, its interpreter, the
//!    new identity. 2. The other threads of the process end, and the caller takes the leader's id. 3. The program is
//!    loaded into a new address space, which replaces the old one; failure from here on kills the process.
//!
//! Costs: those of the loader; a wait for other threads only where there are any.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use chitin_abi::fs::{S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_IXGRP};
use chitin_abi::poll::PollEvents;
use chitin_abi::process::{
    ADDR_NO_RANDOMIZE, CAP_SYS_PTRACE, PER_CLEAR_ON_SETID, RLIMIT_NPROC, TASK_COMM_LEN,
};
use chitin_abi::signal::{SIGKILL, SS_DISABLE, StackT};
use chitin_abi::{Errno, Result};
use chitin_mm::platform::{Domain, GuestThread, ThreadState, host_failure};
use chitin_mm::space::SpaceLimits;
use chitin_vfs::file::OpenFile;
use chitin_vfs::mount::MountFlags;
use chitin_vfs::path::Path;
use chitin_vfs::walk::ExecFile;
use parking_lot::Mutex;

use super::{GroupExit, domain, exit};
use crate::context::Ctx;
use crate::cred::exec::{ExecIdentity, FileCaps, FileIdentity, after_exec};
use crate::error::{Restart, SysError, SysResult};
use crate::futex::robust::release_thread_words;
use crate::loader::{self, Identity, LoadContext, Loaded, Opener, Program, Renewed};
use crate::scheduler::wait::Waiter;
use crate::syscalls::at::PathCaller;
use crate::task::Task;

/// Opens programs as a task would, and keeps those that it opened from being written.
pub struct TaskOpener {
    caller: PathCaller,
    held: Mutex<Vec<ExecFile>>,
}

impl TaskOpener {
    /// An opener for a task.
    pub fn new(task: &Arc<Task>) -> Self {
        Self { caller: PathCaller::new(task), held: Mutex::default() }
    }

    /// Opens a file for execution by a path that starts at the working directory.
    ///
    /// # Errors
    /// Those of `execve(2)` for the file.
    pub fn open(&self, path: &[u8], follow: bool) -> Result<Arc<OpenFile>> {
        self.open_found(self.caller.walk().lookup(path, follow)?)
    }

    /// The same by a path that starts elsewhere.
    ///
    /// # Errors
    /// Those of `execve(2)` for the file.
    pub fn open_from(&self, base: Path, path: &[u8], follow: bool) -> Result<Arc<OpenFile>> {
        self.open_found(self.caller.walk_from(base).lookup(path, follow)?)
    }

    /// Opens a file that has been found.
    ///
    /// # Errors
    /// EACCES for what is no regular file, may not be executed, or lies on a mount without programs.
    pub fn open_found(&self, path: Path) -> Result<Arc<OpenFile>> {
        let attr = path.inode().attr()?;
        if attr.is_symlink() {
            return Err(Errno::ELOOP);
        }
        if attr.mode & S_IFMT != S_IFREG || path.mount().flags().contains(MountFlags::NO_EXEC) {
            return Err(Errno::EACCES);
        }
        let opened = self.caller.walk().open_exec(&path)?;
        let file = Arc::clone(&opened.file);
        self.held.lock().push(opened);
        Ok(file)
    }

    /// What keeps a file that was opened here from being written.
    pub fn take(self, file: &Arc<OpenFile>) -> Option<ExecFile> {
        self.held.into_inner().into_iter().find(|held| Arc::ptr_eq(&held.file, file))
    }
}

impl Opener for TaskOpener {
    fn open_exec(&self, path: &[u8]) -> Result<Arc<OpenFile>> {
        self.open(path, true)
    }
}

/// What `execve` is to run.
pub struct ExecRequest {
    /// What opened it.
    pub opener: TaskOpener,
    /// The program file, open for execution.
    pub file: Arc<OpenFile>,
    /// The path as it was given: `AT_EXECFN`, and what a script's interpreter gets.
    pub filename: Vec<u8>,
    /// The last part of the path, for the task's name.
    pub name: Vec<u8>,
    /// Arguments.
    pub args: Vec<Vec<u8>>,
    /// Environment.
    pub env: Vec<Vec<u8>>,
}

/// What a program file says about the identity that it runs with.
///
/// # Errors
/// Those of the storage.
pub fn file_identity(task: &Task, file: &OpenFile) -> Result<FileIdentity> {
    let Some(path) = file.path() else { return Ok(FileIdentity::default()) };
    let mount = path.mount();
    let initial = task.cred().user_ns.is_initial();
    if mount.flags().contains(MountFlags::NO_SUID) || !initial {
        return Ok(FileIdentity::default());
    }
    let attr = path.inode().attr()?;
    let caps = path.inode().get_xattr(b"security.capability").ok();
    Ok(FileIdentity {
        uid: (attr.mode & S_ISUID != 0).then_some(attr.uid),
        // Without execution for the group, the bit stands for mandatory locks.
        gid: (attr.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP).then_some(attr.gid),
        caps: caps.and_then(|value| FileCaps::parse(&value).ok()),
    })
}

/// Replaces the caller's program.
///
/// # Errors
/// As documented in `execve(2)`; on success the registers are the new program's, and nothing is returned to it.
pub async fn exec(cx: &mut Ctx<'_>, request: ExecRequest) -> SysResult {
    let task = Arc::clone(cx.task);
    let cred = task.cred();
    let limits = task.group.limits();
    if task.kernel.users.processes(cred.ruid) > limits.soft(RLIMIT_NPROC)
        && !cred.user_ns.is_initial()
    {
        return Err(Errno::EAGAIN.into());
    }
    let ExecRequest { opener, file, filename, name, args, env } = request;
    let program = loader::resolve(file, &filename, args, env, &opener)?;
    let held = opener.take(&program.elf.file);
    let file = file_identity(&task, &program.elf.file)?;
    let bound = task.no_new_privs.load(Ordering::Relaxed) || is_bound_by_tracer(&task);
    let identity = after_exec(&cred, &file, bound)?;
    let old_tid = task.pid();
    end_other_threads(cx).await?;
    let domain = new_domain(&task, &program, &identity);
    let renewed = renew(cx, domain.as_ref()).await;
    let is_renewed = renewed.is_some();
    let loaded = match load(&task, &program, &identity, domain, renewed).await {
        Ok(loaded) => loaded,
        Err(errno) => {
            tracing::debug!(?errno, "a program could not be loaded");
            return Err(die(&task));
        }
    };
    loaded.mm.image.write().held = held.map(Arc::new);
    let result = commit(cx, loaded, is_renewed, identity, &name).await;
    if let Some(tracer) = task.trace.tracer() {
        crate::ptrace::stop::program_began(cx, u64::from(old_tid.in_ns(&tracer.pid_ns()))).await;
    }
    result
}

/// Whether somebody traces the task who may not trace one with more rights: then it gains none.
fn is_bound_by_tracer(task: &Task) -> bool {
    let tracer = task.trace.tracer();
    tracer.is_some_and(|tracer| !tracer.cred().capable(&task.cred().user_ns, CAP_SYS_PTRACE))
}

fn die(task: &Arc<Task>) -> SysError {
    crate::signal::begin_exit(task, SIGKILL.cast_signed());
    SysError::NoReturn
}

/// Loads a program for a task that will have this identity.
///
/// # Errors
/// ENOMEM and the like.
pub async fn load(
    task: &Arc<Task>,
    program: &Program,
    identity: &ExecIdentity,
    domain: Option<Domain>,
    renewed: Option<Renewed>,
) -> Result<Loaded> {
    let kernel = &task.kernel;
    let mut random = [0; 16];
    kernel.random.fill(&mut random);
    let mut seed = [0; 8];
    kernel.random.fill(&mut seed);
    let fixed = task.group.personality.load(Ordering::Relaxed) & ADDR_NO_RANDOMIZE != 0;
    let cred = &identity.cred;
    let context = LoadContext {
        platform: &kernel.platform,
        identity: Identity {
            uid: cred.show_uid(cred.ruid),
            euid: cred.show_uid(cred.euid),
            gid: cred.show_gid(cred.rgid),
            egid: cred.show_gid(cred.egid),
            secure: identity.secure,
        },
        limits: space_limits(task),
        domain,
        random,
        seed: if fixed { 0 } else { u64::from_ne_bytes(seed) | 1 },
        root: &task.fs().root(),
        object_ids: &kernel.object_ids,
    };
    loader::load(program, &context, renewed).await
}

/// What an address space of this task is held to.
pub fn space_limits(task: &Task) -> SpaceLimits {
    use chitin_abi::process::{CAP_IPC_LOCK, RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_STACK};
    let limits = task.group.limits.lock();
    SpaceLimits {
        address_space: limits.soft(RLIMIT_AS),
        data: limits.soft(RLIMIT_DATA),
        stack: limits.soft(RLIMIT_STACK),
        locked: limits.soft(RLIMIT_MEMLOCK),
        may_lock: task.cred().has(CAP_IPC_LOCK),
    }
}

/// Whose remains a program may use: nobody's if it gains rights, or may not be read by who runs it.
pub fn new_domain(task: &Arc<Task>, program: &Program, identity: &ExecIdentity) -> Option<Domain> {
    let is_plain = !identity.changed && !identity.secure;
    let readable = is_plain && program.elf.file.path().is_none_or(|path| may_read(task, path));
    readable.then(|| domain::of(task, &identity.cred)).flatten()
}

/// Takes leave of the old program's memory, if the platform uses it again for the new one.
async fn renew(cx: &Ctx<'_>, domain: Option<&Domain>) -> Option<Renewed> {
    let ordered = cx.mm.ops.lock().await;
    let shares = cx.mm.users() != 1 || cx.task.vfork_done.lock().is_some();
    if shares || domain.is_none() || domain::of(cx.task, &cx.task.cred()).as_ref() != domain {
        return None;
    }
    let used = Used::by(cx);
    release_thread_words(cx.task, &cx.mm);
    let renewed = cx.mm.host().renew()?;
    used.keep(cx.task);
    drop(ordered);
    Some(renewed)
}

/// Ends the other threads of the process and makes the caller its leader.
async fn end_other_threads(cx: &Ctx<'_>) -> SysResult<()> {
    let task = cx.task;
    {
        let tree = task.kernel.tree.lock();
        let mut state = task.group.exit.lock();
        if *state != GroupExit::None {
            return Err(SysError::Restart(Restart::Always));
        }
        *state = GroupExit::Exec(task.tid());
        drop(state);
        let Some(entry) = tree.process(task.tgid()) else { return Err(Errno::ESRCH.into()) };
        for other in entry.tasks.iter().filter(|other| !Arc::ptr_eq(other, task)) {
            other.interrupt.raise();
        }
    }
    let waiter = Waiter::new();
    let _registration = waiter.register(&task.group.thread_gone, PollEvents::POLLIN);
    loop {
        let seen = waiter.generation();
        let alone =
            task.kernel.tree.lock().process(task.tgid()).is_none_or(|entry| entry.tasks.len() <= 1);
        if alone {
            break;
        }
        if cx.wait_killable(waiter.changed(seen)).await.is_none() {
            return Err(SysError::NoReturn);
        }
    }
    let mut tree = task.kernel.tree.lock();
    if !task.is_leader() {
        tree.become_leader(task);
        crate::ptrace::link::became_leader(task);
    }
    let mut state = task.group.exit.lock();
    if matches!(*state, GroupExit::Exec(_)) {
        *state = GroupExit::None;
    }
    Ok(())
}

/// Exchanges the old program for the new one.
async fn commit(
    cx: &mut Ctx<'_>,
    loaded: Loaded,
    is_renewed: bool,
    identity: ExecIdentity,
    name: &[u8],
) -> SysResult {
    let task = Arc::clone(cx.task);
    let Loaded { mm, regs, executable } = loaded;
    let began = if is_renewed {
        cx.thread.renew()
    } else {
        let state = ThreadState { regs, extended: Vec::new() };
        let spawned = mm.host().spawn(state).await.map_err(host_failure);
        spawned.map(|thread| change_thread(cx, thread))
    };
    if began.is_err() {
        mm.host().kill();
        return Err(die(&task));
    }
    task.refresh_answers();
    let old_mm = task.replace_mm(Some(Arc::clone(&mm)));
    let remains = task.remains.lock().take();
    cx.mm = mm;
    *cx.regs = chitin_abi::Regs { orig_rax: cx.regs.orig_rax, ..regs };
    drop(old_mm);
    if let Some(done) = task.vfork_done.lock().take() {
        done.complete();
    }
    if let Some(remains) = remains {
        remains.end();
    }
    unshare_files(&task);
    reset(&task, &identity, &executable, name);
    task.set_cred(identity.cred);
    Err(SysError::NoReturn)
}

/// Leaves the guest thread of the old program for that of the new one.
fn change_thread(cx: &mut Ctx<'_>, mut thread: Box<dyn GuestThread>) {
    let task = cx.task;
    task.interrupt.set_guest(Some(thread.interrupter()));
    crate::run::watch(task, &mut *thread);
    Used::by(cx).keep(task);
    release_thread_words(task, &cx.mm);
    drop(core::mem::replace(cx.thread, thread));
}

/// What a program has used.
struct Used {
    cpu: (u64, u64),
    resident: u64,
}

impl Used {
    /// By the one that runs.
    fn by(cx: &Ctx<'_>) -> Self {
        Self { cpu: cx.thread.cpu_time(), resident: cx.mm.host().resident().0 / 1024 }
    }

    /// Keeps it for the process, which has another program now.
    fn keep(self, task: &Task) {
        let group = &task.group;
        let add = |dead: &AtomicU64, before: &AtomicU64, time: u64| {
            before.store(dead.fetch_add(time, Ordering::Relaxed) + time, Ordering::Relaxed);
        };
        add(&group.dead_cpu.0, &group.exec_cpu.0, self.cpu.0);
        add(&group.dead_cpu.1, &group.exec_cpu.1, self.cpu.1);
        task.cpu.restart();
        group.max_rss.0.fetch_max(self.resident, Ordering::Relaxed);
    }
}

fn unshare_files(task: &Task) {
    let files = task.files();
    // This task's own reference and the one here.
    let files = if Arc::strong_count(&files) > 2 {
        let copy = files.copy();
        let old = task.replace_files(Arc::clone(&copy));
        exit::release_files(old);
        copy
    } else {
        files
    };
    files.close_on_exec();
}

/// What of the task does not outlive its program.
fn reset(task: &Arc<Task>, identity: &ExecIdentity, executable: &OpenFile, name: &[u8]) {
    let group = &task.group;
    let actions = group.actions().after_exec();
    let old = core::mem::replace(&mut *group.actions.write(), actions);
    drop(old);
    {
        let mut signals = task.signals.lock();
        signals.alt_stack = StackT { flags: SS_DISABLE, ..StackT::default() };
        signals.last_fault = None;
        signals.restart = None;
    }
    *task.restart.lock() = None;
    task.clear_child_tid.store(0, Ordering::Relaxed);
    task.robust_list.store(0, Ordering::Relaxed);
    *task.rseq.lock() = (0, 0, 0);
    *task.name.lock() = name.iter().copied().take(TASK_COMM_LEN - 1).collect();
    let readable = executable.path().is_none_or(|path| may_read(task, path));
    let dumpable = !identity.changed && !identity.secure && readable;
    group.dumpable.store(u32::from(dumpable), Ordering::Relaxed);
    if identity.changed {
        task.parent_death_signal.store(0, Ordering::Relaxed);
        group.personality.fetch_and(!PER_CLEAR_ON_SETID, Ordering::Relaxed);
    }
    group.has_execed.store(true, Ordering::Relaxed);
    group.timers.lock().after_exec();
    task.keyrings.lock().after_exec();
    // A parent may only choose the usual signal for a child that runs another program.
    if let Some(entry) = task.kernel.tree.lock().process_mut(task.tgid()) {
        entry.exit_signal = chitin_abi::signal::SIGCHLD;
    }
}

fn may_read(task: &Arc<Task>, path: &Path) -> bool {
    PathCaller::new(task).walk().access(path, 4).is_ok()
}

/// How `execveat(2)` with `AT_EMPTY_PATH` names a descriptor's file.
pub fn fd_filename(fd: i32, path: &[u8]) -> Vec<u8> {
    let mut name = format!("/dev/fd/{fd}").into_bytes();
    if !path.is_empty() {
        name.push(b'/');
        name.extend_from_slice(path);
    }
    name
}
