//! Messages between unix sockets, and the account of what a socket has sent and nobody has read yet.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_vfs::wait::WaitQueue;

use super::address::UnixAddress;
use crate::socket::Identity;
use crate::socket::control::Rights;

/// What a message counts for beside its bytes.
const OVERHEAD: usize = 512;

/// Whether a piece of a stream is urgent data (`MSG_OOB`), which is one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// It is not, or is not any more.
    None,
    /// It waits to be read out of band.
    Urgent,
    /// It was: nothing is left but the place where it stood.
    Taken,
}

/// A piece of a stream, or a datagram.
pub(super) struct Message {
    pub(super) data: Box<[u8]>,
    /// Bytes that a stream's reader has taken.
    pub(super) read: usize,
    pub(super) from: Option<UnixAddress>,
    pub(super) identity: Option<Identity>,
    pub(super) rights: Option<Rights>,
    pub(super) mark: Mark,
    /// Held for its drop.
    pub(super) _charge: Charge,
}

impl Message {
    /// What is left of it.
    pub(super) fn rest(&self) -> &[u8] {
        self.data.get(self.read..).unwrap_or_default()
    }
}

/// What a socket has sent and nobody has read.
pub(super) struct Budget {
    used: AtomicUsize,
    limit: AtomicUsize,
    queue: Arc<WaitQueue>,
}

impl Budget {
    pub(super) fn new(limit: usize, queue: &Arc<WaitQueue>) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            queue: Arc::clone(queue),
        })
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
        self.notify();
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::SeqCst)
    }

    /// Bytes that may be sent now.
    pub(super) fn room(&self) -> usize {
        self.limit().saturating_sub(self.used())
    }

    /// Whether poll says writable: at most a quarter is in use.
    pub(super) fn is_writable(&self) -> bool {
        self.used().saturating_mul(4) <= self.limit()
    }

    pub(super) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        let bytes = bytes.saturating_add(OVERHEAD);
        self.used.fetch_add(bytes, Ordering::SeqCst);
        Charge { budget: Arc::clone(self), bytes }
    }

    fn notify(&self) {
        self.queue.notify(PollEvents::POLLOUT | PollEvents::POLLWRNORM | PollEvents::POLLWRBAND);
    }
}

/// Bytes on the account of their sender until they are read or dropped. Must not be dropped under a socket's
/// lock, since that tells the sender's wait queue.
pub(super) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let before = self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
        let limit = self.budget.limit();
        let after = before.saturating_sub(self.bytes);
        if before.saturating_mul(4) > limit && after.saturating_mul(4) <= limit {
            self.budget.notify();
        }
    }
}
