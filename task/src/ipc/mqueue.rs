//! POSIX message queues: named queues of messages by priority, used through descriptors.

use core::any::Any;
use core::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use chitin_abi::fs::S_IFREG;
use chitin_abi::poll::PollEvents;
use chitin_abi::signal::{SI_MESGQ, SigInfo};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use chitin_vfs::attr::{Attr, SetAttr};
use chitin_vfs::file::File;
use chitin_vfs::io::Sink;
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;

use super::budget::Budget;
use crate::task::Task;

/// Most queues of a namespace without `CAP_SYS_RESOURCE` (`fs.mqueue.queues_max`).
pub const QUEUES_MAX: usize = 256;
/// Most messages of a queue without `CAP_SYS_RESOURCE`.
pub const MESSAGES_MAX: i64 = 10;
/// Most bytes of a message without `CAP_SYS_RESOURCE`.
pub const SIZE_MAX: i64 = 8192;
/// Most messages of any queue.
pub const HARD_MESSAGES_MAX: i64 = 65_536;
/// Most bytes of any message.
pub const HARD_SIZE_MAX: i64 = 16 << 20;
/// Bytes that a descriptor's file shows as its size.
const FILE_SIZE: u64 = 80;

/// Who is told that a message has arrived in an empty queue.
pub struct Notice {
    /// The task that registered; its process is told.
    pub task: Weak<Task>,
    /// Its process.
    pub tgid: u32,
    /// The signal; 0 for none.
    pub signal: u32,
    /// `sigev_value`.
    pub value: u64,
}

#[derive(Default)]
struct State {
    /// By priority, highest first, then in the order in which they came.
    messages: BTreeMap<(Reverse<u32>, u64), Vec<u8>>,
    next: u64,
    bytes: u64,
    receivers: usize,
    notice: Option<Notice>,
    uid: u32,
    gid: u32,
    mode: u32,
    times: [Timespec; 3],
}

/// A queue.
pub struct Queue {
    /// Most messages.
    pub max_messages: usize,
    /// Most bytes of a message.
    pub max_size: usize,
    ino: u64,
    state: Mutex<State>,
    /// Notified (`POLLIN`) when a message arrives and (`POLLOUT`) when one is taken.
    pub queue: Arc<WaitQueue>,
    budget: Arc<Budget>,
    names: Weak<Names>,
    /// Whose limit it counts against, and how much.
    charge: (u32, u64),
}

impl Drop for Queue {
    fn drop(&mut self) {
        for text in self.state.get_mut().messages.values() {
            self.budget.give(text.len() as u64);
        }
        if let Some(names) = self.names.upgrade() {
            names.uncharge(self.charge);
        }
    }
}

/// What a new queue is like.
pub struct NewQueue {
    /// Most messages.
    pub max_messages: usize,
    /// Most bytes of a message.
    pub max_size: usize,
    /// Owner, group, mode.
    pub owner: (u32, u32, u32),
    /// `RLIMIT_MSGQUEUE`.
    pub limit: u64,
    /// Whether there may be more queues than usual.
    pub trusted: bool,
    /// Its inode number.
    pub ino: u64,
    /// Now.
    pub now: Timespec,
}

/// The named queues of a namespace.
#[derive(Default)]
pub struct Names {
    queues: Mutex<BTreeMap<Vec<u8>, Arc<Queue>>>,
    charged: Mutex<HashMap<u32, u64>>,
}

impl Names {
    /// The queue of a name.
    pub fn find(&self, name: &[u8]) -> Option<Arc<Queue>> {
        self.queues.lock().get(name).cloned()
    }

    /// The names.
    pub fn all(&self) -> Vec<(Vec<u8>, Arc<Queue>)> {
        self.queues.lock().iter().map(|(name, queue)| (name.clone(), Arc::clone(queue))).collect()
    }

    /// Makes a queue.
    ///
    /// # Errors
    /// ENOSPC for too many, EMFILE beyond the user's limit, EEXIST.
    pub fn create(
        self: &Arc<Self>,
        name: &[u8],
        budget: &Arc<Budget>,
        new: &NewQueue,
    ) -> Result<Arc<Queue>> {
        let mut queues = self.queues.lock();
        if queues.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        if queues.len() >= QUEUES_MAX && (!new.trusted || queues.len() >= QUEUES_MAX * 64) {
            return Err(Errno::ENOSPC);
        }
        let charge = (new.owner.0, charge_of(new.max_messages, new.max_size));
        self.charge(charge, new.limit)?;
        let state = State {
            uid: new.owner.0,
            gid: new.owner.1,
            mode: new.owner.2,
            times: [new.now; 3],
            ..State::default()
        };
        let queue = Arc::new(Queue {
            max_messages: new.max_messages,
            max_size: new.max_size,
            ino: new.ino,
            state: Mutex::new(state),
            queue: Arc::default(),
            budget: Arc::clone(budget),
            names: Arc::downgrade(self),
            charge,
        });
        queues.insert(name.to_vec(), Arc::clone(&queue));
        Ok(queue)
    }

    /// Takes a name away; the queue lives on while it is open.
    ///
    /// # Errors
    /// ENOENT.
    pub fn unlink(&self, name: &[u8]) -> Result<Arc<Queue>> {
        self.queues.lock().remove(name).ok_or(Errno::ENOENT)
    }

    fn charge(&self, (user, bytes): (u32, u64), limit: u64) -> Result<()> {
        let mut charged = self.charged.lock();
        let used = charged.entry(user).or_insert(0);
        let sum = used.saturating_add(bytes);
        if sum > limit {
            return Err(Errno::EMFILE);
        }
        *used = sum;
        Ok(())
    }

    fn uncharge(&self, (user, bytes): (u32, u64)) {
        let mut charged = self.charged.lock();
        if let Some(used) = charged.get_mut(&user) {
            *used = used.saturating_sub(bytes);
            if *used == 0 {
                charged.remove(&user);
            }
        }
    }
}

/// Bytes that a queue counts for `RLIMIT_MSGQUEUE`.
fn charge_of(messages: usize, size: usize) -> u64 {
    let (messages, size) = (messages as u64, size as u64);
    let tree = messages.saturating_mul(48).saturating_add(messages.min(32_768).saturating_mul(48));
    tree.saturating_add(messages.saturating_mul(size))
}

/// Bits of an access that is checked.
pub const ACCESS_READ: u32 = 4;
/// See [`ACCESS_READ`].
pub const ACCESS_WRITE: u32 = 2;

impl Queue {
    /// Whether a caller may open it.
    ///
    /// # Errors
    /// EACCES.
    pub fn check_access(&self, cred: &chitin_vfs::cred::Cred, wanted: u32) -> Result<()> {
        let state = self.state.lock();
        let granted = if cred.uid == state.uid {
            state.mode >> 6
        } else if cred.in_group(state.gid) {
            state.mode >> 3
        } else {
            state.mode
        };
        let trusted = cred.caps.has(chitin_abi::process::CAP_DAC_OVERRIDE);
        if wanted & !granted & 7 != 0 && !trusted { Err(Errno::EACCES) } else { Ok(()) }
    }

    /// Its owner.
    pub fn owner(&self) -> u32 {
        self.state.lock().uid
    }

    /// How many messages are in it.
    pub fn len(&self) -> usize {
        self.state.lock().messages.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a message in. `sender` is who is named in the signal that this may cause.
    ///
    /// # Errors
    /// EAGAIN when it is full.
    pub fn send(&self, text: &[u8], priority: u32, sender: &Arc<Task>) -> Result<()> {
        let notice = {
            let mut state = self.state.lock();
            if state.messages.len() >= self.max_messages || !self.budget.take(text.len() as u64) {
                return Err(Errno::EAGAIN);
            }
            let first = state.messages.is_empty() && state.receivers == 0;
            let number = state.next;
            state.next = number.wrapping_add(1);
            state.bytes = state.bytes.saturating_add(text.len() as u64);
            state.messages.insert((Reverse(priority), number), text.to_vec());
            let now = sender.kernel.clock.realtime();
            state.times = [now, now, now];
            if first { state.notice.take() } else { None }
        };
        self.queue.notify(PollEvents::POLLIN | PollEvents::POLLRDNORM);
        if let Some(notice) = notice {
            notice.deliver(sender);
        }
        Ok(())
    }

    /// Takes the first message and its priority.
    ///
    /// # Errors
    /// EAGAIN when there is none.
    pub fn receive(&self, now: Timespec) -> Result<(Vec<u8>, u32)> {
        let message = {
            let mut state = self.state.lock();
            let ((Reverse(priority), _), text) = state.messages.pop_first().ok_or(Errno::EAGAIN)?;
            state.bytes = state.bytes.saturating_sub(text.len() as u64);
            self.budget.give(text.len() as u64);
            state.times = [now, now, now];
            (text, priority)
        };
        self.queue.notify(PollEvents::POLLOUT | PollEvents::POLLWRNORM);
        Ok(message)
    }

    /// Counts a receiver that waits, until the guard is dropped.
    pub fn wait(&self) -> Receiver<'_> {
        self.state.lock().receivers += 1;
        Receiver { queue: self }
    }

    /// Registers who is told of the next message.
    ///
    /// # Errors
    /// EBUSY if someone is registered already.
    pub fn register(&self, notice: Notice) -> Result<()> {
        let mut state = self.state.lock();
        let alive = |known: &Notice| {
            let task = known.task.upgrade();
            task.is_some_and(|task| task.kernel.tree.lock().process(known.tgid).is_some())
        };
        if state.notice.as_ref().is_some_and(alive) {
            return Err(Errno::EBUSY);
        }
        state.notice = Some(notice);
        Ok(())
    }

    /// Takes back the registration of a process.
    pub fn unregister(&self, tgid: u32) {
        let mut state = self.state.lock();
        if state.notice.as_ref().is_some_and(|notice| notice.tgid == tgid) {
            state.notice = None;
        }
    }
}

impl Notice {
    fn deliver(self, sender: &Arc<Task>) {
        let Some(task) = self.task.upgrade() else { return };
        if self.signal == 0 {
            return;
        }
        let pid = task.pid().namespace().map_or(0, |ns| sender.group.pid.in_ns(ns));
        let uid = task.cred().show_uid(sender.cred().ruid);
        let info = SigInfo::queue(self.signal, SI_MESGQ, pid, uid, self.value);
        let member = {
            let tree = task.kernel.tree.lock();
            tree.process(self.tgid).and_then(|entry| entry.member().cloned())
        };
        if let Some(member) = member {
            // A full queue of signals loses it, as on Linux.
            let _ = crate::signal::send_to_group(&member, info);
        }
    }
}

/// Keeps a waiting receiver counted.
pub struct Receiver<'a> {
    queue: &'a Queue,
}

impl Drop for Receiver<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state.lock();
        state.receivers = state.receivers.saturating_sub(1);
    }
}

/// A queue that was opened.
pub struct MqFile {
    /// The queue.
    pub queue: Arc<Queue>,
    /// Its name, for /proc.
    pub name: Vec<u8>,
}

impl File for MqFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        let text = {
            let state = self.queue.state.lock();
            let (notify, signal, pid) = match &state.notice {
                Some(notice) => (i32::from(notice.signal == 0), notice.signal, notice.tgid),
                None => (0, 0, 0),
            };
            format!(
                "QSIZE:{:<10} NOTIFY:{:<5} SIGNO:{:<5} NOTIFY_PID:{:<6}\n",
                state.bytes, notify, signal, pid
            )
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        match text.as_bytes().get(start..) {
            Some(rest) if !rest.is_empty() => to.put(rest),
            _ => Ok(0),
        }
    }

    fn poll(&self) -> PollEvents {
        let count = self.queue.len();
        let mut events = PollEvents::empty();
        if count > 0 {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
        }
        if count < self.queue.max_messages {
            events |= PollEvents::POLLOUT | PollEvents::POLLWRNORM;
        }
        events
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.queue.queue)
    }

    fn attr(&self) -> Result<Option<Attr>> {
        let state = self.queue.state.lock();
        let [atime, mtime, ctime] = state.times;
        Ok(Some(Attr {
            dev: chitin_abi::fs::makedev(0, 19),
            ino: self.queue.ino,
            mode: S_IFREG | state.mode,
            nlink: 1,
            uid: state.uid,
            gid: state.gid,
            rdev: 0,
            size: FILE_SIZE,
            blksize: 4096,
            blocks: 0,
            atime,
            mtime,
            ctime,
            btime: ctime,
        }))
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let mut state = self.queue.state.lock();
        if let Some(mode) = change.mode {
            state.mode = mode & 0o7777;
        }
        state.uid = change.uid.unwrap_or(state.uid);
        state.gid = change.gid.unwrap_or(state.gid);
        Ok(())
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some([b"/", &self.name[..]].concat())
    }
}
