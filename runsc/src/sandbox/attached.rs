//! What an attached command does while its container runs: forward signals, relay the terminal, wait.

use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFlags, Timespec, poll};

use super::launch::Sentry;
use super::status::Event;
use super::terminal::{Pipe, RawTerminal, interest, size};
use crate::control::{Client, Request, Target};
use crate::error::{Context as _, Failure, Result};

/// Signals that are not for this command but for what it runs.
const FORWARDED: [Signal; 10] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGCONT,
    Signal::SIGWINCH,
    Signal::SIGPIPE,
];

/// A container that lives for so long will live for longer.
pub(crate) const SOON: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// The signals of this process, as a descriptor. Made before anything is started, so that none is lost.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks the forwarded signals and opens the descriptor.
    pub(crate) fn take() -> Result<Self> {
        let set: SigSet = FORWARDED.into_iter().collect();
        set.thread_block().context(|| "cannot block signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags)
            .map(Self)
            .context(|| "cannot open a descriptor of signals")
    }

    fn next(&self) -> Option<i32> {
        let info = self.0.read_signal().ok()??;
        i32::try_from(info.ssi_signo).ok()
    }
}

/// A terminal here and the container's console.
pub(crate) struct Relay {
    pub(crate) terminal: RawTerminal,
    pub(crate) console: OwnedFd,
}

/// Whose end is waited for.
pub(crate) trait Subject {
    /// Something to poll that becomes readable.
    fn descriptor(&self) -> std::os::fd::BorrowedFd<'_>;
    /// The exit code, if it is known by now.
    fn exit(&mut self) -> Result<Option<u8>>;
    /// Forwards a signal.
    fn signal(&self, signal: i32) -> Result<()>;
    /// Forwards the size of the terminal.
    fn resize(&self, rows: u16, columns: u16) -> Result<()>;
}

/// The container of a sandbox that this command made.
pub(crate) struct OwnContainer {
    pub(crate) sentry: Sentry,
    pub(crate) control: Client,
}

impl Subject for OwnContainer {
    fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        self.sentry.status.as_fd()
    }

    fn exit(&mut self) -> Result<Option<u8>> {
        match self.sentry.status.next()? {
            Some(Event::Exited(code)) => {
                crate::trace::point("command: the exit code is known");
                self.sentry.reap();
                Ok(Some(code))
            }
            Some(Event::Failed(failure)) => {
                self.sentry.reap();
                Err(failure)
            }
            Some(Event::Ready | Event::Released) => Ok(None),
            None => Err(self.sentry.died()),
        }
    }

    fn signal(&self, signal: i32) -> Result<()> {
        self.control.order(&Request::Signal { signal, target: Target::Init })
    }

    fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        self.control.order(&Request::Resize { pid: None, rows, columns })
    }
}

/// Waits for the end and gives the exit code.
pub(crate) fn wait(
    subject: &mut impl Subject,
    signals: &Signals,
    relay: Option<&Relay>,
) -> Result<u8> {
    let (mut keys, mut screen) = (Pipe::default(), Pipe::default());
    let mut patience = Some(SOON);
    loop {
        let Some(ready) = wait_once(subject, signals, relay, (&keys, &screen), patience)? else {
            patience = None;
            crate::raw::release_code();
            continue;
        };
        if ready.signal {
            forward(subject, signals, relay);
        }
        if let Some(relay) = relay {
            pump(relay, &ready, &mut keys, &mut screen);
        }
        if ready.subject {
            let Some(code) = subject.exit()? else { continue };
            if let Some(relay) = relay {
                drain(relay, &mut screen);
            }
            return Ok(code);
        }
    }
}

#[derive(Default)]
struct Ready {
    subject: bool,
    signal: bool,
    terminal: PollFlags2,
    console: PollFlags2,
}

#[derive(Clone, Copy, Default)]
struct PollFlags2 {
    input: bool,
    output: bool,
}

impl From<PollFlags> for PollFlags2 {
    fn from(flags: PollFlags) -> Self {
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Self {
            input: flags.intersects(PollFlags::IN | gone),
            output: flags.intersects(PollFlags::OUT | gone),
        }
    }
}

fn wait_once(
    subject: &impl Subject,
    signals: &Signals,
    relay: Option<&Relay>,
    (keys, screen): (&Pipe, &Pipe),
    patience: Option<Timespec>,
) -> Result<Option<Ready>> {
    let descriptor = subject.descriptor();
    let mut entries = vec![interest(&descriptor, true, false), interest(&signals.0, true, false)];
    let (mut terminal, mut console) = (None, None);
    if let Some(relay) = relay {
        let reads = relay.terminal.foreground() && keys.wants_input();
        if reads || screen.wants_output() {
            terminal = Some(entries.len());
            entries.push(interest(&relay.terminal, reads, screen.wants_output()));
        }
        if screen.wants_input() || (keys.wants_output() && !screen.ended()) {
            console = Some(entries.len());
            entries.push(interest(&relay.console, screen.wants_input(), keys.wants_output()));
        }
    }
    match poll(&mut entries, patience.as_ref()) {
        Err(rustix::io::Errno::INTR) => return Ok(Some(Ready::default())),
        Ok(0) => return Ok(None),
        other => other.context(|| "cannot wait for the container")?,
    };
    let of = |index: Option<usize>| {
        index
            .and_then(|index| entries.get(index))
            .map_or(PollFlags::empty(), rustix::event::PollFd::revents)
    };
    Ok(Some(Ready {
        subject: !of(Some(0)).is_empty(),
        signal: !of(Some(1)).is_empty(),
        terminal: of(terminal).into(),
        console: of(console).into(),
    }))
}

fn pump(relay: &Relay, ready: &Ready, keys: &mut Pipe, screen: &mut Pipe) {
    if ready.terminal.input && keys.wants_input() {
        keys.fill(&relay.terminal);
    }
    if ready.console.output && keys.wants_output() {
        keys.flush(&relay.console);
    }
    if ready.console.input && screen.wants_input() {
        screen.fill(&relay.console);
    }
    if ready.terminal.output && screen.wants_output() {
        screen.flush(&relay.terminal);
    }
}

/// Shows what the container wrote last: the sandbox has sent all of it before it said that it ended.
fn drain(relay: &Relay, screen: &mut Pipe) {
    loop {
        while screen.wants_output() {
            screen.flush(&relay.terminal);
        }
        let mut entries = [interest(&relay.console, true, false)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if screen.ended() || poll(&mut entries, Some(&now)).unwrap_or(0) == 0 {
            return;
        }
        screen.fill(&relay.console);
    }
}

fn forward(subject: &impl Subject, signals: &Signals, relay: Option<&Relay>) {
    while let Some(signal) = signals.next() {
        let result: core::result::Result<(), Failure> = if signal == libc::SIGWINCH {
            match relay.and_then(|relay| size(&relay.terminal)) {
                Some((rows, columns)) => subject.resize(rows, columns),
                None => Ok(()),
            }
        } else {
            subject.signal(signal)
        };
        if let Err(failure) = result {
            // The container may have ended meanwhile, which the next round finds out.
            crate::log::debug(|| format!("signal {signal} was not forwarded: {failure}"));
        }
    }
}
