//! Terminal controls.

use std::sync::Arc;

use chitin_abi::fs::{OpenFlags, major, minor};
use chitin_abi::process::CAP_SYS_ADMIN;
use chitin_abi::signal::{SIGINT, SIGQUIT, SIGTSTP};
use chitin_abi::tty::{
    CLOCAL, TCFLSH, TCGETA, TCGETS, TCGETS2, TCIFLUSH, TCIOFF, TCIOFLUSH, TCION, TCOFLUSH, TCOOFF,
    TCOON, TCSBRK, TCSBRKP, TCSETA, TCSETAF, TCSETAW, TCSETS, TCSETS2, TCSETSF, TCSETSF2, TCSETSW,
    TCSETSW2, TCXONC, TIOCCBRK, TIOCEXCL, TIOCGDEV, TIOCGETD, TIOCGEXCL, TIOCGLCKTRMIOS, TIOCGPGRP,
    TIOCGPKT, TIOCGPTLCK, TIOCGPTN, TIOCGPTPEER, TIOCGSID, TIOCGSOFTCAR, TIOCGWINSZ, TIOCINQ,
    TIOCNOTTY, TIOCNXCL, TIOCOUTQ, TIOCPKT, TIOCSBRK, TIOCSCTTY, TIOCSETD, TIOCSIG, TIOCSPGRP,
    TIOCSPTLCK, TIOCSSOFTCAR, TIOCSTI, TIOCSWINSZ, TIOCVHANGUP, Termio, Termios, Termios2, VSTART,
    VSTOP, Winsize,
};
use chitin_abi::{Errno, GuestAddr, Result};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use super::line::LINE_MAX;
use super::pty::Pty;
use super::settings::Settings;
use super::slave::SlaveFile;
use crate::file::{File, IoctlContext, OpenFile};

fn read<T: FromBytes + IntoBytes>(context: &dyn IoctlContext, at: GuestAddr) -> Result<T> {
    let mut value = T::new_zeroed();
    context.memory().read(at, value.as_mut_bytes())?;
    Ok(value)
}

fn write<T: IntoBytes + Immutable>(
    context: &dyn IoctlContext,
    at: GuestAddr,
    value: &T,
) -> Result<u64> {
    context.memory().write(at, value.as_bytes())?;
    Ok(0)
}

fn is_privileged(context: &dyn IoctlContext) -> bool {
    context.cred().caps.has(CAP_SYS_ADMIN)
}

/// Settings, window, flow control: the same on both ends. `None` for something else.
fn common(
    pty: &Arc<Pty>,
    command: u32,
    arg: GuestAddr,
    context: &dyn IoctlContext,
) -> Result<Option<u64>> {
    let settings = || pty.state.lock().settings.clone();
    let done = match command {
        TCGETS => write(context, arg, &settings().termios)?,
        TCGETS2 => write(context, arg, &settings().to_termios2())?,
        TCGETA => write(context, arg, &settings().to_termio())?,
        TIOCGLCKTRMIOS => write(context, arg, &Termios::new_zeroed())?,
        TCSETS | TCSETSW | TCSETSF => {
            let new: Termios = read(context, arg)?;
            let old = settings();
            set(pty, Settings::with_speeds(new, old.ispeed, old.ospeed), command == TCSETSF)
        }
        TCSETS2 | TCSETSW2 | TCSETSF2 => {
            let new: Termios2 = read(context, arg)?;
            let new = Settings::with_speeds(new.to_termios(), new.c_ispeed, new.c_ospeed);
            set(pty, new, command == TCSETSF2)
        }
        TCSETA | TCSETAW | TCSETAF => {
            let new: Termio = read(context, arg)?;
            set(pty, settings().merge_termio(&new), command == TCSETAF)
        }
        TIOCGWINSZ => write(context, arg, &pty.window_size())?,
        TIOCSWINSZ => {
            pty.set_window_size(read::<Winsize>(context, arg)?);
            0
        }
        TIOCGSOFTCAR => write(context, arg, &i32::from(settings().termios.c_cflag & CLOCAL != 0))?,
        TIOCSSOFTCAR => {
            let on = read::<i32>(context, arg)? != 0;
            pty.change(|state, effects| {
                let mut new = state.settings.clone();
                new.termios.c_cflag =
                    if on { new.termios.c_cflag | CLOCAL } else { new.termios.c_cflag & !CLOCAL };
                state.change_settings(new, effects);
            });
            0
        }
        TCSBRK | TCSBRKP | TIOCSBRK | TIOCCBRK => 0,
        TIOCGETD => write(context, arg, &0i32)?,
        TIOCSETD if read::<i32>(context, arg)? == 0 => 0,
        TIOCSETD => return Err(Errno::EINVAL),
        TIOCEXCL | TIOCNXCL => {
            pty.state.lock().exclusive = command == TIOCEXCL;
            0
        }
        TIOCGEXCL => {
            let exclusive = i32::from(pty.state.lock().exclusive);
            write(context, arg, &exclusive)?
        }
        TIOCOUTQ => write(context, arg, &0i32)?,
        TIOCVHANGUP if is_privileged(context) => {
            pty.hang_up();
            0
        }
        TIOCVHANGUP => return Err(Errno::EPERM),
        _ => return Ok(None),
    };
    Ok(Some(done))
}

fn set(pty: &Pty, new: Settings, flush: bool) -> u64 {
    pty.change(|state, effects| {
        if flush {
            state.flush_input(effects);
        }
        state.change_settings(new, effects);
    });
    0
}

/// The number that a caller knows a device by.
fn device_number(rdev: u64) -> u32 {
    let (major, minor) = (major(rdev), minor(rdev));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn flow(pty: &Pty, argument: u64) -> Result<u64> {
    let command = u32::try_from(argument).map_err(|_| Errno::EINVAL)?;
    pty.change(|state, effects| {
        match command {
            TCOOFF => {
                state.stop_output(effects);
                state.held = true;
            }
            TCOON if state.held => {
                state.held = false;
                state.start_output(effects);
            }
            TCOON => {}
            TCIOFF | TCION => {
                let index = if command == TCIOFF { VSTOP } else { VSTART };
                let byte = state.settings.termios.control(index);
                if byte != 0 {
                    state.outgoing.push_back(byte);
                    effects.master |= super::state::READABLE;
                }
            }
            _ => return Err(Errno::EINVAL),
        }
        Ok(0)
    })
}

fn group_and_session(
    pty: &Pty,
    command: u32,
    arg: GuestAddr,
    from_master: bool,
    context: &dyn IoctlContext,
) -> Result<u64> {
    if !from_master && !pty.controls(&context.process()) {
        return Err(Errno::ENOTTY);
    }
    let now = pty.foreground();
    match command {
        TIOCGPGRP => write(context, arg, &context.to_local_id(now.pgrp)),
        _ if now.session == 0 => Err(Errno::ENOTTY),
        _ => write(context, arg, &context.to_local_id(now.session)),
    }
}

/// Types a byte on somebody's behalf (`TIOCSTI`), which only the privileged may.
fn simulate_input(pty: &Pty, arg: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
    if !is_privileged(context) {
        return Err(Errno::EIO);
    }
    let byte: u8 = read(context, arg)?;
    pty.change(|state, effects| state.receive(&[byte], effects));
    Ok(0)
}

/// Controls of a slave.
pub(super) fn slave(
    pty: &Arc<Pty>,
    command: u32,
    arg: GuestAddr,
    readable: bool,
    context: &dyn IoctlContext,
) -> Result<u64> {
    if let Some(result) = common(pty, command, arg, context)? {
        return Ok(result);
    }
    match command {
        TIOCSCTTY => pty.acquire(arg.0 == 1, readable, context).map(|()| 0),
        TIOCNOTTY => pty.leave(context).map(|()| 0),
        TIOCGPGRP | TIOCGSID => group_and_session(pty, command, arg, false, context),
        TIOCSPGRP => pty.set_foreground_group(read(context, arg)?, context).map(|()| 0),
        TIOCINQ => {
            let state = pty.state.lock();
            let count =
                if state.canonical() { state.line.readable_canonical() } else { state.line.len() };
            drop(state);
            write(context, arg, &i32::try_from(count).unwrap_or(i32::MAX))
        }
        TCXONC => flow(pty, arg.0),
        TCFLSH => {
            let queue = u32::try_from(arg.0).map_err(|_| Errno::EINVAL)?;
            if !matches!(queue, TCIFLUSH | TCOFLUSH | TCIOFLUSH) {
                return Err(Errno::EINVAL);
            }
            pty.change(|state, effects| {
                if queue != TCOFLUSH {
                    state.flush_input(effects);
                }
                if queue != TCIFLUSH {
                    state.flush_output(effects);
                }
            });
            Ok(0)
        }
        TIOCGDEV => write(context, arg, &device_number(pty.slave_rdev())),
        TIOCSTI => simulate_input(pty, arg, context),
        TIOCGPTPEER => Err(Errno::EIO),
        _ => Err(Errno::ENOTTY),
    }
}

fn open_peer(pty: &Arc<Pty>, flags: u64, context: &dyn IoctlContext) -> Result<u64> {
    let flags = OpenFlags::from_bits_retain(flags as u32);
    let file = SlaveFile::open_peer(pty, flags, context.cred())?;
    let kept = OpenFlags::O_ACCMODE | OpenFlags::O_NONBLOCK;
    let open = OpenFile::new(file as Arc<dyn File>, None, flags & kept, context.cred().clone());
    context.install_file(open, flags.contains(OpenFlags::O_CLOEXEC))
}

fn set_packet_mode(pty: &Pty, on: bool) {
    let mut state = pty.state.lock();
    if on && !state.packet {
        state.packet_status = 0;
    }
    state.packet = on;
}

fn flush_from_master(pty: &Pty, queue: u64) -> Result<u64> {
    let queue = u32::try_from(queue).map_err(|_| Errno::EINVAL)?;
    if !matches!(queue, TCIFLUSH | TCOFLUSH | TCIOFLUSH) {
        return Err(Errno::EINVAL);
    }
    pty.change(|state, effects| {
        if queue != TCOFLUSH {
            let arrived = state.outgoing.len().min(LINE_MAX.saturating_sub(1));
            state.outgoing.drain(..arrived);
            effects.slave |= super::state::WRITABLE;
        }
        if queue != TCIFLUSH {
            state.incoming.clear();
            effects.master |= super::state::WRITABLE;
        }
    });
    Ok(0)
}

fn signal_from_master(pty: &Pty, signal: u64) -> Result<u64> {
    let signal = u32::try_from(signal).map_err(|_| Errno::EINVAL)?;
    if !matches!(signal, SIGINT | SIGQUIT | SIGTSTP) {
        return Err(Errno::EINVAL);
    }
    let pgrp = pty.foreground().pgrp;
    if pgrp != 0 {
        pty.host().signal_group(pgrp, signal);
    }
    Ok(0)
}

/// Controls of a master.
pub(super) fn master(
    pty: &Arc<Pty>,
    command: u32,
    arg: GuestAddr,
    context: &dyn IoctlContext,
) -> Result<u64> {
    if let Some(result) = common(pty, command, arg, context)? {
        return Ok(result);
    }
    match command {
        TIOCGPTN => write(context, arg, &pty.index()),
        TIOCSPTLCK => {
            pty.set_locked(read::<i32>(context, arg)? != 0);
            Ok(0)
        }
        TIOCGPTLCK => {
            let locked = i32::from(pty.state.lock().locked);
            write(context, arg, &locked)
        }
        TIOCGPTPEER => open_peer(pty, arg.0, context),
        TIOCPKT => {
            set_packet_mode(pty, read::<i32>(context, arg)? != 0);
            Ok(0)
        }
        TIOCGPKT => {
            let packet = i32::from(pty.state.lock().packet);
            write(context, arg, &packet)
        }
        TIOCSIG => signal_from_master(pty, arg.0),
        TIOCGPGRP | TIOCGSID => group_and_session(pty, command, arg, true, context),
        TIOCSPGRP => pty.set_foreground_group(read(context, arg)?, context).map(|()| 0),
        TIOCSCTTY => pty.acquire(arg.0 == 1, true, context).map(|()| 0),
        // A master is nobody's controlling terminal.
        TIOCNOTTY => Err(Errno::ENOTTY),
        TIOCINQ => {
            let count = pty.state.lock().outgoing.len();
            write(context, arg, &i32::try_from(count).unwrap_or(i32::MAX))
        }
        TCFLSH => flush_from_master(pty, arg.0),
        TCXONC if arg.0 > u64::from(TCION) => Err(Errno::EINVAL),
        TCXONC => Ok(0),
        TIOCGDEV => write(context, arg, &device_number(pty.slave_rdev())),
        TIOCSTI => simulate_input(pty, arg, context),
        _ => Err(Errno::ENOTTY),
    }
}
