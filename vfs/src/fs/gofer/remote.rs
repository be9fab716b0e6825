//! Open regular files of a server that donates no descriptors: every byte is asked for.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::{Errno, Result};
use chitin_gofer_proto::message::{Data, Reply, Request};

use super::inode::GoferInode;
use super::session::Fid;
use crate::file::{File, WriteAt};
use crate::fs::host::file::Regular as _;
use crate::inode::Inode as _;
use crate::io::{Sink, Source};

/// Most bytes that one request moves.
const CHUNK: usize = 64 << 10;

pub(super) fn open(inode: Arc<GoferInode>, flags: OpenFlags) -> Result<Arc<dyn File>> {
    let session = &inode.fs.session;
    let fid = session.duplicate(inode.fid()?.number())?;
    let access = if flags.is_writable() { OpenFlags::O_RDWR } else { OpenFlags::empty() };
    session.order(&Request::Open { fid: fid.number(), flags: access.bits() })?;
    Ok(Arc::new(RemoteFile { inode, fid }))
}

struct RemoteFile {
    inode: Arc<GoferInode>,
    fid: Fid,
}

impl RemoteFile {
    fn chunk(&self, wanted: usize) -> usize {
        wanted.min(CHUNK).min(self.inode.fs.session.io_size() as usize)
    }

    fn read_once(&self, to: &mut dyn Sink, offset: u64) -> Result<(usize, bool)> {
        let wanted = self.chunk(to.remaining());
        let count = u32::try_from(wanted).map_err(|_| Errno::EINVAL)?;
        let request = Request::Read { fid: self.fid.number(), offset, count };
        let answer = self.inode.fs.session.ask(&request)?;
        let Reply::Read { data } = answer.reply()? else { return Err(Errno::EIO) };
        let bytes = data.0.get(..wanted).unwrap_or(data.0);
        let stored = to.put(bytes)?;
        Ok((stored, stored == wanted))
    }

    fn write_once(&self, from: &mut dyn Source, offset: u64) -> Result<(usize, bool)> {
        let mut buffer = vec![0; self.chunk(from.remaining())];
        let taken = from.take(&mut buffer)?;
        let data = Data(buffer.get(..taken).unwrap_or_default());
        let request = Request::Write { fid: self.fid.number(), offset, data };
        let answer = self.inode.fs.session.ask(&request)?;
        let Reply::Write { count } = answer.reply()? else { return Err(Errno::EIO) };
        let count = (count as usize).min(taken);
        Ok((count, count == taken && taken > 0))
    }
}

impl File for RemoteFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        let mut done = 0usize;
        while to.remaining() > 0 {
            match self.read_once(to, offset.saturating_add(done as u64)) {
                Ok((count, goes_on)) => {
                    done = done.saturating_add(count);
                    if !goes_on {
                        break;
                    }
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn write_at(&self, from: &mut dyn Source, at: WriteAt) -> Result<(usize, u64)> {
        let _appending = (at == WriteAt::End).then(|| self.inode.appending().lock());
        let start = match at {
            WriteAt::Offset(offset) => offset,
            WriteAt::End => {
                self.inode.changed();
                self.inode.attr()?.size
            }
        };
        let mut done = 0usize;
        let mut result = Ok(());
        while from.remaining() > 0 {
            match self.write_once(from, start.saturating_add(done as u64)) {
                Ok((count, goes_on)) => {
                    done = done.saturating_add(count);
                    if !goes_on {
                        break;
                    }
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        self.inode.changed();
        if done == 0 {
            result?;
        }
        Ok((done, start.saturating_add(done as u64)))
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        crate::seek::default_seek(position, offset, whence, || Ok(self.inode.attr()?.size))
    }

    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<()> {
        if !self.inode.fs.session.is_extended() {
            return Err(Errno::EOPNOTSUPP);
        }
        let request = Request::Allocate { fid: self.fid.number(), mode, offset, length };
        let result = self.inode.fs.session.order(&request);
        self.inode.changed();
        result
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        let data_only = u32::from(data_only);
        self.inode.fs.session.order(&Request::Sync { fid: self.fid.number(), data_only })
    }
}
