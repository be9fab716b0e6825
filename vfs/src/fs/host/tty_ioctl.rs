//! The few terminal controls of a host terminal that a guest may use: settings and window size. Sessions and process
//! groups are the sandbox's own and never reach the host.

use std::os::fd::BorrowedFd;

use chitin_abi::tty::{
    NCCS, TCGETS, TCSETS, TCSETSF, TCSETSW, TIOCGWINSZ, TIOCSWINSZ, Termios, Winsize,
};
use chitin_abi::{Errno, GuestAddr, Result};
use nix::sys::termios::{
    ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, tcgetattr, tcsetattr,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::file::IoctlContext;
use crate::host_errno::from_host;

fn errno(error: nix::errno::Errno) -> Errno {
    Errno::from_raw(error as i32)
}

pub(super) fn window_size(fd: BorrowedFd<'_>) -> Result<Winsize> {
    let size = rustix::termios::tcgetwinsize(fd).map_err(from_host)?;
    Ok(Winsize {
        ws_row: size.ws_row,
        ws_col: size.ws_col,
        ws_xpixel: size.ws_xpixel,
        ws_ypixel: size.ws_ypixel,
    })
}

fn settings(fd: BorrowedFd<'_>) -> Result<Termios> {
    let host = tcgetattr(fd).map_err(errno)?;
    let mut termios = Termios {
        c_iflag: host.input_flags.bits(),
        c_oflag: host.output_flags.bits(),
        c_cflag: host.control_flags.bits(),
        c_lflag: host.local_flags.bits(),
        c_line: 0,
        c_cc: [0; NCCS as usize],
    };
    for (to, from) in termios.c_cc.iter_mut().zip(host.control_chars) {
        *to = from;
    }
    Ok(termios)
}

fn set(fd: BorrowedFd<'_>, termios: &Termios, when: SetArg) -> Result<()> {
    let mut host = tcgetattr(fd).map_err(errno)?;
    host.input_flags = InputFlags::from_bits_retain(termios.c_iflag);
    host.output_flags = OutputFlags::from_bits_retain(termios.c_oflag);
    host.control_flags = ControlFlags::from_bits_retain(termios.c_cflag);
    host.local_flags = LocalFlags::from_bits_retain(termios.c_lflag);
    for (to, from) in host.control_chars.iter_mut().zip(termios.c_cc) {
        *to = from;
    }
    tcsetattr(fd, when, &host).map_err(errno)
}

pub(super) fn ioctl(
    fd: BorrowedFd<'_>,
    command: u32,
    argument: GuestAddr,
    context: &dyn IoctlContext,
) -> Result<u64> {
    let memory = context.memory();
    match command {
        TCGETS => memory.write(argument, settings(fd)?.as_bytes())?,
        TIOCGWINSZ => memory.write(argument, window_size(fd)?.as_bytes())?,
        TIOCSWINSZ => {
            let mut size = Winsize::new_zeroed();
            memory.read(argument, size.as_mut_bytes())?;
            let size = rustix::termios::Winsize {
                ws_row: size.ws_row,
                ws_col: size.ws_col,
                ws_xpixel: size.ws_xpixel,
                ws_ypixel: size.ws_ypixel,
            };
            rustix::termios::tcsetwinsize(fd, size).map_err(from_host)?;
        }
        TCSETS | TCSETSW | TCSETSF => {
            let mut termios = Termios::new_zeroed();
            memory.read(argument, termios.as_mut_bytes())?;
            let when = match command {
                TCSETS => SetArg::TCSANOW,
                TCSETSW => SetArg::TCSADRAIN,
                _ => SetArg::TCSAFLUSH,
            };
            set(fd, &termios, when)?;
        }
        _ => return Err(Errno::ENOTTY),
    }
    Ok(0)
}
