//! What happens when nothing comes: retransmission (RFC 6298), tail loss probes (RFC 8985 §7), window probes
//! (RFC 9293 §3.8.6.1), delayed acknowledgements, keepalive (RFC 1122 §4.2.3.6), and the end of what nobody holds.

use alloc::vec::Vec;

use super::{Connection, Outcome, Phase, Segment};
use crate::tcp::recovery::Repair;
use crate::tcp::rtt;

/// How long an acknowledgement is held back (`TCP_DELACK_MIN`).
const DELAY: u64 = 40_000_000;
/// A probe for a single segment waits for an acknowledgement that is held back.
const PEER_DELAY: u64 = 200_000_000;
/// Shortest time before a probe.
const PROBE_MINIMUM: u64 = 2_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Retransmit,
    /// The end of what was sent may be lost: one segment brings an answer.
    Probe,
}

/// Moments of the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    retransmit: Option<(u64, Kind)>,
    /// When what is overdue counts as lost.
    pub(super) reorder: Option<u64>,
    pub(super) acknowledge: Option<u64>,
    pub(super) persist: Option<u64>,
    keepalive: Option<u64>,
    abandoned: Option<u64>,
    /// How often something was tried in vain.
    tries: u32,
    questions: u32,
    /// Since when.
    stalled: Option<u64>,
    probed: bool,
}

impl Timers {
    /// Something new was acknowledged.
    pub(super) fn progress(&mut self) {
        self.retransmit = None;
        (self.tries, self.stalled, self.probed) = (0, None, false);
    }

    /// What a probe sent again had arrived before.
    pub(super) fn probe_was_needless(&mut self) {
        self.probed = false;
    }

    fn earliest(&self) -> Option<u64> {
        let retransmit = self.retransmit.map(|(at, _)| at);
        [retransmit, self.reorder, self.acknowledge, self.persist, self.keepalive, self.abandoned]
            .into_iter()
            .flatten()
            .min()
    }
}

fn due(timer: Option<u64>, now: u64) -> bool {
    timer.is_some_and(|at| at <= now)
}

impl Connection {
    /// When [`Connection::on_time`] is to be called next.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.timers.earliest()
    }

    /// When the retransmission timer expires; for /proc/net/tcp.
    pub(crate) fn retransmits_at(&self) -> Option<u64> {
        self.timers.retransmit.map(|(at, _)| at)
    }

    /// How often the same was sent in vain.
    pub(crate) const fn tries(&self) -> u32 {
        self.timers.tries
    }

    pub(super) fn delay_acknowledgement(&mut self, now: u64) {
        if !self.path.lossless && self.timers.acknowledge.is_none() {
            self.timers.acknowledge = Some(now + DELAY);
        }
    }

    /// Something was sent or acknowledged.
    pub(super) fn rearm(&mut self, now: u64) {
        if self.path.lossless {
            return;
        }
        if self.sent.is_empty() {
            self.timers.retransmit = None;
            self.timers.reorder = None;
            if self.unsent() > 0 && self.timers.persist.is_none() {
                let wait = self.rtt.timeout() << self.timers.tries.min(16);
                self.timers.persist = Some(now.saturating_add(wait.min(rtt::MAXIMUM)));
                self.timers.stalled.get_or_insert(now);
            }
            return;
        }
        self.timers.persist = None;
        self.timers.stalled.get_or_insert(now);
        if self.timers.retransmit.is_none() {
            self.timers.retransmit = Some(match self.probe_after() {
                Some(wait) => (now + wait, Kind::Probe),
                None => (now + self.rtt.timeout(), Kind::Retransmit),
            });
        }
    }

    /// How long to wait before a probe, if one is to be sent.
    fn probe_after(&self) -> Option<u64> {
        if !self.path.sack || self.repair != Repair::None || self.timers.probed {
            return None;
        }
        let mut wait = self.rtt.smoothed()?.saturating_mul(2).max(PROBE_MINIMUM);
        if self.sent.flying() <= self.segment_len() {
            wait += PEER_DELAY;
        }
        (wait < self.rtt.timeout()).then_some(wait)
    }

    /// The keepalive option has changed, or something has come.
    pub(super) fn rearm_keepalive(&mut self, now: u64) {
        self.timers.questions = 0;
        self.timers.keepalive = self.choices.keepalive.map(|(idle, ..)| now.saturating_add(idle));
    }

    /// Nobody holds it and it waits for the peer's end: not for ever.
    pub(crate) fn abandon(&mut self, now: u64) {
        if self.phase == Phase::FinWait2 {
            self.timers.abandoned = Some(now.saturating_add(self.choices.fin_timeout));
        }
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, now: u64, out: &mut Vec<Segment>) -> Outcome {
        if due(self.timers.abandoned, now) {
            return Outcome::Closed;
        }
        if due(self.timers.acknowledge, now) {
            self.acknowledge(now, out);
        }
        if due(self.timers.reorder, now) {
            self.timers.reorder = None;
            self.mark_lost(now);
            self.begin_repair();
            self.adjust_window(0, 0, true, now);
            self.transmit(now, out);
        }
        let over = match self.timers.retransmit {
            Some((at, kind)) if at <= now => self.on_silence(kind, now, out),
            _ if due(self.timers.persist, now) => self.on_closed_window(now, out),
            _ => false,
        };
        if over || self.on_idle(now, out) { Outcome::TimedOut } else { Outcome::Open }
    }

    /// Whether the peer has been silent for longer than the owner bears.
    fn is_hopeless(&self, now: u64) -> bool {
        let waited = now.saturating_sub(self.timers.stalled.unwrap_or(now));
        match self.choices.user_timeout {
            0 => self.timers.tries > self.choices.retries,
            patience => waited >= patience,
        }
    }

    fn on_silence(&mut self, kind: Kind, now: u64, out: &mut Vec<Segment>) -> bool {
        self.timers.retransmit = None;
        if kind == Kind::Probe {
            self.probe(now, out);
            self.rearm(now);
            return false;
        }
        self.timers.tries += 1;
        if self.is_hopeless(now) {
            return true;
        }
        self.timers.reorder = None;
        self.begin_again(now, out);
        false
    }

    /// Sends something new, or the last segment again.
    fn probe(&mut self, now: u64, out: &mut Vec<Segment>) {
        self.timers.probed = true;
        let room = (self.snd_wnd as usize).saturating_sub(self.flight());
        let length = self.unsent().min(room).min(self.segment_len());
        if length > 0 {
            self.send_new(length, now, out);
        } else if let Some((index, last)) = self.sent.last() {
            self.send_again(index, last.start, last.end, now, out);
        }
    }

    /// Asks a peer whose window is closed whether it still is.
    fn on_closed_window(&mut self, now: u64, out: &mut Vec<Segment>) -> bool {
        self.timers.persist = None;
        self.timers.tries += 1;
        if self.choices.user_timeout > 0 && self.is_hopeless(now) {
            return true;
        }
        self.ask(now, out);
        self.rearm(now);
        false
    }

    /// Asks a peer that has been silent whether it is still there.
    fn on_idle(&mut self, now: u64, out: &mut Vec<Segment>) -> bool {
        if !due(self.timers.keepalive, now) {
            return false;
        }
        let Some((idle, interval, count)) = self.choices.keepalive else { return false };
        let quiet_until = self.last_received.saturating_add(idle);
        if now < quiet_until {
            (self.timers.keepalive, self.timers.questions) = (Some(quiet_until), 0);
            return false;
        }
        if self.timers.questions >= count {
            return true;
        }
        self.timers.questions += 1;
        self.timers.keepalive = Some(now.saturating_add(interval));
        self.ask(now, out);
        false
    }
}
