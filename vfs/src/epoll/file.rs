//! An epoll set as an open file: it can be polled and watched, not read.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::poll::PollEvents;

use super::Epoll;
use crate::anon::AnonInode;
use crate::attr::Attr;
use crate::file::File;
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

    fn fd_info(&self) -> String {
        self.describe()
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[eventpoll]".to_vec())
    }
}
