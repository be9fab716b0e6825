//! Processes as files (`pidfd_open(2)`): readable once the process, or the thread for `PIDFD_THREAD`, is gone.

use core::any::Any;
use core::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use chitin_vfs::anon::AnonInode;
use chitin_vfs::attr::Attr;
use chitin_vfs::cred::Cred;
use chitin_vfs::file::{File, OpenFile};
use chitin_vfs::wait::WaitQueue;

use super::ThreadGroup;
use crate::kernel::Kernel;
use crate::namespace::Pid;
use crate::task::Task;

/// What a pidfd stands for.
pub struct PidFd {
    kernel: Weak<Kernel>,
    group: Arc<ThreadGroup>,
    pid: Arc<Pid>,
    thread: Option<Weak<Task>>,
}

impl PidFd {
    /// The process.
    pub fn group(&self) -> &Arc<ThreadGroup> {
        &self.group
    }

    /// The identity that it was opened by.
    pub fn pid(&self) -> &Arc<Pid> {
        &self.pid
    }

    /// Whether it stands for a thread.
    pub fn is_thread(&self) -> bool {
        self.thread.is_some()
    }

    /// A thread to send signals by: the thread itself or any of the process.
    ///
    /// # Errors
    /// ESRCH when it is gone.
    pub fn task(&self) -> Result<Arc<Task>> {
        if let Some(thread) = &self.thread {
            let task = thread.upgrade().filter(|task| !task.exiting.load(Ordering::SeqCst));
            return task.ok_or(Errno::ESRCH);
        }
        let kernel = self.kernel.upgrade().ok_or(Errno::ESRCH)?;
        let tree = kernel.tree.lock();
        tree.process(self.group.tgid).and_then(|entry| entry.member().cloned()).ok_or(Errno::ESRCH)
    }

    /// Whether the process is still known: alive or a zombie.
    pub fn is_known(&self) -> bool {
        let Some(kernel) = self.kernel.upgrade() else { return false };
        let tree = kernel.tree.lock();
        tree.process(self.group.tgid).is_some_and(|entry| Arc::ptr_eq(&entry.group, &self.group))
    }

    fn has_exited(&self) -> bool {
        match &self.thread {
            Some(thread) => thread.upgrade().is_none_or(|task| task.exiting.load(Ordering::SeqCst)),
            None => self.group.exited.load(Ordering::SeqCst),
        }
    }
}

impl File for PidFd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self) -> PollEvents {
        if !self.has_exited() {
            return PollEvents::empty();
        }
        let ready = PollEvents::POLLIN | PollEvents::POLLRDNORM;
        if self.is_known() { ready } else { ready | PollEvents::POLLHUP }
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.group.exit_event)
    }

    fn attr(&self) -> Result<Option<Attr>> {
        Ok(Some(AnonInode::anonymous().attr()))
    }

    fn fd_info(&self) -> String {
        let number =
            if self.has_exited() && !self.is_known() { -1 } else { i64::from(self.pid.local()) };
        format!("Pid:\t{number}\nNSpid:\t{number}\n")
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[pidfd]".to_vec())
    }
}

/// A pidfd of a task's process, or of the task itself; `flags` may have `O_NONBLOCK`.
pub fn open(task: &Arc<Task>, thread: bool, flags: OpenFlags) -> Arc<OpenFile> {
    let file = Arc::new(PidFd {
        kernel: Arc::downgrade(&task.kernel),
        group: Arc::clone(&task.group),
        pid: if thread { task.pid() } else { Arc::clone(&task.group.pid) },
        thread: thread.then(|| Arc::downgrade(task)),
    });
    OpenFile::new(file, None, flags | OpenFlags::O_RDWR, Cred::root())
}

/// A pidfd of a process that may be a zombie.
pub fn open_group(
    kernel: &Arc<Kernel>,
    group: &Arc<ThreadGroup>,
    flags: OpenFlags,
) -> Arc<OpenFile> {
    let file = Arc::new(PidFd {
        kernel: Arc::downgrade(kernel),
        group: Arc::clone(group),
        pid: Arc::clone(&group.pid),
        thread: None,
    });
    OpenFile::new(file, None, flags | OpenFlags::O_RDWR, Cred::root())
}
