//! The events that operations raise.

use std::sync::Arc;

use chitin_abi::fs::{
    IN_ACCESS, IN_ATTRIB, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_DELETE_SELF,
    IN_ISDIR, IN_MODIFY, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO, IN_OPEN, IN_UNMOUNT,
};
use core::sync::atomic::{AtomicU32, Ordering};

use super::instance::Event;
use crate::dentry::{Dentry, DentryCache};
use crate::file::OpenFile;

static NEXT_COOKIE: AtomicU32 = AtomicU32::new(1);

fn dir_bit(dentry: &Dentry) -> u32 {
    if dentry.is_dir() { IN_ISDIR } else { 0 }
}

/// Raises an event at the watches of one inode.
fn raise(dentry: &Dentry, event: &Event<'_>) {
    let state = dentry.inode().state();
    if !state.is_watched(event.mask) {
        return;
    }
    for watch in state.watches() {
        watch.raise(event);
    }
}

/// Raises an event of a file at its directory's watches and its own.
fn raise_both(dentry: &Dentry, mask: u32) {
    if !dentry.cache().is_watched() {
        return;
    }
    let mask = mask | dir_bit(dentry);
    if let (Some(parent), name) = dentry.place() {
        let event = Event { mask, cookie: 0, name: Some(&name), unlinked: dentry.is_unlinked() };
        raise(&parent, &event);
    }
    raise(dentry, &Event { mask, cookie: 0, name: None, unlinked: false });
}

fn raise_file(file: &OpenFile, mask: u32) {
    if let Some(path) = file.path()
        && !file.is_path_only()
    {
        raise_both(path.dentry(), mask);
    }
}

/// Raises an event of a name in a directory.
fn raise_name(dir: &Dentry, name: &[u8], mask: u32, cookie: u32) {
    raise(dir, &Event { mask, cookie, name: Some(name), unlinked: false });
}

fn raise_self(dentry: &Dentry, mask: u32) {
    raise(dentry, &Event { mask, cookie: 0, name: None, unlinked: false });
}

/// The file was opened.
pub fn open(file: &OpenFile) {
    raise_file(file, IN_OPEN);
}

/// The file was read.
pub fn access(file: &OpenFile) {
    raise_file(file, IN_ACCESS);
}

/// The file was written.
pub fn modify(file: &OpenFile) {
    raise_file(file, IN_MODIFY);
}

/// The last descriptor of the file was closed.
pub fn close(file: &OpenFile) {
    raise_file(file, if file.writable() { IN_CLOSE_WRITE } else { IN_CLOSE_NOWRITE });
}

/// Attributes changed.
pub(crate) fn attributes(dentry: &Dentry) {
    raise_both(dentry, IN_ATTRIB);
}

/// Times changed: both is a change of attributes, one alone an access or a modification.
pub(crate) fn times_changed(dentry: &Dentry, access: bool, modification: bool) {
    let mask = match (access, modification) {
        (true, false) => IN_ACCESS,
        (false, true) => IN_MODIFY,
        _ => IN_ATTRIB,
    };
    raise_both(dentry, mask);
}

/// The contents changed without an open file (`truncate(2)`).
pub(crate) fn path_modified(dentry: &Dentry) {
    raise_both(dentry, IN_MODIFY);
}

/// A name was made.
pub(crate) fn created(dir: &Dentry, dentry: &Dentry) {
    if dir.cache().is_watched() {
        raise_name(dir, &dentry.name(), IN_CREATE | dir_bit(dentry), 0);
    }
}

/// Another name of a file was made.
pub(crate) fn linked(dir: &Dentry, dentry: &Dentry) {
    if dir.cache().is_watched() {
        raise_self(dentry, IN_ATTRIB);
        raise_name(dir, &dentry.name(), IN_CREATE, 0);
    }
}

/// The number of links changed because a name has gone.
pub(crate) fn link_count(dentry: &Dentry) {
    raise_self(dentry, IN_ATTRIB | dir_bit(dentry));
}

/// A name has gone.
pub(crate) fn deleted(dir: &Dentry, dentry: &Dentry) {
    if dir.cache().is_watched() {
        raise_name(dir, &dentry.name(), IN_DELETE | dir_bit(dentry), 0);
    }
}

/// A name was moved.
pub(crate) fn moved(
    old_dir: &Dentry,
    old_name: &[u8],
    new_dir: &Dentry,
    new_name: &[u8],
    dentry: &Dentry,
) {
    if !old_dir.cache().is_watched() {
        return;
    }
    let cookie = NEXT_COOKIE.fetch_add(1, Ordering::Relaxed);
    raise_name(old_dir, old_name, IN_MOVED_FROM | dir_bit(dentry), cookie);
    raise_name(new_dir, new_name, IN_MOVED_TO | dir_bit(dentry), cookie);
    raise_self(dentry, IN_MOVE_SELF | dir_bit(dentry));
}

/// A dentry whose name was removed has lost its last user: the file goes if it has no other name.
pub(crate) fn dentry_gone(dentry: &Dentry) {
    if dentry.inode().state().is_watched(u32::MAX)
        && (dentry.is_dir() || dentry.inode().attr().is_ok_and(|attr| attr.nlink == 0))
    {
        raise_self(dentry, IN_DELETE_SELF | dir_bit(dentry));
        for watch in dentry.inode().state().watches() {
            watch.end();
        }
    }
}

/// The last mount of a tree has gone.
pub(crate) fn unmounted(cache: &DentryCache) {
    for watch in cache.take_watches() {
        watch.raise(&Event { mask: IN_UNMOUNT, cookie: 0, name: None, unlinked: false });
        watch.end();
    }
}

/// Keeps a reference alive only to say so in signatures that collect watches.
pub(super) type Watches = Vec<std::sync::Weak<super::Watch>>;

impl DentryCache {
    /// Whether something in the tree is watched.
    pub(crate) fn is_watched(&self) -> bool {
        self.watch_count.load(Ordering::Acquire) != 0
    }

    pub(super) fn add_watch(&self, watch: &Arc<super::Watch>) {
        let mut watches = self.watches.lock();
        watches.push(Arc::downgrade(watch));
        self.watch_count.store(watches.len(), Ordering::Release);
    }

    /// Forgets watches that have gone; called when some have.
    pub(super) fn prune_watches(&self) {
        let mut watches = self.watches.lock();
        watches.retain(|watch| watch.strong_count() > 0);
        self.watch_count.store(watches.len(), Ordering::Release);
    }

    fn take_watches(&self) -> Vec<Arc<super::Watch>> {
        let watches: Watches = core::mem::take(&mut *self.watches.lock());
        watches.iter().filter_map(std::sync::Weak::upgrade).collect()
    }
}
