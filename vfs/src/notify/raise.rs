//! The events that operations raise.

use std::sync::Arc;

use chitin_abi::fs::{
    FAN_OPEN_EXEC, FAN_RENAME, IN_ACCESS, IN_ATTRIB, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_CREATE,
    IN_DELETE, IN_DELETE_SELF, IN_ISDIR, IN_MODIFY, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO,
    IN_OPEN, IN_UNMOUNT,
};
use core::sync::atomic::{AtomicU32, Ordering};

use super::fanotify::{self, Happened};
use super::instance::Event;
use crate::dentry::{Dentry, DentryCache};
use crate::file::OpenFile;
use crate::path::Path;

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

/// Raises an event of a file at its directory's watches and its own, and at marks.
fn raise_both(dentry: &Arc<Dentry>, mask: u32, by: By<'_>) {
    if dentry.cache().is_marked() {
        mark_both(dentry, mask, by);
    }
    if !dentry.cache().is_watched() {
        return;
    }
    let mask = (mask & !FAN_OPEN_EXEC as u32) | dir_bit(dentry);
    if let (Some(parent), name) = dentry.place() {
        let event = Event { mask, cookie: 0, name: Some(&name), unlinked: dentry.is_unlinked() };
        raise(&parent, &event);
    }
    raise(dentry, &Event { mask, cookie: 0, name: None, unlinked: false });
}

/// Who did it, and by what path.
#[derive(Clone, Copy)]
struct By<'a> {
    path: Option<&'a Path>,
    pid: u32,
}

impl By<'_> {
    fn process(pid: u32) -> Self {
        Self { path: None, pid }
    }
}

/// Raises an event of a file at the marks that it touches.
fn mark_both(dentry: &Arc<Dentry>, mask: u32, by: By<'_>) {
    let (parent, name) = dentry.place();
    fanotify::raise(&Happened {
        mask: mask | dir_bit(dentry),
        inode: dentry.inode(),
        dentry: Some(dentry),
        dir: parent.as_ref().map(|parent| (parent, &*name)),
        to: None,
        path: by.path,
        pid: by.pid,
    });
}

/// Raises an event of a name in a directory at the marks that it touches.
fn mark_name(dir: &Arc<Dentry>, name: &[u8], dentry: &Arc<Dentry>, mask: u32, pid: u32) {
    if dir.cache().is_marked() {
        fanotify::raise(&Happened {
            mask: mask | dir_bit(dentry),
            inode: dentry.inode(),
            dentry: Some(dentry),
            dir: Some((dir, name)),
            to: None,
            path: None,
            pid,
        });
    }
}

/// Raises an event of a file alone.
fn mark_self(dentry: &Dentry, shared: Option<&Arc<Dentry>>, mask: u32, pid: u32) {
    if dentry.cache().is_marked() {
        fanotify::raise(&Happened {
            mask: mask | dir_bit(dentry),
            inode: dentry.inode(),
            dentry: shared,
            dir: None,
            to: None,
            path: None,
            pid,
        });
    }
}

fn raise_file(file: &OpenFile, mask: u32, pid: u32) {
    if let Some(path) = file.path()
        && !file.is_path_only()
        && !file.is_unnoticed()
    {
        raise_both(path.dentry(), mask, By { path: Some(path), pid });
    }
}

/// Raises an event of a name in a directory.
fn raise_name(dir: &Dentry, name: &[u8], mask: u32, cookie: u32) {
    raise(dir, &Event { mask, cookie, name: Some(name), unlinked: false });
}

fn raise_self(dentry: &Dentry, mask: u32) {
    raise(dentry, &Event { mask, cookie: 0, name: None, unlinked: false });
}

/// The file was opened, by a process with this number in the initial pid namespace.
pub fn open(file: &OpenFile, pid: u32) {
    raise_file(file, IN_OPEN, pid);
}

/// The file was opened to be executed; that it was opened has been told.
pub(crate) fn open_exec(file: &OpenFile, pid: u32) {
    if let Some(path) = file.path()
        && path.dentry().cache().is_marked()
    {
        mark_both(path.dentry(), FAN_OPEN_EXEC as u32, By { path: Some(path), pid });
    }
}

/// The file was read.
pub fn access(file: &OpenFile, pid: u32) {
    raise_file(file, IN_ACCESS, pid);
}

/// The file was written.
pub fn modify(file: &OpenFile, pid: u32) {
    raise_file(file, IN_MODIFY, pid);
}

/// The last descriptor of the file was closed.
pub fn close(file: &OpenFile) {
    let mask = if file.writable() { IN_CLOSE_WRITE } else { IN_CLOSE_NOWRITE };
    raise_file(file, mask, file.opener());
}

/// Attributes changed.
pub(crate) fn attributes(dentry: &Arc<Dentry>, pid: u32) {
    raise_both(dentry, IN_ATTRIB, By::process(pid));
}

/// Times changed: both is a change of attributes, one alone an access or a modification.
pub(crate) fn times_changed(dentry: &Arc<Dentry>, access: bool, modification: bool, pid: u32) {
    let mask = match (access, modification) {
        (true, false) => IN_ACCESS,
        (false, true) => IN_MODIFY,
        _ => IN_ATTRIB,
    };
    raise_both(dentry, mask, By::process(pid));
}

/// The contents changed without an open file (`truncate(2)`).
pub(crate) fn path_modified(path: &Path, pid: u32) {
    raise_both(path.dentry(), IN_MODIFY, By { path: Some(path), pid });
}

/// A name was made.
pub(crate) fn created(dir: &Arc<Dentry>, dentry: &Arc<Dentry>, pid: u32) {
    mark_name(dir, &dentry.name(), dentry, IN_CREATE, pid);
    if dir.cache().is_watched() {
        raise_name(dir, &dentry.name(), IN_CREATE | dir_bit(dentry), 0);
    }
}

/// Another name of a file was made.
pub(crate) fn linked(dir: &Arc<Dentry>, dentry: &Arc<Dentry>, pid: u32) {
    mark_self(dentry, Some(dentry), IN_ATTRIB, pid);
    mark_name(dir, &dentry.name(), dentry, IN_CREATE, pid);
    if dir.cache().is_watched() {
        raise_self(dentry, IN_ATTRIB);
        raise_name(dir, &dentry.name(), IN_CREATE, 0);
    }
}

/// The number of links changed because a name has gone.
pub(crate) fn link_count(dentry: &Arc<Dentry>, pid: u32) {
    mark_self(dentry, Some(dentry), IN_ATTRIB, pid);
    raise_self(dentry, IN_ATTRIB | dir_bit(dentry));
}

/// A name has gone.
pub(crate) fn deleted(dir: &Arc<Dentry>, dentry: &Arc<Dentry>, pid: u32) {
    mark_name(dir, &dentry.name(), dentry, IN_DELETE, pid);
    if dir.cache().is_watched() {
        raise_name(dir, &dentry.name(), IN_DELETE | dir_bit(dentry), 0);
    }
}

/// A name was moved.
pub(crate) fn moved(
    (old_dir, old_name): (&Arc<Dentry>, &[u8]),
    (new_dir, new_name): (&Arc<Dentry>, &[u8]),
    dentry: &Arc<Dentry>,
    pid: u32,
) {
    if old_dir.cache().is_marked() {
        mark_name(old_dir, old_name, dentry, IN_MOVED_FROM, pid);
        mark_name(new_dir, new_name, dentry, IN_MOVED_TO, pid);
        fanotify::raise(&Happened {
            mask: FAN_RENAME as u32 | dir_bit(dentry),
            inode: dentry.inode(),
            dentry: Some(dentry),
            dir: Some((old_dir, old_name)),
            to: Some((new_dir, new_name)),
            path: None,
            pid,
        });
        mark_self(dentry, Some(dentry), IN_MOVE_SELF, pid);
    }
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
    let gone = || dentry.is_dir() || dentry.inode().attr().is_ok_and(|attr| attr.nlink == 0);
    if dentry.cache().is_marked() && gone() {
        mark_self(dentry, None, IN_DELETE_SELF, 0);
    }
    if dentry.inode().state().is_watched(u32::MAX) && gone() {
        // Linux does not say that it was a directory.
        raise_self(dentry, IN_DELETE_SELF);
        for watch in dentry.inode().state().watches() {
            watch.end();
        }
    }
}

/// The last mount of a tree has gone.
pub(crate) fn unmounted(cache: &DentryCache) {
    for watch in cache.take_watches() {
        let mask = IN_UNMOUNT | watch.dir_bit();
        watch.raise(&Event { mask, cookie: 0, name: None, unlinked: false });
        watch.end();
    }
}

/// Keeps a reference alive only to say so in signatures that collect watches.
pub(super) type Watches = Vec<std::sync::Weak<super::Watch>>;

impl DentryCache {
    /// Whether something in the tree has a fanotify mark.
    pub(crate) fn is_marked(&self) -> bool {
        self.mark_count.load(Ordering::Acquire) != 0
    }

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
