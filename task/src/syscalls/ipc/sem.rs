//! `semget(2)`, `semop(2)`, `semtimedop(2)`, `semctl(2)`.

use chitin_abi::ipc::{
    GETALL, GETNCNT, GETPID, GETVAL, GETZCNT, IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, SEM_INFO,
    SEM_STAT, SEM_STAT_ANY, SEMAEM, SEMMAP, SEMMNI, SEMMNS, SEMMNU, SEMMSL, SEMOPM, SEMUME, SEMUSZ,
    SEMVMX, SETALL, SETVAL, Sembuf, SemidDs, Seminfo,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, GuestAddr};

use super::{Patience, caller, pause, world};
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::ipc::ids::Object;
use crate::ipc::perm::{READ, WRITE};
use crate::ipc::sem::{self, Attempt, OPERATIONS_MAX};
use crate::scheduler::wait::Waiter;
use crate::syscalls::args::{Flags, Time};

/// `semget(2)`.
///
/// # Errors
/// EINVAL, ENOENT, EEXIST, EACCES, ENOSPC.
pub fn semget(cx: &mut Ctx<'_>, key: i32, nsems: i32, semflg: Flags) -> SysResult {
    let (ns, cred) = world(cx);
    let id = sem::get(&ns.sem, &ns.semaphores, key, nsems, semflg.0, &caller(cx, &cred))?;
    Ok(u64::from(id.unsigned_abs()))
}

/// `semop(2)`.
///
/// # Errors
/// As `semtimedop`.
pub async fn semop(cx: &mut Ctx<'_>, semid: i32, sops: GuestAddr, nsops: usize) -> SysResult {
    operate(cx, semid, sops, nsops, None).await
}

/// `semtimedop(2)`.
///
/// # Errors
/// EINVAL, E2BIG, EFAULT, EFBIG, EACCES, ERANGE, EAGAIN, EIDRM, EINTR.
pub async fn semtimedop(
    cx: &mut Ctx<'_>,
    semid: i32,
    sops: GuestAddr,
    nsops: usize,
    timeout: Time,
) -> SysResult {
    let mut deadline = None;
    if !timeout.0.is_null() {
        let time: Timespec = cx.read(timeout.0)?;
        let nanos = time.to_nanos().ok_or(Errno::EINVAL)?;
        deadline = Some(cx.kernel().clock.monotonic().saturating_add(nanos));
    }
    operate(cx, semid, sops, nsops, deadline).await
}

async fn operate(
    cx: &mut Ctx<'_>,
    semid: i32,
    sops: GuestAddr,
    nsops: usize,
    deadline: Option<u64>,
) -> SysResult {
    if nsops < 1 || semid < 0 {
        return Err(Errno::EINVAL.into());
    }
    if nsops > OPERATIONS_MAX {
        return Err(Errno::E2BIG.into());
    }
    let operations: Vec<Sembuf> = cx.read_array(sops, nsops)?;
    let (ns, cred) = world(cx);
    let set = ns.sem.find(semid)?;
    set.check(&operations, &caller(cx, &cred))?;
    let waiter = Waiter::new();
    let _registration = waiter.register(&set.queue, PollEvents::POLLIN);
    let patience = Patience {
        queue: &set.queue,
        interest: PollEvents::POLLIN,
        deadline,
        restart: Restart::Sys,
        timeout: Errno::EAGAIN,
    };
    loop {
        let seen = waiter.generation();
        let (semaphore, zero) = match set.attempt(&operations, &caller(cx, &cred))? {
            Attempt::Done => return Ok(0),
            Attempt::Blocked(semaphore, zero) => (semaphore, zero),
        };
        let _sleeper = set.sleep(semaphore, zero);
        match pause(cx, waiter.changed(seen), &patience).await {
            // It is never made again: the set may have been waited for in vain already.
            Err(SysError::Restart(_)) => return Err(Errno::EINTR.into()),
            result => result?,
        }
    }
}

fn info(cx: &Ctx<'_>, usage: Option<(usize, usize)>, highest: u64, buf: GuestAddr) -> SysResult {
    let mut info = Seminfo {
        semmap: SEMMAP as i32,
        semmni: SEMMNI as i32,
        semmns: SEMMNS as i32,
        semmnu: SEMMNU as i32,
        semmsl: SEMMSL as i32,
        semopm: SEMOPM as i32,
        semume: SEMUME as i32,
        semusz: SEMUSZ as i32,
        semvmx: SEMVMX as i32,
        semaem: SEMAEM as i32,
    };
    if let Some((sets, semaphores)) = usage {
        info.semusz = sets as i32;
        info.semaem = semaphores as i32;
    }
    cx.write(buf, &info)?;
    Ok(highest)
}

/// `semctl(2)`.
///
/// # Errors
/// EINVAL, EIDRM, EACCES, EPERM, ERANGE, EFAULT.
pub fn semctl(cx: &mut Ctx<'_>, semid: i32, semnum: i32, op: i32, arg: GuestAddr) -> SysResult {
    if semid < 0 || op < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (ns, cred) = world(cx);
    let who = caller(cx, &cred);
    let op = op.cast_unsigned() & !chitin_abi::ipc::IPC_64;
    match op {
        IPC_INFO => return info(cx, None, ns.sem.highest(), arg),
        SEM_INFO => {
            let sets = ns.sem.all();
            let semaphores = sets.iter().map(|(_, _, set)| set.size).sum();
            return info(cx, Some((sets.len(), semaphores)), ns.sem.highest(), arg);
        }
        SEM_STAT | SEM_STAT_ANY => {
            let (id, set) = ns.sem.at(semid)?;
            if op == SEM_STAT {
                who.check(&set.permission(), READ)?;
            }
            cx.write(arg, &set.stat(&who, ns.sem.key_of(id)))?;
            return Ok(u64::from(id.unsigned_abs()));
        }
        IPC_STAT | GETALL | GETVAL | GETPID | GETNCNT | GETZCNT | SETALL | SETVAL | IPC_SET
        | IPC_RMID => {}
        _ => return Err(Errno::EINVAL.into()),
    }
    if op == SETVAL && !(0..=SEMVMX as i32).contains(&(arg.0 as i32)) {
        return Err(Errno::ERANGE.into());
    }
    let new = if op == IPC_SET { cx.read(arg)? } else { SemidDs::default() };
    let set = ns.sem.find(semid)?;
    match op {
        IPC_SET => {
            who.check_owner(&set.permission())?;
            set.set(&who, &new)?;
            return Ok(0);
        }
        IPC_RMID => {
            who.check_owner(&set.permission())?;
            ns.sem.remove(semid)?.removed();
            return Ok(0);
        }
        SETVAL if usize::try_from(semnum).is_ok_and(|index| index < set.size) => {}
        SETVAL => return Err(Errno::EINVAL.into()),
        _ => {}
    }
    who.check(&set.permission(), if matches!(op, SETVAL | SETALL) { WRITE } else { READ })?;
    match op {
        IPC_STAT => {
            cx.write(arg, &set.stat(&who, ns.sem.key_of(semid)))?;
            Ok(0)
        }
        GETALL => {
            cx.write(arg, set.values().as_slice())?;
            Ok(0)
        }
        GETVAL => Ok(set.value(semnum)?),
        GETPID => Ok(set.pid(semnum)?),
        GETNCNT => Ok(set.sleepers(semnum, false)?),
        GETZCNT => Ok(set.sleepers(semnum, true)?),
        SETALL => {
            let mut bytes = vec![0; set.size.saturating_mul(2)];
            cx.memory().read(arg, &mut bytes)?;
            let (pairs, _) = bytes.as_chunks();
            let values: Vec<u16> = pairs.iter().map(|pair| u16::from_ne_bytes(*pair)).collect();
            set.set_values(&values, &who)?;
            Ok(0)
        }
        _ => {
            set.set_value(semnum, arg.0 as i32, &who)?;
            Ok(0)
        }
    }
}
