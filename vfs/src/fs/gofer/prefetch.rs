//! Directories that are fetched as a whole: what `ls -l`, `git status` and the like are about to ask name by name.
//!
//! A directory of a tree of our own that has been listed, and in which several names were looked up one by one
//! afterwards, is listed once more with all attributes. Until the directory changes, a name that is not in it is
//! answered from memory, and so is each of its entries the first time: from then on its inode knows more. Not
//! answered are files in use at the time of the listing and files with several names, whose attributes may
//! have changed by another way. What is held is bounded for the whole tree; the oldest goes first.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use chitin_abi::Result;
use chitin_abi::fs::S_IFDIR;
use chitin_gofer_proto::message::{Attr as WireAttr, QID_DIR, Reply, Request, dir_entries_attr};
use hashbrown::HashMap;
use parking_lot::Mutex;

use super::inode::GoferInode;

/// Lookups that no memory answered, after a listing, that make the next one fetch the directory.
const PATIENCE: u32 = 4;
/// Entries of a directory that are fetched at most; a larger one is looked up name by name.
const LARGEST: usize = 16_384;
/// Entries of all directories of a tree that are held: 16 MiB at most, as the protocol has no names of more than 255
/// bytes.
const TOTAL: usize = 32_768;

/// A directory's entries by name; `None` for one that has to be asked for.
type Entries = HashMap<Box<[u8]>, Option<Box<WireAttr>>>;

/// What a listing says of a name.
pub(super) enum Listed {
    /// Nothing: the server has to be asked.
    Unknown,
    /// There is no such entry.
    Absent,
    /// The entry and its attributes.
    Present(Box<WireAttr>),
}

fn take(entries: &mut Entries, name: &[u8]) -> Listed {
    match entries.get_mut(name).map(Option::take) {
        None => Listed::Absent,
        Some(None) => Listed::Unknown,
        Some(Some(attr)) => Listed::Present(attr),
    }
}

/// What is known of a directory's listing.
#[derive(Default)]
pub(super) struct Listing {
    /// It has been listed by the guest.
    listed: AtomicBool,
    /// Lookups since then that had to ask.
    misses: AtomicU32,
    entries: Mutex<Option<Entries>>,
}

impl Listing {
    /// The guest has listed the directory.
    pub fn was_listed(&self) {
        self.listed.store(true, Ordering::Relaxed);
        self.misses.store(0, Ordering::Relaxed);
    }
}

/// What a tree holds in its directories' listings.
#[derive(Default)]
pub(super) struct Prefetched {
    /// Held while a directory is given a new place.
    pub moving: Mutex<()>,
    queue: Mutex<VecDeque<(Weak<GoferInode>, usize)>>,
}

impl GoferInode {
    /// What the directory's listing says of a name.
    pub(super) fn listed(&self, name: &[u8]) -> Listed {
        if let Some(entries) = self.listing.entries.lock().as_mut() {
            return take(entries, name);
        }
        let wanted = !self.fs.is_shared()
            && self.fs.session.is_extended()
            && self.listing.listed.load(Ordering::Relaxed)
            && self.listing.misses.fetch_add(1, Ordering::Relaxed) >= PATIENCE;
        if !wanted {
            return Listed::Unknown;
        }
        // Once: a directory that is too large or cannot be listed is not tried again before the next listing.
        self.listing.listed.store(false, Ordering::Relaxed);
        let Ok(Some(mut entries)) = self.fetch() else { return Listed::Unknown };
        let found = take(&mut entries, name);
        self.keep(entries);
        found
    }

    /// All entries with their attributes; `None` where some have none or there are too many.
    fn fetch(&self) -> Result<Option<Entries>> {
        let session = &self.fs.session;
        let open = session.new_fid()?;
        let fid = open.number();
        let begin = Request::OpenDir { fid: self.fid()?.number(), new_fid: fid };
        if let Err(error) = session.order(&begin) {
            open.never_made();
            return Err(error);
        }
        let mut entries = Entries::new();
        let mut offset = 0;
        // Counted for themselves: a server may repeat names, or say nothing but `.`, for ever.
        let mut seen = 0_usize;
        loop {
            let count = session.io_size();
            let answer = session.ask(&Request::ReadDirAttr { fid, offset, count })?;
            let Reply::ReadDirAttr { entries: data } = answer.reply()? else { return Ok(None) };
            let list = dir_entries_attr(data.0).map_err(|_| chitin_abi::Errno::EIO)?;
            let Some((last, _)) = list.last() else { return Ok(Some(entries)) };
            offset = last.offset;
            seen = seen.saturating_add(list.len());
            if seen > LARGEST {
                return Ok(None);
            }
            for (entry, attr) in &list {
                if matches!(entry.name, b"." | b"..") {
                    continue;
                }
                if attr.valid == 0 {
                    return Ok(None);
                }
                let single = attr.nlink == 1 || entry.qid.kind & QID_DIR != 0;
                let sure = single && self.fs.table.get(attr.qid.path).is_none();
                entries.insert(entry.name.into(), sure.then(|| Box::new(*attr)));
            }
        }
    }

    fn keep(&self, entries: Entries) {
        let Some(this) = self.this() else { return };
        // One more for the directory itself, or empty ones could be held without number.
        let count = entries.len().saturating_add(1);
        let old = self.listing.entries.lock().replace(entries);
        drop(old);
        let mut dropped = Vec::new();
        let mut queue = self.fs.prefetched.queue.lock();
        // Each directory that is there still is in it once.
        let other = |known: &Weak<Self>| !core::ptr::eq(known.as_ptr(), self);
        queue.retain(|(known, _)| known.strong_count() > 0 && other(known));
        queue.push_back((Arc::downgrade(&this), count));
        let mut total: usize = queue.iter().map(|(_, count)| count).sum();
        while total > TOTAL {
            let Some((oldest, count)) = queue.pop_front() else { break };
            total = total.saturating_sub(count);
            dropped.push(oldest);
        }
        drop(queue);
        for directory in dropped.iter().filter_map(Weak::upgrade) {
            directory.forget_listing();
        }
    }

    /// The directory's entries have changed, or are too many to be held.
    pub(super) fn forget_listing(&self) {
        if self.kind == S_IFDIR {
            let old = self.listing.entries.lock().take();
            drop(old);
        }
    }
}
