//! Extended attributes of served files.

use chitin_abi::fs::XATTR_SIZE_MAX;
use chitin_abi::{Errno, Result};
use chitin_gofer_proto::message::{Data, Reply, Request, Text};

use super::inode::GoferInode;
use crate::fs::host::file::Regular as _;

pub(super) fn get(inode: &GoferInode, name: &[u8]) -> Result<Vec<u8>> {
    let session = &inode.fs.session;
    if !session.is_extended() {
        return read_plain(inode, name);
    }
    let answer =
        session.ask(&Request::XattrGet { fid: inode.fid()?.number(), name: Text(name) })?;
    match answer.reply()? {
        Reply::XattrGet { value } => Ok(value.0.to_vec()),
        _ => Err(Errno::EIO),
    }
}

pub(super) fn list(inode: &GoferInode) -> Result<Vec<Vec<u8>>> {
    let session = &inode.fs.session;
    let names = if session.is_extended() {
        let answer = session.ask(&Request::XattrList { fid: inode.fid()?.number() })?;
        let Reply::XattrList { names } = answer.reply()? else { return Err(Errno::EIO) };
        names.0.to_vec()
    } else {
        match read_plain(inode, b"") {
            Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
            other => other?,
        }
    };
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// A value, or the list of names for an empty name, by the messages that plain 9P2000.L has.
fn read_plain(inode: &GoferInode, name: &[u8]) -> Result<Vec<u8>> {
    let session = &inode.fs.session;
    let fid = session.new_fid()?;
    let walk =
        Request::XattrWalk { fid: inode.fid()?.number(), new_fid: fid.number(), name: Text(name) };
    let size = match session.ask(&walk).and_then(|answer| match answer.reply()? {
        Reply::XattrWalk { size } => Ok(size),
        _ => Err(Errno::EIO),
    }) {
        Ok(size) => usize::try_from(size).unwrap_or(usize::MAX),
        Err(error) => {
            fid.never_made();
            return Err(error);
        }
    };
    if size > XATTR_SIZE_MAX as usize {
        return Err(Errno::E2BIG);
    }
    let mut value = Vec::new();
    while value.len() < size {
        let wanted = size.saturating_sub(value.len()).min(session.io_size() as usize);
        let count = u32::try_from(wanted).map_err(|_| Errno::EIO)?;
        let read = Request::Read { fid: fid.number(), offset: value.len() as u64, count };
        let answer = session.ask(&read)?;
        match answer.reply()? {
            Reply::Read { data: Data(b"") } => break,
            Reply::Read { data } => {
                value.extend_from_slice(data.0.get(..wanted).unwrap_or(data.0));
            }
            _ => return Err(Errno::EIO),
        }
    }
    Ok(value)
}

pub(super) fn set(inode: &GoferInode, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
    let session = &inode.fs.session;
    let (fid, name) = (inode.fid()?, Text(name));
    if session.is_extended() {
        let value = Data(value);
        session.order(&Request::XattrSet { fid: fid.number(), name, value, flags })?;
    } else {
        let copy = session.duplicate(fid.number())?;
        let (fid, size) = (copy.number(), value.len() as u64);
        session.order(&Request::XattrCreate { fid, name, size, flags })?;
        session.order(&Request::Write { fid, offset: 0, data: Data(value) })?;
        // The clunk is what sets it, and what fails.
        let result = session.order(&Request::Clunk { fid });
        copy.never_made();
        result?;
    }
    inode.changed();
    Ok(())
}

pub(super) fn remove(inode: &GoferInode, name: &[u8]) -> Result<()> {
    if !inode.fs.session.is_extended() {
        return Err(Errno::EOPNOTSUPP);
    }
    let fid = inode.fid()?;
    inode.fs.session.order(&Request::XattrRemove { fid: fid.number(), name: Text(name) })?;
    inode.changed();
    Ok(())
}
