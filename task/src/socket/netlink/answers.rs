//! What a message is answered with, in no more bytes than may wait in a socket's queue.

use chitin_abi::{Errno, Result};

/// Bytes of answers that may wait.
const MAX_QUEUED: usize = 1 << 20;

/// Answers that are being collected. Once one does not fit none does, so that a reader finds no gap in what it gets.
pub struct Answers {
    list: Vec<Vec<u8>>,
    /// Bytes of these and of what waits already.
    waiting: usize,
    is_overrun: bool,
}

impl Answers {
    /// No answers yet, where this many bytes wait to be read.
    pub(super) const fn new(waiting: usize) -> Self {
        Self { list: Vec::new(), waiting, is_overrun: false }
    }

    /// Adds an answer. One that says nothing is none.
    pub(super) fn push(&mut self, answer: Vec<u8>) {
        if answer.is_empty() {
            return;
        }
        self.is_overrun |= self.waiting + answer.len() > MAX_QUEUED;
        if !self.is_overrun {
            self.waiting += answer.len();
            self.list.push(answer);
        }
    }

    /// Whether there is nothing to tell.
    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.is_overrun
    }

    /// Whether something was left out: who reads is told by ENOBUFS.
    pub(super) const fn is_overrun(&self) -> bool {
        self.is_overrun
    }

    /// Whether a dump may begin. On Linux one stalls while the queue is more than half full, and there is only one
    /// at a time.
    ///
    /// # Errors
    /// EBUSY.
    pub(super) const fn begin_dump(&self) -> Result<()> {
        if self.waiting > MAX_QUEUED / 2 { Err(Errno::EBUSY) } else { Ok(()) }
    }
}

impl IntoIterator for Answers {
    type Item = Vec<u8>;
    type IntoIter = std::vec::IntoIter<Vec<u8>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}
