//! An end of a pipe as an open file.

use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use chitin_abi::fs::{FIONREAD, OpenFlags};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Result};

use super::Pipe;
use crate::attr::{Attr, SetAttr};
use crate::file::{File, IoctlContext, WriteAt};
use crate::io::{Sink, Source};
use crate::wait::WaitQueue;

/// A reader, a writer, or (a FIFO opened `O_RDWR`) both.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    packets: AtomicBool,
    /// How many writers had ever been there when this end was opened without one: until the next comes there
    /// is no hang-up to report.
    quiet_until: Option<u64>,
}

impl PipeEnd {
    /// An end of `pipe` with the access mode in `flags`. With `quiet`, an end that is opened while there is no
    /// writer reports no hang-up until one has come and gone.
    pub(super) fn new(pipe: &Arc<Pipe>, flags: OpenFlags, quiet: bool) -> Arc<Self> {
        let (reads, writes) = (flags.is_readable(), flags.is_writable());
        let quiet_until = {
            let mut state = pipe.state.lock();
            let quiet_until = (quiet && state.writers == 0).then_some(state.writer_opens);
            if reads {
                state.readers += 1;
                state.reader_opens = state.reader_opens.wrapping_add(1);
            }
            if writes {
                state.writers += 1;
                state.writer_opens = state.writer_opens.wrapping_add(1);
            }
            quiet_until
        };
        let packets = AtomicBool::new(flags.contains(OpenFlags::O_DIRECT));
        Arc::new(Self { pipe: Arc::clone(pipe), reads, writes, packets, quiet_until })
    }

    /// The pipe that it belongs to.
    pub fn pipe(&self) -> &Arc<Pipe> {
        &self.pipe
    }

    /// Whether both are ends of one pipe.
    pub fn same_pipe(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pipe, &other.pipe)
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let events = {
            let mut state = self.pipe.state.lock();
            state.readers = state.readers.saturating_sub(usize::from(self.reads));
            state.writers = state.writers.saturating_sub(usize::from(self.writes));
            let mut events = PollEvents::empty();
            if self.writes && state.writers == 0 {
                events |= PollEvents::POLLHUP | PollEvents::POLLIN | PollEvents::POLLRDNORM;
            }
            if self.reads && state.readers == 0 {
                events |= PollEvents::POLLERR | PollEvents::POLLOUT | PollEvents::POLLWRNORM;
            }
            events
        };
        if !events.is_empty() {
            self.pipe.queue.notify(events);
        }
    }
}

impl File for PipeEnd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        if !self.reads {
            return Err(Errno::EBADF);
        }
        if to.remaining() == 0 {
            return Ok(0);
        }
        let mut state = self.pipe.state.lock();
        if state.draining {
            return Err(Errno::EAGAIN);
        }
        if state.ring.is_empty() {
            return if state.writers == 0 { Ok(0) } else { Err(Errno::EAGAIN) };
        }
        let was_full = state.ring.is_full();
        let result = state.ring.read(to);
        let made_room = was_full && !state.ring.is_full();
        drop(state);
        if made_room {
            self.pipe.notify_room();
        }
        result
    }

    fn write_at(&self, from: &mut dyn Source, _at: WriteAt) -> Result<(usize, u64)> {
        if !self.writes {
            return Err(Errno::EBADF);
        }
        if from.remaining() == 0 {
            return Ok((0, 0));
        }
        let mut state = self.pipe.state.lock();
        if state.readers == 0 {
            return Err(Errno::EPIPE);
        }
        let done = state.ring.write(from, self.packets.load(Ordering::Relaxed))?;
        drop(state);
        if done == 0 {
            return Err(Errno::EAGAIN);
        }
        self.pipe.notify_data();
        Ok((done, 0))
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn writes_whole(&self) -> bool {
        true
    }

    fn poll(&self) -> PollEvents {
        let state = self.pipe.state.lock();
        let mut events = PollEvents::empty();
        if self.reads {
            if !state.ring.is_empty() && !state.draining {
                events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
            }
            if state.writers == 0 && self.quiet_until != Some(state.writer_opens) {
                events |= PollEvents::POLLHUP;
            }
        }
        if self.writes {
            if !state.ring.is_full() {
                events |= PollEvents::POLLOUT | PollEvents::POLLWRNORM;
            }
            if state.readers == 0 {
                events |= PollEvents::POLLERR;
            }
        }
        events
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.pipe.queue)
    }

    fn attr(&self) -> Result<Option<Attr>> {
        Ok(self.pipe.inode.as_ref().map(crate::anon::AnonInode::attr))
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let inode = self.pipe.inode.as_ref().ok_or(Errno::EINVAL)?;
        if change.size.is_some() {
            return Err(Errno::EINVAL);
        }
        inode.set_attr(change);
        Ok(())
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let bytes = self.pipe.state.lock().ring.bytes();
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        context.memory().write(argument, &bytes.to_ne_bytes())?;
        Ok(0)
    }

    fn allocate(&self, _mode: u32, _offset: u64, _length: u64) -> Result<()> {
        Err(Errno::ESPIPE)
    }

    fn flags_changed(&self, flags: OpenFlags) {
        self.packets.store(flags.contains(OpenFlags::O_DIRECT), Ordering::Relaxed);
    }

    fn reopen(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn File>> {
        // Another end of the same pipe, by /proc/self/fd; never waits for the other side.
        Ok(Self::new(&self.pipe, flags, false))
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        let inode = self.pipe.inode.as_ref()?;
        Some(format!("pipe:[{}]", inode.ino()).into_bytes())
    }
}
