//! A toolkit for trees whose files are made by the kernel: `/proc`, `/sys`, cgroup, `/dev/pts`-like ones.
//!
//! A tree is described by [`Node`]s: directories, files from closures, links. A [`Node`] costs an `Arc` or two;
//! nothing else is made before something is looked up.
//!
//! ```
//! use chitin_vfs::fs::pseudo::{Dir, Node, PseudoFs, Style};
//!
//! let root = Dir::new()
//!     .with("version", Node::text(0o444, |out| Ok(out.extend_from_slice(b"Linux version 6.12\n"))))
//!     .with("sys", Node::dir(0o555, Dir::new().with("kernel", Node::dir(0o555, Dir::new()))))
//!     .with("mounts", Node::symlink(|_| Ok(b"self/mounts".to_vec())));
//! let (super_block, root) = PseudoFs::mount(Style::proc(), Node::dir(0o555, root));
//! # assert_eq!(super_block.fs().name(), "proc");
//! # assert!(root.lookup(b"version").is_ok());
//! # assert!(root.lookup(b"nothing").is_err());
//! ```
//!
//! Model: [`Dir`] holds entries that never change and keeps their inodes (so that locks, watches and a changed
//! mode stay with them); what comes and goes is a [`DynamicDir`], asked at every lookup. Inode numbers are a hash of
//! the parent's number and the name unless the node brings its own, so the same name is the same file at every
//! lookup and listing a directory makes no node. Positions in a directory are the entries' own cursors, so a
//! listing goes on at the right place while entries come and go.
//!
//! Cost: a lookup is one hash probe in a [`Dir`], an allocation of the inode in a [`DynamicDir`]; a read of a
//! text file is one generation per pass over it and one copy. No host calls.
//!
//! Locks: leaf locks of this module only (an inode's attributes, an open file's text); generators run outside them.
//!
//! References: `proc(5)`, `sysfs(5)`, the kernel's `Documentation/filesystems/seq_file.rst`.

mod dir;
mod file;
mod inode;
mod node;

pub use dir::{Dir, DirSink, DynamicDir, LazyDir, Listed, TableDir, TableEntry};
pub use file::{Seeking, TextFile, Write};
pub use inode::{PseudoFs, Style};
pub use node::{LinkTarget, Node, Owner};

#[cfg(test)]
mod tests;
