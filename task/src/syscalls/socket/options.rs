//! `getsockopt(2)` and `setsockopt(2)`.

use chitin_abi::net::{SO_PEERPIDFD, SOL_SOCKET};
use chitin_abi::{Errno, GuestAddr};

use super::Target;
use crate::context::Ctx;
use crate::error::SysResult;
use crate::socket::{Caller, common};
use crate::syscalls::args::Fd;

/// Longest option value.
const MAX_VALUE: u32 = 65536;

/// `getsockopt(2)`.
pub fn getsockopt(
    cx: &mut Ctx<'_>,
    fd: Fd,
    level: i32,
    name: i32,
    value: GuestAddr,
    length: GuestAddr,
) -> SysResult {
    let target = Target::get(cx, fd)?;
    let room: i32 = cx.read(length)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    let (level, name) = (level.cast_unsigned(), name.cast_unsigned());
    let caller = Caller::new(cx.task);
    let socket = &*target.socket;
    let bytes = match (level, name) {
        (SOL_SOCKET, SO_PEERPIDFD) => {
            super::control::peer_pidfd(cx, socket)?.to_ne_bytes().to_vec()
        }
        (SOL_SOCKET, _) => common::get(socket, name, room, &caller)?,
        _ => socket.option(level, name, room, &caller)?,
    };
    let stored = bytes.get(..room.min(bytes.len())).unwrap_or_default();
    cx.memory().write(value, stored)?;
    cx.write(length, &(stored.len() as u32))?;
    Ok(0)
}

/// `setsockopt(2)`.
pub fn setsockopt(
    cx: &mut Ctx<'_>,
    fd: Fd,
    level: i32,
    name: i32,
    value: GuestAddr,
    length: u32,
) -> SysResult {
    if i32::try_from(length).is_err() {
        return Err(Errno::EINVAL.into());
    }
    let target = Target::get(cx, fd)?;
    let mut bytes = vec![0; length.min(MAX_VALUE) as usize];
    if !bytes.is_empty() {
        cx.memory().read(value, &mut bytes)?;
    }
    let (level, name) = (level.cast_unsigned(), name.cast_unsigned());
    let caller = Caller::new(cx.task);
    match level {
        SOL_SOCKET => common::set(&*target.socket, name, &bytes, &caller)?,
        _ => target.socket.set_option(level, name, &bytes, &caller)?,
    }
    Ok(0)
}
