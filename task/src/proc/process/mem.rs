//! `/proc/pid/mem`: a process's memory, by address.
//!
//! It stays with the program that ran when it was opened, and reads as empty once that is gone. Like a tracer's words
//! ([`crate::ptrace::memory`]), what is written goes into private mappings that the process itself may not write:
//! that needs the platform, so the system call writes through [`fn@write`] instead of [`File::write_at`].

use core::any::Any;
use std::sync::{Arc, Weak};

use chitin_abi::fs::{SEEK_CUR, SEEK_SET};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::{File, OpenFile, WriteAt};
use chitin_vfs::fs::pseudo::Node;
use chitin_vfs::io::{Sink, Source};

use super::Object;
use crate::memory::Mm;
use crate::proc::access;
use crate::ptrace::memory;

/// Most bytes that are written at a time.
const WRITE_MAX: usize = 64 << 10;

/// An open `mem`.
pub struct MemFile {
    mm: Weak<Mm>,
}

impl MemFile {
    fn mm(&self) -> Option<Arc<Mm>> {
        self.mm.upgrade().filter(|mm| mm.users() > 0)
    }
}

fn take(from: &mut dyn Source) -> Result<Vec<u8>> {
    let mut bytes = vec![0; from.remaining().min(WRITE_MAX)];
    let count = if bytes.is_empty() { 0 } else { from.take(&mut bytes)? };
    bytes.truncate(count);
    Ok(bytes)
}

impl File for MemFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        self.mm().map_or(Ok(0), |mm| super::memory::copy_out(&mm, offset, to))
    }

    fn write_at(&self, from: &mut dyn Source, at: WriteAt) -> Result<(usize, u64)> {
        let offset = match at {
            WriteAt::Offset(offset) => offset,
            WriteAt::End => 0,
        };
        let Some(mm) = self.mm() else { return Ok((0, offset)) };
        let bytes = take(from)?;
        let written = mm.memory().write_partial(GuestAddr(offset), &bytes);
        let count = written.map_err(|_| Errno::EIO)?;
        Ok((count, offset.saturating_add(count as u64)))
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        match whence {
            SEEK_SET | SEEK_CUR => {
                chitin_vfs::seek::default_seek(position, offset, whence, || Ok(0))
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

/// Writes what `from` brings, at the position or `at`.
///
/// # Errors
/// EIO where nothing is mapped that could be written, EFAULT.
pub async fn write(
    file: &OpenFile,
    from: &mut (dyn Source + Send),
    at: Option<u64>,
) -> Result<u64> {
    let Some(mem) = file.file().as_any().downcast_ref::<MemFile>() else {
        return Err(Errno::EINVAL);
    };
    let Some(mm) = mem.mm() else { return Ok(0) };
    let start = at.unwrap_or_else(|| *file.position.lock());
    let bytes = take(from)?;
    let plain = mm.memory().write_partial(GuestAddr(start), &bytes).unwrap_or(0);
    let count = match bytes.get(plain..).filter(|rest| !rest.is_empty()) {
        None => plain,
        Some(rest) => {
            let from = GuestAddr(start.saturating_add(plain as u64));
            match memory::write(&mm, from, rest).await {
                Ok(()) => bytes.len(),
                Err(errno) if plain == 0 => return Err(errno),
                Err(_) => plain,
            }
        }
    };
    if at.is_none() {
        *file.position.lock() = start.saturating_add(count as u64);
    }
    Ok(count as u64)
}

/// The node.
pub fn node(object: &Object) -> Node {
    let (opening, owner) = (object.clone(), object.clone());
    Node::custom(0o600, move |_, env| {
        let task = opening.task()?;
        access::check(env, &task)?;
        let mm = task.mm().as_ref().map_or_else(Weak::new, Arc::downgrade);
        Ok(Arc::new(MemFile { mm }))
    })
    .owned_by_now(move || owner.file_owner())
}
