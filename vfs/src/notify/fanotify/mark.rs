//! Marks and the lists that objects keep of them.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::fmt::Write as _;
use std::sync::{Arc, Weak};

use chitin_abi::fs::{FAN_EVENT_ON_CHILD, FAN_MODIFY, FAN_ONDIR};
use parking_lot::{Mutex, RwLock};

use super::{EVENT_FLAGS, EVENTS, Fanotify, Group, Removed, is_removed};
use crate::dentry::DentryCache;
use crate::inode::Inode;
use crate::mount::Mount;
use crate::path::Path;
use crate::super_block::SuperBlock;

const ON_DIR: u32 = FAN_ONDIR as u32;
const ON_CHILD: u32 = FAN_EVENT_ON_CHILD as u32;

/// The marks of one object.
#[derive(Default)]
pub struct MarkList {
    /// Union of what they ask for and what may end their ignoring.
    union: AtomicU32,
    marks: RwLock<Vec<Weak<Mark>>>,
}

impl MarkList {
    /// Whether one of them may have to do with these events.
    pub(super) fn concerns(&self, mask: u32) -> bool {
        self.union.load(Ordering::Acquire) & mask != 0
    }

    pub(super) fn living(&self) -> Vec<Arc<Mark>> {
        self.marks.read().iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn add(&self, mark: &Arc<Mark>) {
        let fresh = Arc::downgrade(mark);
        let mut marks = self.marks.write();
        if !marks.iter().any(|known| Weak::ptr_eq(known, &fresh)) {
            marks.push(fresh);
        }
        drop(marks);
        self.refresh();
    }

    pub(super) fn refresh(&self) {
        let mut marks = self.marks.write();
        let living: Vec<Arc<Mark>> = marks
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|mark| !is_removed(&mark.removed))
            .collect();
        *marks = living.iter().map(Arc::downgrade).collect();
        let union = living.iter().fold(0, |union, mark| union | mark.concern());
        self.union.store(union, Ordering::Release);
        // Marks may be dropped here, which must not happen under the lock.
        drop(marks);
        drop(living);
    }
}

/// What is marked.
pub enum MarkOn {
    /// A file, or a directory with its entries.
    File(Path),
    /// What is reached through a mount.
    Mount(Arc<Mount>),
    /// All of a file system.
    Tree(Path),
}

impl MarkOn {
    pub(super) fn list(&self) -> &MarkList {
        match self {
            Self::File(path) => path.dentry().inode().state().marks(),
            Self::Mount(mount) => mount.marks(),
            Self::Tree(path) => path.mount().super_block().marks(),
        }
    }

    pub(super) fn is_being_written(&self) -> bool {
        matches!(self, Self::File(path) if path.dentry().inode().state().has_writers())
    }

    fn cache(&self) -> &Arc<DentryCache> {
        match self {
            Self::File(path) | Self::Tree(path) => path.dentry().cache(),
            Self::Mount(mount) => mount.root().cache(),
        }
    }
}

/// Events asked for or ignored, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    /// `FAN_…` events and their flags.
    pub mask: u32,
    /// They are ignored, not asked for.
    pub ignores: bool,
    /// What is ignored stays so when the file changes (`FAN_MARK_IGNORED_SURV_MODIFY`).
    pub survives: bool,
    /// Flags of ignored events count (`FAN_MARK_IGNORE`).
    pub with_flags: bool,
}

pub(super) enum Changes {
    Add(Masks),
    Remove(Masks),
}

#[derive(Clone, Copy, Default)]
struct Content {
    mask: u32,
    ignored: u32,
    survives: bool,
    with_flags: bool,
}

enum Kept {
    File(Arc<dyn Inode>),
    Mount(Weak<Mount>),
    Tree(Weak<SuperBlock>),
}

/// A mark of a group.
pub(super) struct Mark {
    pub(super) group: Group,
    kept: Kept,
    cache: Arc<DentryCache>,
    content: Mutex<Content>,
    pub(super) removed: Removed,
}

impl Mark {
    pub(super) fn new(group: &Arc<Fanotify>, on: &MarkOn) -> Arc<Self> {
        let kept = match on {
            MarkOn::File(path) => Kept::File(path.inode()),
            MarkOn::Mount(mount) => Kept::Mount(Arc::downgrade(mount)),
            MarkOn::Tree(path) => Kept::Tree(Arc::downgrade(path.mount().super_block())),
        };
        let cache = Arc::clone(on.cache());
        cache.mark_count.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self {
            group: Arc::downgrade(group),
            kept,
            cache,
            content: Mutex::default(),
            removed: AtomicBool::new(false),
        })
    }

    pub(super) fn is_on(&self, on: &MarkOn) -> bool {
        match (&self.kept, on) {
            (Kept::File(inode), MarkOn::File(path)) => {
                core::ptr::addr_eq(inode.state(), path.dentry().inode().state())
            }
            (Kept::Mount(kept), MarkOn::Mount(mount)) => {
                core::ptr::eq(kept.as_ptr(), Arc::as_ptr(mount))
            }
            (Kept::Tree(kept), MarkOn::Tree(path)) => {
                core::ptr::eq(kept.as_ptr(), Arc::as_ptr(path.mount().super_block()))
            }
            _ => false,
        }
    }

    pub(super) fn is_like(&self, on: &MarkOn) -> bool {
        matches!(
            (&self.kept, on),
            (Kept::File(_), MarkOn::File(_))
                | (Kept::Mount(_), MarkOn::Mount(_))
                | (Kept::Tree(_), MarkOn::Tree(_))
        )
    }

    /// Changes the masks; whether nothing is left of the mark.
    pub(super) fn change(&self, changes: Changes) -> bool {
        let mut content = self.content.lock();
        match changes {
            Changes::Add(masks) if masks.ignores => {
                content.ignored |= masks.mask;
                content.survives |= masks.survives;
                content.with_flags |= masks.with_flags;
            }
            Changes::Add(masks) => content.mask |= masks.mask,
            Changes::Remove(masks) if masks.ignores => content.ignored &= !masks.mask,
            Changes::Remove(masks) => content.mask &= !masks.mask,
        }
        (content.mask | content.ignored) & !EVENT_FLAGS == 0
    }

    fn concern(&self) -> u32 {
        let content = *self.content.lock();
        let ends = if content.ignored != 0 && !content.survives { FAN_MODIFY as u32 } else { 0 };
        (content.mask & EVENTS) | ends | content.ignored & EVENTS
    }

    /// What the mark asks for and ignores of an event, of a directory or reported by its parent.
    pub(super) fn effective(&self, on_dir: bool, is_parent: bool) -> (u32, u32) {
        let content = *self.content.lock();
        let applies = |mask: u32| {
            let lacks = |flag: u32| mask & flag == 0;
            !((on_dir && lacks(ON_DIR)) || (is_parent && lacks(ON_CHILD)))
        };
        let ignored = if content.with_flags {
            content.ignored
        } else {
            (content.ignored & !ON_CHILD) | ON_DIR | (content.mask & ON_CHILD)
        };
        let asks = if applies(content.mask) { content.mask } else { 0 };
        let ignores = if content.ignored & EVENTS != 0 && applies(ignored) { ignored } else { 0 };
        (asks, ignores & EVENTS)
    }

    /// The file has changed: what is ignored until then is told again.
    pub(super) fn modified(&self) {
        let mut content = self.content.lock();
        if !content.survives {
            content.ignored = 0;
        }
    }

    /// The mark has been removed from its group.
    pub(super) fn end(&self) {
        if self.removed.swap(true, Ordering::AcqRel) {
            return;
        }
        match &self.kept {
            Kept::File(inode) => inode.state().marks().refresh(),
            Kept::Mount(mount) => {
                if let Some(mount) = mount.upgrade() {
                    mount.marks().refresh();
                }
            }
            Kept::Tree(tree) => {
                if let Some(tree) = tree.upgrade() {
                    tree.marks().refresh();
                }
            }
        }
        self.cache.mark_count.fetch_sub(1, Ordering::AcqRel);
    }

    /// Its line in fdinfo.
    pub(super) fn describe(&self, text: &mut String) {
        let content = *self.content.lock();
        let flags = if content.survives { 0x40 } else { 0 };
        let masks =
            format!("mflags:{flags:x} mask:{:x} ignored_mask:{:x}", content.mask, content.ignored);
        // Writing to a string does not fail.
        let _ = match &self.kept {
            Kept::File(inode) => match inode.attr() {
                Ok(attr) => {
                    writeln!(text, "fanotify ino:{:x} sdev:{:x} {masks}", attr.ino, attr.dev)
                }
                Err(_) => Ok(()),
            },
            Kept::Mount(mount) => match mount.upgrade() {
                Some(mount) => writeln!(text, "fanotify mnt_id:{:x} {masks}", mount.id()),
                None => Ok(()),
            },
            Kept::Tree(tree) => match tree.upgrade() {
                Some(tree) => writeln!(text, "fanotify sdev:{:x} {masks}", tree.dev),
                None => Ok(()),
            },
        };
    }
}
