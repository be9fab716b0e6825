//! What the open of a FIFO gives besides the file: something to wait for.

use std::sync::Arc;

use crate::file::File;
use crate::wait::WaitQueue;

/// The peer of a FIFO that an open waits for. The file is open already (its end counts for the peer); the
/// caller waits until [`FifoWait::is_ready`] and then installs the descriptor, or drops the file when a signal
/// interrupts it.
pub struct FifoWait {
    queue: Arc<WaitQueue>,
    ready: Box<dyn Fn() -> bool + Send + Sync>,
}

impl FifoWait {
    /// A wait on `queue` until `ready` says so.
    pub fn new(queue: Arc<WaitQueue>, ready: Box<dyn Fn() -> bool + Send + Sync>) -> Self {
        Self { queue, ready }
    }

    /// Is notified when the other end is opened.
    pub fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    /// Whether the other end has been opened since.
    pub fn is_ready(&self) -> bool {
        (self.ready)()
    }
}

/// An opened end of a FIFO.
pub struct FifoOpened {
    /// The end.
    pub file: Arc<dyn File>,
    /// What to wait for.
    pub wait: Option<FifoWait>,
}
