//! Segments that come (RFC 9293 §3.10.7.4, RFC 5961, RFC 7323 §5).

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Connection, Fin, Outcome, Phase, Segment};
use crate::tcp::buffer::compact;
use crate::tcp::recovery::{DUPLICATES, Reduction, Repair};
use crate::tcp::sent::Delivered;
use crate::tcp::seq::Seq;
use crate::wire::tcp::Repr;

/// Strange segments are answered no more often than this (`net.ipv4.tcp_invalid_ratelimit`).
const CHALLENGE_INTERVAL: u64 = 500_000_000;

/// What of a segment lies in the window.
struct Accepted {
    start: Seq,
    payload: Bytes,
    fin: bool,
}

/// What a segment's data has done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Nothing,
    /// The next bytes.
    InOrder,
    /// Bytes behind a gap, or bytes that fill one: to be told at once.
    AroundGap,
}

impl Connection {
    /// A segment has come; `orphan` says that nobody will read.
    pub(crate) fn input(
        &mut self,
        header: &Repr,
        payload: Bytes,
        orphan: bool,
        now: u64,
        out: &mut Vec<Segment>,
    ) -> Outcome {
        self.counts.segments_in = self.counts.segments_in.wrapping_add(1);
        if header.rst {
            return self.take_reset(header, now, out);
        }
        let Some(ack) = header.ack else { return Outcome::Open };
        if header.syn {
            self.challenge(now, out);
            return Outcome::Open;
        }
        let Some(accepted) = self.accept(header, payload, now, out) else { return Outcome::Open };
        self.last_received = now;
        self.note_clock(header, &accepted, now);
        let sent_before = out.len();
        if !self.take_ack(ack, header, &accepted, now, out) {
            return Outcome::Open;
        }
        if let Some(outcome) = self.after_ack(orphan, now) {
            return outcome;
        }
        if !accepted.payload.is_empty() && orphan {
            return Outcome::Abort;
        }
        let taken = self.take_data(header, accepted, now);
        let finished = self.waiting.fin == Some(self.rcv_nxt);
        let outcome = if finished { self.take_fin() } else { Outcome::Open };
        self.transmit(now, out);
        if out.len() == sent_before {
            self.answer(taken, finished, now, out);
        }
        outcome
    }

    /// RFC 5961 §3: only a reset at exactly the next byte counts.
    fn take_reset(&mut self, header: &Repr, now: u64, out: &mut Vec<Segment>) -> Outcome {
        if header.seq == self.rcv_nxt {
            return Outcome::Reset;
        }
        if self.rcv_nxt.before(header.seq) && header.seq.before(self.rcv_edge) {
            self.challenge(now, out);
        }
        Outcome::Open
    }

    fn challenge(&mut self, now: u64, out: &mut Vec<Segment>) {
        if now.saturating_sub(self.last_challenge) >= CHALLENGE_INTERVAL {
            self.last_challenge = now;
            self.acknowledge(now, out);
        }
    }

    /// What of a segment is new and in the window; what is not is answered, but an acknowledgement only now and then:
    /// two sides that a stranger has led apart would go on for ever.
    fn accept(
        &mut self,
        header: &Repr,
        payload: Bytes,
        now: u64,
        out: &mut Vec<Segment>,
    ) -> Option<Accepted> {
        let length = payload.len() as u32 + u32::from(header.fin);
        let old_clock = match (self.path.timestamps, header.timestamps) {
            (Some(_), Some((value, _))) => (value.wrapping_sub(self.recent_clock) as i32) < 0,
            _ => false,
        };
        let end = header.seq.add(length);
        let is_old = header.seq.before(self.rcv_nxt) && end.at_or_before(self.rcv_nxt);
        let is_ahead = self.rcv_edge.before(header.seq);
        // The last byte before the next one, once more, may be a question whether we are still here.
        if old_clock || is_ahead || (is_old && (length > 0 || header.seq != self.rcv_nxt)) {
            if length == 0 {
                self.challenge(now, out);
            } else {
                if is_old && self.path.sack {
                    self.duplicate = Some((header.seq, end));
                }
                self.acknowledge(now, out);
            }
            return None;
        }
        let skip = if header.seq.before(self.rcv_nxt) { self.rcv_nxt.since(header.seq) } else { 0 };
        let start = header.seq.add(skip);
        let whole = payload.len();
        let mut payload = payload.slice((skip as usize).min(whole)..);
        let room = self.rcv_edge.since(start) as usize;
        let fits = payload.len() <= room;
        if !fits {
            payload.truncate(room);
        }
        Some(Accepted { start, payload: compact(payload, whole), fin: header.fin && fits })
    }

    fn note_clock(&mut self, header: &Repr, accepted: &Accepted, now: u64) {
        if self.path.lossless {
            return;
        }
        if self.path.timestamps.is_none() {
            if !accepted.payload.is_empty() {
                self.tuning.guess(self.rcv_nxt, self.rcv_edge, now);
            }
            return;
        }
        let Some((value, echo)) = header.timestamps else { return };
        if header.seq.at_or_before(self.rcv_nxt) {
            self.recent_clock = value;
        }
        if !accepted.payload.is_empty() && echo != 0 {
            let took = u64::from(self.clock(now).wrapping_sub(echo).max(1));
            if took < 60_000 {
                self.tuning.measured(took * 1_000_000);
            }
        }
    }

    /// The acknowledgement and window of a segment; false if it acknowledges what was never sent.
    fn take_ack(
        &mut self,
        ack: Seq,
        header: &Repr,
        accepted: &Accepted,
        now: u64,
        out: &mut Vec<Segment>,
    ) -> bool {
        if self.snd_nxt.before(ack) {
            self.challenge(now, out);
            return false;
        }
        if ack.before(self.snd_una) {
            return true;
        }
        let window = u32::from(header.window) << self.path.snd_shift;
        let told = (header.seq, ack);
        let is_newer = self.window_told.0.before(header.seq)
            || (self.window_told.0 == header.seq && self.window_told.1.at_or_before(ack));
        let changed = is_newer && window != self.snd_wnd;
        if is_newer {
            (self.snd_wnd, self.window_told) = (window, told);
            self.snd_wnd_max = self.snd_wnd_max.max(window);
            if window > 0 {
                self.timers.persist = None;
            }
        }
        let progress = ack.since(self.snd_una) as usize;
        let is_duplicate = progress == 0
            && accepted.payload.is_empty()
            && !accepted.fin
            && !changed
            && self.flight() > 0;
        let mut delivered = Delivered::default();
        self.sent.acknowledge(ack, &mut delivered);
        self.take_sacks(header, ack, &mut delivered);
        self.move_on(ack, progress);
        self.measure(&delivered, header, progress, now);
        if !self.path.lossless {
            self.detect_loss(&mut delivered, progress, is_duplicate, now);
        }
        true
    }

    fn take_sacks(&mut self, header: &Repr, ack: Seq, delivered: &mut Delivered) {
        if !self.path.sack {
            return;
        }
        for (start, end) in header.sacks.as_slice() {
            let in_flight = ack.before(*end)
                && self.snd_una.at_or_before(*start)
                && end.at_or_before(self.snd_nxt);
            if start.before(*end) && in_flight {
                self.sent.sack(*start, *end, delivered);
            } else if end.at_or_before(ack) {
                self.timers.probe_was_needless();
            }
        }
    }

    /// The peer has everything before `ack`.
    fn move_on(&mut self, ack: Seq, progress: usize) {
        if progress == 0 {
            return;
        }
        let data = progress.min(self.send.len());
        self.send.advance(data);
        self.counts.bytes_acked = self.counts.bytes_acked.wrapping_add(data as u64);
        self.snd_una = ack;
        if self.snd_urgent.is_some_and(|end| end.at_or_before(ack)) {
            self.snd_urgent = None;
        }
        if self.fin == Fin::Sent && ack == self.snd_nxt {
            self.fin = Fin::Acked;
        }
        self.timers.progress();
        self.rtt.forgive();
    }

    fn measure(&mut self, delivered: &Delivered, header: &Repr, progress: usize, now: u64) {
        if self.path.lossless {
            return;
        }
        if let Some(sample) = delivered.sample {
            self.rtt.measure(now.saturating_sub(sample), now);
        } else if let Some((_, echo)) = header.timestamps
            && self.path.timestamps.is_some()
            && progress > 0
            && echo != 0
        {
            let took = u64::from(self.clock(now).wrapping_sub(echo));
            if took < 60_000 {
                self.rtt.measure(took.max(1) * 1_000_000, now);
            }
        }
    }

    /// Finds out what was lost, and how much may be sent for it.
    fn detect_loss(
        &mut self,
        delivered: &mut Delivered,
        progress: usize,
        is_duplicate: bool,
        now: u64,
    ) {
        let lost_before = self.sent.lost();
        self.duplicates = match (progress, is_duplicate) {
            (1.., _) => 0,
            (_, true) => self.duplicates + 1,
            _ => self.duplicates,
        };
        if self.path.sack {
            self.rack.update(delivered, &self.rtt, now);
            self.mark_lost(now);
        } else {
            if is_duplicate {
                delivered.bytes += self.segment_len();
            }
            let partial = progress > 0 && matches!(self.repair, Repair::Fast(_));
            if self.duplicates == DUPLICATES || partial {
                self.sent.mark_first_lost();
            }
        }
        self.end_repair(progress);
        self.begin_repair();
        let more_lost = self.sent.lost() > lost_before;
        self.adjust_window(delivered.bytes, progress, more_lost, now);
    }

    /// RACK: what was sent well before something that is delivered is lost.
    pub(super) fn mark_lost(&mut self, now: u64) {
        let impatient = self.repair != Repair::None || self.sent.sacked_segments() >= DUPLICATES;
        if let Some((newest, after)) = self.rack.patience(impatient, &self.rtt) {
            self.timers.reorder = self.sent.mark_lost(newest, after, now);
        }
    }

    pub(super) fn begin_repair(&mut self) {
        if self.repair == Repair::None && self.sent.lost() > 0 {
            self.reduction = Reduction::begin(self.flight());
            self.congestion.lost();
            self.repair = Repair::Fast(self.snd_nxt);
        }
    }

    fn end_repair(&mut self, progress: usize) {
        let (Repair::Fast(until) | Repair::Timeout(until)) = self.repair else { return };
        if progress == 0 || self.snd_una.before(until) {
            return;
        }
        if matches!(self.repair, Repair::Fast(_)) {
            self.congestion.window = self.congestion.threshold;
        }
        self.repair = Repair::None;
        self.duplicates = 0;
    }

    /// How much may be under way from now on.
    pub(super) fn adjust_window(
        &mut self,
        delivered: usize,
        progress: usize,
        more_lost: bool,
        now: u64,
    ) {
        if let Repair::Fast(_) = self.repair {
            let (pipe, threshold) = (self.sent.flying(), self.congestion.threshold);
            let unit = self.segment_len();
            let steady = progress > 0 && !more_lost;
            let allowed = self.reduction.allows(delivered, pipe, threshold, unit, steady);
            self.congestion.window = pipe + allowed;
        } else if progress > 0 && core::mem::take(&mut self.is_limited) {
            let rtt = self.rtt.smoothed().unwrap_or(0);
            self.congestion.acknowledged(progress, rtt, now);
            self.grow_send_buffer();
        }
    }

    /// What the acknowledgement of our FIN changes.
    fn after_ack(&mut self, orphan: bool, now: u64) -> Option<Outcome> {
        match (self.phase, self.fin) {
            (Phase::FinWait1, Fin::Acked) => {
                self.phase = Phase::FinWait2;
                if orphan {
                    self.abandon(now);
                }
                None
            }
            (Phase::Closing, Fin::Acked) => Some(Outcome::TimeWait),
            (Phase::LastAck, Fin::Acked) => Some(Outcome::Closed),
            _ => None,
        }
    }

    /// Takes the data, in order or not.
    fn take_data(&mut self, header: &Repr, accepted: Accepted, now: u64) -> Taken {
        let takes = matches!(self.phase, Phase::Established | Phase::FinWait1 | Phase::FinWait2);
        if !takes {
            return Taken::Nothing;
        }
        let Accepted { start, payload, fin } = accepted;
        let end = start.add(payload.len() as u32);
        self.note_urgent(header, start, &payload);
        if fin {
            self.waiting.fin = Some(end);
        }
        if start != self.rcv_nxt {
            if !payload.is_empty() {
                self.waiting.insert(start, payload);
            }
            return Taken::AroundGap;
        }
        if payload.is_empty() {
            return Taken::Nothing;
        }
        self.unacknowledged = self.unacknowledged.saturating_add(payload.len());
        self.keep(payload);
        if self.waiting.is_empty() {
            self.delay_acknowledgement(now);
            return Taken::InOrder;
        }
        for piece in self.waiting.take(self.rcv_nxt) {
            self.keep(piece);
        }
        Taken::AroundGap
    }

    /// The next bytes for the reader.
    fn keep(&mut self, payload: Bytes) {
        self.rcv_nxt = self.rcv_nxt.add(payload.len() as u32);
        self.counts.bytes_in = self.counts.bytes_in.wrapping_add(payload.len() as u64);
        self.receive.push(payload);
    }

    fn take_fin(&mut self) -> Outcome {
        self.waiting.fin = None;
        self.rcv_nxt = self.rcv_nxt.add(1);
        match self.phase {
            Phase::Established => self.phase = Phase::CloseWait,
            Phase::FinWait1 => self.phase = Phase::Closing,
            Phase::FinWait2 => return Outcome::TimeWait,
            _ => {}
        }
        Outcome::Open
    }

    /// Acknowledges what has come, at once or by the timer (RFC 9293 §3.8.6.3).
    fn answer(&mut self, taken: Taken, finished: bool, now: u64, out: &mut Vec<Segment>) {
        let at_once = match taken {
            _ if finished => true,
            Taken::Nothing => false,
            Taken::AroundGap => true,
            Taken::InOrder if self.path.lossless => true,
            Taken::InOrder => {
                self.quick = self.quick.saturating_sub(1);
                self.quick > 0 || self.unacknowledged >= 2 * self.segment_len()
            }
        };
        if at_once {
            self.acknowledge(now, out);
        }
    }
}
