//! Urgent data as `MSG_OOB` shows it: one byte, and a mark in the stream (RFC 6093, `tcp(7)`).

use chitin_abi::{Errno, Result};

use super::Connection;
use crate::tcp::seq::Seq;
use crate::wire::tcp::Repr;

/// An urgent byte on its way to the reader.
#[derive(Clone, Copy, Debug)]
pub(super) struct Urgent {
    at: Seq,
    /// Once it has come.
    byte: Option<u8>,
    /// It has been read out of band.
    taken: bool,
}

impl Connection {
    /// The last of `count` bytes that are about to be put into the send buffer is urgent.
    pub(crate) fn mark_urgent(&mut self, count: usize) {
        let end = self.send.len().saturating_add(count);
        self.snd_urgent = Some(self.snd_una.add(end as u32));
    }

    /// How far behind `from` the urgent data that we send ends.
    pub(super) fn urgent_pointer(&self, from: Seq) -> Option<u16> {
        let end = self.snd_urgent.filter(|end| from.before(*end))?;
        Some(u16::try_from(end.since(from)).unwrap_or(u16::MAX))
    }

    /// Whether there is an urgent byte to be taken.
    pub(crate) fn has_urgent(&self) -> bool {
        self.urgent.is_some_and(|urgent| !urgent.taken) && self.urgent_offset().is_some()
    }

    pub(crate) fn take_urgent(&mut self, peek: bool) -> Result<Option<u8>> {
        let over = self.peer_finished();
        self.urgent_offset().ok_or(Errno::EINVAL)?;
        let urgent = self.urgent.as_mut().filter(|urgent| !urgent.taken).ok_or(Errno::EINVAL)?;
        match urgent.byte {
            Some(byte) => {
                urgent.taken = !peek;
                Ok(Some(byte))
            }
            None if over => Ok(None),
            None => Err(Errno::EAGAIN),
        }
    }

    /// How many bytes are to be read before the urgent one.
    pub(crate) fn urgent_offset(&self) -> Option<usize> {
        let next = self.rcv_nxt.add((self.receive.len() as u32).wrapping_neg());
        let urgent = self.urgent?;
        // A FIN that has been counted is no byte.
        let next = if self.peer_finished() { next.add(u32::MAX) } else { next };
        next.at_or_before(urgent.at).then(|| urgent.at.since(next) as usize)
    }

    /// How many bytes one read may take: it stops at the mark, and a read that begins there skips the urgent byte
    /// unless that is `inline`.
    pub(crate) fn before_mark(&mut self, inline: bool, peek: bool) -> usize {
        match self.urgent_offset() {
            Some(0) if !inline && !self.receive.is_empty() && !peek => {
                self.receive.advance(1);
                self.urgent = self.urgent.filter(|urgent| !urgent.taken);
                usize::MAX
            }
            Some(offset) if offset > 0 => offset,
            _ => usize::MAX,
        }
    }

    /// A segment has come that begins at `start`.
    pub(super) fn note_urgent(&mut self, header: &Repr, start: Seq, payload: &[u8]) {
        if let Some(pointer) = header.urgent.filter(|pointer| *pointer > 0) {
            let at = header.seq.add(u32::from(pointer) - 1);
            let is_new = self.urgent.is_none_or(|known| known.at.before(at));
            if is_new && self.rcv_nxt.at_or_before(at) {
                self.urgent = Some(Urgent { at, byte: None, taken: false });
            }
        }
        if let Some(urgent) = &mut self.urgent
            && urgent.byte.is_none()
            && start.at_or_before(urgent.at)
        {
            urgent.byte = payload.get(urgent.at.since(start) as usize).copied();
        }
    }
}
