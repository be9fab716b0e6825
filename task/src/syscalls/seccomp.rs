//! `seccomp(2)` and its older form in `prctl(2)`.

use core::sync::atomic::Ordering;
use std::sync::Arc;

use chitin_abi::process::{
    BPF_MAXINSNS, CAP_SYS_ADMIN, SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_NEW_LISTENER,
    SECCOMP_FILTER_FLAG_SPEC_ALLOW, SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
    SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, SECCOMP_GET_ACTION_AVAIL, SECCOMP_GET_NOTIF_SIZES,
    SECCOMP_MODE_FILTER, SECCOMP_MODE_STRICT, SECCOMP_SET_MODE_FILTER, SECCOMP_SET_MODE_STRICT,
    SeccompData, SeccompNotif, SeccompNotifResp, SeccompNotifSizes, SockFilter, SockFprog,
};
use chitin_abi::{Errno, GuestAddr};

use super::args::Flags;
use crate::context::Ctx;
use crate::error::SysResult;
use crate::limits::SeccompFilters;
use crate::limits::bpf::Program;
use crate::limits::listener::{Listener, ListenerFile};
use crate::limits::seccomp::action_is_available;
use crate::task::Task;

const KNOWN_FLAGS: u32 = SECCOMP_FILTER_FLAG_TSYNC
    | SECCOMP_FILTER_FLAG_LOG
    | SECCOMP_FILTER_FLAG_SPEC_ALLOW
    | SECCOMP_FILTER_FLAG_NEW_LISTENER
    | SECCOMP_FILTER_FLAG_TSYNC_ESRCH
    | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

/// `seccomp(2)`.
pub fn seccomp(cx: &mut Ctx<'_>, operation: u32, flags: Flags, args: GuestAddr) -> SysResult {
    match operation {
        SECCOMP_SET_MODE_STRICT if flags.0 != 0 || !args.is_null() => Err(Errno::EINVAL.into()),
        SECCOMP_SET_MODE_STRICT => set_strict(cx),
        SECCOMP_SET_MODE_FILTER => set_filter(cx, flags.0, args),
        SECCOMP_GET_ACTION_AVAIL if flags.0 == 0 => {
            let action: u32 = cx.read(args)?;
            if action_is_available(action) { Ok(0) } else { Err(Errno::EOPNOTSUPP.into()) }
        }
        SECCOMP_GET_NOTIF_SIZES if flags.0 == 0 => {
            let sizes = SeccompNotifSizes {
                seccomp_notif: size_of::<SeccompNotif>() as u16,
                seccomp_notif_resp: size_of::<SeccompNotifResp>() as u16,
                seccomp_data: size_of::<SeccompData>() as u16,
            };
            cx.write(args, &sizes)?;
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}

/// `prctl(PR_SET_SECCOMP)`.
pub fn set_mode(cx: &mut Ctx<'_>, mode: u64, filter: GuestAddr) -> SysResult {
    match u32::try_from(mode).unwrap_or(u32::MAX) {
        SECCOMP_MODE_STRICT => set_strict(cx),
        SECCOMP_MODE_FILTER => set_filter(cx, 0, filter),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn set_strict(cx: &mut Ctx<'_>) -> SysResult {
    if cx.task.seccomp.read().is_active() && !cx.task.seccomp.read().strict {
        return Err(Errno::EINVAL.into());
    }
    cx.task.set_seccomp(SeccompFilters::strict());
    Ok(0)
}

fn set_filter(cx: &mut Ctx<'_>, flags: u32, args: GuestAddr) -> SysResult {
    let has = |flag: u32| flags & flag != 0;
    let (listens, synchronizes) =
        (has(SECCOMP_FILTER_FLAG_NEW_LISTENER), has(SECCOMP_FILTER_FLAG_TSYNC));
    if flags & !KNOWN_FLAGS != 0
        || listens && synchronizes && !has(SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
        || has(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) && !listens
    {
        return Err(Errno::EINVAL.into());
    }
    let header: SockFprog = cx.read(args)?;
    if header.len == 0 || u32::from(header.len) > BPF_MAXINSNS {
        return Err(Errno::EINVAL.into());
    }
    let task = cx.task;
    if !task.no_new_privs.load(Ordering::Relaxed) && !task.cred().has(CAP_SYS_ADMIN) {
        return Err(Errno::EACCES.into());
    }
    let code: Vec<SockFilter> = cx.read_array(GuestAddr(header.filter), usize::from(header.len))?;
    let program = Program::new(code)?;
    let own = task.seccomp.read().clone();
    if listens && own.has_listener() {
        return Err(Errno::EBUSY.into());
    }
    let listener = listens.then(|| Listener::new(has(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)));
    let filters = own.with(program, has(SECCOMP_FILTER_FLAG_LOG), listener.clone())?;
    let descriptor = match listener {
        Some(listener) => Some(cx.install_file(ListenerFile::open(listener), true)?),
        None => None,
    };
    if !synchronizes {
        task.set_seccomp(filters);
        return Ok(descriptor.unwrap_or(0));
    }
    let result = synchronize(cx, filters, has(SECCOMP_FILTER_FLAG_TSYNC_ESRCH));
    match (result, descriptor) {
        (Ok(0), descriptor) => Ok(descriptor.unwrap_or(0)),
        (result, Some(descriptor)) => {
            // The descriptor was just made; nobody can mind that it goes.
            let _ = task.files().close(descriptor as i32);
            result
        }
        (result, None) => result,
    }
}

/// Gives all threads of the process the same filters, or says which one has others.
fn synchronize(cx: &Ctx<'_>, filters: SeccompFilters, error_only: bool) -> SysResult {
    let task = cx.task;
    let tree = task.kernel.tree.lock();
    let threads: Vec<Arc<Task>> =
        tree.process(task.tgid()).map(|entry| entry.tasks.clone()).unwrap_or_default();
    let own = task.seccomp.read().clone();
    let stranger = threads.iter().find(|thread| !thread.seccomp.read().is_ancestor_of(&own));
    if let Some(stranger) = stranger {
        return if error_only {
            Err(Errno::ESRCH.into())
        } else {
            Ok(u64::from(stranger.local_tid()))
        };
    }
    let no_new_privs = task.no_new_privs.load(Ordering::Relaxed);
    for thread in &threads {
        thread.set_seccomp(filters.clone());
        if no_new_privs {
            thread.no_new_privs.store(true, Ordering::Relaxed);
        }
    }
    Ok(0)
}
