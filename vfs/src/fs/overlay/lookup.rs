//! Finding a name in the layers.

use std::sync::Arc;

use chitin_abi::fs::{S_IFDIR, S_IFMT};
use chitin_abi::{Errno, Result};

use super::inode::{Layers, OverlayInode, Place};
use super::{Key, address, marker};
use crate::inode::Inode;

/// What the layers say of a name.
pub(super) struct Found {
    pub(super) layers: Layers,
    pub(super) kind: u32,
    /// A directory's path in the lower layers.
    pub(super) lower_path: Option<Box<[u8]>>,
}

/// A lookup in one layer; `None` for no such name.
fn look(dir: &Arc<dyn Inode>, name: &[u8]) -> Result<Option<(Arc<dyn Inode>, u32)>> {
    match dir.lookup(name) {
        Ok(inode) => {
            let kind = inode.access_info()?.mode & S_IFMT;
            Ok(Some((inode, kind)))
        }
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

fn key_of(inode: &dyn Inode) -> Result<Key> {
    Ok((address(inode), inode.attr()?.ino))
}

impl OverlayInode {
    /// The file of a name. The caller holds `changes`.
    pub(super) fn find(&self, name: &[u8]) -> Result<Arc<Self>> {
        let found = self.search(name)?.ok_or(Errno::ENOENT)?;
        self.inode_of(name, found)
    }

    /// What the layers say of a name, without making an inode.
    pub(super) fn search(&self, name: &[u8]) -> Result<Option<Found>> {
        if !self.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let layers = self.layers();
        let upper = layers.upper.as_ref().map_or(Ok(None), |upper| look(upper, name))?;
        let Some((upper, kind)) = upper else {
            return self.search_lower(&layers.lowers, name, None);
        };
        if marker::is_whiteout(upper.as_ref()) {
            return Ok(None);
        }
        if kind != S_IFDIR {
            let layers = Layers { upper: Some(upper), lowers: Vec::new() };
            return Ok(Some(Found { layers, kind, lower_path: None }));
        }
        if marker::is_opaque(upper.as_ref()) {
            let layers = Layers { upper: Some(upper), lowers: Vec::new() };
            return Ok(Some(Found { layers, kind, lower_path: None }));
        }
        match marker::redirect(upper.as_ref()) {
            Some(path) => self.search_redirected(upper, &path),
            None => self.search_lower(&layers.lowers, name, Some(upper)),
        }
    }

    /// Looks a name up in lower directories, below an upper directory if there is one.
    fn search_lower(
        &self,
        lowers: &[Arc<dyn Inode>],
        name: &[u8],
        upper: Option<Arc<dyn Inode>>,
    ) -> Result<Option<Found>> {
        let mut found = Vec::new();
        let mut kind = upper.as_ref().map(|_| S_IFDIR);
        for lower in lowers {
            let Some((inode, this)) = look(lower, name)? else { continue };
            let marked = self.fs.options.lower_markers;
            if (marked && marker::is_whiteout(inode.as_ref()))
                || kind.is_some_and(|kind| kind != this)
            {
                break;
            }
            kind = Some(this);
            let last = this != S_IFDIR || (marked && marker::is_opaque(inode.as_ref()));
            found.push(inode);
            if last {
                break;
            }
        }
        let Some(kind) = kind else { return Ok(None) };
        let lower_path = match &self.lower_path {
            Some(path) if kind == S_IFDIR && !found.is_empty() => {
                Some([path, b"/".as_slice(), name].concat().into())
            }
            _ => None,
        };
        Ok(Some(Found { layers: Layers { upper, lowers: found }, kind, lower_path }))
    }

    /// Finds the lower part of a directory that was moved.
    fn search_redirected(&self, upper: Arc<dyn Inode>, path: &[u8]) -> Result<Option<Found>> {
        let mut lowers = self.fs.lowers.clone();
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            let mut next = Vec::new();
            for lower in &lowers {
                match look(lower, name)? {
                    Some((inode, S_IFDIR)) => next.push(inode),
                    Some(_) => break,
                    None => {}
                }
            }
            lowers = next;
        }
        let lower_path = (!lowers.is_empty()).then(|| path.into());
        Ok(Some(Found { layers: Layers { upper: Some(upper), lowers }, kind: S_IFDIR, lower_path }))
    }

    /// The identity of what was found, and where it is if it was copied up under another name.
    fn identify(&self, found: &mut Found) -> Result<(Key, Option<u64>)> {
        let key = match (&found.layers.upper, found.layers.lowers.first()) {
            (_, Some(lower)) => key_of(lower.as_ref())?,
            (Some(upper), None) => self.fs.origin_of(upper.as_ref())?,
            (None, None) => return Err(Errno::ENOENT),
        };
        if found.kind == S_IFDIR {
            return Ok((key, None));
        }
        let Some(linked) = self.fs.links.get(key) else { return Ok((key, None)) };
        if let Some(upper) = linked.upper {
            found.layers.upper = Some(upper);
        }
        Ok((key, Some(linked.count)))
    }

    fn inode_of(&self, name: &[u8], mut found: Found) -> Result<Arc<Self>> {
        let (key, links) = self.identify(&mut found)?;
        let place = Place { parent: Some(self.this()?), name: name.into() };
        let Found { layers, kind, lower_path } = found;
        let upper = layers.upper.clone();
        let inode = self.fs.get_or_make(key, || {
            Self::new(self.super_block_arc(), &self.fs, key, kind, layers, lower_path, None)
        });
        if inode.kind != kind {
            return Err(Errno::ESTALE);
        }
        if let Some(upper) = upper.filter(|_| !inode.has_upper()) {
            inode.set_upper(upper);
        }
        if let Some(links) = links {
            inode.set_links(Some(links));
        }
        inode.set_place(Some(place));
        Ok(inode)
    }
}

impl super::Overlay {
    /// The identity of a file in the upper layer: what it was copied from, or itself.
    pub(super) fn origin_of(&self, upper: &dyn Inode) -> Result<Key> {
        if let Some((index, ino)) = marker::origin(upper)
            && let Some(file_system) = self.file_systems.get(index)
        {
            return Ok((*file_system, ino));
        }
        key_of(upper)
    }
}
