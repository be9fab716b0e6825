//! Making and removing names.

use std::sync::Arc;

use chitin_abi::fs::{S_IFCHR, S_IFDIR, S_IFMT};
use chitin_abi::{Errno, Result};

use super::copy_up::Data;
use super::dir;
use super::inode::{Layers, OverlayInode, Place};
use super::marker;
use crate::attr::NewFile;
use crate::inode::Inode;

impl OverlayInode {
    /// The upper part of this directory, where names can be made.
    pub(super) fn upper_dir(&self) -> Result<Arc<dyn Inode>> {
        if !self.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        self.copy_up(Data::All)
    }

    /// An inode for something new in the upper layer.
    fn adopt(&self, upper: Arc<dyn Inode>, kind: u32, name: Option<&[u8]>) -> Result<Arc<Self>> {
        let key = self.fs.origin_of(upper.as_ref())?;
        let place = match name {
            Some(name) => Some(Place { parent: Some(self.this()?), name: name.into() }),
            None => None,
        };
        let layers = Layers { upper: Some(upper), lowers: Vec::new() };
        Ok(self.fs.get_or_make(key, || {
            Self::new(self.super_block_arc(), &self.fs, key, kind, layers, None, place)
        }))
    }

    /// Makes something in the upper layer.
    pub(super) fn make(
        &self,
        name: &[u8],
        new: &NewFile,
        make: impl FnOnce(&Arc<dyn Inode>) -> Result<Arc<dyn Inode>>,
    ) -> Result<Arc<dyn Inode>> {
        let kind = new.mode & S_IFMT;
        if kind == S_IFCHR && new.rdev == 0 {
            // It would be taken for a whiteout.
            return Err(Errno::EPERM);
        }
        let dir = self.upper_dir()?;
        let removed = self.changes.lock();
        if *removed {
            return Err(Errno::ENOENT);
        }
        if self.search(name)?.is_some() {
            return Err(Errno::EEXIST);
        }
        let hidden = marker::clear_whiteout(&dir, name)?;
        let made = make(&dir).and_then(|upper| {
            if kind == S_IFDIR && hidden {
                marker::set_opaque(upper.as_ref())?;
            }
            Ok(upper)
        });
        match made {
            Ok(upper) => Ok(self.adopt(upper, kind, Some(name))?),
            Err(error) => {
                if hidden {
                    marker::whiteout(dir.as_ref(), name)?;
                }
                Err(error)
            }
        }
    }

    pub(super) fn make_unnamed(&self, new: &NewFile) -> Result<Arc<dyn Inode>> {
        let upper = self.upper_dir()?.tmpfile(new)?;
        Ok(self.adopt(upper, new.mode & S_IFMT, None)?)
    }

    /// Makes another name of a file.
    pub(super) fn add_link(&self, name: &[u8], target: &Arc<Self>) -> Result<()> {
        let dir = self.upper_dir()?;
        let upper = target.copy_up(Data::All)?;
        let removed = self.changes.lock();
        if *removed {
            return Err(Errno::ENOENT);
        }
        if self.search(name)?.is_some() {
            return Err(Errno::EEXIST);
        }
        let hidden = marker::clear_whiteout(&dir, name)?;
        if let Err(error) = dir.link(name, &upper) {
            if hidden {
                marker::whiteout(dir.as_ref(), name)?;
            }
            return Err(error);
        }
        if self.fs.links.get(target.key).is_some() {
            target.set_links(Some(self.fs.links.changed(target.key, 0, 1)));
        }
        let place = Place { parent: Some(self.this()?), name: name.into() };
        target.set_place(Some(place));
        Ok(())
    }

    /// Whether a lower layer has the name.
    pub(super) fn lower_has(&self, name: &[u8]) -> Result<bool> {
        for lower in self.layers().lowers {
            match lower.lookup(name) {
                Ok(found) => {
                    return Ok(
                        !(self.fs.options.lower_markers && marker::is_whiteout(found.as_ref()))
                    );
                }
                Err(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The bookkeeping of a removed name. The caller holds this directory's `changes`.
    pub(super) fn name_removed(&self, name: &[u8], victim: &Self) -> Result<()> {
        if !victim.is_dir() {
            let lower = victim.layers().lowers.first().cloned();
            let several = match &lower {
                Some(lower) => lower.attr()?.nlink,
                None => 0,
            };
            if several > 1 || self.fs.links.get(victim.key).is_some() {
                victim.set_links(Some(self.fs.links.changed(victim.key, several, -1)));
            } else if !victim.has_upper() {
                victim.set_links(Some(0));
            }
        }
        if victim.is_at(self, name) {
            victim.set_place(None);
        }
        Ok(())
    }

    /// Empties the upper part of a directory that shows nothing: what is in it are whiteouts. Marks it removed.
    pub(super) fn clear(&self) -> Result<()> {
        let mut removed = self.changes.lock();
        if !dir::is_empty(self)? {
            return Err(Errno::ENOTEMPTY);
        }
        if let Some(upper) = self.upper() {
            for name in dir::names(&upper, &self.fs.env)? {
                upper.unlink(&name)?;
            }
        }
        *removed = true;
        Ok(())
    }

    pub(super) fn remove(&self, name: &[u8], is_dir: bool) -> Result<()> {
        let dir = self.upper_dir()?;
        let _changes = self.changes.lock();
        let victim = self.find(name)?;
        match (is_dir, victim.is_dir()) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            _ => {}
        }
        if is_dir {
            victim.clear()?;
        }
        // A file that was copied up under another name has no entry here.
        match dir.lookup(name) {
            Ok(_) if is_dir => dir.rmdir(name)?,
            Ok(_) => dir.unlink(name)?,
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        if self.lower_has(name)? {
            marker::whiteout(dir.as_ref(), name)?;
        }
        if is_dir {
            victim.set_links(Some(0));
        }
        self.name_removed(name, &victim)
    }
}
