//! `msgget(2)`, `msgsnd(2)`, `msgrcv(2)`, `msgctl(2)`.

use chitin_abi::ipc::{
    IPC_INFO, IPC_NOWAIT, IPC_RMID, IPC_SET, IPC_STAT, MSG_COPY, MSG_EXCEPT, MSG_INFO, MSG_STAT,
    MSG_STAT_ANY, MSGMAP, MSGMAX, MSGMNB, MSGMNI, MSGPOOL, MSGSEG, MSGSSZ, MSGTQL, Msginfo,
    MsqidDs,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr};

use super::{Patience, caller, retry, world};
use crate::context::Ctx;
use crate::error::{Restart, SysResult};
use crate::ipc::ids::Object;
use crate::ipc::msg::{self, MESSAGE_MAX, Message, Wanted};
use crate::ipc::perm::READ;
use crate::syscalls::args::Flags;

/// Bytes of a message's type before its text.
const KIND_SIZE: u64 = 8;

/// `msgget(2)`.
///
/// # Errors
/// ENOENT, EEXIST, EACCES, ENOSPC.
pub fn msgget(cx: &mut Ctx<'_>, key: i32, msgflg: Flags) -> SysResult {
    let (ns, cred) = world(cx);
    let id = msg::get(&ns.msg, &ns.budget, key, msgflg.0, &caller(cx, &cred))?;
    Ok(u64::from(id.unsigned_abs()))
}

/// `msgsnd(2)`.
///
/// # Errors
/// EINVAL, EFAULT, EACCES, EAGAIN, EIDRM.
pub async fn msgsnd(
    cx: &mut Ctx<'_>,
    msqid: i32,
    msgp: GuestAddr,
    msgsz: usize,
    msgflg: Flags,
) -> SysResult {
    let kind: i64 = cx.read(msgp)?;
    if msgsz > MESSAGE_MAX || msqid < 0 || kind < 1 {
        return Err(Errno::EINVAL.into());
    }
    let mut text = vec![0; msgsz];
    let at = msgp.checked_add(KIND_SIZE).ok_or(Errno::EFAULT)?;
    if msgsz > 0 {
        cx.memory().read(at, &mut text)?;
    }
    let message = Message { kind, text };
    let (ns, cred) = world(cx);
    let queue = ns.msg.find(msqid)?;
    let send = || queue.send(&message, &caller(cx, &cred));
    if msgflg.0 & IPC_NOWAIT != 0 {
        send()?;
        return Ok(0);
    }
    let patience = Patience {
        queue: &queue.queue,
        interest: PollEvents::POLLOUT,
        deadline: None,
        restart: Restart::NoHandler,
        timeout: Errno::EAGAIN,
    };
    retry(cx, patience, Errno::EAGAIN, send).await?;
    Ok(0)
}

/// `msgrcv(2)`.
///
/// # Errors
/// EINVAL, E2BIG, ENOMSG, EACCES, EIDRM, EFAULT.
pub async fn msgrcv(
    cx: &mut Ctx<'_>,
    msqid: i32,
    msgp: GuestAddr,
    msgsz: usize,
    msgtyp: i64,
    msgflg: Flags,
) -> SysResult {
    let nowait = msgflg.0 & IPC_NOWAIT != 0;
    let copies = msgflg.0 & MSG_COPY != 0;
    let too_big = msgsz.cast_signed() < 0;
    if msqid < 0 || too_big || (copies && (!nowait || msgflg.0 & MSG_EXCEPT != 0)) {
        return Err(Errno::EINVAL.into());
    }
    let (ns, cred) = world(cx);
    let queue = ns.msg.find(msqid)?;
    let wanted = Wanted { size: msgsz, kind: msgtyp, flags: msgflg.0 };
    let receive = || queue.receive(&wanted, &caller(cx, &cred));
    let message = if nowait {
        receive()?
    } else {
        let patience = Patience {
            queue: &queue.queue,
            interest: PollEvents::POLLIN,
            deadline: None,
            restart: Restart::NoHandler,
            timeout: Errno::ENOMSG,
        };
        retry(cx, patience, Errno::ENOMSG, receive).await?
    };
    cx.write(msgp, &message.kind)?;
    let at = msgp.checked_add(KIND_SIZE).ok_or(Errno::EFAULT)?;
    if !message.text.is_empty() {
        cx.memory().write(at, &message.text)?;
    }
    Ok(message.text.len() as u64)
}

/// `msgctl(2)`.
///
/// # Errors
/// EINVAL, EIDRM, EACCES, EPERM, EFAULT.
pub fn msgctl(cx: &mut Ctx<'_>, msqid: i32, op: i32, buf: GuestAddr) -> SysResult {
    if msqid < 0 || op < 0 {
        return Err(Errno::EINVAL.into());
    }
    let (ns, cred) = world(cx);
    let who = caller(cx, &cred);
    let op = op.cast_unsigned() & !chitin_abi::ipc::IPC_64;
    match op {
        IPC_INFO | MSG_INFO => {
            let mut info = Msginfo {
                msgpool: MSGPOOL as i32,
                msgmap: MSGMAP as i32,
                msgmax: MSGMAX as i32,
                msgmnb: MSGMNB as i32,
                msgmni: MSGMNI as i32,
                msgssz: MSGSSZ as i32,
                msgtql: MSGTQL as i32,
                msgseg: MSGSEG as u16,
                ..Msginfo::default()
            };
            if op == MSG_INFO {
                let queues = ns.msg.all();
                let loads = queues.iter().map(|(_, _, queue)| queue.load());
                let (messages, bytes) =
                    loads.fold((0, 0), |sum, load| (sum.0 + load.0, sum.1 + load.1));
                info.msgpool = queues.len() as i32;
                info.msgmap = messages as i32;
                info.msgtql = bytes as i32;
            }
            cx.write(buf, &info)?;
            Ok(ns.msg.highest())
        }
        IPC_STAT | MSG_STAT | MSG_STAT_ANY => {
            let (id, queue) =
                if op == IPC_STAT { (msqid, ns.msg.find(msqid)?) } else { ns.msg.at(msqid)? };
            if op != MSG_STAT_ANY {
                who.check(&queue.permission(), READ)?;
            }
            cx.write(buf, &queue.stat(&who, ns.msg.key_of(id)))?;
            Ok(if op == IPC_STAT { 0 } else { u64::from(id.unsigned_abs()) })
        }
        IPC_SET => {
            let new: MsqidDs = cx.read(buf)?;
            let queue = ns.msg.find(msqid)?;
            who.check_owner(&queue.permission())?;
            queue.set(&who, &new)?;
            Ok(0)
        }
        IPC_RMID => {
            let queue = ns.msg.find(msqid)?;
            who.check_owner(&queue.permission())?;
            ns.msg.remove(msqid)?.removed();
            Ok(0)
        }
        _ => Err(Errno::EINVAL.into()),
    }
}
