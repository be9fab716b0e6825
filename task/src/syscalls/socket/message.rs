//! Sending and receiving.

use core::sync::atomic::Ordering;

use chitin_abi::net::{
    MMsgHdr, MSG_CMSG_CLOEXEC, MSG_CMSG_COMPAT, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_PEEK, MSG_WAITALL,
    MSG_WAITFORONE, MsgHdr, SOCKADDR_STORAGE_LEN,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::signal::SIGPIPE;
use chitin_abi::time::Timespec;
use chitin_abi::uio::IOV_MAX;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::io::{Sink, Source};

use super::{Target, address, control, is_datagram, is_stream};
use crate::context::Ctx;
use crate::error::{SysError, SysResult};
use crate::readiness::{Patience, patiently};
use crate::socket::{Caller, Control, Outgoing, Received};
use crate::syscalls::args::{BytesIn, BytesOut, Fd, Flags, Time};
use crate::syscalls::scatter::Scatter;

const MSGHDR_LEN: u64 = size_of::<MsgHdr>() as u64;
const MMSGHDR_LEN: u64 = size_of::<MMsgHdr>() as u64;

/// `sendto(2)`, `send(2)`.
pub async fn sendto(
    cx: &mut Ctx<'_>,
    fd: Fd,
    buf: BytesIn,
    count: usize,
    flags: Flags,
    addr: GuestAddr,
    length: u32,
) -> SysResult {
    let from = Scatter::single(cx.memory(), buf.0, count)?;
    let target = Target::get(cx, fd)?;
    let to = if addr.is_null() { None } else { Some(address::read(cx, addr, length)?) };
    send(cx, &target, from, to.as_deref(), Control::default(), flags.0).await
}

/// `sendmsg(2)`.
pub async fn sendmsg(cx: &mut Ctx<'_>, fd: Fd, message: GuestAddr, flags: Flags) -> SysResult {
    if flags.0 & MSG_CMSG_COMPAT != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = Target::get(cx, fd)?;
    send_message(cx, &target, message, flags.0).await
}

/// `sendmmsg(2)`.
pub async fn sendmmsg(
    cx: &mut Ctx<'_>,
    fd: Fd,
    messages: GuestAddr,
    count: u32,
    flags: Flags,
) -> SysResult {
    if flags.0 & MSG_CMSG_COMPAT != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = Target::get(cx, fd)?;
    let mut done = 0;
    while done < u64::from(count).min(IOV_MAX as u64) {
        let at = element(messages, done)?;
        let result = match send_message(cx, &target, at, flags.0).await {
            Ok(sent) => write_length(cx, at, sent).map_err(SysError::from),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => done += 1,
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

fn element(messages: GuestAddr, index: u64) -> Result<GuestAddr> {
    messages.checked_add(index * MMSGHDR_LEN).ok_or(Errno::EFAULT)
}

fn write_length(cx: &Ctx<'_>, message: GuestAddr, length: u64) -> Result<()> {
    let at = message.checked_add(MSGHDR_LEN).ok_or(Errno::EFAULT)?;
    cx.write(at, &(length as u32))
}

fn read_header(cx: &Ctx<'_>, addr: GuestAddr) -> Result<MsgHdr> {
    let mut header: MsgHdr = cx.read(addr)?;
    if header.name == 0 {
        header.namelen = 0;
    }
    if header.namelen.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    header.namelen = header.namelen.min(SOCKADDR_STORAGE_LEN as u32);
    if header.iovlen > IOV_MAX as u64 {
        return Err(Errno::EMSGSIZE);
    }
    Ok(header)
}

async fn send_message(cx: &Ctx<'_>, target: &Target, addr: GuestAddr, flags: u32) -> SysResult {
    let header = read_header(cx, addr)?;
    let to = match header.namelen {
        0 => None,
        length => Some(address::read(cx, GuestAddr(header.name), length)?),
    };
    let from = Scatter::vector(cx.memory(), GuestAddr(header.iov), header.iovlen as usize)?;
    let control = {
        let caller = Caller::new(cx.task);
        control::read(cx, GuestAddr(header.control), header.controllen, &*target.socket, &caller)?
    };
    send(cx, target, from, to.as_deref(), control, flags).await
}

pub(super) async fn send(
    cx: &Ctx<'_>,
    target: &Target,
    mut from: Scatter<'_>,
    to: Option<&[u8]>,
    control: Control,
    flags: u32,
) -> SysResult {
    let caller = Caller::new(cx.task);
    let socket = &target.socket;
    let patience = target.send_patience(flags & MSG_DONTWAIT != 0);
    let flags = if patience == Patience::None { flags | MSG_DONTWAIT } else { flags };
    let mut message = Outgoing { to, control, flags };
    let stream = is_stream(&**socket);
    let mut done = 0_u64;
    loop {
        let attempt = || socket.send(&mut from, &mut message, &caller);
        match patiently(cx, socket.queue(), PollEvents::POLLOUT, patience, attempt).await {
            Ok(count) => done = done.saturating_add(count as u64),
            Err(_) if done > 0 => return Ok(done),
            Err(error) => {
                let broken = error == SysError::Errno(Errno::EPIPE);
                if broken && flags & MSG_NOSIGNAL == 0 && stream {
                    cx.signal_self(SIGPIPE);
                }
                return Err(error);
            }
        }
        if !stream || Source::remaining(&from) == 0 {
            return Ok(done);
        }
    }
}

/// `recvfrom(2)`, `recv(2)`.
pub async fn recvfrom(
    cx: &mut Ctx<'_>,
    fd: Fd,
    buf: BytesOut,
    count: usize,
    flags: Flags,
    addr: GuestAddr,
    length: GuestAddr,
) -> SysResult {
    let to = Scatter::single(cx.memory(), buf.0, count)?;
    let target = Target::get(cx, fd)?;
    let received = receive(cx, &target, to, flags.0).await?;
    if !addr.is_null() {
        address::write(cx, received.from.as_deref().unwrap_or_default(), addr, length)?;
    }
    Ok(received.count as u64)
}

/// `recvmsg(2)`.
pub async fn recvmsg(cx: &mut Ctx<'_>, fd: Fd, message: GuestAddr, flags: Flags) -> SysResult {
    if flags.0 & MSG_CMSG_COMPAT != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = Target::get(cx, fd)?;
    receive_message(cx, &target, message, flags.0).await
}

/// `recvmmsg(2)`: the timeout is looked at between messages only, as on Linux.
pub async fn recvmmsg(
    cx: &mut Ctx<'_>,
    fd: Fd,
    messages: GuestAddr,
    count: u32,
    flags: Flags,
    timeout: Time,
) -> SysResult {
    if flags.0 & MSG_CMSG_COMPAT != 0 {
        return Err(Errno::EINVAL.into());
    }
    let deadline = if timeout.0.is_null() {
        None
    } else {
        let time: Timespec = cx.read(timeout.0)?;
        let nanos = time.to_nanos().ok_or(Errno::EINVAL)?;
        Some(cx.kernel().clock.monotonic().saturating_add(nanos))
    };
    let target = Target::get(cx, fd)?;
    let mut flags = flags.0;
    let mut done = 0;
    let mut result = Ok(0);
    while done < u64::from(count).min(IOV_MAX as u64) {
        let at = element(messages, done)?;
        result = receive_message(cx, &target, at, flags & !MSG_WAITFORONE).await;
        let Ok(length) = result else { break };
        write_length(cx, at, length)?;
        done += 1;
        if flags & MSG_WAITFORONE != 0 {
            flags |= MSG_DONTWAIT;
        }
        if deadline.is_some_and(|deadline| cx.kernel().clock.monotonic() >= deadline) {
            break;
        }
    }
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(cx.kernel().clock.monotonic());
        cx.write(timeout.0, &Timespec::from_nanos(i64::try_from(left).unwrap_or(i64::MAX)))?;
    }
    if done == 0 { result } else { Ok(done) }
}

async fn receive_message(cx: &Ctx<'_>, target: &Target, addr: GuestAddr, flags: u32) -> SysResult {
    let header = read_header(cx, addr)?;
    let to = Scatter::vector(cx.memory(), GuestAddr(header.iov), header.iovlen as usize)?;
    let received = receive(cx, target, to, flags).await?;
    let count = received.count as u64;
    if header.name != 0 {
        let name_length =
            addr.checked_add(core::mem::offset_of!(MsgHdr, namelen) as u64).ok_or(Errno::EFAULT)?;
        let from = received.from.unwrap_or_default();
        let room = header.namelen as usize;
        let stored = from.get(..room.min(from.len())).unwrap_or_default();
        if !stored.is_empty() {
            cx.memory().write(GuestAddr(header.name), stored)?;
        }
        cx.write(name_length, &(from.len() as u32))?;
    }
    let (used, truncated) =
        control::write(cx, received.control, GuestAddr(header.control), header.controllen, flags)?;
    let result_flags = received.flags | truncated | (flags & MSG_CMSG_CLOEXEC);
    let at = |offset: usize| addr.checked_add(offset as u64).ok_or(Errno::EFAULT);
    cx.write(at(core::mem::offset_of!(MsgHdr, controllen))?, &used)?;
    cx.write(at(core::mem::offset_of!(MsgHdr, flags))?, &result_flags)?;
    Ok(count)
}

pub(super) async fn receive(
    cx: &Ctx<'_>,
    target: &Target,
    mut to: Scatter<'_>,
    flags: u32,
) -> SysResult<Received> {
    let socket = &target.socket;
    let patience = target.receive_patience(flags & MSG_DONTWAIT != 0);
    let flags = if patience == Patience::None { flags | MSG_DONTWAIT } else { flags };
    let queue = socket.queue();
    let attempt = || socket.receive(&mut to, flags);
    let mut all = patiently(cx, queue, PollEvents::POLLIN, patience, attempt).await?;
    let whole = flags & MSG_WAITALL != 0
        && flags & MSG_PEEK == 0
        && is_stream(&**socket)
        && !is_datagram(&**socket);
    // What is less than the low-water mark is no reason to return either.
    let stream = is_stream(&**socket) && !is_datagram(&**socket) && flags & MSG_PEEK == 0;
    let low = if stream { socket.common().receive_low.load(Ordering::Relaxed) as usize } else { 1 };
    while (whole || all.count < low) && !all.stop && all.count > 0 && Sink::remaining(&to) > 0 {
        let attempt = || socket.receive(&mut to, flags);
        match patiently(cx, queue, PollEvents::POLLIN, patience, attempt).await {
            Ok(more) if more.count > 0 => {
                all.count = all.count.saturating_add(more.count);
                all.stop = more.stop;
                all.control.rights = more.control.rights;
            }
            _ => break,
        }
    }
    Ok(all)
}
