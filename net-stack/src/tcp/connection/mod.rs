//! A synchronized connection: sequence variables, buffers and the states behind the handshake (RFC 9293 §3.10).
//!
//! - [`input`]: segments that come; - [`output`]: segments that go; - [`timer`]: what happens when nothing comes;
//! - [`window`]: how much the peer may send; - [`urgent`]: urgent data.
//!
//! A connection whose peer is on the same stack loses nothing ([`Path::lossless`]): it acknowledges at once and has no
//! timers but the owner's.

mod input;
mod output;
mod timer;
mod urgent;
mod window;

use core::net::SocketAddr;

use bytes::Bytes;

use self::timer::Timers;
use self::urgent::Urgent;
use self::window::Tuning;
use super::buffer::Buffer;
use super::congestion::{Congestion, CongestionControl};
use super::reassembly::Reassembly;
use super::recovery::{Rack, Reduction, Repair};
use super::rtt::Rtt;
use super::sent::Scoreboard;
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

/// What a segment or a timer has made of a connection.
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
    /// The peer is gone.
    TimedOut,
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

/// What is counted for `TCP_INFO`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) segments_in: u32,
    pub(crate) segments_out: u32,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_acked: u64,
    pub(crate) resent: u32,
    pub(crate) bytes_resent: u64,
}

/// What both sides can do, and the way between them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path {
    /// Largest segment that the peer and the way to it take, without options.
    pub(crate) mss: usize,
    /// Windows of the peer are shifted by so much.
    pub(crate) snd_shift: u8,
    /// And ours.
    pub(crate) rcv_shift: u8,
    /// The peer takes selective acknowledgements.
    pub(crate) sack: bool,
    /// The peer's clock in its SYN, if both sides send theirs.
    pub(crate) timestamps: Option<u32>,
    /// What our clock is ahead of the stack's.
    pub(crate) clock_offset: u32,
    /// The peer is on this stack.
    pub(crate) lossless: bool,
}

/// What the owner has chosen, and may change while the connection lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices {
    pub(crate) send_limit: usize,
    pub(crate) receive_limit: usize,
    /// How far that one grows by itself.
    pub(crate) largest_receive: usize,
    /// The limits were asked for and stay as they are.
    pub(crate) fixed_send: bool,
    pub(crate) fixed_receive: bool,
    /// Small segments are sent at once.
    pub(crate) no_delay: bool,
    /// Only full segments are sent.
    pub(crate) cork: bool,
    /// Nanoseconds of silence before the peer is asked, between questions, and how many.
    pub(crate) keepalive: Option<(u64, u64, u32)>,
    /// Nanoseconds that data may stay unacknowledged; 0 for the usual.
    pub(crate) user_timeout: u64,
    /// How often something is sent again.
    pub(crate) retries: u32,
    pub(crate) congestion: CongestionControl,
    /// Nanoseconds that the rest of a connection without an owner lasts.
    pub(crate) fin_timeout: u64,
}

/// Transmission control block of a synchronized connection.
pub(crate) struct Connection {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) phase: Phase,
    pub(crate) path: Path,
    pub(crate) choices: Choices,
    pub(crate) send: Buffer,
    pub(crate) receive: Buffer,
    pub(crate) counts: Counts,
    pub(crate) snd_una: Seq,
    pub(crate) snd_nxt: Seq,
    pub(crate) snd_wnd: u32,
    /// Largest window that the peer has told of.
    snd_wnd_max: u32,
    /// Segment that the window was last told by: its sequence number and acknowledgement.
    window_told: (Seq, Seq),
    pub(crate) rcv_nxt: Seq,
    /// Right edge of the window that the peer knows of.
    rcv_edge: Seq,
    waiting: Reassembly,
    /// Data that came a second time: told once (RFC 2883).
    duplicate: Option<(Seq, Seq)>,
    /// The peer's clock to be echoed.
    recent_clock: u32,
    tuning: Tuning,
    /// Where the urgent data that we send ends, until it is sent.
    snd_urgent: Option<Seq>,
    /// The urgent byte that the peer has announced.
    urgent: Option<Urgent>,
    fin: Fin,
    pub(crate) rtt: Rtt,
    sent: Scoreboard,
    rack: Rack,
    pub(crate) repair: Repair,
    reduction: Reduction,
    /// Acknowledgements in a row that said nothing new.
    duplicates: usize,
    pub(crate) congestion: Congestion,
    /// The window kept back what could have been sent.
    is_limited: bool,
    timers: Timers,
    /// Bytes that have come and are not acknowledged.
    unacknowledged: usize,
    /// So many segments are acknowledged at once.
    quick: u32,
    last_sent: u64,
    pub(crate) last_received: u64,
    last_challenge: u64,
}

/// What the handshake has found out.
pub(crate) struct Opening {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) snd_nxt: Seq,
    pub(crate) rcv_nxt: Seq,
    pub(crate) snd_wnd: u32,
    pub(crate) path: Path,
    pub(crate) choices: Choices,
}

/// Segments that are acknowledged at once when a connection begins, so that the peer's window grows.
const QUICK: u32 = 16;

impl Connection {
    pub(crate) fn new(opening: &Opening, now: u64) -> Self {
        let Opening { path, choices, .. } = *opening;
        let mut connection = Self {
            local: opening.local,
            remote: opening.remote,
            phase: Phase::Established,
            path,
            choices,
            send: Buffer::default(),
            receive: Buffer::default(),
            counts: Counts::default(),
            snd_una: opening.snd_nxt,
            snd_nxt: opening.snd_nxt,
            snd_wnd: opening.snd_wnd,
            snd_wnd_max: opening.snd_wnd,
            window_told: (opening.rcv_nxt, opening.snd_nxt),
            rcv_nxt: opening.rcv_nxt,
            // The handshake has told an unscaled window.
            rcv_edge: opening.rcv_nxt.add(choices.receive_limit.min(usize::from(u16::MAX)) as u32),
            waiting: Reassembly::default(),
            duplicate: None,
            recent_clock: path.timestamps.unwrap_or(0),
            tuning: Tuning::new(opening.rcv_nxt, now),
            snd_urgent: None,
            urgent: None,
            fin: Fin::None,
            rtt: Rtt::default(),
            sent: Scoreboard::default(),
            rack: Rack::default(),
            repair: Repair::None,
            reduction: Reduction::default(),
            duplicates: 0,
            congestion: Congestion::new(choices.congestion, path.mss),
            is_limited: false,
            timers: Timers::default(),
            unacknowledged: 0,
            quick: QUICK,
            last_sent: now,
            last_received: now,
            last_challenge: 0,
        };
        connection.rearm_keepalive(now);
        connection
    }

    /// The owner has chosen otherwise.
    pub(crate) fn choose(&mut self, choices: Choices, now: u64) {
        let before = self.choices;
        let receive = self.choices.receive_limit;
        self.choices = choices;
        if !choices.fixed_receive {
            self.choices.receive_limit = receive.max(choices.receive_limit);
        }
        if !choices.fixed_send {
            self.choices.send_limit = before.send_limit.max(choices.send_limit);
        }
        if self.congestion.selected() != choices.congestion {
            self.congestion.select(choices.congestion);
        }
        if before.keepalive != choices.keepalive {
            self.rearm_keepalive(now);
        }
    }

    /// The way to the peer takes smaller packets than was thought: `mss` without options.
    pub(crate) fn lower_mss(&mut self, mss: usize) -> bool {
        if mss >= self.path.mss {
            return false;
        }
        self.path.mss = mss.max(1);
        self.congestion.set_mss(self.path.mss);
        self.sent.mark_all_lost(false);
        true
    }

    /// Bytes of data in a full segment.
    pub(crate) fn segment_len(&self) -> usize {
        let options = Repr::data_options_len(self.path.timestamps.is_some());
        self.path.mss.saturating_sub(options).max(1)
    }

    /// Bytes that may be put into the send buffer.
    pub(crate) fn send_room(&self) -> usize {
        self.choices.send_limit.saturating_sub(self.send.len())
    }

    /// Whether the peer has said that it sends no more.
    pub(crate) const fn peer_finished(&self) -> bool {
        matches!(self.phase, Phase::CloseWait | Phase::Closing | Phase::LastAck)
    }

    /// Bytes that are sent and not acknowledged; FIN counts.
    pub(crate) fn flight(&self) -> usize {
        self.snd_nxt.since(self.snd_una) as usize
    }

    /// Bytes of data that were never sent.
    fn unsent(&self) -> usize {
        match self.fin {
            Fin::Sent | Fin::Acked => 0,
            Fin::None | Fin::Queued => self.send.len().saturating_sub(self.flight()),
        }
    }

    /// Segments on their way, delivered out of order, and lost; for `TCP_INFO`.
    pub(crate) fn segments(&self) -> (u32, u32, u32) {
        let unit = self.segment_len();
        let of = |bytes: usize| bytes.div_ceil(unit) as u32;
        let (flying, sacked) = (self.sent.flying(), self.sent.sacked());
        (of(flying + sacked), self.sent.sacked_segments() as u32, of(self.sent.lost()))
    }

    /// Bytes that wait for what precedes them.
    pub(crate) fn out_of_order(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests;
