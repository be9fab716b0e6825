//! Starting processes from outside: the first of a container, and others put into it.

use core::fmt;
use core::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};

use chitin_abi::process::TASK_COMM_LEN;
use chitin_abi::{Errno, Result};
use chitin_mm::platform::{GuestThread, ThreadState, host_failure};
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fdtable::FdTable;
use chitin_vfs::path::Path;
use chitin_vfs::walk::{ResolveFlags, Walk};

use super::spec::{ContainerSpec, ProcessSpec};
use crate::cred::Credentials;
use crate::cred::exec::after_exec;
use crate::kernel::Kernel;
use crate::limits::{Limits, NR_OPEN};
use crate::loader;
use crate::namespace::{Namespaces, Pid, PidNamespace};
use crate::process::exec::{TaskOpener, file_identity, load, new_domain};
use crate::process::{NewGroup, ProcessEntry, ThreadGroup};
use crate::signal::{Actions, TaskSignals};
use crate::task::{FsContext, NewTask, Task};

const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a process could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecError {
    /// The error as `execve(2)` would report it.
    pub errno: Errno,
    /// What failed, in words.
    pub what: String,
}

impl ExecError {
    fn new(errno: Errno, what: impl Into<String>) -> Self {
        Self { errno, what: what.into() }
    }

    /// The exit code that shells use: 127 for a program that is not there, 126 for one that cannot be run.
    pub fn exit_code(&self) -> i32 {
        if matches!(self.errno, Errno::ENOENT | Errno::ENOTDIR) { 127 } else { 126 }
    }
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.errno)
    }
}

impl std::error::Error for ExecError {}

/// Where a process starts.
struct Place {
    pid_ns: Arc<PidNamespace>,
    namespaces: Arc<Namespaces>,
    root: Path,
    /// The container's first process; 0 when this is it.
    container: u32,
}

impl Kernel {
    /// Starts the first process of a container and returns its global id. Blocks until its program is loaded.
    ///
    /// # Errors
    /// Why it cannot be started; nothing of the container remains then.
    pub fn start_init(
        self: &Arc<Self>,
        spec: ContainerSpec,
    ) -> core::result::Result<u32, ExecError> {
        let pid_ns = PidNamespace::initial(Arc::clone(&self.user_ns));
        let root = spec.mounts.root();
        let namespaces =
            Namespaces::initial(&self.user_ns, Arc::clone(&pid_ns), spec.mounts, &spec.hostname);
        let namespaces = match spec.network {
            Some(net) => Arc::new(Namespaces { net, ..Namespaces::clone(&namespaces) }),
            None => namespaces,
        };
        if !spec.domainname.is_empty() {
            let name = spec.domainname.get(..spec.domainname.len().min(64)).unwrap_or_default();
            // Cut to what fits, so it is not refused.
            let _ = namespaces.uts.set_domainname(name);
        }
        self.unbound.bind(&namespaces, &pid_ns);
        let place = Place { pid_ns, namespaces, root, container: 0 };
        self.launch_blocking(place, spec.process)
    }

    /// Starts one more process in the container whose first process is `init`, and returns its global id. Blocks
    /// until its program is loaded.
    ///
    /// # Errors
    /// ESRCH when the container has ended; why it cannot be started.
    pub fn exec(
        self: &Arc<Self>,
        init: u32,
        spec: ProcessSpec,
    ) -> core::result::Result<u32, ExecError> {
        let member = self
            .member(init)
            .ok_or_else(|| ExecError::new(Errno::ESRCH, "the container has stopped"))?;
        let place = Place {
            pid_ns: member.pid_ns(),
            namespaces: member.namespaces(),
            root: member.namespaces().mount.root(),
            container: init,
        };
        self.launch_blocking(place, spec)
    }

    fn launch_blocking(
        self: &Arc<Self>,
        place: Place,
        spec: ProcessSpec,
    ) -> core::result::Result<u32, ExecError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let kernel = Arc::clone(self);
        self.scheduler.spawn(async move {
            let result = launch(&kernel, place, spec).await;
            // Who asked may have gone.
            let _ = sender.send(result);
        });
        receiver.recv().unwrap_or_else(|_| Err(ExecError::new(Errno::EIO, "starting the process")))
    }
}

async fn launch(
    kernel: &Arc<Kernel>,
    place: Place,
    mut spec: ProcessSpec,
) -> core::result::Result<u32, ExecError> {
    let container = place.container;
    let task = new_task(kernel, &place, &mut spec)?;
    let program_name =
        spec.args.first().cloned().ok_or_else(|| ExecError::new(Errno::EINVAL, "no program"))?;
    let shown = String::from_utf8_lossy(&program_name).into_owned();
    let (thread, regs) = load_program(&task, &spec, &program_name)
        .await
        .map_err(|errno| ExecError::new(errno, shown))?;
    let tgid = task.tgid();
    {
        let mut tree = kernel.tree.lock();
        let pid = Arc::clone(&task.group.pid);
        if container != 0 && tree.process(container).is_none_or(|entry| entry.zombie.is_some()) {
            drop(tree);
            task.replace_mm(None);
            return Err(ExecError::new(Errno::ESRCH, "the container has stopped"));
        }
        tree.insert_process(ProcessEntry {
            group: Arc::clone(&task.group),
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
    }
    crate::terminal::start_session(task.group.terminal.lock().as_ref(), tgid);
    kernel.users.add(task.cred().ruid);
    kernel.counters.forks.fetch_add(1, Ordering::Relaxed);
    if task.group.limits.lock().has_cpu_limit() {
        crate::time::cpu_timers::watch(&task);
    }
    crate::run::start(task, thread, regs);
    Ok(tgid)
}

fn new_task(
    kernel: &Arc<Kernel>,
    place: &Place,
    spec: &mut ProcessSpec,
) -> core::result::Result<Arc<Task>, ExecError> {
    let pid = Pid::new(&kernel.numbers, &place.pid_ns, &[])
        .map_err(|errno| ExecError::new(errno, "no process id is left"))?;
    let mut limits = Limits::default();
    for (resource, limit) in &spec.rlimits {
        limits.replace(*resource, *limit);
    }
    let group = ThreadGroup::new(NewGroup {
        pid: Arc::clone(&pid),
        actions: Arc::new(Actions::default()),
        limits,
        container: place.container,
        start_time: kernel.clock.monotonic(),
    });
    group.immune.store(group.is_init && spec.immune, Ordering::Relaxed);
    group.oom_score_adj.store(spec.oom_score_adj, Ordering::Relaxed);
    group.personality.store(spec.personality, Ordering::Relaxed);
    *group.terminal.lock() = spec.terminal.take();
    let files = FdTable::new();
    for (fd, file) in spec.files.drain(..) {
        files
            .install_at(fd, file, false, NR_OPEN)
            .map_err(|errno| ExecError::new(errno, format!("descriptor {fd}")))?;
    }
    let cred = credentials(kernel, spec);
    let cwd = working_directory(kernel, &place.root, &spec.cwd, &cred).map_err(|errno| {
        ExecError::new(errno, format!("working directory {}", String::from_utf8_lossy(&spec.cwd)))
    })?;
    let task = Task::new(
        kernel,
        NewTask {
            pid,
            group,
            mm: None,
            fs: FsContext::new(place.root.clone(), cwd, spec.umask),
            files,
            cred: Arc::new(cred),
            namespaces: Arc::clone(&place.namespaces),
            signals: TaskSignals::default(),
            name: Vec::new(),
        },
    );
    task.no_new_privs.store(spec.no_new_privs, Ordering::Relaxed);
    Ok(task)
}

fn credentials(kernel: &Kernel, spec: &ProcessSpec) -> Credentials {
    let caps = spec.capabilities;
    let mut groups = spec.groups.clone();
    groups.sort_unstable();
    Credentials {
        ruid: spec.uid,
        euid: spec.uid,
        suid: spec.uid,
        fsuid: spec.uid,
        rgid: spec.gid,
        egid: spec.gid,
        sgid: spec.gid,
        fsgid: spec.gid,
        groups: Arc::from(groups),
        permitted: caps.permitted,
        effective: caps.effective,
        inheritable: caps.inheritable,
        bounding: caps.bounding,
        ambient: caps.ambient,
        ..Credentials::root(Arc::clone(&kernel.user_ns))
    }
}

/// Finds the working directory, and makes what is missing of it.
fn working_directory(
    kernel: &Kernel,
    root: &Path,
    path: &[u8],
    cred: &Credentials,
) -> Result<Path> {
    let env = VfsEnv::new(Arc::clone(&kernel.vfs), None);
    let (own, superuser) = (cred.fs_cred(), Cred::root());
    let walk = |cred| Walk {
        root: root.clone(),
        base: root.clone(),
        cred,
        umask: 0o022,
        now: kernel.clock.realtime(),
        resolve: ResolveFlags::empty(),
        env: &env,
    };
    let path = if path.is_empty() { b"/" } else { path };
    match walk(&own).lookup(path, true) {
        Err(Errno::ENOENT) => {}
        found => return directory(found?),
    }
    for (end, _) in path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
        make_directory(&walk(&superuser), path.get(..end).unwrap_or_default())?;
    }
    make_directory(&walk(&superuser), path)?;
    directory(walk(&own).lookup(path, true)?)
}

fn directory(path: Path) -> Result<Path> {
    if path.inode().attr()?.is_dir() { Ok(path) } else { Err(Errno::ENOTDIR) }
}

fn make_directory(walk: &Walk<'_>, path: &[u8]) -> Result<()> {
    match walk.mkdir(path, 0o755) {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

type Ready = (Box<dyn GuestThread>, chitin_abi::Regs);

/// Loads the program of a task that nobody knows of yet.
async fn load_program(task: &Arc<Task>, spec: &ProcessSpec, name: &[u8]) -> Result<Ready> {
    let opener = TaskOpener::new(task);
    let (path, file) = find_program(&opener, spec, name)?;
    let program = loader::resolve(file, &path, spec.args.clone(), spec.env.clone(), &opener)?;
    let identity = file_identity(task, &program.elf.file)?;
    let mut identity =
        after_exec(&task.cred(), &identity, task.no_new_privs.load(Ordering::Relaxed))?;
    if identity.cred.euid == task.cred().euid {
        // The sets are those that were asked for, also where `execve` by the superuser would give more.
        let wanted = spec.capabilities;
        identity.cred.permitted =
            identity.cred.permitted.intersection(wanted.permitted.union(wanted.ambient));
        identity.cred.effective = identity.cred.effective.intersection(identity.cred.permitted);
    }
    let held = opener.take(&program.elf.file);
    let domain = new_domain(task, &program, &identity);
    let loaded = load(task, &program, &identity, domain, None).await?;
    loaded.mm.image.write().held = held.map(Arc::new);
    let state = ThreadState { regs: loaded.regs, extended: Vec::new() };
    let thread = match loaded.mm.host().spawn(state).await {
        Ok(thread) => thread,
        Err(errno) => {
            loaded.mm.host().kill();
            return Err(host_failure(errno));
        }
    };
    task.replace_mm(Some(loaded.mm));
    task.set_cred(identity.cred);
    let base = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    *task.name.lock() = base.iter().copied().take(TASK_COMM_LEN - 1).collect();
    for program in &spec.seccomp {
        let filters = task.seccomp.read().with(program.clone(), false, None)?;
        task.set_seccomp(filters);
    }
    Ok((thread, loaded.regs))
}

type Found = (Vec<u8>, Arc<chitin_vfs::file::OpenFile>);

/// Opens the program, by `PATH` where its name has no slash.
fn find_program(opener: &TaskOpener, spec: &ProcessSpec, name: &[u8]) -> Result<Found> {
    if name.is_empty() {
        return Err(Errno::ENOENT);
    }
    if name.contains(&b'/') {
        return Ok((name.to_vec(), opener.open(name, true)?));
    }
    let path =
        spec.env.iter().find_map(|entry| entry.strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH);
    let mut failure = Errno::ENOENT;
    for directory in path.split(|byte| *byte == b':') {
        let mut candidate = if directory.is_empty() { b".".to_vec() } else { directory.to_vec() };
        candidate.push(b'/');
        candidate.extend_from_slice(name);
        match opener.open(&candidate, true) {
            Ok(file) => return Ok((candidate, file)),
            Err(Errno::EACCES) => failure = Errno::EACCES,
            Err(_) => {}
        }
    }
    Err(failure)
}
