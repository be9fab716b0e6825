//! Containers: a sandbox with a state directory.

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Pid;

use super::attached::Relay;
use super::launch::{Mode, Sentry, launch};
use super::terminal::{self, RawTerminal};
use super::{Console, Endowment};
use crate::control::{self, Client};
use crate::error::{Context as _, Failure, Result};
use crate::oci::{Bundle, plan};
use crate::sandbox::options::Options;
use crate::state::{Home, Lock, Record, Store, start_time};
use crate::{fail, log, raw};

/// What `create` and `run` are told.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "container")]
pub(crate) struct Args {
    /// Directory of the bundle
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Socket that the terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    pub(crate) console_socket: Option<PathBuf>,
    /// How many descriptors from 3 on the container gets
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) preserve_fds: u16,
    /// Accepted for engines
    #[arg(long, hide = true)]
    no_pivot: bool,
    /// Accepted for engines
    #[arg(long, hide = true)]
    no_new_keyring: bool,
    /// Name of the container
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// A container that stands.
pub(crate) struct Created {
    pub(crate) home: Home,
    pub(crate) lock: Lock,
    pub(crate) sentry: Sentry,
    pub(crate) control: Client,
    pub(crate) relay: Option<Relay>,
}

/// Creates a container.
pub(crate) fn create(args: &Args, store: &Store, options: Options, mode: Mode) -> Result<Created> {
    // First of all: the descriptors that were inherited still have their numbers.
    let extra = preserved(args.preserve_fds)?;
    let bundle = Bundle::load(&args.bundle)?;
    let plan = plan::plan(&bundle, options)?;
    let wants = if plan.process.terminal { Wants::Terminal } else { Wants::Streams };
    let wiring = wire(wants, args.console_socket.as_deref(), mode.attached)?;
    let (home, lock) = store.create(&args.id)?;
    let guard = Guard { home: &home, armed: true };
    let listener = Some(control::listen(&home)?);
    let exit_file = Some(home.create_exit_file()?);
    let (ours, theirs) = UnixStream::pair().context(|| "cannot make a socket pair")?;
    let Wiring { stdio, console, relay } = wiring;
    let network = crate::network::Network::default();
    let endowment =
        Endowment { stdio, extra, console, listener, control: Some(theirs), network, exit_file };
    let sentry = launch(plan, endowment, mode)?;
    let mut created = (sentry, Some(relay));
    record(&home, &bundle, args, &mut created.0, mode.attached)
        .inspect_err(|_| created.0.kill())?;
    created.0.loan.settle();
    guard.disarm();
    let (sentry, relay) = (created.0, created.1.flatten());
    Ok(Created { home, lock, sentry, control: Client::new(ours), relay })
}

fn record(
    home: &Home,
    bundle: &Bundle,
    args: &Args,
    sentry: &mut Sentry,
    attached: bool,
) -> Result<()> {
    sentry.wait_ready()?;
    let pid = sentry.pid.as_raw_nonzero().get();
    let (start_time, _) = start_time(pid).ok_or_else(|| sentry.died())?;
    home.store(&Record {
        id: home.id().to_owned(),
        pid,
        start_time,
        bundle: bundle.directory.clone(),
        rootfs: bundle.rootfs.clone(),
        created: log::rfc3339(std::time::SystemTime::now()),
        owner: rustix::process::getuid().as_raw(),
        annotations: bundle.spec.annotations().clone().unwrap_or_default().into_iter().collect(),
    })?;
    write_pid_file(args.pid_file.as_deref(), sentry.pid)?;
    if !attached {
        sentry.release()?;
    }
    Ok(())
}

/// Removes the state of a container that did not come to be.
struct Guard<'a> {
    home: &'a Home,
    armed: bool,
}

impl Guard<'_> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.armed {
            // The failure that leads here is what the user should read.
            let _ = self.home.remove();
        }
    }
}

/// Writes a process id for an engine.
pub(crate) fn write_pid_file(path: Option<&Path>, pid: Pid) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let draft = path.with_extension("new");
    let write = || {
        fs::write(&draft, pid.as_raw_nonzero().to_string()).and_then(|()| fs::rename(&draft, path))
    };
    write().context(|| format!("cannot write the pid file {}", path.display()))
}

/// The descriptors from 3 on that `--preserve-fds` names.
pub(crate) fn preserved(count: u16) -> Result<Vec<OwnedFd>> {
    let take = |number: i32| {
        raw::inherited(number)
            .ok_or_else(|| Failure::new(format!("--preserve-fds: descriptor {number} is not open")))
    };
    (3..3 + i32::from(count)).map(take).collect()
}

/// What the first process has for standard descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Those of the command, whatever they are.
    Streams,
    /// A terminal of its own.
    Terminal,
    /// A terminal of its own in the place of each that is a terminal here.
    Same,
}

/// How the standard descriptors are connected.
pub(crate) struct Wiring {
    pub(crate) stdio: [Option<OwnedFd>; 3],
    pub(crate) console: Option<Console>,
    pub(crate) relay: Option<Relay>,
}

/// Connects the standard descriptors.
pub(crate) fn wire(wants: Wants, console_socket: Option<&Path>, attached: bool) -> Result<Wiring> {
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut stdio = [input.as_fd(), output.as_fd(), error.as_fd()]
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, 3).ok());
    match (wants, console_socket) {
        (Wants::Streams, Some(_)) => {
            fail!("--console-socket: the process has no terminal (field process.terminal)")
        }
        (Wants::Streams, None) => Ok(Wiring { stdio, console: None, relay: None }),
        (_, Some(socket)) => {
            let console = Some(Console::Terminal(send_terminal(socket)?));
            Ok(Wiring { stdio: [None, None, None], console, relay: None })
        }
        (_, None) if !attached => {
            fail!("a detached container with a terminal needs --console-socket")
        }
        (_, None) => {
            for slot in &mut stdio {
                if wants == Wants::Terminal || slot.as_ref().is_some_and(rustix::termios::isatty) {
                    *slot = None;
                }
            }
            let Some(terminal) = terminal::of_standard_descriptors() else {
                if wants == Wants::Same {
                    return Ok(Wiring { stdio, console: None, relay: None });
                }
                return fail!(
                    "the process wants a terminal, and none of the standard descriptors is one: use --console-socket or set process.terminal to false"
                );
            };
            let (ours, theirs) = UnixStream::pair().context(|| "cannot make a socket pair")?;
            let relay = Relay { terminal: RawTerminal::new(terminal), console: ours.into() };
            Ok(Wiring { stdio, console: Some(Console::Stream(theirs.into())), relay: Some(relay) })
        }
    }
}

/// Makes a terminal of the host, sends its main side to an engine and gives the other side.
fn send_terminal(socket: &Path) -> Result<OwnedFd> {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    let open = || {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&main)?;
        unlockpt(&main)?;
        let replica = ioctl_tiocgptpeer(
            &main,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )?;
        let mut attributes = rustix::termios::tcgetattr(&replica)?;
        attributes.make_raw();
        rustix::termios::tcsetattr(&replica, rustix::termios::OptionalActions::Now, &attributes)?;
        rustix::io::Result::Ok((main, replica))
    };
    let (main, replica) = open().context(|| "cannot open a terminal (is /dev/pts mounted?)")?;
    let stream = UnixStream::connect(socket)
        .context(|| format!("cannot connect to the console socket {}", socket.display()))?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [main.as_fd()];
    let pushed = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    debug_assert!(pushed, "the space was made for one");
    sendmsg(&stream, &[IoSlice::new(b"/dev/ptmx")], &mut ancillary, SendFlags::NOSIGNAL)
        .context(|| format!("cannot send the terminal to {}", socket.display()))?;
    Ok(replica)
}
