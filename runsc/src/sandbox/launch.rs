//! Makes the sentry.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use rustix::process::Pid;

use super::sources::Sources;
use super::status::{self, Reader, Reporter};
use super::{Console, Endowment, Plan};
use crate::boot::{self, Files};
use crate::error::{Context as _, Failure, Result};
use crate::network::{Loan, Network};
use crate::oci::identity::{IdMaps, render};
use crate::{gofer, log, raw, trace};

/// A running sentry.
#[derive(Debug)]
pub(crate) struct Sentry {
    /// Its process.
    pub(crate) pid: Pid,
    /// What it reports.
    pub(crate) status: Reader,
    /// What a network namespace gets back, to be settled once the sandbox stands.
    pub(crate) loan: Loan,
    /// It goes on when it reads a byte from here, and ends when it reads the end.
    gate: io::PipeWriter,
}

/// What belongs to this start only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    /// Whether the sandbox ends with this command.
    pub(crate) attached: bool,
    /// Whether the first process starts at once.
    pub(crate) start: bool,
}

const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Forks the sentry and writes its id maps. The sandbox stands when [`Sentry::status`] says so.
pub(crate) fn launch(plan: Plan, endowment: Endowment, mode: Mode) -> Result<Sentry> {
    plan.options.check()?;
    let image = open_image(&plan)?;
    let sources = Sources::open(&plan)?;
    let (network, loan) = Network::prepare(&plan.network)?;
    let endowment = Endowment { network, ..endowment };
    let (status, reporter) = status::pipe().context(|| "cannot make a pipe")?;
    let (files, reporter, gofer) = if plan.options.directfs {
        (Files::Direct(sources), reporter, None)
    } else {
        let (socket, reporter, gofer) = launch_gofer(&plan, sources, reporter)?;
        (Files::Gofer(socket), reporter, Some(gofer))
    };
    let (gate, opener) = io::pipe().context(|| "cannot make a pipe")?;
    let maps = plan.maps.clone();
    trace::point("command: files of the host are open");
    let child = raw::fork(NAMESPACES).map_err(|error| explain_fork(&error))?;
    let Some(pid) = child else {
        drop(opener);
        let mut keep = vec![reporter.as_fd().as_raw_fd(), gate.as_raw_fd()];
        keep.extend(endowment.descriptors());
        keep.extend(files.descriptors());
        keep.extend(image.as_ref().map(|fd| fd.as_raw_fd()));
        keep.extend(log::descriptors());
        keep.extend(trace::descriptor());
        trace::in_sentry();
        boot::sentry(boot::Birth { plan, endowment, mode, image, files, reporter, gate, keep });
    };
    trace::point("command: the sentry is made");
    drop((reporter, gate, files));
    let mut sentry = Sentry { pid, status, loan, gate: opener };
    let admitted = gofer.map_or(Ok(()), |gofer| gofer.admit(&maps));
    let admitted = admitted.and_then(|()| write_maps(pid, &maps)).and_then(|()| sentry.go_on());
    if let Err(failure) = admitted {
        sentry.kill();
        return Err(failure);
    }
    Ok(sentry)
}

/// Opens the image that is the root's, if it is one.
fn open_image(plan: &Plan) -> Result<Option<OwnedFd>> {
    if !plan.root.image {
        return Ok(None);
    }
    let path = &plan.root.source;
    let file = std::fs::File::open(path).context(|| format!("cannot open {}", path.display()))?;
    Ok(Some(file.into()))
}

/// A gofer that waits for its id maps.
struct Gofer {
    pid: Pid,
    gate: io::PipeWriter,
}

impl Gofer {
    /// Writes its id maps and lets it go on.
    fn admit(mut self, maps: &IdMaps) -> Result<()> {
        write_maps(self.pid, maps)?;
        self.gate.write_all(b"g").context(|| "cannot talk to the gofer")
    }
}

/// Forks the gofer, which ends when nobody has the other end of its socket any more.
fn launch_gofer(
    plan: &Plan,
    sources: Sources,
    reporter: Reporter,
) -> Result<(UnixStream, Reporter, Gofer)> {
    let (ours, theirs) = UnixStream::pair().context(|| "cannot make a socket pair")?;
    let (gate, opener) = io::pipe().context(|| "cannot make a pipe")?;
    let child = raw::fork(NAMESPACES).map_err(|error| explain_fork(&error))?;
    let Some(pid) = child else {
        drop((ours, opener));
        let mut keep = vec![reporter.as_fd().as_raw_fd(), theirs.as_raw_fd(), gate.as_raw_fd()];
        keep.extend(sources.descriptors().map(|fd| fd.as_raw_fd()));
        keep.extend(log::descriptors());
        gofer::run(gofer::Birth { plan, sources, socket: theirs, reporter, gate, keep });
    };
    Ok((ours, reporter, Gofer { pid, gate: opener }))
}

impl Files {
    fn descriptors(&self) -> Vec<RawFd> {
        match self {
            Self::Direct(sources) => sources.descriptors().map(|fd| fd.as_raw_fd()).collect(),
            Self::Gofer(socket) => vec![socket.as_raw_fd()],
        }
    }
}

impl Sentry {
    fn go_on(&mut self) -> Result<()> {
        self.gate.write_all(b"g").context(|| "cannot talk to the sandbox")
    }

    /// Lets a detached sandbox live on without this command.
    pub(crate) fn release(&mut self) -> Result<()> {
        self.go_on()?;
        self.expect(&status::Event::Released)
    }

    /// Waits until the sandbox stands.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        self.expect(&status::Event::Ready)
    }

    fn expect(&mut self, expected: &status::Event) -> Result<()> {
        match self.status.next()? {
            Some(event) if event == *expected => Ok(()),
            Some(status::Event::Failed(failure)) => {
                self.reap();
                Err(failure)
            }
            Some(status::Event::Exited(code)) => {
                self.reap();
                Err(Failure::with_code("the container ended before it could be left alone", code))
            }
            Some(event) => {
                Err(Failure::new(format!("the sandbox said something unexpected: {event:?}")))
            }
            None => Err(self.died()),
        }
    }

    /// Says how a sentry died that could not say so itself.
    pub(crate) fn died(&self) -> Failure {
        let how = match self.reap() {
            Some(Ended::Signal(libc::SIGSYS)) => {
                "made a host call outside its list and was stopped (the kernel log names it)"
                    .to_owned()
            }
            Some(Ended::Signal(libc::SIGKILL)) => {
                "was killed (SIGKILL): by somebody, or because the host is out of memory".to_owned()
            }
            Some(Ended::Signal(signal)) => format!("died of signal {signal}"),
            Some(Ended::Code(code)) => format!("ended with code {code}"),
            None => "is gone".to_owned(),
        };
        Failure::new(format!("the sandbox's kernel {how}"))
    }

    /// Ends the sandbox at once.
    pub(crate) fn kill(&self) {
        // It may be gone already.
        let _ = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
        self.reap();
    }

    /// Waits for the end of the process, and with it of the whole sandbox.
    pub(crate) fn reap(&self) -> Option<Ended> {
        loop {
            match rustix::process::waitpid(Some(self.pid), rustix::process::WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(Some((_, status))) => {
                    let signal = status.terminating_signal().map(Ended::Signal);
                    return signal.or_else(|| status.exit_status().map(Ended::Code));
                }
                _ => return None,
            }
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
}

impl Endowment {
    fn descriptors(&self) -> Vec<RawFd> {
        let mut all: Vec<RawFd> =
            self.stdio.iter().flatten().chain(&self.extra).map(OwnedFd::as_raw_fd).collect();
        match &self.console {
            Some(Console::Stream(fd) | Console::Terminal(fd)) => all.push(fd.as_raw_fd()),
            None => {}
        }
        all.extend(self.listener.as_ref().map(|listener| listener.as_raw_fd()));
        all.extend(self.control.as_ref().map(|stream| stream.as_raw_fd()));
        all.extend(self.network.descriptors());
        all.extend(self.exit_file.as_ref().map(|file| file.as_raw_fd()));
        all
    }
}

fn write_maps(pid: Pid, maps: &IdMaps) -> Result<()> {
    let pid = pid.as_raw_nonzero();
    let write = |file: &str, text: &str| {
        let path = format!("/proc/{pid}/{file}");
        let result = OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        result.context(|| {
            format!("cannot write the {file} of the sandbox ({})", text.trim().replace('\n', ", "))
        })
    };
    if maps.unprivileged {
        // Without privileges a group map is only accepted once groups cannot be dropped any more.
        write("setgroups", "deny")?;
    }
    write("uid_map", &render(&maps.users))?;
    write("gid_map", &render(&maps.groups))
}

/// Names the setting of the host that keeps users from making namespaces.
fn explain_fork(error: &io::Error) -> Failure {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let set = |name: &str, bad: &str| {
        read(&format!("/proc/sys/{}", name.replace('.', "/"))).as_deref() == Some(bad)
    };
    let advice = if set("kernel.unprivileged_userns_clone", "0") {
        "this host forbids users to make user namespaces: set sysctl kernel.unprivileged_userns_clone=1, or run as root"
    } else if set("user.max_user_namespaces", "0") {
        "this host allows no user namespaces: set sysctl user.max_user_namespaces to 1000 or more"
    } else if set("kernel.apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor keeps users from user namespaces here: set sysctl kernel.apparmor_restrict_unprivileged_userns=0, or run as root"
    } else {
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EUSERS) => {
                "too many namespaces: see sysctl user.max_*_namespaces"
            }
            Some(libc::EPERM) => {
                "user namespaces are not allowed here (inside a container its seccomp profile must allow clone with CLONE_NEWUSER)"
            }
            Some(libc::EAGAIN) => "too many processes: see `ulimit -u` and pids.max",
            _ => "the host refused",
        }
    };
    Failure::new(format!("cannot make the namespaces of the sandbox: {advice} ({error})"))
}
