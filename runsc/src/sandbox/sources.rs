//! Directories and files of the host that a sandbox may see, as detached copies of their mounts.
//!
//! A copy (`open_tree` with `OPEN_TREE_CLONE`) is attached nowhere: `..` at its root stays there, whoever holds it,
//! so that a descriptor of it gives away nothing but what is below. The copies are `nosuid` and `nodev`, and
//! read-only where the container cannot write. They vanish with the last descriptor.
//!
//! Whoever has the right makes them: the command itself, or else the sentry in its own user and mount namespaces
//! before it is confined.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::Plan;
use crate::confine::root::EmptyRoot;
use crate::error::{Context as _, Result};
use crate::oci::mounts::Kind;

/// What is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    path: PathBuf,
    recursive: bool,
    read_only: bool,
}

/// An opened source.
#[derive(Debug)]
pub(crate) enum Tree {
    /// A directory.
    Directory(OwnedFd),
    /// A single file: its name in the sentry's root directory.
    File(String),
}

/// The trees of a sandbox: the root's, then those of its bind mounts in their order.
#[derive(Debug)]
pub(crate) struct Sources {
    wanted: Vec<Wanted>,
    opened: Vec<Option<OwnedFd>>,
}

impl Sources {
    /// What a plan needs, opened as far as this process may.
    pub(crate) fn open(plan: &Plan) -> Result<Self> {
        let root = Wanted {
            path: plan.root.source.clone(),
            recursive: true,
            read_only: plan.root.overlay || plan.root.read_only,
        };
        // An image is no tree: it is opened by itself.
        let mut wanted = if plan.root.image { Vec::new() } else { vec![root] };
        for mount in &plan.mounts {
            if let Kind::Bind { source, recursive } = &mount.kind {
                let (recursive, read_only) = (*recursive, mount.flags.read_only);
                wanted.push(Wanted { path: source.clone(), recursive, read_only });
            }
        }
        let opened = wanted.iter().map(open_if_allowed).collect::<Result<_>>()?;
        Ok(Self { wanted, opened })
    }

    /// Opens the rest, in namespaces of the sandbox, and puts single files into its root directory.
    pub(crate) fn finish(self, root: &mut EmptyRoot) -> Result<Vec<Tree>> {
        let mut trees = Vec::new();
        for (wanted, opened) in self.wanted.into_iter().zip(self.opened) {
            let fd = opened.map_or_else(|| open_here(&wanted), Ok)?;
            let kind = rustix::fs::fstat(&fd).map(|stat| stat.st_mode & libc::S_IFMT);
            let kind = kind.context(|| describe(&wanted))?;
            trees.push(if kind == libc::S_IFDIR {
                Tree::Directory(fd)
            } else {
                Tree::File(root.attach(&fd).context(|| describe(&wanted))?)
            });
        }
        Ok(trees)
    }

    /// The descriptors that are open already.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        self.opened.iter().flatten()
    }
}

fn open_if_allowed(wanted: &Wanted) -> Result<Option<OwnedFd>> {
    match clone(&wanted.path, wanted.recursive, wanted.read_only) {
        Ok(tree) => Ok(Some(tree)),
        // Not this process, but perhaps the sentry in its own namespaces.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM)) => Ok(None),
        Err(error) => Err(error).context(|| describe(wanted)),
    }
}

fn open_here(wanted: &Wanted) -> Result<OwnedFd> {
    let first = clone(&wanted.path, wanted.recursive, wanted.read_only);
    let result = match first {
        // Mounts below it are locked to it in this namespace: they come along.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && !wanted.recursive => {
            clone(&wanted.path, true, wanted.read_only)
        }
        other => other,
    };
    result.context(|| describe(wanted))
}

fn describe(wanted: &Wanted) -> String {
    format!("cannot open {} for the sandbox", wanted.path.display())
}

fn clone(path: &Path, recursive: bool, read_only: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = match open_tree(CWD, path, flags) {
        Err(Errno::NOSYS) => {
            return Err(io::Error::other(
                "this host lacks open_tree(2): Linux 5.12 or later is needed",
            ));
        }
        other => other?,
    };
    let mut attributes = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    if read_only {
        attributes |= libc::MOUNT_ATTR_RDONLY;
    }
    crate::raw::mount_setattr(tree.as_fd(), attributes, recursive)?;
    Ok(tree)
}
