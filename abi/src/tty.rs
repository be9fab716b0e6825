//! Terminals: `termios(3)`, `tty_ioctl(4)`.

pub use crate::consts::tty::*;

c_struct! {
    /// The kernel's `struct termios`.
    pub struct Termios {
        pub c_iflag: u32,
        pub c_oflag: u32,
        pub c_cflag: u32,
        pub c_lflag: u32,
        pub c_line: u8,
        pub c_cc: [u8; 19],
    }
}

c_struct! {
    /// `struct termios2`.
    pub struct Termios2 {
        pub c_iflag: u32,
        pub c_oflag: u32,
        pub c_cflag: u32,
        pub c_lflag: u32,
        pub c_line: u8,
        pub c_cc: [u8; 19],
        pub c_ispeed: u32,
        pub c_ospeed: u32,
    }
}

c_struct! {
    /// `struct winsize`.
    pub struct Winsize {
        pub ws_row: u16,
        pub ws_col: u16,
        pub ws_xpixel: u16,
        pub ws_ypixel: u16,
    }
}

c_struct! {
    /// `struct termio`, the older form.
    pub struct Termio {
        pub c_iflag: u16,
        pub c_oflag: u16,
        pub c_cflag: u16,
        pub c_lflag: u16,
        pub c_line: u8,
        pub c_cc: [u8; 8],
        pub pad: u8,
    }
}

/// The control characters of a new terminal, at their `V…` indexes.
pub const INIT_C_CC: [u8; 19] =
    [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0];

impl Termios {
    /// The settings of a new terminal (`tty_std_termios`).
    pub const STANDARD: Self = Self {
        c_iflag: ICRNL | IXON,
        c_oflag: OPOST | ONLCR,
        c_cflag: B38400 | CS8 | CREAD | HUPCL,
        c_lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        c_line: 0,
        c_cc: INIT_C_CC,
    };

    /// The control character at this `V…` index.
    pub fn control(&self, index: u32) -> u8 {
        usize::try_from(index).ok().and_then(|index| self.c_cc.get(index)).copied().unwrap_or(0)
    }
}

impl Termios2 {
    /// The same settings with explicit speeds.
    pub const fn from_termios(from: &Termios, ispeed: u32, ospeed: u32) -> Self {
        Self {
            c_iflag: from.c_iflag,
            c_oflag: from.c_oflag,
            c_cflag: from.c_cflag,
            c_lflag: from.c_lflag,
            c_line: from.c_line,
            c_cc: from.c_cc,
            c_ispeed: ispeed,
            c_ospeed: ospeed,
        }
    }

    /// The settings without the speeds.
    pub const fn to_termios(&self) -> Termios {
        Termios {
            c_iflag: self.c_iflag,
            c_oflag: self.c_oflag,
            c_cflag: self.c_cflag,
            c_lflag: self.c_lflag,
            c_line: self.c_line,
            c_cc: self.c_cc,
        }
    }
}
