//! A stub as the sentry sees it: its life, its orders, its threads.
//!
//! Orders are queued and carried out one after the other; a list is written when the one before is done. Nothing
//! here waits: `pump` looks whether something is done and goes on with what is next.
//!
//! What a stub says about an order is not trusted: guest code can write the reply page. A forged result misleads
//! the sentry about the guest's own memory only; that a fork has worked, and with which process id, is what the
//! kernel says on the copy's socket.
//!
//! Memory operations that a guest thread asked for are mostly its own business: it carries them out on its way back (`carry`
//! of `thread`). Until they are known to be done, what the warden does about the same range, and every copy, waits for them:
//! the warden sleeps on the word of that thread's channel that says so.
//!
//! Costs of an order: one `futex` to wake the warden, one `sendmsg` where files are sent; the warden's calls, and
//! its ring (one `write`) if the worker of its core sleeps.
//!
//! Locks: `queue` before the cells of `Shared::ordering`; `threads`, `errands`, `life`, a slot's `notice` and the registry's are innermost.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::task::Waker;

use chitin_abi::{Errno, Regs, Result};
use chitin_mm::platform::DeathNotice;
use parking_lot::{Mutex, RwLock};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use smallvec::SmallVec;

use crate::fork::{self, Kit};
use crate::frame::Channel;
use crate::layout::{self, order, reply};
use crate::order::{List, SPAWNED, errno, waits};
use crate::patches::Patches;
use crate::raw::host;
use crate::reuse::Reuse;
use crate::shared::{Listener, Shared};
use crate::thread::Thread;
use crate::ticket::Ticket;

/// A guest thread's place in a stub.
pub struct Slot {
    /// Its channel's number.
    pub place: u32,
    /// Its channel.
    pub channel: Channel,
    /// Its host thread, once that exists.
    pub tid: AtomicI32,
    /// `RUNNING` and `INTERRUPT`.
    pub state: AtomicU32,
    /// Code was rewritten while it stood still: it has to go on by `rt_sigreturn`.
    pub has_old_code: AtomicBool,
    /// Whom to tell when the stub ends by itself.
    pub notice: Mutex<Option<DeathNotice>>,
}

impl Slot {
    /// A new one.
    pub fn new(place: u32, channel: Channel) -> Self {
        Self {
            place,
            channel,
            tid: AtomicI32::new(0),
            state: AtomicU32::new(0),
            has_old_code: false.into(),
            notice: Mutex::default(),
        }
    }
}

/// What comes of an order.
pub enum Goal {
    /// Memory operations; the last list of a batch says so.
    Batch(Arc<Ticket<()>>, bool),
    /// A thread, and places for others.
    Spawn(Arc<Slot>, Vec<Arc<Slot>>, Arc<Ticket<Thread>>),
    /// A copy of the stub.
    Fork(Box<Kit>),
}

/// A list and what comes of it.
pub struct Order {
    /// The list.
    pub list: List,
    /// What comes of it.
    pub goal: Goal,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Order>,
    active: Option<Goal>,
    is_closed: bool,
    /// The core that the warden is bound to.
    core: Option<usize>,
}

#[derive(Default)]
struct Threads {
    slots: Vec<Arc<Slot>>,
    /// Those of threads that have ended or will.
    retired: VecDeque<Arc<Slot>>,
    /// Those whose channels are mapped for threads to come.
    spare: Vec<Arc<Slot>>,
}

/// Operations that a guest thread carries out itself, and the range that they are about.
struct Errand {
    slot: Arc<Slot>,
    range: (u64, u64),
}

/// The most channels that are mapped ahead at a time.
const SPARE: usize = 16;

/// See the module.
pub struct Process {
    /// What all stubs share.
    pub shared: Arc<Shared>,
    /// The host's process id.
    pub pid: i32,
    /// Rewritten call sites.
    pub patches: Patches,
    /// Whether and how it is used again.
    pub reuse: Reuse,
    order: u32,
    reply: u32,
    socket: OwnedFd,
    is_dead: AtomicBool,
    /// Whether its owner has ended it: then nobody is to be told.
    is_given_up: AtomicBool,
    /// Whether the host has no such process any more; its id is used under this lock only.
    life: RwLock<bool>,
    active: AtomicU32,
    queue: Mutex<Queue>,
    threads: Mutex<Threads>,
    /// What guest threads are about to carry out, or have just done.
    errands: Mutex<SmallVec<[Errand; 2]>>,
    /// CPU time after its end.
    cpu: Mutex<(u64, u64)>,
}

/// Wakers to wake once no lock is held.
pub type Wakers = SmallVec<[Waker; 4]>;

impl Process {
    /// A stub that has said hello.
    pub fn new(
        shared: Arc<Shared>,
        pid: i32,
        order: u32,
        reply: u32,
        socket: OwnedFd,
        patches: Patches,
    ) -> Arc<Self> {
        Arc::new(Self {
            shared,
            pid,
            patches,
            reuse: Reuse::default(),
            order,
            reply,
            socket,
            is_dead: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
            life: RwLock::new(false),
            active: AtomicU32::new(0),
            queue: Mutex::default(),
            threads: Mutex::default(),
            errands: Mutex::default(),
            cpu: Mutex::new((0, 0)),
        })
    }

    /// Whether it is gone, or will be at once.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    /// Does something with its process id, which belongs to it as long as that takes.
    pub fn with_pid<T>(&self, action: impl FnOnce(i32) -> T) -> Result<T> {
        let ended = self.life.read();
        if *ended || self.is_dead() {
            return Err(Errno::ESRCH);
        }
        Ok(action(self.pid))
    }

    /// The same for an owner of before: ESRCH if the stub has another one.
    pub fn with_pid_at<T>(&self, epoch: u32, action: impl FnOnce(i32) -> T) -> Result<T> {
        let ended = self.life.read();
        if *ended || self.is_dead() || self.reuse.epoch.load(Ordering::Relaxed) != epoch {
            return Err(Errno::ESRCH);
        }
        Ok(action(self.pid))
    }

    /// Its owner is none any more; nobody is just using what was said to that one.
    pub fn next_epoch(&self) {
        let ended = self.life.write();
        self.reuse.epoch.fetch_add(1, Ordering::Relaxed);
        drop(ended);
    }

    /// Ends it.
    pub fn kill(&self) {
        let ended = self.life.read();
        if !*ended && let Some(pid) = Pid::from_raw(self.pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        drop(ended);
        self.bury();
    }

    /// Ends it because its owner needs it no more.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::SeqCst);
        self.kill();
    }

    /// Tells those who asked for it that it has ended by itself, if it has. Not to be called under a lock that the
    /// notices take.
    pub fn tell_death(&self) {
        if self.is_given_up.load(Ordering::SeqCst) || !*self.life.read() {
            return;
        }
        let slots = self.threads.lock().slots.clone();
        for slot in slots {
            let notice = slot.notice.lock().take();
            if let Some(notice) = notice {
                notice();
            }
        }
    }

    /// Called when the host's process has ended, before its id can be given to another.
    pub fn set_ended(&self, cpu: (u64, u64)) {
        *self.cpu.lock() = cpu;
        *self.life.write() = true;
    }

    /// CPU time after its end.
    pub fn last_cpu(&self) -> Option<(u64, u64)> {
        self.life.read().then(|| *self.cpu.lock())
    }

    /// Tells all who wait that it is dead.
    pub fn bury(&self) {
        if self.is_dead.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut wakers = Wakers::new();
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        let waiting = core::mem::take(&mut queue.waiting);
        let goals = queue.active.take().into_iter();
        for goal in goals.chain(waiting.into_iter().map(|order| order.goal)) {
            abandon(&self.shared, goal, Errno::ESRCH, &mut wakers);
        }
        self.settle();
        drop(queue);
        let slots = self.threads.lock().slots.clone();
        for slot in slots {
            self.shared.running.unmark(slot.place);
            if let Some(Listener::Task(waker)) = self.shared.running.cell(slot.place).lock().take()
            {
                wakers.push(waker);
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nothing is under way.
    fn settle(&self) {
        self.active.store(0, Ordering::SeqCst);
        self.shared.ordering.unmark(self.order);
        *self.shared.ordering.cell(self.order).lock() = None;
    }

    /// Queues orders, in this order.
    pub fn submit(self: &Arc<Self>, orders: impl IntoIterator<Item = Order>) {
        let mut wakers = Wakers::new();
        let mut queue = self.queue.lock();
        for order in orders {
            if queue.is_closed {
                abandon(&self.shared, order.goal, Errno::ESRCH, &mut wakers);
            } else {
                queue.waiting.push_back(order);
            }
        }
        self.advance(&mut queue, &mut wakers);
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Looks whether something is done.
    pub fn pump(self: &Arc<Self>) {
        let mut wakers = Wakers::new();
        let mut queue = self.queue.lock();
        self.advance(&mut queue, &mut wakers);
        drop(queue);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn reply_offset(&self) -> u64 {
        Shared::channel_offset(self.reply)
    }

    /// Whether the warden says that it is done with the list.
    fn is_answered(&self) -> bool {
        let number = self.active.load(Ordering::SeqCst);
        let done = self.shared.channels.u32(self.reply_offset() + reply::DONE);
        number != 0 && done.load(Ordering::SeqCst) == number
    }

    /// Whether `pump` would get on. Only a hint where a copy is under way.
    pub fn has_reply(&self) -> bool {
        if !self.is_answered() {
            return false;
        }
        // Somebody else looks: what they see may be older than what has just been answered.
        let Some(queue) = self.queue.try_lock() else { return true };
        match &queue.active {
            Some(Goal::Fork(kit)) => self.forked() < 0 || kit.has_said_hello(&self.shared),
            _ => true,
        }
    }

    fn result(&self, index: u64) -> i64 {
        self.shared.channels.load64(self.reply_offset() + reply::RESULTS + 8 * index) as i64
    }

    fn error(&self) -> Result<()> {
        let error = self.shared.channels.load64(self.reply_offset() + reply::ERROR) as i64;
        if error == 0 { Ok(()) } else { Err(errno(error)) }
    }

    fn forked(&self) -> i64 {
        match self.error() {
            Ok(()) => self.result(crate::order::FORKED),
            Err(_) => -1,
        }
    }

    fn advance(self: &Arc<Self>, queue: &mut Queue, wakers: &mut Wakers) {
        loop {
            if let Some(goal) = queue.active.take() {
                if !self.is_answered() {
                    queue.active = Some(goal);
                    return;
                }
                if let Some(goal) = self.finish(goal, wakers) {
                    queue.active = Some(goal);
                    return;
                }
                self.active.store(0, Ordering::SeqCst);
            }
            let Some(order) = queue.waiting.pop_front() else {
                self.settle();
                return;
            };
            if let Goal::Batch(ticket, _) = &order.goal
                && ticket.is_done()
            {
                continue; // an earlier list of this batch has failed
            }
            self.place_warden(queue, &order.goal);
            match self.write(&order.list) {
                Ok(()) => queue.active = Some(order.goal),
                Err(error) => abandon(&self.shared, order.goal, error, wakers),
            }
        }
    }

    /// Completes a goal, or gives it back when it is not reached yet.
    fn finish(self: &Arc<Self>, goal: Goal, wakers: &mut Wakers) -> Option<Goal> {
        match goal {
            Goal::Batch(ticket, is_last) => {
                let result = self.error();
                if is_last || result.is_err() {
                    wakers.extend(ticket.complete(result));
                }
            }
            Goal::Spawn(slot, spares, ticket) => {
                let error = self.error();
                if error.is_ok() {
                    self.keep_spares(spares);
                }
                let result = self.spawned(slot, error.map(|()| self.result(SPAWNED)));
                wakers.extend(ticket.complete(result));
            }
            Goal::Fork(kit) => {
                let error = self.error().err();
                let failed = error.or_else(|| {
                    let result = self.result(crate::order::FORKED);
                    (result < 0).then(|| errno(result))
                });
                match fork::conclude(&self.shared, *kit, failed) {
                    fork::Conclusion::Done(waker) => wakers.extend(waker),
                    fork::Conclusion::NotYet(kit) => return Some(Goal::Fork(Box::new(kit))),
                }
            }
        }
        None
    }

    /// While no guest runs, memory lists are carried out on the core of who orders them and then sleeps: a wake on another core,
    /// there and back, costs ten times as much. Copies and threads would inherit that, so their lists are not.
    fn place_warden(&self, queue: &mut Queue, goal: &Goal) {
        let cores = &self.shared.cores;
        if cores.len() < 2 {
            return;
        }
        let is_here = matches!(goal, Goal::Batch(..)) && self.shared.running_guests() == 0;
        let core = is_here.then(host::current_core);
        if core::mem::replace(&mut queue.core, core) == core {
            return;
        }
        let mut set = CpuSet::new();
        match core {
            Some(core) => set.set(core),
            None => cores.iter().for_each(|core| set.set(*core)),
        }
        // It only costs time where it fails.
        let _ = self.with_pid(|pid| sched_setaffinity(Pid::from_raw(pid), &set));
    }

    /// Writes a list into the order page and wakes the warden.
    fn write(self: &Arc<Self>, list: &List) -> Result<()> {
        if !list.files.is_empty() {
            self.send(&list.files)?;
        }
        let orders = &self.shared.orders;
        let page = Shared::order_offset(self.order);
        *self.shared.ordering.cell(self.order).lock() = Some(Arc::clone(self));
        self.shared.ordering.mark(self.order);
        let number = next_number(&self.shared, self.order);
        orders.u32(page + order::NUMBER).store(0, Ordering::SeqCst);
        write_ops(&self.shared, self.order, &list.ops);
        self.active.store(number, Ordering::SeqCst);
        let word = orders.u32(page + order::NUMBER);
        word.store(number, Ordering::SeqCst);
        let _ = rustix::thread::futex::wake(word, rustix::thread::futex::Flags::empty(), 1);
        Ok(())
    }

    /// Sends descriptors, and writes down where they are to be received.
    fn send(&self, files: &[Arc<OwnedFd>]) -> Result<()> {
        let channels = &self.shared.channels;
        let page = self.reply_offset();
        let message = [
            0,
            0,
            layout::REPLY + reply::VECTOR,
            1,
            layout::REPLY + reply::CONTROL,
            reply::CONTROL_LEN,
            0,
        ];
        for (index, word) in message.into_iter().enumerate() {
            channels.store64(page + reply::MESSAGE + 8 * index as u64, word);
        }
        channels.store64(page + reply::VECTOR, layout::REPLY + reply::DATA);
        channels.store64(page + reply::VECTOR + 8, 1);
        let borrowed: SmallVec<[_; 8]> = files.iter().map(|file| file.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(Errno::ENOMEM);
        }
        let data = [IoSlice::new(&[0])];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match rustix::net::sendmsg(&self.socket, &data, &mut control, flags) {
            Ok(_) => Ok(()),
            Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Err(Errno::ESRCH),
            Err(_) => Err(Errno::ENOMEM),
        }
    }

    /// How many places for threads it ever had.
    pub fn slot_count(&self) -> usize {
        self.threads.lock().slots.len()
    }

    /// Takes over the thread that a copy was made with.
    pub fn adopt(&self, slot: Arc<Slot>) {
        self.threads.lock().slots.push(Arc::clone(&slot));
        self.reuse.put_parked(slot);
    }

    /// One more waits for a wake of a futex, or no more: its threads answer wakes that nobody waits for by themselves.
    pub fn expect_wakes(&self, addr: u64, waits: bool) {
        let hash = addr / 4 % reply::WAITERS_COUNT;
        let count = self.shared.channels.u32(self.reply_offset() + reply::WAITERS + 4 * hash);
        count.fetch_add(if waits { 1 } else { u32::MAX }, Ordering::SeqCst);
    }

    /// Nobody waits any more.
    pub fn forget_waiters(&self) {
        for hash in 0..reply::WAITERS_COUNT {
            let offset = self.reply_offset() + reply::WAITERS + 4 * hash;
            self.shared.channels.store32(offset, 0);
        }
    }

    /// Lets a thread carry out operations on a range itself, unless others are about it still.
    pub fn claim(&self, slot: &Arc<Slot>, range: (u64, u64)) -> bool {
        if self.active.load(Ordering::SeqCst) != 0 {
            return false;
        }
        let channels = &self.shared.channels;
        let mut errands = self.errands.lock();
        let mut others = errands.iter().filter(|other| overlap(other.range, range));
        if others.any(|other| other.slot.channel.is_carrying(channels)) {
            return false;
        }
        errands.push(Errand { slot: Arc::clone(slot), range });
        true
    }

    /// A thread has carried out its operations, or never will.
    pub fn unclaim(&self, slot: &Slot) {
        self.errands.lock().retain(|errand| errand.slot.place != slot.place);
    }

    /// Orders that whatever comes next waits for what threads carry out in a range.
    pub fn await_errands(self: &Arc<Self>, range: (u64, u64)) {
        let channels = &self.shared.channels;
        let errands = self.errands.lock();
        let others = errands.iter().filter(|other| overlap(other.range, range));
        let words = others.filter_map(|other| other.slot.channel.await_carried(channels));
        let words: SmallVec<[u64; 8]> = words.collect();
        drop(errands);
        let lists = waits(&words);
        // Nobody looks at what comes of it.
        let ticket = Ticket::new();
        self.submit(
            lists.map(|list| Order { list, goal: Goal::Batch(Arc::clone(&ticket), false) }),
        );
    }

    /// A place for a thread whose channel is mapped, if there is one that nobody uses.
    pub fn mapped_slot(&self) -> Option<Arc<Slot>> {
        let mut threads = self.threads.lock();
        match threads.retired.pop_front() {
            Some(slot) if !slot.channel.is_alive(&self.shared.channels) => return Some(slot),
            // Its host thread has not ended yet.
            other => threads.retired.extend(other),
        }
        threads.spare.pop()
    }

    /// A place for a thread, and places whose channels are to be mapped for later ones: the more threads there are the more.
    pub fn new_slots(&self) -> Result<(Arc<Slot>, Vec<Arc<Slot>>)> {
        if let Some(slot) = self.mapped_slot() {
            return Ok((slot, Vec::new()));
        }
        let mut threads = self.threads.lock();
        let count = threads.slots.len().min(SPARE);
        let slot = self.add_slot(&mut threads)?;
        let spares = (0..count).map_while(|_| self.add_slot(&mut threads).ok()).collect();
        Ok((slot, spares))
    }

    fn add_slot(&self, threads: &mut Threads) -> Result<Arc<Slot>> {
        let index = threads.slots.len() as u64;
        if index >= layout::CHANNEL_COUNT {
            return Err(Errno::EAGAIN);
        }
        let place = self.shared.channel_numbers.take().ok_or(Errno::EAGAIN)?;
        let channel = Channel {
            offset: Shared::channel_offset(place),
            address: layout::CHANNELS + index * layout::CHANNEL_LEN,
        };
        let slot = Arc::new(Slot::new(place, channel));
        threads.slots.push(Arc::clone(&slot));
        Ok(slot)
    }

    /// Makes a place ready for a thread that begins with these registers; its frame's address in the stub.
    pub fn prepare(&self, slot: &Slot, regs: &Regs, extended: &[u8]) -> u64 {
        self.unclaim(slot);
        slot.state.store(0, Ordering::SeqCst);
        slot.channel.prepare(&self.shared.channels, &self.shared.shape, regs, extended)
    }

    /// The thread that was made, or the error that was found instead of its id.
    pub fn spawned(self: &Arc<Self>, slot: Arc<Slot>, tid: Result<i64>) -> Result<Thread> {
        match tid {
            Ok(tid) if tid > 0 => {
                slot.tid.store(tid as i32, Ordering::Relaxed);
                Ok(Thread::new(Arc::clone(self), slot))
            }
            Ok(error) => Err(self.not_spawned(slot, errno(error))),
            Err(error) => Err(self.not_spawned(slot, error)),
        }
    }

    /// Channels that were to be mapped for later threads.
    fn keep_spares(&self, spares: Vec<Arc<Slot>>) {
        let is_mapped = |(at, _): &(usize, _)| self.result(SPAWNED + 1 + *at as u64) >= 0;
        let mapped = spares.into_iter().enumerate().filter(is_mapped);
        self.threads.lock().spare.extend(mapped.map(|(_, slot)| slot));
    }

    /// All places for threads.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.threads.lock().slots.clone()
    }

    fn not_spawned(&self, slot: Arc<Slot>, error: Errno) -> Errno {
        slot.channel.set_gone(&self.shared.channels);
        self.retire(slot);
        error
    }

    /// A place whose thread has ended or will.
    pub fn retire(&self, slot: Arc<Slot>) {
        self.threads.lock().retired.push_back(slot);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for slot in self.threads.get_mut().slots.drain(..) {
            self.shared.running.unmark(slot.place);
            *self.shared.running.cell(slot.place).lock() = None;
            give_back_channel(&self.shared, slot.place);
        }
        give_back_channel(&self.shared, self.reply);
        self.shared.order_numbers.give_back(self.order);
    }
}

fn overlap(one: (u64, u64), other: (u64, u64)) -> bool {
    one.0 < other.1 && other.0 < one.1
}

/// Gives a channel or reply page back, empty.
pub fn give_back_channel(shared: &Shared, place: u32) {
    shared.channels.clear(Shared::channel_offset(place), layout::CHANNEL_LEN);
    shared.channel_numbers.give_back(place);
}

/// The next list number of an order page: never 0, and not used on this page for long.
pub fn next_number(shared: &Shared, place: u32) -> u32 {
    let note = shared.orders.u32(Shared::order_offset(place) + order::LAST);
    let number = note.load(Ordering::Relaxed).wrapping_add(1).max(1);
    note.store(number, Ordering::Relaxed);
    number
}

/// Writes operations into an order page whose number is 0.
pub fn write_ops(shared: &Shared, place: u32, ops: &[crate::order::Op]) {
    let page = Shared::order_offset(place) + order::OPS;
    for (index, op) in ops.iter().take(order::COUNT as usize).enumerate() {
        for (at, word) in op.words().into_iter().enumerate() {
            let offset = page + order::OP_LEN * index as u64 + 8 * at as u64;
            shared.orders.u64(offset).store(word, Ordering::Relaxed);
        }
    }
}

/// Ends a goal that will not be reached.
fn abandon(shared: &Shared, goal: Goal, error: Errno, wakers: &mut Wakers) {
    match goal {
        Goal::Batch(ticket, _) => wakers.extend(ticket.complete(Err(error))),
        Goal::Spawn(_, _, ticket) => wakers.extend(ticket.complete(Err(error))),
        Goal::Fork(kit) => wakers.extend(fork::abandon(shared, *kit, error)),
    }
}
