//! Calls for which no crate has a safe function.
#![expect(unsafe_code, reason = "the only module of this crate with unsafe code")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::process::Pid;

/// `clone(2)` as a fork: the child runs on with a copy of everything and `None`.
///
/// # Errors
/// Those of `clone(2)`, and `EBUSY` when the process has more than one thread.
pub(crate) fn fork(namespaces: i32) -> io::Result<Option<Pid>> {
    if threads() != Some(1) {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let flags = i64::from(namespaces | libc::SIGCHLD);
    // SAFETY: 1. Without CLONE_VM and with a null stack this is fork(2): the child has its own copy of memory and
    // goes on with the caller's stack. 2. The process has one thread (checked above; nobody else could start one
    // meanwhile), so no lock of the allocator or of the standard library is held by a thread that the child lacks.
    // 3. No pointer is passed: the remaining arguments are null and unused with these flags.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(pid).ok().and_then(Pid::from_raw))
}

/// How many threads this process has, `None` where /proc does not say.
fn threads() -> Option<usize> {
    // nlink of the directory is 2 plus one per thread.
    let links = rustix::fs::stat("/proc/self/task").ok()?.st_nlink;
    usize::try_from(links).ok()?.checked_sub(2)
}

/// Closes all descriptors from `first` to `last`.
///
/// # Errors
/// Those of `close_range(2)`.
pub(crate) fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: no memory is touched. That no object owns one of these descriptors any more is for the caller to see
    // to; a stale number in an `OwnedFd` fails with EBADF when used, which is not undefined behaviour by itself.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes over an inherited descriptor by its number; `None` if it is not open.
pub(crate) fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: F_GETFD takes no pointer.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the descriptor is open (checked above). It came with the process (standard streams, `--preserve-fds`)
    // and each number is taken over at most once, before this process opens descriptors of its own under it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Changes the attributes of the mount that `tree` is the root of, and of those below it if `recursive`.
///
/// # Errors
/// Those of `mount_setattr(2)`.
pub(crate) fn mount_setattr(tree: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: 1. The path is a NUL-terminated literal. 2. `attributes` is a live structure of the size that is passed,
    // which the kernel only reads. 3. The descriptor is borrowed for the length of the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes the terminal of `fd` the controlling one of this process, a session leader without one.
///
/// # Errors
/// Those of `TIOCSCTTY`.
pub(crate) fn set_controlling_terminal(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the argument of TIOCSCTTY is a number, no pointer.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets an option of a socket whose value is a number.
///
/// # Errors
/// Those of `setsockopt(2)`.
pub(crate) fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is a live number of the length that is passed, which the kernel only reads.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Binds a packet socket to an interface: from now on it receives all of its frames.
///
/// # Errors
/// Those of `bind(2)`.
pub(crate) fn bind_packet(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `address` is a live structure of the length that is passed, which the kernel only reads.
    let result = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Where [`refused`] reports.
static REPORT: AtomicI32 = AtomicI32::new(-1);

/// From now on a host call that the seccomp filter traps is reported to `fd`, as a line of the status pipe, and ends
/// the process. `fd` has to stay open.
///
/// # Errors
/// Those of `sigaction(2)`.
pub(crate) fn report_refused_calls(fd: BorrowedFd<'_>) -> nix::Result<()> {
    REPORT.store(fd.as_raw_fd(), Ordering::Relaxed);
    let handler = SigHandler::SigAction(refused);
    let action = SigAction::new(handler, SaFlags::SA_SIGINFO, SigSet::empty());
    // SAFETY: `refused` only makes async-signal-safe calls (write, _exit) and touches no memory but its own stack,
    // an atomic and its arguments; it does not return.
    unsafe { sigaction(Signal::SIGSYS, &action) }.map(drop)
}

extern "C" fn refused(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: 1. The kernel passes a valid `ucontext_t` to a handler with SA_SIGINFO, alive until it returns.
    // 2. It is only read.
    let number =
        unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RAX as usize] };
    let mut line = *b"{\"failed\":{\"message\":\"internal error of the sandbox's kernel: host call     0 is not on its list\",\"code\":1}}\n";
    let digits = line.windows(6).position(|window| window == b"     0").unwrap_or(0);
    let mut rest = number.unsigned_abs();
    for at in (digits..digits + 6).rev() {
        if let Some(byte) = line.get_mut(at) {
            *byte = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let fd = REPORT.load(Ordering::Relaxed);
    // SAFETY: `line` is a live buffer of this length; the descriptor is a number that the kernel checks.
    unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) };
    exit_now(1)
}

/// Takes the program's code and constants out of this process's memory: what is used again comes back from the host's
/// page cache. For processes that have started and wait; how much of it the start alone has used is not held for them.
pub(crate) fn release_code() {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let page = rustix::param::page_size();
    let start = (&raw const __executable_start).addr().next_multiple_of(page);
    let end = (&raw const etext).addr() / page * page;
    // SAFETY: 1. The linker defines both symbols; only their addresses are used. 2. Between them lie private mappings of
    // the program's file that are not writable and that nothing has written (relocated data lie behind): each page holds
    // the same bytes again when it is touched next. 3. Advice that the kernel does not take changes nothing.
    unsafe {
        libc::madvise(
            core::ptr::with_exposed_provenance_mut(start),
            end.saturating_sub(start),
            libc::MADV_DONTNEED,
        )
    };
}

/// Has large blocks of memory go back to the host when they are freed, also after others of their size were: the C
/// library would keep them from then on.
pub(crate) fn return_large_blocks() {
    const LARGE: i32 = 512 << 10;
    // SAFETY: mallopt(3) takes two numbers; the blocks that there are stay what they are.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

/// Ends the process without running destructors or handlers: for children that share descriptors and state with
/// their parent.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) takes a number and does not return.
    unsafe { libc::_exit(code) }
}
