//! Pipes and FIFOs (`pipe(7)`, `fifo(7)`).
//!
//! A [`Pipe`] is a ring of page buffers (see [`ring`]) between [`PipeEnd`]s. An end counts as reader, writer or
//! both from its creation to its drop, so closing the last descriptor is what the other side sees. Writes of up
//! to `PIPE_BUF` bytes are all or nothing; a longer write may stop early, and whoever wants to block goes on
//! with the rest when there is room.
//!
//! Costs: a read or write takes one lock, one copy per page, and no allocation while pages circulate. A write
//! tells the wait queue once, which is one atomic load without waiters; a read tells it only when it made room
//! in a full pipe.
//!
//! Lock order: two pipes are locked in the order of their addresses (only splice does); the wait queues are
//! told when no lock is held.

mod fifo;
mod file;
pub mod ring;
mod splice;

use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use self::ring::{Ring, SLOT_BYTES};
use crate::anon::AnonInode;
use crate::cred::Cred;
use crate::file::OpenFile;
use crate::wait::WaitQueue;

pub use self::fifo::{FifoSlot, FifoWait};
pub use self::file::PipeEnd;
pub use self::splice::{Batch, Reservation, transfer};

/// Writes of at most so many bytes are atomic.
pub const PIPE_BUF: usize = SLOT_BYTES;
/// Bytes that a new pipe holds.
pub const DEFAULT_CAPACITY: usize = 16 * SLOT_BYTES;
/// Most bytes that an unprivileged `F_SETPIPE_SZ` may ask for (`/proc/sys/fs/pipe-max-size`).
pub const MAX_CAPACITY: usize = 1 << 20;
/// Most bytes that a privileged one may ask for, so that a guest cannot exhaust the kernel by one descriptor.
const PRIVILEGED_CAPACITY: u64 = 1 << 28;

/// What two ends share.
pub struct Pipe {
    state: Mutex<State>,
    /// Readers and writers that wait for data or room, and pollers.
    queue: Arc<WaitQueue>,
    /// `open(2)` calls that wait for the other side of a FIFO.
    openers: Arc<WaitQueue>,
    /// The inode of an unnamed pipe.
    inode: Option<AnonInode>,
}

struct State {
    ring: Ring,
    readers: usize,
    writers: usize,
    /// How often it was opened for reading and for writing, ever.
    reader_opens: u64,
    writer_opens: u64,
    /// A splice has taken the first slots out and may put some back: other readers wait.
    draining: bool,
}

/// The two ends of a pipe: reading and writing. `flags` may have `O_NONBLOCK`, `O_DIRECT` and `O_CLOEXEC`.
pub fn new_pipe(flags: OpenFlags, owner: &Cred, now: Timespec) -> (Arc<OpenFile>, Arc<OpenFile>) {
    let pipe = Pipe::new(Some(AnonInode::pipe(owner, now)));
    let status = flags & (OpenFlags::O_NONBLOCK | OpenFlags::O_DIRECT);
    let open = |access| {
        let end = PipeEnd::new(&pipe, status | access, false);
        OpenFile::new(end, None, status | access, owner.clone())
    };
    (open(OpenFlags::empty()), open(OpenFlags::O_WRONLY))
}

impl Pipe {
    fn new(inode: Option<AnonInode>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                ring: Ring::new(DEFAULT_CAPACITY / SLOT_BYTES),
                readers: 0,
                writers: 0,
                reader_opens: 0,
                writer_opens: 0,
                draining: false,
            }),
            queue: Arc::default(),
            openers: Arc::default(),
            inode,
        })
    }

    /// Bytes that it holds at most.
    pub fn capacity(&self) -> usize {
        self.state.lock().ring.capacity() * SLOT_BYTES
    }

    /// Changes the capacity (`F_SETPIPE_SZ`) to at least `bytes` and returns the new one.
    ///
    /// # Errors
    /// EINVAL for a size out of range, EPERM above the limit unless `privileged`, EBUSY when more is in use.
    pub fn set_capacity(&self, bytes: u64, privileged: bool) -> Result<usize> {
        if bytes > 1 << 31 {
            return Err(Errno::EINVAL);
        }
        let rounded = bytes.max(SLOT_BYTES as u64).next_power_of_two();
        let slots = usize::try_from(rounded).map_err(|_| Errno::EINVAL)? / SLOT_BYTES;
        let mut state = self.state.lock();
        if slots > state.ring.capacity() && rounded > MAX_CAPACITY as u64 && !privileged {
            return Err(Errno::EPERM);
        }
        if rounded > PRIVILEGED_CAPACITY {
            return Err(Errno::ENOMEM);
        }
        let was_full = state.ring.is_full();
        state.ring.resize(slots)?;
        let made_room = was_full && !state.ring.is_full();
        drop(state);
        if made_room {
            self.notify_room();
        }
        Ok(slots * SLOT_BYTES)
    }

    fn notify_data(&self) {
        self.queue.notify(PollEvents::POLLIN | PollEvents::POLLRDNORM);
    }

    fn notify_room(&self) {
        self.queue.notify(PollEvents::POLLOUT | PollEvents::POLLWRNORM);
    }
}

#[cfg(test)]
mod tests;
