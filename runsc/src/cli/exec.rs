//! `runsc exec`.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use oci_spec::runtime::Process;

use super::Global;
use crate::control::{Client, Descriptor, ExecRequest, Request, Response, Target, receive, send};
use crate::error::{Context as _, Result};
use crate::fail;
use crate::oci::{self, Bundle};
use crate::sandbox::Console;
use crate::sandbox::attached::{self, Signals, Subject};
use crate::sandbox::container::{Wants, Wiring, preserved, wire, write_pid_file};
use crate::sandbox::terminal;
use crate::state::Home;

/// Arguments of `exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File with the process as in config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Directory to start in
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Set a variable of the environment
    #[arg(short, long, value_name = "K=V")]
    env: Vec<String>,
    /// User (and group) to be, by number
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// More groups to be in, by number
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Return when the program runs
    #[arg(short, long)]
    detach: bool,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// How many descriptors from 3 on the program gets
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u16,
    /// No new privileges for the program
    #[arg(long)]
    no_new_privs: bool,
    /// Give it a capability
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,
    /// Name of the container
    id: String,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

impl Args {
    /// Runs the program and gives its exit code.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let extra = preserved(self.preserve_fds)?;
        let signals = Signals::take()?;
        let home = global.store().home(&self.id)?;
        let lock = home.lock()?;
        let process = self.process(&home)?;
        oci::check::check_process(&process)?;
        oci::process::Plan::new(&process)?;
        let wants =
            if process.terminal().unwrap_or(false) { Wants::Terminal } else { Wants::Streams };
        let wiring = wire(wants, self.console_socket.as_deref(), !self.detach)?;
        let client = Client::connect(&home)?;
        let (descriptors, numbers) = pack(&wiring, &extra);
        let request = Request::Exec(Box::new(ExecRequest { process, descriptors: numbers }));
        let Response::Started { pid } = client.ask(&request, &descriptors)? else {
            return fail!("the sandbox answered something else");
        };
        drop(descriptors);
        drop(extra);
        let record = home.load()?;
        drop(lock);
        if let Some(sentry) = rustix::process::Pid::from_raw(record.pid) {
            // Guests have no process of the host; what an engine can watch is the sandbox.
            write_pid_file(self.pid_file.as_deref(), sentry)?;
        }
        if self.detach {
            return Ok(0);
        }
        let Wiring { relay, stdio, console } = wiring;
        drop((stdio, console));
        let mut program = Program::wait_for(&home, pid)?;
        if let Some((rows, columns)) =
            relay.as_ref().and_then(|relay| terminal::size(&relay.terminal))
        {
            program.resize(rows, columns)?;
        }
        attached::wait(&mut program, &signals, relay.as_ref())
    }

    fn process(&self, home: &Home) -> Result<Process> {
        if let Some(path) = &self.process {
            let text =
                fs::read(path).context(|| format!("cannot read {} (--process)", path.display()))?;
            return oci::parse(&text).context(|| path.display().to_string());
        }
        let record = home.load()?;
        let bundle = Bundle::load(&record.bundle)?;
        let Some(base) = bundle.spec.process() else {
            return fail!("the container's configuration has no process");
        };
        let mut value =
            serde_json::to_value(base).context(|| "cannot copy the container's process")?;
        self.override_fields(&mut value)?;
        oci::parse(value.to_string().as_bytes())
    }

    /// What the command line says takes the place of what the container's own process has.
    fn override_fields(&self, value: &mut serde_json::Value) -> Result<()> {
        if self.program.is_empty() {
            return fail!("no program is given: name it after the container, or use --process");
        }
        let args: Vec<_> = self.program.iter().map(|arg| arg.to_string_lossy()).collect();
        value["args"] = serde_json::json!(args);
        value["terminal"] = self.tty.into();
        if let Some(cwd) = &self.cwd {
            value["cwd"] = serde_json::json!(cwd);
        }
        if let Some(user) = &self.user {
            let (uid, gid) = user.split_once(':').unwrap_or((user, user));
            let (Ok(uid), Ok(gid)) = (uid.parse::<u32>(), gid.parse::<u32>()) else {
                return fail!("--user {user}: give numbers, UID or UID:GID");
            };
            value["user"] = serde_json::json!({ "uid": uid, "gid": gid });
        }
        if !self.additional_gids.is_empty() {
            value["user"]["additionalGids"] = serde_json::json!(self.additional_gids);
        }
        if self.no_new_privs {
            value["noNewPrivileges"] = true.into();
        }
        if let Some(env) = value["env"].as_array_mut() {
            env.extend(self.env.iter().cloned().map(serde_json::Value::from));
        } else {
            value["env"] = serde_json::json!(self.env);
        }
        for set in ["bounding", "effective", "permitted"].iter().filter(|_| !self.cap.is_empty()) {
            let mut list: Vec<serde_json::Value> =
                value["capabilities"][set].as_array().cloned().unwrap_or_default();
            list.extend(self.cap.iter().cloned().map(serde_json::Value::from));
            value["capabilities"][set] = list.into();
        }
        Ok(())
    }
}

fn pack<'a>(wiring: &'a Wiring, extra: &'a [OwnedFd]) -> (Vec<&'a OwnedFd>, Vec<Descriptor>) {
    let (mut descriptors, mut numbers) = (Vec::new(), Vec::new());
    for (number, fd) in (0..).zip(&wiring.stdio) {
        if let Some(fd) = fd {
            descriptors.push(fd);
            numbers.push(Descriptor::Number(number));
        }
    }
    for (number, fd) in (3..).zip(extra) {
        descriptors.push(fd);
        numbers.push(Descriptor::Number(number));
    }
    match &wiring.console {
        Some(Console::Stream(fd)) => {
            descriptors.push(fd);
            numbers.push(Descriptor::Stream);
        }
        Some(Console::Terminal(fd)) => {
            descriptors.push(fd);
            numbers.push(Descriptor::Terminal);
        }
        None => {}
    }
    (descriptors, numbers)
}

/// A program that `exec` started.
struct Program {
    waiting: std::os::unix::net::UnixStream,
    control: Client,
    pid: i32,
}

impl Program {
    fn wait_for(home: &Home, pid: i32) -> Result<Self> {
        let waiting = Client::connect(home)?.into_stream();
        send(&waiting, &Request::Wait { pid: Some(pid) }, &[])
            .context(|| "cannot wait for the program")?;
        Ok(Self { waiting, control: Client::connect(home)?, pid })
    }
}

impl Subject for Program {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.waiting.as_fd()
    }

    fn exit(&mut self) -> Result<Option<u8>> {
        match receive(&self.waiting).context(|| "cannot wait for the program")? {
            Some((Response::Exited { code }, _)) => Ok(Some(code)),
            Some((Response::Failed(failure), _)) => Err(failure),
            // The container ended, and everything in it was killed.
            Some(_) | None => Ok(Some(137)),
        }
    }

    fn signal(&self, signal: i32) -> Result<()> {
        self.control.order(&Request::Signal { signal, target: Target::Process(self.pid) })
    }

    fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        self.control.order(&Request::Resize { pid: Some(self.pid), rows, columns })
    }
}
