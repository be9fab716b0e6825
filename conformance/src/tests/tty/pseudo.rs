//! Pseudo terminals: `pty(7)`, `termios(3)`.

use chitin_abi::Errno;
use chitin_abi::fs::{O_NOCTTY, O_NONBLOCK, O_RDWR};
use chitin_abi::poll::{POLLHUP, POLLIN, POLLOUT};
use chitin_abi::tty::{
    ECHO, ICANON, ICRNL, ISIG, OPOST, TCFLSH, TCGETS, TCSETS, TCXONC, TIOCEXCL, TIOCGPTN,
    TIOCGPTPEER, TIOCGWINSZ, TIOCINQ, TIOCNXCL, TIOCPKT, TIOCSPTLCK, TIOCSWINSZ, Termios, Winsize,
};
use zerocopy::IntoBytes;

use super::super::support::until;
use crate::call;
use crate::suite::{Arg, Calls, Fd, Kernel, fails, tests};
use crate::tests::shared::{apart, filled, int, interrupted, woken};

/// A master and its slave.
pub fn pair(k: &dyn Kernel) -> (Fd, Fd) {
    let master = k.open("/dev/ptmx", O_RDWR | O_NOCTTY, 0).unwrap();
    call!(k, IOCTL, master, TIOCSPTLCK, &0_i32.to_ne_bytes()).unwrap();
    let number = number(k, master);
    (master, k.open(&format!("/dev/pts/{number}"), O_RDWR | O_NOCTTY, 0).unwrap())
}

fn number(k: &dyn Kernel, master: Fd) -> i32 {
    let mut number = [0_u8; 4];
    call!(k, IOCTL, master, TIOCGPTN, &mut number).unwrap();
    int(&number, 0)
}

fn settings(k: &dyn Kernel, fd: Fd) -> Termios {
    filled(|out| call!(k, IOCTL, fd, TCGETS, out)).unwrap()
}

/// Changes the settings of a terminal.
pub fn change(k: &dyn Kernel, fd: Fd, with: impl FnOnce(&mut Termios)) {
    let mut settings = settings(k, fd);
    with(&mut settings);
    call!(k, IOCTL, fd, TCSETS, settings.as_bytes()).unwrap();
}

/// No line editing, no echo, no output processing.
fn raw(k: &dyn Kernel, fd: Fd) {
    change(k, fd, |settings| {
        settings.c_lflag &= !(ECHO | ICANON | ISIG);
        settings.c_iflag &= !ICRNL;
        settings.c_oflag &= !OPOST;
    });
}

tests! { "pseudoterminal", "pty(7)";
    [openat] locked_until_unlocked(k) {
        let master = k.open("/dev/ptmx", O_RDWR | O_NOCTTY, 0).unwrap();
        let slave = format!("/dev/pts/{}", number(k, master));
        fails(k.open(&slave, O_RDWR | O_NOCTTY, 0), Errno::EIO);
        call!(k, IOCTL, master, TIOCSPTLCK, &0_i32.to_ne_bytes()).unwrap();
        k.open(&slave, O_RDWR | O_NOCTTY, 0).unwrap();
    }
    [fstat] slave_is_a_device(k) {
        let (master, slave) = pair(k);
        let stat = k.fstat(slave).unwrap();
        assert_eq!((stat.st_mode >> 12, stat.st_rdev >> 8 & 0xfff, stat.st_rdev & 0xff), (2, 136, number(k, master) as u64 & 0xff));
        let fd = k.open(&format!("/proc/self/fd/{slave}"), O_RDWR | O_NOCTTY, 0).unwrap();
        assert_eq!(k.fstat(fd).unwrap().st_rdev, stat.st_rdev);
    }
    [ioctl] peer_of_a_master(k) {
        let (master, slave) = pair(k);
        let peer = call!(k, IOCTL, master, TIOCGPTPEER, O_RDWR | O_NOCTTY).unwrap() as Fd;
        assert_eq!(k.fstat(peer).unwrap().st_rdev, k.fstat(slave).unwrap().st_rdev);
        fails(call!(k, IOCTL, slave, TIOCGPTPEER, O_RDWR), Errno::EIO);
    }
    [read, write] line_by_line(k) {
        let (master, slave) = pair(k);
        k.write(master, b"first\nsec").unwrap();
        assert_eq!(k.read_some(slave, 99).unwrap(), b"first\n");
        assert_eq!(k.ready(slave, POLLIN), 0);
        k.write(master, b"ond\n").unwrap();
        assert_eq!((k.read_some(slave, 3).unwrap(), k.read_some(slave, 99).unwrap()), (b"sec".to_vec(), b"ond\n".to_vec()));
    }
    [read] echo(k) {
        let (master, _slave) = pair(k);
        k.write(master, b"ab\n").unwrap();
        assert_eq!(k.read_some(master, 99).unwrap(), b"ab\r\n");
    }
    [read] editing(k) {
        let (master, slave) = pair(k);
        k.write(master, b"abX\x7fc\n").unwrap();
        assert_eq!(k.read_some(slave, 99).unwrap(), b"abc\n");
        k.write(master, b"gone\x15kept\n").unwrap();
        assert_eq!(k.read_some(slave, 99).unwrap(), b"kept\n");
        k.write(master, b"part\x04").unwrap();
        assert_eq!(k.read_some(slave, 99).unwrap(), b"part");
        k.write(master, b"\x04").unwrap();
        assert_eq!(k.read_some(slave, 99).unwrap(), b"");
    }
    [write] output_processing(k) {
        let (master, slave) = pair(k);
        k.write(slave, b"a\nb").unwrap();
        assert_eq!(k.read_some(master, 99).unwrap(), b"a\r\nb");
        raw(k, slave);
        k.write(slave, b"a\nb").unwrap();
        assert_eq!(k.read_some(master, 99).unwrap(), b"a\nb");
    }
    [ioctl] raw_mode_passes_bytes(k) {
        let (master, slave) = pair(k);
        raw(k, slave);
        k.write(master, b"\x03\x04\r\x7f").unwrap();
        assert_eq!(k.read_some(slave, 99).unwrap(), b"\x03\x04\r\x7f");
    }
    [read] least_and_time(k) {
        let (master, slave) = pair(k);
        raw(k, slave);
        change(k, slave, |settings| { settings.c_cc[6] = 3; settings.c_cc[5] = 0; });
        k.write(master, b"ab").unwrap();
        assert_eq!(woken(k, || { k.write(master, b"c").unwrap(); }, || k.read_some(slave, 99)).unwrap(), b"abc");
        change(k, slave, |settings| { settings.c_cc[6] = 0; settings.c_cc[5] = 1; });
        assert_eq!(k.read_some(slave, 99).unwrap(), b"");
        change(k, slave, |settings| { settings.c_cc[6] = 0; settings.c_cc[5] = 0; });
        assert_eq!(k.read_some(slave, 99).unwrap(), b"");
    }
    [ioctl] defaults(k) {
        let (_master, slave) = pair(k);
        let found = settings(k, slave);
        assert_eq!((found.c_iflag, found.c_oflag, found.c_cflag, found.c_lflag), (0o2400, 5, 0o277, 0o105073));
        assert_eq!(found.c_cc[..9], [3, 28, 127, 21, 4, 0, 1, 0, 17]);
    }
    [ioctl] window_size(k) {
        let (master, slave) = pair(k);
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 1, ws_ypixel: 2 };
        call!(k, IOCTL, master, TIOCSWINSZ, size.as_bytes()).unwrap();
        let found: Winsize = filled(|out| call!(k, IOCTL, slave, TIOCGWINSZ, out)).unwrap();
        assert_eq!(found, size);
        fails(call!(k, IOCTL, slave, TIOCGWINSZ, Arg::Bad), Errno::EFAULT);
    }
    [ioctl] waiting_bytes_and_flushing(k) {
        let (master, slave) = pair(k);
        k.write(master, b"line\n").unwrap();
        let mut count = [0_u8; 4];
        until(k, || { call!(k, IOCTL, slave, TIOCINQ, &mut count).unwrap(); int(&count, 0) != 0 });
        assert_eq!(int(&count, 0), 5);
        call!(k, IOCTL, slave, TCFLSH, 0).unwrap();
        call!(k, IOCTL, slave, TIOCINQ, &mut count).unwrap();
        assert_eq!(int(&count, 0), 0);
        fails(call!(k, IOCTL, slave, TCFLSH, 9), Errno::EINVAL);
        fails(call!(k, IOCTL, slave, TCXONC, 9), Errno::EINVAL);
    }
    [close] slave_that_has_gone(k) {
        let (master, slave) = pair(k);
        k.write(slave, b"last").unwrap();
        k.close(slave).unwrap();
        assert_eq!(k.read_some(master, 99).unwrap(), b"last");
        fails(k.read(master, &mut [0]), Errno::EIO);
        assert_eq!(k.ready(master, POLLIN | POLLOUT) & POLLHUP, POLLHUP);
    }
    [close] master_that_has_gone(k) {
        let (master, slave) = pair(k);
        k.close(master).unwrap();
        assert_eq!(k.read(slave, &mut [0]), Ok(0));
        fails(k.write(slave, b"x"), Errno::EIO);
        assert_eq!(k.ready(slave, POLLIN) & POLLHUP, POLLHUP);
        fails(call!(k, IOCTL, slave, TCGETS, &mut [0_u8; 64]), Errno::EIO);
    }
    [openat] exclusive_use(k) needs Root {
        let (master, slave) = pair(k);
        let path = format!("/dev/pts/{}", number(k, master));
        call!(k, IOCTL, slave, TIOCEXCL, 0).unwrap();
        apart(k, || { crate::tests::shared::become_user(k, 1000); k.open(&path, O_RDWR | O_NOCTTY, 0).unwrap_err(); });
        call!(k, IOCTL, slave, TIOCNXCL, 0).unwrap();
        k.open(&path, O_RDWR | O_NOCTTY, 0).unwrap();
    }
    [ioctl, read] packets(k) {
        let (master, slave) = pair(k);
        call!(k, IOCTL, master, TIOCPKT, &1_i32.to_ne_bytes()).unwrap();
        k.write(slave, b"data").unwrap();
        assert_eq!(k.read_some(master, 99).unwrap(), b"\0data");
        call!(k, IOCTL, slave, TCFLSH, 0).unwrap();
        assert_eq!(k.read_some(master, 99).unwrap(), [1]);
    }
    [read] waiting(k) {
        let (master, slave) = pair(k);
        assert_eq!(woken(k, || { k.write(master, b"x\n").unwrap(); }, || k.read_some(slave, 9)).unwrap(), b"x\n");
        interrupted(k, || k.read(slave, &mut [0]));
        k.fcntl(slave, 4, u64::from(O_NONBLOCK)).unwrap();
        fails(k.read(slave, &mut [0]), Errno::EAGAIN);
    }
    [lseek] no_positions(k) {
        let (master, slave) = pair(k);
        for fd in [master, slave] { fails(k.lseek(fd, 0, 0), Errno::ESPIPE); }
        fails(k.pread(slave, &mut [0], 0), Errno::ESPIPE);
    }
    [openat] numbers_are_used_again(k) {
        // Others may take a number as soon as it is free.
        until(k, || {
            let (master, slave) = pair(k);
            let first = number(k, master);
            k.close(slave).unwrap();
            k.close(master).unwrap();
            let gone = k.stat(&format!("/dev/pts/{first}")).is_err_and(|errno| errno == Errno::ENOENT);
            k.sleep_ms(20);
            let (master, slave) = pair(k);
            let second = number(k, master);
            k.close(slave).unwrap();
            k.close(master).unwrap();
            gone && second == first
        });
    }
    [ioctl] not_a_terminal_command(k) {
        let (master, slave) = pair(k);
        fails(call!(k, IOCTL, slave, 0x1234_5678_u32, 0), Errno::ENOTTY);
        fails(call!(k, IOCTL, slave, TIOCGPTN, &mut [0_u8; 4]), Errno::ENOTTY);
        fails(call!(k, IOCTL, master, TCGETS, Arg::Bad), Errno::EFAULT);
    }
}
