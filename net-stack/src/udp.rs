//! UDP sockets (RFC 768).

use alloc::collections::VecDeque;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use chitin_abi::Errno;
use chitin_abi::poll::PollEvents;

/// Bytes that wait in a socket unless something else is asked for.
const RECEIVE_BUFFER: usize = 212_992;
/// What a datagram counts for beside its bytes.
const OVERHEAD: usize = 256;

/// How a socket is to work.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpOptions {
    /// An IPv6 socket.
    pub v6: bool,
    /// It takes no IPv4 datagrams.
    pub v6_only: bool,
    /// `SO_REUSEADDR`.
    pub reuse_address: bool,
    /// `SO_REUSEPORT`.
    pub reuse_port: bool,
    /// `SO_BROADCAST`.
    pub broadcast: bool,
    /// Who opened it.
    pub user: u32,
    /// Bytes that may wait; `None` for the usual.
    pub receive_buffer: Option<usize>,
}

/// A datagram that has come.
#[derive(Clone, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// Which of our addresses it was sent to.
    pub to: IpAddr,
    /// Hops that were left.
    pub hops: u8,
    /// Type of service, or traffic class.
    pub class: u8,
    /// The data.
    pub data: Bytes,
}

/// What a datagram's header says beside its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Hops that it may take.
    pub hops: u8,
    /// Type of service, or traffic class.
    pub class: u8,
}

impl Default for Marks {
    fn default() -> Self {
        Self { hops: 64, class: 0 }
    }
}

/// A UDP socket.
pub(crate) struct UdpSocket {
    pub(crate) options: UdpOptions,
    pub(crate) bound: Option<SocketAddr>,
    /// What it was bound to by its owner; `None` where the stack chose.
    pub(crate) asked: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) queue: VecDeque<Datagram>,
    pub(crate) queued: usize,
    pub(crate) error: Option<Errno>,
    pub(crate) shut_read: bool,
    pub(crate) shut_write: bool,
}

impl UdpSocket {
    pub(crate) fn new(options: UdpOptions) -> Self {
        Self {
            options,
            bound: None,
            asked: None,
            peer: None,
            queue: VecDeque::new(),
            queued: 0,
            error: None,
            shut_read: false,
            shut_write: false,
        }
    }

    /// Takes a datagram; false where there is no room.
    pub(crate) fn push(&mut self, datagram: Datagram) -> bool {
        let size = datagram.data.len() + OVERHEAD;
        if self.queued + size > self.options.receive_buffer.unwrap_or(RECEIVE_BUFFER)
            && !self.queue.is_empty()
        {
            return false;
        }
        self.queued += size;
        self.queue.push_back(datagram);
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Datagram> {
        let datagram = self.queue.pop_front()?;
        self.queued = self.queued.saturating_sub(datagram.data.len() + OVERHEAD);
        Some(datagram)
    }

    pub(crate) fn poll(&self) -> PollEvents {
        let mut events = PollEvents::POLLOUT | PollEvents::POLLWRNORM | PollEvents::POLLWRBAND;
        if !self.queue.is_empty() {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
        }
        if self.shut_read {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM | PollEvents::POLLRDHUP;
        }
        if self.shut_read && self.shut_write {
            events |= PollEvents::POLLHUP;
        }
        if self.error.is_some() {
            events |= PollEvents::POLLERR;
        }
        events
    }
}
