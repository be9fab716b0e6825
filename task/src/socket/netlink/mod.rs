//! `AF_NETLINK` (`netlink(7)`): what programs ask of routing, and a place to listen for device events that never
//! come.
//!
//! A request is answered while it is sent: the answers are in the socket's queue when `sendmsg` returns. As they cannot
//! wait for their reader to make room, what does not fit is left out and the reader told by `ENOBUFS`, and dumps fail
//! with `EBUSY` while much is unread. `NETLINK_ROUTE` shows all interfaces, of which the loopback interface can be
//! changed; `NETLINK_SOCK_DIAG` lists sockets. `NETLINK_KOBJECT_UEVENT` sockets can be bound and never receive anything.

mod answers;
pub(in crate::socket) mod devices;
pub(super) mod diag;
mod route;

use core::sync::atomic::{AtomicU32, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;

use chitin_abi::net::{
    AF_NETLINK, MSG_OOB, MSG_PEEK, MSG_TRUNC, NETLINK_ADD_MEMBERSHIP, NETLINK_DROP_MEMBERSHIP,
    NETLINK_KOBJECT_UEVENT, NETLINK_LIST_MEMBERSHIPS, NETLINK_ROUTE, NETLINK_SOCK_DIAG, NLM_F_ACK,
    NLM_F_CAPPED, NLM_F_DUMP, NLM_F_MULTI, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_HDRLEN,
    NLMSG_MIN_TYPE, NlMsgErr, NlMsgHdr, SOCK_DGRAM, SOCK_RAW, SOL_NETLINK, SockaddrNl, nl_align,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use chitin_vfs::io::{Sink, Source};
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;
use zerocopy::{FromBytes, IntoBytes};

use self::answers::Answers;
use super::{Caller, Common, Outgoing, Received, Socket, SocketInfo};

/// Longest message that may be sent.
const MAX_MESSAGE: usize = 1 << 16;
/// A dump goes out in messages of at most this size.
const DUMP_BYTES: usize = 8192;

/// Port ids that are made up count down from here, as on Linux.
static NEXT_PORT: AtomicU32 = AtomicU32::new(u32::MAX - 4096);

/// A netlink socket.
pub struct NetlinkSocket {
    kind: u32,
    protocol: u32,
    common: Common,
    queue: Arc<WaitQueue>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Port id; 0 before it is bound.
    port: u32,
    groups: u32,
    peer: Option<SockaddrNl>,
    inbox: VecDeque<Vec<u8>>,
    queued: usize,
    error: Option<Errno>,
}

impl NetlinkSocket {
    /// A new socket.
    ///
    /// # Errors
    /// ESOCKTNOSUPPORT, EPROTONOSUPPORT.
    pub fn create(kind: u32, protocol: u32) -> Result<Arc<dyn Socket>> {
        if !matches!(kind, SOCK_RAW | SOCK_DGRAM) {
            return Err(Errno::ESOCKTNOSUPPORT);
        }
        if !matches!(protocol, NETLINK_ROUTE | NETLINK_SOCK_DIAG | NETLINK_KOBJECT_UEVENT) {
            return Err(Errno::EPROTONOSUPPORT);
        }
        Ok(Arc::new(Self {
            kind,
            protocol,
            common: Common::default(),
            queue: Arc::default(),
            state: Mutex::default(),
        }))
    }

    /// Gives it a port id: the process's, or another if that one has been asked for before.
    fn autobind(&self, caller: &Caller<'_>) {
        let mut state = self.state.lock();
        if state.port == 0 {
            let own = caller.task().map_or(0, |task| task.local_tgid());
            let first = own != 0 && caller.net().netlink.claim(self.protocol, own);
            state.port = if first { own } else { NEXT_PORT.fetch_sub(1, Ordering::Relaxed) };
        }
    }

    /// Answers the requests in a message.
    fn requests(&self, bytes: &[u8], caller: &Caller<'_>) -> Answers {
        let (port, waiting) = {
            let state = self.state.lock();
            (state.port, state.queued)
        };
        let mut answers = Answers::new(waiting);
        let mut rest = bytes;
        while let Ok((header, _)) = NlMsgHdr::read_from_prefix(rest) {
            let length = header.len as usize;
            if length < NLMSG_HDRLEN || length > rest.len() {
                break;
            }
            let message = rest.get(..length).unwrap_or_default();
            let body = message.get(NLMSG_HDRLEN..).unwrap_or_default();
            let wanted = header.flags & NLM_F_REQUEST != 0 && header.kind >= NLMSG_MIN_TYPE;
            if wanted {
                let answered = self.request(&header, body, port, caller, &mut answers);
                match answered {
                    Err(errno) => answers.push(status(&header, message, port, errno.raw())),
                    Ok(()) if header.flags & NLM_F_ACK != 0 => {
                        answers.push(status(&header, message, port, 0));
                    }
                    Ok(()) => {}
                }
            }
            rest = rest.get(nl_align(length).unwrap_or(length)..).unwrap_or_default();
        }
        answers
    }

    fn request(
        &self,
        header: &NlMsgHdr,
        body: &[u8],
        port: u32,
        caller: &Caller<'_>,
        answers: &mut Answers,
    ) -> Result<()> {
        match self.protocol {
            NETLINK_ROUTE => route::answer(header, body, port, caller, answers),
            NETLINK_SOCK_DIAG => diag::answer(header, body, port, caller, answers),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Puts answers where they are read.
    fn enqueue(&self, answers: Answers) {
        let mut state = self.state.lock();
        let mut all = Answers::new(state.queued);
        let is_overrun = answers.is_overrun();
        // Others may have sent since these were counted.
        answers.into_iter().for_each(|answer| all.push(answer));
        if is_overrun || all.is_overrun() {
            state.error = Some(Errno::ENOBUFS);
        }
        for answer in all {
            state.queued += answer.len();
            state.inbox.push_back(answer);
        }
    }
}

/// Whether a request asks for all that there is.
const fn is_dump(header: &NlMsgHdr) -> bool {
    header.flags & NLM_F_DUMP == NLM_F_DUMP
}

/// `NLMSG_ERROR`: a failure with the request, or an acknowledgement with its header.
fn status(header: &NlMsgHdr, request: &[u8], port: u32, errno: i32) -> Vec<u8> {
    let echo = if errno == 0 { &[][..] } else { request.get(NLMSG_HDRLEN..).unwrap_or_default() };
    let length = NLMSG_HDRLEN + size_of::<NlMsgErr>() + echo.len();
    let flags = if errno == 0 { NLM_F_CAPPED } else { 0 };
    let reply =
        NlMsgHdr { len: length as u32, kind: NLMSG_ERROR, flags, seq: header.seq, pid: port };
    let mut bytes = reply.as_bytes().to_vec();
    bytes.extend_from_slice(NlMsgErr { error: -errno, msg: *header }.as_bytes());
    bytes.extend_from_slice(echo);
    bytes
}

fn parse(bytes: &[u8]) -> Result<SockaddrNl> {
    let (address, _) = SockaddrNl::read_from_prefix(bytes).map_err(|_| Errno::EINVAL)?;
    if u32::from(address.family) == AF_NETLINK { Ok(address) } else { Err(Errno::EINVAL) }
}

fn emit(port: u32, groups: u32) -> Vec<u8> {
    SockaddrNl { family: AF_NETLINK as u16, pad: 0, pid: port, groups }.as_bytes().to_vec()
}

/// Which port ids of a network namespace have been given out.
#[derive(Default)]
pub struct NetlinkPorts {
    used: Mutex<std::collections::HashSet<(u32, u32)>>,
}

impl NetlinkPorts {
    fn claim(&self, protocol: u32, port: u32) -> bool {
        self.used.lock().insert((protocol, port))
    }

    fn release(&self, protocol: u32, port: u32) {
        self.used.lock().remove(&(protocol, port));
    }
}

impl Socket for NetlinkSocket {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }

    fn info(&self) -> SocketInfo {
        SocketInfo { domain: AF_NETLINK, kind: self.kind, protocol: self.protocol }
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    fn poll(&self) -> PollEvents {
        let state = self.state.lock();
        let mut events = PollEvents::POLLOUT | PollEvents::POLLWRNORM | PollEvents::POLLWRBAND;
        if !state.inbox.is_empty() {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
        }
        if state.error.is_some() {
            events |= PollEvents::POLLERR;
        }
        events
    }

    fn bind(&self, bytes: &[u8], caller: &Caller<'_>) -> Result<()> {
        let address = parse(bytes)?;
        {
            let mut state = self.state.lock();
            if state.port != 0 && address.pid != state.port {
                return Err(Errno::EINVAL);
            }
            if address.pid != 0 && state.port == 0 {
                if !caller.net().netlink.claim(self.protocol, address.pid) {
                    return Err(Errno::EADDRINUSE);
                }
                state.port = address.pid;
            }
            state.groups = address.groups;
        }
        self.autobind(caller);
        Ok(())
    }

    fn connect(&self, bytes: &[u8], caller: &Caller<'_>) -> Result<()> {
        let (family, _) = super::unix::address::split(bytes)?;
        if family == chitin_abi::net::AF_UNSPEC {
            self.state.lock().peer = None;
            return Ok(());
        }
        let address = parse(bytes)?;
        self.autobind(caller);
        self.state.lock().peer = Some(address);
        Ok(())
    }

    fn send(
        &self,
        from: &mut dyn Source,
        message: &mut Outgoing<'_>,
        caller: &Caller<'_>,
    ) -> Result<usize> {
        if message.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let to = message.to.map(parse).transpose()?.or(self.state.lock().peer);
        let length = from.remaining();
        if length > MAX_MESSAGE {
            return Err(Errno::EMSGSIZE);
        }
        self.autobind(caller);
        let mut bytes = vec![0; length];
        if length > 0 && from.take(&mut bytes)? < length {
            return Err(Errno::EFAULT);
        }
        if to.is_some_and(|to| to.pid != 0) {
            return Err(Errno::ECONNREFUSED);
        }
        let answers = self.requests(&bytes, caller);
        if answers.is_empty() {
            return Ok(length);
        }
        self.enqueue(answers);
        self.queue.notify(PollEvents::POLLIN | PollEvents::POLLRDNORM);
        Ok(length)
    }

    fn receive(&self, to: &mut dyn Sink, flags: u32) -> Result<Received> {
        if flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let message = {
            let mut state = self.state.lock();
            if let Some(errno) = state.error.take() {
                return Err(errno);
            }
            if flags & MSG_PEEK != 0 {
                state.inbox.front().cloned()
            } else {
                let message = state.inbox.pop_front();
                state.queued = state.queued.saturating_sub(message.as_ref().map_or(0, Vec::len));
                message
            }
        };
        let message = message.ok_or(Errno::EAGAIN)?;
        let stored = if to.remaining() == 0 { 0 } else { to.put(&message)? };
        Ok(Received {
            count: if flags & MSG_TRUNC != 0 { message.len() } else { stored },
            from: Some(emit(0, 0)),
            flags: if stored < message.len() { MSG_TRUNC } else { 0 },
            stop: true,
            ..Received::default()
        })
    }

    fn local_address(&self) -> Result<Vec<u8>> {
        let state = self.state.lock();
        Ok(emit(state.port, state.groups))
    }

    fn peer_address(&self) -> Result<Vec<u8>> {
        let peer = self.state.lock().peer;
        Ok(peer.map_or_else(|| emit(0, 0), |peer| emit(peer.pid, peer.groups)))
    }

    fn option(&self, level: u32, name: u32, _room: usize, _caller: &Caller<'_>) -> Result<Vec<u8>> {
        match (level, name) {
            (SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS) => {
                Ok(self.state.lock().groups.to_ne_bytes().to_vec())
            }
            (SOL_NETLINK, _) => Ok(0_i32.to_ne_bytes().to_vec()),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8], _caller: &Caller<'_>) -> Result<()> {
        if level != SOL_NETLINK {
            return Err(Errno::ENOPROTOOPT);
        }
        let value = u32::read_from_prefix(value).map_err(|_| Errno::EINVAL)?.0;
        let bit = value.checked_sub(1).and_then(|group| 1_u32.checked_shl(group));
        let mut state = self.state.lock();
        match name {
            NETLINK_ADD_MEMBERSHIP => state.groups |= bit.ok_or(Errno::EINVAL)?,
            NETLINK_DROP_MEMBERSHIP => state.groups &= !bit.ok_or(Errno::EINVAL)?,
            _ => {}
        }
        Ok(())
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn close_in(&self, net: &crate::namespace::NetNamespace) {
        let port = self.state.lock().port;
        net.netlink.release(self.protocol, port);
    }

    fn close(&self) {}
}

/// Builds messages of a dump.
pub(super) struct Dump<'a> {
    header: &'a NlMsgHdr,
    port: u32,
    bytes: Vec<u8>,
}

impl<'a> Dump<'a> {
    fn new(header: &'a NlMsgHdr, port: u32) -> Self {
        Self { header, port, bytes: Vec::new() }
    }

    /// Appends a message: a fixed part and attributes.
    fn message(&mut self, kind: u16, flags: u16, fixed: &[u8], attributes: &[(u16, &[u8])]) {
        let start = self.bytes.len();
        let placeholder = NlMsgHdr { len: 0, kind, flags, seq: self.header.seq, pid: self.port };
        self.bytes.extend_from_slice(placeholder.as_bytes());
        self.bytes.extend_from_slice(fixed);
        self.pad();
        for (kind, data) in attributes {
            let length = (size_of::<chitin_abi::net::RtAttr>() + data.len()) as u16;
            let attribute = chitin_abi::net::RtAttr { len: length, kind: *kind };
            self.bytes.extend_from_slice(attribute.as_bytes());
            self.bytes.extend_from_slice(data);
            self.pad();
        }
        let length = (self.bytes.len() - start) as u32;
        if let Some(slot) = self.bytes.get_mut(start..start + size_of::<u32>()) {
            slot.copy_from_slice(&length.to_ne_bytes());
        }
    }

    fn pad(&mut self) {
        let length = nl_align(self.bytes.len()).unwrap_or(self.bytes.len());
        self.bytes.resize(length, 0);
    }

    /// The message that ends a dump.
    fn done(header: &'a NlMsgHdr, port: u32) -> Vec<u8> {
        let mut done = Self::new(header, port);
        done.message(NLMSG_DONE, NLM_F_MULTI, &0_i32.to_ne_bytes(), &[]);
        done.finish()
    }

    fn finish(self) -> Vec<u8> {
        debug_assert!(self.bytes.len() <= DUMP_BYTES);
        self.bytes
    }
}

#[cfg(test)]
mod tests;
