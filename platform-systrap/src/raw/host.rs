//! Host calls that have no safe wrapper elsewhere.

use core::mem::MaybeUninit;
use std::io;

/// A child that has ended, and what it used.
pub struct Ended {
    /// Its process id.
    pub pid: i32,
    /// User and system time, nanoseconds.
    pub cpu: (u64, u64),
    /// How it ended, in words.
    pub how: String,
}

/// Waits for any stub of a process group to end. With `leave` it stays a zombie, so that its id is not given to another.
/// `Err(ECHILD)`: there is none. Other children of this process are not looked at, because stubs are the only
/// ones that end without SIGCHLD.
pub fn wait_any(group: i32, leave: bool) -> io::Result<Ended> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let mut flags = libc::WEXITED | libc::__WCLONE;
    if leave {
        flags |= libc::WNOWAIT;
    }
    // SAFETY: both pointers are to memory of the right size, which the kernel fills.
    let done = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PGID,
            group,
            info.as_mut_ptr(),
            flags,
            usage.as_mut_ptr(),
        )
    };
    ended(done, info, usage)
}

/// Reaps one stub that has ended.
pub fn reap(pid: i32) -> io::Result<Ended> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let flags = libc::WEXITED | libc::__WALL;
    // SAFETY: as in `wait_any`.
    let done = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PID,
            pid,
            info.as_mut_ptr(),
            flags,
            usage.as_mut_ptr(),
        )
    };
    ended(done, info, usage)
}

fn ended(
    done: libc::c_long,
    info: MaybeUninit<libc::siginfo_t>,
    usage: MaybeUninit<libc::rusage>,
) -> io::Result<Ended> {
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed memory is a valid siginfo_t, and the kernel has filled it.
    let info = unsafe { info.assume_init() };
    // SAFETY: zeroed memory is a valid rusage, and the kernel has filled it.
    let usage = unsafe { usage.assume_init() };
    let nanoseconds =
        |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1000;
    // SAFETY: waitid fills the fields of SIGCHLD.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    let how = match info.si_code {
        libc::CLD_EXITED => format!("exit code {status}"),
        _ => format!("signal {status}"),
    };
    Ok(Ended { pid, cpu: (nanoseconds(usage.ru_utime), nanoseconds(usage.ru_stime)), how })
}

/// Sends a signal to one thread.
pub fn signal_thread(pid: i32, tid: i32, signal: u32) {
    // SAFETY: takes numbers only.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) };
}

/// A clock by number: nanoseconds, or 0 where there is no such clock.
pub fn clock(id: i32) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to memory of the right size.
    let done = unsafe { libc::clock_gettime(id, time.as_mut_ptr()) };
    if done != 0 {
        return 0;
    }
    // SAFETY: zeroed memory is a valid timespec, and the kernel has filled it.
    let time = unsafe { time.assume_init() };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The time stamp counter.
pub fn ticks() -> u64 {
    // SAFETY: every x86_64 processor has it; reading it changes nothing.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// An entry of the auxiliary vector, or 0.
pub fn auxiliary(kind: u64) -> u64 {
    // SAFETY: reads a vector that the kernel made.
    unsafe { libc::getauxval(kind) }
}

/// What `cpuid` says on this core: eax, ebx, ecx, edx.
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let said = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    [said.eax, said.ebx, said.ecx, said.edx]
}

/// The core that this thread runs on.
pub fn current_core() -> usize {
    // SAFETY: takes nothing.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}
