//! An epoll set as an open file: it can be polled and watched, not read.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Result};

use super::Epoll;
use crate::anon::AnonInode;
use crate::attr::Attr;
use crate::file::{File, IoctlContext};
use crate::wait::WaitQueue;

impl File for Epoll {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn ignores_seek(&self) -> bool {
        true
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self) -> PollEvents {
        if self.is_ready() {
            PollEvents::POLLIN | PollEvents::POLLRDNORM
        } else {
            PollEvents::empty()
        }
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.queue)
    }

    fn attr(&self) -> Result<Option<Attr>> {
        Ok(Some(AnonInode::anonymous().attr()))
    }

    /// Unlike other files it knows a command of its own on Linux, and refuses others as wrong.
    fn ioctl(&self, _: u32, _: GuestAddr, _: &dyn IoctlContext) -> Result<u64> {
        Err(Errno::EINVAL)
    }

    fn fd_info(&self) -> String {
        self.describe()
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[eventpoll]".to_vec())
    }
}
