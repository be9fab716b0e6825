//! What an overlay's upper layer has changed, as `diff` of engines shows it and as an image layer stores it.

use std::sync::Arc;

use chitin_abi::fs::{OpenFlags, S_IFDIR, S_IFMT};
use chitin_abi::{Errno, Result};

use super::inode::OverlayInode;
use super::marker;
use crate::env::VfsEnv;
use crate::inode::Inode;

/// What happened to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The lower layers have no such name.
    Added,
    /// The lower layers have it, too.
    Changed,
    /// Only the lower layers have it.
    Removed,
}

/// A name that differs from the lower layers.
pub struct Change<'a> {
    /// What happened.
    pub kind: ChangeKind,
    /// Its path from the root, without a slash before it.
    pub path: &'a [u8],
    /// What it is now; `None` for one that was removed.
    pub inode: Option<&'a Arc<dyn Inode>>,
    /// A directory of which nothing of the lower layers is seen: what is in it now is all of it.
    pub opaque: bool,
}

/// A directory to be looked at.
struct Pending {
    inode: Arc<dyn Inode>,
    path: Vec<u8>,
    /// All that is in it is new.
    whole: bool,
}

/// Tells what the upper layer of an overlay has changed, directories before what is in them.
///
/// # Errors
/// EINVAL where `root` is not the root of an overlay; those of the storage and of `visit`.
pub fn changes(
    root: &Arc<dyn Inode>,
    visit: &mut dyn FnMut(&Change<'_>) -> Result<()>,
) -> Result<()> {
    overlay_inode(root)?;
    let mut pending = vec![Pending { inode: Arc::clone(root), path: Vec::new(), whole: false }];
    while let Some(directory) = pending.pop() {
        let upper = overlay_inode(&directory.inode)?.layers().upper;
        let names = match (&upper, directory.whole) {
            (_, true) => names(&directory.inode)?,
            (Some(upper), false) => names(upper)?,
            (None, false) => continue,
        };
        for name in names {
            look(&directory, upper.as_ref(), &name, visit, &mut pending)?;
        }
    }
    Ok(())
}

fn overlay_inode(inode: &Arc<dyn Inode>) -> Result<&OverlayInode> {
    inode.as_any().downcast_ref::<OverlayInode>().ok_or(Errno::EINVAL)
}

/// The names in a directory, in order.
fn names(directory: &Arc<dyn Inode>) -> Result<Vec<Vec<u8>>> {
    let file = Arc::clone(directory).open(OpenFlags::O_DIRECTORY, &VfsEnv::default())?;
    let mut names = Vec::new();
    file.read_dir(0, &mut |entry| {
        if !matches!(entry.name, b"." | b"..") {
            names.push(entry.name.to_vec());
        }
        true
    })?;
    names.sort();
    Ok(names)
}

/// Whether the lower layers of a directory have a name, and whether a directory.
fn below(directory: &Arc<dyn Inode>, name: &[u8]) -> Result<Option<bool>> {
    for lower in overlay_inode(directory)?.layers().lowers {
        match lower.lookup(name) {
            Ok(found) if marker::is_whiteout(found.as_ref()) => return Ok(None),
            Ok(found) => return Ok(Some(found.access_info()?.mode & S_IFMT == S_IFDIR)),
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn look(
    directory: &Pending,
    upper: Option<&Arc<dyn Inode>>,
    name: &[u8],
    visit: &mut dyn FnMut(&Change<'_>) -> Result<()>,
    pending: &mut Vec<Pending>,
) -> Result<()> {
    let mut path = directory.path.clone();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    let inode = match directory.inode.lookup(name) {
        Ok(inode) => inode,
        Err(Errno::ENOENT) => {
            let kind = ChangeKind::Removed;
            return visit(&Change { kind, path: &path, inode: None, opaque: false });
        }
        Err(error) => return Err(error),
    };
    let below = if directory.whole { None } else { below(&directory.inode, name)? };
    let kind = if below.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
    let is_dir = overlay_inode(&inode)?.kind == S_IFDIR;
    let own = upper.map(|upper| upper.lookup(name)).transpose().unwrap_or(None);
    let hides = own.is_some_and(|own| {
        marker::is_opaque(own.as_ref()) || marker::redirect(own.as_ref()).is_some()
    });
    let opaque = is_dir && below == Some(true) && hides;
    visit(&Change { kind, path: &path, inode: Some(&inode), opaque })?;
    if is_dir {
        let whole = directory.whole || opaque || below != Some(true);
        pending.push(Pending { inode, path, whole });
    }
    Ok(())
}
