//! The state of a pair, and what a change of it entails.

use std::collections::VecDeque;

use chitin_abi::poll::PollEvents;
use chitin_abi::tty::{CREAD, CS8, CSIZE, PARENB};
use chitin_abi::tty::{
    EXTPROC, ICANON, IXON, TIOCPKT_DOSTOP, TIOCPKT_FLUSHREAD, TIOCPKT_FLUSHWRITE, TIOCPKT_IOCTL,
    TIOCPKT_NOSTOP, TIOCPKT_START, TIOCPKT_STOP, VMIN, VSTART, VSTOP, VTIME, Winsize,
};
use smallvec::SmallVec;
use zerocopy::FromZeros;

use super::line::{LINE_MAX, Line};
use super::settings::Settings;

/// Bytes in each direction that wait at most; a burst may go a little over it.
pub(super) const QUEUE_MAX: usize = 8192;

/// Readiness for reading.
pub(super) const READABLE: PollEvents = PollEvents::POLLIN.union(PollEvents::POLLRDNORM);
/// Readiness for writing.
pub(super) const WRITABLE: PollEvents = PollEvents::POLLOUT.union(PollEvents::POLLWRNORM);

/// What is to be done when the state is no longer locked.
#[derive(Default)]
pub(super) struct Effects {
    /// Signals to process groups.
    pub signals: SmallVec<[(u32, u32); 2]>,
    /// The session whose terminal has hung up.
    pub hung_up: Option<u32>,
    /// The session that has lost its terminal without a hangup.
    pub taken_from: Option<u32>,
    pub slave: PollEvents,
    pub master: PollEvents,
}

/// Everything about a pair.
pub(super) struct State {
    pub settings: Settings,
    pub window: Winsize,
    pub line: Line,
    /// From the master, not yet seen by the line discipline.
    pub incoming: VecDeque<u8>,
    /// To the master.
    pub outgoing: VecDeque<u8>,
    /// Echo that waits for room or for the output to go on.
    pub echo: VecDeque<u8>,
    /// Output column, and where it was when the line being edited began.
    pub column: usize,
    pub canon_column: usize,
    /// Output is stopped by `VSTOP`, or by `TCOOFF` (`held`).
    pub stopped: bool,
    pub held: bool,
    pub packet: bool,
    pub packet_status: u8,
    /// The session that this is the controlling terminal of, and its foreground group; 0 for none.
    pub session: u32,
    pub pgrp: u32,
    /// `TIOCSPTLCK`: the slave cannot be opened.
    pub locked: bool,
    /// `TIOCEXCL`.
    pub exclusive: bool,
    pub slaves: usize,
    /// The master is open.
    pub has_master: bool,
    /// The last slave has been closed, and none opened since.
    pub slave_gone: bool,
    /// How often it has hung up: a slave file opened before the last time is dead.
    pub hangups: u64,
}

impl State {
    pub fn new() -> Self {
        Self {
            settings: Settings::default(),
            window: Winsize::new_zeroed(),
            line: Line::default(),
            incoming: VecDeque::new(),
            outgoing: VecDeque::new(),
            echo: VecDeque::new(),
            column: 0,
            canon_column: 0,
            stopped: false,
            held: false,
            packet: false,
            packet_status: 0,
            session: 0,
            pgrp: 0,
            locked: true,
            exclusive: false,
            slaves: 0,
            has_master: true,
            slave_gone: false,
            hangups: 0,
        }
    }

    /// Whether input is edited and read by lines.
    pub fn canonical(&self) -> bool {
        self.settings.local(ICANON) && !self.settings.local(EXTPROC)
    }

    /// Bytes that a read outside canonical mode waits for.
    pub fn minimum(&self) -> usize {
        usize::from(self.settings.termios.control(VMIN))
    }

    /// `VTIME`, in tenths of a second.
    pub fn tenths(&self) -> u64 {
        u64::from(self.settings.termios.control(VTIME))
    }

    /// Whether the slave is ready for reading: as poll sees it (`for_poll`), or at all.
    pub fn input_available(&self, for_poll: bool) -> bool {
        if self.canonical() {
            return self.line.committed() > 0;
        }
        let wanted = if for_poll && self.tenths() == 0 { self.minimum().max(1) } else { 1 };
        self.line.len() >= wanted
    }

    /// Bytes that the slave may write now.
    pub fn output_room(&self) -> usize {
        if self.stopped { 0 } else { QUEUE_MAX.saturating_sub(self.outgoing.len()) }
    }

    /// Bytes that the master may write now.
    pub fn input_room(&self) -> usize {
        QUEUE_MAX.saturating_sub(self.incoming.len())
    }

    fn packet_event(&mut self, clear: u32, set: u32, effects: &mut Effects) {
        if self.packet {
            self.packet_status = (self.packet_status & !(clear as u8)) | set as u8;
            effects.master |= READABLE | PollEvents::POLLPRI;
        }
    }

    /// Stops output (`VSTOP`, `TCOOFF`).
    pub fn stop_output(&mut self, effects: &mut Effects) {
        if !self.stopped {
            self.stopped = true;
            self.packet_event(TIOCPKT_START, TIOCPKT_STOP, effects);
        }
    }

    /// Lets output go on unless `TCOOFF` holds it.
    pub fn start_output(&mut self, effects: &mut Effects) {
        if self.stopped && !self.held {
            self.stopped = false;
            self.packet_event(TIOCPKT_STOP, TIOCPKT_START, effects);
            effects.slave |= WRITABLE;
            self.push_echo(effects);
        }
    }

    /// Forgets input that the slave has not read.
    pub fn flush_input(&mut self, effects: &mut Effects) {
        self.line.clear();
        self.packet_event(0, TIOCPKT_FLUSHREAD, effects);
        self.pump(effects);
        effects.master |= WRITABLE;
    }

    /// Tells a master in packet mode that input was dropped.
    pub fn note_flushed(&mut self, effects: &mut Effects) {
        self.packet_event(0, TIOCPKT_FLUSHREAD, effects);
    }

    /// Forgets output that has not reached the master's side: as on Linux, a read buffer of it has
    /// arrived there already, read or not.
    pub fn flush_output(&mut self, effects: &mut Effects) {
        self.outgoing.truncate(LINE_MAX.saturating_sub(1));
        self.packet_event(0, TIOCPKT_FLUSHWRITE, effects);
        effects.slave |= WRITABLE;
    }

    /// Changes the settings.
    pub fn change_settings(&mut self, mut new: Settings, effects: &mut Effects) {
        // A pseudo-terminal has no other frames than these.
        new.termios.c_cflag = (new.termios.c_cflag & !(CSIZE | PARENB)) | CS8 | CREAD;
        let old = core::mem::replace(&mut self.settings, new);
        let extproc = old.local(EXTPROC) || self.settings.local(EXTPROC);
        if (old.termios.c_lflag ^ self.settings.termios.c_lflag) & (ICANON | EXTPROC) != 0 {
            let canonical = self.settings.local(ICANON);
            self.line.set_canonical(canonical);
        }
        if old.input(IXON) && !self.settings.input(IXON) {
            self.start_output(effects);
        }
        let (before, now) = (has_usual_flow(&old), has_usual_flow(&self.settings));
        if before != now {
            let status = if now { TIOCPKT_DOSTOP } else { TIOCPKT_NOSTOP };
            self.packet_event(TIOCPKT_DOSTOP | TIOCPKT_NOSTOP, status, effects);
        }
        if extproc {
            self.packet_event(0, TIOCPKT_IOCTL, effects);
        }
        self.pump(effects);
        effects.slave |= WRITABLE;
        if self.input_available(true) {
            effects.slave |= READABLE;
        }
    }

    /// The line is dead: drops what is on its way, resets the settings, and ends every open slave file.
    pub fn hang_up(&mut self, effects: &mut Effects) {
        self.line.clear();
        self.incoming.clear();
        self.outgoing.clear();
        self.echo.clear();
        self.settings = Settings::default();
        self.stopped = false;
        self.held = false;
        self.hangups = self.hangups.wrapping_add(1);
        if self.session != 0 {
            effects.hung_up = Some(self.session);
        }
        self.session = 0;
        self.pgrp = 0;
        let all = READABLE | WRITABLE | PollEvents::POLLHUP | PollEvents::POLLERR;
        effects.slave |= all;
        effects.master |= all;
    }
}

/// Whether flow control works as every remote terminal expects it (packet mode tells the master).
fn has_usual_flow(settings: &Settings) -> bool {
    settings.input(IXON)
        && settings.termios.control(VSTOP) == 0o23
        && settings.termios.control(VSTART) == 0o21
}
