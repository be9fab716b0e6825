//! Signals as a file (`signalfd(2)`).
//!
//! A read takes signals of the thread that reads. The file itself knows who made it; handlers that know the reader
//! call [`SignalFd::read_for`]. Poll shows what is pending for the maker's process.

use core::any::Any;
use std::sync::{Arc, Weak};

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::signal::{SigSet, SignalfdSiginfo};
use chitin_abi::{Errno, Result};
use chitin_vfs::anon::AnonInode;
use chitin_vfs::attr::Attr;
use chitin_vfs::cred::Cred;
use chitin_vfs::file::{File, OpenFile};
use chitin_vfs::io::Sink;
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;
use zerocopy::IntoBytes;

use super::deliver;
use crate::task::Task;

/// A signalfd.
pub struct SignalFd {
    mask: Mutex<SigSet>,
    maker: Weak<Task>,
    queue: Arc<WaitQueue>,
}

impl SignalFd {
    /// Changes which signals it takes.
    pub fn set_mask(&self, mask: SigSet) {
        *self.mask.lock() = mask;
        self.queue.notify(PollEvents::POLLIN);
    }

    /// Takes signals of a thread.
    ///
    /// # Errors
    /// EAGAIN when none is pending, EINVAL when there is no room for one.
    pub fn read_for(&self, task: &Task, to: &mut dyn Sink) -> Result<usize> {
        const SIZE: usize = size_of::<SignalfdSiginfo>();
        if to.remaining() < SIZE {
            return Err(Errno::EINVAL);
        }
        let mask = *self.mask.lock();
        let mut done = 0;
        while to.remaining() >= SIZE {
            let Some(info) = deliver::take(task, mask) else { break };
            match to.put(info.to_signalfd().as_bytes()) {
                Ok(SIZE) => done += SIZE,
                _ if done > 0 => break,
                _ => return Err(Errno::EFAULT),
            }
        }
        if done == 0 { Err(Errno::EAGAIN) } else { Ok(done) }
    }

    fn reader(&self) -> Option<Arc<Task>> {
        let maker = self.maker.upgrade()?;
        if !maker.exiting.load(core::sync::atomic::Ordering::Relaxed) {
            return Some(maker);
        }
        let tree = maker.kernel.tree.lock();
        tree.process(maker.tgid()).and_then(|entry| entry.member().cloned())
    }
}

impl File for SignalFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn ignores_seek(&self) -> bool {
        true
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn read_at(&self, to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        let reader = self.reader().ok_or(Errno::EAGAIN)?;
        self.read_for(&reader, to)
    }

    fn poll(&self) -> PollEvents {
        let Some(reader) = self.reader() else { return PollEvents::empty() };
        let group = reader.group.signals.lock();
        let signals = reader.signals.lock();
        let pending = group.pending.set().union(signals.pending.set());
        if pending.intersection(*self.mask.lock()).is_empty() {
            PollEvents::empty()
        } else {
            PollEvents::POLLIN | PollEvents::POLLRDNORM
        }
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.queue)
    }

    fn attr(&self) -> Result<Option<Attr>> {
        Ok(Some(AnonInode::anonymous().attr()))
    }

    fn fd_info(&self) -> String {
        format!("sigmask:\t{:016x}\n", self.mask.lock().bits())
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[signalfd]".to_vec())
    }
}

/// A signalfd of a task.
pub fn open(task: &Arc<Task>, mask: SigSet, flags: OpenFlags) -> Arc<OpenFile> {
    let file = Arc::new(SignalFd {
        mask: Mutex::new(mask),
        maker: Arc::downgrade(task),
        queue: Arc::clone(&task.group.signal_event),
    });
    OpenFile::new(file, None, flags | OpenFlags::O_RDWR, Cred::root())
}
