//! `eventfd(2)`: a counter as a file.
//!
//! A read takes the whole count (or 1 in semaphore mode) and would block at zero; a write adds and would block
//! where the sum reached the largest value. Costs: one lock and one look at the wait queue, no allocation.

use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use crate::anon::AnonInode;
use crate::attr::Attr;
use crate::cred::Cred;
use crate::file::{File, OpenFile, WriteAt};
use crate::io::{Sink, Source};
use crate::wait::WaitQueue;

/// Bytes of the counter.
const WIDTH: usize = 8;

static NEXT_ID: AtomicU32 = AtomicU32::new(0);

/// An event counter.
pub struct EventFd {
    count: Mutex<u64>,
    semaphore: bool,
    id: u32,
    queue: Arc<WaitQueue>,
}

/// A new counter as an open file; `flags` may have `O_NONBLOCK`.
pub fn new_eventfd(initial: u32, semaphore: bool, flags: OpenFlags, owner: &Cred) -> Arc<OpenFile> {
    let flags = (flags & OpenFlags::O_NONBLOCK) | OpenFlags::O_RDWR;
    OpenFile::new(EventFd::new(initial, semaphore), None, flags, owner.clone())
}

impl EventFd {
    /// A counter that starts at `initial`.
    pub fn new(initial: u32, semaphore: bool) -> Arc<Self> {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { count: Mutex::new(initial.into()), semaphore, id, queue: Arc::default() })
    }

    /// Adds from inside the kernel: saturates instead of waiting.
    pub fn signal(&self, add: u64) {
        let mut count = self.count.lock();
        *count = count.saturating_add(add);
        drop(count);
        self.queue.notify(PollEvents::POLLIN);
    }
}

impl File for EventFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        if to.remaining() < WIDTH {
            return Err(Errno::EINVAL);
        }
        let taken = {
            let mut count = self.count.lock();
            let taken = match *count {
                0 => return Err(Errno::EAGAIN),
                _ if self.semaphore => 1,
                all => all,
            };
            *count -= taken;
            taken
        };
        self.queue.notify(PollEvents::POLLOUT);
        // As on Linux the count is gone even where it cannot be stored.
        match to.put(&taken.to_ne_bytes())? {
            WIDTH => Ok(WIDTH),
            _ => Err(Errno::EFAULT),
        }
    }

    fn write_at(&self, from: &mut dyn Source, _at: WriteAt) -> Result<(usize, u64)> {
        if from.remaining() != WIDTH {
            return Err(Errno::EINVAL);
        }
        let mut count = self.count.lock();
        let mut bytes = [0; WIDTH];
        if from.take(&mut bytes)? < WIDTH {
            return Err(Errno::EFAULT);
        }
        let add = u64::from_ne_bytes(bytes);
        if add == u64::MAX {
            return Err(Errno::EINVAL);
        }
        if u64::MAX - *count <= add {
            // A caller that waits tries again with the same source.
            from.give_back(WIDTH);
            return Err(Errno::EAGAIN);
        }
        *count += add;
        drop(count);
        self.queue.notify(PollEvents::POLLIN);
        Ok((WIDTH, 0))
    }

    fn ignores_seek(&self) -> bool {
        true
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self) -> PollEvents {
        let count = *self.count.lock();
        let mut events = PollEvents::empty();
        if count > 0 {
            events |= PollEvents::POLLIN;
        }
        if count == u64::MAX {
            events |= PollEvents::POLLERR;
        }
        if count < u64::MAX - 1 {
            events |= PollEvents::POLLOUT;
        }
        events
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.queue)
    }

    fn attr(&self) -> Result<Option<Attr>> {
        Ok(Some(AnonInode::anonymous().attr()))
    }

    fn fd_info(&self) -> String {
        let count = *self.count.lock();
        let semaphore = u32::from(self.semaphore);
        format!(
            "eventfd-count: {count:16x}\neventfd-id: {}\neventfd-semaphore: {semaphore}\n",
            self.id
        )
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[eventfd]".to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{SliceSink, SliceSource};

    fn add(file: &EventFd, value: u64) -> Result<usize> {
        let bytes = value.to_ne_bytes();
        file.write_at(&mut SliceSource::new(&bytes), WriteAt::Offset(0)).map(|(count, _)| count)
    }

    fn take(file: &EventFd) -> Result<u64> {
        let mut bytes = [0; 8];
        file.read_at(&mut SliceSink::new(&mut bytes), 0)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    #[test]
    fn a_read_takes_the_whole_count() {
        let file = EventFd::new(3, false);
        assert_eq!(add(&file, 4), Ok(8));
        assert_eq!(take(&file), Ok(7));
        assert_eq!(take(&file), Err(Errno::EAGAIN));
    }

    #[test]
    fn a_semaphore_gives_one_at_a_time() {
        let file = EventFd::new(2, true);
        assert_eq!((take(&file), take(&file), take(&file)), (Ok(1), Ok(1), Err(Errno::EAGAIN)));
    }

    #[test]
    fn the_largest_value_would_block_and_one_more_is_invalid() {
        let file = EventFd::new(0, false);
        assert_eq!(add(&file, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(add(&file, u64::MAX - 1), Ok(8));
        assert_eq!(file.poll(), PollEvents::POLLIN);
        assert_eq!(add(&file, 1), Err(Errno::EAGAIN));
        assert_eq!(take(&file), Ok(u64::MAX - 1));
        assert_eq!(file.poll(), PollEvents::POLLOUT);
    }

    #[test]
    fn short_buffers_are_invalid() {
        let file = EventFd::new(1, false);
        assert_eq!(file.read_at(&mut SliceSink::new(&mut [0; 7]), 0), Err(Errno::EINVAL));
        assert_eq!(file.write_at(&mut SliceSource::new(&[0; 4]), WriteAt::End), Err(Errno::EINVAL));
    }
}
