//! Questions about the settings of a terminal, speeds, and the older forms of `struct termios`.

use chitin_abi::tty::{
    B0, B50, B75, B110, B134, B150, B200, B300, B600, B1200, B1800, B2400, B4800, B9600, B19200,
    B38400, B57600, B115200, B230400, B460800, B500000, B576000, B921600, B1000000, B1152000,
    B1500000, B2000000, B2500000, B3000000, B3500000, B4000000, BOTHER, CBAUD, CIBAUD, CREAD, CS8,
    IBSHIFT, IUTF8, Termio, Termios, Termios2,
};

/// Codes of speeds and their bits per second.
const SPEEDS: [(u32, u32); 31] = [
    (B0, 0),
    (B50, 50),
    (B75, 75),
    (B110, 110),
    (B134, 134),
    (B150, 150),
    (B200, 200),
    (B300, 300),
    (B600, 600),
    (B1200, 1200),
    (B1800, 1800),
    (B2400, 2400),
    (B4800, 4800),
    (B9600, 9600),
    (B19200, 19200),
    (B38400, 38400),
    (B57600, 57600),
    (B115200, 115_200),
    (B230400, 230_400),
    (B460800, 460_800),
    (B500000, 500_000),
    (B576000, 576_000),
    (B921600, 921_600),
    (B1000000, 1_000_000),
    (B1152000, 1_152_000),
    (B1500000, 1_500_000),
    (B2000000, 2_000_000),
    (B2500000, 2_500_000),
    (B3000000, 3_000_000),
    (B3500000, 3_500_000),
    (B4000000, 4_000_000),
];

fn speed(code: u32, explicit: u32) -> u32 {
    if code == BOTHER {
        return explicit;
    }
    SPEEDS.iter().find(|(known, _)| *known == code).map_or(0, |(_, speed)| *speed)
}

/// The settings of a terminal.
#[derive(Clone)]
pub(super) struct Settings {
    pub termios: Termios,
    pub ispeed: u32,
    pub ospeed: u32,
}

impl Default for Settings {
    fn default() -> Self {
        let termios = Termios { c_cflag: B38400 | CS8 | CREAD, ..Termios::STANDARD };
        Self { termios, ispeed: 38400, ospeed: 38400 }
    }
}

impl Settings {
    /// New settings whose speeds follow from the control flags, or are the ones given where those say so.
    pub fn with_speeds(termios: Termios, ispeed: u32, ospeed: u32) -> Self {
        let output = speed(termios.c_cflag & CBAUD, ospeed);
        let input_code = (termios.c_cflag & CIBAUD) >> IBSHIFT;
        let input = if input_code == B0 { output } else { speed(input_code, ispeed) };
        Self { termios, ispeed: input, ospeed: output }
    }

    pub fn to_termios2(&self) -> Termios2 {
        Termios2::from_termios(&self.termios, self.ispeed, self.ospeed)
    }

    pub fn to_termio(&self) -> Termio {
        let mut c_cc = [0; 8];
        for (to, from) in c_cc.iter_mut().zip(self.termios.c_cc) {
            *to = from;
        }
        Termio {
            c_iflag: self.termios.c_iflag as u16,
            c_oflag: self.termios.c_oflag as u16,
            c_cflag: self.termios.c_cflag as u16,
            c_lflag: self.termios.c_lflag as u16,
            c_line: self.termios.c_line,
            c_cc,
            pad: 0,
        }
    }

    /// The settings with the lower halves of the flags replaced.
    pub fn merge_termio(&self, from: &Termio) -> Self {
        let low = |old: u32, new: u16| (old & 0xffff_0000) | u32::from(new);
        let mut termios = self.termios;
        termios.c_iflag = low(termios.c_iflag, from.c_iflag);
        termios.c_oflag = low(termios.c_oflag, from.c_oflag);
        termios.c_cflag = low(termios.c_cflag, from.c_cflag);
        termios.c_lflag = low(termios.c_lflag, from.c_lflag);
        termios.c_line = from.c_line;
        for (to, from) in termios.c_cc.iter_mut().zip(from.c_cc) {
            *to = from;
        }
        Self::with_speeds(termios, self.ispeed, self.ospeed)
    }

    pub fn input(&self, flag: u32) -> bool {
        self.termios.c_iflag & flag != 0
    }

    pub fn output(&self, flag: u32) -> bool {
        self.termios.c_oflag & flag != 0
    }

    pub fn local(&self, flag: u32) -> bool {
        self.termios.c_lflag & flag != 0
    }

    /// Whether a byte is this control character; the disabled one (0) never is.
    pub fn is_control(&self, byte: u8, index: u32) -> bool {
        byte != 0 && self.termios.control(index) == byte
    }

    /// Whether a byte continues a character of several bytes.
    pub fn continues(&self, byte: u8) -> bool {
        self.input(IUTF8) && byte & 0xc0 == 0x80
    }
}
