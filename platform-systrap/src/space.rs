//! Address spaces, and their bytes.
//!
//! Costs: a word is changed atomically by the stub's agent, see there; `read` and `write` are one `process_vm_readv` or `process_vm_writev` each (some 2 µs, see the README).

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::platform::{AddressSpace, Domain, GuestThread, PlatformFuture, ThreadState};
use chitin_mm::{GuestMemory, HostOp};
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::agent::Agent;
use crate::layout;
use crate::process::{Goal, Order, Process};
use crate::thread::Thread;
use crate::ticket::{Ticket, Waiting};
use crate::{code, fork, order, patches, reuse, usage};

/// An address space: the owner of a stub.
pub struct Space {
    process: Arc<Process>,
    /// Which use of the stub is this one's.
    epoch: u32,
    agent: Mutex<Option<Agent>>,
}

impl Space {
    /// Owns a stub.
    pub fn new(process: Arc<Process>) -> Self {
        let epoch = process.reuse.epoch.load(Ordering::SeqCst);
        Self { process, epoch, agent: Mutex::new(None) }
    }

    /// Whether its stub is gone.
    pub fn is_dead(&self) -> bool {
        self.process.is_dead()
    }

    fn is_over(&self) -> bool {
        self.process.reuse.epoch.load(Ordering::SeqCst) != self.epoch
    }

    fn give_up(&self) {
        if !self.is_over() {
            self.process.give_up();
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// A copy of a stub, when it is there.
pub fn copy(process: &Arc<Process>) -> Result<Waiting<Space>> {
    let ticket = fork::submit(process)?;
    Ok(Waiting::new(Arc::clone(process), ticket))
}

/// Orders memory operations, at least one.
pub fn apply(process: &Arc<Process>, ops: &[HostOp]) -> Result<Waiting<()>> {
    let lists = order::batch(ops, &process.shared)?;
    let ticket = Ticket::new();
    let last = lists.len().checked_sub(1).ok_or(Errno::EINVAL)?;
    let orders = lists
        .into_iter()
        .enumerate()
        .map(|(index, list)| Order { list, goal: Goal::Batch(Arc::clone(&ticket), index == last) });
    process.await_errands(order::hull(ops));
    process.submit(orders);
    Ok(Waiting::new(Arc::clone(process), ticket))
}

/// Orders a thread.
pub fn start_thread(process: &Arc<Process>, state: &ThreadState) -> Result<Waiting<Thread>> {
    let shared = &process.shared;
    let extended = shared.shape.checked(&state.extended)?;
    if let Some(slot) = process.reuse.take_parked() {
        let ticket = Ticket::new();
        let thread = Thread::again(Arc::clone(process), slot, &state.regs, &extended);
        // Nobody waits yet.
        drop(ticket.complete(Ok(thread)));
        return Ok(Waiting::new(Arc::clone(process), ticket));
    }
    let (slot, spares) = process.new_slots()?;
    let frame = process.prepare(&slot, &state.regs, &extended);
    let channels: SmallVec<[_; 16]> = spares.iter().map(|spare| spare.channel).collect();
    let list = order::spawn(slot.channel, frame, &channels, shared.descriptors);
    let ticket = Ticket::new();
    let goal = Goal::Spawn(slot, spares, Arc::clone(&ticket));
    process.submit([Order { list, goal }]);
    Ok(Waiting::new(Arc::clone(process), ticket))
}

impl AddressSpace for Space {
    fn apply(&self, ops: Vec<HostOp>) -> PlatformFuture<'_, ()> {
        if ops.is_empty() {
            return Box::pin(async { Ok(()) });
        }
        if self.is_over() {
            return Box::pin(async { Err(Errno::ESRCH) });
        }
        let (ops, adopted) = code::resolve(&self.process, ops);
        patches::note(&self.process, &ops);
        match apply(&self.process, &ops) {
            Ok(done) if adopted.is_empty() => Box::pin(done),
            Ok(done) => {
                let process = &self.process;
                Box::pin(async move {
                    done.await?;
                    adopted.into_iter().for_each(|copied| patches::adopt(process, copied));
                    Ok(())
                })
            }
            Err(error) => Box::pin(async move { Err(error) }),
        }
    }

    fn fork(&self) -> PlatformFuture<'_, Arc<dyn AddressSpace>> {
        let copy = if self.is_over() { Err(Errno::ESRCH) } else { copy(&self.process) };
        Box::pin(async move { Ok(Arc::new(copy?.await?) as Arc<dyn AddressSpace>) })
    }

    fn spawn(&self, state: ThreadState) -> PlatformFuture<'_, Box<dyn GuestThread>> {
        let over = self.is_over();
        let thread = if over { Err(Errno::ESRCH) } else { start_thread(&self.process, &state) };
        Box::pin(async move { Ok(Box::new(thread?.await?) as Box<dyn GuestThread>) })
    }

    fn memory(&self) -> &dyn GuestMemory {
        self
    }

    fn kill(&self) {
        self.give_up();
    }

    fn retire(&self, domain: &Domain) {
        if !self.is_over() && !reuse::recycle(&self.process, domain) {
            self.process.give_up();
        }
    }

    fn renew(&self) -> Option<(Arc<dyn AddressSpace>, Vec<HostOp>)> {
        if self.is_over() {
            return None;
        }
        let (space, ops) = reuse::renew(&self.process)?;
        Some((Arc::new(space), ops))
    }

    fn expect_wakes(&self, addr: GuestAddr, waits: bool) {
        self.process.expect_wakes(addr.0, waits);
    }

    fn resident(&self) -> (u64, u64) {
        if self.is_over() { (0, 0) } else { usage::resident(&self.process) }
    }

    fn cpu_time(&self) -> (u64, u64) {
        if self.is_over() { (0, 0) } else { usage::process_time(&self.process) }
    }

    fn residency(&self, start: GuestAddr, pages: &mut [u8]) -> bool {
        !self.is_over() && usage::residency(&self.process, start.0, pages)
    }

    fn faults(&self) -> (u64, u64) {
        if self.is_over() { (0, 0) } else { usage::faults(&self.process) }
    }
}

/// How much of a range a guest can map. EFAULT: nothing.
fn clip(addr: GuestAddr, len: usize) -> Result<RemoteIoVec> {
    let start = addr.0;
    if !(layout::MIN_ADDRESS..layout::MAX_ADDRESS).contains(&start) {
        return Err(Errno::EFAULT);
    }
    let room = layout::MAX_ADDRESS - start;
    let len = usize::try_from(room).map_or(len, |room| room.min(len));
    Ok(RemoteIoVec { base: start as usize, len })
}

/// Writes what can be written; says how many bytes.
pub fn write(process: &Process, address: u64, bytes: &[u8]) -> usize {
    let Ok(remote) = clip(GuestAddr(address), bytes.len()) else { return 0 };
    let local = [IoSlice::new(bytes)];
    let write = |pid| process_vm_writev(Pid::from_raw(pid), &local, &[remote]);
    outcome(process.with_pid(write)).unwrap_or(0)
}

/// Reads what can be read; says how many bytes.
pub fn read(process: &Process, address: u64, buffer: &mut [u8]) -> usize {
    let Ok(remote) = clip(GuestAddr(address), buffer.len()) else { return 0 };
    let mut local = [IoSliceMut::new(buffer)];
    let read = |pid| process_vm_readv(Pid::from_raw(pid), &mut local, &[remote]);
    outcome(process.with_pid(read)).unwrap_or(0)
}

fn outcome(result: Result<nix::Result<usize>>) -> Result<usize> {
    match result? {
        Ok(0) => Err(Errno::EFAULT),
        Ok(done) => Ok(done),
        Err(nix::errno::Errno::ESRCH) => Err(Errno::ESRCH),
        Err(_) => Err(Errno::EFAULT),
    }
}

impl GuestMemory for Space {
    fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let remote = clip(addr, buffer.len())?;
        let mut local = [IoSliceMut::new(buffer)];
        let read = |pid| process_vm_readv(Pid::from_raw(pid), &mut local, &[remote]);
        outcome(self.process.with_pid_at(self.epoch, read))
    }

    fn write_partial(&self, addr: GuestAddr, bytes: &[u8]) -> Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let remote = clip(addr, bytes.len())?;
        let local = [IoSlice::new(bytes)];
        reuse::note_range(&self.process, addr.0, bytes.len() as u64);
        let write = |pid| process_vm_writev(Pid::from_raw(pid), &local, &[remote]);
        outcome(self.process.with_pid_at(self.epoch, write))
    }

    fn compare_exchange_u32(&self, addr: GuestAddr, old: u32, new: u32) -> Result<u32> {
        let is_inside = (layout::MIN_ADDRESS..layout::MAX_ADDRESS).contains(&addr.0);
        if !is_inside || !addr.0.is_multiple_of(4) {
            return Err(Errno::EFAULT);
        }
        let mut agent = self.agent.lock();
        if self.is_over() {
            return Err(Errno::ESRCH);
        }
        if agent.is_none() {
            *agent = Agent::new(&self.process);
        }
        let result = agent.as_mut().and_then(|agent| agent.compare_exchange(addr, old, new));
        if let Some(result) = result {
            return result;
        }
        *agent = None;
        drop(agent);
        if self.process.is_dead() {
            return Err(Errno::ESRCH);
        }
        // The guest starves its own agent: rather not atomic than never.
        let mut bytes = [0; 4];
        self.read(addr, &mut bytes)?;
        let found = u32::from_ne_bytes(bytes);
        if found == old {
            self.write(addr, &new.to_ne_bytes())?;
        }
        Ok(found)
    }
}
