//! File notification: `inotify(7)`.
//!
//! Watches hang on inodes ([`crate::inode_state::InodeState`]); operations raise events through the functions
//! here, after they have released their locks. Cost of an event that nobody watches: two atomic loads.

use std::sync::Arc;

use chitin_abi::{Errno, Result};

use crate::dentry::Dentry;
use crate::file::{File, OpenFile};
use crate::path::Path;

/// One watch of an inotify instance.
pub struct Watch {}

impl Watch {
    pub(crate) fn mask(&self) -> u32 {
        0
    }

    pub(crate) fn is_removed(&self) -> bool {
        true
    }
}

/// An inotify instance.
pub struct Inotify {}

impl Inotify {
    /// An instance that queues at most `max_events` events.
    pub fn new(max_events: u32) -> Arc<Self> {
        let _ = max_events;
        Arc::new(Self {})
    }

    /// Watches a file for `IN_…` events of `mask`, or changes the mask of its watch; the watch descriptor. The
    /// caller has looked the path up (`IN_DONT_FOLLOW`) and checked that it is readable; `IN_ONLYDIR` is checked
    /// here. `max_watches` bounds the watches of this instance.
    ///
    /// # Errors
    /// EINVAL for a bad mask, ENOTDIR, EEXIST (`IN_MASK_CREATE`), ENOSPC.
    pub fn add_watch(self: &Arc<Self>, path: &Path, mask: u32, max_watches: u32) -> Result<i32> {
        let _ = (path, mask, max_watches);
        Err(Errno::ENOSYS)
    }

    /// Ends a watch; an `IN_IGNORED` event says so.
    ///
    /// # Errors
    /// EINVAL for an unknown descriptor.
    pub fn remove_watch(&self, wd: i32) -> Result<()> {
        let _ = wd;
        Err(Errno::ENOSYS)
    }
}

impl File for Inotify {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}

/// The file was opened.
pub fn open(file: &OpenFile) {
    let _ = file;
}

/// The file was read.
pub fn access(file: &OpenFile) {
    let _ = file;
}

/// The file was written.
pub fn modify(file: &OpenFile) {
    let _ = file;
}

/// The last descriptor of the file was closed.
pub fn close(file: &OpenFile) {
    let _ = file;
}

/// Attributes of the file changed.
pub fn attributes(path: &Path) {
    let _ = path;
}

/// A dentry whose name was removed has lost its last user.
pub(crate) fn dentry_gone(dentry: &Dentry) {
    let _ = dentry;
}
