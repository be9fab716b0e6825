//! What the line discipline does with each byte that comes from the master.

use chitin_abi::signal::{SIGINT, SIGQUIT, SIGTSTP};
use chitin_abi::tty::{
    ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHONL, ECHOPRT, EXTPROC, ICRNL, IEXTEN, IGNCR, INLCR,
    ISIG, ISTRIP, IUCLC, IXANY, IXON, NOFLSH, PARMRK, VEOF, VEOL, VEOL2, VERASE, VINTR, VKILL,
    VLNEXT, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP, VWERASE,
};

use super::line::{LINE_MAX, Mark};
use super::output::{is_control, lower};
use super::state::{Effects, READABLE, State, WRITABLE};

/// How much an erase character takes away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Erase {
    Character,
    Word,
    Line,
}

impl State {
    /// Bytes from the master; the caller has looked at the room.
    pub fn receive(&mut self, bytes: &[u8], effects: &mut Effects) {
        self.incoming.extend(bytes);
        self.pump(effects);
    }

    /// Gives waiting bytes to the line discipline as far as the line buffer takes them.
    pub fn pump(&mut self, effects: &mut Effects) {
        let outgoing = self.outgoing.len();
        let before = self.incoming.len();
        while let Some(byte) = self.incoming.front().copied() {
            if !self.make_room() {
                break;
            }
            self.incoming.pop_front();
            self.receive_byte(byte, effects);
        }
        self.push_echo(effects);
        if self.outgoing.len() != outgoing {
            effects.master |= READABLE;
        }
        if self.incoming.len() != before {
            if self.input_available(false) {
                effects.slave |= READABLE;
            }
            effects.master |= WRITABLE;
        }
    }

    /// Whether a byte fits. A line that is too long for the buffer loses its newest byte, so that its end
    /// can still be typed.
    fn make_room(&mut self) -> bool {
        let free = LINE_MAX.saturating_sub(self.line.len());
        let room = if self.settings.input(PARMRK) { free.div_ceil(3) } else { free };
        if room > 1 {
            return true;
        }
        let overflow = self.canonical() && self.line.committed() == 0;
        if overflow && room == 0 {
            self.line.drop_newest();
        }
        overflow
    }

    fn receive_byte(&mut self, byte: u8, effects: &mut Effects) {
        if self.line.literal {
            self.line.literal = false;
            let byte = self.fold(byte);
            return self.take_plain(byte, false, effects);
        }
        let byte = self.fold(byte);
        if self.settings.local(EXTPROC) {
            return self.line.push(byte);
        }
        if self.settings.input(IXON) {
            if self.settings.is_control(byte, VSTART) {
                return self.start_output(effects);
            }
            if self.settings.is_control(byte, VSTOP) {
                return self.stop_output(effects);
            }
        }
        if let Some(signal) = self.signal_of(byte) {
            return self.receive_signal(signal, byte, effects);
        }
        let typed = byte;
        let byte = match typed {
            b'\r' if self.settings.input(IGNCR) => return,
            b'\r' if self.settings.input(ICRNL) => b'\n',
            b'\n' if self.settings.input(INLCR) => b'\r',
            other => other,
        };
        if self.settings.local(chitin_abi::tty::ICANON) && self.receive_canonical(byte, effects) {
            return;
        }
        self.take_plain(byte, typed != byte, effects);
    }

    fn fold(&self, byte: u8) -> u8 {
        let byte = if self.settings.input(ISTRIP) { byte & 0x7f } else { byte };
        if self.settings.input(IUCLC) && self.settings.local(IEXTEN) { lower(byte) } else { byte }
    }

    /// Any byte restarts stopped output with `IXANY`.
    fn restart_by_any(&mut self, effects: &mut Effects) {
        if self.stopped && !self.held && self.settings.input(IXON) && self.settings.input(IXANY) {
            self.start_output(effects);
        }
    }

    /// Echoes and stores a byte of data. A newline that was typed as a carriage return (`converted`) is
    /// echoed as such, any other one like a control character.
    fn take_plain(&mut self, byte: u8, converted: bool, effects: &mut Effects) {
        self.restart_by_any(effects);
        if self.settings.local(ECHO) {
            self.finish_erasing();
            if byte == b'\n' && converted {
                self.echo_raw(byte);
            } else {
                self.begin_line();
                self.echo_byte(byte);
            }
        }
        self.store(byte);
    }

    /// Remembers the column in which the line being edited begins.
    fn begin_line(&mut self) {
        if self.line.edited() == 0 {
            self.canon_column = self.column;
        }
    }

    fn store(&mut self, byte: u8) {
        if byte == 0xff && self.settings.input(PARMRK) {
            self.line.push(byte);
        }
        self.line.push(byte);
    }

    fn signal_of(&self, byte: u8) -> Option<u32> {
        if !self.settings.local(ISIG) {
            return None;
        }
        let signals = [(VINTR, SIGINT), (VQUIT, SIGQUIT), (VSUSP, SIGTSTP)];
        signals
            .into_iter()
            .find(|(index, _)| self.settings.is_control(byte, *index))
            .map(|(_, signal)| signal)
    }

    fn receive_signal(&mut self, signal: u32, byte: u8, effects: &mut Effects) {
        if self.pgrp != 0 {
            effects.signals.push((self.pgrp, signal));
        }
        if !self.settings.local(NOFLSH) {
            self.echo.clear();
            self.flush_output(effects);
            self.line.clear();
            self.note_flushed(effects);
        }
        if self.settings.input(IXON) {
            self.start_output(effects);
        }
        if self.settings.local(ECHO) {
            self.echo_byte(byte);
        }
    }

    fn finish_erasing(&mut self) {
        if self.line.erasing {
            self.echo_raw(b'/');
            self.line.erasing = false;
        }
    }

    /// Editing and ends of lines. False for a byte that is only data.
    fn receive_canonical(&mut self, byte: u8, effects: &mut Effects) -> bool {
        let settings = &self.settings;
        let extended = settings.local(IEXTEN);
        let echo = settings.local(ECHO);
        let is = |index| settings.is_control(byte, index);
        if is(VERASE) || is(VKILL) || (is(VWERASE) && extended) {
            let erase = if is(VERASE) {
                Erase::Character
            } else if is(VKILL) {
                Erase::Line
            } else {
                Erase::Word
            };
            self.restart_by_any(effects);
            self.erase(erase);
        } else if is(VLNEXT) && extended {
            self.restart_by_any(effects);
            self.line.literal = true;
            if echo {
                self.finish_erasing();
                if self.settings.local(ECHOCTL) {
                    self.echo_raw(b'^');
                    self.echo_raw(0x08);
                }
            }
        } else if is(VREPRINT) && echo && extended {
            self.restart_by_any(effects);
            self.reprint(byte);
        } else if byte == b'\n' {
            self.restart_by_any(effects);
            if echo || self.settings.local(ECHONL) {
                self.echo_raw(b'\n');
            }
            self.line.complete(byte, Mark::End);
        } else if is(VEOF) {
            self.restart_by_any(effects);
            self.line.complete(0, Mark::Eof);
        } else if is(VEOL) || (is(VEOL2) && extended) {
            self.restart_by_any(effects);
            if echo {
                self.begin_line();
                self.echo_byte(byte);
            }
            if byte == 0xff && self.settings.input(PARMRK) {
                self.line.push(byte);
            }
            self.line.complete(byte, Mark::End);
        } else {
            return false;
        }
        true
    }

    fn reprint(&mut self, byte: u8) {
        self.finish_erasing();
        self.echo_byte(byte);
        self.echo_raw(b'\n');
        for index in 0..self.line.edited() {
            if let Some(byte) = self.line.edited_byte(index) {
                self.echo_byte(byte);
            }
        }
    }

    fn erase(&mut self, erase: Erase) {
        if self.line.edited() == 0 {
            return;
        }
        let echo = self.settings.local(ECHO);
        if erase == Erase::Line {
            if !echo {
                return self.line.kill();
            }
            let shown = self.settings.local(ECHOK)
                && self.settings.local(ECHOKE)
                && self.settings.local(ECHOE);
            if !shown {
                self.line.kill();
                self.finish_erasing();
                let kill = self.settings.termios.control(VKILL);
                self.echo_byte(kill);
                if self.settings.local(ECHOK) {
                    self.echo_raw(b'\n');
                }
                return;
            }
        }
        let mut word = false;
        while let Some(bytes) = self.last_character() {
            let first = bytes.first().copied().unwrap_or_default();
            if erase == Erase::Word {
                if first.is_ascii_alphanumeric() || first == b'_' {
                    word = true;
                } else if word {
                    break;
                }
            }
            for _ in &bytes {
                self.line.pop_edited();
            }
            if echo {
                self.show_erased(erase, &bytes);
            }
            if erase == Erase::Character {
                break;
            }
        }
        if self.line.edited() == 0 && echo {
            self.finish_erasing();
        }
    }

    /// The bytes of the last character being edited; `None` where there is none or only a part of one.
    fn last_character(&self) -> Option<smallvec::SmallVec<[u8; 4]>> {
        let end = self.line.edited();
        let mut start = end;
        let mut bytes = smallvec::SmallVec::new();
        while start > 0 {
            start = start.saturating_sub(1);
            let byte = self.line.edited_byte(start)?;
            bytes.insert(0, byte);
            if !self.settings.continues(byte) {
                return Some(bytes);
            }
        }
        None
    }

    fn show_erased(&mut self, erase: Erase, bytes: &[u8]) {
        let Some((first, rest)) = bytes.split_first() else { return };
        if self.settings.local(ECHOPRT) {
            if !self.line.erasing {
                self.echo_raw(b'\\');
                self.line.erasing = true;
            }
            self.echo_byte(*first);
            for byte in rest {
                self.echo_raw(*byte);
            }
        } else if erase == Erase::Character && !self.settings.local(ECHOE) {
            let shown = self.settings.termios.control(VERASE);
            self.echo_byte(shown);
        } else if *first == b'\t' {
            self.show_erased_tab();
        } else {
            let shown_as_two = is_control(*first) && self.settings.local(ECHOCTL);
            let columns = if shown_as_two { 2 } else { usize::from(!is_control(*first)) };
            for _ in 0..columns {
                for byte in [0x08, b' ', 0x08] {
                    self.echo_raw(byte);
                }
            }
        }
    }

    /// Goes back to where the tab began: the columns used since the tab before it, or since the line's begin.
    fn show_erased_tab(&mut self) {
        let mut columns = 0usize;
        let mut from_start = true;
        for index in (0..self.line.edited()).rev() {
            let Some(byte) = self.line.edited_byte(index) else { break };
            if byte == b'\t' {
                from_start = false;
                break;
            }
            if is_control(byte) {
                columns = columns.saturating_add(if self.settings.local(ECHOCTL) { 2 } else { 0 });
            } else if !self.settings.continues(byte) {
                columns = columns.saturating_add(1);
            }
        }
        self.echo_erase_tab(columns, from_start);
    }
}
