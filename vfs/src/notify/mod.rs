//! File notification: `inotify(7)`, and `fanotify(7)` in [`fanotify`].
//!
//! Watches hang on inodes ([`crate::inode_state::InodeState`]) and are kept by their [`Inotify`] instance.
//! Operations raise events through the functions here after they have released their locks. An event of a file
//! also goes to watches of the directory that it is in, with its name.
//!
//! Cost of an event that nobody watches: two atomic loads (one where nothing in the tree is watched). Locks:
//! the list of an inode's watches, then an instance's queue; both are leaves.

pub mod fanotify;
mod instance;
mod raise;
#[cfg(test)]
mod tests;

pub(crate) use self::fanotify::MarkList;
pub use self::instance::{Inotify, Watch};
pub(crate) use self::raise::open_exec;
pub use self::raise::{access, close, modify, open};
pub(crate) use self::raise::{
    attributes, created, deleted, dentry_gone, link_count, linked, moved, path_modified,
    times_changed, unmounted,
};
