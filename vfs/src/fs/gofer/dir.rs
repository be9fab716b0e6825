//! Open directories of a served tree: entries as the server lists them, positions as it numbers them.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::{Errno, Result};
use chitin_gofer_proto::message::{Reply, Request, dir_entries};
use parking_lot::Mutex;

use super::convert::entry_kind;
use super::inode::GoferInode;
use super::session::Fid;
use crate::file::{DirEntry, File};
use crate::io::Sink;

/// Bytes of entries that are asked for at once.
const BATCH: u32 = 64 << 10;

pub(super) fn open(inode: &Arc<GoferInode>) -> Result<Arc<dyn File>> {
    let session = &inode.fs.session;
    let dir = inode.fid()?;
    if !session.is_extended() {
        let fid = session.duplicate(dir.number())?;
        session.order(&Request::Open { fid: fid.number(), flags: 0 })?;
        return Ok(OpenDir::shared(inode, fid));
    }
    let fid = session.new_fid()?;
    match session.order(&Request::OpenDir { fid: dir.number(), new_fid: fid.number() }) {
        Ok(()) => Ok(OpenDir::shared(inode, fid)),
        Err(error) => {
            fid.never_made();
            Err(error)
        }
    }
}

/// An entry that the server has listed and the guest has not taken yet.
struct Waiting {
    name: Box<[u8]>,
    ino: u64,
    kind: u8,
    next: u64,
}

#[derive(Default)]
struct Cursor {
    /// The position of the first entry that waits.
    at: u64,
    /// Entries in the order of the directory, the next one last.
    waiting: Vec<Waiting>,
}

struct OpenDir {
    inode: Arc<GoferInode>,
    fid: Fid,
    /// Held over a listing.
    cursor: Mutex<Cursor>,
}

impl OpenDir {
    fn shared(inode: &Arc<GoferInode>, fid: Fid) -> Arc<dyn File> {
        Arc::new(Self { inode: Arc::clone(inode), fid, cursor: Mutex::default() })
    }

    /// Asks for entries from a position on; false at the end.
    fn fill(&self, cursor: &mut Cursor, position: u64) -> Result<bool> {
        let session = &self.inode.fs.session;
        let count = session.io_size().min(BATCH);
        let request = Request::ReadDir { fid: self.fid.number(), offset: position, count };
        let answer = session.ask(&request)?;
        let Reply::ReadDir { entries } = answer.reply()? else { return Err(Errno::EIO) };
        let list = dir_entries(entries.0).map_err(|_| Errno::EIO)?;
        cursor.at = position;
        cursor.waiting = list
            .iter()
            .rev()
            .map(|entry| Waiting {
                name: entry.name.into(),
                ino: entry.qid.path,
                kind: entry_kind(entry.kind),
                next: entry.offset,
            })
            .collect();
        Ok(!cursor.waiting.is_empty())
    }
}

impl File for OpenDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn read_dir(&self, position: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let mut cursor = self.cursor.lock();
        if cursor.at != position || position == 0 {
            cursor.waiting.clear();
            cursor.at = position;
        }
        loop {
            if cursor.waiting.is_empty() {
                let at = cursor.at;
                if !self.fill(&mut cursor, at)? {
                    self.inode.listing.was_listed();
                    return Ok(());
                }
            }
            let Some(Waiting { name, ino, kind, next }) = cursor.waiting.last() else {
                return Ok(());
            };
            let (ino, next) = (*ino, *next);
            if !emit(DirEntry { name, ino, kind: *kind, next }) {
                return Ok(());
            }
            // A server that does not go on would be asked for ever.
            if next == cursor.at {
                return Err(Errno::EIO);
            }
            cursor.at = next;
            cursor.waiting.pop();
        }
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        let data_only = u32::from(data_only);
        self.inode.fs.session.order(&Request::Sync { fid: self.fid.number(), data_only })
    }
}
