//! Moving pages between pipes, and between a pipe and another file, without the guest's memory: what
//! `splice(2)`, `tee(2)` and `sendfile(2)` are made of.
//!
//! - [`PipeEnd::take`] gives a [`Batch`] of slots as a [`Source`] for another file's write; what that does not
//!   take goes back to the pipe's front.
//! - [`PipeEnd::reserve`] gives a [`Reservation`] as a [`Sink`] for another file's read; it arrives in the pipe
//!   when it is dropped.
//! - [`transfer`] moves or duplicates slots from pipe to pipe.
//!
//! Neither holds the pipe's lock while the other file works, so there is no lock order between files.

use std::collections::VecDeque;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use parking_lot::MutexGuard;

use super::ring::{SLOT_BYTES, Slot};
use super::{Pipe, PipeEnd, State};
use crate::io::{Sink, Source};

impl PipeEnd {
    /// Takes up to `bytes` bytes (rounded up to whole slots; the source ends at `bytes`). An empty batch is the
    /// end of the file.
    ///
    /// # Errors
    /// EAGAIN where it would block.
    pub fn take(&self, bytes: usize) -> Result<Batch> {
        let pipe = self.pipe();
        let mut state = pipe.state.lock();
        if state.draining || (state.ring.is_empty() && state.writers > 0) {
            return Err(Errno::EAGAIN);
        }
        let was_full = state.ring.is_full();
        let mut slots = VecDeque::new();
        let mut total = 0_usize;
        while total < bytes {
            let Some(slot) = state.ring.pop() else { break };
            total = total.saturating_add(slot.len());
            slots.push_back(slot);
        }
        state.draining = true;
        state.ring.reserve(slots.len());
        let reserved = slots.len();
        Ok(Batch { pipe: Arc::clone(pipe), slots, reserved, left: total.min(bytes), was_full })
    }

    /// Sets slots aside for up to `bytes` bytes.
    ///
    /// # Errors
    /// EAGAIN when the pipe is full, EPIPE without readers.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation> {
        let pipe = self.pipe();
        let mut state = pipe.state.lock();
        if state.readers == 0 {
            return Err(Errno::EPIPE);
        }
        let slots = bytes.div_ceil(SLOT_BYTES).min(state.ring.free());
        if slots == 0 {
            return Err(Errno::EAGAIN);
        }
        state.ring.reserve(slots);
        let left = bytes.min(slots * SLOT_BYTES);
        Ok(Reservation { pipe: Arc::clone(pipe), slots: Vec::new(), reserved: slots, left })
    }

    /// Whether a splice into this end would wait: whether it is full.
    pub fn is_full(&self) -> bool {
        self.pipe().state.lock().ring.is_full()
    }
}

/// Bytes on their way out of a pipe.
pub struct Batch {
    pipe: Arc<Pipe>,
    slots: VecDeque<Slot>,
    reserved: usize,
    left: usize,
    was_full: bool,
}

impl Source for Batch {
    fn remaining(&self) -> usize {
        self.left
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while self.left > 0 {
            let Some(room) = buffer.get_mut(done..).filter(|room| !room.is_empty()) else { break };
            let Some(front) = self.slots.front_mut() else { break };
            let count = front.len().min(room.len()).min(self.left);
            if let (Some(from), Some(to)) = (front.bytes().get(..count), room.get_mut(..count)) {
                to.copy_from_slice(from);
            }
            front.advance(count);
            done += count;
            self.left -= count;
            if front.is_empty() {
                self.slots.pop_front();
            }
        }
        Ok(done)
    }
}

impl Batch {
    /// Whether there is nothing in it: the pipe is at its end.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let (data, room) = {
            let mut state = self.pipe.state.lock();
            state.draining = false;
            state.ring.release(self.reserved);
            while let Some(slot) = self.slots.pop_back() {
                state.ring.push_front(slot);
            }
            let over = state.writers == 0;
            (!state.ring.is_empty() || over, self.was_full && !state.ring.is_full())
        };
        if data {
            self.pipe.notify_data();
        }
        if room {
            self.pipe.notify_room();
        }
    }
}

/// Bytes on their way into a pipe.
pub struct Reservation {
    pipe: Arc<Pipe>,
    slots: Vec<Slot>,
    reserved: usize,
    left: usize,
}

impl Sink for Reservation {
    fn remaining(&self) -> usize {
        self.left
    }

    fn put(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut rest = bytes.get(..bytes.len().min(self.left)).unwrap_or_default();
        let total = rest.len();
        while !rest.is_empty() {
            let mut count = self.slots.last_mut().map_or(0, |slot| slot.append(rest));
            if count == 0 {
                let mut slot = Slot::empty();
                count = slot.append(rest);
                self.slots.push(slot);
            }
            rest = rest.get(count..).unwrap_or_default();
        }
        self.left -= total;
        Ok(total)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let arrived = !self.slots.is_empty();
        let (room, readers) = {
            let mut state = self.pipe.state.lock();
            let was_full = state.ring.is_full();
            state.ring.release(self.reserved);
            for slot in self.slots.drain(..) {
                state.ring.push(slot);
            }
            (was_full && !state.ring.is_full(), state.readers)
        };
        if arrived && readers > 0 {
            self.pipe.notify_data();
        }
        if room {
            self.pipe.notify_room();
        }
    }
}

/// Moves (or, with `keep`, duplicates) up to `bytes` bytes from one pipe to another. 0 is the end of `from`.
///
/// # Errors
/// EINVAL for one and the same pipe, EAGAIN where it would block on either side, EPIPE when nobody reads `to`.
pub fn transfer(from: &PipeEnd, to: &PipeEnd, bytes: usize, keep: bool) -> Result<usize> {
    if from.same_pipe(to) {
        return Err(Errno::EINVAL);
    }
    let (source, target) = (from.pipe(), to.pipe());
    let (mut input, mut output) = lock_both(source, target);
    if output.readers == 0 {
        return Err(Errno::EPIPE);
    }
    if input.draining {
        return Err(Errno::EAGAIN);
    }
    if input.ring.is_empty() {
        return if input.writers == 0 { Ok(0) } else { Err(Errno::EAGAIN) };
    }
    if output.ring.is_full() {
        return Err(Errno::EAGAIN);
    }
    let was_full = input.ring.is_full();
    let done = if keep {
        duplicate(&input, &mut output, bytes)
    } else {
        shift(&mut input, &mut output, bytes)
    };
    let made_room = was_full && !input.ring.is_full();
    drop((input, output));
    if done > 0 {
        target.notify_data();
    }
    if made_room {
        source.queue.notify(PollEvents::POLLOUT | PollEvents::POLLWRNORM);
    }
    Ok(done)
}

fn shift(input: &mut State, output: &mut State, bytes: usize) -> usize {
    let mut done = 0;
    while done < bytes && !output.ring.is_full() {
        let Some(front) = input.ring.front_mut() else { break };
        let want = bytes - done;
        if front.len() <= want {
            done += front.len();
            if let Some(slot) = input.ring.pop() {
                output.ring.push(slot);
            }
        } else {
            let part = front.copy_prefix(want);
            front.advance(want);
            output.ring.push(part);
            done += want;
        }
    }
    done
}

fn duplicate(input: &State, output: &mut State, bytes: usize) -> usize {
    let mut done = 0;
    for slot in input.ring.iter() {
        if done >= bytes || output.ring.is_full() {
            break;
        }
        let part = slot.copy_prefix(bytes - done);
        done += part.len();
        output.ring.push(part);
    }
    done
}

fn lock_both<'a>(
    first: &'a Arc<Pipe>,
    second: &'a Arc<Pipe>,
) -> (MutexGuard<'a, State>, MutexGuard<'a, State>) {
    if Arc::as_ptr(first) < Arc::as_ptr(second) {
        let first = first.state.lock();
        (first, second.state.lock())
    } else {
        let second = second.state.lock();
        (first.state.lock(), second)
    }
}
