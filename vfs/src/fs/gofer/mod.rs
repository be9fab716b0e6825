//! A tree that another process serves by the gofer protocol (9P2000.L and its extension).
//!
//! Model: a [`Session`] is one connection; each file system attached to it is one of the server's trees. An inode
//! stands for one file of the server, identified by the path of its qid, and owns a *fid*, the server's handle of
//! it. Regular files are worked on by descriptors that the server donates: reading, writing, `fsync` and mapping
//! cost what they cost with a file of the host's own. A server without the extension (diod, QEMU) is
//! asked for every byte, and its files cannot be mapped.
//!
//! **Waiting.** VFS operations are synchronous, so an operation that must ask the server sends its requests, all
//! in one message where they are several, and waits for the answers in `recvmsg(2)`, for as long as the session's
//! time limit at most; a server that takes longer, or goes away, has lost the session, and everything that
//! needs it fails with EIO from then on. Such a round trip costs two context switches, about 5–10 µs with both sides on one core. What takes long
//! on slow storage (data, `fsync`) does not go this way. Requests of one session are answered one after the other.
//!
//! Caching: with [`CachePolicy::Exclusive`] nobody else changes the tree: attributes and link texts are kept with the
//! inode, names in the dentry cache; and a directory that has been listed and is then looked into name by name is
//! fetched with all attributes at once. With [`CachePolicy::Shared`] every use asks the server.
//!
//! Cost, in round trips: a lookup 1; attributes 0 when cached, else 1; opening a regular file 1, or none while a
//! descriptor with the same rights is cached; listing 1 to begin and 1 per 64 KiB of entries; making, renaming or
//! removing an entry 1; the fids of inodes that have gone ride along with another request.
//!
//! Locks: `Session::line`, held over a round trip and under no other but a directory's; each inode's own fields,
//! leaves never held over a round trip.
//!
//! References: the 9P2000.L notes of diod; `chitin-gofer-proto` for the extension.

mod change;
mod convert;
mod dir;
mod inode;
mod prefetch;
mod remote;
pub mod serve;
mod session;
mod xattr;

#[cfg(test)]
mod tests;

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use chitin_abi::fs::S_IFDIR;
use chitin_abi::{Errno, Result};
use chitin_gofer_proto::message::{Reply, Request};

use super::host::CachePolicy;
use super::host::fd_cache::FdCache;
use super::inode_table::InodeTable;
use crate::inode::Inode;
use crate::super_block::{FileSystem, FsStats, SuperBlock};

use inode::GoferInode;
use prefetch::Prefetched;
use session::Fid;

pub use session::Session;

/// How a served tree is used.
#[derive(Clone, Debug)]
pub struct GoferOptions {
    /// Refuses every change with EROFS.
    pub read_only: bool,
    /// Who else changes it.
    pub cache: CachePolicy,
    /// How many donated descriptors are kept open for later use.
    pub fd_cache: usize,
    /// The type that /proc/mounts shows.
    pub fs_name: &'static str,
    /// What /proc/mounts shows as the device.
    pub source: Vec<u8>,
}

impl Default for GoferOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            cache: CachePolicy::Exclusive,
            fd_cache: 512,
            fs_name: "9p",
            source: b"none".to_vec(),
        }
    }
}

/// A mounted tree of a server.
pub struct GoferFs {
    options: GoferOptions,
    session: Arc<Session>,
    root: Fid,
    fds: FdCache,
    table: InodeTable<u64, GoferInode>,
    prefetched: Prefetched,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How often caches could answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounters {
    /// Attributes and lookups answered from memory.
    pub hits: u64,
    /// Those that took a round trip.
    pub misses: u64,
}

impl GoferFs {
    /// Attaches the server's tree of this name.
    ///
    /// # Errors
    /// What the server says; ENOTDIR where the root is no directory; EIO when the session is lost.
    #[expect(
        clippy::new_ret_no_self,
        reason = "a file system is used through its super block and root"
    )]
    pub fn new(
        session: &Arc<Session>,
        tree: &[u8],
        options: GoferOptions,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let root = session.attach(tree)?;
        let attr = session.get_attr(root.number())?;
        if attr.mode & chitin_abi::fs::S_IFMT != S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        let source = options.source.clone();
        let fs = Arc::new(Self {
            fds: FdCache::new(options.fd_cache),
            table: InodeTable::default(),
            prefetched: Prefetched::default(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            session: Arc::clone(session),
            root,
            options,
        });
        let super_block = SuperBlock::new(Arc::clone(&fs) as Arc<dyn FileSystem>, &source);
        let inode = GoferInode::root(&fs, &super_block, &attr);
        Ok((super_block, inode))
    }

    fn check_writable(&self) -> Result<()> {
        if self.options.read_only { Err(Errno::EROFS) } else { Ok(()) }
    }

    fn is_shared(&self) -> bool {
        self.options.cache == CachePolicy::Shared
    }

    /// How often the caches of this tree could answer.
    pub fn counters(&self) -> CacheCounters {
        CacheCounters {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }

    fn count(&self, hit: bool) {
        let counter = if hit { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl FileSystem for GoferFs {
    fn name(&self) -> &'static str {
        self.options.fs_name
    }

    fn stats(&self) -> Result<FsStats> {
        let answer = self.session.ask(&Request::StatFs { fid: self.root.number() })?;
        match answer.reply()? {
            Reply::StatFs { stats } => Ok(convert::fs_stats(&stats)),
            _ => Err(Errno::EIO),
        }
    }

    fn read_only(&self) -> bool {
        self.options.read_only
    }
}
