use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::signal::{SIGCONT, SIGHUP, SIGINT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH};
use chitin_abi::tty::{
    ECHO, ECHOE, ECHOPRT, ICANON, ICRNL, IEXTEN, IGNCR, INLCR, ISIG, IUTF8, IXANY, IXON, NOFLSH,
    OCRNL, ONLCR, OPOST, PARMRK, TCFLSH, TCGETS, TCGETS2, TCIFLUSH, TCOOFF, TCOON, TCSETS, TCSETSF,
    TCXONC, TIOCEXCL, TIOCGPGRP, TIOCGPTLCK, TIOCGPTN, TIOCGPTPEER, TIOCGSID, TIOCGWINSZ, TIOCINQ,
    TIOCNOTTY, TIOCPKT, TIOCPKT_FLUSHREAD, TIOCPKT_FLUSHWRITE, TIOCPKT_NOSTOP, TIOCSCTTY,
    TIOCSPGRP, TIOCSPTLCK, TIOCSTI, TIOCSWINSZ, TOSTOP, Termios, VMIN, VTIME, Winsize, XTABS,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;
use parking_lot::Mutex;
use zerocopy::IntoBytes;

use super::{MasterFile, Pty, SlaveFile, TerminalHost};
use crate::cred::{Capabilities, Cred};
use crate::env::VfsEnv;
use crate::file::{File, IoctlContext, JobCheck, OpenFile, ProcessIds, TerminalAccess, WriteAt};
use crate::io::{SliceSource, VecSink};

/// Remembers what terminals did to processes.
#[derive(Default)]
struct Processes {
    log: Mutex<Vec<String>>,
    orphaned: Mutex<Vec<u32>>,
    sessions: Mutex<HashMap<u32, u32>>,
}

impl Processes {
    fn note(&self, text: String) {
        self.log.lock().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock())
    }
}

impl TerminalHost for Processes {
    fn signal_group(&self, pgrp: u32, signal: u32) {
        self.note(format!("group {pgrp} signal {signal}"));
    }

    fn is_orphaned(&self, pgrp: u32) -> bool {
        self.orphaned.lock().contains(&pgrp)
    }

    fn session_of_group(&self, pgrp: u32) -> Option<u32> {
        self.sessions.lock().get(&pgrp).copied()
    }

    fn hang_up_session(&self, session: u32) {
        self.note(format!("hang up {session}"));
    }

    fn take_terminal(&self, session: u32) {
        self.note(format!("take from {session}"));
    }
}

/// A caller with a few bytes of memory at address 0.
struct Process {
    memory: Memory,
    cred: Cred,
    ids: ProcessIds,
    ignored: Vec<u32>,
    has_terminal: Mutex<bool>,
}

struct Memory(Mutex<[u8; 256]>);

impl GuestMemory for Memory {
    fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
        let start = addr.0 as usize;
        buffer
            .copy_from_slice(self.0.lock().get(start..start + buffer.len()).ok_or(Errno::EFAULT)?);
        Ok(buffer.len())
    }

    fn write_partial(&self, addr: GuestAddr, bytes: &[u8]) -> Result<usize> {
        let start = addr.0 as usize;
        self.0
            .lock()
            .get_mut(start..start + bytes.len())
            .ok_or(Errno::EFAULT)?
            .copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Process {
    fn new(session: u32, pgrp: u32, pid: u32) -> Self {
        Self {
            memory: Memory(Mutex::new([0; 256])),
            cred: Cred { caps: Capabilities(0), ..Cred::root() },
            ids: ProcessIds { pid, pgrp, session, session_leader: pid == session },
            ignored: Vec::new(),
            has_terminal: Mutex::new(false),
        }
    }

    fn put<T: IntoBytes + zerocopy::Immutable>(&self, value: &T) {
        self.memory.write(GuestAddr(0), value.as_bytes()).unwrap();
    }

    fn word(&self) -> i32 {
        let mut bytes = [0; 4];
        self.memory.read(GuestAddr(0), &mut bytes).unwrap();
        i32::from_ne_bytes(bytes)
    }
}

impl IoctlContext for Process {
    fn memory(&self) -> &dyn GuestMemory {
        &self.memory
    }

    fn cred(&self) -> &Cred {
        &self.cred
    }

    fn process(&self) -> ProcessIds {
        self.ids
    }

    fn set_controlling_terminal(
        &self,
        terminal: Option<Arc<dyn Any + Send + Sync>>,
        _steal: bool,
    ) -> Result<()> {
        let mut own = self.has_terminal.lock();
        if terminal.is_some() && (*own || !self.ids.session_leader) {
            return Err(Errno::EPERM);
        }
        *own = terminal.is_some();
        Ok(())
    }

    fn install_file(&self, file: Arc<OpenFile>, _close_on_exec: bool) -> Result<u64> {
        drop(file);
        Ok(9)
    }

    fn ignores_signal(&self, signal: u32) -> bool {
        self.ignored.contains(&signal)
    }
}

struct Pair {
    host: Arc<Processes>,
    pty: Arc<Pty>,
    master: Arc<MasterFile>,
    slave: Arc<SlaveFile>,
}

/// What is typed, the echo, and what a read then gives.
type Typed = (&'static [u8], &'static [u8], Option<&'static [u8]>);
type Change = fn(&mut Termios);
/// What is set, typed, echoed and read.
type Flagged = (&'static str, Change, &'static [u8], &'static [u8], &'static [u8]);
/// `VMIN`, `VTIME`, what is typed, what a read gives, and whether it would be timed.
type Timed = (u8, u8, &'static [u8], Result<&'static [u8]>, bool);

fn pair() -> Pair {
    let host = Arc::new(Processes::default());
    let pty = Pty::new(0, Arc::clone(&host) as Arc<dyn TerminalHost>, None);
    let master = MasterFile::new(Arc::clone(&pty));
    pty.set_locked(false);
    let slave = SlaveFile::open(&pty, OpenFlags::O_RDWR, &VfsEnv::default()).unwrap();
    Pair { host, pty, master, slave }
}

impl Pair {
    fn set(&self, change: impl FnOnce(&mut Termios)) {
        let process = Process::new(0, 0, 1);
        let mut termios = self.pty.state.lock().settings.termios;
        change(&mut termios);
        process.put(&termios);
        self.slave.ioctl(TCSETS, GuestAddr(0), &process).unwrap();
    }

    fn type_in(&self, bytes: &[u8]) -> usize {
        self.master.write_at(&mut SliceSource::new(bytes), WriteAt::End).unwrap().0
    }

    fn print(&self, bytes: &[u8]) -> Result<usize> {
        self.slave.write_at(&mut SliceSource::new(bytes), WriteAt::End).map(|(count, _)| count)
    }

    fn read(&self, most: usize) -> Result<Vec<u8>> {
        let mut sink = VecSink::new(most);
        self.slave.read_at(&mut sink, 0)?;
        Ok(sink.bytes)
    }

    fn shown(&self) -> Vec<u8> {
        let mut sink = VecSink::new(1 << 16);
        match self.master.read_at(&mut sink, 0) {
            Err(Errno::EAGAIN) => Vec::new(),
            result => {
                result.unwrap();
                sink.bytes
            }
        }
    }
}

fn show(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What is typed with the usual settings, the echo, and what a read of 100 bytes then gives.
#[test]
fn canonical_editing() {
    let cases: [Typed; 17] = [
        (b"ls\n", b"ls\r\n", Some(b"ls\n")),
        (b"ls\r", b"ls\r\n", Some(b"ls\n")),
        (b"ls", b"ls", None),
        (b"lx\x7fs\n", b"lx\x08 \x08s\r\n", Some(b"ls\n")),
        (b"a\x01\x7f\x7fb\n", b"a^A\x08 \x08\x08 \x08\x08 \x08b\r\n", Some(b"b\n")),
        (b"one two\x17x\n", b"one two\x08 \x08\x08 \x08\x08 \x08x\r\n", Some(b"one x\n")),
        (b"two  \x17\n", b"two  \x08 \x08\x08 \x08\x08 \x08\x08 \x08\x08 \x08\r\n", Some(b"\n")),
        (b"abc\x15d\n", b"abc\x08 \x08\x08 \x08\x08 \x08d\r\n", Some(b"d\n")),
        (b"\x7f\x15\n", b"\r\n", Some(b"\n")),
        (b"\x04", b"", Some(b"")),
        (b"ab\x04", b"ab", Some(b"ab")),
        (b"a\x16\x03\n", b"a^\x08^C\r\n", Some(b"a\x03\n")),
        (b"a\x16\n\n", b"a^\x08^J\r\n", Some(b"a\n\n")),
        (b"ab\x12c\n", b"ab^R\r\nabc\r\n", Some(b"abc\n")),
        (b"ab\t\x7fc\n", b"ab\t\x08\x08\x08\x08\x08\x08c\r\n", Some(b"abc\n")),
        (b"a\nb\n", b"a\r\nb\r\n", Some(b"a\n")),
        (b"\x1b[A\n", b"^[[A\r\n", Some(b"\x1b[A\n")),
    ];
    for (typed, echo, read) in cases {
        let pair = pair();
        pair.type_in(typed);
        assert_eq!(show(&pair.shown()), show(echo), "echo of {}", show(typed));
        let result = pair.read(100);
        match read {
            Some(line) => assert_eq!(show(&result.unwrap()), show(line), "reading {}", show(typed)),
            None => assert_eq!(result, Err(Errno::EAGAIN)),
        }
    }
}

/// Typed bytes with changed settings: echo, and all that can be read.
#[test]
fn input_flags() {
    let cases: [Flagged; 12] = [
        ("no echo", |t| t.c_lflag &= !ECHO, b"pw\x7fx\n", b"", b"px\n"),
        ("igncr", |t| t.c_iflag |= IGNCR, b"a\r\n", b"a\r\n", b"a\n"),
        ("inlcr", |t| t.c_iflag = INLCR, b"a\n\x04", b"a^M", b"a\r"),
        ("raw", |t| (t.c_lflag, t.c_iflag) = (0, 0), b"\x03\r\n\x7f", b"", b"\x03\r\n\x7f"),
        ("raw echo", |t| (t.c_lflag, t.c_oflag) = (ECHO, 0), b"a\x01", b"a\x01", b"a\x01"),
        ("no echoe", |t| t.c_lflag &= !ECHOE, b"ab\x7f\n", b"ab^?\r\n", b"a\n"),
        ("echoprt", |t| t.c_lflag |= ECHOPRT, b"abc\x7f\x7fx\n", b"abc\\cb/x\r\n", b"ax\n"),
        (
            "utf8",
            |t| t.c_iflag |= IUTF8,
            "a\u{e9}\x7fb\n".as_bytes(),
            "a\u{e9}\x08 \x08b\r\n".as_bytes(),
            b"ab\n",
        ),
        ("no utf8", |_| (), b"a\xc3\xa9\x7fb\n", b"a\xc3\xa9\x08 \x08b\r\n", b"a\xc3b\n"),
        ("parmrk", |t| t.c_iflag |= PARMRK, b"\xff\n", b"\xff\r\n", b"\xff\xff\n"),
        ("no iexten", |t| t.c_lflag &= !IEXTEN, b"a\x17\n", b"a^W\r\n", b"a\x17\n"),
        ("no isig", |t| t.c_lflag &= !ISIG, b"a\x03\n", b"a^C\r\n", b"a\x03\n"),
    ];
    for (name, change, typed, echo, read) in cases {
        let pair = pair();
        pair.set(change);
        pair.type_in(typed);
        assert_eq!(show(&pair.shown()), show(echo), "{name}: echo");
        assert_eq!(show(&pair.read(100).unwrap()), show(read), "{name}: read");
    }
}

#[test]
fn output_flags() {
    let cases: [(u32, &[u8], &[u8]); 5] = [
        (OPOST | ONLCR, b"a\nb\n", b"a\r\nb\r\n"),
        (0, b"a\nb", b"a\nb"),
        (OPOST, b"a\n", b"a\n"),
        (OPOST | OCRNL, b"a\r", b"a\n"),
        (OPOST | XTABS, b"ab\tc\x08\t.", b"ab      c\x08        ."),
    ];
    for (flags, printed, shown) in cases {
        let pair = pair();
        pair.set(|termios| termios.c_oflag = flags);
        assert_eq!(pair.print(printed), Ok(printed.len()));
        assert_eq!(show(&pair.shown()), show(shown));
    }
}

#[test]
fn lines_are_read_piece_by_piece() {
    let pair = pair();
    pair.type_in(b"hello\nab\x04cd\n");
    assert_eq!(pair.read(3).unwrap(), b"hel");
    assert_eq!(pair.read(3).unwrap(), b"lo\n");
    // A read that ends exactly before the end-of-file mark consumes it, too.
    assert_eq!(pair.read(2).unwrap(), b"ab");
    assert_eq!(pair.read(9).unwrap(), b"cd\n");
    assert_eq!(pair.read(9), Err(Errno::EAGAIN));
}

#[test]
fn a_line_that_is_too_long_can_still_be_ended() {
    let pair = pair();
    pair.set(|termios| termios.c_lflag &= !ECHO);
    let long = vec![b'x'; 5000];
    assert_eq!(pair.type_in(&long), 5000);
    assert_eq!(pair.type_in(b"\n"), 1);
    let line = pair.read(10_000).unwrap();
    assert_eq!((line.len(), line.last()), (4096, Some(&b'\n')));
}

#[test]
fn input_that_nobody_reads_stops_the_master() {
    let pair = pair();
    pair.set(|termios| (termios.c_lflag, termios.c_iflag) = (0, 0));
    let mut total = 0;
    let chunk = vec![b'x'; 1000];
    while let Ok((count, _)) = pair.master.write_at(&mut SliceSource::new(&chunk), WriteAt::End) {
        total += count;
        assert!(total < 100_000);
    }
    assert!(!pair.master.poll().contains(PollEvents::POLLOUT));
    let mut read = 0;
    while let Ok(bytes) = pair.read(700) {
        read += bytes.len();
    }
    assert_eq!(read, total);
    assert!(pair.master.poll().contains(PollEvents::POLLOUT));
}

#[test]
fn reads_without_lines() {
    let cases: [Timed; 7] = [
        (1, 0, b"", Err(Errno::EAGAIN), false),
        (1, 0, b"a", Ok(b"a"), false),
        (3, 0, b"ab", Err(Errno::EAGAIN), false),
        (3, 0, b"abc", Ok(b"abc"), false),
        (0, 0, b"", Ok(b""), false),
        (0, 2, b"", Err(Errno::EAGAIN), true),
        (3, 2, b"ab", Err(Errno::EAGAIN), true),
    ];
    for (minimum, time, typed, result, timed) in cases {
        let pair = pair();
        pair.set(|termios| {
            (termios.c_lflag, termios.c_iflag) = (0, 0);
            termios.c_cc[VMIN as usize] = minimum;
            termios.c_cc[VTIME as usize] = time;
        });
        pair.type_in(typed);
        assert_eq!(pair.read(10), result.map(<[u8]>::to_vec), "min {minimum} time {time}");
        assert_eq!(pair.slave.read_timeout().is_some(), timed, "min {minimum} time {time}");
        if timed {
            let mut sink = VecSink::new(10);
            assert_eq!(pair.slave.read_expired(&mut sink), Ok(typed.len()));
        }
        pair.slave.flags_changed(OpenFlags::O_NONBLOCK);
        if !timed && typed.len() < usize::from(minimum) && !typed.is_empty() {
            assert_eq!(pair.read(10).unwrap(), typed);
        }
    }
}

#[test]
fn signals_from_the_keyboard() {
    let pair = pair();
    pair.pty.set_foreground(10, 20);
    pair.print(b"output").unwrap();
    pair.type_in(b"abc\x03");
    assert_eq!(pair.host.take(), [format!("group 20 signal {SIGINT}")]);
    assert_eq!(show(&pair.shown()), "output^C");
    assert_eq!(pair.read(10), Err(Errno::EAGAIN));
    pair.set(|termios| termios.c_lflag |= NOFLSH);
    pair.type_in(b"abc\x1a\n");
    assert_eq!(pair.host.take(), [format!("group 20 signal {SIGTSTP}")]);
    assert_eq!(show(&pair.shown()), "abc^Z\\r\\n");
    assert_eq!(pair.read(10).unwrap(), b"abc\n");
}

#[test]
fn flow_control() {
    let pair = pair();
    pair.type_in(b"\x13");
    assert_eq!(pair.print(b"x"), Err(Errno::EAGAIN));
    assert!(!pair.slave.poll().contains(PollEvents::POLLOUT));
    pair.type_in(b"typed");
    assert_eq!(pair.shown(), b"");
    pair.type_in(b"\x11");
    assert_eq!(pair.shown(), b"typed");
    assert_eq!(pair.print(b"x"), Ok(1));
    pair.set(|termios| termios.c_iflag |= IXANY);
    pair.type_in(b"\x13");
    pair.type_in(b"a");
    assert_eq!(pair.print(b"y"), Ok(1));
    let process = Process::new(0, 0, 1);
    let flow = |action: u32| pair.slave.ioctl(TCXONC, GuestAddr(u64::from(action)), &process);
    flow(TCOOFF).unwrap();
    pair.type_in(b"\x11a");
    assert_eq!(pair.print(b"z"), Err(Errno::EAGAIN));
    flow(TCOON).unwrap();
    assert_eq!(pair.print(b"z"), Ok(1));
    assert_eq!(flow(9), Err(Errno::EINVAL));
    pair.type_in(b"\x13");
    pair.set(|termios| termios.c_iflag &= !IXON);
    assert_eq!(pair.print(b"z"), Ok(1));
}

#[test]
fn the_output_is_bounded() {
    let pair = pair();
    let data = vec![b'\n'; 100_000];
    let written = pair.print(&data).unwrap();
    assert!((4096..30_000).contains(&written), "{written}");
    assert_eq!(pair.print(&data), Err(Errno::EAGAIN));
    assert_eq!(pair.shown().len(), written * 2);
    assert!(pair.print(&data).is_ok());
}

#[test]
fn leaving_canonical_mode_and_back() {
    let pair = pair();
    pair.type_in(b"half");
    pair.set(|termios| termios.c_lflag &= !ICANON);
    assert_eq!(pair.read(2).unwrap(), b"ha");
    pair.set(|termios| termios.c_lflag |= ICANON);
    assert_eq!(pair.read(10).unwrap(), b"lf");
}

#[test]
fn ends_of_the_line() {
    let pair = pair();
    pair.pty.set_foreground(10, 20);
    pair.type_in(b"left\n");
    let again = SlaveFile::open(&pair.pty, OpenFlags::O_RDWR, &VfsEnv::default()).unwrap();
    drop(again);
    assert!(!pair.master.poll().contains(PollEvents::POLLHUP));
    pair.print(b"bye").unwrap();
    let Pair { host, pty, master, slave } = pair;
    drop(slave);
    assert!(master.poll().contains(PollEvents::POLLHUP | PollEvents::POLLIN));
    let mut sink = VecSink::new(100);
    assert_eq!(master.read_at(&mut sink, 0), Ok(9));
    assert_eq!(show(&sink.bytes), "left\\r\\nbye");
    assert_eq!(master.read_at(&mut sink, 0), Err(Errno::EIO));
    assert!(master.write_at(&mut SliceSource::new(b"x"), WriteAt::End).is_ok());
    let slave = SlaveFile::open(&pty, OpenFlags::O_RDWR, &VfsEnv::default()).unwrap();
    assert!(!master.poll().contains(PollEvents::POLLHUP));
    drop(master);
    assert_eq!(host.take(), ["hang up 10"]);
    assert_eq!(slave.read_at(&mut sink, 0), Ok(0));
    assert_eq!(slave.write_at(&mut SliceSource::new(b"x"), WriteAt::End), Err(Errno::EIO));
    assert!(slave.poll().contains(PollEvents::POLLHUP));
    let process = Process::new(10, 10, 10);
    assert_eq!(slave.ioctl(TCGETS, GuestAddr(0), &process), Err(Errno::EIO));
    assert_eq!(slave.ioctl(TIOCSPGRP, GuestAddr(0), &process), Err(Errno::ENOTTY));
    assert_eq!(
        SlaveFile::open(&pty, OpenFlags::O_RDWR, &VfsEnv::default()).err(),
        Some(Errno::EIO)
    );
}

#[test]
fn controlling_terminal_and_foreground() {
    let pair = pair();
    let leader = Process::new(10, 10, 10);
    let ioctl = |process: &Process, command| pair.slave.ioctl(command, GuestAddr(0), process);
    assert_eq!(ioctl(&leader, TIOCGPGRP), Err(Errno::ENOTTY));
    assert_eq!(ioctl(&Process::new(10, 11, 12), TIOCSCTTY), Err(Errno::EPERM));
    assert_eq!(ioctl(&leader, TIOCSCTTY), Ok(0));
    assert_eq!(ioctl(&leader, TIOCSCTTY), Ok(0));
    assert_eq!(ioctl(&Process::new(30, 30, 30), TIOCSCTTY), Err(Errno::EPERM));
    ioctl(&leader, TIOCGPGRP).unwrap();
    assert_eq!(leader.word(), 10);
    pair.host.sessions.lock().extend([(11, 10), (99, 30)]);
    for (group, result) in
        [(11, Ok(0)), (99, Err(Errno::EPERM)), (12345, Err(Errno::ESRCH)), (-1, Err(Errno::EINVAL))]
    {
        leader.put(&group);
        assert_eq!(ioctl(&leader, TIOCSPGRP), result, "{group}");
    }
    ioctl(&leader, TIOCGSID).unwrap();
    assert_eq!(leader.word(), 10);
    let stranger = Process::new(30, 30, 31);
    assert_eq!(ioctl(&stranger, TIOCGSID), Err(Errno::ENOTTY));
    assert_eq!(pair.master.ioctl(TIOCGSID, GuestAddr(0), &stranger), Ok(0));
    // The privileged may steal it.
    let mut thief = Process::new(30, 30, 30);
    thief.cred = Cred::root();
    assert_eq!(pair.slave.ioctl(TIOCSCTTY, GuestAddr(1), &thief), Ok(0));
    assert_eq!(pair.host.take(), ["take from 10"]);
    assert_eq!(ioctl(&leader, TIOCNOTTY), Err(Errno::ENOTTY));
    assert_eq!(ioctl(&thief, TIOCNOTTY), Ok(0));
    let expected = [
        format!("group 30 signal {SIGHUP}"),
        format!("group 30 signal {SIGCONT}"),
        "take from 30".to_owned(),
    ];
    assert_eq!(pair.host.take(), expected);
    pair.pty.set_foreground(10, 11);
    pair.pty.session_left(10, true);
    assert_eq!(pair.host.take(), [format!("group 11 signal {SIGHUP}"), "take from 10".to_owned()]);
}

#[test]
fn the_background_is_stopped() {
    let pair = pair();
    pair.pty.set_foreground(10, 20);
    let (front, mut back) = (Process::new(10, 20, 20), Process::new(10, 30, 30));
    let check = |process: &Process, access| pair.slave.check_job(access, process);
    use TerminalAccess::{Ioctl, Read, Write};
    for access in [Read, Write, Ioctl(TCSETS)] {
        assert_eq!(check(&front, access), Ok(JobCheck::Proceed));
        assert_eq!(check(&Process::new(50, 50, 50), access), Ok(JobCheck::Proceed));
    }
    assert_eq!(check(&back, Read), Ok(JobCheck::Restart));
    assert_eq!(pair.host.take(), [format!("group 30 signal {SIGTTIN}")]);
    assert_eq!(check(&back, Write), Ok(JobCheck::Proceed));
    assert_eq!(check(&back, Ioctl(TCGETS)), Ok(JobCheck::Proceed));
    assert_eq!(check(&back, Ioctl(TCSETS)), Ok(JobCheck::Restart));
    assert_eq!(pair.host.take(), [format!("group 30 signal {SIGTTOU}")]);
    pair.set(|termios| termios.c_lflag |= TOSTOP);
    assert_eq!(check(&back, Write), Ok(JobCheck::Restart));
    pair.host.take();
    back.ignored = vec![SIGTTIN, SIGTTOU];
    assert_eq!(check(&back, Read), Err(Errno::EIO));
    assert_eq!(check(&back, Write), Ok(JobCheck::Proceed));
    back.ignored.clear();
    pair.host.orphaned.lock().push(30);
    assert_eq!(check(&back, Read), Err(Errno::EIO));
    assert_eq!(check(&back, Ioctl(TIOCSPGRP)), Err(Errno::ENOTTY));
    assert!(pair.host.take().is_empty());
}

#[test]
fn packet_mode() {
    let pair = pair();
    let process = Process::new(0, 0, 1);
    assert_eq!(pair.slave.ioctl(TIOCPKT, GuestAddr(0), &process), Err(Errno::ENOTTY));
    process.put(&1i32);
    pair.master.ioctl(TIOCPKT, GuestAddr(0), &process).unwrap();
    pair.print(b"data").unwrap();
    assert_eq!(pair.shown(), b"\0data");
    pair.set(|termios| termios.c_iflag &= !IXON);
    assert!(pair.master.poll().contains(PollEvents::POLLPRI | PollEvents::POLLIN));
    assert_eq!(pair.shown(), [TIOCPKT_NOSTOP as u8]);
    pair.print(b"lost").unwrap();
    pair.type_in(b"\x03");
    assert_eq!(pair.shown(), [(TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE) as u8]);
    assert_eq!(pair.shown(), b"\0lost^C");
}

#[test]
fn controls() {
    let pair = pair();
    let process = Process::new(0, 0, 1);
    let slave = |command, argument| pair.slave.ioctl(command, GuestAddr(argument), &process);
    let master = |command, argument| pair.master.ioctl(command, GuestAddr(argument), &process);
    pair.pty.set_foreground(10, 20);
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    process.put(&size);
    master(TIOCSWINSZ, 0).unwrap();
    slave(TIOCSWINSZ, 0).unwrap();
    assert_eq!(pair.host.take(), [format!("group 20 signal {SIGWINCH}")]);
    process.put(&Winsize::default());
    slave(TIOCGWINSZ, 0).unwrap();
    assert_eq!(pair.pty.window_size(), size);
    assert_eq!(process.word(), 24 | (80 << 16));
    master(TIOCGPTN, 0).unwrap();
    assert_eq!(process.word(), 0);
    process.put(&1i32);
    master(TIOCSPTLCK, 0).unwrap();
    master(TIOCGPTLCK, 0).unwrap();
    assert_eq!(process.word(), 1);
    assert_eq!(
        SlaveFile::open(&pair.pty, OpenFlags::O_RDWR, &VfsEnv::default()).err(),
        Some(Errno::EIO)
    );
    assert_eq!(master(TIOCGPTPEER, u64::from(chitin_abi::fs::O_RDWR)), Ok(9));
    slave(TIOCEXCL, 0).unwrap();
    pair.pty.set_locked(false);
    assert_eq!(
        SlaveFile::open(&pair.pty, OpenFlags::O_RDWR, &VfsEnv::default()).err(),
        Some(Errno::EBUSY)
    );
    pair.type_in(b"ab\ncd");
    slave(TIOCINQ, 0).unwrap();
    assert_eq!(process.word(), 3);
    assert_eq!(slave(TCFLSH, u64::from(TCIFLUSH)), Ok(0));
    assert_eq!(slave(TCFLSH, 7), Err(Errno::EINVAL));
    assert_eq!(pair.read(10), Err(Errno::EAGAIN));
    assert_eq!(slave(TIOCSTI, 0), Err(Errno::EIO));
    assert_eq!(slave(TCGETS, 250), Err(Errno::EFAULT));
    assert_eq!(slave(0x1234, 0), Err(Errno::ENOTTY));
    slave(TCGETS2, 0).unwrap();
    pair.type_in(b"xx\n");
    process.put(&Termios::STANDARD);
    slave(TCSETSF, 0).unwrap();
    assert_eq!(pair.read(10), Err(Errno::EAGAIN));
    let _ = ICRNL;
}

#[test]
fn a_relay_pumps_both_ways() {
    let host = Arc::new(Processes::default());
    let pty = Pty::new(0, Arc::clone(&host) as Arc<dyn TerminalHost>, None);
    pty.set_locked(false);
    let slave = SlaveFile::open(&pty, OpenFlags::O_RDWR, &VfsEnv::default()).unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let fd = Arc::new(std::os::fd::OwnedFd::from(ours));
    let poller: Arc<dyn crate::host_poll::HostPoll> = Arc::new(crate::host_poll::NoHostPoll);
    let relay = super::relay::Relay::new(&pty, Arc::clone(&fd), fd, &poller).unwrap();
    slave.write_at(&mut SliceSource::new(b"prompt\n"), WriteAt::End).unwrap();
    let mut shown = [0; 100];
    let count = std::io::Read::read(&mut &theirs, &mut shown).unwrap();
    assert_eq!(show(&shown[..count]), "prompt\\r\\n");
    std::io::Write::write_all(&mut &theirs, b"typed\r").unwrap();
    relay.pump();
    let mut sink = VecSink::new(100);
    slave.read_at(&mut sink, 0).unwrap();
    assert_eq!(sink.bytes, b"typed\n");
    assert!(relay.is_drained());
    pty.set_foreground(5, 5);
    drop(theirs);
    relay.pump();
    assert_eq!(host.take(), ["hang up 5"]);
}

/// Random bytes, settings and operations: nothing panics or grows.
#[test]
fn noise() {
    let pair = pair();
    let seed = AtomicU64::new(0x1234_5678_9abc_def1);
    let next = || {
        let mut x = seed.load(Ordering::Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        seed.store(x, Ordering::Relaxed);
        x
    };
    for _ in 0..3000 {
        match next() % 6 {
            0 => pair.set(|termios| {
                (termios.c_iflag, termios.c_oflag) = (next() as u32, next() as u32);
                (termios.c_lflag, termios.c_cc[(next() % 19) as usize]) =
                    (next() as u32, next() as u8);
            }),
            1 | 2 => {
                let bytes: Vec<u8> = (0..next() % 600).map(|_| next() as u8).collect();
                let _ = pair.master.write_at(&mut SliceSource::new(&bytes), WriteAt::End);
            }
            3 => {
                let bytes: Vec<u8> = (0..next() % 3000).map(|_| next() as u8).collect();
                let _ = pair.print(&bytes);
            }
            4 => {
                let _ = pair.read((next() % 5000) as usize);
            }
            _ => {
                let _ = pair.shown();
            }
        }
        let state = pair.pty.state.lock();
        assert!(state.line.len() <= 4096 + 1 && state.incoming.len() <= 16384);
        assert!(state.outgoing.len() <= 8192 + 2048 * 8 + 4096 * 64 && state.echo.len() <= 4096);
    }
}
