//! Byte queues of shared chunks: a segment's data moves from one to the other without a copy.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;
use chitin_abi::Result;

/// Chunks shorter than this are joined, so that many small segments do not cost a chunk each.
const SMALL: usize = 1024;
/// How far they are joined.
const JOINED: usize = 8192;

/// A part of a packet to be kept: a copy where it is a small part, so that a few bytes do not keep a large packet alive.
pub(crate) fn compact(part: Bytes, whole: usize) -> Bytes {
    if part.len() < whole / 2 { Bytes::copy_from_slice(&part) } else { part }
}

/// A queue of bytes.
#[derive(Default)]
pub(crate) struct Buffer {
    chunks: VecDeque<Bytes>,
    /// Small chunks that are being joined; behind all of `chunks`.
    tail: Vec<u8>,
    len: usize,
    /// A chunk that was looked at last, and where it begins: looking goes on from there.
    cursor: (usize, usize),
}

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        if bytes.len() < SMALL && self.tail.len() + bytes.len() <= JOINED {
            self.tail.extend_from_slice(&bytes);
            return;
        }
        self.freeze();
        self.chunks.push_back(bytes);
    }

    fn freeze(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(Bytes::from(core::mem::take(&mut self.tail)));
        }
    }

    /// At most `most` bytes from `offset` on, as they lie together.
    pub(crate) fn slice(&mut self, offset: usize, most: usize) -> Bytes {
        self.freeze();
        let (mut index, mut start) = if self.cursor.1 <= offset { self.cursor } else { (0, 0) };
        while let Some(chunk) = self.chunks.get(index) {
            let inside = offset - start;
            if inside < chunk.len() {
                self.cursor = (index, start);
                return chunk.slice(inside..chunk.len().min(inside.saturating_add(most)));
            }
            start += chunk.len();
            index += 1;
        }
        Bytes::new()
    }

    /// Exactly `most` bytes from `offset` on, or as many as there are; a copy where they do not lie together.
    pub(crate) fn gather(&mut self, offset: usize, most: usize) -> Bytes {
        let first = self.slice(offset, most);
        let wanted = most.min(self.len.saturating_sub(offset));
        if first.len() >= wanted {
            return first;
        }
        let mut all = Vec::with_capacity(wanted);
        all.extend_from_slice(&first);
        while all.len() < wanted {
            let piece = self.slice(offset + all.len(), wanted - all.len());
            if piece.is_empty() {
                break;
            }
            all.extend_from_slice(&piece);
        }
        Bytes::from(all)
    }

    /// Drops the first bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        self.freeze();
        let mut left = count.min(self.len);
        self.len -= left;
        self.cursor.1 = self.cursor.1.saturating_sub(left);
        while left > 0 {
            let Some(front) = self.chunks.front_mut() else { return };
            if front.len() <= left {
                left -= front.len();
                self.chunks.pop_front();
                self.cursor.0 = self.cursor.0.saturating_sub(1);
            } else {
                *front = front.slice(left..);
                left = 0;
            }
        }
    }

    /// Gives up to `most` bytes from `offset` on to `take`, which says how many it took.
    ///
    /// # Errors
    /// What `take` says before it has taken anything.
    pub(crate) fn read(
        &mut self,
        offset: usize,
        most: usize,
        take: &mut dyn FnMut(&[u8]) -> Result<usize>,
    ) -> Result<usize> {
        let mut done = 0;
        while done < most {
            let piece = self.slice(offset + done, most - done);
            if piece.is_empty() {
                break;
            }
            match take(&piece) {
                Ok(count) => {
                    done += count;
                    if count < piece.len() {
                        break;
                    }
                }
                Err(errno) if done == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The byte before, and all but the last two.
    fn all_but(all: &[u8]) -> Bytes {
        let mut bytes = alloc::vec![b'c'];
        bytes.extend_from_slice(&all[..5001]);
        bytes.into()
    }

    #[test]
    fn a_small_part_does_not_keep_the_whole_alive() {
        let whole = Bytes::from(alloc::vec![7; 60_000]);
        let kept = compact(whole.slice(10..11), whole.len());
        assert!(whole.is_unique() && kept == Bytes::from_static(&[7]));
        let most = compact(whole.slice(10..), whole.len());
        assert!(!whole.is_unique() && most.len() == 59_990);
    }

    #[test]
    fn small_pieces_join_and_large_ones_stay() {
        let mut buffer = Buffer::default();
        buffer.push(Bytes::from_static(b"ab"));
        buffer.push(Bytes::from_static(b"cd"));
        buffer.push(Bytes::from(alloc::vec![7; 5000]));
        buffer.push(Bytes::from_static(b"ef"));
        assert_eq!((buffer.len(), buffer.slice(1, 10)), (5006, Bytes::from_static(b"bcd")));
        let mut all = Vec::new();
        let mut take = |bytes: &[u8]| {
            all.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        assert_eq!(buffer.read(3, 9000, &mut take), Ok(5003));
        assert_eq!((all[0], all[5002]), (b'd', b'f'));
        assert_eq!(buffer.gather(2, 5002), all_but(&all));
        buffer.advance(3);
        assert_eq!(buffer.slice(1, 3), Bytes::from_static(&[7; 3]));
        assert_eq!(buffer.slice(0, 1), Bytes::from_static(b"d"));
        buffer.advance(5002);
        assert_eq!(buffer.slice(0, 10), Bytes::from_static(b"f"));
    }
}
