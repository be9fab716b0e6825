//! A synchronized connection: sequence variables, buffers and the states behind the handshake (RFC 9293 §3.10).
//!
//! The link is lossless and in order, so what is sent arrives: there are no retransmission or probe timers, and
//! a segment that does not start at the next expected byte is old and only acknowledged.

use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;
use chitin_abi::{Errno, Result};

use super::buffer::Buffer;
use super::seq::Seq;
use crate::wire::tcp::Repr;

/// A segment with its data.
pub(crate) type Segment = (Repr, Bytes);

/// Which states a connection goes through once both sides know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Established,
    /// We have sent FIN.
    FinWait1,
    /// It is acknowledged; the peer has not sent its own.
    FinWait2,
    /// The peer has sent FIN.
    CloseWait,
    /// Both have, ours is not acknowledged.
    Closing,
    /// Both have, the peer first.
    LastAck,
}

/// What a segment has made of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It goes on.
    Open,
    /// The peer has reset it.
    Reset,
    /// It is over.
    Closed,
    /// It is over, and its addresses rest for a while.
    TimeWait,
    /// Data came for a connection that nobody reads any more: it is reset from here.
    Abort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fin {
    /// More may be sent.
    None,
    /// To be sent behind the data.
    Queued,
    Sent,
    Acked,
}

/// An urgent byte on its way to the reader.
#[derive(Clone, Copy, Debug)]
struct Urgent {
    at: Seq,
    /// Once it has come.
    byte: Option<u8>,
    /// It has been read out of band.
    taken: bool,
}

/// What is counted for `TCP_INFO`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) segments_in: u32,
    pub(crate) segments_out: u32,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_acked: u64,
}

/// Transmission control block of a synchronized connection.
pub(crate) struct Connection {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) phase: Phase,
    pub(crate) send: Buffer,
    pub(crate) receive: Buffer,
    pub(crate) send_limit: usize,
    pub(crate) receive_limit: usize,
    pub(crate) mss: usize,
    pub(crate) counts: Counts,
    pub(crate) snd_una: Seq,
    pub(crate) snd_nxt: Seq,
    pub(crate) snd_wnd: u32,
    pub(crate) snd_shift: u8,
    pub(crate) rcv_nxt: Seq,
    pub(crate) rcv_shift: u8,
    /// Right edge of the window that the peer knows of.
    rcv_edge: Seq,
    /// Where the urgent data that we send ends, until it is sent.
    snd_urgent: Option<Seq>,
    /// The urgent byte that the peer has announced.
    urgent: Option<Urgent>,
    fin: Fin,
}

/// What the handshake has found out.
pub(crate) struct Opening {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) snd_nxt: Seq,
    pub(crate) rcv_nxt: Seq,
    pub(crate) snd_wnd: u32,
    pub(crate) snd_shift: u8,
    pub(crate) rcv_shift: u8,
    pub(crate) mss: usize,
    pub(crate) send_limit: usize,
    pub(crate) receive_limit: usize,
}

impl Connection {
    pub(crate) fn new(opening: &Opening) -> Self {
        Self {
            local: opening.local,
            remote: opening.remote,
            phase: Phase::Established,
            send: Buffer::default(),
            receive: Buffer::default(),
            send_limit: opening.send_limit,
            receive_limit: opening.receive_limit,
            mss: opening.mss,
            counts: Counts::default(),
            snd_una: opening.snd_nxt,
            snd_nxt: opening.snd_nxt,
            snd_wnd: opening.snd_wnd,
            snd_shift: opening.snd_shift,
            rcv_nxt: opening.rcv_nxt,
            rcv_shift: opening.rcv_shift,
            // The handshake has told an unscaled window.
            rcv_edge: opening.rcv_nxt.add(opening.receive_limit.min(usize::from(u16::MAX)) as u32),
            snd_urgent: None,
            urgent: None,
            fin: Fin::None,
        }
    }

    /// The last of `count` bytes that are about to be put into the send buffer is urgent.
    pub(crate) fn mark_urgent(&mut self, count: usize) {
        let end = self.send.len().saturating_add(count);
        self.snd_urgent = Some(self.snd_una.add(end as u32));
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

    fn note_urgent(&mut self, header: &Repr, payload: &[u8]) {
        if let Some(pointer) = header.urgent.filter(|pointer| *pointer > 0) {
            let at = header.seq.add(u32::from(pointer) - 1);
            if self.urgent.is_none_or(|known| known.at.before(at)) {
                self.urgent = Some(Urgent { at, byte: None, taken: false });
            }
        }
        if let Some(urgent) = &mut self.urgent
            && urgent.byte.is_none()
            && header.seq.at_or_before(urgent.at)
        {
            urgent.byte = payload.get(urgent.at.since(header.seq) as usize).copied();
        }
    }

    /// Bytes that may be put into the send buffer.
    pub(crate) fn send_room(&self) -> usize {
        self.send_limit.saturating_sub(self.send.len())
    }

    /// Whether the peer has said that it sends no more.
    pub(crate) const fn peer_finished(&self) -> bool {
        matches!(self.phase, Phase::CloseWait | Phase::Closing | Phase::LastAck)
    }

    /// Bytes that the peer may send now.
    fn window(&self) -> u32 {
        let free = self.receive_limit.saturating_sub(self.receive.len());
        let free = u32::try_from(free).unwrap_or(u32::MAX >> 1);
        let promised = self.rcv_edge.since(self.rcv_nxt);
        // A window is never taken back.
        if self.rcv_nxt.at_or_before(self.rcv_edge) { free.max(promised) } else { free }
    }

    /// The header of a segment that is sent now.
    fn header(&mut self) -> Repr {
        let window = u16::try_from(self.window() >> self.rcv_shift).unwrap_or(u16::MAX);
        let edge = self.rcv_nxt.add(u32::from(window) << self.rcv_shift);
        if self.rcv_edge.before(edge) {
            self.rcv_edge = edge;
        }
        self.counts.segments_out = self.counts.segments_out.wrapping_add(1);
        Repr {
            from: self.local.port(),
            to: self.remote.port(),
            seq: self.snd_nxt,
            ack: Some(self.rcv_nxt),
            window,
            ..Repr::default()
        }
    }

    pub(crate) fn acknowledge(&mut self, out: &mut Vec<Segment>) {
        let header = self.header();
        out.push((header, Bytes::new()));
    }

    /// The reset that ends it from here.
    pub(crate) fn reset(&mut self, out: &mut Vec<Segment>) {
        let header = Repr { rst: true, ..self.header() };
        out.push((header, Bytes::new()));
    }

    /// Sends what the window allows, then FIN if it is time.
    pub(crate) fn transmit(&mut self, out: &mut Vec<Segment>) {
        if matches!(self.fin, Fin::Sent | Fin::Acked) {
            return;
        }
        loop {
            let flight = self.snd_nxt.since(self.snd_una) as usize;
            let room = (self.snd_wnd as usize).saturating_sub(flight);
            let payload = self.send.slice(flight, room.min(self.mss));
            if payload.is_empty() || room == 0 {
                break;
            }
            let urgent = self.snd_urgent.filter(|end| self.snd_nxt.before(*end));
            let urgent =
                urgent.map(|end| u16::try_from(end.since(self.snd_nxt)).unwrap_or(u16::MAX));
            let header = Repr { psh: true, urgent, ..self.header() };
            self.snd_nxt = self.snd_nxt.add(payload.len() as u32);
            out.push((header, payload));
        }
        let all_sent = self.snd_nxt.since(self.snd_una) as usize == self.send.len();
        if self.fin == Fin::Queued && all_sent {
            let header = Repr { fin: true, ..self.header() };
            self.snd_nxt = self.snd_nxt.add(1);
            self.fin = Fin::Sent;
            out.push((header, Bytes::new()));
        }
    }

    /// No more data will be put into the send buffer.
    pub(crate) fn finish(&mut self, out: &mut Vec<Segment>) {
        if self.fin != Fin::None {
            return;
        }
        self.fin = Fin::Queued;
        self.phase = match self.phase {
            Phase::Established => Phase::FinWait1,
            Phase::CloseWait => Phase::LastAck,
            other => other,
        };
        self.transmit(out);
    }

    /// The reader has taken data: tells the peer of a window that has grown enough to be worth it.
    pub(crate) fn data_taken(&mut self, out: &mut Vec<Segment>) {
        let known = self.rcv_edge.since(self.rcv_nxt);
        let now = u32::from(u16::try_from(self.window() >> self.rcv_shift).unwrap_or(u16::MAX))
            << self.rcv_shift;
        let worth = (self.receive_limit / 2).min(self.mss * 2).max(1);
        if now.saturating_sub(known) as usize >= worth && !self.peer_finished() {
            self.acknowledge(out);
        }
    }

    /// A segment has come; `orphan` says that nobody will read.
    pub(crate) fn input(
        &mut self,
        header: &Repr,
        payload: Bytes,
        orphan: bool,
        out: &mut Vec<Segment>,
    ) -> Outcome {
        self.counts.segments_in = self.counts.segments_in.wrapping_add(1);
        if header.rst {
            return if header.seq == self.rcv_nxt { Outcome::Reset } else { Outcome::Open };
        }
        let Some(ack) = header.ack else { return Outcome::Open };
        if header.syn || header.seq != self.rcv_nxt {
            // An acknowledgement is not answered by another: two sides that a stranger has led apart would go on for
            // ever.
            if header.syn || header.fin || !payload.is_empty() {
                self.acknowledge(out);
            }
            return Outcome::Open;
        }
        self.take_ack(ack, header.window);
        if let Some(outcome) = self.after_ack() {
            return outcome;
        }
        if !payload.is_empty() && orphan {
            return Outcome::Abort;
        }
        let advanced = self.take_data(header, payload);
        let outcome = if advanced && header.fin { self.take_fin() } else { Outcome::Open };
        let sent_before = out.len();
        self.transmit(out);
        if advanced && out.len() == sent_before {
            self.acknowledge(out);
        }
        outcome
    }

    fn take_ack(&mut self, ack: Seq, window: u16) {
        if self.snd_nxt.before(ack) || ack.before(self.snd_una) {
            return;
        }
        let acked = ack.since(self.snd_una) as usize;
        let data = acked.min(self.send.len());
        self.send.advance(data);
        self.counts.bytes_acked = self.counts.bytes_acked.wrapping_add(data as u64);
        self.snd_una = ack;
        self.snd_wnd = u32::from(window) << self.snd_shift;
        if self.fin == Fin::Sent && ack == self.snd_nxt {
            self.fin = Fin::Acked;
        }
    }

    /// What the acknowledgement of our FIN changes.
    fn after_ack(&mut self) -> Option<Outcome> {
        match (self.phase, self.fin) {
            (Phase::FinWait1, Fin::Acked) => {
                self.phase = Phase::FinWait2;
                None
            }
            (Phase::Closing, Fin::Acked) => Some(Outcome::TimeWait),
            (Phase::LastAck, Fin::Acked) => Some(Outcome::Closed),
            _ => None,
        }
    }

    /// Whether the segment moves the receive sequence.
    fn take_data(&mut self, header: &Repr, payload: Bytes) -> bool {
        let takes = matches!(self.phase, Phase::Established | Phase::FinWait1 | Phase::FinWait2);
        let fits = payload.len() <= self.rcv_edge.since(self.rcv_nxt) as usize;
        if !takes || (!payload.is_empty() && !fits) {
            return false;
        }
        let advanced = !payload.is_empty() || header.fin;
        self.note_urgent(header, &payload);
        self.rcv_nxt = self.rcv_nxt.add(payload.len() as u32);
        self.counts.bytes_in = self.counts.bytes_in.wrapping_add(payload.len() as u64);
        self.receive.push(payload);
        advanced
    }

    fn take_fin(&mut self) -> Outcome {
        self.rcv_nxt = self.rcv_nxt.add(1);
        match self.phase {
            Phase::Established => self.phase = Phase::CloseWait,
            Phase::FinWait1 => self.phase = Phase::Closing,
            Phase::FinWait2 => return Outcome::TimeWait,
            _ => {}
        }
        Outcome::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_that_were_led_apart_do_not_answer_each_other_for_ever() {
        let end: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let (snd_nxt, rcv_nxt) = (Seq(100), Seq(200));
        let mut connection = Connection::new(&Opening {
            local: end,
            remote: end,
            snd_nxt,
            rcv_nxt,
            snd_wnd: 1000,
            snd_shift: 0,
            rcv_shift: 0,
            mss: 500,
            send_limit: 1000,
            receive_limit: 1000,
        });
        let mut input = |seq: Seq, payload: &'static [u8]| {
            let header = Repr { seq, ack: Some(snd_nxt), window: 1000, ..Repr::default() };
            let mut out = Vec::new();
            let outcome = connection.input(&header, Bytes::from_static(payload), false, &mut out);
            assert_eq!(outcome, Outcome::Open);
            out.len()
        };
        assert_eq!(input(rcv_nxt, b"forged"), 1);
        // Now the true peer is behind.
        assert_eq!(input(rcv_nxt, b"x"), 1, "data is acknowledged");
        assert_eq!(input(rcv_nxt, b""), 0, "an acknowledgement is not");
    }
}
