//! The machine: its names, memory, randomness, log; comparing tasks.

use core::cmp::Ordering as Order;
use std::sync::Arc;

use chitin_abi::process::{
    CAP_SYS_ADMIN, CAP_SYS_BOOT, CAP_SYSLOG, KCMP_FILE, KCMP_FILES, KCMP_FS, KCMP_IO, KCMP_SIGHAND,
    KCMP_SYSVSEM, KCMP_VM,
};
use chitin_abi::signal::{SIGHUP, SIGINT};
use chitin_abi::system::{
    GRND_INSECURE, GRND_NONBLOCK, GRND_RANDOM, LINUX_REBOOT_CMD_CAD_OFF, LINUX_REBOOT_CMD_CAD_ON,
    LINUX_REBOOT_CMD_HALT, LINUX_REBOOT_CMD_POWER_OFF, LINUX_REBOOT_CMD_RESTART,
    LINUX_REBOOT_CMD_RESTART2, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_MAGIC2A,
    LINUX_REBOOT_MAGIC2B, LINUX_REBOOT_MAGIC2C, MACHINE, SYSLOG_ACTION_CLOSE, SYSLOG_ACTION_OPEN,
    SYSLOG_ACTION_READ_ALL, SYSLOG_ACTION_SIZE_BUFFER, SYSLOG_ACTION_SIZE_UNREAD, Sysinfo, UTS_LEN,
    Utsname, uts_field,
};
use chitin_abi::{Errno, GuestAddr, Result};

use super::args::{BytesIn, BytesOut, Flags, Mode};
use crate::context::Ctx;
use crate::error::{SysError, SysResult};
use crate::kernel::{RELEASE, SYSNAME, VERSION};
use crate::process::find;
use crate::signal::begin_exit;
use crate::task::Task;

/// The longest that one `getrandom` writes.
const MAX_RANDOM: usize = 33_554_431;
const LOG_SIZE: u64 = 1 << 17;

/// `uname(2)`.
pub fn uname(cx: &mut Ctx<'_>, buf: GuestAddr) -> SysResult {
    let uts = Arc::clone(&cx.task.namespaces().uts);
    let name = Utsname {
        sysname: uts_field(SYSNAME.as_bytes()),
        nodename: uts_field(&uts.hostname()),
        release: uts_field(RELEASE.as_bytes()),
        version: uts_field(VERSION.as_bytes()),
        machine: uts_field(MACHINE.as_bytes()),
        domainname: uts_field(&uts.domainname()),
    };
    cx.write(buf, &name)?;
    Ok(0)
}

fn read_name(cx: &Ctx<'_>, name: BytesIn, len: usize) -> Result<Vec<u8>> {
    let uts = Arc::clone(&cx.task.namespaces().uts);
    if !cx.task.cred().capable(&uts.user_ns, CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let len = (len as u32).cast_signed();
    let len = usize::try_from(len).ok().filter(|len| *len <= UTS_LEN).ok_or(Errno::EINVAL)?;
    let mut bytes = vec![0; len];
    cx.memory().read(name.0, &mut bytes)?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(len);
    bytes.truncate(end);
    Ok(bytes)
}

/// `sethostname(2)`.
pub fn sethostname(cx: &mut Ctx<'_>, name: BytesIn, len: usize) -> SysResult {
    let name = read_name(cx, name, len)?;
    cx.task.namespaces().uts.set_hostname(&name)?;
    Ok(0)
}

/// `setdomainname(2)`.
pub fn setdomainname(cx: &mut Ctx<'_>, name: BytesIn, len: usize) -> SysResult {
    let name = read_name(cx, name, len)?;
    cx.task.namespaces().uts.set_domainname(&name)?;
    Ok(0)
}

/// `sysinfo(2)`.
pub fn sysinfo(cx: &mut Ctx<'_>, info: GuestAddr) -> SysResult {
    let kernel = cx.kernel();
    let memory = kernel.memory();
    let now = kernel.clock.boottime();
    let processes = kernel.tree.lock().task_count();
    let value = Sysinfo {
        uptime: i64::try_from(now.div_ceil(1_000_000_000)).unwrap_or(i64::MAX),
        loads: kernel.load_averages(),
        totalram: memory.total,
        freeram: memory.free,
        procs: u16::try_from(processes).unwrap_or(u16::MAX),
        mem_unit: 1,
        ..Sysinfo::default()
    };
    cx.write(info, &value)?;
    Ok(0)
}

/// `getrandom(2)`.
pub fn getrandom(cx: &mut Ctx<'_>, buf: BytesOut, buflen: usize, flags: Flags) -> SysResult {
    let flags = flags.0;
    if flags & !(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) != 0
        || flags & (GRND_RANDOM | GRND_INSECURE) == GRND_RANDOM | GRND_INSECURE
    {
        return Err(Errno::EINVAL.into());
    }
    let total = buflen.min(MAX_RANDOM);
    let mut chunk = [0; 512];
    let mut done = 0;
    while done < total {
        let piece = chunk.get_mut(..(total - done).min(512)).unwrap_or_default();
        cx.kernel().random.fill(piece);
        let at = buf.0.checked_add(done as u64).ok_or(Errno::EFAULT);
        match at.and_then(|at| cx.memory().write_partial(at, piece)) {
            Ok(count) if count == piece.len() => done += count,
            Ok(count) => {
                done += count;
                break;
            }
            Err(_) if done > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
        if cx.task.must_leave_wait() {
            break;
        }
    }
    Ok(done as u64)
}

/// `getcpu(2)`: the host moves guest threads as it likes, so any answer is one that was true a moment ago.
pub fn getcpu(cx: &mut Ctx<'_>, cpu: GuestAddr, node: GuestAddr, tcache: GuestAddr) -> SysResult {
    let _ = tcache;
    cx.write_opt(cpu, &0u32)?;
    cx.write_opt(node, &0u32)?;
    Ok(0)
}

/// `umask(2)`.
pub fn umask(cx: &mut Ctx<'_>, mask: Mode) -> SysResult {
    Ok(u64::from(cx.task.fs().set_umask(mask.0 & 0o777)))
}

/// `syslog(2)`.
pub fn syslog(cx: &mut Ctx<'_>, kind: i32, bufp: GuestAddr, len: i32) -> SysResult {
    let kind = u32::try_from(kind)
        .ok()
        .filter(|kind| *kind <= SYSLOG_ACTION_SIZE_BUFFER)
        .ok_or(Errno::EINVAL)?;
    if !matches!(kind, SYSLOG_ACTION_READ_ALL | SYSLOG_ACTION_SIZE_BUFFER)
        && !cx.task.cred().capable_initial(CAP_SYSLOG)
    {
        return Err(Errno::EPERM.into());
    }
    match kind {
        SYSLOG_ACTION_OPEN | SYSLOG_ACTION_CLOSE | SYSLOG_ACTION_SIZE_UNREAD => Ok(0),
        SYSLOG_ACTION_SIZE_BUFFER => Ok(LOG_SIZE),
        2..=4 => {
            let len = usize::try_from(len).map_err(|_| Errno::EINVAL)?;
            if bufp.is_null() {
                return Err(Errno::EINVAL.into());
            }
            let log = format!("<6>[    0.000000] {SYSNAME} version {RELEASE} {VERSION}\n");
            let text = log.as_bytes();
            let text = text.get(text.len().saturating_sub(len)..).unwrap_or_default();
            cx.memory().write(bufp, text)?;
            Ok(text.len() as u64)
        }
        8 if !(1..=8).contains(&len) => Err(Errno::EINVAL.into()),
        _ => Ok(0),
    }
}

/// `reboot(2)`: ends the pid namespace that it is called in.
pub fn reboot(
    cx: &mut Ctx<'_>,
    magic: Flags,
    magic2: Flags,
    op: Flags,
    arg: GuestAddr,
) -> SysResult {
    let _ = arg;
    let ns = cx.task.pid_ns();
    if !cx.task.cred().capable(&ns.user_ns, CAP_SYS_BOOT) {
        return Err(Errno::EPERM.into());
    }
    let second =
        [LINUX_REBOOT_MAGIC2, LINUX_REBOOT_MAGIC2A, LINUX_REBOOT_MAGIC2B, LINUX_REBOOT_MAGIC2C];
    if magic.0 != LINUX_REBOOT_MAGIC1 || !second.contains(&magic2.0) {
        return Err(Errno::EINVAL.into());
    }
    let signal = match op.0 {
        LINUX_REBOOT_CMD_RESTART | LINUX_REBOOT_CMD_RESTART2 => SIGHUP,
        LINUX_REBOOT_CMD_HALT | LINUX_REBOOT_CMD_POWER_OFF => SIGINT,
        LINUX_REBOOT_CMD_CAD_ON | LINUX_REBOOT_CMD_CAD_OFF => return Err(Errno::EINVAL.into()),
        _ => return Err(Errno::EINVAL.into()),
    };
    let init = ns.global(1).and_then(|id| cx.kernel().member(id)).ok_or(Errno::ESRCH)?;
    begin_exit(&init, signal.cast_signed());
    if cx.task.group.is_init { Err(SysError::NoReturn) } else { Ok(0) }
}

/// `kcmp(2)`.
pub fn kcmp(cx: &mut Ctx<'_>, pid1: i32, pid2: i32, kind: i32, idx1: u64, idx2: u64) -> SysResult {
    let first = find::task(cx.task, pid1)?;
    let second = find::task(cx.task, pid2)?;
    find::may_inspect(cx.task, &first, true)?;
    find::may_inspect(cx.task, &second, true)?;
    let order = match kind.cast_unsigned() {
        KCMP_FILE => file_address(&first, idx1)?.cmp(&file_address(&second, idx2)?),
        KCMP_VM => {
            by_address(&first, &second, |task| task.mm().map_or(0, |mm| Arc::as_ptr(&mm).addr()))
        }
        KCMP_FILES => by_address(&first, &second, |task| Arc::as_ptr(&task.files()).addr()),
        KCMP_FS => by_address(&first, &second, |task| Arc::as_ptr(&task.fs()).addr()),
        KCMP_SIGHAND => {
            by_address(&first, &second, |task| Arc::as_ptr(&task.group.actions()).addr())
        }
        KCMP_IO | KCMP_SYSVSEM => Order::Equal,
        _ => return Err(Errno::EINVAL.into()),
    };
    Ok(match order {
        Order::Equal => 0,
        Order::Less => 1,
        Order::Greater => 2,
    })
}

fn by_address(first: &Task, second: &Task, address: impl Fn(&Task) -> usize) -> Order {
    address(first).cmp(&address(second))
}

fn file_address(task: &Task, fd: u64) -> Result<usize> {
    let fd = i32::try_from(fd).map_err(|_| Errno::EBADF)?;
    Ok(Arc::as_ptr(&task.files().get(fd)?).addr())
}

/// `restart_syscall(2)`: goes on with a call that a signal interrupted.
pub async fn restart_syscall(cx: &mut Ctx<'_>) -> SysResult {
    let block = cx.task.restart.lock().take();
    match block {
        Some(block) => crate::time::timers::restart(cx, block).await,
        None => Err(Errno::EINTR.into()),
    }
}
