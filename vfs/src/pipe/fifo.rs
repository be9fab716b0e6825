//! FIFOs: pipes that a name leads to (`fifo(7)`).
//!
//! The pipe exists while somebody has the FIFO open; a [`FifoSlot`] in the inode's state finds it. `open(2)`
//! counts as reader or writer at once and then waits for the other side.

use std::sync::{Arc, Weak};

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use super::{Pipe, PipeEnd};
use crate::file::File;
use crate::wait::WaitQueue;

/// The place in an inode's state where its pipe is found.
#[derive(Default)]
pub struct FifoSlot {
    pipe: Mutex<Weak<Pipe>>,
}

impl FifoSlot {
    /// Opens the FIFO. What is returned beside the file tells when `open` may return; `None` for at once. A
    /// caller that gives up drops both.
    ///
    /// # Errors
    /// ENXIO for a non-blocking writer without a reader, EINVAL for a strange access mode.
    pub fn open(&self, flags: OpenFlags) -> Result<(Arc<dyn File>, Option<FifoWait>)> {
        let nonblocking = flags.contains(OpenFlags::O_NONBLOCK);
        let (reads, writes) = (flags.is_readable(), flags.is_writable());
        if !reads && !writes {
            return Err(Errno::EINVAL);
        }
        let pipe = self.pipe();
        if writes && !reads && nonblocking && pipe.state.lock().readers == 0 {
            return Err(Errno::ENXIO);
        }
        let end = PipeEnd::new(&pipe, flags, reads && !writes && nonblocking);
        pipe.openers.notify(PollEvents::POLLIN);
        let wait = match (reads, writes) {
            (true, true) => None,
            _ if nonblocking => None,
            _ => FifoWait::new(&pipe, reads),
        };
        Ok((end, wait))
    }

    fn pipe(&self) -> Arc<Pipe> {
        let mut slot = self.pipe.lock();
        if let Some(pipe) = slot.upgrade() {
            return pipe;
        }
        let pipe = Pipe::new(None);
        *slot = Arc::downgrade(&pipe);
        pipe
    }
}

/// An `open(2)` of a FIFO whose other side is missing.
pub struct FifoWait {
    pipe: Arc<Pipe>,
    for_writer: bool,
    seen: u64,
}

impl FifoWait {
    fn new(pipe: &Arc<Pipe>, for_writer: bool) -> Option<Self> {
        let state = pipe.state.lock();
        let (present, seen) = if for_writer {
            (state.writers, state.writer_opens)
        } else {
            (state.readers, state.reader_opens)
        };
        (present == 0).then(|| Self { pipe: Arc::clone(pipe), for_writer, seen })
    }

    /// Whether the other side has come (it may be gone again).
    pub fn is_over(&self) -> bool {
        let state = self.pipe.state.lock();
        let opens = if self.for_writer { state.writer_opens } else { state.reader_opens };
        opens != self.seen
    }

    /// Where changes of [`FifoWait::is_over`] are told.
    pub fn wait_queue(&self) -> &Arc<WaitQueue> {
        &self.pipe.openers
    }
}
