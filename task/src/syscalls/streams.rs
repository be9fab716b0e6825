//! Calls that make pipes, event counters and timers.

use std::sync::{Arc, Weak};

use chitin_abi::fs::{
    MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC, MFD_HUGE_MASK, MFD_HUGE_SHIFT, MFD_HUGETLB,
    MFD_NOEXEC_SEAL, O_CLOEXEC, O_DIRECT, O_EXCL, O_NONBLOCK, OpenFlags,
};
use chitin_abi::process::CAP_WAKE_ALARM;
use chitin_abi::time::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_REALTIME_ALARM,
    Itimerspec, TFD_CLOEXEC, TFD_NONBLOCK, TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET,
};
use chitin_abi::uio::{EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::eventfd::new_eventfd;
use chitin_vfs::file::OpenFile;
use chitin_vfs::memfd::MemfdOptions;
use chitin_vfs::pipe::new_pipe;
use chitin_vfs::secret::SecretFile;
use chitin_vfs::timerfd::{ArmedTimer, TimerFd, TimerService, TimerTarget, new_timerfd};
use zerocopy::IntoBytes;

use super::args::{Clock, Fd, FdPair, Flags, OpenMode, PathPtr};
use super::at::PathCaller;
use crate::context::Ctx;
use crate::error::SysResult;
use crate::kernel::Kernel;

/// Gives an open file the lowest free descriptor.
///
/// # Errors
/// EMFILE.
pub fn install(cx: &Ctx<'_>, file: Arc<OpenFile>, close_on_exec: bool) -> SysResult {
    let limit = cx.task.group.limits().open_files();
    let fd = cx.task.files().install(file, close_on_exec, 0, limit)?;
    Ok(u64::from(fd.unsigned_abs()))
}

/// Gives two open files a descriptor each and writes the numbers to the guest; gives none if that fails.
///
/// # Errors
/// EMFILE, EFAULT.
pub fn install_pair(
    cx: &Ctx<'_>,
    addr: GuestAddr,
    files: [Arc<OpenFile>; 2],
    close_on_exec: bool,
) -> SysResult {
    let limit = cx.task.group.limits().open_files();
    let table = cx.task.files();
    let [first, second] = files;
    let first = table.install(first, close_on_exec, 0, limit)?;
    let second = match table.install(second, close_on_exec, 0, limit) {
        Ok(second) => second,
        Err(errno) => {
            drop(table.remove(first));
            return Err(errno.into());
        }
    };
    if let Err(errno) = cx.memory().write(addr, [first, second].as_bytes()) {
        drop((table.remove(first), table.remove(second)));
        return Err(errno.into());
    }
    Ok(0)
}

fn status(nonblocking: bool) -> OpenFlags {
    if nonblocking { OpenFlags::O_NONBLOCK } else { OpenFlags::empty() }
}

/// `pipe(2)`.
pub fn pipe(cx: &mut Ctx<'_>, pair: FdPair) -> SysResult {
    pipe2(cx, pair, OpenMode(0))
}

/// `pipe2(2)`.
pub fn pipe2(cx: &mut Ctx<'_>, pair: FdPair, flags: OpenMode) -> SysResult {
    if flags.0 & !(O_CLOEXEC | O_NONBLOCK | O_DIRECT | O_EXCL) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags.0 & O_EXCL != 0 {
        // A notification pipe.
        return Err(Errno::ENOPKG.into());
    }
    let status = OpenFlags::from_bits_retain(flags.0 & (O_NONBLOCK | O_DIRECT));
    let now = cx.kernel().clock.realtime();
    let (reader, writer) = new_pipe(status, &cx.task.cred().fs_cred(), now);
    install_pair(cx, pair.0, [reader, writer], flags.0 & O_CLOEXEC != 0)
}

/// `eventfd(2)` without flags.
pub fn eventfd(cx: &mut Ctx<'_>, initial: u32) -> SysResult {
    eventfd2(cx, initial, Flags(0))
}

/// `eventfd(2)`.
pub fn eventfd2(cx: &mut Ctx<'_>, initial: u32, flags: Flags) -> SysResult {
    if flags.0 & !(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let semaphore = flags.0 & EFD_SEMAPHORE != 0;
    let file = new_eventfd(
        initial,
        semaphore,
        status(flags.0 & EFD_NONBLOCK != 0),
        &cx.task.cred().fs_cred(),
    );
    install(cx, file, flags.0 & EFD_CLOEXEC != 0)
}

/// The kernel's timers for files.
struct Timers(Arc<Kernel>);

impl TimerService for Timers {
    fn now(&self, clock: u32) -> u64 {
        match clock {
            CLOCK_REALTIME | CLOCK_REALTIME_ALARM => self.0.clock.realtime_nanos(),
            CLOCK_BOOTTIME | CLOCK_BOOTTIME_ALARM => self.0.clock.boottime(),
            _ => self.0.clock.monotonic(),
        }
    }

    fn arm(&self, clock: u32, deadline: u64, target: Weak<dyn TimerTarget>) -> ArmedTimer {
        let left = deadline.saturating_sub(self.now(clock));
        let deadline = self.0.clock.monotonic().saturating_add(left);
        let expire = move || {
            if let Some(target) = target.upgrade() {
                target.expired();
            }
        };
        Box::new(self.0.scheduler.timer(deadline, expire))
    }
}

/// `timerfd_create(2)`.
pub fn timerfd_create(cx: &mut Ctx<'_>, clock: Clock, flags: Flags) -> SysResult {
    let clock = clock.0.cast_unsigned();
    let known = [
        CLOCK_REALTIME,
        CLOCK_MONOTONIC,
        CLOCK_BOOTTIME,
        CLOCK_REALTIME_ALARM,
        CLOCK_BOOTTIME_ALARM,
    ];
    if flags.0 & !(TFD_CLOEXEC | TFD_NONBLOCK) != 0 || !known.contains(&clock) {
        return Err(Errno::EINVAL.into());
    }
    if matches!(clock, CLOCK_REALTIME_ALARM | CLOCK_BOOTTIME_ALARM)
        && !cx.task.cred().capable_initial(CAP_WAKE_ALARM)
    {
        return Err(Errno::EPERM.into());
    }
    let service = Arc::new(Timers(Arc::clone(cx.kernel())));
    let file =
        new_timerfd(clock, service, status(flags.0 & TFD_NONBLOCK != 0), &cx.task.cred().fs_cred());
    install(cx, file, flags.0 & TFD_CLOEXEC != 0)
}

fn timer(file: &OpenFile) -> Result<&TimerFd> {
    file.file().as_any().downcast_ref().ok_or(Errno::EINVAL)
}

/// `timerfd_settime(2)`. `TFD_TIMER_CANCEL_ON_SET` is accepted: the guest cannot set the clock.
pub fn timerfd_settime(
    cx: &mut Ctx<'_>,
    fd: Fd,
    flags: Flags,
    new: GuestAddr,
    old: GuestAddr,
) -> SysResult {
    let new: Itimerspec = cx.read(new)?;
    let valid = new.it_value.to_nanos().is_some() && new.it_interval.to_nanos().is_some();
    if flags.0 & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 || !valid {
        return Err(Errno::EINVAL.into());
    }
    let file = cx.file(fd.0)?;
    let before = timer(&file)?.set_time(&new, flags.0 & TFD_TIMER_ABSTIME != 0, flags.0)?;
    cx.write_opt(old, &before)?;
    Ok(0)
}

/// `timerfd_gettime(2)`.
pub fn timerfd_gettime(cx: &mut Ctx<'_>, fd: Fd, current: GuestAddr) -> SysResult {
    let file = cx.file(fd.0)?;
    cx.write(current, &timer(&file)?.time())?;
    Ok(0)
}

/// Longest name of a file in memory.
const MEMFD_NAME_MAX: usize = 249;

/// `memfd_create(2)`. Huge pages are accepted and have no effect.
pub fn memfd_create(cx: &mut Ctx<'_>, name: PathPtr, flags: Flags) -> SysResult {
    let huge = MFD_HUGE_MASK << MFD_HUGE_SHIFT;
    let known = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_NOEXEC_SEAL | MFD_EXEC;
    let allowed = if flags.0 & MFD_HUGETLB != 0 { known | huge } else { known };
    let both = MFD_EXEC | MFD_NOEXEC_SEAL;
    if flags.0 & !allowed != 0 || flags.0 & both == both {
        return Err(Errno::EINVAL.into());
    }
    let name = chitin_mm::guest_memory::read_cstring(cx.memory(), name.0, MEMFD_NAME_MAX + 1);
    let name =
        name.map_err(|errno| if errno == Errno::ENAMETOOLONG { Errno::EINVAL } else { errno })?;
    let options = MemfdOptions {
        sealing: flags.0 & MFD_ALLOW_SEALING != 0,
        no_exec: flags.0 & MFD_NOEXEC_SEAL != 0,
    };
    let caller = PathCaller::new(cx.task);
    let path = caller.env.shared.new_memfd(&name, options, &caller.cred)?;
    let opened = caller.walk().open_path(&path, OpenFlags::O_RDWR | OpenFlags::O_LARGEFILE)?;
    install(cx, opened.file, flags.0 & MFD_CLOEXEC != 0)
}

/// `memfd_secret(2)`.
pub fn memfd_secret(cx: &mut Ctx<'_>, flags: Flags) -> SysResult {
    if flags.0 & !O_CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    let caller = PathCaller::new(cx.task);
    let path = caller.env.shared.new_memfd(b"secret", MemfdOptions::default(), &caller.cred)?;
    let status = OpenFlags::O_RDWR | OpenFlags::O_LARGEFILE;
    let memory = caller.walk().open_path(&path, status)?.file;
    let file = OpenFile::new(Arc::new(SecretFile::new(memory)), None, status, caller.cred.clone());
    install(cx, file, flags.0 & O_CLOEXEC != 0)
}
