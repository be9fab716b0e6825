//! Listing directories.
//!
//! A directory that is in one layer only is streamed from there. A merged one is collected when it is read from
//! the start: names of the upper layer, then those of each lower one that are neither there nor hidden. Inode numbers
//! are what stat says: the origin's.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::{DT_CHR, DT_DIR, OpenFlags};
use chitin_abi::{Errno, Result};
use hashbrown::HashSet;
use parking_lot::Mutex;

use super::inode::OverlayInode;
use super::{Overlay, address, marker};
use crate::env::VfsEnv;
use crate::file::{DirEntry, File};
use crate::inode::Inode;
use crate::io::Sink;

/// An entry of a merged directory.
struct Listed {
    name: Box<[u8]>,
    ino: u64,
    kind: u8,
}

/// What a directory file shows.
enum View {
    /// Not looked at yet.
    Unread,
    /// One layer: its own listing.
    Single { file: Arc<dyn File>, layer: Arc<dyn Inode>, is_upper: bool },
    /// Several layers, collected.
    Merged(Arc<[Listed]>),
}

/// An open directory.
pub(super) struct DirFile {
    inode: Arc<OverlayInode>,
    view: Mutex<View>,
}

fn is_dots(name: &[u8]) -> bool {
    name == b"." || name == b".."
}

/// Calls `each` for the entries of one layer, without the dots.
fn each_entry(
    layer: &Arc<dyn Inode>,
    env: &VfsEnv,
    each: &mut dyn FnMut(DirEntry<'_>),
) -> Result<()> {
    let file = Arc::clone(layer).open(OpenFlags::O_DIRECTORY, env)?;
    file.read_dir(0, &mut |entry| {
        if !is_dots(entry.name) {
            each(entry);
        }
        true
    })
}

/// The names in one layer's directory.
pub(super) fn names(layer: &Arc<dyn Inode>, env: &VfsEnv) -> Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    each_entry(layer, env, &mut |entry| names.push(entry.name.to_vec()))?;
    Ok(names)
}

/// Whether an entry of a layer is a whiteout; only looked up where it may be.
fn hides(layer: &Arc<dyn Inode>, name: &[u8], kind: u8) -> bool {
    kind == DT_CHR && layer.lookup(name).is_ok_and(|found| marker::is_whiteout(found.as_ref()))
}

impl Overlay {
    /// The number that stat shows for an entry of the upper layer.
    fn upper_number(&self, layer: &Arc<dyn Inode>, name: &[u8], ino: u64) -> u64 {
        let key = layer.lookup(name).and_then(|inode| self.origin_of(inode.as_ref()));
        self.number(key.unwrap_or((address(layer.as_ref()), ino)))
    }
}

fn merge(inode: &OverlayInode) -> Result<Vec<Listed>> {
    let layers = inode.layers();
    let fs = &inode.fs;
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    let mut listed = Vec::new();
    // What shows for a name is what its lower part says where a directory is merged.
    let mut found: Vec<(Vec<u8>, u64, u8)> = Vec::new();
    if let Some(upper) = &layers.upper {
        each_entry(upper, &fs.env, &mut |entry| {
            found.push((entry.name.to_vec(), entry.ino, entry.kind));
        })?;
        for (name, ino, kind) in found.drain(..) {
            if hides(upper, &name, kind) {
                seen.insert(name);
                continue;
            }
            let number = if kind == DT_DIR {
                inode.find_number(&name).unwrap_or_else(|| fs.upper_number(upper, &name, ino))
            } else {
                fs.upper_number(upper, &name, ino)
            };
            listed.push(Listed { name: name.as_slice().into(), ino: number, kind });
            seen.insert(name);
        }
    }
    for lower in &layers.lowers {
        each_entry(lower, &fs.env, &mut |entry| {
            if !seen.contains(entry.name) {
                found.push((entry.name.to_vec(), entry.ino, entry.kind));
            }
        })?;
        for (name, ino, kind) in found.drain(..) {
            if !(fs.options.lower_markers && hides(lower, &name, kind)) {
                let number = fs.number((address(lower.as_ref()), ino));
                listed.push(Listed { name: name.as_slice().into(), ino: number, kind });
            }
            seen.insert(name);
        }
    }
    Ok(listed)
}

impl OverlayInode {
    /// The number of a directory that is in both layers.
    fn find_number(&self, name: &[u8]) -> Option<u64> {
        let found = self.search(name).ok()??;
        let lower = found.layers.lowers.first()?;
        Some(self.fs.number((address(lower.as_ref()), lower.attr().ok()?.ino)))
    }
}

/// Whether a directory shows no entry.
pub(super) fn is_empty(inode: &OverlayInode) -> Result<bool> {
    Ok(merge(inode)?.is_empty())
}

impl DirFile {
    pub(super) fn new(inode: Arc<OverlayInode>) -> Self {
        Self { inode, view: Mutex::new(View::Unread) }
    }

    fn look(&self) -> Result<View> {
        let layers = self.inode.layers();
        let env = &self.inode.fs.env;
        match (&layers.upper, layers.lowers.as_slice()) {
            (None, [only]) if !self.inode.fs.options.lower_markers => {
                let file = Arc::clone(only).open(OpenFlags::O_DIRECTORY, env)?;
                Ok(View::Single { file, layer: Arc::clone(only), is_upper: false })
            }
            (Some(only), []) => {
                let file = Arc::clone(only).open(OpenFlags::O_DIRECTORY, env)?;
                Ok(View::Single { file, layer: Arc::clone(only), is_upper: true })
            }
            _ => {
                let _changes = self.inode.changes.lock();
                Ok(View::Merged(merge(&self.inode)?.into()))
            }
        }
    }

    fn emit_single(
        &self,
        file: &Arc<dyn File>,
        layer: &Arc<dyn Inode>,
        is_upper: bool,
        position: u64,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        let fs = &self.inode.fs;
        file.read_dir(position, &mut |entry| {
            let ino = match entry.name {
                b"." => self.inode.ino,
                b".." => self.inode.parent_ino(),
                name if is_upper => {
                    if hides(layer, name, entry.kind) {
                        return true;
                    }
                    fs.upper_number(layer, name, entry.ino)
                }
                _ => fs.number((address(layer.as_ref()), entry.ino)),
            };
            emit(DirEntry { ino, ..entry })
        })
    }

    fn emit_merged(
        &self,
        listed: &[Listed],
        position: u64,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        let dots: [(&[u8], u64); 2] = [(b".", self.inode.ino), (b"..", self.inode.parent_ino())];
        for (next, (name, ino)) in (1..).zip(dots) {
            if position < next && !emit(DirEntry { name, ino, kind: DT_DIR, next }) {
                return Ok(());
            }
        }
        let skip = usize::try_from(position.saturating_sub(2)).unwrap_or(usize::MAX);
        for (index, entry) in listed.iter().enumerate().skip(skip) {
            let next = index as u64 + 3;
            if !emit(DirEntry { name: &entry.name, ino: entry.ino, kind: entry.kind, next }) {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl File for DirFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        crate::seek::default_seek(position, offset, whence, || Ok(i64::MAX as u64))
    }

    fn read_dir(&self, position: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let mut view = self.view.lock();
        if position == 0 || matches!(*view, View::Unread) {
            *view = self.look()?;
        }
        match &*view {
            View::Single { file, layer, is_upper } => {
                let (file, layer, is_upper) = (Arc::clone(file), Arc::clone(layer), *is_upper);
                drop(view);
                self.emit_single(&file, &layer, is_upper, position, emit)
            }
            View::Merged(listed) => {
                let listed = Arc::clone(listed);
                drop(view);
                self.emit_merged(&listed, position, emit)
            }
            View::Unread => Ok(()),
        }
    }

    fn sync(&self, _data_only: bool) -> Result<()> {
        Ok(())
    }
}
