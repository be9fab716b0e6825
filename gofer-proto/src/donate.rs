//! Descriptors that travel beside the bytes.
//!
//! On a unix socket a descriptor arrives with the bytes that it was sent with (`SCM_RIGHTS`). A server hands out its
//! reply and the descriptor together as an [`Outgoing`], to be sent by one call; a client puts what arrived into a
//! [`Received`] queue before the bytes, and takes one for each [`Reply::Donate`](crate::message::Reply::Donate).
//! What the peer sends too many of is dropped, which closes it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A reply, with the descriptor that goes with it.
#[derive(Debug)]
pub struct Outgoing<D> {
    /// The frame.
    pub bytes: Vec<u8>,
    /// The descriptor.
    pub descriptor: Option<D>,
}

/// Descriptors received and not yet claimed by a reply.
#[derive(Debug)]
pub struct Received<D> {
    queue: VecDeque<D>,
    limit: usize,
}

impl<D> Received<D> {
    /// A queue of at most `limit` descriptors.
    pub const fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), limit }
    }

    /// Takes a descriptor that has arrived; gives it back when there are too many.
    ///
    /// # Errors
    /// The descriptor.
    pub fn push(&mut self, descriptor: D) -> Result<(), D> {
        if self.queue.len() >= self.limit {
            return Err(descriptor);
        }
        self.queue.push_back(descriptor);
        Ok(())
    }

    /// The descriptor of a reply that has one.
    pub fn claim(&mut self) -> Option<D> {
        self.queue.pop_front()
    }

    /// Descriptors not claimed.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}
