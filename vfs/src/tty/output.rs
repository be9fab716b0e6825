//! What goes to the master: post-processing of the slave's output, and echo.

use chitin_abi::tty::{ECHOCTL, OCRNL, OLCUC, ONLCR, ONLRET, ONOCR, OPOST, TABDLY, XTABS};

use super::state::{Effects, QUEUE_MAX, READABLE, State};

/// Echo that waits for the output to go on; more is dropped.
const ECHO_MAX: usize = 4096;
/// Echo that waits for the end of a burst of input, which may stop the output.
const ECHO_BURST: usize = 256;
const TAB: usize = 8;

/// Whether the kernel's tables call a byte a control character.
pub(super) fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// A byte in upper case, by the Latin-1 tables that the kernel has.
fn upper(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | 0xe0..=0xf6 | 0xf8..=0xfe => byte & !0x20,
        _ => byte,
    }
}

/// A byte in lower case, by the Latin-1 tables that the kernel has.
pub(super) fn lower(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde => byte | 0x20,
        _ => byte,
    }
}

impl State {
    /// Writes of the slave; the caller has looked at the room.
    pub fn write_output(&mut self, bytes: &[u8], effects: &mut Effects) {
        if self.settings.output(OPOST) {
            for byte in bytes {
                self.post_process(*byte, false);
            }
        } else {
            self.outgoing.extend(bytes);
        }
        effects.master |= READABLE;
    }

    fn emit(&mut self, bytes: &[u8], echo: bool) {
        if !echo {
            return self.outgoing.extend(bytes);
        }
        let room = ECHO_MAX.saturating_sub(self.echo.len());
        self.echo.extend(bytes.iter().take(room));
        if self.echo.len() >= ECHO_BURST {
            self.push_echo(&mut Effects::default());
        }
    }

    /// Lets waiting echo go where there is room for it.
    pub fn push_echo(&mut self, effects: &mut Effects) {
        if self.stopped {
            return;
        }
        let room = QUEUE_MAX.saturating_sub(self.outgoing.len()).min(self.echo.len());
        if room > 0 {
            self.outgoing.extend(self.echo.drain(..room));
            effects.master |= READABLE;
        }
    }

    fn post_process(&mut self, byte: u8, echo: bool) {
        let settings = &self.settings;
        let mut byte = byte;
        match byte {
            b'\n' => {
                if settings.output(ONLRET) {
                    self.column = 0;
                }
                if settings.output(ONLCR) {
                    self.column = 0;
                    self.canon_column = 0;
                    return self.emit(b"\r\n", echo);
                }
                self.canon_column = self.column;
            }
            b'\r' => {
                if settings.output(ONOCR) && self.column == 0 {
                    return;
                }
                if settings.output(OCRNL) {
                    byte = b'\n';
                    if settings.output(ONLRET) {
                        self.column = 0;
                        self.canon_column = 0;
                    }
                } else {
                    self.column = 0;
                    self.canon_column = 0;
                }
            }
            b'\t' => {
                let spaces = TAB.saturating_sub(self.column % TAB);
                self.column = self.column.saturating_add(spaces);
                if settings.termios.c_oflag & TABDLY == XTABS {
                    return self.emit(b"        ".get(..spaces).unwrap_or_default(), echo);
                }
            }
            0x08 => self.column = self.column.saturating_sub(1),
            _ if !is_control(byte) => {
                if settings.output(OLCUC) {
                    byte = upper(byte);
                }
                if !settings.continues(byte) {
                    self.column = self.column.saturating_add(1);
                }
            }
            _ => {}
        }
        self.emit(&[byte], echo);
    }

    /// Echoes a byte as it is, apart from post-processing.
    pub fn echo_raw(&mut self, byte: u8) {
        if self.settings.output(OPOST) {
            self.post_process(byte, true);
        } else {
            self.emit(&[byte], true);
        }
    }

    /// Echoes a byte, control characters as `^X`.
    pub fn echo_byte(&mut self, byte: u8) {
        if self.settings.local(ECHOCTL) && is_control(byte) && byte != b'\t' {
            self.emit(&[b'^', byte ^ 0x40], true);
            self.column = self.column.saturating_add(2);
        } else {
            self.echo_raw(byte);
        }
    }

    /// Goes back over a tab. `columns` were used since the last tab of the line, or (`from_start`) since its begin.
    pub fn echo_erase_tab(&mut self, columns: usize, from_start: bool) {
        let columns = if from_start { columns.saturating_add(self.canon_column) } else { columns };
        for _ in 0..TAB.saturating_sub(columns % TAB) {
            self.emit(&[0x08], true);
            self.column = self.column.saturating_sub(1);
        }
    }
}
