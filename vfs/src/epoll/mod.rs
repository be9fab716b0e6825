//! `epoll(7)`.
//!
//! An [`Epoll`] holds [`Item`]s keyed by descriptor number and open file. An item observes its file's wait
//! queue; an event that it is interested in puts it on the ready list, and waiting looks at that list only:
//! O(ready), whatever the number of items. A level-triggered item that is still ready goes back to the list's
//! end, which gives round-robin among more ready items than fit.
//!
//! Items hold their open file weakly: when the last descriptor of it is gone, so is the item (it is dropped
//! when it is next met). The weak reference keeps the file's address from being reused, so keys stay unique.
//!
//! Costs: an event is one lock and a push; a wait is one lock, one poll per ready item, no allocation beyond
//! the list of results.
//!
//! Lock order: [`Epoll::scan`] (outer epoll before inner; there are no loops) before the watched files' own
//! locks, then `items`, then `ready`. Events arrive with none of the watched file's locks held and take
//! `ready` only.

mod file;
mod item;
mod nesting;

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::{
    EPOLLERR, EPOLLET, EPOLLEXCLUSIVE, EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLWAKEUP,
    EpollEvent, PollEvents,
};
use chitin_abi::{Errno, Result};
use hashbrown::HashMap;
use parking_lot::Mutex;

use self::item::Item;
use crate::cred::Cred;
use crate::file::OpenFile;
use crate::wait::WaitQueue;

/// Most items of one epoll file (`/proc/sys/fs/epoll/max_user_watches` on a large machine).
const MAX_ITEMS: usize = 1 << 18;
/// What may come with `EPOLLEXCLUSIVE`.
const EXCLUSIVE_BITS: u32 =
    EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;

/// A descriptor and the open file that it named: one item each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    fd: i32,
    file: usize,
}

impl Key {
    fn new(fd: i32, file: &Arc<OpenFile>) -> Self {
        Self { fd, file: Arc::as_ptr(file).addr() }
    }
}

/// A set of watched files.
pub struct Epoll {
    /// Held while the ready list is walked and files are polled.
    scan: Mutex<()>,
    items: Mutex<HashMap<Key, Arc<Item>>>,
    ready: Mutex<VecDeque<Arc<Item>>>,
    /// Calls of `epoll_wait(2)`, of which each event wakes one.
    waiters: Arc<WaitQueue>,
    /// Who polls this file, and epoll files that watch it.
    queue: Arc<WaitQueue>,
    /// The epoll files that watch this one, for the limit of nesting.
    parents: Mutex<Vec<Weak<Epoll>>>,
    this: Weak<Epoll>,
}

/// A new epoll file.
pub fn new_epoll(owner: &Cred) -> Arc<OpenFile> {
    OpenFile::new(Epoll::new(), None, OpenFlags::O_RDWR, owner.clone())
}

impl Epoll {
    /// A set without items.
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            scan: Mutex::new(()),
            items: Mutex::default(),
            ready: Mutex::default(),
            waiters: Arc::default(),
            queue: Arc::default(),
            parents: Mutex::default(),
            this: this.clone(),
        })
    }

    /// The epoll set of an open file.
    ///
    /// # Errors
    /// EINVAL for another kind of file.
    pub fn of(file: &OpenFile) -> Result<&Self> {
        file.file().as_any().downcast_ref().ok_or(Errno::EINVAL)
    }

    /// Where `epoll_wait(2)` waits, as an exclusive observer: one event wakes one call, which wakes the next
    /// if it leaves something ready behind.
    pub fn waiters(&self) -> &Arc<WaitQueue> {
        &self.waiters
    }

    /// Wakes another waiter if something is ready: for one that was woken and leaves without looking.
    pub fn pass_on(&self) {
        if !self.ready.lock().is_empty() {
            self.waiters.notify(PollEvents::POLLIN);
        }
    }

    /// Begins to watch a file under this descriptor.
    ///
    /// # Errors
    /// EEXIST, EPERM for a file that is always ready, EINVAL for itself or a bad use of `EPOLLEXCLUSIVE`, ELOOP
    /// for a cycle or too deep a nesting, ENOSPC.
    pub fn add(&self, fd: i32, file: &Arc<OpenFile>, event: EpollEvent) -> Result<()> {
        let queue = file.file().wait_queue().ok_or(Errno::EPERM)?;
        let inner = self.check_target(file)?;
        if event.events & EPOLLEXCLUSIVE != 0
            && (inner.is_some() || event.events & !EXCLUSIVE_BITS != 0)
        {
            return Err(Errno::EINVAL);
        }
        let key = Key::new(fd, file);
        // Held until the item is there, so that two calls cannot close a cycle together.
        let _edges = inner.map(|_| nesting::lock());
        if let Some(inner) = inner {
            nesting::check_cycle(self, inner)?;
        }
        let item = Item::new(key, file, event, &self.this);
        self.insert(key, &item)?;
        if let Err(errno) = nesting::check_path(self, inner) {
            self.items.lock().remove(&key);
            return Err(errno);
        }
        item.observe(queue);
        item.check(file);
        Ok(())
    }

    fn insert(&self, key: Key, item: &Arc<Item>) -> Result<()> {
        let mut items = self.items.lock();
        if items.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        let dead = Self::prune(&mut items);
        let full = items.len() >= MAX_ITEMS;
        if !full {
            items.insert(key, Arc::clone(item));
        }
        drop(items);
        drop(dead);
        if full { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    /// Changes what is watched for.
    ///
    /// # Errors
    /// ENOENT, EINVAL where `EPOLLEXCLUSIVE` is or was asked for.
    pub fn modify(&self, fd: i32, file: &Arc<OpenFile>, event: EpollEvent) -> Result<()> {
        self.check_known(file)?;
        let exclusive = event.events & EPOLLEXCLUSIVE != 0;
        let item = self.items.lock().get(&Key::new(fd, file)).cloned();
        let item = match item {
            _ if exclusive => return Err(Errno::EINVAL),
            Some(item) if item.is_exclusive() => return Err(Errno::EINVAL),
            item => item.ok_or(Errno::ENOENT)?,
        };
        item.set(event);
        item.check(file);
        Ok(())
    }

    /// Stops watching.
    ///
    /// # Errors
    /// ENOENT.
    pub fn remove(&self, fd: i32, file: &Arc<OpenFile>) -> Result<()> {
        self.check_known(file)?;
        let item = self.items.lock().remove(&Key::new(fd, file)).ok_or(Errno::ENOENT)?;
        item.retire();
        self.ready.lock().retain(|other| !Arc::ptr_eq(other, &item));
        Ok(())
    }

    /// Hands what is ready now, at most `max` events, to `deliver`, unless nothing is. Events that it refuses are
    /// as if they had not been looked at. Returns how many it took.
    ///
    /// # Errors
    /// What `deliver` says.
    pub fn take(
        &self,
        max: usize,
        deliver: impl FnOnce(&[EpollEvent]) -> Result<()>,
    ) -> Result<usize> {
        // Files that this was the last to hold go when no lock is held.
        let mut held = Vec::new();
        let result = {
            let _scan = self.scan.lock();
            let (items, events) = self.scan_ready(max, &mut held);
            let delivered = if events.is_empty() { Ok(()) } else { deliver(&events) };
            self.settle(items, delivered.is_ok());
            delivered.map(|()| events.len())
        };
        drop(held);
        self.pass_on();
        result
    }

    /// The same into a list.
    pub fn collect(&self, max: usize) -> Vec<EpollEvent> {
        let mut list = Vec::new();
        // Taking them does not fail.
        let _ = self.take(max, |events| {
            list.extend_from_slice(events);
            Ok(())
        });
        list
    }

    /// Takes ready items off the list, with their events.
    fn scan_ready(
        &self,
        max: usize,
        held: &mut Vec<Arc<OpenFile>>,
    ) -> (Vec<Arc<Item>>, Vec<EpollEvent>) {
        let (mut items, mut events) = (Vec::new(), Vec::new());
        let candidates = self.ready.lock().len();
        for _ in 0..candidates {
            if events.len() >= max {
                break;
            }
            let Some(item) = self.ready.lock().pop_front() else { break };
            item.taken_from_list();
            let Some(file) = item.file() else {
                self.forget(&item);
                continue;
            };
            if let Some(event) = item.event(&file) {
                events.push(event);
                items.push(item);
            }
            held.push(file);
        }
        (items, events)
    }

    /// Disarms or lists again what has been delivered; lists all of it in front again if it has not.
    fn settle(&self, items: Vec<Arc<Item>>, delivered: bool) {
        if delivered {
            for item in items {
                item.delivered();
                if item.is_level() {
                    self.push_ready(&item);
                }
            }
            return;
        }
        for item in items.into_iter().rev() {
            if item.enter_list() {
                self.ready.lock().push_front(item);
            }
        }
    }

    /// Whether anything is ready; drops what no longer is from the list.
    fn is_ready(&self) -> bool {
        let mut held = Vec::new();
        let _scan = self.scan.lock();
        loop {
            let Some(item) = self.ready.lock().front().cloned() else { return false };
            let file = item.file();
            if file.as_ref().is_some_and(|file| item.would_report(file)) {
                held.extend(file);
                return true;
            }
            let mut ready = self.ready.lock();
            if ready.front().is_some_and(|front| Arc::ptr_eq(front, &item)) {
                ready.pop_front();
                item.taken_from_list();
            }
            drop(ready);
            // An event between the poll and the removal put nothing on the list: look once more.
            match &file {
                Some(file) if item.would_report(file) => self.push_ready(&item),
                Some(_) => {}
                None => self.forget(&item),
            }
            held.extend(file);
        }
    }

    fn push_ready(&self, item: &Arc<Item>) {
        if item.enter_list() {
            self.ready.lock().push_back(Arc::clone(item));
        }
    }

    /// An item has something: called by its observer.
    fn event(&self, item: &Arc<Item>) {
        self.push_ready(item);
        self.waiters.notify(PollEvents::POLLIN);
        self.queue.notify(PollEvents::POLLIN | PollEvents::POLLRDNORM);
    }

    fn forget(&self, item: &Arc<Item>) {
        item.retire();
        self.items.lock().remove(&item.key());
    }

    /// Takes out items of files that are gone, now and then.
    fn prune(items: &mut HashMap<Key, Arc<Item>>) -> Vec<Arc<Item>> {
        if items.len() < 64 || !items.len().is_power_of_two() {
            return Vec::new();
        }
        let dead: Vec<Key> =
            items.iter().filter(|(_, item)| item.is_dead()).map(|(key, _)| *key).collect();
        dead.iter().filter_map(|key| items.remove(key)).collect()
    }

    /// The epoll set that is to be watched, if it is one.
    fn check_target<'a>(&self, file: &'a Arc<OpenFile>) -> Result<Option<&'a Self>> {
        match Self::of(file) {
            Ok(inner) if core::ptr::eq(inner, self) => Err(Errno::EINVAL),
            Ok(inner) => Ok(Some(inner)),
            Err(_) => Ok(None),
        }
    }

    fn check_known(&self, file: &Arc<OpenFile>) -> Result<()> {
        file.file().wait_queue().ok_or(Errno::EPERM)?;
        self.check_target(file).map(|_| ())
    }

    /// What /proc/pid/fdinfo shows: one line per item.
    fn describe(&self) -> String {
        use core::fmt::Write;
        let items: Vec<Arc<Item>> = self.items.lock().values().cloned().collect();
        let mut text = String::new();
        let mut held = Vec::new();
        for item in items {
            let Some(file) = item.file() else { continue };
            let (ino, dev) = file.attr().map_or((0, 0), |attr| (attr.ino, attr.dev));
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "tfd: {:8} events: {:8x} data: {:16x}  pos:{} ino:{ino:x} sdev:{dev:x}",
                item.key().fd,
                item.events(),
                item.data(),
                *file.position.lock()
            );
            held.push(file);
        }
        text
    }
}

/// The bits of an event mask that say what is watched for, not how.
fn interest(events: u32) -> PollEvents {
    PollEvents::from_bits_retain(
        (events & !(EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP)) as u16,
    )
}

#[cfg(test)]
mod tests;
