//! The ring of page buffers in a pipe.
//!
//! As on Linux a pipe is full when all slots are taken, not when all bytes are: a small write is appended to
//! the last slot where it fits whole, else it takes a slot of its own. That is what makes writes of up to
//! `PIPE_BUF` bytes atomic, and what poll, `F_SETPIPE_SZ` and packet mode go by.
//!
//! Cost of a write: one copy, and an allocation per page unless a drained page is at hand (two are kept).

use std::collections::VecDeque;

use chitin_abi::{Errno, Result};
use smallvec::SmallVec;

use crate::io::{Sink, Source};

/// Bytes in a slot; `PIPE_BUF`.
pub const SLOT_BYTES: usize = 4096;

/// A page, or what is left of it.
pub struct Slot {
    page: Box<[u8]>,
    start: usize,
    len: usize,
    /// Later small writes may be appended.
    merge: bool,
    /// One read takes it whole (`O_DIRECT`).
    packet: bool,
}

impl Slot {
    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        self.page.get(self.start..self.start + self.len).unwrap_or_default()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How much it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Drops the first bytes.
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.len);
        self.start += count;
        self.len -= count;
        // What is appended now would be seen by whoever shares the page's history; Linux allows it too.
    }

    /// The first bytes as a slot of their own.
    pub fn copy_prefix(&self, count: usize) -> Self {
        let mut page = new_page();
        let from = self.bytes().get(..count.min(self.len)).unwrap_or_default();
        if let Some(to) = page.get_mut(..from.len()) {
            to.copy_from_slice(from);
        }
        Self { page, start: 0, len: from.len(), merge: false, packet: self.packet }
    }

    /// An empty slot that [`Slot::append`] fills.
    pub fn empty() -> Self {
        Self { page: new_page(), start: 0, len: 0, merge: false, packet: false }
    }

    /// Appends a prefix of `bytes` that fits, and says how long it was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let at = self.start + self.len;
        let count = bytes.len().min(self.page.len().saturating_sub(at));
        let (Some(from), Some(to)) = (bytes.get(..count), self.page.get_mut(at..at + count)) else {
            return 0;
        };
        to.copy_from_slice(from);
        self.len += count;
        count
    }

    /// Whether one read takes it whole.
    pub fn is_packet(&self) -> bool {
        self.packet
    }

    fn fill(&mut self, from: &mut dyn Source, count: usize) -> Result<usize> {
        let at = self.start + self.len;
        let room = self.page.get_mut(at..at + count).ok_or(Errno::EFAULT)?;
        let done = from.take(room)?.min(count);
        self.len += done;
        Ok(done)
    }
}

fn new_page() -> Box<[u8]> {
    vec![0; SLOT_BYTES].into_boxed_slice()
}

/// The slots of one pipe.
pub struct Ring {
    slots: VecDeque<Slot>,
    capacity: usize,
    /// Slots promised to a splice, or taken out by one and perhaps coming back.
    reserved: usize,
    spare: SmallVec<[Box<[u8]>; 2]>,
}

impl Ring {
    /// An empty ring of so many slots.
    pub fn new(capacity: usize) -> Self {
        Self { slots: VecDeque::new(), capacity, reserved: 0, spare: SmallVec::new() }
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether no slot is free.
    pub fn is_full(&self) -> bool {
        self.free() == 0
    }

    /// Free slots.
    pub fn free(&self) -> usize {
        self.capacity.saturating_sub(self.slots.len() + self.reserved)
    }

    /// Slots in all.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes to read.
    pub fn bytes(&self) -> usize {
        self.slots.iter().map(Slot::len).sum()
    }

    /// Changes the number of slots.
    ///
    /// # Errors
    /// EBUSY when more are in use.
    pub fn resize(&mut self, capacity: usize) -> Result<()> {
        if self.slots.len() + self.reserved > capacity {
            return Err(Errno::EBUSY);
        }
        self.capacity = capacity;
        Ok(())
    }

    /// Takes from a source until it or the room ends; 0 when full.
    ///
    /// # Errors
    /// EFAULT when not even the first byte could be read.
    pub fn write(&mut self, from: &mut dyn Source, packet: bool) -> Result<usize> {
        let mut done = self.merge(from)?;
        while from.remaining() > 0 && !self.is_full() {
            let want = from.remaining().min(SLOT_BYTES);
            let mut slot = Slot {
                page: self.spare.pop().unwrap_or_else(new_page),
                start: 0,
                len: 0,
                merge: !packet,
                packet,
            };
            match slot.fill(from, want) {
                Ok(count) if count > 0 => {
                    self.slots.push_back(slot);
                    done += count;
                    if count < want {
                        break;
                    }
                }
                outcome => {
                    self.recycle(slot);
                    return if done > 0 { Ok(done) } else { outcome.and(Err(Errno::EFAULT)) };
                }
            }
        }
        Ok(done)
    }

    /// Appends the odd bytes of a write to the last slot if they fit there whole.
    fn merge(&mut self, from: &mut dyn Source) -> Result<usize> {
        let odd = from.remaining() % SLOT_BYTES;
        let Some(last) = self.slots.back_mut() else { return Ok(0) };
        if odd == 0 || !last.merge || last.start + last.len + odd > SLOT_BYTES {
            return Ok(0);
        }
        last.fill(from, odd)
    }

    /// Gives bytes to a sink until it is full or the ring empty, or a packet has been read.
    ///
    /// # Errors
    /// EFAULT when not even the first byte could be stored.
    pub fn read(&mut self, to: &mut dyn Sink) -> Result<usize> {
        let mut done = 0_usize;
        while to.remaining() > 0 {
            let Some(front) = self.slots.front_mut() else { break };
            let want = front.len.min(to.remaining());
            let count = match to.put(front.bytes()) {
                Ok(count) => count,
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            };
            front.advance(count);
            done += count;
            let packet = front.packet;
            if packet || front.len == 0 {
                self.pop_recycled();
            }
            if packet || count < want {
                break;
            }
        }
        Ok(done)
    }

    fn pop_recycled(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            self.recycle(slot);
        }
    }

    /// Keeps a drained slot's page for the next write.
    pub fn recycle(&mut self, slot: Slot) {
        if self.spare.len() < 2 {
            self.spare.push(slot.page);
        }
    }

    /// Appends a slot; the caller has made sure that one is free.
    pub fn push(&mut self, slot: Slot) {
        self.slots.push_back(slot);
    }

    /// Puts a slot back that was taken by [`Ring::pop`].
    pub fn push_front(&mut self, slot: Slot) {
        self.slots.push_front(slot);
    }

    /// Takes the first slot.
    pub fn pop(&mut self) -> Option<Slot> {
        self.slots.pop_front()
    }

    /// The first slot.
    pub fn front_mut(&mut self) -> Option<&mut Slot> {
        self.slots.front_mut()
    }

    /// All slots, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// Sets free slots aside.
    pub fn reserve(&mut self, slots: usize) {
        self.reserved += slots;
    }

    /// Gives slots back that were set aside.
    pub fn release(&mut self, slots: usize) {
        self.reserved = self.reserved.saturating_sub(slots);
    }
}
