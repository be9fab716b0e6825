//! Lists of operations for a warden.
//!
//! An order is a list of host calls with all their arguments. What it means (a batch of memory operations, a new
//! thread, a copy of the stub) is known to the sentry only; see `raw::text` for how it is carried out.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use chitin_mm::{HostOp, HostProt};

use smallvec::SmallVec;

use crate::filter::{CARRIED_ADVICE, clone};
use crate::frame::Channel;
use crate::layout::{self, Descriptors, channel, op, order};
use crate::shared::Shared;

/// One host call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Op {
    /// Its number.
    pub number: u32,
    /// See [`layout::op`].
    pub flags: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// The result that is expected, or where a child goes on.
    pub expected: u64,
}

impl Op {
    /// A plain call.
    pub fn new(number: i64, arguments: &[u64]) -> Self {
        let mut full = [0; 6];
        for (to, from) in full.iter_mut().zip(arguments) {
            *to = *from;
        }
        Self { number: number as u32, arguments: full, ..Self::default() }
    }

    /// With these flags too.
    pub fn with(mut self, flags: u32) -> Self {
        self.flags |= flags;
        self
    }

    /// With this expectation.
    pub fn expecting(mut self, expected: u64) -> Self {
        self.expected = expected;
        self
    }

    /// As the warden reads it.
    pub fn words(&self) -> [u64; 8] {
        let [a, b, c, d, e, f] = self.arguments;
        [u64::from(self.number) | u64::from(self.flags) << 32, a, b, c, d, e, f, self.expected]
    }
}

/// A list and the descriptors that go with it.
#[derive(Default)]
pub struct List {
    /// The calls, at most [`order::COUNT`].
    pub ops: Vec<Op>,
    /// What is sent before; received under numbers from [`Descriptors::first_file`].
    pub files: Vec<Arc<OwnedFd>>,
}

/// Marks the end of a list.
pub fn end(mut ops: Vec<Op>) -> Vec<Op> {
    if let Some(last) = ops.last_mut() {
        last.flags |= op::LAST;
    }
    ops
}

fn receive(descriptors: Descriptors) -> Op {
    let message = layout::REPLY + layout::reply::MESSAGE;
    // Never waits: the message was sent before the list was.
    let flags = libc::MSG_DONTWAIT as u64;
    Op::new(libc::SYS_recvmsg, &[descriptors.socket().into(), message, flags])
}

fn close(fd: u32) -> Op {
    Op::new(libc::SYS_close, &[fd.into()]).with(op::ALWAYS | op::IGNORE)
}

fn bits(prot: HostProt) -> u64 {
    let mut bits = libc::PROT_NONE;
    if prot.exec {
        bits |= libc::PROT_EXEC | libc::PROT_READ;
    }
    if prot.write {
        bits |= libc::PROT_WRITE | libc::PROT_READ;
    }
    if prot.read {
        bits |= libc::PROT_READ;
    }
    bits as u64
}

/// Whole pages that a guest may map.
fn checked(addr: u64, len: u64) -> Result<()> {
    let end = addr.checked_add(len).ok_or(Errno::EINVAL)?;
    let is_aligned = addr.is_multiple_of(layout::PAGE) && len.is_multiple_of(layout::PAGE);
    let is_inside = addr >= layout::MIN_ADDRESS && end <= layout::MAX_ADDRESS;
    if is_aligned && is_inside { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The lists of a batch, in order.
///
/// # Errors
/// EINVAL for an operation outside guest memory, EACCES for a file that cannot be had for reading only; nothing of the
/// batch is done then.
pub fn batch(ops: &[HostOp], shared: &Shared) -> Result<Vec<List>> {
    let descriptors = shared.descriptors;
    let mut lists = Vec::new();
    let mut list = List::default();
    for host_op in ops {
        // A file may need a call to receive and one to close.
        if list.ops.len() + list.files.len() + 4 > order::COUNT as usize {
            lists.push(seal(core::mem::take(&mut list), descriptors));
        }
        let encoded = encode(host_op, &mut list.files, shared)?;
        list.ops.push(encoded);
    }
    if !list.ops.is_empty() {
        lists.push(seal(list, descriptors));
    }
    Ok(lists)
}

fn seal(list: List, descriptors: Descriptors) -> List {
    if list.files.is_empty() {
        return List { ops: end(list.ops), files: list.files };
    }
    let mut ops = vec![receive(descriptors)];
    ops.extend(list.ops);
    let first = descriptors.first_file();
    ops.extend((first..).take(list.files.len()).map(close));
    List { ops: end(ops), files: list.files }
}

fn encode(host_op: &HostOp, files: &mut Vec<Arc<OwnedFd>>, platform: &Shared) -> Result<Op> {
    Ok(match host_op {
        HostOp::MapAnonymous { addr, len, prot, shared, populate, noreserve, grows_down } => {
            checked(*addr, *len)?;
            let mut flags = libc::MAP_FIXED | libc::MAP_ANONYMOUS;
            flags |= if *shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
            flags |= if *populate { libc::MAP_POPULATE } else { 0 };
            flags |= if *noreserve { libc::MAP_NORESERVE } else { 0 };
            flags |= if *grows_down { libc::MAP_GROWSDOWN } else { 0 };
            Op::new(libc::SYS_mmap, &[*addr, *len, bits(*prot), flags as u64, u64::MAX, 0])
        }
        HostOp::MapFile { addr, len, prot, shared, writable, file, offset, populate, code: _ } => {
            checked(*addr, *len)?;
            // Guest threads may ask for all rights with mprotect(2): what they must not write to, the host must refuse.
            let file = if *shared && !*writable { &platform.for_reading(file)? } else { file };
            let mut flags = libc::MAP_FIXED;
            flags |= if *shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
            flags |= if *populate { libc::MAP_POPULATE } else { 0 };
            let known = files.iter().position(|known| Arc::ptr_eq(known, file));
            let index = known.unwrap_or(files.len());
            if known.is_none() {
                files.push(Arc::clone(file));
            }
            let fd = u64::from(platform.descriptors.first_file()) + index as u64;
            Op::new(libc::SYS_mmap, &[*addr, *len, bits(*prot), flags as u64, fd, *offset])
        }
        HostOp::Unmap { addr, len } => {
            checked(*addr, *len)?;
            Op::new(libc::SYS_munmap, &[*addr, *len])
        }
        HostOp::Protect { addr, len, prot } => {
            checked(*addr, *len)?;
            Op::new(libc::SYS_mprotect, &[*addr, *len, bits(*prot)])
        }
        HostOp::Remap { old_addr, old_len, new_addr, new_len, keep_old } => {
            checked(*old_addr, *old_len)?;
            checked(*new_addr, *new_len)?;
            let mut flags = 0;
            if old_addr != new_addr {
                flags |= libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
            }
            if *keep_old {
                flags |= libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
            }
            let arguments = [*old_addr, *old_len, *new_len, flags as u64, *new_addr];
            Op::new(libc::SYS_mremap, &arguments)
        }
        HostOp::Advise { addr, len, advice } => {
            checked(*addr, *len)?;
            Op::new(libc::SYS_madvise, &[*addr, *len, *advice as u64])
        }
        HostOp::Sync { addr, len, flags } => {
            checked(*addr, *len)?;
            Op::new(libc::SYS_msync, &[*addr, *len, *flags as u64])
        }
    })
}

/// Operations for a guest thread's own channel, and the range that they are about.
pub struct Carried {
    /// The calls, at least one and at most [`channel::CARRIED_COUNT`].
    pub ops: SmallVec<[Op; channel::CARRIED_COUNT as usize]>,
    /// First byte and end.
    pub range: (u64, u64),
}

/// Encodes operations for a guest thread. `None`: there is one that it must not carry out, or there are too many.
pub fn carried(ops: &[HostOp], optional: &[HostOp], shared: &Shared) -> Option<Carried> {
    let count = ops.len() + optional.len();
    if count == 0 || count > channel::CARRIED_COUNT as usize {
        return None;
    }
    let mut list = Carried { ops: SmallVec::new(), range: (u64::MAX, 0) };
    let flagged = ops.iter().map(|op| (op, 0));
    let optional = optional.iter().map(|op| (op, op::ALWAYS | op::IGNORE));
    for (host_op, flags) in flagged.chain(optional) {
        let (start, end) = range(host_op)?;
        list.range = (list.range.0.min(start), list.range.1.max(end));
        list.ops.push(encode(host_op, &mut Vec::new(), shared).ok()?.with(flags));
    }
    list.ops.last_mut()?.flags |= op::LAST;
    Some(list)
}

/// What an operation is about, if a guest thread may carry it out itself.
fn range(host_op: &HostOp) -> Option<(u64, u64)> {
    match *host_op {
        HostOp::MapAnonymous { addr, len, shared: false, grows_down: false, .. }
        | HostOp::Unmap { addr, len }
        | HostOp::Protect { addr, len, .. } => Some((addr, addr.checked_add(len)?)),
        HostOp::Advise { addr, len, advice } if CARRIED_ADVICE.contains(&advice) => {
            Some((addr, addr.checked_add(len)?))
        }
        HostOp::Remap { old_addr, old_len, new_addr, new_len, keep_old: false } => {
            let (start, end) = (old_addr.min(new_addr), old_addr.checked_add(old_len)?);
            Some((start, end.max(new_addr.checked_add(new_len)?)))
        }
        _ => None,
    }
}

/// What operations for the warden are about.
pub fn hull(ops: &[HostOp]) -> (u64, u64) {
    let ranges = ops.iter().map(|op| match *op {
        HostOp::MapFile { addr, len, .. }
        | HostOp::MapAnonymous { addr, len, .. }
        | HostOp::Advise { addr, len, .. }
        | HostOp::Sync { addr, len, .. } => (addr, addr.saturating_add(len)),
        // Whatever is left: all there is.
        _ => range(op).unwrap_or((0, u64::MAX)),
    });
    ranges.fold((u64::MAX, 0), |hull, range| (hull.0.min(range.0), hull.1.max(range.1)))
}

/// Lists that wait until other threads have carried out their operations, each on the word at such an address.
pub fn waits(words: &[u64]) -> impl Iterator<Item = List> {
    let patience = layout::CONFIG + layout::config::CARRY_PATIENCE;
    let wait = move |word: &u64| {
        let arguments = [*word, libc::FUTEX_WAIT as u64, channel::AWAITED.into(), patience];
        Op::new(libc::SYS_futex, &arguments).with(op::IGNORE)
    };
    let list =
        move |words: &[u64]| List { ops: end(words.iter().map(wait).collect()), files: Vec::new() };
    words.chunks(order::COUNT as usize).map(list)
}

/// The operation whose result is the new thread's id.
pub const SPAWNED: u64 = 1;

/// The list that maps a channel and starts a thread on it, and maps channels for later ones.
pub fn spawn(channel: Channel, frame: u64, spares: &[Channel], descriptors: Descriptors) -> List {
    let mut ops = start(channel, frame, descriptors);
    ops.extend(spares.iter().map(|spare| map_channel(*spare, descriptors).with(op::IGNORE)));
    List { ops: end(ops), files: Vec::new() }
}

fn map_channel(channel: Channel, descriptors: Descriptors) -> Op {
    let both = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let fixed = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
    let fd = descriptors.channels().into();
    let arguments = [channel.address, layout::CHANNEL_LEN, both, fixed, fd, channel.offset];
    Op::new(libc::SYS_mmap, &arguments)
}

/// The call that makes a thread on a mapped channel.
pub fn clone_thread(channel: Channel, frame: u64) -> Op {
    let arguments = [clone::THREAD, frame, 0, channel.alive_address(), 0];
    Op::new(libc::SYS_clone, &arguments).with(op::THREAD)
}

/// Maps a channel and starts a thread on it.
fn start(channel: Channel, frame: u64, descriptors: Descriptors) -> Vec<Op> {
    vec![map_channel(channel, descriptors), clone_thread(channel, frame)]
}

/// The operation whose result is the child's process id, or an error.
pub const FORKED: u64 = 1;

/// What a copy of a stub gets.
#[derive(Clone, Copy, Debug)]
pub struct Copy {
    /// Offset of its order page.
    pub order: u64,
    /// Offset of its reply page.
    pub reply: u64,
    /// Number of its first list.
    pub number: u32,
    /// The sentry's process id.
    pub parent: i32,
}

/// The list that makes a copy of a stub. `socket` is the copy's end.
pub fn fork(copy: &Copy, socket: Arc<OwnedFd>, descriptors: Descriptors) -> List {
    let both = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let fixed = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
    let file = u64::from(descriptors.first_file());
    let reply =
        [layout::REPLY, layout::PAGE, both, fixed, descriptors.channels().into(), copy.reply];
    let read = libc::PROT_READ as u64;
    let order = [layout::ORDER, layout::PAGE, read, fixed, descriptors.orders().into(), copy.order];
    let death = [libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64];
    let ops = vec![
        receive(descriptors),
        Op::new(libc::SYS_clone, &[clone::PROCESS]).with(op::PROCESS).expecting(3),
        close(descriptors.first_file()).with(op::LAST),
        // The child.
        Op::new(libc::SYS_prctl, &death).with(op::FATAL),
        Op::new(libc::SYS_getppid, &[]).with(op::EXPECT).expecting(copy.parent as u64),
        Op::new(libc::SYS_munmap, &[layout::CHANNELS, layout::CHANNELS_LEN]).with(op::FATAL),
        Op::new(libc::SYS_mmap, &reply).with(op::FATAL),
        Op::new(libc::SYS_dup3, &[file, descriptors.socket().into(), 0]).with(op::FATAL),
        Op::new(libc::SYS_close, &[file]).with(op::FATAL),
        Op::new(libc::SYS_mmap, &order)
            .with(op::FATAL | op::SWITCH | op::LAST)
            .expecting(copy.number.into()),
    ];
    List { ops, files: vec![socket] }
}

/// The operation of a copy's first list whose result is the new thread's id.
pub const SPAWNED_IN_COPY: u64 = 1;

/// The first list of a copy: it starts its first guest thread and says hello.
pub fn first_of_copy(channel: Channel, frame: u64, descriptors: Descriptors) -> Vec<Op> {
    let ops = start(channel, frame, descriptors);
    let mut ops: Vec<Op> = ops.into_iter().map(|one| one.with(op::FATAL)).collect();
    ops.extend(hello(descriptors));
    end(ops)
}

/// Says hello. The kernel adds who it is.
fn hello(descriptors: Descriptors) -> Vec<Op> {
    let flags = libc::MSG_NOSIGNAL as u64;
    let send = [descriptors.socket().into(), layout::ORDER, 4, flags, 0, 0];
    end(vec![Op::new(libc::SYS_sendto, &send).with(op::EXPECT).expecting(4)])
}

/// The first list of the first stub: it takes away what is left of the sentry's memory, loads the warden's
/// filter and says hello. `kept` are the ranges that stay, in order.
pub fn first(kept: &[(u64, u64)], descriptors: Descriptors) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut at = layout::PAGE;
    for (start, end) in kept {
        if at < *start {
            ops.push(Op::new(libc::SYS_munmap, &[at, start - at]).with(op::FATAL));
        }
        at = *end;
    }
    ops.push(Op::new(libc::SYS_munmap, &[at, layout::TASK_END - at]).with(op::FATAL));
    let program = layout::CONFIG + layout::config::STUB_PROGRAM;
    ops.push(Op::new(libc::SYS_seccomp, &[1, 0, program]).with(op::FATAL));
    ops.extend(hello(descriptors));
    end(ops)
}

/// The error number that a host call returned.
pub fn errno(result: i64) -> Errno {
    match result {
        -4095..=-1 => Errno::from_raw(-result as i32),
        _ => Errno::EINVAL,
    }
}
