//! Which call sites of a process are rewritten, and the rewriting.
//!
//! A site is rewritten after [`OFTEN`] traps, while no other thread of the process runs: nobody executes bytes that are
//! half old, half new. (Threads that stand still go on by `rt_sigreturn`, which also makes the processor forget what it
//! has fetched.) Pages are made writable for that moment; those of files become private copies.
//! Copies of a stub have the same memory, and share the table until one changes it. Code of files that many map comes
//! rewritten already ([`adopt`]).
//!
//! Costs: a trap of a site that is not rewritten: an uncontended lock. Rewriting: two orders, two `process_vm_readv` and
//! `process_vm_writev`; the guest's page and one to two pages of trampolines become its own.
//!
//! Locks: `table` is held while bytes are written, `counts` is innermost.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chitin_abi::{Regs, Result};
use chitin_mm::platform::Event;
use chitin_mm::{HostOp, HostProt};
use parking_lot::{Mutex, RwLock};

use crate::code::{Copied, Copy, FileCode};
use crate::layout::{self, trampoline};
use crate::patch::{self, Site};
use crate::process::{Process, Slot};
use crate::raw::text;
use crate::thread::RUNNING;
use crate::{reuse, space};

/// Traps of one site before it is rewritten: the rewriting costs as much as some ten traps.
const OFTEN: u64 = 16;
/// Areas of one process.
const AREAS: usize = 16;
/// Trampolines of one process.
const SITES: usize = 4096;
/// Sites whose traps are counted at a time.
const COUNTS: usize = 256;
/// Mappings of files' code in which traps are counted for the file.
const TEXTS: usize = 32;

/// Room for trampolines.
#[derive(Clone)]
pub struct Area {
    /// Its first byte.
    pub start: u64,
    used: [u64; (trampoline::AREA_LEN / trampoline::LEN / 64) as usize],
}

impl Area {
    /// One without trampolines.
    pub fn new(start: u64) -> Self {
        let mut used = [0; (trampoline::AREA_LEN / trampoline::LEN / 64) as usize];
        used[0] = !0; // the first page
        Self { start, used }
    }

    /// The same somewhere else.
    pub fn moved(&self, start: u64) -> Self {
        Self { start, used: self.used }
    }

    fn holds(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < trampoline::AREA_LEN
    }

    /// A free trampoline for a site, and the jump there.
    pub fn place(&self, site: &Site) -> Option<(u64, [u8; 5])> {
        let slots = self.used.iter().enumerate().flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 0).map(move |bit| at as u64 * 64 + bit)
        });
        slots
            .map(|slot| self.start + slot * trampoline::LEN)
            .find_map(|address| site.jump(address).map(|jump| (address, jump)))
    }

    /// The trampoline at this address is used.
    pub fn take(&mut self, address: u64) {
        let slot = (address - self.start) / trampoline::LEN;
        if let Some(word) = self.used.get_mut(slot as usize / 64) {
            *word |= 1 << (slot % 64);
        }
    }
}

/// The rewritten sites.
#[derive(Clone, Default)]
pub struct Table {
    areas: Vec<Area>,
    /// By the trampoline's address.
    sites: HashMap<u64, Site>,
    /// Trampolines of sites whose following instruction has moved, by that one's address.
    moved: BTreeMap<u64, u64>,
    /// Where code of files is mapped.
    texts: Vec<Text>,
}

/// A mapping of a file's code.
#[derive(Clone)]
struct Text {
    start: u64,
    len: u64,
    code: Arc<FileCode>,
    /// What is mapped there in its place, for as long as nothing else is.
    copy: Option<Arc<Copy>>,
}

impl Text {
    /// The offset in it of an address.
    fn offset(&self, address: u64) -> Option<u64> {
        Some(address.wrapping_sub(self.start)).filter(|offset| *offset < self.len)
    }
}

impl Table {
    fn add(&mut self, site: Site, trampoline: u64) {
        if site.moved() > 0 {
            self.moved.insert(site.rip, trampoline);
        }
        self.sites.insert(trampoline, site);
    }

    /// Whether an operation changes code whose site has taken an instruction along.
    fn may_move(&self, op: &HostOp) -> bool {
        let (addr, len) = match *op {
            HostOp::MapAnonymous { addr, len, .. }
            | HostOp::MapFile { addr, len, .. }
            | HostOp::Unmap { addr, len }
            | HostOp::Protect { addr, len, .. } => (addr, len),
            // Whichever is gone or comes: it may be any.
            HostOp::Remap { .. } => (0, u64::MAX),
            HostOp::Advise { .. } | HostOp::Sync { .. } => return false,
        };
        let end = addr.saturating_add(len).saturating_add(2);
        self.moved.range(addr..end).next().is_some()
    }

    /// A file's code is mapped where others may have been.
    fn add_text(&mut self, text: Text) {
        let end = text.start.saturating_add(text.len);
        self.texts
            .retain(|old| old.start >= end || old.start.saturating_add(old.len) <= text.start);
        if self.texts.len() < TEXTS {
            self.texts.push(text);
        }
    }
}

/// See the module.
#[derive(Default)]
pub struct Patches {
    table: RwLock<Arc<Table>>,
    /// Whether there are any.
    exist: AtomicBool,
    /// The fast way is closed for good.
    is_off: AtomicBool,
    /// Bytes are being written: nobody may begin to run.
    is_writing: AtomicBool,
    /// Somebody is about to.
    is_busy: AtomicBool,
    /// Copies of the stub under way.
    pub forks: AtomicUsize,
    /// Site and traps so far, in the lowest byte.
    counts: Mutex<Option<Box<[u64; COUNTS]>>>,
}

impl Patches {
    /// Those of a copy.
    pub fn copied(table: Arc<Table>, is_off: bool) -> Self {
        let exist = !table.sites.is_empty();
        Self {
            table: RwLock::new(table),
            exist: exist.into(),
            is_off: is_off.into(),
            ..Self::default()
        }
    }

    /// The stub is used again, with other code.
    pub fn reset(&self) {
        *self.table.write() = Arc::default();
        self.exist.store(false, Ordering::SeqCst);
        self.is_off.store(false, Ordering::SeqCst);
        *self.counts.lock() = None;
    }

    /// What a copy of the stub begins with. Nothing is rewritten until `forks` is counted down.
    pub fn for_copy(&self) -> (Arc<Table>, bool) {
        let table = self.table.write();
        self.forks.fetch_add(1, Ordering::SeqCst);
        (Arc::clone(&table), self.is_off())
    }

    /// Whether the fast way is closed.
    pub fn is_off(&self) -> bool {
        self.is_off.load(Ordering::SeqCst)
    }

    /// Waits until nobody writes. Called by who has said that a thread runs.
    pub fn wait(&self) {
        while self.is_writing.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
    }

    /// Counts a trap of the call in front of `rip`; says whether it is time to rewrite it.
    pub fn is_hot(&self, rip: u64, number: u64) -> bool {
        for text in &self.table.read().texts {
            text.offset(rip).inspect(|offset| text.code.note(*offset, number));
        }
        let mut counts = self.counts.lock();
        let counts = counts.get_or_insert_with(|| Box::new([0; COUNTS]));
        let Some(entry) = counts.get_mut((rip ^ rip >> 8) as usize % COUNTS) else { return false };
        if *entry >> 8 != rip {
            *entry = rip << 8;
        }
        let count = *entry & 0xff;
        // A site that cannot be rewritten is asked for three times at most, one whose moment was bad too.
        if count < 3 * OFTEN + 1 {
            *entry += 1;
        }
        count > 0 && count < 3 * OFTEN + 1 && count % OFTEN == 0
    }

    /// Whether an area is in reach of a site.
    pub fn has_area(&self, rip: u64) -> bool {
        let table = self.table.read();
        let near = |area: &Area| area.start.abs_diff(rip) < (2 << 30) - (16 << 20);
        table.areas.iter().any(near) || table.areas.len() >= AREAS
    }

    /// Where a guest is that stopped in a trampoline; and what happened, as it knows it.
    pub fn translate(&self, event: Event, regs: &mut Regs) -> Event {
        if !self.exist.load(Ordering::SeqCst) {
            return event;
        }
        let table = self.table.read();
        if !table.areas.iter().any(|area| area.holds(regs.rip)) {
            return event;
        }
        let start = regs.rip & !(trampoline::LEN - 1);
        let Some(site) = table.sites.get(&start) else { return event };
        let offset = regs.rip - start;
        regs.rip = site.seen_from(offset);
        if offset == trampoline::CONT {
            regs.rcx = site.rip;
        }
        event
    }

    /// Whether a `cpuid` stands there as far as the guest knows.
    pub fn is_cpuid(&self, rip: u64) -> bool {
        let is_there = self.exist.load(Ordering::SeqCst);
        let in_text = |text: &Text| {
            let copy = text.copy.as_ref();
            copy.zip(text.offset(rip)).is_some_and(|(copy, offset)| copy.is_cpuid(offset))
        };
        is_there && self.table.read().texts.iter().any(in_text)
    }

    /// Whether this is the way from a site to the stub: a guest that single-steps is not to see it.
    pub fn is_way_in(&self, rip: u64) -> bool {
        let is_there = self.exist.load(Ordering::SeqCst);
        let start = rip & !(trampoline::LEN - 1);
        is_there && rip - start < trampoline::RIP && self.table.read().sites.contains_key(&start)
    }

    /// The address behind the call whose trampoline goes on at `cont`.
    pub fn rip_of(&self, cont: u64) -> Option<u64> {
        let table = self.table.read();
        table.sites.get(&cont.checked_sub(trampoline::CONT)?).map(|site| site.rip)
    }

    /// Where the instruction at `rip` is, if it has moved.
    pub fn moved(&self, process: &Process, rip: u64) -> Option<u64> {
        if !self.exist.load(Ordering::SeqCst) {
            return None;
        }
        let table = self.table.read();
        let start = *table.moved.get(&rip)?;
        let site = table.sites.get(&start)?;
        let mut found = [0; 5];
        let is_there =
            space::read(process, site.start, &mut found) == 5 && Some(found) == site.jump(start);
        is_there.then(|| patch::landing(start))
    }
}

/// The code at `start` is a file's.
pub fn note_text(process: &Process, start: u64, len: u64, code: Arc<FileCode>) {
    let mut table = process.patches.table.write();
    Arc::make_mut(&mut table).add_text(Text { start, len, code, copy: None });
}

/// Whether there is room for one more copy.
pub fn has_room(process: &Process, sites: usize) -> bool {
    let table = process.patches.table.read();
    table.areas.len() < AREAS && table.sites.len().saturating_add(sites) <= SITES
}

/// A copy of a file's code has been mapped, and nobody runs it yet.
pub fn adopt(process: &Process, copied: Copied) {
    let patches = &process.patches;
    let mut table = patches.table.write();
    let trap = text::trap().to_le_bytes();
    let entry = copied.area.start + trampoline::ENTRY;
    if patches.is_off() && write(process, entry, &trap).is_none() {
        process.kill();
        return;
    }
    let table = Arc::make_mut(&mut table);
    let stale = |address: &u64| !copied.area.holds(*address);
    table.areas.retain(|area| stale(&area.start));
    table.sites.retain(|address, _| stale(address));
    table.moved.retain(|_, address| stale(address));
    table.areas.push(copied.area);
    let text = table.texts.iter_mut().find(|text| text.start == copied.code);
    if let Some(text) = text {
        text.copy = Some(copied.copy);
    }
    copied.sites.into_iter().for_each(|(address, site)| table.add(site, address));
    patches.exist.store(true, Ordering::SeqCst);
}

/// Called before memory changes.
pub fn note(process: &Process, ops: &[HostOp]) {
    ops.iter().for_each(|op| note_range(process, op));
    let patches = &process.patches;
    if !patches.exist.load(Ordering::SeqCst) {
        return;
    }
    let is_gone = |text: &Text| ops.iter().any(|op| unmaps(op, text));
    if patches.table.read().texts.iter().any(is_gone) {
        Arc::make_mut(&mut patches.table.write()).texts.retain(|text| !is_gone(text));
    }
    // Threads that stand still at a site that may change look again where they go on.
    let table = patches.table.read();
    if ops.iter().any(|op| table.may_move(op)) {
        process.slots().iter().for_each(|slot| slot.has_old_code.store(true, Ordering::SeqCst));
    }
}

fn unmaps(op: &HostOp, text: &Text) -> bool {
    matches!(*op, HostOp::Unmap { addr, len }
        if addr < text.start.saturating_add(text.len) && text.start < addr.saturating_add(len))
}

fn note_range(process: &Process, op: &HostOp) {
    let ranges = match *op {
        HostOp::MapAnonymous { addr, len, .. }
        | HostOp::MapFile { addr, len, .. }
        | HostOp::Unmap { addr, len }
        | HostOp::Protect { addr, len, .. }
        | HostOp::Advise { addr, len, .. }
        | HostOp::Sync { addr, len, .. } => [(addr, len), (addr, len)],
        HostOp::Remap { old_addr, old_len, new_addr, new_len, .. } => {
            [(old_addr, old_len), (new_addr, new_len)]
        }
    };
    ranges.into_iter().for_each(|(addr, len)| reuse::note_range(process, addr, len));
}

fn write(process: &Process, address: u64, bytes: &[u8]) -> Option<()> {
    (space::write(process, address, bytes) == bytes.len()).then_some(())
}

/// Closes the fast way: all calls trap from now on.
pub fn close(process: &Process) {
    let patches = &process.patches;
    if patches.is_off.swap(true, Ordering::SeqCst) {
        return;
    }
    let table = patches.table.write();
    let trap = text::trap().to_le_bytes();
    let mut areas = table.areas.iter();
    let done = areas.try_for_each(|area| write(process, area.start + trampoline::ENTRY, &trap));
    if done.is_none() {
        process.kill();
    }
}

/// Whole pages around a range, with these rights.
fn protect(start: u64, len: u64, prot: HostProt) -> HostOp {
    let addr = start & !(layout::PAGE - 1);
    let end = (start + len).next_multiple_of(layout::PAGE);
    HostOp::Protect { addr, len: end - addr, prot }
}

const WRITE: HostProt = HostProt { read: true, write: true, exec: false };
const BOTH: HostProt = HostProt { read: true, write: true, exec: true };
const RUN: HostProt = HostProt { read: true, write: false, exec: true };

/// Rewrites the call in front of `regs.rip`, if that can be done now: `slot` is the place of the thread that made it,
/// which stands still. `area`: room for more trampolines.
pub async fn rewrite(
    process: Arc<Process>,
    slot: Arc<Slot>,
    regs: Regs,
    area: Option<u64>,
) -> Result<()> {
    let patches = &process.patches;
    if patches.is_off() || patches.is_busy.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let result = rewrite_alone(&process, &slot, &regs, area).await;
    patches.is_busy.store(false, Ordering::SeqCst);
    result
}

async fn rewrite_alone(
    process: &Arc<Process>,
    slot: &Slot,
    regs: &Regs,
    area: Option<u64>,
) -> Result<()> {
    if let Some(start) = area {
        space::apply(process, &[protect(start, layout::PAGE, WRITE)])?.await?;
        if write(process, start + trampoline::ENTRY, &text::fast().to_le_bytes()).is_some() {
            let mut table = process.patches.table.write();
            let table = Arc::make_mut(&mut table);
            if table.areas.len() < AREAS {
                table.areas.push(Area::new(start));
            }
        }
    }
    let Some(plan) = plan(process, regs) else { return Ok(()) };
    let places = [(plan.address, trampoline::LEN), (plan.site.start, plan.jump.len() as u64)];
    space::apply(process, &places.map(|(start, len)| protect(start, len, BOTH)))?.await?;
    write_alone(process, slot, &plan);
    space::apply(process, &places.map(|(start, len)| protect(start, len, RUN)))?.await
}

/// What is to be written.
struct Rewriting {
    site: Site,
    address: u64,
    code: patch::Code,
    jump: [u8; 5],
}

fn plan(process: &Process, regs: &Regs) -> Option<Rewriting> {
    let rip = regs.rip;
    let (mut before, mut after) = ([0; 8], [0; 16]);
    let before_len = space::read(process, rip.checked_sub(8)?, &mut before);
    let after_len = space::read(process, rip, &mut after);
    let mut table = process.patches.table.write();
    if before_len < before.len() || table.sites.len() >= SITES {
        return None;
    }
    let site = patch::recognise(rip, &before, after.get(..after_len)?, regs.rax)?;
    let table = Arc::make_mut(&mut table);
    let mut areas = table.areas.iter_mut();
    let (area, (address, jump)) =
        areas.find_map(|area| area.place(&site).map(|place| (area, place)))?;
    let code = site.trampoline(area.start, address)?;
    area.take(address);
    Some(Rewriting { site, address, code, jump })
}

/// Writes, while nobody else runs.
fn write_alone(process: &Process, slot: &Slot, plan: &Rewriting) {
    let patches = &process.patches;
    let slots = process.slots();
    let others = || slots.iter().filter(|other| other.place != slot.place);
    patches.is_writing.store(true, Ordering::SeqCst);
    let is_alone = others().all(|other| other.state.load(Ordering::SeqCst) & RUNNING == 0);
    let mut table = patches.table.write();
    if is_alone
        && patches.forks.load(Ordering::SeqCst) == 0
        && write(process, plan.address, &plan.code).is_some()
    {
        let table = Arc::make_mut(&mut table);
        table.sites.insert(plan.address, plan.site);
        patches.exist.store(true, Ordering::SeqCst);
        others().for_each(|other| other.has_old_code.store(true, Ordering::SeqCst));
        if write(process, plan.site.start, &plan.jump).is_none() {
            process.kill(); // who knows how much of it is there
        } else if plan.site.moved() > 0 {
            table.moved.insert(plan.site.rip, plan.address);
        }
    }
    drop(table);
    patches.is_writing.store(false, Ordering::SeqCst);
}
