//! System V message queues.

use std::collections::VecDeque;
use std::sync::Arc;

use chitin_abi::ipc::{MSG_COPY, MSG_EXCEPT, MSG_NOERROR, MsqidDs};
use chitin_abi::poll::PollEvents;
use chitin_abi::process::CAP_SYS_RESOURCE;
use chitin_abi::{Errno, Result};
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;

use super::budget::Budget;
use super::ids::{IdTable, Object};
use super::perm::{Caller, Permission};

/// Most queues of a namespace.
pub const QUEUES_MAX: usize = chitin_abi::ipc::MSGMNI as usize;
/// Most bytes of a message.
pub const MESSAGE_MAX: usize = chitin_abi::ipc::MSGMAX as usize;
/// Most bytes of a queue unless its owner says otherwise.
pub const QUEUE_BYTES: u64 = chitin_abi::ipc::MSGMNB as u64;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type: positive.
    pub kind: i64,
    /// Its text.
    pub text: Vec<u8>,
}

#[derive(Default)]
struct State {
    permission: Permission,
    messages: VecDeque<Message>,
    bytes: u64,
    limit: u64,
    send_time: i64,
    receive_time: i64,
    change_time: i64,
    last_sender: i32,
    last_receiver: i32,
    removed: bool,
}

/// A message queue.
pub struct MsgQueue {
    id: i32,
    state: Mutex<State>,
    /// Notified (`POLLIN`) when a message arrives, (`POLLOUT`) when one is taken, both when the queue goes.
    pub queue: Arc<WaitQueue>,
    budget: Arc<Budget>,
}

impl Drop for MsgQueue {
    fn drop(&mut self) {
        for message in &self.state.get_mut().messages {
            self.budget.give(message.text.len() as u64);
        }
    }
}

impl Object for MsgQueue {
    fn permission(&self) -> Permission {
        self.state.lock().permission
    }
}

/// Which message is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Most bytes.
    pub size: usize,
    /// Type: any, this one, or the lowest up to this one.
    pub kind: i64,
    /// `MSG_…` flags.
    pub flags: u32,
}

/// `msgget(2)`.
///
/// # Errors
/// Those of [`IdTable::get_or_create`].
pub fn get(
    table: &IdTable<MsgQueue>,
    budget: &Arc<Budget>,
    key: i32,
    flags: u32,
    caller: &Caller<'_>,
) -> Result<i32> {
    table.get_or_create(
        key,
        flags,
        caller,
        |_| Ok(()),
        |_, id| {
            let permission = caller.new_permission(flags);
            let state = State {
                permission,
                limit: QUEUE_BYTES,
                change_time: caller.now,
                ..State::default()
            };
            Ok(Arc::new(MsgQueue {
                id,
                state: Mutex::new(state),
                queue: Arc::default(),
                budget: Arc::clone(budget),
            }))
        },
    )
}

impl State {
    fn find(&self, wanted: &Wanted) -> Option<usize> {
        let messages = self.messages.iter();
        if wanted.flags & MSG_COPY != 0 {
            let index = usize::try_from(wanted.kind).ok()?;
            return (index < self.messages.len()).then_some(index);
        }
        match wanted.kind {
            0 => (!self.messages.is_empty()).then_some(0),
            1.. if wanted.flags & MSG_EXCEPT != 0 => messages
                .enumerate()
                .find(|(_, message)| message.kind != wanted.kind)
                .map(|(index, _)| index),
            1.. => messages
                .enumerate()
                .find(|(_, message)| message.kind == wanted.kind)
                .map(|(index, _)| index),
            _ => {
                let most = wanted.kind.checked_neg().unwrap_or(i64::MAX);
                let fitting = messages.enumerate().filter(|(_, message)| message.kind <= most);
                fitting.min_by_key(|(_, message)| message.kind).map(|(index, _)| index)
            }
        }
    }
}

impl MsgQueue {
    /// Puts a message at the end.
    ///
    /// # Errors
    /// EIDRM if the queue is gone, EACCES, EAGAIN if it is full.
    pub fn send(&self, message: &Message, caller: &Caller<'_>) -> Result<()> {
        {
            let mut state = self.state.lock();
            if state.removed {
                return Err(Errno::EIDRM);
            }
            caller.check(&state.permission, super::perm::WRITE)?;
            let size = message.text.len() as u64;
            let fits = state.bytes.saturating_add(size) <= state.limit
                && (state.messages.len() as u64) < state.limit;
            if !fits || !self.budget.take(size) {
                return Err(Errno::EAGAIN);
            }
            state.bytes = state.bytes.saturating_add(size);
            state.messages.push_back(message.clone());
            state.send_time = caller.now;
            state.last_sender = caller.pid;
        }
        self.queue.notify(PollEvents::POLLIN);
        Ok(())
    }

    /// Takes a message, or copies one (`MSG_COPY`). Its text is cut to the wanted size.
    ///
    /// # Errors
    /// EIDRM if the queue is gone, EACCES, E2BIG, ENOMSG if there is none.
    pub fn receive(&self, wanted: &Wanted, caller: &Caller<'_>) -> Result<Message> {
        let message = {
            let mut state = self.state.lock();
            if state.removed {
                return Err(Errno::EIDRM);
            }
            caller.check(&state.permission, super::perm::READ)?;
            let index = state.find(wanted).ok_or(Errno::ENOMSG)?;
            let found = state.messages.get(index).ok_or(Errno::ENOMSG)?;
            if found.text.len() > wanted.size && wanted.flags & MSG_NOERROR == 0 {
                return Err(Errno::E2BIG);
            }
            let mut message = if wanted.flags & MSG_COPY != 0 {
                found.clone()
            } else {
                let message = state.messages.remove(index).ok_or(Errno::ENOMSG)?;
                self.budget.give(message.text.len() as u64);
                state.bytes = state.bytes.saturating_sub(message.text.len() as u64);
                state.receive_time = caller.now;
                state.last_receiver = caller.pid;
                message
            };
            message.text.truncate(wanted.size);
            message
        };
        self.queue.notify(PollEvents::POLLOUT);
        Ok(message)
    }

    /// `IPC_SET`.
    ///
    /// # Errors
    /// EPERM for more bytes than anyone may ask for, EINVAL.
    pub fn set(&self, caller: &Caller<'_>, new: &MsqidDs) -> Result<()> {
        if new.msg_qbytes > QUEUE_BYTES && !caller.cred().capable_initial(CAP_SYS_RESOURCE) {
            return Err(Errno::EPERM);
        }
        {
            let mut state = self.state.lock();
            caller.apply(&mut state.permission, &new.msg_perm)?;
            state.limit = new.msg_qbytes;
            state.change_time = caller.now;
        }
        self.queue.notify(PollEvents::POLLIN | PollEvents::POLLOUT);
        Ok(())
    }

    /// It has been taken out of the table: sleepers learn of it.
    pub fn removed(&self) {
        self.state.lock().removed = true;
        self.queue.notify(PollEvents::POLLIN | PollEvents::POLLOUT);
    }

    /// Messages and bytes in it.
    pub fn load(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.messages.len() as u64, state.bytes)
    }

    /// What `IPC_STAT` shows.
    pub fn stat(&self, caller: &Caller<'_>, key: i32) -> MsqidDs {
        let state = self.state.lock();
        MsqidDs {
            msg_perm: caller.show(&state.permission, key, self.id),
            msg_stime: state.send_time,
            msg_rtime: state.receive_time,
            msg_ctime: state.change_time,
            msg_cbytes: state.bytes,
            msg_qnum: state.messages.len() as u64,
            msg_qbytes: state.limit,
            msg_lspid: state.last_sender,
            msg_lrpid: state.last_receiver,
            ..MsqidDs::default()
        }
    }
}
