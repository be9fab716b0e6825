//! [`Node`]: the description of one file of a pseudo tree.

use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::fs::{OpenFlags, S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};

use super::dir::DynamicDir;
use super::file::{CustomOpen, FileNode, PositionedRead, Seeking, Write};
use crate::cred::Cred;
use crate::env::VfsEnv;
use crate::file::File;
use crate::inode::MagicTarget;
use crate::io::Sink;
use crate::wait::WaitQueue;

/// Who owns a node.
#[derive(Clone)]
pub enum Owner {
    /// Always these ids.
    Fixed(u32, u32),
    /// Whoever the closure says now (a process's files belong to its effective user).
    Now(Arc<dyn Fn() -> (u32, u32) + Send + Sync>),
}

/// Where a magic link leads, asked at every use.
pub type LinkTarget = Arc<dyn Fn(&VfsEnv) -> Result<MagicTarget> + Send + Sync>;
type Access = Arc<dyn Fn(u32, &Cred, &VfsEnv) -> Option<Result<()>> + Send + Sync>;
type Text = Arc<dyn Fn(&VfsEnv) -> Result<Vec<u8>> + Send + Sync>;

#[derive(Clone)]
pub(super) enum Kind {
    Dir(Arc<dyn DynamicDir>),
    File(Arc<FileNode>),
    Link { text: Text, target: Option<LinkTarget> },
    Device { rdev: u64 },
}

/// A file of a pseudo tree before anybody has looked it up.
#[derive(Clone)]
pub struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) live_mode: Option<Arc<dyn Fn() -> u32 + Send + Sync>>,
    pub(super) owner: Owner,
    pub(super) access: Option<Access>,
    pub(super) ino: Option<u64>,
    pub(super) size: u64,
}

impl Node {
    fn new(kind: Kind, mode: u32) -> Self {
        Self {
            kind,
            mode,
            live_mode: None,
            owner: Owner::Fixed(0, 0),
            access: None,
            ino: None,
            size: 0,
        }
    }

    /// A directory.
    pub fn dir(permissions: u32, entries: impl DynamicDir + 'static) -> Self {
        Self::shared_dir(permissions, Arc::new(entries))
    }

    /// A directory whose entries somebody else holds too.
    pub fn shared_dir(permissions: u32, entries: Arc<dyn DynamicDir>) -> Self {
        Self::new(Kind::Dir(entries), S_IFDIR | (permissions & 0o7777))
    }

    /// A file whose whole text is generated at the first read of an open and again whenever offset 0 is read, as
    /// the kernel's `seq_file` does. A generator that fails makes the read fail.
    pub fn text(
        permissions: u32,
        generate: impl Fn(&mut Vec<u8>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::text_for(permissions, move |_, out| generate(out))
    }

    /// A text file whose contents depend on who opened it.
    pub fn text_for(
        permissions: u32,
        generate: impl Fn(&VfsEnv, &mut Vec<u8>) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::file(permissions, FileNode { text: Some(Arc::new(generate)), ..FileNode::default() })
    }

    /// A file whose text never changes.
    pub fn fixed(permissions: u32, text: impl Into<Vec<u8>>) -> Self {
        let text: Arc<[u8]> = text.into().into();
        Self::text(permissions, move |out| {
            out.extend_from_slice(&text);
            Ok(())
        })
    }

    /// A file that is read by offset, without any text kept (`/proc/self/mem`). The closure puts bytes into the
    /// sink and returns how many; 0 is the end.
    pub fn reader(
        permissions: u32,
        read: impl Fn(u64, &mut dyn Sink) -> Result<usize> + Send + Sync + 'static,
    ) -> Self {
        let read: PositionedRead = Arc::new(read);
        Self::file(permissions, FileNode { read: Some(read), ..FileNode::default() })
    }

    /// A file that can only be written (until [`Node::on_write`] says how, writes fail).
    pub fn sink(permissions: u32) -> Self {
        Self::file(permissions, FileNode::default())
    }

    /// A file that makes its own [`File`] at every open.
    pub fn custom(
        permissions: u32,
        open: impl Fn(OpenFlags, &VfsEnv) -> Result<Arc<dyn File>> + Send + Sync + 'static,
    ) -> Self {
        let open: CustomOpen = Arc::new(open);
        Self::file(permissions, FileNode { custom: Some(open), ..FileNode::default() })
    }

    /// A symbolic link.
    pub fn symlink(text: impl Fn(&VfsEnv) -> Result<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::new(Kind::Link { text: Arc::new(text), target: None }, S_IFLNK | 0o777)
    }

    /// A link that is followed to an object, not by its text (`/proc/self/exe`).
    pub fn magic(
        permissions: u32,
        text: impl Fn(&VfsEnv) -> Result<Vec<u8>> + Send + Sync + 'static,
        target: impl Fn(&VfsEnv) -> Result<MagicTarget> + Send + Sync + 'static,
    ) -> Self {
        let target: LinkTarget = Arc::new(target);
        Self::new(
            Kind::Link { text: Arc::new(text), target: Some(target) },
            S_IFLNK | (permissions & 0o7777),
        )
    }

    /// A character device node.
    pub fn char_device(permissions: u32, rdev: u64) -> Self {
        Self::new(Kind::Device { rdev }, S_IFCHR | (permissions & 0o7777))
    }

    /// A block device node.
    pub fn block_device(permissions: u32, rdev: u64) -> Self {
        Self::new(Kind::Device { rdev }, S_IFBLK | (permissions & 0o7777))
    }

    fn file(permissions: u32, node: FileNode) -> Self {
        Self::new(Kind::File(Arc::new(node)), S_IFREG | (permissions & 0o7777))
    }

    fn change_file(mut self, change: impl FnOnce(&mut FileNode)) -> Self {
        if let Kind::File(file) = &self.kind {
            let mut file = FileNode::clone(file);
            change(&mut file);
            self.kind = Kind::File(Arc::new(file));
        }
        self
    }

    /// Says what a write does.
    pub fn on_write(
        self,
        write: impl Fn(&Write<'_>) -> Result<usize> + Send + Sync + 'static,
    ) -> Self {
        self.change_file(|file| file.write = Some(Arc::new(write)))
    }

    /// Checks made at each open, with its flags.
    pub fn on_open(
        self,
        check: impl Fn(OpenFlags, &VfsEnv) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.change_file(|file| file.check = Some(Arc::new(check)))
    }

    /// Makes the file pollable: `POLLPRI | POLLERR` is reported once each time that `generation` has changed
    /// since the open or the last poll, and `queue` is told of changes (`/proc/mounts`, `cgroup.events`).
    pub fn on_poll(
        self,
        queue: Arc<WaitQueue>,
        generation: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        self.change_file(|file| file.poll = Some((queue, Arc::new(generation))))
    }

    /// How `lseek(2)` behaves; text files are [`Seeking::Seq`] unless this says otherwise.
    pub fn seeking(self, seeking: Seeking) -> Self {
        self.change_file(|file| file.seeking = seeking)
    }

    /// Sets the owner.
    pub fn owned_by(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Owner::Fixed(uid, gid);
        self
    }

    /// Asks for the owner at every use.
    pub fn owned_by_now(self, owner: impl Fn() -> (u32, u32) + Send + Sync + 'static) -> Self {
        self.with_owner(Owner::Now(Arc::new(owner)))
    }

    /// Sets the owner.
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Asks for the permission bits at every use.
    pub fn mode_now(mut self, permissions: impl Fn() -> u32 + Send + Sync + 'static) -> Self {
        self.live_mode = Some(Arc::new(permissions));
        self
    }

    /// Decides permission checks that the mode bits do not (`/proc/PID/mem`): `None` leaves one to the mode bits.
    pub fn check_access(
        mut self,
        access: impl Fn(u32, &Cred, &VfsEnv) -> Option<Result<()>> + Send + Sync + 'static,
    ) -> Self {
        self.access = Some(Arc::new(access));
        self
    }

    /// Gives the node an inode number of its own, below 2^40. Where a name comes to stand for another object (a
    /// process id that is used again), the number must tell them apart: what has the same number is taken for the
    /// same file.
    pub fn numbered(mut self, ino: u64) -> Self {
        self.ino = Some(ino);
        self
    }

    /// Sets `st_size` (0 otherwise; links show the length of their text only with this).
    pub fn sized(mut self, size: u64) -> Self {
        self.size = size;
        self
    }

    /// Type and permission bits now.
    pub fn mode(&self) -> u32 {
        match &self.live_mode {
            Some(permissions) => (self.mode & S_IFMT) | (permissions() & 0o7777),
            None => self.mode,
        }
    }
}
