//! Job control: controlling terminals, foreground groups, signals of keys.

use chitin_abi::fs::{O_NOCTTY, O_RDWR};
use chitin_abi::signal::{SIG_IGN, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH};
use chitin_abi::tty::{
    TIOCGPGRP, TIOCGSID, TIOCNOTTY, TIOCSCTTY, TIOCSPGRP, TIOCSWINSZ, TOSTOP, Winsize,
};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::super::support::until;
use super::pseudo::{change, pair};
use crate::call;
use crate::suite::{Calls, Fd, Kernel, Processes, fails, tests};
use crate::tests::shared::{apart, int};

/// Runs a body in a child that leads a session with a new controlling terminal.
fn in_session(k: &dyn Kernel, body: impl Fn(Fd, Fd)) {
    apart(k, || {
        call!(k, SETSID).unwrap();
        let (master, slave) = pair(k);
        call!(k, IOCTL, slave, TIOCSCTTY, 0).unwrap();
        body(master, slave);
        k.set_action(SIGHUP, SIG_IGN).unwrap();
    });
}

fn group(k: &dyn Kernel, fd: Fd, command: u32) -> Result<i32> {
    let mut value = [0_u8; 4];
    call!(k, IOCTL, fd, command, &mut value)?;
    Ok(int(&value, 0))
}

/// Waits until a signal has been caught.
#[track_caller]
fn wait_caught(k: &dyn Kernel, signal: u32) {
    until(k, || k.caught(signal).0 > 0);
}

tests! { "jobcontrol", "tty_ioctl(4)";
    [ioctl] session_and_foreground(k) {
        in_session(k, |_, slave| {
            let me = k.getpid();
            assert_eq!((group(k, slave, TIOCGSID), group(k, slave, TIOCGPGRP)), (Ok(me), Ok(me)));
        });
    }
    [openat] first_terminal_of_a_leader_becomes_its_own(k) {
        apart(k, || {
            call!(k, SETSID).unwrap();
            let (_master, slave) = pair(k);
            fails(k.open("/dev/tty", O_RDWR, 0), Errno::ENXIO);
            k.open(&format!("/proc/self/fd/{slave}"), O_RDWR, 0).unwrap();
            k.open("/dev/tty", O_RDWR, 0).unwrap();
            k.set_action(SIGHUP, SIG_IGN).unwrap();
        });
    }
    [openat] own_terminal_by_its_general_name(k) {
        in_session(k, |master, _| {
            let tty = k.open("/dev/tty", O_RDWR, 0).unwrap();
            k.write(tty, b"x").unwrap();
            assert_eq!(k.read_some(master, 9).unwrap(), b"x");
        });
    }
    [ioctl] giving_it_up(k) {
        in_session(k, |_, slave| {
            k.set_action(SIGHUP, SIG_IGN).unwrap();
            call!(k, IOCTL, slave, TIOCNOTTY, 0).unwrap();
            fails(k.open("/dev/tty", O_RDWR | O_NOCTTY, 0), Errno::ENXIO);
            fails(group(k, slave, TIOCGPGRP), Errno::ENOTTY);
        });
    }
    [ioctl] only_leaders_get_one(k) {
        apart(k, || {
            call!(k, SETSID).unwrap();
            let (_master, slave) = pair(k);
            apart(k, || fails(call!(k, IOCTL, slave, TIOCSCTTY, 0), Errno::EPERM));
        });
    }
    [write] keys_signal_the_foreground(k) {
        in_session(k, |master, _| {
            for (key, signal) in [(b"\x03", SIGINT), (b"\x1c", SIGQUIT), (b"\x1a", SIGTSTP)] {
                k.catch(signal, 0).unwrap();
                k.write(master, key).unwrap();
                wait_caught(k, signal);
            }
        });
    }
    [ioctl] window_changes_signal_the_foreground(k) {
        in_session(k, |master, _| {
            k.catch(SIGWINCH, 0).unwrap();
            call!(k, IOCTL, master, TIOCSWINSZ, Winsize { ws_row: 5, ..Winsize::default() }.as_bytes()).unwrap();
            wait_caught(k, SIGWINCH);
        });
    }
    [ioctl] changing_the_foreground(k) {
        in_session(k, |_, slave| {
            let (reader, writer) = k.pipe2(0).unwrap();
            let child = k.child(|| { k.read(reader, &mut [0]).unwrap(); 0 });
            call!(k, SETPGID, child.pid, child.pid).unwrap();
            call!(k, IOCTL, slave, TIOCSPGRP, &child.pid.to_ne_bytes()).unwrap();
            assert_eq!(group(k, slave, TIOCGPGRP), Ok(child.pid));
            k.write(writer, b"x").unwrap();
            assert_eq!(k.status(child), 0);
            k.set_action(SIGTTOU, SIG_IGN).unwrap();
            fails(call!(k, IOCTL, slave, TIOCSPGRP, &4_000_000_i32.to_ne_bytes()), Errno::ESRCH);
            fails(call!(k, IOCTL, slave, TIOCSPGRP, &(-1_i32).to_ne_bytes()), Errno::EINVAL);
        });
    }
    [read] background_readers_are_stopped(k) {
        in_session(k, |master, slave| {
            let child = k.child(|| { call!(k, SETPGID, 0, 0).unwrap(); i32::from(k.read(slave, &mut [0]) != Ok(1)) });
            assert_eq!(k.wait4(child.pid, 2), Ok((child.pid, (SIGTTIN as i32) << 8 | 0x7f)));
            call!(k, IOCTL, slave, TIOCSPGRP, &child.pid.to_ne_bytes()).unwrap();
            k.write(master, b"\n").unwrap();
            k.kill(child.pid, 18).unwrap();
            assert_eq!(k.status(child), 0);
        });
    }
    [read] background_readers_that_ignore_the_signal(k) {
        in_session(k, |_, slave| {
            let child = k.child(|| {
                call!(k, SETPGID, 0, 0).unwrap();
                k.set_action(SIGTTIN, SIG_IGN).unwrap();
                i32::from(k.read(slave, &mut [0]) != Err(Errno::EIO))
            });
            assert_eq!(k.status(child), 0);
        });
    }
    [write] background_writers_are_stopped_if_asked_for(k) {
        in_session(k, |_, slave| {
            let child = k.child(|| { call!(k, SETPGID, 0, 0).unwrap(); i32::from(k.write(slave, b"x") != Ok(1)) });
            assert_eq!(k.status(child), 0);
            change(k, slave, |settings| settings.c_lflag |= TOSTOP);
            let child = k.child(|| { call!(k, SETPGID, 0, 0).unwrap(); let _ = k.write(slave, b"x"); 0 });
            assert_eq!(k.wait4(child.pid, 2), Ok((child.pid, (SIGTTOU as i32) << 8 | 0x7f)));
            k.kill(child.pid, 9).unwrap();
            k.wait4(child.pid, 0).unwrap();
        });
    }
    [close] hang_up(k) {
        in_session(k, |master, _| {
            k.catch(SIGHUP, 0).unwrap();
            k.close(master).unwrap();
            wait_caught(k, SIGHUP);
        });
    }
    [openat] proc_shows_the_terminal(k) {
        in_session(k, |_, slave| {
            let stat = crate::tests::shared::text(k, "/proc/self/stat");
            let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
            let rdev = k.fstat(slave).unwrap().st_rdev;
            assert_eq!((fields[3], fields[4], fields[5]), (k.getpid().to_string().as_str(), rdev.to_string().as_str(), k.getpid().to_string().as_str()));
        });
    }
}
