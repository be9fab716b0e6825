//! Readiness of host descriptors: how a file that stands for one of the host learns that it can go on.
//!
//! The kernel above implements [`HostPoll`] with one thread in an edge-triggered `epoll_wait`; files hold a
//! [`HostWatch`] for as long as they want to be told. Cost: one host call to begin, one to end, none while
//! nothing happens; an event costs the poller's wake and the notification.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::poll::PollEvents;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::wait::WaitQueue;

/// Watches host descriptors.
pub trait HostPoll: Send + Sync {
    /// From now on calls [`WaitQueue::notify`] with what becomes ready, edge-triggered, from any thread. The
    /// queue is held weakly. Ends with [`HostPoll::unwatch`]; closing the descriptor does not end it while another
    /// process has the same open file.
    ///
    /// # Errors
    /// EPERM for descriptors that are always ready (regular files); ENOMEM, ENOSPC.
    fn watch(&self, fd: &Arc<OwnedFd>, queue: &Arc<WaitQueue>) -> Result<()>;

    /// Ends the watch of this descriptor.
    fn unwatch(&self, fd: &OwnedFd);
}

/// A host descriptor that is being watched.
pub struct HostWatch {
    poller: Arc<dyn HostPoll>,
    fd: Arc<OwnedFd>,
    queue: Arc<WaitQueue>,
}

impl HostWatch {
    /// Begins to watch; events go to a fresh queue.
    ///
    /// # Errors
    /// Those of [`HostPoll::watch`].
    pub fn new(poller: Arc<dyn HostPoll>, fd: Arc<OwnedFd>) -> Result<Self> {
        let queue = Arc::new(WaitQueue::new());
        poller.watch(&fd, &queue)?;
        Ok(Self { poller, fd, queue })
    }

    /// Where the events are told.
    pub fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }
}

impl Drop for HostWatch {
    fn drop(&mut self) {
        self.poller.unwatch(&self.fd);
    }
}

/// A poller that never tells anything: for files that are always ready, and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHostPoll;

impl HostPoll for NoHostPoll {
    fn watch(&self, _fd: &Arc<OwnedFd>, _queue: &Arc<WaitQueue>) -> Result<()> {
        Ok(())
    }

    fn unwatch(&self, _fd: &OwnedFd) {}
}

/// What `poll(2)` of the host says now about these events of a descriptor: one host call.
pub fn poll_now(fd: BorrowedFd<'_>, interest: PollEvents) -> PollEvents {
    let fd = fd.as_fd();
    let interest = PollFlags::from_bits_retain(interest.bits());
    let mut fds = [PollFd::new(&fd, interest)];
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut fds, Some(&zero)) {
        Ok(_) => PollEvents::from_bits_retain(fds.first().map_or(0, |fd| fd.revents().bits())),
        Err(_) => PollEvents::empty(),
    }
}
