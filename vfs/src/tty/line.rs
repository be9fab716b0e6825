//! The line buffer: bytes on their way to the slave's reader, with the ends of lines marked.

use std::collections::VecDeque;

/// Bytes that the buffer holds at most (`N_TTY_BUF_SIZE`).
pub(super) const LINE_MAX: usize = 4096;

/// What a byte in the buffer means in canonical mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Plain,
    /// The last byte of a line.
    End,
    /// Ends a line without being part of it (`VEOF`).
    Eof,
}

/// The buffer. The first `committed` bytes are complete lines; those behind are still being edited. Outside canonical
/// mode nothing is committed and everything can be read.
#[derive(Default)]
pub(super) struct Line {
    bytes: VecDeque<(u8, Mark)>,
    committed: usize,
    /// The next byte is literal (`VLNEXT`).
    pub literal: bool,
    /// A `\` of `ECHOPRT` has been shown and wants its `/`.
    pub erasing: bool,
}

impl Line {
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of complete lines.
    pub fn committed(&self) -> usize {
        self.committed
    }

    /// Bytes of the line that is being edited.
    pub fn edited(&self) -> usize {
        self.bytes.len().saturating_sub(self.committed)
    }

    pub fn push(&mut self, byte: u8) {
        self.bytes.push_back((byte, Mark::Plain));
    }

    /// Adds the byte that completes a line.
    pub fn complete(&mut self, byte: u8, mark: Mark) {
        self.bytes.push_back((byte, mark));
        self.committed = self.bytes.len();
    }

    /// Takes the last byte of the line that is being edited.
    pub fn pop_edited(&mut self) -> Option<u8> {
        if self.edited() == 0 {
            return None;
        }
        self.bytes.pop_back().map(|(byte, _)| byte)
    }

    /// The byte at this index of the line that is being edited.
    pub fn edited_byte(&self, index: usize) -> Option<u8> {
        self.bytes.get(self.committed.checked_add(index)?).map(|(byte, _)| *byte)
    }

    /// Forgets the line that is being edited.
    pub fn kill(&mut self) {
        self.bytes.truncate(self.committed);
    }

    /// Drops the newest byte, whatever it is: the line has overflowed.
    pub fn drop_newest(&mut self) {
        self.bytes.pop_back();
        self.committed = self.committed.min(self.bytes.len());
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Canonical mode begins or ends: what is there becomes one line, or plain bytes.
    pub fn set_canonical(&mut self, canonical: bool) {
        for cell in &mut self.bytes {
            cell.1 = Mark::Plain;
        }
        self.committed = 0;
        if canonical && let Some(last) = self.bytes.back_mut() {
            last.1 = Mark::End;
            self.committed = self.bytes.len();
        }
        self.erasing = false;
        self.literal = false;
    }

    /// Moves up to `most` bytes of the first complete line to `to`. An end-of-file mark behind them is consumed too.
    pub fn take_line(&mut self, to: &mut Vec<u8>, most: usize) {
        let mut taken = 0usize;
        while taken < most && self.committed > 0 {
            let Some((byte, mark)) = self.bytes.pop_front() else { return };
            self.committed = self.committed.saturating_sub(1);
            if mark == Mark::Eof {
                return;
            }
            to.push(byte);
            taken = taken.saturating_add(1);
            if mark == Mark::End {
                return;
            }
        }
        if self.committed > 0 && self.bytes.front().is_some_and(|(_, mark)| *mark == Mark::Eof) {
            self.bytes.pop_front();
            self.committed = self.committed.saturating_sub(1);
        }
    }

    /// Moves up to `most` bytes to `to`, whatever they are.
    pub fn take_raw(&mut self, to: &mut Vec<u8>, most: usize) {
        let count = most.min(self.bytes.len());
        to.extend(self.bytes.drain(..count).map(|(byte, _)| byte));
        self.committed = self.committed.saturating_sub(count);
    }

    /// Bytes that `FIONREAD` reports in canonical mode: complete lines without end-of-file marks.
    pub fn readable_canonical(&self) -> usize {
        self.bytes.iter().take(self.committed).filter(|(_, mark)| *mark != Mark::Eof).count()
    }
}
