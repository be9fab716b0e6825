//! What happened, and who is told.

use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::fs::{FAN_MODIFY, FAN_ONDIR};

use super::mark::{Mark, MarkList};
use super::report::Queued;
use super::{Fanotify, NAME_EVENTS};
use crate::dentry::Dentry;
use crate::inode::Inode;
use crate::path::Path;

/// Who reads events.
pub trait Reader {
    /// Opens a file for the reader; its descriptor.
    ///
    /// # Errors
    /// EMFILE, those of open(2).
    fn open(&self, path: &Path) -> Result<i32>;
    /// A process's number as the reader sees it; 0 where it does not.
    fn pid(&self, pid: u32) -> i32;
    /// A descriptor of a process, or what says that there is none (`FAN_NOPIDFD`, `FAN_EPIDFD`).
    fn pidfd(&self, pid: u32) -> i32;
    /// Takes back what [`Reader::open`] or [`Reader::pidfd`] returned.
    fn undo(&self, fd: i32);
}

/// Something that happened.
pub(crate) struct Happened<'a> {
    /// `FAN_…` events, with `FAN_ONDIR` for a directory.
    pub(crate) mask: u32,
    /// The file that it happened to, or whose name changed.
    pub(crate) inode: &'a Arc<dyn Inode>,
    /// Its name; `None` where it has none any more.
    pub(crate) dentry: Option<&'a Arc<Dentry>>,
    /// The directory that the file is in, or whose entry changed, and the entry's name.
    pub(crate) dir: Option<(&'a Arc<Dentry>, &'a [u8])>,
    /// The directory that the entry was moved to (`FAN_RENAME`), and its name there.
    pub(crate) to: Option<(&'a Arc<Dentry>, &'a [u8])>,
    /// How the file was reached.
    pub(crate) path: Option<&'a Path>,
    /// Who did it.
    pub(crate) pid: u32,
}

impl Happened<'_> {
    pub(super) fn is_of_name(&self) -> bool {
        self.mask & NAME_EVENTS != 0
    }

    /// The directory that can be told: the one whose entry changed, the file itself if it is one, else the one that it
    /// is in.
    pub(super) fn directory(&self) -> Option<&Arc<Dentry>> {
        let parent = self.dir.map(|(dir, _)| dir);
        if !self.is_of_name() && self.mask & FAN_ONDIR as u32 != 0 { self.dentry } else { parent }
    }

    fn collect(&self) -> Vec<(Arc<Mark>, bool)> {
        let mut marks = Vec::new();
        let mut look = |list: Option<&MarkList>, is_parent: bool| {
            if let Some(list) = list.filter(|list| list.concerns(self.mask)) {
                marks.extend(list.living().into_iter().map(|mark| (mark, is_parent)));
            }
        };
        if !self.is_of_name() {
            look(self.inode.state().marks_if_any(), false);
        }
        if let Some((dir, _)) = self.dir {
            look(dir.inode().state().marks_if_any(), !self.is_of_name());
        }
        if let Some((dir, _)) = self.to {
            look(dir.inode().state().marks_if_any(), false);
        }
        look(self.inode.super_block().marks_if_any(), false);
        if let Some(path) = self.path {
            look(path.mount().marks_if_any(), false);
        }
        marks
    }
}

/// Tells the groups that have asked for it.
pub(crate) fn raise(happened: &Happened<'_>) {
    let mut marks = happened.collect();
    // A group is told once, whatever number of its marks are touched.
    let group_of = |(mark, _): &(Arc<Mark>, bool)| mark.group.as_ptr().addr();
    marks.sort_by_key(group_of);
    for own in marks.chunk_by(|one, other| group_of(one) == group_of(other)) {
        let group = own.first().and_then(|(mark, _)| mark.group.upgrade());
        if let Some(group) = group {
            tell(&group, happened, own);
        }
        if happened.mask & FAN_MODIFY as u32 != 0 {
            for (mark, _) in own {
                mark.modified();
            }
        }
    }
}

fn tell(group: &Arc<Fanotify>, happened: &Happened<'_>, marks: &[(Arc<Mark>, bool)]) {
    let mask = group.consider(happened, marks);
    if mask != 0
        && let Some(event) = Queued::new(group, happened, mask)
    {
        group.push(event);
    }
}
