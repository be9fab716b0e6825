//! Open files of a pseudo tree.

use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use chitin_abi::fs::{OpenFlags, SEEK_CUR, SEEK_END, SEEK_SET};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use crate::env::VfsEnv;
use crate::file::{File, WriteAt};
use crate::io::{Sink, Source};
use crate::wait::WaitQueue;

/// Most bytes that one write hands to a handler; a longer write is short.
const WRITE_MAX: usize = 64 << 10;

pub(super) type Generate = Arc<dyn Fn(&VfsEnv, &mut Vec<u8>) -> Result<()> + Send + Sync>;
pub(super) type PositionedRead = Arc<dyn Fn(u64, &mut dyn Sink) -> Result<usize> + Send + Sync>;
pub(super) type Handler = Arc<dyn Fn(&Write<'_>) -> Result<usize> + Send + Sync>;
pub(super) type CustomOpen = Arc<dyn Fn(OpenFlags, &VfsEnv) -> Result<Arc<dyn File>> + Send + Sync>;
type Check = Arc<dyn Fn(OpenFlags, &VfsEnv) -> Result<()> + Send + Sync>;
type Generation = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a write brings.
#[derive(Clone, Copy)]
pub struct Write<'a> {
    /// The bytes (at most 64 KiB of them at a time).
    pub bytes: &'a [u8],
    /// Where they are to go.
    pub offset: u64,
    /// Flags that the file was opened with.
    pub flags: OpenFlags,
    /// Who opened the file.
    pub env: &'a VfsEnv,
}

impl<'a> Write<'a> {
    /// The bytes without white space around them and without NULs behind them, as settings are parsed.
    pub fn trimmed(&self) -> &'a [u8] {
        let end = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(self.bytes.len());
        self.bytes.get(..end).unwrap_or_default().trim_ascii()
    }

    /// The trimmed bytes as a number.
    ///
    /// # Errors
    /// EINVAL.
    pub fn number<N: core::str::FromStr>(&self) -> Result<N> {
        let text = core::str::from_utf8(self.trimmed()).map_err(|_| Errno::EINVAL)?;
        text.parse().map_err(|_| Errno::EINVAL)
    }
}

/// What `lseek(2)` does with the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seeking {
    /// `SEEK_SET` and `SEEK_CUR` (the kernel's `seq_lseek`, `mem_lseek`).
    #[default]
    Seq,
    /// Also `SEEK_END`, from the size 0 that `stat` shows (`default_llseek`).
    Default,
    /// ESPIPE (`nonseekable_open`).
    None,
}

/// The behaviour of a regular file of a pseudo tree.
#[derive(Clone, Default)]
pub(super) struct FileNode {
    pub text: Option<Generate>,
    pub read: Option<PositionedRead>,
    pub write: Option<Handler>,
    pub custom: Option<CustomOpen>,
    pub check: Option<Check>,
    pub poll: Option<(Arc<WaitQueue>, Generation)>,
    pub seeking: Seeking,
}

impl FileNode {
    /// Opens the file; `strict` trees (sysfs, cgroup) refuse a direction that has no handler with EACCES.
    pub fn open(
        self: &Arc<Self>,
        flags: OpenFlags,
        env: &VfsEnv,
        strict: bool,
    ) -> Result<Arc<dyn File>> {
        if let Some(check) = &self.check {
            check(flags, env)?;
        }
        if let Some(custom) = &self.custom {
            return custom(flags, env);
        }
        let unreadable = flags.is_readable() && self.text.is_none() && self.read.is_none();
        let unwritable = flags.is_writable() && self.write.is_none();
        if strict && (unreadable || unwritable) {
            return Err(Errno::EACCES);
        }
        let seen = self.poll.as_ref().map_or(0, |(_, generation)| generation());
        Ok(Arc::new(TextFile {
            node: Arc::clone(self),
            flags,
            env: env.clone(),
            text: Mutex::new(None),
            seen: AtomicU64::new(seen),
        }))
    }
}

/// An open file whose contents come from closures.
pub struct TextFile {
    node: Arc<FileNode>,
    flags: OpenFlags,
    env: VfsEnv,
    text: Mutex<Option<Arc<[u8]>>>,
    seen: AtomicU64,
}

impl TextFile {
    fn text(&self, generate: &Generate, offset: u64) -> Result<Arc<[u8]>> {
        if offset != 0
            && let Some(text) = self.text.lock().clone()
        {
            return Ok(text);
        }
        let mut fresh = Vec::new();
        generate(&self.env, &mut fresh)?;
        let fresh: Arc<[u8]> = fresh.into();
        *self.text.lock() = Some(Arc::clone(&fresh));
        Ok(fresh)
    }
}

impl File for TextFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        if let Some(read) = &self.node.read {
            return read(offset, to);
        }
        let generate = self.node.text.as_ref().ok_or(Errno::EINVAL)?;
        let text = self.text(generate, offset)?;
        let rest =
            usize::try_from(offset).ok().and_then(|start| text.get(start..)).unwrap_or_default();
        if rest.is_empty() || to.remaining() == 0 {
            return Ok(0);
        }
        to.put(rest)
    }

    fn write_at(&self, from: &mut dyn Source, at: WriteAt) -> Result<(usize, u64)> {
        let write = self.node.write.as_ref().ok_or(Errno::EINVAL)?;
        let offset = match at {
            WriteAt::Offset(offset) => offset,
            WriteAt::End => 0,
        };
        let mut bytes = vec![0; from.remaining().min(WRITE_MAX)];
        let mut count = 0;
        while let Some(room) = bytes.get_mut(count..).filter(|room| !room.is_empty()) {
            match from.take(room) {
                Ok(0) => break,
                Ok(taken) => count = count.saturating_add(taken),
                Err(error) if count == 0 => return Err(error),
                Err(_) => break,
            }
        }
        bytes.truncate(count);
        let done = write(&Write { bytes: &bytes, offset, flags: self.flags, env: &self.env })?;
        Ok((done, offset.saturating_add(done as u64)))
    }

    fn is_stream(&self) -> bool {
        self.node.seeking == Seeking::None
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        match (self.node.seeking, whence) {
            (Seeking::None, _) => Err(Errno::ESPIPE),
            (_, SEEK_SET | SEEK_CUR) | (Seeking::Default, SEEK_END) => {
                crate::seek::default_seek(position, offset, whence, || Ok(0))
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn poll(&self) -> PollEvents {
        let ready = PollEvents::POLLIN
            | PollEvents::POLLOUT
            | PollEvents::POLLRDNORM
            | PollEvents::POLLWRNORM;
        let Some((_, generation)) = &self.node.poll else { return ready };
        let now = generation();
        if self.seen.swap(now, Ordering::Relaxed) == now {
            return PollEvents::POLLIN | PollEvents::POLLRDNORM;
        }
        PollEvents::POLLIN | PollEvents::POLLRDNORM | PollEvents::POLLERR | PollEvents::POLLPRI
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        self.node.poll.as_ref().map(|(queue, _)| queue)
    }
}
