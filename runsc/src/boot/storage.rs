//! Where the container's files of the host are: behind descriptors of the sentry's own, or behind a gofer.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::Errno;
use chitin_vfs::fs::erofs::Erofs;
use chitin_vfs::fs::gofer::{GoferFs, GoferOptions, Session};
use chitin_vfs::fs::host::{CachePolicy, HostFs, HostOptions};
use chitin_vfs::inode::Inode;
use chitin_vfs::super_block::SuperBlock;

use crate::gofer;
use crate::sandbox::Plan;
use crate::sandbox::sources::Tree;

/// A file system and its root.
pub(super) type Instance = (Arc<SuperBlock>, Arc<dyn Inode>);

/// The sources of the container's mounts, in their order.
pub(super) struct Storage {
    /// The image of the root, if it is one.
    pub image: Option<OwnedFd>,
    kind: Kind,
    how: std::vec::IntoIter<(bool, CachePolicy)>,
}

enum Kind {
    /// Descriptors, and the directory of single files.
    Direct { trees: std::vec::IntoIter<Tree>, files: Option<OwnedFd> },
    /// A gofer; how many sources, and how many single files, have been taken.
    Gofer { session: Arc<Session>, sources: usize, files: usize },
}

/// A source.
pub(super) enum Source {
    /// A directory, as a file system of its own.
    Directory(Instance),
    /// A single file, by its name in [`Storage::files`].
    File(String),
}

impl Storage {
    /// The sources of descriptors.
    pub fn direct(plan: &Plan, trees: Vec<Tree>, files: Option<OwnedFd>) -> Self {
        Self::new(plan, Kind::Direct { trees: trees.into_iter(), files })
    }

    /// The sources of a gofer.
    pub fn gofer(plan: &Plan, session: Arc<Session>) -> Self {
        Self::new(plan, Kind::Gofer { session, sources: 0, files: 0 })
    }

    fn new(plan: &Plan, kind: Kind) -> Self {
        Self { image: None, kind, how: plan.host_files().into_iter() }
    }

    /// The root's file system: an image, or the first source.
    pub fn root(&mut self) -> Result<Source, Errno> {
        match self.image.take() {
            Some(fd) => Ok(Source::Directory(Erofs::new(Arc::new(fd), b"none")?)),
            None => self.next(b"none"),
        }
    }

    /// The next source; `device` is what /proc/mounts shows.
    pub fn next(&mut self, device: &[u8]) -> Result<Source, Errno> {
        let how = self.how.next().ok_or(Errno::ENOENT)?;
        match &mut self.kind {
            Kind::Direct { trees, .. } => match trees.next().ok_or(Errno::ENOENT)? {
                Tree::Directory(fd) => Ok(Source::Directory(host(fd, how, device)?)),
                Tree::File(name) => Ok(Source::File(name)),
            },
            Kind::Gofer { session, sources, files } => {
                let name = gofer::tree_name(*sources);
                *sources = sources.saturating_add(1);
                match served(session, name.as_bytes(), how, device) {
                    Err(Errno::ENOENT) => {
                        let name = files.to_string();
                        *files = files.saturating_add(1);
                        Ok(Source::File(name))
                    }
                    other => Ok(Source::Directory(other?)),
                }
            }
        }
    }

    /// The directory of single files.
    pub fn files(&mut self) -> Result<Instance, Errno> {
        let how = (false, CachePolicy::Shared);
        match &mut self.kind {
            Kind::Direct { files, .. } => host(files.take().ok_or(Errno::ENOENT)?, how, b"none"),
            Kind::Gofer { session, .. } => served(session, gofer::FILES, how, b"none"),
        }
    }
}

fn host(
    fd: OwnedFd,
    (read_only, cache): (bool, CachePolicy),
    device: &[u8],
) -> Result<Instance, Errno> {
    let source = device.to_vec();
    HostFs::new(fd, HostOptions { read_only, cache, source, ..HostOptions::default() })
}

fn served(
    session: &Arc<Session>,
    name: &[u8],
    (read_only, cache): (bool, CachePolicy),
    device: &[u8],
) -> Result<Instance, Errno> {
    let source = device.to_vec();
    let options = GoferOptions { read_only, cache, source, ..GoferOptions::default() };
    GoferFs::new(session, name, options)
}
