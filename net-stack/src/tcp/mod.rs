//! TCP sockets (RFC 9293): one type per stage of a connection's life.
//!
//! - [`Role::Idle`]: no connection. - [`Role::Listening`]: accepts them. - [`Role::SynSent`] and
//!   [`Role::SynReceived`]: the [`handshake`]. - [`Role::Open`]: see [`connection`]. - [`Role::Ended`]: over, with
//!   what is left to be read.
//!
//! [`sent`], [`recovery`], [`rtt`] and [`congestion`] are what a connection knows of the way to its peer; [`reassembly`] and
//! [`buffer`] hold its data; [`demux`](crate::demux) finds it.

pub(crate) mod buffer;
mod calls;
pub(crate) mod congestion;
pub(crate) mod connection;
pub(crate) mod handshake;
pub(crate) mod reassembly;
pub(crate) mod recovery;
pub(crate) mod rtt;
pub(crate) mod sent;
pub(crate) mod seq;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::SocketAddr;

use chitin_abi::Errno;
use chitin_abi::poll::PollEvents;

use hashbrown::HashSet;

use self::buffer::Buffer;
pub use self::congestion::CongestionControl;
use self::connection::{Choices, Connection, Opening, Phase};
use self::handshake::Repetition;
use self::seq::Seq;
use crate::settings::Settings;
use crate::stack::SocketId;
use crate::wire::Packet;
use crate::wire::tcp::Repr;

/// Bytes that a connection's send buffer holds unless something else is asked for: on this stack, and over a network.
const SEND_BUFFER: (usize, usize) = (1 << 20, 256 << 10);
/// The same for the receive buffer.
const RECEIVE_BUFFER: (usize, usize) = (512 << 10, 128 << 10);

/// How a socket is to work.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpOptions {
    /// An IPv6 socket.
    pub v6: bool,
    /// It takes no IPv4 connections.
    pub v6_only: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// Who opened it: ports are shared only among sockets of one user.
    pub user: u32,
    /// Bytes of the send buffer; `None` for the usual.
    pub send_buffer: Option<usize>,
    /// Bytes of the receive buffer; `None` for the usual.
    pub receive_buffer: Option<usize>,
    /// Closing resets the connection (`SO_LINGER` of zero).
    pub abort_on_close: bool,
    /// Urgent bytes stay where they are among the others (`SO_OOBINLINE`).
    pub urgent_inline: bool,
    /// Small segments are sent at once (`TCP_NODELAY`).
    pub no_delay: bool,
    /// Only full segments are sent (`TCP_CORK`).
    pub cork: bool,
    /// The peer is asked whether it is there (`SO_KEEPALIVE`): nanoseconds of silence before (`TCP_KEEPIDLE`) and between
    /// (`TCP_KEEPINTVL`), and how often (`TCP_KEEPCNT`).
    pub keepalive: Option<(u64, u64, u32)>,
    /// Nanoseconds that data may stay unacknowledged (`TCP_USER_TIMEOUT`); 0 for the usual.
    pub user_timeout: u64,
    /// How often a SYN is sent again (`TCP_SYNCNT`); `None` for the stack's setting.
    pub syn_retries: Option<u32>,
    /// Largest segment that is announced and sent (`TCP_MAXSEG`).
    pub max_segment: Option<u16>,
    /// How congestion is controlled (`TCP_CONGESTION`); `None` for the stack's setting.
    pub congestion: Option<CongestionControl>,
}

/// States as `TCP_INFO` and /proc/net/tcp number them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the states of RFC 9293")]
#[repr(u8)]
pub enum TcpState {
    Established = 1,
    SynSent = 2,
    SynReceived = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Closed = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
}

/// Numbers of a connection, for `TCP_INFO` and /proc/net/tcp.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpStats {
    /// Largest segment.
    pub mss: u32,
    /// Bytes that are not acknowledged or not sent yet.
    pub unsent: u32,
    /// Bytes to read; connections to accept for a listener.
    pub unread: u32,
    /// The peer's window.
    pub send_window: u32,
    /// Ours.
    pub receive_window: u32,
    /// Segments received.
    pub segments_in: u32,
    /// Segments sent.
    pub segments_out: u32,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes acknowledged by the peer.
    pub bytes_acked: u64,
    /// Window shifts: peer's, ours.
    pub shifts: (u8, u8),
    /// Whether both sides have selective acknowledgements, and timestamps.
    pub options: (bool, bool),
    /// Smoothed round-trip time and its variation, nanoseconds; smallest of late.
    pub rtt: (u64, u64, u64),
    /// The retransmission timeout, nanoseconds.
    pub rto: u64,
    /// Congestion window, segments.
    pub window: u32,
    /// Slow-start threshold, segments; all ones before a loss.
    pub threshold: u32,
    /// Segments under way, delivered out of order, lost, and sent again in all.
    pub segments: (u32, u32, u32, u32),
    /// Bytes sent again in all.
    pub bytes_resent: u64,
    /// How often the same was sent in vain.
    pub tries: u32,
    /// Bytes that wait for what precedes them.
    pub out_of_order: u32,
    /// 0: all is well; 3: a loss is being repaired; 4: after a timeout.
    pub congestion_state: u8,
    /// When the retransmission timer expires.
    pub retransmits_at: Option<u64>,
    /// When something was received last.
    pub last_received: u64,
}

/// Accepts connections.
pub(crate) struct Listener {
    pub(crate) backlog: usize,
    pub(crate) ready: VecDeque<SocketId>,
    /// First segments of connections for which there was no room: looked at again when there is, as if their
    /// senders had repeated them.
    pub(crate) deferred: VecDeque<Packet>,
    /// Connections that are beginning.
    pub(crate) half_open: HashSet<SocketId>,
}

/// We have sent SYN.
pub(crate) struct SynSent {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) iss: Seq,
    pub(crate) syn: Repr,
    pub(crate) repetition: Repetition,
}

/// We have answered a SYN.
pub(crate) struct SynReceived {
    pub(crate) listener: Option<SocketId>,
    pub(crate) opening: Opening,
    pub(crate) reply: Repr,
    pub(crate) repetition: Repetition,
}

/// Over: by a reset, or because both sides have finished.
pub(crate) struct Ended {
    pub(crate) receive: Buffer,
}

pub(crate) enum Role {
    Idle,
    Listening(Listener),
    SynSent(Box<SynSent>),
    SynReceived(Box<SynReceived>),
    Open(Box<Connection>),
    Ended(Ended),
    /// A connect has failed and that has not been told by another connect.
    Refused,
}

/// A TCP socket.
pub(crate) struct TcpSocket {
    pub(crate) options: TcpOptions,
    pub(crate) bound: Option<SocketAddr>,
    pub(crate) role: Role,
    pub(crate) error: Option<Errno>,
    pub(crate) shut_read: bool,
    pub(crate) shut_write: bool,
    /// Nobody holds it any more.
    pub(crate) orphan: bool,
    /// The success of a connect has been told.
    pub(crate) told: bool,
    /// What the network has said of why the peer does not answer.
    pub(crate) soft_error: Option<Errno>,
    /// When its timers are looked at.
    pub(crate) armed: Option<u64>,
}

impl TcpSocket {
    pub(crate) fn new(options: TcpOptions) -> Self {
        Self {
            options,
            bound: None,
            role: Role::Idle,
            error: None,
            shut_read: false,
            shut_write: false,
            orphan: false,
            told: false,
            soft_error: None,
            armed: None,
        }
    }

    /// Bytes of the receive buffer when a connection begins.
    pub(crate) fn receive_limit(&self, lossless: bool) -> usize {
        let usual = if lossless { RECEIVE_BUFFER.0 } else { RECEIVE_BUFFER.1 };
        self.options.receive_buffer.unwrap_or(usual)
    }

    /// What a connection needs to know of the options.
    pub(crate) fn choices(&self, settings: &Settings, lossless: bool) -> Choices {
        let options = &self.options;
        let usual = if lossless { SEND_BUFFER.0 } else { SEND_BUFFER.1 };
        Choices {
            send_limit: options.send_buffer.unwrap_or(usual),
            receive_limit: self.receive_limit(lossless),
            largest_receive: settings.largest_receive,
            fixed_send: options.send_buffer.is_some(),
            fixed_receive: options.receive_buffer.is_some(),
            no_delay: options.no_delay,
            cork: options.cork,
            keepalive: options.keepalive,
            user_timeout: options.user_timeout,
            retries: settings.retries,
            congestion: options.congestion.unwrap_or(settings.congestion),
            fin_timeout: settings.fin_timeout,
        }
    }

    /// When its timers are due.
    pub(crate) fn deadline(&self) -> Option<u64> {
        match &self.role {
            Role::Open(connection) => connection.deadline(),
            Role::SynSent(state) => Some(state.repetition.at),
            Role::SynReceived(state) => Some(state.repetition.at),
            Role::Idle | Role::Listening(_) | Role::Ended(_) | Role::Refused => None,
        }
    }

    pub(crate) fn state(&self) -> TcpState {
        match &self.role {
            Role::Idle | Role::Refused | Role::Ended(_) => TcpState::Closed,
            Role::Listening(_) => TcpState::Listen,
            Role::SynSent(_) => TcpState::SynSent,
            Role::SynReceived(_) => TcpState::SynReceived,
            Role::Open(connection) => match connection.phase {
                Phase::Established => TcpState::Established,
                Phase::FinWait1 => TcpState::FinWait1,
                Phase::FinWait2 => TcpState::FinWait2,
                Phase::CloseWait => TcpState::CloseWait,
                Phase::Closing => TcpState::Closing,
                Phase::LastAck => TcpState::LastAck,
            },
        }
    }

    /// The two ends of its connection.
    pub(crate) fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        match &self.role {
            Role::SynSent(state) => Some((state.local, state.remote)),
            Role::SynReceived(state) => Some((state.opening.local, state.opening.remote)),
            Role::Open(connection) => Some((connection.local, connection.remote)),
            Role::Idle | Role::Refused | Role::Listening(_) | Role::Ended(_) => None,
        }
    }

    pub(crate) fn poll(&self) -> PollEvents {
        let readable = PollEvents::POLLIN | PollEvents::POLLRDNORM;
        let writable = PollEvents::POLLOUT | PollEvents::POLLWRNORM;
        let mut events = match &self.role {
            Role::Idle => writable | PollEvents::POLLHUP,
            Role::Listening(listener) if listener.ready.is_empty() => PollEvents::empty(),
            Role::Listening(_) => readable,
            Role::SynSent(_) | Role::SynReceived(_) => PollEvents::empty(),
            Role::Ended(_) | Role::Refused => {
                readable | writable | PollEvents::POLLRDHUP | PollEvents::POLLHUP
            }
            Role::Open(connection) => self.poll_open(connection),
        };
        if self.shut_read && self.shut_write && !matches!(self.role, Role::Listening(_)) {
            events |= PollEvents::POLLHUP;
        }
        if self.shut_read {
            events |= readable | PollEvents::POLLRDHUP;
        }
        if self.error.is_some() {
            events |= PollEvents::POLLERR;
        }
        events
    }

    fn poll_open(&self, connection: &Connection) -> PollEvents {
        let mut events = PollEvents::empty();
        let finished = connection.peer_finished();
        if !connection.receive.is_empty() || finished {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
        }
        if connection.has_urgent() {
            events |= PollEvents::POLLPRI;
        }
        if finished {
            events |= PollEvents::POLLRDHUP;
            if self.shut_write {
                events |= PollEvents::POLLHUP;
            }
        }
        // Writable when at least a third of the buffer is free.
        if self.shut_write
            || connection.send_room() >= connection.send.len() / 2 && connection.send_room() > 0
        {
            events |= PollEvents::POLLOUT | PollEvents::POLLWRNORM;
        }
        events
    }

    pub(crate) fn stats(&self) -> TcpStats {
        match &self.role {
            Role::Open(connection) => open_stats(connection),
            Role::Listening(listener) => TcpStats {
                mss: 536,
                unread: listener.ready.len() as u32,
                unsent: listener.backlog as u32,
                ..TcpStats::default()
            },
            Role::Ended(ended) => {
                TcpStats { unread: ended.receive.len() as u32, ..TcpStats::default() }
            }
            _ => TcpStats { mss: 536, ..TcpStats::default() },
        }
    }
}

fn open_stats(connection: &Connection) -> TcpStats {
    let Connection { path, rtt, counts, congestion, .. } = connection;
    let unit = connection.segment_len();
    let (flying, sacked, lost) = connection.segments();
    TcpStats {
        mss: unit as u32,
        unsent: connection.send.len() as u32,
        unread: connection.receive.len() as u32,
        send_window: connection.snd_wnd,
        receive_window: connection.choices.receive_limit.saturating_sub(connection.receive.len())
            as u32,
        segments_in: counts.segments_in,
        segments_out: counts.segments_out,
        bytes_in: counts.bytes_in,
        bytes_acked: counts.bytes_acked,
        shifts: (path.snd_shift, path.rcv_shift),
        options: (path.sack, path.timestamps.is_some()),
        rtt: (rtt.smoothed().unwrap_or(0), rtt.variation(), rtt.smallest().unwrap_or(0)),
        rto: rtt.timeout(),
        window: (congestion.window / unit) as u32,
        threshold: u32::try_from(congestion.threshold / unit).unwrap_or(u32::MAX),
        segments: (flying, sacked, lost, counts.resent),
        bytes_resent: counts.bytes_resent,
        tries: connection.tries(),
        out_of_order: connection.out_of_order() as u32,
        congestion_state: match connection.repair {
            recovery::Repair::None => 0,
            recovery::Repair::Fast(_) => 3,
            recovery::Repair::Timeout(_) => 4,
        },
        retransmits_at: connection.retransmits_at(),
        last_received: connection.last_received,
    }
}
