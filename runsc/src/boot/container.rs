//! The container in its sandbox: starting it, and carrying out what commands ask for.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::process::{Rlimit, SockFilter};
use chitin_abi::tty::Winsize;
use chitin_task::Kernel;
use chitin_task::boot::{CapabilitySets, ContainerSpec, ExecError, ProcessSpec, exit_code};
use chitin_task::cred::CapSet;
use chitin_task::limits::bpf::Program;
use chitin_task::namespace::NetNamespace;
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::host::stdio;
use chitin_vfs::host_poll::HostPoll;
use chitin_vfs::inode::Inode;
use chitin_vfs::namespace::MountNamespace;
use chitin_vfs::tty::relay::Relay;
use parking_lot::{Condvar, Mutex};

use super::server::Machine;
use super::{console, export};
use crate::control::{Descriptor, ExecRequest, ProcessInfo, Request, Response, Target};
use crate::error::{Context as _, Failure, Result};
use crate::fail;
use crate::oci::process::{CapabilityPlan, Plan as ProcessPlan};
use crate::oci::seccomp::Instruction;
use crate::sandbox::Console;

/// How far the container is.
enum Phase {
    /// Everything is there but its first process.
    Created(Box<ContainerSpec>),
    /// The first process has been started (or is just now): its global id.
    Running(u32),
    /// It could not be started.
    Failed(Failure),
    /// A signal ended the container before it was started: its exit code.
    Cancelled(u8),
}

/// A container.
pub(crate) struct Container {
    kernel: Arc<Kernel>,
    mounts: Arc<MountNamespace>,
    /// The root directory that it began with.
    root: Arc<dyn Inode>,
    seccomp: Option<Program>,
    phase: Mutex<Phase>,
    changed: Condvar,
    /// Programs that `exec` started: global ids by the ids inside.
    programs: Mutex<HashMap<i32, u32>>,
    /// Terminals: of the first process, and of programs that `exec` started.
    consoles: Mutex<HashMap<Option<i32>, Arc<Relay>>>,
}

/// What a container is made from, in the sentry.
pub(crate) struct Parts {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) mounts: Arc<MountNamespace>,
    pub(crate) seccomp: Option<Vec<Instruction>>,
    pub(crate) hostname: Vec<u8>,
    pub(crate) domainname: Vec<u8>,
    pub(crate) network: Option<Arc<NetNamespace>>,
    /// Whether the first process ignores signals that it has no handler for.
    pub(crate) immune: bool,
}

/// Descriptors of a process, by number.
pub(crate) type Descriptors = Vec<(i32, OwnedFd)>;

impl Container {
    /// A container whose first process does not run yet.
    pub(crate) fn new(
        parts: Parts,
        process: &ProcessPlan,
        descriptors: Descriptors,
        console: Option<Console>,
    ) -> Result<Arc<Self>> {
        let seccomp = parts.seccomp.map(program).transpose()?;
        let mut spec = process_spec(process, seccomp.as_ref());
        spec.immune = parts.immune;
        let given = (descriptors, console);
        let relay = connect(&parts.kernel, &parts.mounts, &mut spec, process, given)?;
        let spec = ContainerSpec {
            mounts: Arc::clone(&parts.mounts),
            hostname: parts.hostname,
            domainname: parts.domainname,
            network: parts.network,
            process: spec,
        };
        Ok(Arc::new(Self {
            root: parts.mounts.root().inode(),
            kernel: parts.kernel,
            mounts: parts.mounts,
            seccomp,
            phase: Mutex::new(Phase::Created(Box::new(spec))),
            changed: Condvar::new(),
            programs: Mutex::default(),
            consoles: Mutex::new(relay.into_iter().map(|relay| (None, relay)).collect()),
        }))
    }

    /// Fails as starting the program would.
    pub(crate) fn check_program(&self, process: &ProcessPlan) -> Result<()> {
        let env = VfsEnv::new(Arc::clone(&self.kernel.vfs), None);
        super::program::check(process, &self.mounts.root(), &env)
    }

    /// Starts the first process.
    pub(crate) fn start(&self) -> Result<()> {
        let mut phase = self.phase.lock();
        let spec = match core::mem::replace(&mut *phase, Phase::Running(0)) {
            Phase::Created(spec) => spec,
            other => {
                *phase = other;
                return fail!("the container has been started already");
            }
        };
        let started = self.kernel.start_init(*spec).map_err(|error| exec_failure(&error));
        *phase = match &started {
            Ok(init) => Phase::Running(*init),
            Err(failure) => Phase::Failed(failure.clone()),
        };
        self.changed.notify_all();
        started.map(drop)
    }

    /// Waits for the end of the first process, however long it takes until it is started. Gives the exit code.
    pub(crate) fn wait(&self) -> Result<u8> {
        let mut phase = self.phase.lock();
        let init = loop {
            match &*phase {
                Phase::Created(_) => self.changed.wait(&mut phase),
                Phase::Running(init) => break *init,
                Phase::Failed(failure) => return Err(failure.clone()),
                Phase::Cancelled(code) => return Ok(*code),
            }
        };
        drop(phase);
        Ok(code(self.kernel.wait_exit(init)))
    }

    /// Ends a container that waits for its start.
    fn cancel(&self, phase: &mut Phase, signal: i32) {
        *phase = Phase::Cancelled(u8::try_from(128 + signal).unwrap_or(u8::MAX));
        self.changed.notify_all();
    }

    fn init(&self) -> Result<u32> {
        match &*self.phase.lock() {
            Phase::Created(_) => fail!("the container has not been started"),
            Phase::Running(init) => Ok(*init),
            Phase::Failed(failure) => Err(failure.clone()),
            Phase::Cancelled(_) => fail!("the container is not running"),
        }
    }

    fn status(&self) -> &'static str {
        match &*self.phase.lock() {
            Phase::Created(_) => "created",
            Phase::Cancelled(_) => "stopped",
            _ if self.kernel.frozen.is_frozen() => "paused",
            _ => "running",
        }
    }

    fn exec(&self, request: &ExecRequest, descriptors: Vec<OwnedFd>) -> Result<Response> {
        let init = self.init()?;
        let plan = ProcessPlan::new(&request.process)?;
        let (mut files, mut console) = (Vec::new(), None);
        for (kind, fd) in request.descriptors.iter().zip(descriptors) {
            match kind {
                Descriptor::Number(number) => files.push((*number, fd)),
                Descriptor::Stream => console = Some(Console::Stream(fd)),
                Descriptor::Terminal => console = Some(Console::Terminal(fd)),
            }
        }
        let mut spec = process_spec(&plan, self.seccomp.as_ref());
        let relay = connect(&self.kernel, &self.mounts, &mut spec, &plan, (files, console))?;
        let id = self.kernel.exec(init, spec).map_err(|error| exec_failure(&error))?;
        // One that has ended already has no number any more; its global one tells it apart just as well.
        let pid = self.kernel.member(id).map_or(id, |task| task.group.pid.local());
        let pid = i32::try_from(pid).unwrap_or(i32::MAX);
        self.programs.lock().insert(pid, id);
        if let Some(relay) = relay {
            self.consoles.lock().insert(Some(pid), relay);
        }
        Ok(Response::Started { pid })
    }

    fn signal(&self, signal: i32, target: Target) -> Result<Response> {
        let Ok(number) = u32::try_from(signal) else { return fail!("{signal} is not a signal") };
        let mut phase = self.phase.lock();
        let init = match &*phase {
            Phase::Running(init) => *init,
            // A signal that would end it ends a container that waits for its start, as with other runtimes.
            Phase::Created(_) if signal == libc::SIGKILL || signal == libc::SIGTERM => {
                self.cancel(&mut phase, signal);
                return Ok(Response::Done);
            }
            _ => return fail!("the container is not running"),
        };
        drop(phase);
        let result = match target {
            Target::Init => self.kernel.kill(init, number),
            Target::All => self.kernel.kill_all(init, number),
            Target::Process(pid) => self.kernel.kill(self.global(init, pid)?, number),
        };
        result.context(|| format!("cannot send signal {signal}"))?;
        Ok(Response::Done)
    }

    /// The global id of a process by its id inside.
    fn global(&self, init: u32, pid: i32) -> Result<u32> {
        if let Some(id) = self.programs.lock().get(&pid) {
            return Ok(*id);
        }
        let processes = self.kernel.processes(Some(init));
        let found = processes.iter().find(|process| i32::try_from(process.pid) == Ok(pid));
        found
            .map(|process| process.id)
            .ok_or_else(|| Failure::new(format!("there is no process {pid}")))
    }

    fn wait_for(&self, pid: Option<i32>) -> Result<Response> {
        let Some(pid) = pid else { return Ok(Response::Exited { code: self.wait()? }) };
        let id = self.programs.lock().get(&pid).copied();
        let Some(id) = id else {
            return fail!("process {pid} was not started by exec: nobody outside waits for it");
        };
        let status = self.kernel.wait_exit(id);
        let relay = self.consoles.lock().remove(&Some(pid));
        if let Some(relay) = relay {
            console::drain(&relay);
        }
        Ok(Response::Exited { code: code(status) })
    }

    fn resize(&self, pid: Option<i32>, rows: u16, columns: u16) -> Result<Response> {
        let relay = self.consoles.lock().get(&pid).cloned();
        let Some(relay) = relay else { return fail!("there is no terminal") };
        relay.set_window_size(Winsize { ws_row: rows, ws_col: columns, ..Winsize::default() });
        Ok(Response::Done)
    }

    /// Follows the size of the host's terminal that the first process's is connected to.
    pub(crate) fn follow_size(&self, terminal: OwnedFd) -> Result<()> {
        let relay = self.consoles.lock().get(&None).cloned();
        relay.map_or(Ok(()), |relay| console::follow_size(terminal, &relay))
    }

    /// Waits until the terminal of the first process has shown everything.
    pub(crate) fn drain(&self) {
        let relay = self.consoles.lock().get(&None).cloned();
        if let Some(relay) = relay {
            console::drain(&relay);
        }
    }

    /// Writes what was changed in the root to a descriptor.
    fn changes(
        &self,
        descriptors: Vec<OwnedFd>,
        write: impl FnOnce(&Arc<dyn Inode>, std::fs::File) -> Result<()>,
    ) -> Result<Response> {
        let Some(to) = descriptors.into_iter().next() else {
            return fail!("there is nothing to write to");
        };
        write(&self.root, to.into()).map(|()| Response::Done)
    }

    fn processes(&self) -> Result<Response> {
        let init = self.init()?;
        let list = self.kernel.processes(Some(init)).into_iter().map(|process| ProcessInfo {
            pid: i32::try_from(process.pid).unwrap_or_default(),
            parent: i32::try_from(process.parent).unwrap_or_default(),
            uid: process.uid,
            command: String::from_utf8_lossy(&process.name).into_owned(),
        });
        Ok(Response::Processes(list.collect()))
    }
}

impl Machine for Container {
    fn carry_out(&self, request: Request, descriptors: Vec<OwnedFd>) -> Result<Response> {
        match request {
            Request::Start => self.start().map(|()| Response::Done),
            Request::Exec(request) => self.exec(&request, descriptors),
            Request::Signal { signal, target } => self.signal(signal, target),
            Request::Wait { pid } => self.wait_for(pid),
            Request::Ps => self.processes(),
            Request::Pause => {
                self.init()?;
                self.kernel.pause();
                Ok(Response::Done)
            }
            Request::Resume => {
                self.init()?;
                self.kernel.resume();
                Ok(Response::Done)
            }
            Request::State => Ok(Response::State { status: self.status().to_owned() }),
            Request::Resize { pid, rows, columns } => self.resize(pid, rows, columns),
            Request::Diff => self.changes(descriptors, export::list),
            Request::Export => self.changes(descriptors, export::archive),
        }
    }
}

/// The exit code of a wait status.
fn code(status: i32) -> u8 {
    u8::try_from(exit_code(status)).unwrap_or(u8::MAX)
}

fn exec_failure(error: &ExecError) -> Failure {
    Failure::with_code(error.to_string(), u8::try_from(error.exit_code()).unwrap_or(1))
}

fn program(instructions: Vec<Instruction>) -> Result<Program> {
    let convert =
        |one: Instruction| SockFilter { code: one.code, jt: one.jt, jf: one.jf, k: one.k };
    Program::new(instructions.into_iter().map(convert).collect())
        .context(|| "the compiled seccomp profile is wrong")
}

fn capability_sets(plan: CapabilityPlan) -> CapabilitySets {
    CapabilitySets {
        bounding: CapSet::from_bits(plan.bounding),
        effective: CapSet::from_bits(plan.effective),
        inheritable: CapSet::from_bits(plan.inheritable),
        permitted: CapSet::from_bits(plan.permitted),
        ambient: CapSet::from_bits(plan.ambient),
    }
}

fn process_spec(plan: &ProcessPlan, seccomp: Option<&Program>) -> ProcessSpec {
    let limit = |limit: &crate::oci::process::Limit| {
        (limit.resource, Rlimit { cur: limit.soft, max: limit.hard })
    };
    ProcessSpec {
        args: plan.args.clone(),
        env: plan.env.clone(),
        cwd: plan.cwd.clone(),
        uid: plan.uid,
        gid: plan.gid,
        groups: plan.groups.clone(),
        umask: plan.umask.unwrap_or(0o022),
        capabilities: capability_sets(plan.capabilities),
        no_new_privs: plan.no_new_privileges,
        rlimits: plan.limits.iter().map(limit).collect(),
        seccomp: seccomp.into_iter().cloned().collect(),
        oom_score_adj: plan.oom_score_adj.unwrap_or(0),
        immune: false,
        ..ProcessSpec::default()
    }
}

/// Gives a process its files: of the host's descriptors, and of a terminal for those of the first three that are not
/// among them.
fn connect(
    kernel: &Arc<Kernel>,
    mounts: &Arc<MountNamespace>,
    spec: &mut ProcessSpec,
    process: &ProcessPlan,
    (descriptors, console): (Descriptors, Option<Console>),
) -> Result<Option<Arc<Relay>>> {
    let (numbers, fds): (Vec<i32>, Vec<OwnedFd>) = descriptors.into_iter().unzip();
    let cred = Cred { uid: process.uid, gid: process.gid, ..Cred::default() };
    let poller: Arc<dyn HostPoll> = Arc::new(kernel.scheduler.clone());
    let files =
        stdio::import(fds, &poller, &cred).context(|| "cannot pass on the standard descriptors")?;
    spec.files = numbers.iter().copied().zip(files).collect();
    let Some(console) = console else { return Ok(None) };
    let open = console::open(kernel, mounts, console, process)?;
    // The first process of a container, not a program that joins it or that `do` runs.
    if spec.immune && !numbers.contains(&0) {
        console::bind(kernel, mounts, &open);
    }
    let missing = (0..3).filter(|number| !numbers.contains(number));
    spec.files.extend(missing.map(|number| (number, Arc::clone(&open.file))));
    spec.terminal = Some(open.pty);
    Ok(Some(open.relay))
}
