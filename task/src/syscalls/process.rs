//! Processes: ids, `fork`, `clone`, `execve`, `exit`, `wait`, pidfds, namespaces.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::fs::CGROUP2_SUPER_MAGIC;
use chitin_abi::fs::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, OpenFlags};
use chitin_abi::process::{
    __WALL, __WCLONE, __WNOTHREAD, CLONE_ARGS_SIZE_VER0, CLONE_ARGS_SIZE_VER2, CLONE_CLEAR_SIGHAND,
    CLONE_DETACHED, CLONE_FILES, CLONE_FS, CLONE_INTO_CGROUP, CLONE_NEWIPC, CLONE_NEWNS,
    CLONE_NEWTIME, CLONE_NEWUSER, CLONE_PARENT, CLONE_PARENT_SETTID, CLONE_PIDFD, CLONE_SIGHAND,
    CLONE_SYSVSEM, CLONE_THREAD, CLONE_VM, CloneArgs, P_ALL, P_PGID, P_PID, P_PIDFD,
    PIDFD_NONBLOCK, PIDFD_SIGNAL_PROCESS_GROUP, PIDFD_SIGNAL_THREAD, PIDFD_SIGNAL_THREAD_GROUP,
    PIDFD_THREAD, WCONTINUED, WEXITED, WNOHANG, WNOWAIT, WSTOPPED, WUNTRACED, w_exitcode,
};
use chitin_abi::signal::{SI_TKILL, SIGCHLD, SIGRTMAX, SigInfo};
use chitin_abi::system::TASK_SIZE;
use chitin_abi::{Errno, GuestAddr, PAGE_SIZE, Result};
use zerocopy::{FromZeros, IntoBytes};

use super::args::{AtFlags, Fd, Flags, LongFlags, PathPtr, Signal, Strings};
use crate::context::Ctx;
use crate::error::{SysError, SysResult};
use crate::limits::usage;
use crate::loader::{ArgBudget, read_strings};
use crate::namespace::unshare::{self, AnyNamespace};
use crate::process::clone::{self, CloneRequest, NAMESPACE_FLAGS};
use crate::process::exec::{self, ExecRequest, TaskOpener};
use crate::process::pidfd::{self, PidFd};
use crate::process::wait::{self, Report, Target};
use crate::process::{exit, find, jobs};
use crate::signal::{begin_exit, permission};
use crate::task::Task;

const CSIGNAL: u64 = 0xff;

/// `getpid(2)`.
pub fn getpid(cx: &mut Ctx<'_>) -> SysResult {
    Ok(u64::from(cx.task.local_tgid()))
}

/// `gettid(2)`.
pub fn gettid(cx: &mut Ctx<'_>) -> SysResult {
    Ok(u64::from(cx.task.local_tid()))
}

/// `getppid(2)`.
pub fn getppid(cx: &mut Ctx<'_>) -> SysResult {
    Ok(u64::from(cx.task.group.parent_pid.load(Ordering::SeqCst)))
}

/// `getpgrp(2)`.
pub fn getpgrp(cx: &mut Ctx<'_>) -> SysResult {
    getpgid(cx, 0)
}

/// `getpgid(2)`.
pub fn getpgid(cx: &mut Ctx<'_>, pid: i32) -> SysResult {
    job_id(cx, pid, |entry| &entry.pgrp)
}

/// `getsid(2)`.
pub fn getsid(cx: &mut Ctx<'_>, pid: i32) -> SysResult {
    job_id(cx, pid, |entry| &entry.session)
}

fn job_id(
    cx: &Ctx<'_>,
    pid: i32,
    which: impl Fn(&crate::process::ProcessEntry) -> &Arc<crate::namespace::Pid>,
) -> SysResult {
    let ns = cx.task.pid_ns();
    let tree = cx.kernel().tree.lock();
    let entry = match u32::try_from(pid).map_err(|_| Errno::ESRCH)? {
        0 => tree.process(cx.task.tgid()),
        number => tree.process_in(&ns, number),
    };
    let entry = entry.ok_or(Errno::ESRCH)?;
    Ok(u64::from(which(entry).in_ns(&ns)))
}

/// `setpgid(2)`.
pub fn setpgid(cx: &mut Ctx<'_>, pid: i32, pgid: i32) -> SysResult {
    jobs::set_pgrp(cx.task, pid, pgid)?;
    Ok(0)
}

/// `setsid(2)`.
pub fn setsid(cx: &mut Ctx<'_>) -> SysResult {
    Ok(u64::from(jobs::new_session(cx.task)?))
}

/// `fork(2)`.
pub async fn fork(cx: &mut Ctx<'_>) -> SysResult {
    clone::clone(cx, clone::fork_request()).await
}

/// `vfork(2)`.
pub async fn vfork(cx: &mut Ctx<'_>) -> SysResult {
    clone::clone(cx, clone::vfork_request()).await
}

/// `clone(2)`.
pub async fn clone(
    cx: &mut Ctx<'_>,
    flags: LongFlags,
    stack: GuestAddr,
    parent_tid: GuestAddr,
    child_tid: GuestAddr,
    tls: GuestAddr,
) -> SysResult {
    let flags = flags.0 & 0xffff_ffff;
    if flags & (CLONE_PIDFD | CLONE_PARENT_SETTID) == CLONE_PIDFD | CLONE_PARENT_SETTID {
        return Err(Errno::EINVAL.into());
    }
    let request = CloneRequest {
        flags: flags & !CSIGNAL,
        exit_signal: (flags & CSIGNAL) as u32,
        stack: stack.0,
        tls: tls.0,
        parent_tid,
        child_tid,
        pidfd: parent_tid,
        set_tid: Vec::new(),
    };
    clone::clone(cx, request).await
}

/// `clone3(2)`.
pub async fn clone3(cx: &mut Ctx<'_>, cl_args: GuestAddr, size: usize) -> SysResult {
    let args: CloneArgs = read_extensible(cx, cl_args, size, CLONE_ARGS_SIZE_VER0 as usize)?;
    let request = clone3_request(cx, &args, size)?;
    clone::clone(cx, request).await
}

/// Reads a structure that later kernels extend: what this one does not know must be zero.
///
/// # Errors
/// EINVAL below `least`, E2BIG, EFAULT.
pub fn read_extensible<T: zerocopy::FromBytes + IntoBytes>(
    cx: &Ctx<'_>,
    addr: GuestAddr,
    size: usize,
    least: usize,
) -> Result<T> {
    if size < least {
        return Err(Errno::EINVAL);
    }
    if size as u64 > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    let mut bytes = vec![0; size];
    cx.memory().read(addr, &mut bytes)?;
    let mut value = T::new_zeroed();
    let known = size.min(size_of::<T>());
    if bytes.iter().skip(known).any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    if let (Some(to), Some(from)) = (value.as_mut_bytes().get_mut(..known), bytes.get(..known)) {
        to.copy_from_slice(from);
    }
    Ok(value)
}

/// What `CLONE_INTO_CGROUP` names has to be a directory of the cgroup tree.
fn check_cgroup(cx: &Ctx<'_>, fd: i32) -> Result<()> {
    let file = cx.any_file(fd)?;
    let path = file.path().ok_or(Errno::EBADF)?;
    let (stats, _) = cx.path_caller().walk().statfs(path)?;
    if stats.magic == i64::from(CGROUP2_SUPER_MAGIC).cast_unsigned() {
        Ok(())
    } else {
        Err(Errno::EBADF)
    }
}

fn clone3_request(cx: &Ctx<'_>, args: &CloneArgs, size: usize) -> Result<CloneRequest> {
    let bad = |condition: bool| if condition { Err(Errno::EINVAL) } else { Ok(()) };
    bad(args.set_tid_size > 32)?;
    bad((args.set_tid == 0) != (args.set_tid_size == 0))?;
    bad(args.exit_signal > u64::from(SIGRTMAX))?;
    bad(args.flags & CLONE_INTO_CGROUP != 0
        && (args.cgroup > i32::MAX as u64 || (size as u64) < CLONE_ARGS_SIZE_VER2))?;
    let set_tid: Vec<i32> = cx.read_array(GuestAddr(args.set_tid), args.set_tid_size as usize)?;
    let known = 0xffff_ffff | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP;
    bad(
        args.flags & !known != 0 || args.flags & (CLONE_DETACHED | (CSIGNAL & !CLONE_NEWTIME)) != 0
    )?;
    let has = |flags: u64| args.flags & flags == flags;
    bad(has(CLONE_SIGHAND | CLONE_CLEAR_SIGHAND))?;
    bad(args.flags & (CLONE_THREAD | CLONE_PARENT) != 0 && args.exit_signal != 0)?;
    bad((args.stack == 0) != (args.stack_size == 0))?;
    let top = args.stack.checked_add(args.stack_size).ok_or(Errno::EINVAL)?;
    bad(top > TASK_SIZE)?;
    let set_tid: Result<Vec<u32>> =
        set_tid.into_iter().map(|id| u32::try_from(id).map_err(|_| Errno::EINVAL)).collect();
    if has(CLONE_INTO_CGROUP) {
        check_cgroup(cx, args.cgroup as i32)?;
    }
    Ok(CloneRequest {
        flags: args.flags,
        exit_signal: args.exit_signal as u32,
        stack: top,
        tls: args.tls,
        parent_tid: GuestAddr(args.parent_tid),
        child_tid: GuestAddr(args.child_tid),
        pidfd: GuestAddr(args.pidfd),
        set_tid: set_tid?,
    })
}

/// `execve(2)`.
pub async fn execve(
    cx: &mut Ctx<'_>,
    pathname: PathPtr,
    argv: Strings,
    envp: GuestAddr,
) -> SysResult {
    let path = cx.read_path(pathname.0)?;
    let opener = TaskOpener::new(cx.task);
    let file = opener.open(&path, true)?;
    run_program(cx, (opener, file), path.clone(), &path, argv, envp).await
}

/// `execveat(2)`.
pub async fn execveat(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    pathname: PathPtr,
    argv: Strings,
    envp: GuestAddr,
    flags: AtFlags,
) -> SysResult {
    if flags.0 & !(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let path = cx.read_path(pathname.0)?;
    let opener = TaskOpener::new(cx.task);
    let follow = flags.0 & AT_SYMLINK_NOFOLLOW == 0;
    let (file, filename) = if path.first() == Some(&b'/') || dirfd.0 == AT_FDCWD {
        (opener.open(&path, follow)?, path.clone())
    } else {
        let (base, close_on_exec) = cx.task.files().get_with_flags(dirfd.0)?;
        let at = base.path().cloned();
        let file = if path.is_empty() && flags.0 & AT_EMPTY_PATH != 0 {
            opener.open_found(at.ok_or(Errno::EACCES)?)?
        } else {
            opener.open_from(at.ok_or(Errno::ENOTDIR)?, &path, follow)?
        };
        if close_on_exec && is_script(&file) {
            // The interpreter could not open the script by the descriptor's name.
            return Err(Errno::ENOENT.into());
        }
        (file, exec::fd_filename(dirfd.0, &path))
    };
    run_program(cx, (opener, file), filename, &path, argv, envp).await
}

fn is_script(file: &chitin_vfs::file::OpenFile) -> bool {
    let mut start = [0; 2];
    let read = file.file().read_at(&mut chitin_vfs::io::SliceSink::new(&mut start), 0);
    read == Ok(2) && start == *b"#!"
}

async fn run_program(
    cx: &mut Ctx<'_>,
    (opener, file): (TaskOpener, Arc<chitin_vfs::file::OpenFile>),
    filename: Vec<u8>,
    path: &[u8],
    argv: Strings,
    envp: GuestAddr,
) -> SysResult {
    let mut budget = ArgBudget::new(cx.task.group.limits.lock().stack());
    budget.take(&filename)?;
    let env = read_strings(cx.memory(), envp, &mut budget)?;
    let args = read_strings(cx.memory(), argv.0, &mut budget)?;
    let base = if path.is_empty() { &filename } else { path };
    let name = base.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    exec::exec(cx, ExecRequest { opener, file, filename, name, args, env }).await
}

/// `exit(2)`.
pub fn exit(cx: &mut Ctx<'_>, status: i32) -> SysResult {
    exit::exit_thread(cx.task, w_exitcode(status as u8));
    Err(SysError::NoReturn)
}

/// `exit_group(2)`.
pub fn exit_group(cx: &mut Ctx<'_>, status: i32) -> SysResult {
    begin_exit(cx.task, w_exitcode(status as u8));
    Err(SysError::NoReturn)
}

/// `wait4(2)`.
pub async fn wait4(
    cx: &mut Ctx<'_>,
    pid: i32,
    wstatus: GuestAddr,
    options: Flags,
    rusage: GuestAddr,
) -> SysResult {
    let options = options.0;
    if options & !(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let target = match pid {
        i32::MIN => return Err(Errno::ESRCH.into()),
        -1 => Target::Any,
        0 => own_pgrp(cx.task),
        1.. => process_target(cx.task, pid.unsigned_abs()),
        _ => group_target(cx.task, pid.unsigned_abs()),
    };
    let Some(report) = wait::wait(cx, target, options | WEXITED).await? else { return Ok(0) };
    cx.write_opt(wstatus, &report.status)?;
    cx.write_opt(rusage, &usage::of_child(&report))?;
    Ok(u64::from(report.pid))
}

fn own_pgrp(task: &Task) -> Target {
    let tree = task.kernel.tree.lock();
    tree.process(task.tgid()).map_or(Target::Nobody, |entry| Target::Group(entry.pgrp.global()))
}

fn process_target(task: &Task, number: u32) -> Target {
    task.pid_ns().global(number).map_or(Target::Nobody, Target::Process)
}

fn group_target(task: &Task, number: u32) -> Target {
    task.pid_ns().global(number).map_or(Target::Nobody, Target::Group)
}

/// `waitid(2)`.
pub async fn waitid(
    cx: &mut Ctx<'_>,
    idtype: i32,
    id: i32,
    infop: GuestAddr,
    options: Flags,
    rusage: GuestAddr,
) -> SysResult {
    let mut options = options.0;
    let kinds = WEXITED | WSTOPPED | WCONTINUED;
    let known = kinds | WNOHANG | WNOWAIT | __WNOTHREAD | __WCLONE | __WALL;
    if options & !known != 0 || options & kinds == 0 {
        return Err(Errno::EINVAL.into());
    }
    let mut polled = false;
    let target = match idtype.cast_unsigned() {
        P_ALL => Target::Any,
        P_PID if id > 0 => process_target(cx.task, id.unsigned_abs()),
        P_PGID if id == 0 => own_pgrp(cx.task),
        P_PGID if id > 0 => group_target(cx.task, id.unsigned_abs()),
        P_PIDFD if id >= 0 => {
            let file = cx.task.files().get(id)?;
            let pidfd = file.file().as_any().downcast_ref::<PidFd>().ok_or(Errno::EBADF)?;
            polled = file.nonblocking();
            Target::Process(pidfd.group().tgid)
        }
        _ => return Err(Errno::EINVAL.into()),
    };
    if polled && options & WNOHANG == 0 {
        options |= WNOHANG;
    } else {
        polled = false;
    }
    let report = wait::wait(cx, target, options).await?;
    if report.is_none() && polled {
        return Err(Errno::EAGAIN.into());
    }
    if let Some(report) = &report {
        cx.write_opt(rusage, &usage::of_child(report))?;
    }
    write_child_info(cx, infop, report.as_ref())?;
    Ok(0)
}

fn write_child_info(cx: &Ctx<'_>, infop: GuestAddr, report: Option<&Report>) -> Result<()> {
    if infop.is_null() {
        return Ok(());
    }
    let info = match report {
        Some(report) => {
            SigInfo::child(SIGCHLD, report.code.0, report.pid, report.uid, report.code.1)
        }
        None => SigInfo::new_zeroed(),
    };
    // The kernel writes the members that it knows of: numbers, process, user, status.
    let bytes = info.as_bytes().get(..28).unwrap_or_default();
    cx.memory().write(infop, bytes)
}

/// `pidfd_open(2)`.
pub fn pidfd_open(cx: &mut Ctx<'_>, pid: i32, flags: Flags) -> SysResult {
    if flags.0 & !(PIDFD_NONBLOCK | PIDFD_THREAD) != 0 || pid <= 0 {
        return Err(Errno::EINVAL.into());
    }
    let thread = flags.0 & PIDFD_THREAD != 0;
    let open = OpenFlags::from_bits_retain(flags.0 & PIDFD_NONBLOCK);
    let global = cx.task.pid_ns().global(pid.unsigned_abs()).ok_or(Errno::ESRCH)?;
    let (task, group) = {
        let tree = cx.kernel().tree.lock();
        (tree.task(global).cloned(), tree.process(global).map(|entry| Arc::clone(&entry.group)))
    };
    let file = match (thread, task, group) {
        (true, Some(task), _) => pidfd::open(&task, true, open),
        (false, _, Some(group)) => pidfd::open_group(cx.kernel(), &group, open),
        // A thread that does not lead its process.
        (false, Some(_), None) => return Err(Errno::EINVAL.into()),
        _ => return Err(Errno::ESRCH.into()),
    };
    let limit = cx.task.group.limits.lock().open_files();
    let fd = cx.task.files().install(file, true, 0, limit)?;
    Ok(u64::from(fd.unsigned_abs()))
}

/// A descriptor of `/proc/PID` stands for the process, too.
fn of_proc_directory(
    cx: &Ctx<'_>,
    file: &chitin_vfs::file::OpenFile,
) -> Option<Arc<chitin_vfs::file::OpenFile>> {
    let path = file.path().filter(|path| path.mount().super_block().fs().name() == "proc")?;
    let above = path.dentry().parent()?;
    if !Arc::ptr_eq(&above, path.mount().root()) {
        return None;
    }
    let number: u32 = core::str::from_utf8(&path.dentry().name()).ok()?.parse().ok()?;
    let tree = cx.kernel().tree.lock();
    let group = Arc::clone(&tree.process_in(&cx.task.pid_ns(), number)?.group);
    drop(tree);
    Some(pidfd::open_group(cx.kernel(), &group, OpenFlags::empty()))
}

/// `pidfd_send_signal(2)`.
pub fn pidfd_send_signal(
    cx: &mut Ctx<'_>,
    pidfd: Fd,
    sig: Signal,
    info: GuestAddr,
    flags: Flags,
) -> SysResult {
    let scopes = PIDFD_SIGNAL_THREAD | PIDFD_SIGNAL_THREAD_GROUP | PIDFD_SIGNAL_PROCESS_GROUP;
    if flags.0 & !scopes != 0 || flags.0.count_ones() > 1 {
        return Err(Errno::EINVAL.into());
    }
    let file = cx.task.files().get(pidfd.0)?;
    let file = of_proc_directory(cx, &file).unwrap_or(file);
    let pidfd = file.file().as_any().downcast_ref::<PidFd>().ok_or(Errno::EBADF)?;
    if !pidfd.group().pid.namespace().is_some_and(|ns| ns.is_within(&cx.task.pid_ns())) {
        return Err(Errno::EINVAL.into());
    }
    let signal = permission::signal_number(sig.0)?;
    let to_thread = match flags.0 {
        0 => pidfd.is_thread(),
        flags => flags == PIDFD_SIGNAL_THREAD,
    };
    let given = if info.is_null() {
        None
    } else {
        let given: SigInfo = cx.read(info)?;
        if given.signo() != signal {
            return Err(Errno::EINVAL.into());
        }
        let own = Arc::ptr_eq(pidfd.group(), &cx.task.group);
        if !own && (given.code() >= 0 || given.code() == SI_TKILL) {
            return Err(Errno::EPERM.into());
        }
        Some(given)
    };
    if flags.0 == PIDFD_SIGNAL_PROCESS_GROUP {
        let target = permission::Scope::Group(pidfd.group().tgid);
        return permission::send(cx.task, target, signal, given);
    }
    let task = match pidfd.task() {
        Ok(task) => task,
        Err(_) if pidfd.is_known() && !to_thread => return Ok(0),
        Err(errno) => return Err(errno.into()),
    };
    permission::send_one(cx.task, &task, signal, given, to_thread)?;
    Ok(0)
}

/// `pidfd_getfd(2)`.
pub fn pidfd_getfd(cx: &mut Ctx<'_>, pidfd: Fd, targetfd: Fd, flags: Flags) -> SysResult {
    if flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let file = cx.task.files().get(pidfd.0)?;
    let pidfd = file.file().as_any().downcast_ref::<PidFd>().ok_or(Errno::EBADF)?;
    let target = pidfd.task()?;
    find::may_inspect(cx.task, &target, true)?;
    let file = target.files().get(targetfd.0)?;
    let limit = cx.task.group.limits.lock().open_files();
    let fd = cx.task.files().install(file, true, 0, limit)?;
    Ok(u64::from(fd.unsigned_abs()))
}

/// `unshare(2)`.
pub fn unshare(cx: &mut Ctx<'_>, flags: LongFlags) -> SysResult {
    let task = cx.task;
    let mut flags = flags.0;
    let plain = CLONE_THREAD | CLONE_FS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_SYSVSEM;
    if flags & !(plain | NAMESPACE_FLAGS) != 0 {
        return Err(Errno::EINVAL.into());
    }
    if flags & CLONE_NEWUSER != 0 {
        flags |= CLONE_THREAD | CLONE_FS;
    }
    if flags & CLONE_NEWNS != 0 {
        flags |= CLONE_FS;
    }
    let threads = task.kernel.tree.lock().process(task.tgid()).map_or(1, |entry| entry.tasks.len());
    if flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM) != 0 && threads > 1
        || flags & (CLONE_SIGHAND | CLONE_VM) != 0 && flags & CLONE_VM != 0 && cx.mm.users() > 1
    {
        return Err(Errno::EINVAL.into());
    }
    let fs = if flags & CLONE_FS != 0 { task.fs().unshare() } else { task.fs() };
    if flags & (CLONE_SYSVSEM | CLONE_NEWIPC) != 0 {
        crate::ipc::sem::undo_all(&task.namespaces().ipc.sem, task.tgid());
    }
    if flags & NAMESPACE_FLAGS != 0 {
        let made = unshare::new_namespaces(task, flags & NAMESPACE_FLAGS, &fs)?;
        let (own, mut new) = (task.namespaces(), (*made.namespaces).clone());
        // The namespaces of children only: the caller stays where it is.
        new.time = Arc::clone(&own.time);
        task.set_namespaces(Arc::new(new));
        task.set_cred((*made.cred).clone());
    }
    if flags & CLONE_FS != 0 {
        let old = task.replace_fs(fs);
        drop(old);
    }
    if flags & CLONE_FILES != 0 {
        let old = task.replace_files(task.files().copy());
        exit::release_files(old);
    }
    Ok(0)
}

/// `setns(2)`.
pub fn setns(cx: &mut Ctx<'_>, fd: Fd, nstype: Flags) -> SysResult {
    let task = cx.task;
    let file = task.files().get(fd.0)?;
    let wanted = u64::from(nstype.0);
    let threads = task.kernel.tree.lock().process(task.tgid()).map_or(1, |entry| entry.tasks.len());
    let any = file.file().as_any();
    let targets = if let Some(pidfd) = any.downcast_ref::<PidFd>() {
        if wanted == 0 || wanted & !NAMESPACE_FLAGS != 0 {
            return Err(Errno::EINVAL.into());
        }
        let target = pidfd.task()?;
        find::may_inspect(task, &target, true)?;
        let names = [&b"user"[..], b"mnt", b"uts", b"ipc", b"net", b"pid", b"cgroup", b"time"];
        let all = names.iter().filter_map(|name| AnyNamespace::of_task(&target, name));
        all.filter(|ns| ns.flag() & wanted != 0).collect::<Vec<_>>()
    } else if let Some(ns) = any.downcast_ref::<crate::namespace::file::NamespaceFile>() {
        if wanted != 0 && ns.namespace().flag() != wanted {
            return Err(Errno::EINVAL.into());
        }
        vec![ns.namespace().clone()]
    } else {
        return Err(Errno::EINVAL.into());
    };
    unshare::join(task, &targets, threads)?;
    Ok(0)
}

/// `personality(2)`.
pub fn personality(cx: &mut Ctx<'_>, persona: Flags) -> SysResult {
    let personality = &cx.task.group.personality;
    let old = match persona.0 {
        u32::MAX => personality.load(Ordering::Relaxed),
        new => personality.swap(new, Ordering::Relaxed),
    };
    Ok(u64::from(old))
}
