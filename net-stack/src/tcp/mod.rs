//! TCP sockets (RFC 9293): one type per stage of a connection's life.
//!
//! - [`Role::Idle`]: no connection. - [`Role::Listening`]: accepts them. - [`Role::SynSent`] and
//!   [`Role::SynReceived`]: the handshake. - [`Role::Open`]: see [`connection`]. - [`Role::Ended`]: over, with
//!   what is left to be read.

pub(crate) mod buffer;
mod calls;
pub(crate) mod connection;
pub(crate) mod seq;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::SocketAddr;

use chitin_abi::Errno;
use chitin_abi::poll::PollEvents;

use self::buffer::Buffer;
use self::connection::{Connection, Opening, Phase};
use self::seq::Seq;
use crate::stack::SocketId;
use crate::wire::Packet;

/// Largest packet of the loopback interface.
const MTU: usize = 65536;
/// Bytes that a connection's send buffer holds unless something else is asked for.
const SEND_BUFFER: usize = 1 << 20;
/// The same for the receive buffer.
const RECEIVE_BUFFER: usize = 512 << 10;
/// How far windows are shifted.
pub(crate) const WINDOW_SHIFT: u8 = 7;

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
}

/// Accepts connections.
pub(crate) struct Listener {
    pub(crate) backlog: usize,
    pub(crate) ready: VecDeque<SocketId>,
    /// First segments of connections for which there was no room: looked at again when there is, as if their
    /// senders had repeated them.
    pub(crate) deferred: VecDeque<Packet>,
}

/// We have sent SYN.
pub(crate) struct SynSent {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) iss: Seq,
}

/// We have answered a SYN.
pub(crate) struct SynReceived {
    pub(crate) listener: Option<SocketId>,
    pub(crate) opening: Opening,
}

/// Over: by a reset, or because both sides have finished.
pub(crate) struct Ended {
    pub(crate) receive: Buffer,
}

pub(crate) enum Role {
    Idle,
    Listening(Listener),
    SynSent(SynSent),
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
        }
    }

    pub(crate) fn send_limit(&self) -> usize {
        self.options.send_buffer.unwrap_or(SEND_BUFFER)
    }

    pub(crate) fn receive_limit(&self) -> usize {
        self.options.receive_buffer.unwrap_or(RECEIVE_BUFFER)
    }

    /// Largest segment that we take over this address's protocol.
    pub(crate) fn own_mss(address: SocketAddr) -> u16 {
        let headers = crate::wire::tcp::HEADER
            + if address.is_ipv4() {
                crate::wire::ip::V4_HEADER
            } else {
                crate::wire::ip::V6_HEADER
            };
        u16::try_from(MTU - headers).unwrap_or(u16::MAX)
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
            Role::Open(connection) => TcpStats {
                mss: connection.mss as u32,
                unsent: connection.send.len() as u32,
                unread: connection.receive.len() as u32,
                send_window: connection.snd_wnd,
                receive_window: connection.receive_limit.saturating_sub(connection.receive.len())
                    as u32,
                segments_in: connection.counts.segments_in,
                segments_out: connection.counts.segments_out,
                bytes_in: connection.counts.bytes_in,
                bytes_acked: connection.counts.bytes_acked,
                shifts: (connection.snd_shift, connection.rcv_shift),
            },
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
