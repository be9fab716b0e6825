//! The child's side: from the fork to a running container.
//!
//! Everything that can fail before the first process runs is reported over the status pipe in one sentence.

mod console;
mod container;
mod export;
mod files;
mod network;
mod program;
mod server;
mod storage;

use std::io::{PipeReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use chitin_platform_systrap::{Systrap, SystrapConfig};
use chitin_task::boot::BootConfig;
use chitin_task::syscalls::strace::Strace;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::gofer::Session;
use rustix::thread::CapabilitySet;

use self::container::{Container, Parts};
use self::storage::Storage;
use crate::confine::{self, filter::FileRights, root::EmptyRoot};
use crate::error::{Context as _, Failure, Result};
use crate::raw;
use crate::sandbox::launch::Mode;
use crate::sandbox::options::{Options, Patch, PlatformName};
use crate::sandbox::sources::Sources;
use crate::sandbox::status::{Event, Reporter};
use crate::sandbox::{Console, Endowment, Plan};
use crate::trace;

/// What the sentry is born with.
pub(crate) struct Birth {
    pub(crate) plan: Plan,
    pub(crate) endowment: Endowment,
    pub(crate) mode: Mode,
    /// The image of the root.
    pub(crate) image: Option<OwnedFd>,
    pub(crate) files: Files,
    pub(crate) reporter: Reporter,
    /// A byte comes when the id maps are written, and one more when a detached sandbox may live without its maker.
    pub(crate) gate: PipeReader,
    /// Descriptors of all of these.
    pub(crate) keep: Vec<RawFd>,
}

/// How the sentry gets at the container's files.
pub(crate) enum Files {
    /// By descriptors of its own.
    Direct(Sources),
    /// Through a gofer, which is at the other end.
    Gofer(UnixStream),
}

/// What is left when the doors are shut.
struct Confined {
    /// The container's files.
    storage: Storage,
    /// Runs guest code.
    platform: Arc<Systrap>,
    /// How many workers it was made for.
    workers: usize,
    /// A terminal of the host that tells its size.
    terminal: Option<OwnedFd>,
}

/// How long a file operation may take in the gofer before the sandbox does without its files.
const GOFER_PATIENCE: Duration = Duration::from_secs(30);
/// How long the end waits for answers to be written; only a peer that reads nothing makes it wait so long.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// More workers than this do not help one sandbox.
const MOST_WORKERS: usize = 64;

/// The sentry. Never returns to the code of the command that forked it.
pub(crate) fn sentry(birth: Birth) -> ! {
    let Birth { plan, mut endowment, mode, image, files, reporter, mut gate, keep } = birth;
    let reporter = Arc::new(reporter);
    report_panics(&reporter);
    raw::return_large_blocks();
    // Without it a refused call still ends the process, only without a name.
    let _ = raw::report_refused_calls(reporter.as_fd());
    let exit_file = endowment.exit_file.take();
    let result = prepare(&plan, files, (&mut gate, &reporter), keep, endowment.console.as_ref())
        .and_then(|mut confined| {
            confined.storage.image = image;
            run(plan, endowment, mode, confined, (&mut gate, &reporter))
        });
    let code = match result {
        Ok(code) => {
            if let Some(mut file) = exit_file {
                // Whoever asks later finds no exit code then.
                let _ = file.write_all(code.to_string().as_bytes());
            }
            reporter.report(&Event::Exited(code));
            code
        }
        Err(failure) => {
            reporter.report(&Event::Failed(failure.clone()));
            failure.code()
        }
    };
    raw::exit_now(code.into())
}

/// Makes a panic of any thread an error in words: standard error is closed, and a backtrace tells users nothing.
fn report_panics(reporter: &Arc<Reporter>) {
    let reporter = Arc::clone(reporter);
    std::panic::set_hook(Box::new(move |info| {
        let text = format!("internal error of the sandbox's kernel (please report it): {info}")
            .replace('\n', " ");
        crate::log::record(crate::log::Level::Error, &text);
        let main = std::thread::current().name() == Some("main");
        if main {
            reporter.report(&Event::Failed(Failure::new(text)));
            raw::exit_now(1);
        }
    }));
}

/// Builds the container and looks after it until its first process has ended. Gives the exit code.
fn run(
    plan: Plan,
    endowment: Endowment,
    mode: Mode,
    confined: Confined,
    (gate, reporter): (&mut PipeReader, &Reporter),
) -> Result<u8> {
    let Confined { storage, platform, workers, terminal } = confined;
    let config = BootConfig { workers, strace: strace(plan.options)?, ..BootConfig::default() };
    let kernel = chitin_task::boot::boot(platform, config).context(|| "cannot start the kernel")?;
    trace::point("sentry: the kernel stands");
    let env = VfsEnv::new(Arc::clone(&kernel.vfs), None);
    let mounts = files::build(&plan, storage, &env)?;
    trace::point("sentry: files are mounted");
    let Endowment { stdio, extra, console, listener, control, network, .. } = endowment;
    let network = network::attach(&kernel, network)?;
    let numbered = (0..).zip(stdio).filter_map(|(number, fd)| Some((number, fd?)));
    let descriptors = numbered.chain((3..).zip(extra)).collect();
    let parts = Parts {
        kernel,
        mounts,
        seccomp: plan.seccomp,
        hostname: plan.hostname.unwrap_or_default().into_bytes(),
        domainname: plan.domainname.unwrap_or_default().into_bytes(),
        network,
        immune: !plan.mortal,
    };
    let container = Container::new(parts, &plan.process, descriptors, console)?;
    if let Some(terminal) = terminal {
        container.follow_size(terminal)?;
    }
    trace::point("sentry: the container stands");
    if mode.start {
        container.start()?;
        trace::point("sentry: the program is loaded");
    } else {
        container.check_program(&plan.process)?;
    }
    let peers = control.as_ref().map(server::Peers::of).transpose()?;
    let pending = Arc::default();
    if let Some(control) = control {
        server::serve_one(control, &container, &pending)?;
    }
    if let (Some(listener), Some(peers)) = (listener, peers) {
        server::serve_all(listener, peers, &container, &pending)?;
    }
    reporter.report(&Event::Ready);
    trace::point("sentry: ready");
    if !mode.attached {
        pass(gate)?;
        rustix::process::set_parent_process_death_signal(None)
            .context(|| "cannot be released from the command")?;
        reporter.report(&Event::Released);
    }
    let result = container.wait();
    trace::point("sentry: the program has ended");
    container.drain();
    pending.settle(LAST_ANSWERS);
    result
}

fn strace(options: Options) -> Result<Option<Strace>> {
    if !options.strace {
        return Ok(None);
    }
    let sink = crate::log::trace_sink().context(|| "cannot open the output of --strace")?;
    Ok(Some(Strace::new(Box::new(sink))))
}

/// Confines this process up to its filter.
fn prepare(
    plan: &Plan,
    files: Files,
    (gate, reporter): (&mut PipeReader, &Reporter),
    mut keep: Vec<RawFd>,
    console: Option<&Console>,
) -> Result<Confined> {
    trace::point("sentry: runs");
    // Nothing that is closed here has an owner in this process, who would close it once more.
    keep.extend(0..3);
    confine::descriptors::keep_only(keep).context(|| "cannot close descriptors")?;
    confine::descriptors::make_room(std::io::stdin())
        .context(|| "cannot raise the limit on descriptors")?;
    pass(gate)?;
    confine::identity(&plan.maps)?;
    trace::point("sentry: has its identity");
    bind_to_maker(reporter)?;
    // The first stub gets ready beside what follows.
    rustix::process::chdir("/").context(|| "cannot change to the root directory")?;
    let workers =
        std::thread::available_parallelism().map_or(1, core::num::NonZero::get).min(MOST_WORKERS);
    let starting = match plan.options.platform {
        PlatformName::Systrap => {
            Systrap::begin(SystrapConfig { workers, patch: plan.options.patch == Patch::On })
        }
    };
    let mut starting = starting.context(|| "cannot start the platform systrap")?;
    trace::point("sentry: the first stub is on its way");
    let null = confine::root::open_null()?;
    let mut root = EmptyRoot::new()?;
    let (trees, socket) = match files {
        Files::Direct(sources) => (sources.finish(&mut root)?, None),
        Files::Gofer(socket) => (Vec::new(), Some(socket)),
    };
    root.attach_proc()?;
    let files = root.enter()?;
    confine::descriptors::replace_standard(&null)?;
    drop(null);
    starting.find_proc();
    confine::root::hide_proc()?;
    trace::point("sentry: the host's files are left");
    let terminal = console.map(console::adopt).transpose()?.flatten();
    let capabilities =
        if socket.is_some() { CapabilitySet::empty() } else { confine::capabilities::FILES };
    confine::capabilities::reduce(capabilities).context(|| "cannot drop capabilities")?;
    // Modes of files are the business of the kernel inside.
    rustix::process::umask(rustix::fs::Mode::empty());
    let rights = if socket.is_some() { FileRights::Descriptors } else { FileRights::Directories };
    let storage = match socket {
        Some(socket) => Storage::gofer(plan, connect(socket)?),
        None => Storage::direct(plan, trees, files),
    };
    confine::filter::install(rights, chitin_platform_systrap::sentry_host_calls())?;
    trace::point("sentry: confined");
    let platform = starting.finish().context(|| "cannot start the platform systrap")?;
    trace::point("sentry: the platform stands");
    Ok(Confined { storage, platform, workers, terminal })
}

/// Begins to talk to the gofer.
fn connect(socket: UnixStream) -> Result<Arc<Session>> {
    Session::connect(socket.into(), GOFER_PATIENCE)
        .context(|| "the gofer that holds the container's files does not answer")
}

/// Waits for a byte from the command that makes the sandbox.
fn pass(gate: &mut PipeReader) -> Result<()> {
    match gate.read(&mut [0]) {
        Ok(1) => Ok(()),
        _ => Err(Failure::new("the command that started the sandbox is gone")),
    }
}

/// Ends with the command that makes the sandbox, from now on. (After the last change of identity, which undoes it.)
fn bind_to_maker(reporter: &Reporter) -> Result<()> {
    let signal = Some(rustix::process::Signal::KILL);
    rustix::process::set_parent_process_death_signal(signal)
        .context(|| "cannot be bound to the command")?;
    // The signal is for an end that is yet to come; nobody reads the status after one that has been.
    let mut ends = [rustix::event::PollFd::new(reporter, rustix::event::PollFlags::OUT)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    let polled =
        rustix::event::poll(&mut ends, Some(&now)).context(|| "cannot look for the command")?;
    let gone = ends.iter().any(|end| end.revents().contains(rustix::event::PollFlags::ERR));
    if polled > 0 && gone {
        return Err(Failure::new("the command that started the sandbox is gone"));
    }
    Ok(())
}
