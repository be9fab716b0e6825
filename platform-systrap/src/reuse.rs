//! Stubs that are used again.
//!
//! Making a stub and burying it costs more than emptying one. So a stub is kept where nothing of its past can show:
//!
//! - `execve` of a process keeps its stub: everything that the guest could map is unmapped in front of the new program's
//!   mappings ([`emptying`]), and its thread goes on with a frame that is new from end to end ([`Thread::renew`]).
//! - The stub of a process that has ended is emptied and lies ready, with its thread, for the next program ([`recycle`]).
//!
//! What the old program may have left behind decides whether that is safe, also where the new one has more rights:
//!
//! - *Threads.* Only stubs that never had a second guest thread are kept: whether one has ended is known from memory that
//!   the guest can write.
//! - *Memory.* All of guest memory is unmapped but the vDSO, which must never have been touched ([`note_range`]). What the
//!   guest can write besides is its channel, which is cleared, and the reply page, which nobody believes.
//! - *The thread.* Registers, extended state, signal mask and alternate stack come from the new frame; segment bases are
//!   loaded anew. A guest can change nothing else of its thread: its filter lets it make no such call.
//! - *The sentry's side.* An address space is a handle with a number ([`Reuse::epoch`]); one whose number is past reads and
//!   writes nothing, whoever still holds it.
//!
//! Costs: the orders of `munmap`; a stub that lies ready holds some 70 KiB of the host's memory, at most [`MOST`] do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use chitin_abi::Result;
use chitin_mm::HostOp;
use parking_lot::Mutex;

use crate::layout;
use crate::process::{Process, Slot};
use crate::space::{self, Space};
use crate::ticket::Waiting;

/// As many stubs lie ready at most.
pub const MOST: usize = 4;

/// What a stub has to do with being used again.
#[derive(Default)]
pub struct Reuse {
    /// Which use of it this is. Changed under [`Process`]'s `life` only.
    pub epoch: AtomicU32,
    /// Something that stays has been touched.
    is_touched: AtomicBool,
    /// Its only guest thread, which stands still and belongs to nobody.
    parked: Mutex<Option<Arc<Slot>>>,
    /// CPU time before this use.
    pub cpu_before: Mutex<(u64, u64)>,
}

impl Reuse {
    /// The thread that lies ready, for who needs one.
    pub fn take_parked(&self) -> Option<Arc<Slot>> {
        self.parked.lock().take()
    }

    /// A new stub's thread.
    pub fn put_parked(&self, slot: Arc<Slot>) {
        *self.parked.lock() = Some(slot);
    }
}

/// Memory is changed at this place.
pub fn note_range(process: &Process, addr: u64, len: u64) {
    let end = addr.saturating_add(len);
    if addr < layout::VDSO_END && end > process.shared.vdso {
        process.reuse.is_touched.store(true, Ordering::SeqCst);
    }
}

fn is_clean(process: &Process) -> bool {
    !process.is_dead()
        && process.slot_count() == 1
        && !process.reuse.is_touched.load(Ordering::SeqCst)
        && process.patches.forks.load(Ordering::SeqCst) == 0
}

/// A thread that stands still belongs to nobody any more: it is kept if it is the only one.
pub fn park(process: &Process, slot: &Arc<Slot>) -> bool {
    let is_kept = is_clean(process);
    if is_kept {
        process.reuse.put_parked(Arc::clone(slot));
    }
    is_kept
}

/// What unmaps all of guest memory.
fn emptying(process: &Process) -> Vec<HostOp> {
    let start = process.shared.vdso;
    let (low, high) = (layout::MIN_ADDRESS, layout::MAX_ADDRESS);
    let unmap = |from: u64, to: u64| HostOp::Unmap { addr: from, len: to - from };
    vec![unmap(low, start), unmap(layout::VDSO_END, high)]
}

/// Begins another use of a stub.
fn begin_again(process: &Process) {
    let now = crate::usage::total_time(process);
    process.next_epoch();
    *process.reuse.cpu_before.lock() = now;
    process.patches.reset();
}

/// A new owner for a stub whose only thread stands still, and what empties it.
pub fn renew(process: &Arc<Process>) -> Option<(Space, Vec<HostOp>)> {
    if !is_clean(process) {
        return None;
    }
    begin_again(process);
    Some((Space::new(Arc::clone(process)), emptying(process)))
}

/// Puts a stub whose owner is gone among those that lie ready; false if that cannot be.
pub fn recycle(process: &Arc<Process>) -> bool {
    let shared = &process.shared;
    let slot = process.reuse.parked.lock().clone();
    let Some(slot) = slot.filter(|_| is_clean(process)) else { return false };
    let mut spares = shared.spares.list.lock();
    if shared.spares.is_closed.load(Ordering::SeqCst) || spares.len() >= MOST {
        return false;
    }
    begin_again(process);
    slot.channel.forget(&shared.channels);
    match space::apply(process, &emptying(process)) {
        Ok(done) => spares.push_back(Spare::Used(Arc::clone(process), done)),
        Err(_) => return false,
    }
    true
}

/// A stub that lies ready, or will soon.
enum Spare {
    /// A copy of the first one.
    Copy(Waiting<Space>),
    /// One that is being emptied.
    Used(Arc<Process>, Waiting<()>),
}

impl Spare {
    fn is_ready(&self) -> bool {
        match self {
            Self::Copy(copy) => copy.is_done(),
            Self::Used(_, emptied) => emptied.is_done(),
        }
    }
}

/// Stubs that lie ready.
#[derive(Default)]
pub struct Spares {
    list: Mutex<VecDeque<Spare>>,
    is_closed: AtomicBool,
}

impl Spares {
    /// A copy has been ordered.
    pub fn add(&self, copy: Waiting<Space>) {
        self.list.lock().push_back(Spare::Copy(copy));
    }

    fn take(&self) -> Option<Spare> {
        let mut list = self.list.lock();
        // The one in front is there first, if none is there.
        let at = list.iter().position(Spare::is_ready).unwrap_or(0);
        list.remove(at)
    }

    /// From now on there are none.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        let all = core::mem::take(&mut *self.list.lock());
        drop(all);
    }
}

/// An empty address space: one that lies ready, or else a copy of the first stub.
pub async fn fresh(template: &Arc<Process>) -> Result<Space> {
    while let Some(spare) = template.shared.spares.take() {
        match spare {
            Spare::Copy(copy) => {
                if let Ok(space) = copy.await
                    && !space.is_dead()
                {
                    return Ok(space);
                }
            }
            Spare::Used(process, emptied) => {
                let is_empty = emptied.await.is_ok();
                if is_empty && !process.is_dead() {
                    return Ok(Space::new(process));
                }
                process.give_up();
            }
        }
    }
    space::copy(template)?.await
}
