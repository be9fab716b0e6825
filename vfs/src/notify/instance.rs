//! An inotify instance: its watches and its queue.

use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Weak};

use chitin_abi::fs::{
    FIONREAD, IN_ALL_EVENTS, IN_EXCL_UNLINK, IN_IGNORED, IN_ISDIR, IN_MASK_ADD, IN_MASK_CREATE,
    IN_ONESHOT, IN_ONLYDIR, IN_Q_OVERFLOW, IN_UNMOUNT, InotifyEvent, S_IFDIR, S_IFMT,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Result};
use hashbrown::HashMap;
use parking_lot::Mutex;
use zerocopy::IntoBytes;

use crate::dentry::DentryCache;
use crate::file::{File, IoctlContext};
use crate::inode::Inode;
use crate::io::Sink;
use crate::path::Path;
use crate::wait::WaitQueue;

/// Bytes of a `struct inotify_event` without a name.
const HEADER: usize = size_of::<InotifyEvent>();
/// Bits that `inotify_add_watch(2)` takes.
const WATCH_BITS: u32 = IN_ALL_EVENTS
    | IN_ONLYDIR
    | chitin_abi::fs::IN_DONT_FOLLOW
    | IN_EXCL_UNLINK
    | IN_MASK_CREATE
    | IN_MASK_ADD
    | IN_ISDIR
    | IN_ONESHOT;
/// Events that are told whatever the mask says.
const ALWAYS: u32 = IN_UNMOUNT;

/// Something that happened, as it is raised.
pub(super) struct Event<'a> {
    pub(super) mask: u32,
    pub(super) cookie: u32,
    pub(super) name: Option<&'a [u8]>,
    /// It happened to an open file whose name has been removed.
    pub(super) unlinked: bool,
}

/// An event in the queue.
#[derive(PartialEq, Eq)]
struct Queued {
    wd: i32,
    mask: u32,
    cookie: u32,
    name: Vec<u8>,
}

impl Queued {
    fn name_length(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEADER) }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let length = self.name_length();
        let header = InotifyEvent {
            wd: self.wd,
            mask: self.mask,
            cookie: self.cookie,
            len: u32::try_from(length).unwrap_or(0),
        };
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&self.name);
        bytes.resize(HEADER + length, 0);
        bytes
    }
}

/// One watch of an inotify instance.
pub struct Watch {
    instance: Weak<Inotify>,
    wd: i32,
    inode: Arc<dyn Inode>,
    cache: Arc<DentryCache>,
    mask: AtomicU32,
    removed: AtomicBool,
}

impl Watch {
    pub(crate) fn mask(&self) -> u32 {
        self.mask.load(Ordering::Acquire) | ALWAYS
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// `IN_ISDIR` if it is on a directory.
    pub(super) fn dir_bit(&self) -> u32 {
        let mode = self.inode.access_info().map_or(0, |info| info.mode);
        if mode & S_IFMT == S_IFDIR { IN_ISDIR } else { 0 }
    }

    /// Queues an event if the watch asks for it.
    pub(super) fn raise(self: &Arc<Self>, event: &Event<'_>) {
        let mask = self.mask();
        if event.mask & mask & (IN_ALL_EVENTS | ALWAYS) == 0
            || self.is_removed()
            || (event.unlinked && mask & IN_EXCL_UNLINK != 0)
        {
            return;
        }
        let Some(instance) = self.instance.upgrade() else { return };
        instance.push(Queued {
            wd: self.wd,
            mask: event.mask,
            cookie: event.cookie,
            name: event.name.unwrap_or_default().to_vec(),
        });
        if mask & IN_ONESHOT != 0 {
            instance.end(self);
        }
    }

    /// The watched file has gone.
    pub(super) fn end(self: &Arc<Self>) {
        if let Some(instance) = self.instance.upgrade() {
            instance.end(self);
        }
    }
}

#[derive(Default)]
struct State {
    watches: HashMap<i32, Arc<Watch>>,
    last_wd: i32,
    queue: VecDeque<Queued>,
    overflowed: bool,
}

/// An inotify instance.
pub struct Inotify {
    state: Mutex<State>,
    queue: Arc<WaitQueue>,
    max_events: usize,
}

impl Inotify {
    /// An instance that queues at most `max_events` events.
    pub fn new(max_events: u32) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            queue: Arc::default(),
            max_events: max_events as usize,
        })
    }

    /// Watches a file for `IN_…` events of `mask`, or changes the mask of its watch; the watch descriptor. The
    /// caller has looked the path up (`IN_DONT_FOLLOW`) and checked that it is readable; `IN_ONLYDIR` is checked
    /// here. `max_watches` bounds the watches of this instance.
    ///
    /// # Errors
    /// EINVAL for a bad mask, ENOTDIR, EEXIST (`IN_MASK_CREATE`), ENOSPC.
    pub fn add_watch(self: &Arc<Self>, path: &Path, mask: u32, max_watches: u32) -> Result<i32> {
        if mask & WATCH_BITS == 0
            || mask & (IN_MASK_ADD | IN_MASK_CREATE) == IN_MASK_ADD | IN_MASK_CREATE
        {
            return Err(Errno::EINVAL);
        }
        if mask & IN_ONLYDIR != 0 && !path.dentry().is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let kept = mask & (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT);
        let inode = path.inode();
        let watch = {
            let mut state = self.state.lock();
            let known = state.watches.values().find(|watch| {
                core::ptr::addr_eq(watch.inode.state(), inode.state()) && !watch.is_removed()
            });
            if let Some(watch) = known {
                if mask & IN_MASK_CREATE != 0 {
                    return Err(Errno::EEXIST);
                }
                let old =
                    if mask & IN_MASK_ADD != 0 { watch.mask.load(Ordering::Acquire) } else { 0 };
                watch.mask.store(old | kept, Ordering::Release);
                let wd = watch.wd;
                drop(state);
                inode.state().refresh_watches();
                return Ok(wd);
            }
            if state.watches.len() >= max_watches as usize {
                return Err(Errno::ENOSPC);
            }
            let wd = state.free_wd();
            let watch = Arc::new(Watch {
                instance: Arc::downgrade(self),
                wd,
                inode: Arc::clone(&inode),
                cache: Arc::clone(path.dentry().cache()),
                mask: AtomicU32::new(kept),
                removed: AtomicBool::new(false),
            });
            state.watches.insert(wd, Arc::clone(&watch));
            watch
        };
        watch.cache.add_watch(&watch);
        inode.state().add_watch(&watch);
        Ok(watch.wd)
    }

    /// Ends a watch; an `IN_IGNORED` event says so.
    ///
    /// # Errors
    /// EINVAL for an unknown descriptor.
    pub fn remove_watch(&self, wd: i32) -> Result<()> {
        let watch = self.state.lock().watches.get(&wd).cloned().ok_or(Errno::EINVAL)?;
        self.end(&watch);
        Ok(())
    }

    /// How many watches it has.
    pub fn watches(&self) -> usize {
        self.state.lock().watches.len()
    }

    fn end(&self, watch: &Arc<Watch>) {
        if watch.removed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.push(Queued { wd: watch.wd, mask: IN_IGNORED, cookie: 0, name: Vec::new() });
        let kept = self.state.lock().watches.remove(&watch.wd);
        watch.inode.state().refresh_watches();
        let cache = Arc::clone(&watch.cache);
        drop(kept);
        cache.prune_watches();
    }

    fn push(&self, event: Queued) {
        {
            let mut state = self.state.lock();
            if state.queue.back() == Some(&event) {
                return;
            }
            if state.queue.len() >= self.max_events {
                if state.overflowed {
                    return;
                }
                state.overflowed = true;
                let overflow = Queued { wd: -1, mask: IN_Q_OVERFLOW, cookie: 0, name: Vec::new() };
                state.queue.push_back(overflow);
            } else {
                state.queue.push_back(event);
            }
        }
        self.queue.notify(PollEvents::POLLIN | PollEvents::POLLRDNORM);
    }

    /// Takes the next event if it fits.
    fn pop(&self, room: usize) -> Result<Option<Queued>> {
        let mut state = self.state.lock();
        let Some(event) = state.queue.front() else { return Ok(None) };
        if HEADER + event.name_length() > room {
            return Err(Errno::EINVAL);
        }
        if event.mask == IN_Q_OVERFLOW {
            state.overflowed = false;
        }
        Ok(state.queue.pop_front())
    }

    fn pending_bytes(&self) -> usize {
        self.state.lock().queue.iter().map(|event| HEADER + event.name_length()).sum()
    }
}

impl State {
    fn free_wd(&mut self) -> i32 {
        loop {
            self.last_wd = self.last_wd.checked_add(1).unwrap_or(1);
            if !self.watches.contains_key(&self.last_wd) {
                return self.last_wd;
            }
        }
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let watches: Vec<_> =
            self.state.get_mut().watches.drain().map(|(_, watch)| watch).collect();
        for watch in watches {
            watch.removed.store(true, Ordering::Release);
            watch.inode.state().refresh_watches();
            let cache = Arc::clone(&watch.cache);
            drop(watch);
            cache.prune_watches();
        }
    }
}

impl File for Inotify {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn ignores_seek(&self) -> bool {
        true
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn read_at(&self, to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        let mut done = 0;
        loop {
            let event = match self.pop(to.remaining()) {
                Ok(Some(event)) => event,
                Ok(None) if done == 0 => return Err(Errno::EAGAIN),
                Err(error) if done == 0 => return Err(error),
                _ => return Ok(done),
            };
            let bytes = event.to_bytes();
            match to.put(&bytes) {
                Ok(count) if count == bytes.len() => done += count,
                _ if done > 0 => return Ok(done),
                _ => return Err(Errno::EFAULT),
            }
        }
    }

    fn poll(&self) -> PollEvents {
        if self.state.lock().queue.is_empty() {
            PollEvents::empty()
        } else {
            PollEvents::POLLIN | PollEvents::POLLRDNORM
        }
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.queue)
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let bytes = i32::try_from(self.pending_bytes()).unwrap_or(i32::MAX);
        context.memory().write(argument, &bytes.to_ne_bytes())?;
        Ok(0)
    }

    fn fd_info(&self) -> String {
        let mut watches: Vec<_> = self.state.lock().watches.values().cloned().collect();
        watches.sort_by_key(|watch| watch.wd);
        let mut text = String::new();
        for watch in watches {
            let Ok(attr) = watch.inode.attr() else { continue };
            let mask = watch.mask.load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "inotify wd:{:x} ino:{:x} sdev:{:x} mask:{mask:x} ignored_mask:0",
                watch.wd, attr.ino, attr.dev
            );
        }
        text
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:inotify".to_vec())
    }

    fn attr(&self) -> Result<Option<crate::attr::Attr>> {
        Ok(Some(crate::anon::AnonInode::anonymous().attr()))
    }
}
