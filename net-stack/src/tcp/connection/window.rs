//! How much the peer may send: the receive window, and how its size follows the reader (dynamic right-sizing).

use alloc::vec::Vec;

use super::{Connection, Segment};
use crate::tcp::seq::Seq;

/// Largest send buffer that grows by itself (`net.ipv4.tcp_wmem`).
pub(crate) const LARGEST_SEND: usize = 16 << 20;

/// How much the reader takes in a round trip.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuning {
    /// When the measurement began.
    since: u64,
    /// What the reader has taken since.
    taken: usize,
    /// The round trip as a receiver sees it: a window's worth of data.
    round_trip: Option<u64>,
    /// Where that window ends, and when it was told.
    window: (Seq, u64),
}

impl Tuning {
    pub(super) fn new(next: Seq, now: u64) -> Self {
        Self { since: now, taken: 0, round_trip: None, window: (next, now) }
    }

    /// The peer has echoed our clock after so long.
    pub(super) fn measured(&mut self, round_trip: u64) {
        self.round_trip = Some(self.round_trip.map_or(round_trip, |known| {
            if round_trip < known { round_trip } else { (7 * known + round_trip) / 8 }
        }));
    }

    /// Without clocks: data up to `next` has come, and the window ends at `edge`.
    pub(super) fn guess(&mut self, next: Seq, edge: Seq, now: u64) {
        if self.window.0.at_or_before(next) {
            let took = now.saturating_sub(self.window.1);
            if self.window.1 > 0 && took > 0 {
                self.measured(took);
            }
            self.window = (edge, now);
        }
    }
}

impl Connection {
    /// Bytes that the peer may send now.
    pub(super) fn window(&self) -> u32 {
        let held = self.receive.len() + self.waiting.len();
        let free = self.choices.receive_limit.saturating_sub(held);
        let free = u32::try_from(free).unwrap_or(u32::MAX >> 1);
        let promised = self.rcv_edge.since(self.rcv_nxt);
        // A window is never taken back.
        if self.rcv_nxt.at_or_before(self.rcv_edge) { free.max(promised) } else { free }
    }

    /// The window as a header tells it; what is told is promised.
    pub(super) fn promise(&mut self) -> u16 {
        let window = u16::try_from(self.window() >> self.path.rcv_shift).unwrap_or(u16::MAX);
        let edge = self.rcv_nxt.add(u32::from(window) << self.path.rcv_shift);
        if self.rcv_edge.before(edge) {
            self.rcv_edge = edge;
        }
        window
    }

    /// Bytes between what has come and the promised edge.
    pub(super) fn promised(&self) -> u32 {
        if self.rcv_nxt.at_or_before(self.rcv_edge) { self.rcv_edge.since(self.rcv_nxt) } else { 0 }
    }

    /// The reader has taken `count` bytes: tells the peer of a window that has grown enough to be worth it.
    pub(crate) fn data_taken(&mut self, count: usize, now: u64, out: &mut Vec<Segment>) {
        self.grow(count, now);
        let known = self.promised();
        let now_free =
            u32::from(u16::try_from(self.window() >> self.path.rcv_shift).unwrap_or(u16::MAX))
                << self.path.rcv_shift;
        let worth = (self.choices.receive_limit / 2).min(self.path.mss * 2).max(1);
        if now_free.saturating_sub(known) as usize >= worth && !self.peer_finished() {
            self.acknowledge(now, out);
        }
    }

    /// A reader that takes as much as the buffer holds within a round trip gets a larger one.
    fn grow(&mut self, count: usize, now: u64) {
        if self.choices.fixed_receive || self.path.lossless {
            return;
        }
        self.tuning.taken = self.tuning.taken.saturating_add(count);
        let Some(round_trip) = self.tuning.round_trip else { return };
        if now.saturating_sub(self.tuning.since) < round_trip {
            return;
        }
        let wanted = self.tuning.taken.saturating_mul(2).saturating_add(16 * self.path.mss);
        if wanted > self.choices.receive_limit {
            self.choices.receive_limit = wanted.min(self.choices.largest_receive);
        }
        (self.tuning.taken, self.tuning.since) = (0, now);
    }

    /// The send buffer holds at least two windows.
    pub(super) fn grow_send_buffer(&mut self) {
        if !self.choices.fixed_send {
            let wanted = self.congestion.window.saturating_mul(2).min(LARGEST_SEND);
            self.choices.send_limit = self.choices.send_limit.max(wanted);
        }
    }
}
