//! `AF_INET` and `AF_INET6` over [`chitin_net_stack`] (`ip(7)`, `tcp(7)`, `udp(7)`).
//!
//! A network namespace has one [`InetStack`]: the sans-IO stack behind a lock, and which of its sockets has which
//! wait queue. Every call goes into the stack, which carries packets over its loopback interface until all is
//! quiet; then, with the lock released, the queues of the sockets that have changed are told.
//!
//! The stack's timers are one timer of the scheduler, which is set only where the stack's earliest deadline has come nearer;
//! connections over the loopback interface have none.
//!
//! Costs: one lock of the namespace's stack per call; a send copies once into a shared buffer that becomes the
//! receiver's, a receive copies once out of it.

#[doc(hidden)]
pub mod address;
mod device;
mod diag;
pub mod interfaces;
mod membership;
mod options;
mod proc_text;
mod raw;
mod rules;

pub use self::device::HostInterface;

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use chitin_abi::net::{
    AF_INET, AF_INET6, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP,
    IPPROTO_UDPLITE, MSG_DONTWAIT, MSG_ERRQUEUE, MSG_OOB, MSG_PEEK, MSG_TRUNC, SCM_TIMESTAMP,
    SCM_TIMESTAMPNS, SIOCATMARK, SIOCINQ, SIOCOUTQ, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM, SOL_SOCKET,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::process::{CAP_NET_BIND_SERVICE, CAP_NET_RAW};
use chitin_abi::time::Timeval;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_net_stack::{
    CongestionControl, InterfaceId, Proto, RawOptions, SocketId, Stack, TcpOptions, TcpState,
    UdpOptions,
};
use chitin_vfs::file::IoctlContext;
use chitin_vfs::io::{Sink, Source};
use chitin_vfs::wait::WaitQueue;
use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use zerocopy::IntoBytes;

use self::device::Device;
use super::{Caller, Common, Outgoing, Received, Shutdown, Socket, SocketInfo};
use crate::namespace::NetNamespace;
use crate::scheduler::{Scheduler, TimerHandle};
use crate::time::KernelClock;

/// Ports below are for privileged callers (`net.ipv4.ip_unprivileged_port_start`).
const UNPRIVILEGED_PORTS: u16 = 1024;
/// Bytes that one send takes at a time.
const CHUNK: usize = 1 << 18;

/// The TCP/IP stack of a network namespace.
pub struct InetStack {
    stack: Mutex<Stack>,
    sockets: Mutex<HashMap<SocketId, Weak<InetSocket>>>,
    clock: KernelClock,
    /// Who keeps its timers, once there is a socket.
    scheduler: OnceLock<Scheduler>,
    /// When the timer runs, and the timer. Deadlines come nearer under the timer's lock; when the timer runs it is none, and
    /// whoever works on the stack after that looks at the stack's deadline again.
    armed: AtomicU64,
    timer: Mutex<Option<TimerHandle>>,
    /// Interfaces of the host's; whether there are any.
    devices: RwLock<Vec<Arc<Device>>>,
    has_devices: AtomicBool,
    me: Weak<Self>,
}

impl InetStack {
    /// A stack with a loopback interface.
    pub fn new(seed: u64) -> Arc<Self> {
        let clock = KernelClock::default();
        let seed = seed ^ clock.realtime_nanos();
        Arc::new_cyclic(|me| Self {
            stack: Mutex::new(Stack::new(seed)),
            sockets: Mutex::default(),
            clock,
            scheduler: OnceLock::new(),
            armed: AtomicU64::new(u64::MAX),
            timer: Mutex::default(),
            devices: RwLock::default(),
            has_devices: AtomicBool::new(false),
            me: me.clone(),
        })
    }

    /// Works on the stack, then tells the sockets that have changed.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Stack, u64) -> T) -> T {
        let now = self.clock.monotonic();
        let mut sending: SmallVec<[Arc<Device>; 2]> = SmallVec::new();
        let (value, events, deadline) = {
            let mut stack = self.stack.lock();
            stack.set_time(now);
            let value = work(&mut stack, now);
            if self.has_devices.load(Ordering::Relaxed) {
                let devices = self.devices.read();
                sending.extend(devices.iter().filter(|one| one.collect(&mut stack)).cloned());
            }
            (value, stack.take_events(), stack.deadline())
        };
        for device in sending {
            device.flush();
        }
        if let Some(deadline) = deadline
            && deadline < self.armed.load(Ordering::Relaxed)
        {
            self.arm(deadline);
        }
        for (id, events) in events {
            let socket = self.sockets.lock().get(&id).and_then(Weak::upgrade);
            if let Some(socket) = socket {
                socket.queue.notify(events);
            }
        }
        value
    }

    /// Has the stack looked at when a deadline comes.
    fn arm(&self, deadline: u64) {
        let Some(scheduler) = self.scheduler.get() else { return };
        let me = self.me.clone();
        let mut timer = self.timer.lock();
        // Another thread may have set an earlier one since; what was set is told under the timer's lock only.
        if deadline >= self.armed.load(Ordering::Relaxed) {
            return;
        }
        self.armed.store(deadline, Ordering::Relaxed);
        *timer = Some(scheduler.timer(deadline, move || {
            if let Some(stack) = me.upgrade() {
                stack.armed.store(u64::MAX, Ordering::Relaxed);
                stack.with(|stack, now| stack.advance(now));
            }
        }));
    }
}

/// A TCP or UDP socket.
pub struct InetSocket {
    id: SocketId,
    proto: Proto,
    /// `SOCK_…`.
    kind: u32,
    /// Protocol number: UDP-Lite is UDP here.
    protocol: u32,
    v6: bool,
    common: Common,
    queue: Arc<WaitQueue>,
    net: Arc<NetNamespace>,
    /// Options that are kept and shown, by level and name.
    values: Mutex<HashMap<(u32, u32), i32>>,
    /// Groups that it has joined.
    memberships: Mutex<Vec<(IpAddr, InterfaceId)>>,
    /// `TCP_CONGESTION`, if it was set.
    congestion: Mutex<Option<CongestionControl>>,
    user: u32,
    ino: AtomicU64,
}

impl InetSocket {
    /// A new socket by its numbers.
    ///
    /// # Errors
    /// EPROTONOSUPPORT, ESOCKTNOSUPPORT, EPERM, EACCES.
    pub fn create(
        domain: u32,
        kind: u32,
        protocol: u32,
        caller: &Caller<'_>,
    ) -> Result<Arc<dyn Socket>> {
        let proto = match (kind, protocol) {
            (SOCK_STREAM, 0 | IPPROTO_TCP) => Proto::Tcp,
            (SOCK_DGRAM, 0 | IPPROTO_UDP | IPPROTO_UDPLITE) => Proto::Udp,
            (SOCK_DGRAM, IPPROTO_ICMP) if domain == AF_INET => Proto::Raw,
            (SOCK_DGRAM, IPPROTO_ICMPV6) if domain == AF_INET6 => Proto::Raw,
            (SOCK_STREAM | SOCK_DGRAM, _) => return Err(Errno::EPROTONOSUPPORT),
            (SOCK_RAW, 0) => return Err(Errno::EPROTONOSUPPORT),
            (SOCK_RAW, _) if !caller.has_net_capability(CAP_NET_RAW) => return Err(Errno::EPERM),
            (SOCK_RAW, number) if number < 256 => Proto::Raw,
            (SOCK_RAW, _) => return Err(Errno::EINVAL),
            _ => return Err(Errno::ESOCKTNOSUPPORT),
        };
        let v6 = domain == AF_INET6;
        let user = caller.fs_cred().uid;
        let net = caller.net();
        if let Some(task) = caller.task() {
            net.inet.scheduler.get_or_init(|| task.kernel.scheduler.clone());
        }
        let id = net.inet.with(|stack, _| match proto {
            Proto::Tcp => stack.tcp_open(TcpOptions { v6, user, ..TcpOptions::default() }),
            Proto::Udp => stack.udp_open(UdpOptions { v6, user, ..UdpOptions::default() }),
            Proto::Raw => stack.raw_open(RawOptions {
                v6,
                protocol: protocol as u8,
                ping: kind == SOCK_DGRAM,
                header_included: protocol == IPPROTO_RAW,
                ..RawOptions::default()
            }),
        });
        let number = match (proto, protocol) {
            (Proto::Tcp, _) => IPPROTO_TCP,
            (Proto::Raw, other) => other,
            (Proto::Udp, 0) => IPPROTO_UDP,
            (Proto::Udp, other) => other,
        };
        Ok(Self::adopt(id, (proto, kind, number), v6, user, net))
    }

    fn adopt(
        id: SocketId,
        (proto, kind, protocol): (Proto, u32, u32),
        v6: bool,
        user: u32,
        net: &Arc<NetNamespace>,
    ) -> Arc<Self> {
        let common = Common::default();
        if proto == Proto::Tcp {
            common.send_buffer.store(16384, Ordering::Relaxed);
            common.receive_buffer.store(131_072, Ordering::Relaxed);
        }
        let socket = Arc::new(Self {
            id,
            proto,
            kind,
            protocol,
            v6,
            common,
            memberships: Mutex::default(),
            queue: Arc::default(),
            net: Arc::clone(net),
            values: Mutex::default(),
            congestion: Mutex::default(),
            user,
            ino: AtomicU64::new(0),
        });
        net.inet.sockets.lock().insert(id, Arc::downgrade(&socket));
        socket
    }

    fn with<T>(&self, work: impl FnOnce(&mut Stack, u64) -> T) -> T {
        self.net.inet.with(work)
    }

    /// Looks whether a packet, for the peer unless it is said for whom, has a way to go.
    ///
    /// # Errors
    /// ENETUNREACH, EADDRNOTAVAIL.
    fn check_way(&self, to: Option<SocketAddr>) -> Result<()> {
        let to = match to {
            None if self.net.loopback.is_up() => return Ok(()),
            // Where there is no peer the stack says so.
            None => self.with(|stack, _| stack.peer_address(self.id)).ok(),
            to => to,
        };
        to.map_or(Ok(()), |to| self.net.loopback.reach(to.ip()))
    }

    fn value(&self, level: u32, name: u32) -> Option<i32> {
        self.values.lock().get(&(level, name)).copied()
    }

    fn v6_only(&self) -> bool {
        use chitin_abi::net::{IPV6_V6ONLY, SOL_IPV6};
        self.value(SOL_IPV6, IPV6_V6ONLY).is_some_and(|value| value != 0)
    }

    fn send_tcp(&self, from: &mut dyn Source, flags: u32) -> Result<usize> {
        if flags & MSG_OOB != 0 {
            return self.send_urgent(from);
        }
        let mut sent = 0;
        loop {
            let room = match self.with(|stack, _| stack.tcp_send_room(self.id)) {
                Ok(room) => room,
                Err(errno) if sent == 0 => return Err(self.take_error().unwrap_or(errno)),
                Err(_) => return Ok(sent),
            };
            let want = room.min(from.remaining()).min(CHUNK);
            if want == 0 {
                return Ok(sent);
            }
            let mut data = vec![0; want];
            let count = match from.take(&mut data) {
                Ok(count) if count > 0 => count,
                _ if sent > 0 => return Ok(sent),
                Ok(_) => return Err(Errno::EFAULT),
                Err(errno) => return Err(errno),
            };
            data.truncate(count);
            sent += self.with(|stack, now| stack.tcp_push(self.id, Bytes::from(data), now))?;
            if from.remaining() == 0 {
                return Ok(sent);
            }
        }
    }

    fn receive_tcp(&self, to: &mut dyn Sink, flags: u32) -> Result<Received> {
        if flags & MSG_OOB != 0 {
            return self.receive_urgent(to, flags);
        }
        let (most, peek) = (to.remaining(), flags & MSG_PEEK != 0);
        let discard = flags & MSG_TRUNC != 0;
        let start = self.common.peek_start(peek);
        let mut take = |bytes: &[u8]| if discard { Ok(bytes.len()) } else { to.put(bytes) };
        let count =
            self.with(|stack, _| stack.tcp_receive(self.id, most, peek, start, &mut take))?;
        self.common.move_peek_offset(peek, count);
        Ok(Received { count, stop: count == 0, ..Received::default() })
    }

    /// Sends with an urgent last byte: all at once, as far as there is room.
    fn send_urgent(&self, from: &mut dyn Source) -> Result<usize> {
        let room = self.with(|stack, _| stack.tcp_send_room(self.id));
        let room = room.map_err(|errno| self.take_error().unwrap_or(errno))?;
        let mut data = vec![0; room.min(from.remaining()).min(CHUNK)];
        let count = if data.is_empty() { 0 } else { from.take(&mut data)? };
        data.truncate(count);
        if count == 0 {
            return Ok(0);
        }
        let last = from.remaining() == 0;
        self.with(|stack, now| {
            let data = Bytes::from(data);
            if last {
                stack.tcp_send_urgent(self.id, data, now)
            } else {
                stack.tcp_push(self.id, data, now)
            }
        })
    }

    fn receive_urgent(&self, to: &mut dyn Sink, flags: u32) -> Result<Received> {
        if self.common.oob_inline.load(Ordering::Relaxed) {
            return Err(Errno::EINVAL);
        }
        let byte =
            self.with(|stack, _| stack.tcp_receive_urgent(self.id, flags & MSG_PEEK != 0))?;
        let mut received = Received { stop: true, ..Received::default() };
        if let Some(byte) = byte {
            received.flags = MSG_OOB;
            if to.remaining() == 0 {
                received.flags |= MSG_TRUNC;
            } else {
                received.count = to.put(&[byte])?;
            }
        }
        Ok(received)
    }

    fn send_udp(&self, from: &mut dyn Source, message: &Outgoing<'_>) -> Result<usize> {
        if message.flags & MSG_OOB != 0 && !self.v6 {
            return Err(Errno::EOPNOTSUPP);
        }
        if from.remaining() > usize::from(u16::MAX) {
            return Err(Errno::EMSGSIZE);
        }
        let to = message.to.map(|bytes| address::parse_for_send(bytes, self.v6)).transpose()?;
        self.check_way(to)?;
        let length = from.remaining();
        let mut data = vec![0; length];
        if length > 0 && from.take(&mut data)? < length {
            return Err(Errno::EFAULT);
        }
        let marks = self.marks(&message.control)?;
        self.with(|stack, _| stack.udp_send(self.id, to, Bytes::from(data), marks))
    }

    fn receive_udp(&self, to: &mut dyn Sink, flags: u32) -> Result<Received> {
        if flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let datagram = self.with(|stack, _| stack.udp_receive(self.id, flags & MSG_PEEK != 0))?;
        let Some(datagram) = datagram else {
            // The end counts only for those who wait.
            return if flags & MSG_DONTWAIT != 0 {
                Err(Errno::EAGAIN)
            } else {
                Ok(Received::default())
            };
        };
        let length = datagram.data.len();
        let stored = if length == 0 || to.remaining() == 0 { 0 } else { to.put(&datagram.data)? };
        if stored < length && to.remaining() > 0 {
            return Err(Errno::EFAULT);
        }
        let mut received = Received {
            count: if flags & MSG_TRUNC != 0 { length } else { stored },
            from: Some(address::emit(datagram.from)),
            flags: if stored < length { MSG_TRUNC } else { 0 },
            ..Received::default()
        };
        self.attach_header_info(&datagram, &mut received.control);
        if self.common.timestamp.load(Ordering::Relaxed) {
            let now = Timeval::from_nanos(self.net.inet.clock.realtime_nanos());
            received.control.other.push(options::raw(SOL_SOCKET, SCM_TIMESTAMP, now.as_bytes()));
        }
        if self.common.timestamp_nanos.load(Ordering::Relaxed) {
            let now = self.net.inet.clock.realtime();
            received.control.other.push(options::raw(SOL_SOCKET, SCM_TIMESTAMPNS, now.as_bytes()));
        }
        Ok(received)
    }
}

impl Socket for InetSocket {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }

    fn info(&self) -> SocketInfo {
        SocketInfo {
            domain: if self.v6 { AF_INET6 } else { AF_INET },
            kind: self.kind,
            protocol: self.protocol,
        }
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    fn poll(&self) -> PollEvents {
        self.with(|stack, _| stack.poll(self.id))
    }

    fn bind(&self, bytes: &[u8], caller: &Caller<'_>) -> Result<()> {
        let address = address::parse_for_bind(bytes, self.v6)?;
        let privileged = (1..UNPRIVILEGED_PORTS).contains(&address.port());
        if privileged && !caller.has_net_capability(CAP_NET_BIND_SERVICE) {
            return Err(Errno::EACCES);
        }
        let (ip, loopback) = (address.ip(), &self.net.loopback);
        if ip.is_ipv6() && !ip.is_unspecified() && loopback.reach(ip) == Err(Errno::EADDRNOTAVAIL) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        self.apply_options();
        let v6_only = self.v6_only();
        self.with(|stack, _| stack.bind(self.id, address, v6_only))
    }

    fn listen(&self, backlog: u32, _caller: &Caller<'_>) -> Result<()> {
        if self.proto != Proto::Tcp {
            return Err(Errno::EOPNOTSUPP);
        }
        self.apply_options();
        let backlog = backlog.min(chitin_abi::net::SOMAXCONN) as usize;
        self.with(|stack, _| stack.listen(self.id, backlog))
    }

    fn connect(&self, bytes: &[u8], _caller: &Caller<'_>) -> Result<()> {
        self.apply_options();
        match address::parse_for_connect(bytes, self.v6)? {
            Some(address) => {
                self.net.loopback.reach(address.ip())?;
                self.with(|stack, now| stack.connect(self.id, address, now))
            }
            None => self.with(|stack, _| stack.disconnect(self.id)),
        }
    }

    fn connect_result(&self) -> Result<()> {
        self.with(|stack, _| stack.connect_result(self.id))
    }

    fn accept(&self) -> Result<Arc<dyn Socket>> {
        if self.proto != Proto::Tcp {
            return Err(Errno::EOPNOTSUPP);
        }
        let id = self.with(|stack, _| stack.accept(self.id))?;
        let socket =
            Self::adopt(id, (Proto::Tcp, SOCK_STREAM, IPPROTO_TCP), self.v6, self.user, &self.net);
        socket.common.inherit(&self.common);
        socket.values.lock().clone_from(&self.values.lock());
        *socket.congestion.lock() = *self.congestion.lock();
        Ok(socket)
    }

    fn send(
        &self,
        from: &mut dyn Source,
        message: &mut Outgoing<'_>,
        _caller: &Caller<'_>,
    ) -> Result<usize> {
        match self.proto {
            Proto::Tcp => self.send_tcp(from, message.flags),
            Proto::Udp => self.send_udp(from, message),
            Proto::Raw => self.send_raw(from, message),
        }
    }

    fn receive(&self, to: &mut dyn Sink, flags: u32) -> Result<Received> {
        if flags & MSG_ERRQUEUE != 0 {
            return Err(Errno::EAGAIN);
        }
        match self.proto {
            Proto::Tcp => self.receive_tcp(to, flags),
            Proto::Udp => self.receive_udp(to, flags),
            Proto::Raw => self.receive_raw(to, flags),
        }
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.with(|stack, now| stack.shutdown(self.id, how.read, how.write, now))
    }

    fn local_address(&self) -> Result<Vec<u8>> {
        self.with(|stack, _| stack.local_address(self.id)).map(address::emit)
    }

    fn peer_address(&self) -> Result<Vec<u8>> {
        self.with(|stack, _| stack.peer_address(self.id)).map(address::emit)
    }

    fn option(&self, level: u32, name: u32, _room: usize, _caller: &Caller<'_>) -> Result<Vec<u8>> {
        self.get_value(level, name)
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8], _caller: &Caller<'_>) -> Result<()> {
        self.set_value(level, name, value)
    }

    fn common_changed(&self) {
        let send = self.common.send_buffer.load(Ordering::Relaxed) as usize;
        let receive = self.common.receive_buffer.load(Ordering::Relaxed) as usize;
        self.with(|stack, _| match self.proto {
            Proto::Tcp => stack.tcp_configure(self.id, |options| {
                options.send_buffer = Some(send);
                options.receive_buffer = Some(receive);
            }),
            Proto::Udp => {
                stack.udp_configure(self.id, |options| options.receive_buffer = Some(receive));
            }
            Proto::Raw => {
                stack.raw_configure(self.id, |options| options.receive_buffer = Some(receive));
            }
        });
        self.queue.notify(PollEvents::POLLOUT);
    }

    fn switched(&self) {
        self.apply_options();
    }

    fn take_error(&self) -> Option<Errno> {
        self.with(|stack, _| stack.take_error(self.id))
    }

    fn is_listening(&self) -> bool {
        self.with(|stack, _| stack.tcp_state(self.id)) == TcpState::Listen
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        let value = match (command, self.proto) {
            (SIOCINQ | SIOCOUTQ, Proto::Tcp) if self.is_listening() => return Err(Errno::EINVAL),
            (SIOCINQ, Proto::Tcp) => self.with(|stack, _| stack.tcp_stats(self.id).unread),
            (SIOCOUTQ, Proto::Tcp) => self.with(|stack, _| stack.tcp_stats(self.id).unsent),
            (SIOCATMARK, Proto::Tcp) => u32::from(self.with(|stack, _| stack.tcp_at_mark(self.id))),
            (SIOCINQ, Proto::Udp) => self.with(|stack, _| stack.udp_next_len(self.id)) as u32,
            (SIOCINQ, Proto::Raw) => self.with(|stack, _| stack.raw_next_len(self.id)) as u32,
            (SIOCOUTQ, Proto::Udp | Proto::Raw) => 0,
            _ => return Err(Errno::ENOTTY),
        };
        context.memory().write(argument, &value.to_ne_bytes())?;
        Ok(0)
    }

    fn opened(&self, ino: u64) {
        self.ino.store(ino, Ordering::Relaxed);
    }

    fn close(&self) {
        self.apply_options();
        self.leave_all();
        self.net.inet.sockets.lock().remove(&self.id);
        self.with(|stack, now| stack.close(self.id, now));
    }
}
