//! Code of files, rewritten once for all who map it.
//!
//! A program that is started over and over traps anew in each process: its own rewritten pages go with it. So traps are
//! also counted by file. What is known of a file's call sites is put into a *copy* ([`copy`]) of its code: a memory file with the
//! rewritten code and, in front, the trampolines. Whoever maps the file next gets the copy in its place, and the trampolines at
//! the distance from it that the copy was made for; neither says where it lies, so that all share the pages.
//!
//! What a copy is made of is the file's, not what a guest shows: a guest that runs a file is only believed that it has trapped
//! somewhere. Whether a call stands there is read from the file ([`sweep`]), which is known by its inode, size and time of change,
//! and is not copied while that time is so near that a later change would not show. Stores through shared mappings need not
//! change that time: what a guest has ever mapped so ([`Written`]) is mapped as it is.
//!
//! Costs: a mapping of code, and a shared one that can be written, one `fstat`; a trap of a site that is not rewritten a lock and a look into a small table; a copy as
//! much as a `read` of the code, where it is mapped, at longer and longer intervals. Bounds: [`FILES`], [`WRITTEN`], [`MOST_CODE`], [`MOST_COPIED`], and for each
//! file [`COUNTS`] sites and [`COPIES`] copies.
//!
//! Locks: `files` and `written` are leaves; so is a file's `state`, which is held while a copy is made, and taken below a process's table of
//! rewritten sites.

mod copy;
pub mod functions;
mod sweep;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chitin_mm::HostOp;
use chitin_mm::platform::KnownCode;
use parking_lot::Mutex;

pub use copy::{Copied, Copy};

use crate::layout::{self, trampoline};
use crate::patch::Shape;
use crate::patches;
use crate::process::Process;

/// Files whose code is known at a time.
const FILES: usize = 128;
/// Bytes of code that are copied.
const MOST_CODE: u64 = 8 << 20;
/// Bytes of all copies.
const MOST_COPIED: u64 = 32 << 20;
/// Files that are known to be written through mappings.
const WRITTEN: usize = 4096;
/// Sites of a file whose traps are counted.
const COUNTS: usize = 512;
/// Copies of a file, for different distances.
const COPIES: usize = 3;
/// Traps of a site, in whichever processes, before it is thought of.
const OFTEN: u8 = 3;
/// Seconds after which a change of a file has another time than the last one.
const SETTLED: i64 = 2;
/// Copies are made anew no more often than with each so many mappings, and twice as many after each time.
const PATIENCE: u32 = 2;

/// A part of a file, as it is at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    changed: (i64, u64),
    offset: u64,
    len: u64,
}

impl Identity {
    /// That of this part, now; `None` for what is no file or is shorter.
    pub fn of(file: &OwnedFd, offset: u64, len: u64) -> Option<Self> {
        let stat = rustix::fs::fstat(file).ok()?;
        let is_file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        let end = offset.checked_add(len)?;
        let pages = u64::try_from(stat.st_size).ok()?.next_multiple_of(layout::PAGE);
        (is_file && end <= pages).then_some(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            offset,
            len,
        })
    }

    fn is_settled(&self) -> bool {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        now.saturating_sub(self.changed.0) > SETTLED
    }
}

/// Puts copies in the place of code that is known, with what is to be adopted once they are mapped.
pub fn resolve(process: &Process, ops: Vec<HostOp>) -> (Vec<HostOp>, Vec<Copied>) {
    for op in &ops {
        if let HostOp::MapFile { shared: true, writable: true, file, .. } = op {
            process.shared.codes.written.lock().note(file);
        }
    }
    let is_known = |op: &HostOp| matches!(op, HostOp::MapFile { code: Some(_), .. });
    if !ops.iter().any(is_known) {
        return (ops, Vec::new());
    }
    let (mut resolved, mut adopted) = (Vec::with_capacity(ops.len() + 4), Vec::new());
    for op in ops {
        match copy_for(process, &op) {
            Some((copy, start, mappings)) => {
                resolved.extend(mappings);
                adopted.push(copy.at(start));
            }
            None => resolved.push(op),
        }
    }
    (resolved, adopted)
}

/// The copy for a mapping of code, if there is one, and what maps it.
fn copy_for(process: &Process, op: &HostOp) -> Option<(Arc<Copy>, u64, [HostOp; 3])> {
    let HostOp::MapFile { addr, len, file, offset, code: Some(code), .. } = op else { return None };
    let codes = &process.shared.codes;
    let known = codes.find(code.number).filter(|known| known.is(*offset, *len))?;
    patches::note_text(process, *addr, *len, Arc::clone(&known));
    let distance = code.room?.wrapping_sub(*addr).cast_signed();
    let copy = codes.copy(&known, file, distance)?;
    let mappings = copy.mappings(*addr)?;
    patches::has_room(process, copy.sites()).then_some((copy, *addr, mappings))
}

/// What is known of the code in a part of a file.
pub struct FileCode {
    number: u64,
    identity: Identity,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Traps, and the call's number at the last of them, by the offset of the address behind the call.
    counts: HashMap<u64, (u8, u32)>,
    /// What stands where calls are, by the same.
    sites: BTreeMap<u64, Shape>,
    copies: VecDeque<Arc<Copy>>,
    /// Mappings since the sites were last looked for.
    mappings: u32,
    /// How often they were.
    rounds: u32,
}

/// Count of a site that is dealt with, one way or the other.
const DONE: u8 = u8::MAX;

impl FileCode {
    fn is(&self, offset: u64, len: u64) -> bool {
        (self.identity.offset, self.identity.len) == (offset, len)
    }

    /// The call that ends at this offset has trapped.
    pub fn note(&self, offset: u64, number: u64) {
        let Ok(number) = u32::try_from(number) else { return };
        let mut state = self.state.lock();
        if state.counts.len() >= COUNTS && !state.counts.contains_key(&offset) {
            return;
        }
        let entry = state.counts.entry(offset).or_default();
        if entry.0 < OFTEN {
            *entry = (entry.0 + 1, number);
        }
    }

    /// What is said to who maps it; looks for sites first, if it is time to.
    fn known(&self, file: &OwnedFd) -> KnownCode {
        let mut state = self.state.lock();
        state.mappings = state.mappings.saturating_add(1);
        let is_time = state.mappings >= PATIENCE << state.rounds.min(8);
        let has_more = || state.counts.values().any(|(count, _)| *count == OFTEN);
        if is_time && has_more() && self.identity.is_settled() {
            (state.mappings, state.rounds) = (0, state.rounds.saturating_add(1));
            if self.look(&mut state, file) {
                state.copies.clear();
            }
        }
        KnownCode {
            number: self.number,
            room: if state.sites.is_empty() { 0 } else { trampoline::AREA_LEN },
            distances: state.copies.iter().map(|copy| copy.distance).collect(),
        }
    }

    /// Looks at the sites that trap often; says whether there are new ones.
    fn look(&self, state: &mut State, file: &OwnedFd) -> bool {
        let mut found = false;
        for (offset, (count, number)) in &mut state.counts {
            if *count != OFTEN {
                continue;
            }
            *count = DONE;
            if let Some(shape) = sweep::site(file, &self.identity, *offset, *number) {
                found |= state.sites.insert(*offset, shape).is_none();
            }
        }
        found
    }

    /// The copy for this distance. `None` where it cannot be made: the file has changed, or has no room for it.
    fn copy(&self, file: &OwnedFd, distance: i64, copied: &Arc<AtomicU64>) -> Option<Arc<Copy>> {
        let mut state = self.state.lock();
        if let Some(copy) = state.copies.iter().find(|copy| copy.distance == distance) {
            return Some(Arc::clone(copy));
        }
        if copied.load(Ordering::Relaxed).saturating_add(copy::size(&self.identity)) > MOST_COPIED {
            return None;
        }
        let is_same = || Identity::of(file, self.identity.offset, self.identity.len);
        let copy = Copy::new(file, &self.identity, distance, &state.sites, copied)?;
        // What was read is what was known, for its time of change was long ago and still is the same.
        is_same().filter(|identity| *identity == self.identity)?;
        let copy = Arc::new(copy);
        if state.copies.len() >= COPIES {
            state.copies.pop_back();
        }
        state.copies.push_front(Arc::clone(&copy));
        Some(copy)
    }
}

/// Files that guests may store to through mappings, or have.
#[derive(Default)]
struct Written {
    /// Devices and inodes.
    files: HashSet<(u64, u64)>,
    /// There were too many: it may be any.
    is_full: bool,
}

impl Written {
    fn note(&mut self, file: &OwnedFd) {
        match rustix::fs::fstat(file) {
            Ok(stat) if self.files.len() < WRITTEN => {
                self.files.insert((stat.st_dev, stat.st_ino));
            }
            _ => self.is_full = true,
        }
    }

    fn has(&self, identity: &Identity) -> bool {
        self.is_full || self.files.contains(&(identity.device, identity.inode))
    }
}

/// The code of all files.
#[derive(Default)]
pub struct Codes {
    written: Mutex<Written>,
    files: Mutex<Files>,
    /// Bytes of copies that somebody holds.
    copied: Arc<AtomicU64>,
}

#[derive(Default)]
struct Files {
    next: u64,
    all: HashMap<u64, Arc<FileCode>>,
    numbers: HashMap<Identity, u64>,
    /// The longest known first.
    order: VecDeque<u64>,
}

impl Files {
    fn find(&mut self, identity: Identity) -> Arc<FileCode> {
        if let Some(known) = self.numbers.get(&identity).and_then(|number| self.all.get(number)) {
            return Arc::clone(known);
        }
        while self.order.len() >= FILES {
            let oldest = self.order.pop_front().and_then(|number| self.all.remove(&number));
            if let Some(code) = oldest {
                self.numbers.remove(&code.identity);
            }
        }
        self.next += 1;
        let code = Arc::new(FileCode { number: self.next, identity, state: Mutex::default() });
        self.all.insert(self.next, Arc::clone(&code));
        self.numbers.insert(identity, self.next);
        self.order.push_back(self.next);
        code
    }
}

impl Codes {
    /// What is said to who is about to map a part of a file.
    pub fn known(&self, file: &OwnedFd, offset: u64, len: u64) -> Option<KnownCode> {
        if len == 0 || len > MOST_CODE {
            return None;
        }
        let identity = Identity::of(file, offset, len)?;
        if self.written.lock().has(&identity) {
            return None;
        }
        let code = self.files.lock().find(identity);
        Some(code.known(file))
    }

    /// What is known under this number.
    pub fn find(&self, number: u64) -> Option<Arc<FileCode>> {
        self.files.lock().all.get(&number).cloned()
    }

    /// A copy of this code for who maps it, if there can be one.
    pub fn copy(&self, code: &FileCode, file: &OwnedFd, distance: i64) -> Option<Arc<Copy>> {
        code.copy(file, distance, &self.copied)
    }
}
