//! Copies of stubs.
//!
//! A copy gets a kit: an order page that already holds its first list, a reply page and a socket. It says hello
//! on the socket, and the kernel tells its process id with that: nothing that guest code can write decides which
//! process the sentry takes for the copy. A copy whose kit has been given up finds the socket shut down or the
//! number of its first list changed, and ends.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use chitin_abi::{Errno, Regs, Result};
use parking_lot::Mutex;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, Shutdown};

use crate::frame::Channel;
use crate::layout::{self, order, reply};
use crate::order::{self as list, Copy};
use crate::patches::{Patches, Table};
use crate::process::{Goal, Order, Process, Slot, next_number, write_ops};
use crate::shared::Shared;
use crate::space::Space;
use crate::ticket::Ticket;

/// What a copy gets.
pub struct Kit {
    order: u32,
    reply: u32,
    number: u32,
    /// Its first guest thread's place.
    slot: Slot,
    /// The sentry's end.
    socket: OwnedFd,
    ticket: Arc<Ticket<Space>>,
    /// Rewritten call sites.
    patches: (Arc<Table>, bool),
    _copying: Copying,
}

/// Keeps call sites of the original as they are.
struct Copying(Arc<Process>);

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.patches.forks.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What `conclude` found.
pub enum Conclusion {
    /// The ticket is complete.
    Done(Option<Waker>),
    /// The copy has not said hello yet.
    NotYet(Kit),
}

impl Kit {
    /// Whether the copy says that it has said hello.
    pub fn has_said_hello(&self, shared: &Shared) -> bool {
        let done = shared.channels.u32(Shared::channel_offset(self.reply) + reply::DONE);
        done.load(Ordering::SeqCst) == self.number
    }

    /// The thread id of its first guest thread. No guest code has run there.
    fn spawned(&self, shared: &Shared) -> i32 {
        let results = Shared::channel_offset(self.reply) + reply::RESULTS;
        shared.channels.load64(results + 8 * list::SPAWNED_IN_COPY) as i32
    }
}

/// Pairs of sockets that lie ready for copies: making one takes as long as a third of a copy's own work.
#[derive(Default)]
pub struct Sockets(Mutex<Vec<(OwnedFd, OwnedFd)>>);

impl Sockets {
    /// As many lie ready.
    const READY: usize = 2;

    fn take(&self) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
        let ready = self.0.lock().pop();
        ready.map_or_else(socket_pair, Ok)
    }

    /// Makes some, where nobody waits for it.
    pub fn refill(&self) {
        while self.0.lock().len() < Self::READY
            && let Ok(pair) = socket_pair()
        {
            self.0.lock().push(pair);
        }
    }
}

/// A pair of sockets: the sentry's end, which learns who sends, and the stub's.
pub fn socket_pair() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    let kind = SocketType::SEQPACKET;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    rustix::net::sockopt::set_socket_passcred(&ours, true)?;
    Ok((ours, theirs))
}

/// An order and a reply page, the first with the list that a copy begins with.
pub fn new_pages(shared: &Shared) -> Result<(u32, u32, u32)> {
    shared.end_quarantine();
    let order = shared.order_numbers.take().ok_or(Errno::EAGAIN)?;
    let Some(reply) = shared.channel_numbers.take() else {
        shared.order_numbers.give_back(order);
        return Err(Errno::EAGAIN);
    };
    let number = next_number(shared, order);
    Ok((order, reply, number))
}

/// Fills an order page before its stub exists.
pub fn fill(shared: &Shared, place: u32, number: u32, ops: &[list::Op]) {
    let word = shared.orders.u32(Shared::order_offset(place) + order::NUMBER);
    word.store(0, Ordering::SeqCst);
    write_ops(shared, place, ops);
    word.store(number, Ordering::SeqCst);
}

/// Orders a copy.
pub fn submit(parent: &Arc<Process>) -> Result<Arc<Ticket<Space>>> {
    let shared = &parent.shared;
    let (ours, theirs) = shared.sockets.take().map_err(|_| Errno::ENOMEM)?;
    let (order, reply, number) = new_pages(shared)?;
    let Some(place) = shared.channel_numbers.take() else {
        shared.order_numbers.give_back(order);
        shared.channel_numbers.give_back(reply);
        return Err(Errno::EAGAIN);
    };
    let channel = Channel { offset: Shared::channel_offset(place), address: layout::CHANNELS };
    let (shape, regs) = (&shared.shape, Regs::default());
    let frame = channel.prepare(&shared.channels, shape, &regs, &shape.initial());
    fill(shared, order, number, &list::first_of_copy(channel, frame, shared.descriptors));
    let copy = Copy {
        order: Shared::order_offset(order),
        reply: Shared::channel_offset(reply),
        number,
        parent: shared.pid,
    };
    let ticket = Ticket::new();
    let kit = Kit {
        order,
        reply,
        number,
        slot: Slot::new(place, channel),
        socket: ours,
        ticket: Arc::clone(&ticket),
        patches: parent.patches.for_copy(),
        _copying: Copying(Arc::clone(parent)),
    };
    let list = list::fork(&copy, Arc::new(theirs), shared.descriptors);
    shared.registry.begin_fork(parent);
    parent.await_errands((0, u64::MAX));
    parent.submit([Order { list, goal: Goal::Fork(Box::new(kit)) }]);
    Ok(ticket)
}

/// Looks for the copy's hello once its parent says that it is done. `failed`: the parent says that there is
/// no copy, which is believed only after no copy can say hello any more.
pub fn conclude(shared: &Arc<Shared>, kit: Kit, failed: Option<Errno>) -> Conclusion {
    if let Some(error) = failed {
        return Conclusion::Done(abandon(shared, kit, error));
    }
    match hear(&kit.socket) {
        Ok(None) => Conclusion::NotYet(kit),
        Ok(Some(pid)) => {
            kit.slot.tid.store(kit.spawned(shared), Ordering::Relaxed);
            let (table, is_off) = kit.patches;
            let patches = Patches::copied(table, is_off);
            let shared_ref = Arc::clone(shared);
            let process = Process::new(shared_ref, pid, kit.order, kit.reply, kit.socket, patches);
            process.adopt(Arc::new(kit.slot));
            let is_dead = shared.registry.add(&process);
            shared.registry.end_fork();
            if is_dead {
                process.set_ended((0, 0));
                process.bury();
            }
            Conclusion::Done(kit.ticket.complete(Ok(Space::new(process))))
        }
        Err(_) => Conclusion::Done(abandon(shared, kit, Errno::EAGAIN)),
    }
}

/// Gives a copy up.
pub fn abandon(shared: &Shared, kit: Kit, error: Errno) -> Option<Waker> {
    // From here on a copy that tries to say hello ends instead.
    let _ = rustix::net::shutdown(&kit.socket, Shutdown::Both);
    if let Ok(Some(pid)) = hear(&kit.socket)
        && let Some(pid) = rustix::process::Pid::from_raw(pid)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    shared.quarantine(kit.order, kit.reply, kit.slot.place);
    shared.registry.end_fork();
    kit.ticket.complete(Err(error))
}

/// The process id of the copy, if it has said hello. An error: it never will.
pub fn hear(socket: &OwnedFd) -> Result<Option<i32>> {
    let mut byte = [0; 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::DONTWAIT;
    match rustix::net::recvmsg(socket, &mut data, &mut control, flags) {
        Ok(message) if message.bytes > 0 => {}
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        Ok(_) | Err(_) => return Err(Errno::ESRCH),
    }
    let pid = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid.as_raw_nonzero().get()),
        _ => None,
    });
    pid.map(Some).ok_or(Errno::ESRCH)
}
