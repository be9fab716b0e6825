//! The terminal of an attached command: raw while the container runs, and pumped to and from its console.
//!
//! Signals and line editing are the business of the container's own terminal; here nothing is interpreted.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::termios::{
    OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
};

/// A terminal in raw mode; dropped, it is as it was.
#[derive(Debug)]
pub(crate) struct RawTerminal {
    fd: OwnedFd,
    before: Option<Termios>,
}

/// The first of the standard descriptors that is a terminal.
pub(crate) fn of_standard_descriptors() -> Option<OwnedFd> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let all = [input.as_fd(), output.as_fd(), error.as_fd()];
    let terminal = all.into_iter().find(|fd| isatty(fd))?;
    rustix::io::fcntl_dupfd_cloexec(terminal, 3).ok()
}

impl RawTerminal {
    /// Takes a terminal over, if this process is in its foreground.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let foreground = tcgetpgrp(&fd).is_ok_and(|group| group == rustix::process::getpgrp());
        let before = tcgetattr(&fd).ok().filter(|_| foreground);
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // If it fails the user sees an echo too many.
            let _ = tcsetattr(&fd, OptionalActions::Drain, &raw);
        }
        Self { fd, before }
    }

    /// Whether keys may be read from it.
    pub(crate) fn foreground(&self) -> bool {
        self.before.is_some()
    }
}

impl AsFd for RawTerminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A background process may not: the shell has restored it by itself then.
            let _ = tcsetattr(&self.fd, OptionalActions::Drain, before);
        }
    }
}

/// The size of a terminal: rows and columns.
pub(crate) fn size(fd: impl AsFd) -> Option<(u16, u16)> {
    let Winsize { ws_row, ws_col, .. } = tcgetwinsize(fd).ok()?;
    Some((ws_row, ws_col))
}

/// One direction of a pump.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    waiting: Vec<u8>,
    ended: bool,
}

impl Pipe {
    /// What to poll the reading side for: nothing while something waits to be written.
    pub(crate) fn wants_input(&self) -> bool {
        self.waiting.is_empty() && !self.ended
    }

    /// Whether something waits to be written.
    pub(crate) fn wants_output(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the reading side has ended.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Reads what is there.
    pub(crate) fn fill(&mut self, from: impl AsFd) {
        let mut buffer = [0_u8; 16 << 10];
        match rustix::io::read(from, &mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => self.waiting.extend(buffer.iter().take(count)),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => self.ended = true,
        }
    }

    /// Writes what fits.
    pub(crate) fn flush(&mut self, to: impl AsFd) {
        // A terminal that has room for a byte may block on many: small pieces keep that short.
        let piece = self.waiting.get(..self.waiting.len().min(1024)).unwrap_or_default();
        match rustix::io::write(to, piece) {
            Ok(count) => drop(self.waiting.drain(..count.min(self.waiting.len()))),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => {
                self.waiting.clear();
                self.ended = true;
            }
        }
    }
}

/// An entry for `poll` that is only there when it is wanted.
pub(crate) fn interest<'a>(fd: &'a impl AsFd, input: bool, output: bool) -> PollFd<'a> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, input);
    flags.set(PollFlags::OUT, output);
    PollFd::new(fd, flags)
}
