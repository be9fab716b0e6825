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
//! - *Whose.* That its thread stands still in the stub's code is known from memory that the guest can write. A hostile one
//!   may wait elsewhere, and take the next program over when that is there. So the kernel above says who may use what
//!   others leave ([`Domain`]): those between whom that makes no difference.
//! - *Threads.* Only stubs that never had a second guest thread are kept, and that the host says have none.
//! - *Memory.* All of guest memory is unmapped but the vDSO, which the kernel above must never have been asked to touch
//!   ([`note_range`]). What the guest can write besides is its channel, which is cleared, and the reply page, which nobody
//!   believes. A hostile guest may have put a vDSO of its own there by the stub's own calls, unseen: that is one more way to
//!   wait for the next program, and goes no further than the domain.
//! - *The thread.* Registers, extended state, signal mask and alternate stack come from the new frame; segment bases are
//!   loaded anew. A guest can change nothing else of its thread: its filter lets it make no such call.
//! - *The sentry's side.* An address space is a handle with a number ([`Reuse::epoch`]); one whose number is past reads and
//!   writes nothing, whoever still holds it.
//!
//! Costs: one list of two `munmap`, one `statx`, when a process ends the reading of its `stat`; a stub that lies ready holds some 70 KiB of the host's memory. Two of a domain
//! do, more once more were needed at a time, [`MOST`] at most.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use chitin_abi::Result;
use chitin_mm::HostOp;
use chitin_mm::platform::Domain;
use parking_lot::Mutex;
use rustix::fs::AtFlags;

use crate::layout;
use crate::process::{Process, Slot};
use crate::space::{self, Space};
use crate::ticket::Waiting;
use crate::usage;

/// As many stubs lie ready at most.
const MOST: usize = 8;
/// As many lie ready for one domain, until more were needed at a time.
const FEW: usize = 2;

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
    /// Page faults of the processes before.
    pub faults_before: Mutex<(u64, u64)>,
    /// `/proc/PID/statm`.
    pub statm: OnceLock<Option<OwnedFd>>,
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

/// Whether the host knows of no thread but the warden and one more.
fn has_one_thread(process: &Process) -> bool {
    let Some(proc) = process.shared.proc.as_ref() else { return false };
    // The links of this directory are two and one for each thread.
    let links = |pid: i32| {
        let stat = rustix::fs::statat(proc, format!("{pid}/task"), AtFlags::empty());
        stat.map(|stat| stat.st_nlink)
    };
    process.with_pid(links).is_ok_and(|links| links == Ok(4))
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
    let time = usage::total_time(process);
    process.next_epoch();
    *process.reuse.cpu_before.lock() = time;
    process.patches.reset();
    process.forget_waiters();
}

/// A new owner for a stub whose only thread stands still, and what empties it.
pub fn renew(process: &Arc<Process>) -> Option<(Space, Vec<HostOp>)> {
    if !is_clean(process) || !has_one_thread(process) {
        return None;
    }
    begin_again(process);
    Some((Space::new(Arc::clone(process)), emptying(process)))
}

/// Puts a stub whose owner is gone among those that lie ready; false if that cannot be.
pub fn recycle(process: &Arc<Process>, domain: &Domain) -> bool {
    let shared = &process.shared;
    if !shared.spares.has_room(domain) {
        return false;
    }
    let slot = process.reuse.parked.lock().clone();
    let Some(slot) = slot.filter(|_| is_clean(process) && has_one_thread(process)) else {
        return false;
    };
    begin_again(process);
    // Unlike execve, which keeps the count.
    *process.reuse.faults_before.lock() = usage::total_faults(process);
    slot.channel.forget(&shared.channels);
    let Ok(emptied) = space::apply(process, &emptying(process)) else { return false };
    let used = Used { process: Arc::clone(process), emptied, domain: Arc::clone(domain) };
    shared.spares.put(used);
    true
}

/// A stub that lies ready, or will soon.
enum Spare {
    /// A copy of the first one.
    Copy(Waiting<Space>),
    /// One that is being emptied.
    Used(Used),
}

struct Used {
    process: Arc<Process>,
    emptied: Waiting<()>,
    domain: Domain,
}

impl Spare {
    fn is_ready(&self) -> bool {
        match self {
            Self::Copy(copy) => copy.is_done(),
            Self::Used(used) => used.emptied.is_done(),
        }
    }

    fn is_for(&self, domain: Option<&Domain>) -> bool {
        match self {
            Self::Copy(_) => true,
            Self::Used(used) => domain == Some(&used.domain),
        }
    }
}

/// Stubs that lie ready.
pub struct Spares {
    list: Mutex<VecDeque<Spare>>,
    /// How many of one domain are wanted: one more for each time that there was none.
    wanted: AtomicUsize,
    is_closed: AtomicBool,
}

impl Default for Spares {
    fn default() -> Self {
        Self { list: Mutex::default(), wanted: FEW.into(), is_closed: false.into() }
    }
}

impl Spares {
    /// Whether one more of this domain would be of use.
    fn has_room(&self, domain: &Domain) -> bool {
        let list = self.list.lock();
        let ready = list.iter().filter(|spare| spare.is_for(Some(domain))).count();
        !self.is_closed.load(Ordering::SeqCst) && ready < self.wanted.load(Ordering::Relaxed)
    }

    /// There was none.
    fn note_lack(&self) {
        let more = |wanted: usize| (wanted < MOST).then_some(wanted + 1);
        let _ = self.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// A copy has been ordered.
    pub fn add(&self, copy: Waiting<Space>) {
        self.list.lock().push_back(Spare::Copy(copy));
    }

    /// One more; where there are too many, the oldest goes.
    fn put(&self, used: Used) {
        let mut list = self.list.lock();
        let surplus = if list.len() < MOST { None } else { list.pop_front() };
        list.push_back(Spare::Used(used));
        drop(list);
        if let Some(Spare::Used(used)) = surplus {
            used.process.give_up();
        }
    }

    fn take(&self, domain: Option<&Domain>) -> Option<Spare> {
        let mut list = self.list.lock();
        let fits = |spare: &Spare| spare.is_for(domain);
        // The one in front is there first, if none is there.
        let ready = list.iter().position(|spare| fits(spare) && spare.is_ready());
        let at = ready.or_else(|| list.iter().position(fits))?;
        list.remove(at)
    }

    /// From now on there are none.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        let all = core::mem::take(&mut *self.list.lock());
        drop(all);
    }
}

/// An empty address space: one that lies ready for this domain, or else a copy of the first stub.
pub async fn fresh(template: &Arc<Process>, domain: Option<&Domain>) -> Result<Space> {
    while let Some(spare) = template.shared.spares.take(domain) {
        match spare {
            Spare::Copy(copy) => {
                if let Ok(space) = copy.await
                    && !space.is_dead()
                {
                    return Ok(space);
                }
            }
            Spare::Used(Used { process, emptied, .. }) => {
                let is_empty = emptied.await.is_ok();
                if is_empty && !process.is_dead() {
                    return Ok(Space::new(process));
                }
                process.give_up();
            }
        }
    }
    if domain.is_some() {
        template.shared.spares.note_lack();
    }
    space::copy(template)?.await
}
