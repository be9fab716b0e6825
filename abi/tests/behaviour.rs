//! What the types do, against the C library's macros and the manual's words.

use chitin_abi::fs::{OpenFlags, major, makedev, minor};
use chitin_abi::names::{capability_by_name, capability_name, rlimit_by_name, rlimit_name};
use chitin_abi::net::{SockaddrIn, SockaddrIn6, cmsg_align, cmsg_len, cmsg_space, nl_align};
use chitin_abi::process::{W_CONTINUED, w_exitcode, w_stopcode, w_termsig};
use chitin_abi::signal::*;
use chitin_abi::system::uts_field;
use chitin_abi::time::{Timespec, Timeval};
use chitin_abi::tty::{Termios, Termios2, VEOF, VINTR};
use chitin_abi::{Errno, Regs, nr};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn device_numbers_are_those_of_the_c_library() {
    for (high, low) in
        [(0, 0), (1, 3), (136, 0), (8, 300), (0x1234, 0x5_6789), (0xffff_ffff, 0xffff_ffff)]
    {
        let device = makedev(high, low);
        assert_eq!(device, libc::makedev(high, low));
        assert_eq!((major(device), minor(device)), (high, low));
    }
}

#[test]
fn open_flags_tell_the_access_mode() {
    let open = OpenFlags::from_bits_retain;
    assert!(open(0).is_readable() && !open(0).is_writable());
    assert!(!open(1).is_readable() && open(1).is_writable());
    assert!(open(2).is_readable() && open(2).is_writable());
    assert!(!open(3).is_readable() && !open(3).is_writable());
    let path = OpenFlags::O_PATH | OpenFlags::O_RDWR;
    assert!(!path.is_readable() && !path.is_writable());
}

#[test]
fn wait_status_is_what_the_macros_take_apart() {
    let status = w_exitcode(42);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 42);
    let status = w_termsig(SIGSEGV, true);
    assert!(libc::WIFSIGNALED(status) && libc::WCOREDUMP(status));
    assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV);
    let status = w_stopcode(SIGTRAP, 4);
    assert!(libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGTRAP);
    assert_eq!(status >> 16, libc::PTRACE_EVENT_EXEC);
    assert!(libc::WIFCONTINUED(W_CONTINUED));
}

#[test]
fn signal_sets_count_from_one() {
    let mut set = SigSet::from_signals(&[SIGHUP, SIGKILL, SIGRTMAX]);
    assert_eq!(set.bits(), 1 | 1 << 8 | 1 << 63);
    assert!(!set.contains(0) && !set.contains(65) && !set.contains(u32::MAX));
    set.remove(SIGKILL);
    set.insert(0);
    assert_eq!(set.into_iter().collect::<Vec<_>>(), [SIGHUP, SIGRTMAX]);
    assert_eq!(set.complement().lowest(), Some(SIGINT));
    assert_eq!(SigSet::EMPTY.lowest(), None);
}

#[test]
fn signal_names_go_both_ways() {
    for signal in 1..=31 {
        let name = signal_name(signal).unwrap();
        assert_eq!(signal_by_name(name), Some(signal));
        assert_eq!(signal_by_name(&name[3..].to_lowercase()), Some(signal));
    }
    assert_eq!((signal_name(0), signal_name(32)), (None, None));
    assert_eq!(
        (signal_by_name("9"), signal_by_name("65"), signal_by_name("0")),
        (Some(9), None, None)
    );
    assert_eq!(
        (signal_by_name(""), signal_by_name("SIG"), signal_by_name("é")),
        (None, None, None)
    );
}

fn word(info: &SigInfo, offset: usize) -> u64 {
    u64::from_le_bytes(info.as_bytes()[offset..offset + 8].try_into().unwrap())
}

/// The offsets are those of the kernel's `siginfo.h` on 64-bit processors.
#[test]
fn siginfo_is_laid_out_as_c_reads_it() {
    let child = SigInfo::child(SIGCHLD, CLD_EXITED, 12, 34, 56).with_times(7, 8);
    assert_eq!(word(&child, 0), u64::from(SIGCHLD));
    assert_eq!(word(&child, 8), 1);
    assert_eq!((word(&child, 16), word(&child, 24)), (12 | 34 << 32, 56));
    assert_eq!((word(&child, 32), word(&child, 40)), (7, 8));
    let fault = SigInfo::fault(SIGSEGV, SEGV_MAPERR, 0x1234_5678_9abc);
    assert_eq!(word(&fault, 16), 0x1234_5678_9abc);
    let queued = SigInfo::queue(SIGRTMIN, SI_QUEUE, 1, 2, 0xdead_beef_0bad_cafe);
    assert_eq!((word(&queued, 16), word(&queued, 24)), (1 | 2 << 32, 0xdead_beef_0bad_cafe));
    let filtered = SigInfo::seccomp(5, 6, 7, 8);
    assert_eq!(word(&filtered, 0), u64::from(SIGSYS) | 5 << 32);
    assert_eq!((word(&filtered, 16), word(&filtered, 24)), (6, 7 | 8 << 32));
}

#[test]
fn siginfo_says_which_member_is_valid() {
    let layouts = [
        (SigInfo::user(SIGTERM, SI_USER, 1, 0), SigInfoLayout::Kill),
        (SigInfo::kernel(SIGSEGV), SigInfoLayout::Kill),
        (SigInfo::user(SIGCHLD, SI_TKILL, 1, 0), SigInfoLayout::Rt),
        (SigInfo::timer(SIGALRM, 1, 0, 9), SigInfoLayout::Timer),
        (SigInfo::poll(SIGIO, POLL_IN, 1, 3), SigInfoLayout::Poll),
        (SigInfo::fault(SIGBUS, BUS_ADRERR, 1), SigInfoLayout::Fault),
        (SigInfo::child(SIGCHLD, CLD_KILLED, 1, 0, 9), SigInfoLayout::Child),
        (SigInfo::seccomp(1, 2, 3, 4), SigInfoLayout::Sys),
    ];
    for (info, layout) in layouts {
        assert_eq!(info.layout(), layout, "{info:?}");
    }
    let report = SigInfo::queue(SIGUSR1, SI_QUEUE, 1, 2, 0x1_0000_0003).to_signalfd();
    assert_eq!((report.pid, report.uid, report.ptr, report.int), (1, 2, 0x1_0000_0003, 3));
}

#[test]
fn sigreturn_keeps_privileged_flags_and_segments() {
    let mut regs = Regs { rip: 1, rsp: 2, eflags: 0x246, cs: 0x33, ss: 0x2b, ..Regs::default() };
    let mut frame = SigContext::from_regs(&regs);
    let saved = regs;
    regs.rax = 5;
    frame.eflags = 0x3246 | 0x100;
    frame.cs = 0;
    frame.restore(&mut regs);
    assert_eq!(regs.eflags, 0x246 | 0x100);
    assert_eq!((regs.cs, regs.ss, regs.rax, regs.rip), (saved.cs, saved.ss, saved.rax, saved.rip));
}

#[test]
fn times_reject_what_linux_rejects() {
    let spec = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    assert_eq!(spec(1, 5).to_nanos(), Some(1_000_000_005));
    assert_eq!(spec(-1, 0).to_nanos(), None);
    assert_eq!(spec(0, 1_000_000_000).to_nanos(), None);
    assert_eq!(spec(i64::MAX, 999_999_999).to_nanos(), Some(i64::MAX.unsigned_abs()));
    assert_eq!(Timespec::from_nanos(-1), spec(-1, 999_999_999));
    assert_eq!(Timeval { tv_sec: 0, tv_usec: 1_000_000 }.to_nanos(), None);
    assert_eq!(Timeval::from_nanos(1_500_000_999), Timeval { tv_sec: 1, tv_usec: 500_000 });
}

#[test]
fn control_messages_are_sized_as_c_does() {
    for (data, len, space) in
        [(0, 16, 16), (1, 17, 24), (4, 20, 24), (8, 24, 24), (1012, 1028, 1032)]
    {
        assert_eq!((cmsg_len(data), cmsg_space(data)), (Some(len), Some(space)));
    }
    assert_eq!((cmsg_align(usize::MAX), cmsg_len(usize::MAX)), (None, None));
    assert_eq!((nl_align(5), nl_align(usize::MAX)), (Some(8), None));
}

#[test]
fn addresses_are_in_network_order() {
    let v4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80);
    let raw = SockaddrIn::from(v4);
    assert_eq!(raw.as_bytes()[..8], [2, 0, 0, 80, 127, 0, 0, 1]);
    assert_eq!(SocketAddrV4::from(SockaddrIn::read_from_bytes(raw.as_bytes()).unwrap()), v4);
    let v6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 0x1234, 7);
    assert_eq!(SocketAddrV6::from(SockaddrIn6::from(v6)), v6);
}

#[test]
fn names_go_both_ways() {
    for capability in 0..=40 {
        let name = capability_name(capability).unwrap();
        assert_eq!(capability_by_name(name), Some(capability));
    }
    assert_eq!(capability_by_name("cap_sys_admin"), Some(21));
    assert_eq!(rlimit_by_name("RLIMIT_NOFILE"), Some(7));
    assert_eq!(rlimit_name(15), Some("RLIMIT_RTTIME"));
    assert_eq!(
        (capability_name(41), capability_by_name("CAP_"), rlimit_name(16)),
        (None, None, None)
    );
}

#[test]
fn a_new_terminal_is_cooked() {
    let termios = Termios::STANDARD;
    assert_eq!((termios.control(VINTR), termios.control(VEOF), termios.control(99)), (3, 4, 0));
    assert_eq!(Termios2::from_termios(&termios, 38400, 38400).to_termios(), termios);
}

#[test]
fn strings_of_uname_are_cut() {
    assert_eq!(uts_field(b"host")[..5], *b"host\0");
    assert_eq!(uts_field(&[b'x'; 100])[64], 0);
}

#[test]
fn numbers_have_names() {
    assert_eq!((nr::READ, nr::name(nr::READ)), (libc::SYS_read as u64, Some("read")));
    assert_eq!((nr::CLONE3, nr::name(nr::CLONE3)), (libc::SYS_clone3 as u64, Some("clone3")));
    assert_eq!((nr::name(335), nr::name(u64::MAX)), (None, None));
    assert_eq!(Errno::ENOENT.raw(), libc::ENOENT);
}
