//! Data that has come before what precedes it (RFC 9293 §3.4).
//!
//! Bounded by the receive window, and in pieces by [`MAX_PIECES`]: a peer that sends every other byte costs itself
//! retransmissions, not us memory.

use alloc::vec::Vec;

use bytes::Bytes;

use super::buffer::compact;
use super::seq::Seq;
use crate::wire::tcp::Sacks;

/// Most separate ranges.
const MAX_RANGES: usize = 128;
/// Most pieces of data.
const MAX_PIECES: usize = 8192;

struct Range {
    start: Seq,
    end: Seq,
    /// In order, without gaps.
    pieces: Vec<Bytes>,
}

/// Ranges in order, with gaps between them.
#[derive(Default)]
pub(crate) struct Reassembly {
    ranges: Vec<Range>,
    pieces: usize,
    /// Start of the range that has changed last: it is reported first (RFC 2018 §4).
    latest: Seq,
    /// Where the peer's data ends, if its FIN has come.
    pub(crate) fin: Option<Seq>,
}

impl Reassembly {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.ranges.iter().map(|range| range.end.since(range.start) as usize).sum()
    }

    /// Keeps data that starts at `start`, behind a gap. What is there already stays.
    pub(crate) fn insert(&mut self, start: Seq, data: Bytes) {
        let (mut start, mut data) = (start, data);
        let whole = data.len();
        // From left to right: the parts of it that lie in gaps.
        while !data.is_empty() {
            let end = start.add(data.len() as u32);
            let at = self.ranges.partition_point(|range| range.end.at_or_before(start));
            let (gap_end, skip_to) = match self.ranges.get(at) {
                Some(range) if range.start.at_or_before(start) => (start, range.end),
                Some(range) if range.start.before(end) => (range.start, range.end),
                _ => (end, end),
            };
            let fits = gap_end.since(start) as usize;
            if fits > 0 && !self.put(at, start, compact(data.slice(..fits), whole)) {
                return;
            }
            if !skip_to.before(end) {
                if fits == 0 {
                    self.latest = self.ranges.get(at).map_or(self.latest, |range| range.start);
                }
                return;
            }
            data = data.slice(skip_to.since(start) as usize..);
            start = skip_to;
        }
    }

    /// Puts data into the gap before range `at`; false where there is no room.
    fn put(&mut self, at: usize, start: Seq, data: Bytes) -> bool {
        if self.pieces >= MAX_PIECES {
            return false;
        }
        let end = start.add(data.len() as u32);
        let joins_left = at > 0 && self.ranges.get(at - 1).is_some_and(|left| left.end == start);
        let joins_right = self.ranges.get(at).is_some_and(|right| right.start == end);
        if !joins_left && !joins_right && self.ranges.len() >= MAX_RANGES {
            return false;
        }
        self.pieces += 1;
        match (joins_left, joins_right) {
            (false, false) => {
                self.ranges.insert(at, Range { start, end, pieces: alloc::vec![data] });
            }
            (false, true) => {
                if let Some(right) = self.ranges.get_mut(at) {
                    right.start = start;
                    right.pieces.insert(0, data);
                }
            }
            (true, joins_right) => {
                let right = if joins_right { Some(self.ranges.remove(at)) } else { None };
                if let Some(left) = self.ranges.get_mut(at - 1) {
                    left.pieces.push(data);
                    left.end = end;
                    if let Some(right) = right {
                        left.pieces.extend(right.pieces);
                        left.end = right.end;
                    }
                }
            }
        }
        let joined = self.ranges.iter().find(|range| start.before(range.end));
        self.latest = joined.map_or(start, |range| range.start);
        true
    }

    /// The data that follows `next` without a gap; older data is dropped.
    pub(crate) fn take(&mut self, next: Seq) -> Vec<Bytes> {
        let mut taken = Vec::new();
        let mut next = next;
        while self.ranges.first().is_some_and(|range| range.start.at_or_before(next)) {
            let range = self.ranges.remove(0);
            self.pieces -= range.pieces.len();
            let mut at = range.start;
            for piece in range.pieces {
                let end = at.add(piece.len() as u32);
                if next.before(end) {
                    taken.push(piece.slice(next.since(at) as usize..));
                    next = end;
                }
                at = end;
            }
        }
        taken
    }

    /// What to tell the peer, at most `most` ranges.
    pub(crate) fn sacks(&self, most: usize) -> Sacks {
        let mut sacks = Sacks::default();
        let is_latest = |range: &&Range| range.start == self.latest;
        let first = self.ranges.iter().find(is_latest);
        let others = self.ranges.iter().filter(|range| !is_latest(range));
        for range in first.into_iter().chain(others).take(most) {
            sacks.push((range.start, range.end));
        }
        sacks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sacks(reassembly: &Reassembly) -> Vec<(u32, u32)> {
        reassembly.sacks(4).as_slice().iter().map(|(start, end)| (start.0, end.0)).collect()
    }

    #[test]
    fn ranges_join_and_the_latest_is_told_first() {
        let mut reassembly = Reassembly::default();
        reassembly.insert(Seq(10), Bytes::from_static(b"abc"));
        reassembly.insert(Seq(20), Bytes::from_static(b"xyz"));
        assert_eq!(sacks(&reassembly), [(20, 23), (10, 13)]);
        reassembly.insert(Seq(11), Bytes::from_static(b"?????"));
        assert_eq!(sacks(&reassembly), [(10, 16), (20, 23)]);
        reassembly.insert(Seq(5), Bytes::from_static(b"01234567890123456789"));
        assert_eq!(sacks(&reassembly), [(5, 25)]);
        assert_eq!(reassembly.len(), 20);
        assert!(reassembly.take(Seq(4)).is_empty());
        assert_eq!(reassembly.take(Seq(7)).concat(), b"234abc???1234xyz89");
        assert!(reassembly.is_empty() && reassembly.pieces == 0);
    }

    proptest! {
        /// Whatever the order and overlaps, the stream is what was sent.
        #[test]
        fn pieces_make_the_stream(
            base in any::<u32>(),
            pieces in proptest::collection::vec((0_usize..200, 1_usize..60), 1..60),
        ) {
            let stream: Vec<u8> = (0..260_u32).map(|index| index as u8).collect();
            let mut reassembly = Reassembly::default();
            let (mut next, mut got) = (0, Vec::new());
            let mut seen = [false; 260];
            for (at, len) in pieces {
                seen[at..at + len].fill(true);
                let data = Bytes::copy_from_slice(&stream[at..at + len]);
                reassembly.insert(Seq(base).add(at as u32), data);
                for piece in reassembly.take(Seq(base).add(next as u32)) {
                    next += piece.len();
                    got.extend_from_slice(&piece);
                }
                let expected = seen.iter().position(|seen| !seen).unwrap_or(seen.len());
                prop_assert_eq!(next, expected);
                let waiting = seen[next..].iter().filter(|seen| **seen).count();
                prop_assert_eq!(reassembly.len(), waiting);
            }
            prop_assert_eq!(&got[..], &stream[..next]);
        }
    }
}
