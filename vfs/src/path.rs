//! Paths: a dentry as seen through a mount.

use std::sync::Arc;

use crate::dentry::Dentry;
use crate::inode::Inode;
use crate::mount::Mount;

/// A place in the mount tree. It always names something that exists or existed.
#[derive(Clone)]
pub struct Path {
    mount: Arc<Mount>,
    dentry: Arc<Dentry>,
}

/// The text of a path as `getcwd(2)` and /proc show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathText {
    /// The path, without marks; always begins with `/`.
    pub bytes: Vec<u8>,
    /// The name has been removed: shown as ` (deleted)` behind the path.
    pub deleted: bool,
    /// It is not below the root that was asked for: shown as `(unreachable)` before the path.
    pub unreachable: bool,
}

impl PathText {
    /// The text as the links in /proc show it: they do not say what cannot be reached.
    pub fn into_link(self) -> Vec<u8> {
        Self { unreachable: false, ..self }.into_bytes()
    }

    /// The text with its marks, as `getcwd(2)` writes it.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut text = if self.unreachable { b"(unreachable)".to_vec() } else { Vec::new() };
        text.extend_from_slice(&self.bytes);
        if self.deleted {
            text.extend_from_slice(b" (deleted)");
        }
        text
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }
}

impl Eq for Path {}

impl core::fmt::Debug for Path {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Path(mount {}, {})",
            self.mount.id(),
            String::from_utf8_lossy(&self.dentry.name())
        )
    }
}

impl Path {
    /// A dentry seen through a mount of its tree.
    pub fn new(mount: Arc<Mount>, dentry: Arc<Dentry>) -> Self {
        Self { mount, dentry }
    }

    /// The file.
    pub fn inode(&self) -> Arc<dyn Inode> {
        Arc::clone(self.dentry.inode())
    }

    /// The mount.
    pub fn mount(&self) -> &Arc<Mount> {
        &self.mount
    }

    /// The name.
    pub fn dentry(&self) -> &Arc<Dentry> {
        &self.dentry
    }

    /// The same mount, another dentry of it.
    pub(crate) fn with_dentry(&self, dentry: Arc<Dentry>) -> Self {
        Self { mount: Arc::clone(&self.mount), dentry }
    }

    /// Whether this is the root of its mount.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.dentry, self.mount.root())
    }

    /// The directory above, across mounts; the path itself at the top of everything or at `root`.
    pub fn parent(&self, root: &Path) -> Path {
        let mut at = self.clone();
        loop {
            if at == *root {
                return at;
            }
            if at.is_mount_root() {
                match at.mount.mount_point() {
                    Some(below) => at = below,
                    None => return at,
                }
                continue;
            }
            return match at.dentry.parent() {
                Some(parent) => Self { mount: at.mount, dentry: parent },
                None => at,
            };
        }
    }

    /// What is mounted on this path, to the top.
    pub fn cross_mounts(mut self) -> Path {
        while self.dentry.is_mount_point() {
            match self.mount.mounted_at(&self.dentry) {
                Some(mount) => {
                    let dentry = Arc::clone(mount.root());
                    self = Self { mount, dentry };
                }
                None => break,
            }
        }
        self
    }

    /// Whether this is `ancestor` or below it, across mounts.
    pub fn is_below(&self, ancestor: &Path) -> bool {
        let mut at = self.clone();
        loop {
            if Arc::ptr_eq(&at.mount, &ancestor.mount) {
                return at.dentry.is_below(&ancestor.dentry);
            }
            match at.mount.mount_point() {
                Some(below) => at = below,
                None => return false,
            }
        }
    }

    /// The path's text as seen from `root` (`d_path`).
    pub fn text(&self, root: &Path) -> PathText {
        let deleted = self.dentry.is_unlinked();
        let mut parts = Vec::new();
        let mut at = self.clone();
        let unreachable = loop {
            if at == *root {
                break false;
            }
            if at.is_mount_root() {
                match at.mount.mount_point() {
                    Some(below) => at = below,
                    None => break true,
                }
                continue;
            }
            let (parent, name) = at.dentry.place();
            match parent {
                Some(parent) => {
                    parts.push(name);
                    at.dentry = parent;
                }
                None => break true,
            }
        };
        let mut bytes =
            Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum::<usize>().max(1));
        for part in parts.iter().rev() {
            bytes.push(b'/');
            bytes.extend_from_slice(part);
        }
        if bytes.is_empty() {
            bytes.push(b'/');
        }
        PathText { bytes, deleted, unreachable }
    }
}
