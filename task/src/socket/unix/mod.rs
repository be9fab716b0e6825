//! `AF_UNIX` (`unix(7)`): streams, datagrams, sequenced packets.
//!
//! A [`UnixSocket`] has one lock over its state, which holds its queue of received messages; senders put
//! messages there directly. What a socket has sent and nobody has read is on its own account
//! ([`queue::Budget`]), as on Linux, so a slow reader stops its writer and nobody else.
//!
//! Connected sockets hold each other; [`Socket::close`] takes that apart, so nothing leaks, except descriptors
//! that travel in a socket that only they keep open: those [`gc`] finds.
//!
//! Costs: a send is one allocation and one copy, a receive one copy; each tells one wait queue.
//!
//! Lock order: no two sockets' locks are held at once. Messages, sockets and files are dropped, and queues
//! told, with no lock held.
//!
//! - [`address`]: names. - [`names`]: where they lead. - [`connect`]: bind, listen, connect, accept. -
//!   [`send`] and [`receive`]. - [`options`]: addresses, options, ioctls, /proc.

pub mod address;
mod connect;
mod diag;
mod gc;
mod names;
mod options;
mod queue;
mod receive;
mod send;

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use chitin_abi::net::{AF_UNIX, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, SOL_SOCKET};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::IoctlContext;
use chitin_vfs::io::{Sink, Source};
use chitin_vfs::path::Path;
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;

use self::address::UnixAddress;
pub use self::names::UnixNamespace;
use self::queue::{Budget, Mark, Message};
use super::common::DEFAULT_BUFFER;
use super::{Caller, Common, Identity, Outgoing, Received, Shutdown, Socket, SocketInfo};
use crate::namespace::NetNamespace;

/// Messages that wait at a datagram socket before senders have to (`net.unix.max_dgram_qlen`).
const DATAGRAM_BACKLOG: usize = 10;

/// Type of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bytes in order.
    Stream,
    /// Messages to anyone.
    Datagram,
    /// Messages over a connection.
    SeqPacket,
}

impl Kind {
    /// Whether it has connections that are accepted.
    const fn connects(self) -> bool {
        !matches!(self, Self::Datagram)
    }

    const fn number(self) -> u32 {
        match self {
            Self::Stream => SOCK_STREAM,
            Self::Datagram => SOCK_DGRAM,
            Self::SeqPacket => SOCK_SEQPACKET,
        }
    }
}

/// A unix socket.
pub struct UnixSocket {
    kind: Kind,
    queue: Arc<WaitQueue>,
    common: Common,
    budget: Arc<Budget>,
    net: Arc<NetNamespace>,
    state: Mutex<State>,
    /// Inode number of the open file, for /proc.
    ino: AtomicU64,
    this: Weak<UnixSocket>,
}

/// How far a socket is with its connection.
enum Role {
    /// Neither.
    Idle,
    /// A connect is under way.
    Connecting,
    /// It has (or had) a peer.
    Connected,
    /// It accepts connections.
    Listening {
        /// How many may wait.
        backlog: usize,
        pending: VecDeque<Arc<UnixSocket>>,
    },
}

struct State {
    role: Role,
    address: Option<UnixAddress>,
    /// The socket file that it is bound to.
    file: Option<Path>,
    peer: Option<Arc<UnixSocket>>,
    /// For `SO_PEERCRED`: the peer's, or at a listener its own.
    peer_identity: Option<Identity>,
    inbox: VecDeque<Message>,
    /// `SHUT_RD`, or the peer's `SHUT_WR`.
    no_receive: bool,
    no_send: bool,
    closed: bool,
    error: Option<Errno>,
    /// Senders and connecting sockets that wait for room here.
    waiting: Vec<Weak<UnixSocket>>,
}

impl UnixSocket {
    /// A socket by its numbers.
    ///
    /// # Errors
    /// EPROTONOSUPPORT, ESOCKTNOSUPPORT.
    pub fn create(kind: u32, protocol: u32, caller: &Caller<'_>) -> Result<Arc<Self>> {
        if protocol != 0 && protocol != AF_UNIX {
            return Err(Errno::EPROTONOSUPPORT);
        }
        let kind = match kind {
            SOCK_STREAM => Kind::Stream,
            SOCK_DGRAM | SOCK_RAW => Kind::Datagram,
            SOCK_SEQPACKET => Kind::SeqPacket,
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        };
        Ok(Self::new(kind, caller.net()))
    }

    /// A socket without a name or peer.
    pub fn new(kind: Kind, net: &Arc<NetNamespace>) -> Arc<Self> {
        let queue: Arc<WaitQueue> = Arc::default();
        let socket = Arc::new_cyclic(|this| Self {
            kind,
            budget: Budget::new(DEFAULT_BUFFER as usize, &queue),
            queue,
            common: Common::default(),
            net: Arc::clone(net),
            state: Mutex::new(State {
                role: Role::Idle,
                address: None,
                file: None,
                peer: None,
                peer_identity: None,
                inbox: VecDeque::new(),
                no_receive: false,
                no_send: false,
                closed: false,
                error: None,
                waiting: Vec::new(),
            }),
            ino: AtomicU64::new(0),
            this: this.clone(),
        });
        net.unix.add(&socket);
        socket
    }

    /// Connects two new sockets of one kind.
    pub fn pair(one: &Arc<Self>, two: &Arc<Self>, caller: &Caller<'_>) {
        let identity = caller.peer();
        for (socket, peer) in [(one, two), (two, one)] {
            let mut state = socket.state.lock();
            state.role = Role::Connected;
            state.peer = Some(Arc::clone(peer));
            state.peer_identity = Some(identity.clone());
        }
    }

    /// Keeps the socket file that it is bound to.
    fn keep(&self, file: Path) {
        let old = self.state.lock().file.replace(file);
        drop(old);
    }

    /// Itself, shared.
    ///
    /// # Errors
    /// None in practice: it is always called through a shared one.
    pub fn arc(&self) -> Result<Arc<Self>> {
        // Methods are called through an Arc, so this does not fail.
        self.this.upgrade().ok_or(Errno::EBADF)
    }

    /// Its peer.
    fn peer(&self) -> Option<Arc<Self>> {
        self.state.lock().peer.clone()
    }

    fn notify(&self, events: PollEvents) {
        self.queue.notify(events);
    }

    fn notify_data(&self) {
        self.notify(PollEvents::POLLIN | PollEvents::POLLRDNORM);
    }

    fn notify_all(&self) {
        self.notify(PollEvents::all());
    }

    /// Wakes those who wait for room here.
    fn wake_waiting(waiting: Vec<Weak<Self>>) {
        for socket in waiting.iter().filter_map(Weak::upgrade) {
            socket.notify(PollEvents::POLLOUT | PollEvents::POLLWRNORM | PollEvents::POLLWRBAND);
        }
    }

    /// Whether `sender` would have to wait for room in this datagram socket; notes it for a wake if so.
    fn refuses(&self, sender: &Arc<Self>) -> bool {
        let mut state = self.state.lock();
        let full =
            state.is_full() && !state.peer.as_ref().is_some_and(|peer| Arc::ptr_eq(peer, sender));
        if full && !state.closed {
            state.wait_for_room(&sender.this);
        }
        full && !state.closed
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.inbox.len() > DATAGRAM_BACKLOG
    }

    /// The urgent byte that has not been read.
    fn urgent(&mut self) -> Option<&mut Message> {
        self.inbox.iter_mut().find(|message| message.mark == Mark::Urgent)
    }

    fn wait_for_room(&mut self, who: &Weak<UnixSocket>) {
        self.waiting.retain(|other| other.strong_count() > 0 && !Weak::ptr_eq(other, who));
        self.waiting.push(who.clone());
    }

    /// Whether a connection can be put into its queue; notes who is to be woken when there is room.
    fn takes_connection(&mut self, who: &Weak<UnixSocket>) -> Result<()> {
        if self.closed || self.no_receive {
            return Err(Errno::ECONNREFUSED);
        }
        match &self.role {
            Role::Listening { backlog, pending } if pending.len() > *backlog => {
                self.wait_for_room(who);
                Err(Errno::EAGAIN)
            }
            Role::Listening { .. } => Ok(()),
            _ => Err(Errno::ECONNREFUSED),
        }
    }

    const fn is_connected(&self) -> bool {
        matches!(self.role, Role::Connected)
    }
}

impl Socket for UnixSocket {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }

    fn info(&self) -> SocketInfo {
        SocketInfo { domain: AF_UNIX, kind: self.kind.number(), protocol: 0 }
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    fn poll(&self) -> PollEvents {
        self.poll_now()
    }

    fn bind(&self, address: &[u8], caller: &Caller<'_>) -> Result<()> {
        self.bind_to(address, caller)
    }

    fn listen(&self, backlog: u32, caller: &Caller<'_>) -> Result<()> {
        self.start_listening(backlog, caller)
    }

    fn connect(&self, address: &[u8], caller: &Caller<'_>) -> Result<()> {
        self.connect_to(address, caller)
    }

    fn accept(&self) -> Result<Arc<dyn Socket>> {
        self.take_connection()
    }

    fn send(
        &self,
        from: &mut dyn Source,
        message: &mut Outgoing<'_>,
        caller: &Caller<'_>,
    ) -> Result<usize> {
        self.send_message(from, message, caller)
    }

    fn receive(&self, to: &mut dyn Sink, flags: u32) -> Result<Received> {
        self.receive_message(to, flags)
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.shut(how)
    }

    fn local_address(&self) -> Result<Vec<u8>> {
        Ok(address::emit(self.state.lock().address.as_ref()))
    }

    fn peer_address(&self) -> Result<Vec<u8>> {
        let peer = self.peer().ok_or(Errno::ENOTCONN)?;
        peer.local_address()
    }

    fn option(&self, level: u32, name: u32, room: usize, caller: &Caller<'_>) -> Result<Vec<u8>> {
        self.unix_option(level, name, room, caller)
    }

    fn set_option(
        &self,
        level: u32,
        _name: u32,
        _value: &[u8],
        _caller: &Caller<'_>,
    ) -> Result<()> {
        Err(if level == SOL_SOCKET { Errno::ENOPROTOOPT } else { Errno::EOPNOTSUPP })
    }

    fn common_changed(&self) {
        let limit = self.common.send_buffer.load(Ordering::Relaxed);
        self.budget.set_limit(limit as usize);
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn is_listening(&self) -> bool {
        matches!(self.state.lock().role, Role::Listening { .. })
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        self.control(command, argument, context)
    }

    fn opened(&self, ino: u64) {
        self.ino.store(ino, Ordering::Relaxed);
    }

    fn close(&self) {
        self.release();
        gc::collect(&self.net);
    }
}

#[cfg(test)]
mod tests;
