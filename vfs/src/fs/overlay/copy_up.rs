//! Copying a file to the upper layer before it is changed.
//!
//! A file's contents are written to an unnamed file first, which gets its name when it is complete; a directory is
//! made where its parent was copied to, parents first. A file whose name has been removed gets an unnamed copy.

use std::sync::Arc;

use chitin_abi::fs::{OpenFlags, S_IFDIR, S_IFLNK, S_IFREG};
use chitin_abi::{Errno, Result};

use super::inode::{OverlayInode, Place};
use super::marker;
use crate::attr::{Attr, NewFile, SetAttr};
use crate::env::VfsEnv;
use crate::file::WriteAt;
use crate::inode::Inode;
use crate::io::{SliceSink, SliceSource};

/// Bytes that are copied at once.
const PIECE: usize = 256 * 1024;

/// How much of a file's contents is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    All,
    /// The rest will be cut off.
    UpTo(u64),
}

impl OverlayInode {
    /// The file in the upper layer, copied there if it was not. The caller holds no directory's `changes`.
    pub(super) fn copy_up(&self, data: Data) -> Result<Arc<dyn Inode>> {
        if let Some(upper) = self.upper() {
            return Ok(upper);
        }
        if self.fs.upper.is_none() {
            return Err(Errno::EROFS);
        }
        // Directories that have to be copied first, found from below.
        let mut above = Vec::new();
        let mut next = self.place().and_then(|place| place.parent);
        while let Some(parent) = next {
            if parent.has_upper() {
                break;
            }
            next = parent.place().and_then(|place| place.parent);
            above.push(parent);
        }
        for directory in above.into_iter().rev() {
            directory.copy_one(Data::All)?;
        }
        self.copy_one(data)
    }

    fn copy_one(&self, data: Data) -> Result<Arc<dyn Inode>> {
        let _copying = self.copying.lock();
        if let Some(upper) = self.upper() {
            return Ok(upper);
        }
        let lower = self.layers().lowers.first().cloned().ok_or(Errno::ESTALE)?;
        let attr = lower.attr()?;
        let upper = match self.kind {
            S_IFDIR => self.copy_directory(&lower, &attr)?,
            S_IFREG => self.copy_file(&lower, &attr, data)?,
            _ => self.copy_special(&lower, &attr)?,
        };
        self.set_upper(Arc::clone(&upper));
        Ok(upper)
    }

    fn new_file(&self, attr: &Attr) -> NewFile {
        NewFile { mode: attr.mode, uid: attr.uid, gid: attr.gid, rdev: attr.rdev }
    }

    /// Where the copy goes: the upper directory and the name in it.
    fn destination(&self) -> Option<(Place, Arc<dyn Inode>)> {
        let place = self.place()?;
        let upper = place.parent.as_ref()?.upper()?;
        Some((place, upper))
    }

    fn copy_directory(&self, lower: &Arc<dyn Inode>, attr: &Attr) -> Result<Arc<dyn Inode>> {
        let (place, dir) = self.destination().ok_or(Errno::ENOENT)?;
        let parent = place.parent.as_ref().ok_or(Errno::ENOENT)?;
        let _changes = parent.changes.lock();
        if !self.is_at(parent, &place.name) {
            return Err(Errno::ENOENT);
        }
        let upper = dir.mkdir(&place.name, &self.new_file(attr))?;
        self.copy_attributes(lower, &upper, attr)?;
        Ok(upper)
    }

    fn copy_special(&self, lower: &Arc<dyn Inode>, attr: &Attr) -> Result<Arc<dyn Inode>> {
        let (place, dir) = self.destination().ok_or(Errno::ENOENT)?;
        let parent = place.parent.as_ref().ok_or(Errno::ENOENT)?;
        let _changes = parent.changes.lock();
        if !self.is_at(parent, &place.name) {
            return Err(Errno::ENOENT);
        }
        let new = self.new_file(attr);
        let upper = if self.kind == S_IFLNK {
            dir.symlink(&place.name, &lower.read_link(&self.fs.env)?, &new)?
        } else {
            dir.create(&place.name, &new)?
        };
        self.copy_attributes(lower, &upper, attr)?;
        self.remember(attr, &upper);
        Ok(upper)
    }

    fn copy_file(&self, lower: &Arc<dyn Inode>, attr: &Attr, data: Data) -> Result<Arc<dyn Inode>> {
        let work = self.fs.upper.as_ref().ok_or(Errno::EROFS)?;
        let upper = work.tmpfile(&self.new_file(attr))?;
        let length = match data {
            Data::All => attr.size,
            Data::UpTo(length) => length.min(attr.size),
        };
        copy_contents(lower, &upper, length, &self.fs.env)?;
        self.copy_attributes(lower, &upper, attr)?;
        // Another thread may move the name meanwhile: then it is tried at the new one.
        for _ in 0..8 {
            let Some((place, dir)) = self.destination() else { break };
            let Some(parent) = &place.parent else { break };
            let changes = parent.changes.lock();
            if self.is_at(parent, &place.name) {
                dir.link(&place.name, &upper)?;
                drop(changes);
                break;
            }
        }
        self.remember(attr, &upper);
        Ok(upper)
    }

    /// Other names of the file must find the copy too.
    fn remember(&self, attr: &Attr, upper: &Arc<dyn Inode>) {
        if attr.nlink > 1 {
            self.fs.links.copied(self.key, attr.nlink, upper);
            let count = self.fs.links.get(self.key).map(|linked| linked.count);
            self.set_links(count);
        }
    }

    fn copy_attributes(
        &self,
        lower: &Arc<dyn Inode>,
        upper: &Arc<dyn Inode>,
        attr: &Attr,
    ) -> Result<()> {
        for name in lower.list_xattr().unwrap_or_default() {
            if name.starts_with(marker::PREFIX) {
                continue;
            }
            let Ok(value) = lower.get_xattr(&name) else { continue };
            match upper.set_xattr(&name, &value, 0) {
                Ok(()) | Err(Errno::EOPNOTSUPP | Errno::EPERM) => {}
                Err(error) => return Err(error),
            }
        }
        let index = self.fs.file_systems.iter().position(|known| *known == self.key.0).unwrap_or(0);
        marker::set_origin(upper.as_ref(), index, self.key.1)?;
        let mode = (self.kind != S_IFLNK).then_some(attr.mode & 0o7777);
        let change = SetAttr {
            mode,
            uid: Some(attr.uid),
            gid: Some(attr.gid),
            atime: Some(attr.atime),
            mtime: Some(attr.mtime),
            size: None,
        };
        upper.set_attr(&change, self.fs.options.clock.now())
    }
}

fn copy_contents(
    lower: &Arc<dyn Inode>,
    upper: &Arc<dyn Inode>,
    length: u64,
    env: &VfsEnv,
) -> Result<()> {
    if length == 0 {
        return Ok(());
    }
    let from = Arc::clone(lower).open(OpenFlags::empty(), env)?;
    let to = Arc::clone(upper).open(OpenFlags::O_RDWR, env)?;
    let mut buffer = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
    let mut at = 0;
    while at < length {
        let wanted = buffer.len().min(usize::try_from(length - at).unwrap_or(PIECE));
        let mut sink = SliceSink::new(buffer.get_mut(..wanted).unwrap_or_default());
        let count = from.read_at(&mut sink, at)?;
        if count == 0 {
            break;
        }
        let piece = buffer.get(..count).unwrap_or_default();
        // Zeros need not be written: what is not there reads as zeros.
        if piece.iter().any(|byte| *byte != 0) {
            let mut source = SliceSource::new(piece);
            let (written, _) = to.write_at(&mut source, WriteAt::Offset(at))?;
            if written < count {
                return Err(Errno::ENOSPC);
            }
        }
        at += count as u64;
    }
    let change = SetAttr { size: Some(at), ..SetAttr::default() };
    upper.set_attr(&change, env.shared.clock.now())
}
