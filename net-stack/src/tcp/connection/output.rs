//! What is sent, and when (RFC 9293 §3.8): data that was lost, new data as windows allow, acknowledgements.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Connection, Fin, Phase, Segment};
use crate::tcp::recovery::Repair;
use crate::tcp::seq::Seq;
use crate::wire::tcp::Repr;

/// Segments at least this long are sent as pieces of the buffer lie; shorter ones are filled up.
const LARGE: usize = 16 << 10;

impl Connection {
    /// Our clock, milliseconds.
    pub(super) fn clock(&self, now: u64) -> u32 {
        ((now / 1_000_000) as u32).wrapping_add(self.path.clock_offset)
    }

    /// The header of a segment that is sent now, starting at `seq`.
    fn header(&mut self, seq: Seq, now: u64) -> Repr {
        let window = self.promise();
        self.counts.segments_out = self.counts.segments_out.wrapping_add(1);
        self.unacknowledged = 0;
        self.timers.acknowledge = None;
        self.last_sent = now;
        let has_clock = self.path.timestamps.is_some();
        let mut repr = Repr {
            from: self.local.port(),
            to: self.remote.port(),
            seq,
            ack: Some(self.rcv_nxt),
            window,
            timestamps: has_clock.then(|| (self.clock(now), self.recent_clock)),
            ..Repr::default()
        };
        if self.path.sack && (self.duplicate.is_some() || !self.waiting.is_empty()) {
            let room = Repr::room_for_sacks(has_clock);
            let duplicate = self.duplicate.take();
            if let Some(duplicate) = duplicate {
                repr.sacks.push(duplicate);
            }
            let room = room - usize::from(duplicate.is_some());
            for block in self.waiting.sacks(room).as_slice() {
                repr.sacks.push(*block);
            }
        }
        repr
    }

    pub(crate) fn acknowledge(&mut self, now: u64, out: &mut Vec<Segment>) {
        let header = self.header(self.snd_nxt, now);
        out.push((header, Bytes::new()));
    }

    /// The reset that ends it from here.
    pub(crate) fn reset(&mut self, now: u64, out: &mut Vec<Segment>) {
        let header = Repr { rst: true, ..self.header(self.snd_nxt, now) };
        out.push((header, Bytes::new()));
    }

    /// A segment without data that makes the peer answer (RFC 9293 §3.8.4).
    pub(super) fn ask(&mut self, now: u64, out: &mut Vec<Segment>) {
        let header = self.header(self.snd_una.add(u32::MAX), now);
        out.push((header, Bytes::new()));
    }

    /// Sends what the windows allow: what was lost, then what is new, then FIN if it is time.
    pub(crate) fn transmit(&mut self, now: u64, out: &mut Vec<Segment>) {
        if self.sent.is_empty() && !self.path.lossless {
            let idle = now.saturating_sub(self.last_sent);
            if idle > self.rtt.timeout() && self.unsent() > 0 {
                self.congestion.restart();
            }
        }
        self.send_lost(now, out);
        if !matches!(self.fin, Fin::Sent | Fin::Acked) {
            while self.send_next(now, out) {}
            self.send_fin(now, out);
        }
        self.rearm(now);
    }

    /// Bytes that congestion leaves.
    fn allowance(&self) -> usize {
        if self.path.lossless {
            return usize::MAX;
        }
        self.congestion.window.saturating_sub(self.sent.flying())
    }

    fn send_lost(&mut self, now: u64, out: &mut Vec<Segment>) {
        while let Some((index, sent)) = self.sent.first_lost() {
            // After a timeout at least one segment goes.
            if self.allowance() < self.segment_len() && self.sent.flying() > 0 {
                self.is_limited = true;
                return;
            }
            self.send_again(index, sent.start, sent.end, now, out);
        }
    }

    /// Sends a segment, or its first part, again.
    pub(super) fn send_again(
        &mut self,
        index: usize,
        start: Seq,
        end: Seq,
        now: u64,
        out: &mut Vec<Segment>,
    ) {
        let offset = start.since(self.snd_una) as usize;
        let most = (end.since(start) as usize).min(self.segment_len());
        let payload = self.send.gather(offset, most);
        let data = payload.len();
        let header = self.header(start, now);
        let fin = data == 0 && self.fin == Fin::Sent && start.add(1) == self.snd_nxt;
        let length = data + usize::from(fin);
        self.sent.resent(index, length.max(1), now);
        self.reduction.sent += length;
        self.counts.resent = self.counts.resent.wrapping_add(1);
        self.counts.bytes_resent = self.counts.bytes_resent.wrapping_add(data as u64);
        let urgent = self.urgent_pointer(start);
        out.push((Repr { psh: data > 0, fin, urgent, ..header }, payload));
    }

    /// Sends one new segment, if it may; false when there is no more to be sent now.
    fn send_next(&mut self, now: u64, out: &mut Vec<Segment>) -> bool {
        let (flight, unsent) = (self.flight(), self.unsent());
        if unsent == 0 {
            return false;
        }
        let room = (self.snd_wnd as usize).saturating_sub(flight);
        let full = self.segment_len();
        let length = unsent.min(room).min(full);
        if length == 0 {
            return false;
        }
        if self.allowance() < length && self.sent.flying() > 0 {
            self.is_limited = true;
            return false;
        }
        if length < full && !self.may_send_small(length, unsent, flight) {
            return false;
        }
        self.send_new(length, now, out);
        true
    }

    /// Whether a segment that is not full may go (RFC 9293 §3.7.4, §3.8.6.2.1).
    fn may_send_small(&self, length: usize, unsent: usize, flight: usize) -> bool {
        if self.path.lossless && !self.choices.cork {
            return true;
        }
        // The peer's window is the limit: only if it is a large part of it.
        if length < unsent {
            return length >= self.snd_wnd_max as usize / 2;
        }
        let is_last = self.fin == Fin::Queued;
        let urgent = self.snd_urgent.is_some_and(|end| self.snd_nxt.before(end));
        is_last || urgent || (!self.choices.cork && (self.choices.no_delay || flight == 0))
    }

    pub(super) fn send_new(&mut self, length: usize, now: u64, out: &mut Vec<Segment>) {
        let flight = self.flight();
        let payload = if length >= LARGE {
            self.send.slice(flight, length)
        } else {
            self.send.gather(flight, length)
        };
        let start = self.snd_nxt;
        let end = start.add(payload.len() as u32);
        let urgent = self.urgent_pointer(start);
        let psh = flight + payload.len() == self.send.len() || self.path.lossless;
        let header = Repr { psh, urgent, ..self.header(start, now) };
        self.snd_nxt = end;
        self.sent.push(start, end, now);
        self.reduction.sent += payload.len();
        out.push((header, payload));
    }

    fn send_fin(&mut self, now: u64, out: &mut Vec<Segment>) {
        if self.fin != Fin::Queued || self.unsent() > 0 {
            return;
        }
        let start = self.snd_nxt;
        // A last segment that is about to go takes it along.
        match out.last_mut() {
            Some((header, payload))
                if !payload.is_empty() && header.seq.add(payload.len() as u32) == start =>
            {
                header.fin = true;
            }
            _ => {
                let header = Repr { fin: true, ..self.header(start, now) };
                out.push((header, Bytes::new()));
            }
        }
        self.snd_nxt = start.add(1);
        self.sent.push(start, self.snd_nxt, now);
        self.fin = Fin::Sent;
    }

    /// No more data will be put into the send buffer.
    pub(crate) fn finish(&mut self, now: u64, out: &mut Vec<Segment>) {
        if self.fin != Fin::None {
            return;
        }
        self.fin = Fin::Queued;
        self.phase = match self.phase {
            Phase::Established => Phase::FinWait1,
            Phase::CloseWait => Phase::LastAck,
            other => other,
        };
        self.transmit(now, out);
    }

    /// Nothing that was sent was answered in time: all of it counts as lost (RFC 5681 §3.1, RFC 6298 §5).
    pub(super) fn begin_again(&mut self, now: u64, out: &mut Vec<Segment>) {
        self.rtt.back_off();
        if self.repair == Repair::None {
            self.congestion.lost();
        }
        self.sent.mark_all_lost(true);
        self.congestion.collapse();
        self.repair = Repair::Timeout(self.snd_nxt);
        self.duplicates = 0;
        self.transmit(now, out);
    }
}
