//! Putting fragments together (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! Fragments that overlap end the whole packet (RFC 5722). Bounded in time, in packets and in bytes: who sends only
//! halves loses the oldest ones.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

use bytes::Bytes;
use hashbrown::HashMap;

use crate::wire::ip::{Fragment, Repr};

/// How long the rest of a packet may take (`net.ipv4.ipfrag_time`).
const LIFETIME: u64 = 30_000_000_000;
/// Bytes of packets that are not whole (`net.ipv4.ipfrag_high_thresh`).
const MAX_BYTES: usize = 4 << 20;
/// Packets that are not whole.
const MAX_PARTIAL: usize = 1024;
/// Fragments of one packet.
const MAX_FRAGMENTS: usize = 512;
/// Longest packet.
const MAX_LEN: usize = 65535;

type Key = (IpAddr, IpAddr, u8, u32);

struct Partial {
    pieces: Vec<(usize, Bytes)>,
    bytes: usize,
    /// Length of the whole, once the last fragment has come.
    total: Option<usize>,
    since: u64,
    /// Its place in the order of arrival.
    number: u64,
    /// It is not to become whole any more.
    is_bad: bool,
}

/// Packets that are not whole.
#[derive(Default)]
pub(crate) struct Fragments {
    partial: HashMap<Key, Partial>,
    /// In the order in which their first fragments came.
    by_age: BTreeMap<u64, Key>,
    next: u64,
    bytes: usize,
}

impl Fragments {
    /// A fragment has come: what the whole packet carries, if that is complete.
    pub(crate) fn insert(
        &mut self,
        header: &Repr,
        fragment: Fragment,
        data: Bytes,
        now: u64,
    ) -> Option<Bytes> {
        let key = (header.from, header.to, header.protocol, fragment.id);
        self.make_room(data.len(), now);
        let (by_age, next) = (&mut self.by_age, &mut self.next);
        let partial = self.partial.entry(key).or_insert_with(|| {
            let number = *next;
            *next += 1;
            by_age.insert(number, key);
            Partial { pieces: Vec::new(), bytes: 0, total: None, since: now, number, is_bad: false }
        });
        let (start, end) =
            (usize::from(fragment.offset), usize::from(fragment.offset) + data.len());
        let before = partial.bytes;
        partial.add(start, end, fragment.more, data);
        self.bytes = self.bytes + partial.bytes - before;
        if partial.is_bad || partial.total != Some(partial.bytes) {
            return None;
        }
        let whole = self.remove(&key)?;
        let mut all = Vec::with_capacity(whole.bytes);
        for (_, piece) in whole.pieces {
            all.extend_from_slice(&piece);
        }
        Some(all.into())
    }

    fn remove(&mut self, key: &Key) -> Option<Partial> {
        let partial = self.partial.remove(key)?;
        self.by_age.remove(&partial.number);
        self.bytes -= partial.bytes;
        Some(partial)
    }

    /// The packet that has waited longest, and since when.
    fn oldest(&self) -> Option<(Key, u64)> {
        let (_, key) = self.by_age.first_key_value()?;
        self.partial.get(key).map(|partial| (*key, partial.since))
    }

    fn make_room(&mut self, wanted: usize, now: u64) {
        self.expire(now);
        while (self.bytes + wanted > MAX_BYTES || self.partial.len() >= MAX_PARTIAL)
            && let Some((key, _)) = self.oldest()
        {
            self.remove(&key);
        }
    }

    /// Forgets what has taken too long.
    pub(crate) fn expire(&mut self, now: u64) {
        while let Some((key, since)) = self.oldest()
            && now.saturating_sub(since) >= LIFETIME
        {
            self.remove(&key);
        }
    }

    /// When something is to be forgotten.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.oldest().map(|(_, since)| since.saturating_add(LIFETIME))
    }
}

impl Partial {
    fn spoil(&mut self) {
        self.is_bad = true;
        self.pieces.clear();
        self.bytes = 0;
    }

    fn add(&mut self, start: usize, end: usize, more: bool, data: Bytes) {
        if self.is_bad {
            return;
        }
        let unaligned = more && !data.len().is_multiple_of(8);
        let beyond = end > MAX_LEN || self.total.is_some_and(|total| end > total);
        let at = self.pieces.partition_point(|(other, _)| *other < start);
        let is_same = |place: &(usize, Bytes)| place.0 == start && place.1.len() == data.len();
        if self.pieces.get(at).is_some_and(is_same) {
            return; // sent twice
        }
        let overlaps_next = self.pieces.get(at).is_some_and(|(other, _)| *other < end);
        let overlaps_last = at > 0
            && self.pieces.get(at - 1).is_some_and(|(other, piece)| other + piece.len() > start);
        let too_many = self.pieces.len() >= MAX_FRAGMENTS;
        if unaligned || beyond || overlaps_next || overlaps_last || too_many || data.is_empty() {
            self.spoil();
            return;
        }
        if !more {
            let last = self.pieces.last().map_or(0, |(other, piece)| other + piece.len());
            if self.total.is_some_and(|total| total != end) || last > end {
                self.spoil();
                return;
            }
            self.total = Some(end);
        }
        self.bytes += data.len();
        self.pieces.insert(at, (start, data));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(fragments: &mut Fragments, offset: u16, more: bool, data: &[u8]) -> Option<Bytes> {
        let header = Repr::new([1, 1, 1, 1].into(), [2, 2, 2, 2].into(), 17);
        let fragment = Fragment { id: 7, offset, more };
        fragments.insert(&header, fragment, Bytes::copy_from_slice(data), 0)
    }

    #[test]
    fn fragments_in_any_order_make_the_packet() {
        let mut fragments = Fragments::default();
        assert_eq!(insert(&mut fragments, 16, false, b"end"), None);
        assert_eq!(insert(&mut fragments, 0, true, b"01234567"), None);
        assert_eq!(insert(&mut fragments, 0, true, b"01234567"), None, "twice");
        let whole = insert(&mut fragments, 8, true, b"abcdefgh").unwrap();
        assert_eq!(&whole[..], b"01234567abcdefghend");
        assert_eq!((fragments.bytes, fragments.deadline()), (0, None));
    }

    #[test]
    fn overlaps_spoil_the_packet_and_time_forgets_it() {
        let mut fragments = Fragments::default();
        assert_eq!(insert(&mut fragments, 0, true, b"01234567abcdefgh"), None);
        assert_eq!(insert(&mut fragments, 8, true, b"ABCDEFGH"), None);
        assert_eq!(insert(&mut fragments, 16, false, b"end"), None);
        assert_eq!(fragments.bytes, 0);
        fragments.expire(LIFETIME);
        assert!(fragments.partial.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut fragments = Fragments::default();
        let header = Repr::new([1, 1, 1, 1].into(), [2, 2, 2, 2].into(), 17);
        for id in 0..10_000 {
            let fragment = Fragment { id, offset: 0, more: true };
            fragments.insert(&header, fragment, Bytes::from_static(&[0; 1480]), id.into());
        }
        assert!(fragments.bytes <= MAX_BYTES);
        for id in 0..10_000 {
            // Of a length that spoils the packet: no bytes are kept, but that it is spoiled.
            let fragment = Fragment { id, offset: 0, more: true };
            fragments.insert(&header, fragment, Bytes::from_static(&[0; 7]), id.into());
        }
        assert!(fragments.partial.len() <= MAX_PARTIAL);
        assert_eq!(fragments.partial.len(), fragments.by_age.len());
        fragments.expire(u64::MAX);
        assert_eq!((fragments.bytes, fragments.by_age.len()), (0, 0));
    }
}
