//! The options of `SOL_SOCKET` that mean the same for all families (`socket(7)`).

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

use chitin_abi::net::{
    AF_INET, AF_INET6, AF_UNIX, Linger, SO_ACCEPTCONN, SO_BINDTODEVICE, SO_BINDTOIFINDEX,
    SO_BPF_EXTENSIONS, SO_BROADCAST, SO_BSDCOMPAT, SO_BUF_LOCK, SO_BUSY_POLL, SO_COOKIE, SO_DEBUG,
    SO_DETACH_FILTER, SO_DOMAIN, SO_DONTROUTE, SO_ERROR, SO_GET_FILTER, SO_INCOMING_CPU,
    SO_INCOMING_NAPI_ID, SO_KEEPALIVE, SO_LINGER, SO_LOCK_FILTER, SO_MARK, SO_MAX_PACING_RATE,
    SO_MEMINFO, SO_NETNS_COOKIE, SO_NO_CHECK, SO_NOFCS, SO_OOBINLINE, SO_PASSCRED, SO_PASSPIDFD,
    SO_PASSSEC, SO_PEEK_OFF, SO_PEERCRED, SO_PREFER_BUSY_POLL, SO_PRIORITY, SO_PROTOCOL, SO_RCVBUF,
    SO_RCVBUFFORCE, SO_RCVLOWAT, SO_RCVMARK, SO_RCVPRIORITY, SO_RCVTIMEO_NEW, SO_RCVTIMEO_OLD,
    SO_REUSEADDR, SO_REUSEPORT, SO_RXQ_OVFL, SO_SELECT_ERR_QUEUE, SO_SNDBUF, SO_SNDBUFFORCE,
    SO_SNDLOWAT, SO_SNDTIMEO_NEW, SO_SNDTIMEO_OLD, SO_TIMESTAMP_NEW, SO_TIMESTAMP_OLD,
    SO_TIMESTAMPING_NEW, SO_TIMESTAMPING_OLD, SO_TIMESTAMPNS_NEW, SO_TIMESTAMPNS_OLD, SO_TXREHASH,
    SO_TXTIME, SO_TYPE, SO_WIFI_STATUS, SO_ZEROCOPY, Ucred,
};
use chitin_abi::process::{CAP_NET_ADMIN, CAP_NET_RAW};
use chitin_abi::time::Timeval;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;
use zerocopy::{FromBytes, IntoBytes};

use super::{Caller, Socket};

/// `net.core.wmem_default`, `wmem_max` and the same of `rmem`.
pub const DEFAULT_BUFFER: u32 = 212_992;
const MIN_SEND_BUFFER: u32 = 4608;
const MIN_RECEIVE_BUFFER: u32 = 2304;
/// Ancillary loads of packet filters, in number.
const BPF_EXTENSIONS: i32 = 64;
/// Words of `SO_MEMINFO`.
const SK_MEMINFO_VARS: usize = 9;
/// No timeout.
const FOREVER: u64 = 0;

/// Values of options.
pub struct Common {
    /// `SO_SNDBUF`.
    pub send_buffer: AtomicU32,
    /// `SO_RCVBUF`.
    pub receive_buffer: AtomicU32,
    /// `SO_PASSCRED`.
    pub pass_cred: AtomicBool,
    /// `SO_PASSPIDFD`.
    pub pass_pidfd: AtomicBool,
    /// `SO_REUSEADDR`.
    pub reuse_address: AtomicBool,
    /// `SO_REUSEPORT`.
    pub reuse_port: AtomicBool,
    /// `SO_KEEPALIVE`.
    pub keep_alive: AtomicBool,
    /// `SO_BROADCAST`.
    pub broadcast: AtomicBool,
    /// `SO_OOBINLINE`.
    pub oob_inline: AtomicBool,
    /// `SO_TIMESTAMP`.
    pub timestamp: AtomicBool,
    /// `SO_TIMESTAMPNS`: the same in nanoseconds; one excludes the other.
    pub timestamp_nanos: AtomicBool,
    /// `SO_RCVLOWAT`.
    pub receive_low: AtomicU32,
    /// `SO_PEEK_OFF`; negative for none.
    pub peek_offset: AtomicI32,
    /// `SO_LINGER`.
    pub linger: Mutex<Linger>,
    /// Options without an effect here that have been set.
    kept: Mutex<Vec<(u32, i32)>>,
    priority: AtomicU32,
    mark: AtomicU32,
    busy_poll: AtomicU32,
    receive_timeout: AtomicU64,
    send_timeout: AtomicU64,
    cookie: AtomicU64,
}

static NEXT_COOKIE: AtomicU64 = AtomicU64::new(1);

impl Default for Common {
    fn default() -> Self {
        Self {
            send_buffer: AtomicU32::new(DEFAULT_BUFFER),
            receive_buffer: AtomicU32::new(DEFAULT_BUFFER),
            pass_cred: AtomicBool::new(false),
            pass_pidfd: AtomicBool::new(false),
            reuse_address: AtomicBool::new(false),
            reuse_port: AtomicBool::new(false),
            keep_alive: AtomicBool::new(false),
            broadcast: AtomicBool::new(false),
            oob_inline: AtomicBool::new(false),
            timestamp: AtomicBool::new(false),
            timestamp_nanos: AtomicBool::new(false),
            receive_low: AtomicU32::new(1),
            peek_offset: AtomicI32::new(-1),
            linger: Mutex::default(),
            kept: Mutex::default(),
            priority: AtomicU32::new(0),
            mark: AtomicU32::new(0),
            busy_poll: AtomicU32::new(0),
            receive_timeout: AtomicU64::new(FOREVER),
            send_timeout: AtomicU64::new(FOREVER),
            cookie: AtomicU64::new(0),
        }
    }
}

impl Common {
    /// How long receives, accepts and connects wait: nanoseconds, `None` for ever.
    pub fn receive_timeout(&self) -> Option<u64> {
        Some(self.receive_timeout.load(Ordering::Relaxed)).filter(|timeout| *timeout != FOREVER)
    }

    /// How long sends wait.
    pub fn send_timeout(&self) -> Option<u64> {
        Some(self.send_timeout.load(Ordering::Relaxed)).filter(|timeout| *timeout != FOREVER)
    }

    /// Where a peek begins (`SO_PEEK_OFF`).
    pub fn peek_start(&self, peek: bool) -> usize {
        let offset = self.peek_offset.load(Ordering::Relaxed);
        if peek { usize::try_from(offset).unwrap_or(0) } else { 0 }
    }

    /// Moves that place behind what was peeked at, or back with what was read. Receives on one socket call it one
    /// after the other.
    pub fn move_peek_offset(&self, peek: bool, count: usize) {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let offset = self.peek_offset.load(Ordering::Relaxed);
        if offset >= 0 {
            let moved = if peek {
                offset.saturating_add(count)
            } else {
                offset.saturating_sub(count).max(0)
            };
            self.peek_offset.store(moved, Ordering::Relaxed);
        }
    }

    /// Takes over what an accepted socket has from its listener.
    pub fn inherit(&self, from: &Self) {
        for (to, from) in [
            (&self.send_buffer, &from.send_buffer),
            (&self.receive_buffer, &from.receive_buffer),
            (&self.receive_low, &from.receive_low),
            (&self.priority, &from.priority),
            (&self.mark, &from.mark),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        for (to, from) in [
            (&self.pass_cred, &from.pass_cred),
            (&self.pass_pidfd, &from.pass_pidfd),
            (&self.reuse_address, &from.reuse_address),
            (&self.reuse_port, &from.reuse_port),
            (&self.keep_alive, &from.keep_alive),
            (&self.oob_inline, &from.oob_inline),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        *self.linger.lock() = *from.linger.lock();
    }

    fn switch(&self, name: u32) -> Option<&AtomicBool> {
        Some(match name {
            SO_PASSCRED => &self.pass_cred,
            SO_PASSPIDFD => &self.pass_pidfd,
            SO_REUSEADDR => &self.reuse_address,
            SO_REUSEPORT => &self.reuse_port,
            SO_KEEPALIVE => &self.keep_alive,
            SO_BROADCAST => &self.broadcast,
            SO_OOBINLINE => &self.oob_inline,
            SO_TIMESTAMP_OLD | SO_TIMESTAMP_NEW => &self.timestamp,
            SO_TIMESTAMPNS_OLD | SO_TIMESTAMPNS_NEW => &self.timestamp_nanos,
            _ => return None,
        })
    }
}

/// Options that are kept and shown but do nothing here.
struct Inert {
    /// What is shown at first.
    first: i32,
    /// The largest value, the smallest being 0; 1 and any other for a switch.
    most: Option<i32>,
    /// Bytes that are shown.
    width: usize,
}

const fn inert(name: u32, domain: u32) -> Option<Inert> {
    let is_inet = matches!(domain, AF_INET | AF_INET6);
    let (first, most, width) = match name {
        SO_DEBUG | SO_DONTROUTE | SO_NO_CHECK | SO_RXQ_OVFL | SO_WIFI_STATUS | SO_NOFCS
        | SO_LOCK_FILTER | SO_SELECT_ERR_QUEUE | SO_PREFER_BUSY_POLL | SO_RCVMARK
        | SO_RCVPRIORITY => (0, None, 4),
        SO_PASSSEC if !is_inet => (0, None, 4),
        SO_TIMESTAMPING_OLD | SO_TIMESTAMPING_NEW => (0, Some(0x7ffff), 8),
        SO_MAX_PACING_RATE => (-1, Some(i32::MAX), 8),
        SO_INCOMING_CPU => (-1, Some(i32::MAX), 4),
        SO_ZEROCOPY if is_inet => (0, Some(1), 4),
        SO_BUF_LOCK => (0, Some(3), 4),
        SO_BINDTOIFINDEX => (0, Some(super::interface::LOOPBACK_INDEX), 4),
        SO_TXREHASH if is_inet => (1, Some(1), 4),
        _ => return None,
    };
    Some(Inert { first, most, width })
}

impl Inert {
    fn show(&self, value: i32) -> Vec<u8> {
        let bytes = i64::from(value).to_ne_bytes();
        bytes.get(..self.width).unwrap_or(&bytes).to_vec()
    }

    /// What is kept of a value.
    fn take(&self, value: i32) -> Result<i32> {
        match self.most {
            None => Ok(i32::from(value != 0)),
            Some(most) if (0..=most).contains(&value) || value == self.first => Ok(value),
            Some(_) => Err(Errno::EINVAL),
        }
    }
}

/// Options that only show something, the same always.
fn constant(name: u32, room: usize) -> Option<Result<Vec<u8>>> {
    Some(Ok(match name {
        SO_GET_FILTER => Vec::new(),
        SO_BPF_EXTENSIONS => int(BPF_EXTENSIONS),
        SO_INCOMING_NAPI_ID => int(0),
        SO_TXTIME => vec![0; 8],
        SO_NETNS_COOKIE if room == 8 => 1_u64.to_ne_bytes().to_vec(),
        SO_NETNS_COOKIE => return Some(Err(Errno::EINVAL)),
        _ => return None,
    }))
}

/// The value of a `SOL_SOCKET` option.
///
/// # Errors
/// ENOPROTOOPT; EOPNOTSUPP for one that the family does not have; EINVAL.
pub fn get(socket: &dyn Socket, name: u32, room: usize, caller: &Caller<'_>) -> Result<Vec<u8>> {
    let common = socket.common();
    let info = socket.info();
    if let Some(switch) = common.switch(name) {
        let local = matches!(info.domain, AF_UNIX | chitin_abi::net::AF_NETLINK);
        if matches!(name, SO_PASSCRED | SO_PASSPIDFD) && !local {
            return Err(Errno::EOPNOTSUPP);
        }
        return Ok(int(i32::from(switch.load(Ordering::Relaxed))));
    }
    if let Some(inert) = inert(name, info.domain) {
        let kept =
            common.kept.lock().iter().find(|(kept, _)| *kept == name).map(|(_, value)| *value);
        return Ok(inert.show(kept.unwrap_or(inert.first)));
    }
    if let Some(shown) = constant(name, room) {
        return shown;
    }
    Ok(match name {
        SO_TYPE => int(info.kind.cast_signed()),
        SO_DOMAIN => int(info.domain.cast_signed()),
        SO_PROTOCOL => int(info.protocol.cast_signed()),
        SO_ERROR => int(socket.take_error().map_or(0, Errno::raw)),
        SO_ACCEPTCONN => int(i32::from(socket.is_listening())),
        SO_SNDBUF => int(common.send_buffer.load(Ordering::Relaxed).cast_signed()),
        SO_RCVBUF => int(common.receive_buffer.load(Ordering::Relaxed).cast_signed()),
        SO_RCVLOWAT => int(common.receive_low.load(Ordering::Relaxed).cast_signed()),
        SO_SNDLOWAT => int(1),
        SO_PRIORITY => int(common.priority.load(Ordering::Relaxed).cast_signed()),
        SO_MARK => int(common.mark.load(Ordering::Relaxed).cast_signed()),
        SO_BUSY_POLL => int(common.busy_poll.load(Ordering::Relaxed).cast_signed()),
        SO_BSDCOMPAT => int(0),
        SO_PEEK_OFF if info.domain != chitin_abi::net::AF_NETLINK => {
            int(common.peek_offset.load(Ordering::Relaxed))
        }
        SO_PEEK_OFF => return Err(Errno::EOPNOTSUPP),
        SO_LINGER => common.linger.lock().as_bytes().to_vec(),
        SO_RCVTIMEO_OLD | SO_RCVTIMEO_NEW => timeval(&common.receive_timeout),
        SO_SNDTIMEO_OLD | SO_SNDTIMEO_NEW => timeval(&common.send_timeout),
        SO_BINDTODEVICE => Vec::new(),
        SO_PEERCRED if matches!(info.domain, AF_INET | AF_INET6) => {
            Ucred { pid: 0, uid: u32::MAX, gid: u32::MAX }.as_bytes().to_vec()
        }
        SO_MEMINFO => {
            let (receive, send) = (&common.receive_buffer, &common.send_buffer);
            let mut words = [0; SK_MEMINFO_VARS];
            (words[1], words[3]) = (receive.load(Ordering::Relaxed), send.load(Ordering::Relaxed));
            words.as_bytes().to_vec()
        }
        SO_PASSSEC => return Err(Errno::EOPNOTSUPP),
        SO_COOKIE if room < 8 => return Err(Errno::EINVAL),
        SO_COOKIE => cookie(common).to_ne_bytes().to_vec(),
        _ => return socket.option(chitin_abi::net::SOL_SOCKET, name, room, caller),
    })
}

/// Sets a `SOL_SOCKET` option.
///
/// # Errors
/// ENOPROTOOPT, EINVAL, EPERM, EDOM.
pub fn set(socket: &dyn Socket, name: u32, value: &[u8], caller: &Caller<'_>) -> Result<()> {
    if name == SO_BINDTODEVICE {
        return bind_to_device(value);
    }
    let common = socket.common();
    // Linux looks at an int before it looks at the name.
    let number = i32::read_from_prefix(value).map_err(|_| Errno::EINVAL)?.0;
    let on = number != 0;
    if let Some(switch) = common.switch(name) {
        switch_allowed(socket, name, on)?;
        if matches!(
            name,
            SO_TIMESTAMP_OLD | SO_TIMESTAMP_NEW | SO_TIMESTAMPNS_OLD | SO_TIMESTAMPNS_NEW
        ) {
            common.timestamp.store(false, Ordering::Relaxed);
            common.timestamp_nanos.store(false, Ordering::Relaxed);
        }
        switch.store(on, Ordering::Relaxed);
        socket.switched();
        return Ok(());
    }
    if let Some(inert) = inert(name, socket.info().domain) {
        let value = inert.take(number)?;
        let mut kept = common.kept.lock();
        kept.retain(|(kept, _)| *kept != name);
        kept.push((name, value));
        return Ok(());
    }
    match name {
        SO_TYPE | SO_PROTOCOL | SO_DOMAIN | SO_ERROR | SO_ACCEPTCONN | SO_SNDLOWAT => {
            Err(Errno::ENOPROTOOPT)
        }
        SO_SNDBUF | SO_SNDBUFFORCE => {
            let forced = name == SO_SNDBUFFORCE;
            buffer(&common.send_buffer, number, MIN_SEND_BUFFER, forced, caller)?;
            socket.common_changed();
            Ok(())
        }
        SO_RCVBUF | SO_RCVBUFFORCE => {
            let forced = name == SO_RCVBUFFORCE;
            buffer(&common.receive_buffer, number, MIN_RECEIVE_BUFFER, forced, caller)?;
            socket.common_changed();
            Ok(())
        }
        SO_RCVLOWAT => {
            let low = if number < 0 { i32::MAX } else { number.max(1) };
            common.receive_low.store(low.cast_unsigned(), Ordering::Relaxed);
            Ok(())
        }
        SO_PRIORITY if (0..=6).contains(&number) || caller.has_net_capability(CAP_NET_ADMIN) => {
            common.priority.store(number.cast_unsigned(), Ordering::Relaxed);
            Ok(())
        }
        SO_MARK if caller.is_net_admin() || caller.has_net_capability(CAP_NET_RAW) => {
            common.mark.store(number.cast_unsigned(), Ordering::Relaxed);
            Ok(())
        }
        SO_PRIORITY | SO_MARK => Err(Errno::EPERM),
        SO_BUSY_POLL if number < 0 => Err(Errno::EINVAL),
        SO_BUSY_POLL => {
            common.busy_poll.store(number.cast_unsigned(), Ordering::Relaxed);
            Ok(())
        }
        SO_BSDCOMPAT => Ok(()),
        SO_DETACH_FILTER => Err(Errno::ENOENT),
        SO_PASSSEC => Err(Errno::EOPNOTSUPP),
        SO_PEEK_OFF if socket.info().domain != chitin_abi::net::AF_NETLINK => {
            common.peek_offset.store(number.max(-1), Ordering::Relaxed);
            Ok(())
        }
        SO_PEEK_OFF => Err(Errno::EOPNOTSUPP),
        SO_LINGER => {
            *common.linger.lock() = Linger::read_from_prefix(value).map_err(|_| Errno::EINVAL)?.0;
            Ok(())
        }
        SO_RCVTIMEO_OLD | SO_RCVTIMEO_NEW => set_timeout(&common.receive_timeout, value),
        SO_SNDTIMEO_OLD | SO_SNDTIMEO_NEW => set_timeout(&common.send_timeout, value),
        _ => socket.set_option(chitin_abi::net::SOL_SOCKET, name, value, caller),
    }
}

/// `SO_BINDTODEVICE`: there is one interface, and no other way.
fn bind_to_device(name: &[u8]) -> Result<()> {
    match name.split(|byte| *byte == 0).next() {
        Some(b"lo" | b"") | None => Ok(()),
        Some(_) => Err(Errno::ENODEV),
    }
}

fn switch_allowed(socket: &dyn Socket, name: u32, on: bool) -> Result<()> {
    let info = socket.info();
    match name {
        SO_PASSCRED | SO_PASSPIDFD
            if info.domain != AF_UNIX && info.domain != chitin_abi::net::AF_NETLINK =>
        {
            Err(Errno::EOPNOTSUPP)
        }
        SO_REUSEPORT if on && !matches!(info.domain, AF_INET | AF_INET6) => Err(Errno::EOPNOTSUPP),
        _ => Ok(()),
    }
}

fn int(value: i32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

fn timeval(timeout: &AtomicU64) -> Vec<u8> {
    Timeval::from_nanos(timeout.load(Ordering::Relaxed)).as_bytes().to_vec()
}

fn set_timeout(timeout: &AtomicU64, value: &[u8]) -> Result<()> {
    let value = Timeval::read_from_prefix(value).map_err(|_| Errno::EINVAL)?.0;
    if !(0..1_000_000).contains(&value.tv_usec) {
        return Err(Errno::EDOM);
    }
    // A negative time is an immediate timeout.
    let nanos = if value.tv_sec < 0 { 1 } else { value.to_nanos().unwrap_or(FOREVER) };
    timeout.store(nanos, Ordering::Relaxed);
    Ok(())
}

fn buffer(
    buffer: &AtomicU32,
    asked: i32,
    least: u32,
    forced: bool,
    caller: &Caller<'_>,
) -> Result<()> {
    if forced && !caller.is_net_admin() {
        return Err(Errno::EPERM);
    }
    let asked = asked.cast_unsigned();
    // Even a privileged caller gets no more than the kernel can afford.
    let most = if forced { 64 << 20 } else { DEFAULT_BUFFER };
    buffer.store(asked.min(most).saturating_mul(2).max(least), Ordering::Relaxed);
    Ok(())
}

fn cookie(common: &Common) -> u64 {
    let fresh = NEXT_COOKIE.fetch_add(1, Ordering::Relaxed);
    match common.cookie.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(known) => known,
    }
}
