//! One direction of a link, with what can go wrong on it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::random::Random;

/// What a link does to frames. Chances are out of a million; times are nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Each frame takes so long.
    pub delay: u64,
    /// And up to so much longer, so that frames overtake each other.
    pub jitter: u64,
    /// Chance that a frame is lost.
    pub loss: u32,
    /// Chance that it comes twice.
    pub duplicate: u32,
    /// Chance that one of its bits is flipped.
    pub corrupt: u32,
    /// Chance that it is held back for `delay` once more.
    pub reorder: u32,
    /// Bytes per second; 0 for no limit.
    pub rate: u64,
    /// Bytes that wait for their turn at most, where there is a rate; what is more is lost. 0 for no limit.
    pub queue: usize,
}

/// One direction of a link.
pub struct Wire {
    faults: Faults,
    random: Random,
    /// By arrival, in order of sending.
    flying: BTreeMap<(u64, u64), Bytes>,
    count: u64,
    /// When the sender's end is free.
    free_at: u64,
    /// Frames that were lost.
    pub lost: u64,
}

impl Wire {
    /// A wire; the same seed has the same things go wrong.
    pub fn new(faults: Faults, seed: u64) -> Self {
        let random = Random::new(seed ^ 0x9e37_79b9_7f4a_7c15);
        Self { faults, random, flying: BTreeMap::new(), count: 0, free_at: 0, lost: 0 }
    }

    fn happens(&mut self, chance: u32) -> bool {
        chance > 0 && self.random.next() % 1_000_000 < chance
    }

    /// Puts a frame on the wire.
    pub fn send(&mut self, frame: Bytes, now: u64) {
        let mut leaves = now.max(self.free_at);
        if let Some(time) = (frame.len() as u64 * 1_000_000_000).checked_div(self.faults.rate) {
            let waiting = (leaves - now).saturating_mul(self.faults.rate) / 1_000_000_000;
            if self.faults.queue > 0 && waiting as usize + frame.len() > self.faults.queue {
                self.lost += 1;
                return;
            }
            leaves += time;
            self.free_at = leaves;
        }
        if self.happens(self.faults.loss) {
            self.lost += 1;
            return;
        }
        let frame = if self.happens(self.faults.corrupt) { self.flip(&frame) } else { frame };
        if self.happens(self.faults.duplicate) {
            self.put(frame.clone(), leaves);
        }
        self.put(frame, leaves);
    }

    fn put(&mut self, frame: Bytes, leaves: u64) {
        let mut arrives = leaves + self.faults.delay;
        if self.faults.jitter > 0 {
            arrives += u64::from(self.random.next()) % self.faults.jitter;
        }
        if self.happens(self.faults.reorder) {
            arrives += self.faults.delay;
        }
        self.count += 1;
        self.flying.insert((arrives, self.count), frame);
    }

    fn flip(&mut self, frame: &Bytes) -> Bytes {
        let mut bytes = Vec::from(&frame[..]);
        let at = self.random.next() as usize % bytes.len().max(1);
        let bit = self.random.next() % 8;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << bit;
        }
        bytes.into()
    }

    /// When the next frame arrives.
    pub fn deadline(&self) -> Option<u64> {
        self.flying.first_key_value().map(|((at, _), _)| *at)
    }

    /// A frame that has arrived.
    pub fn receive(&mut self, now: u64) -> Option<Bytes> {
        let entry = self.flying.first_entry()?;
        if entry.key().0 > now { None } else { Some(entry.remove()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_take_their_time_and_the_rate_spaces_them() {
        let faults = Faults { delay: 100, rate: 1_000_000_000, queue: 25, ..Faults::default() };
        let mut wire = Wire::new(faults, 1);
        for byte in 0..3 {
            wire.send(Bytes::from(alloc::vec![byte; 10]), 0);
        }
        assert_eq!(wire.lost, 1);
        assert_eq!((wire.receive(109), wire.deadline()), (None, Some(110)));
        assert_eq!(wire.receive(110).map(|frame| frame[0]), Some(0));
        assert_eq!((wire.receive(110), wire.deadline()), (None, Some(120)));
    }

    #[test]
    fn the_same_seed_loses_the_same() {
        let run = |seed| {
            let mut wire = Wire::new(Faults { loss: 300_000, ..Faults::default() }, seed);
            for byte in 0..100 {
                wire.send(Bytes::from(alloc::vec![byte]), 0);
            }
            core::iter::from_fn(|| wire.receive(0)).map(|frame| frame[0]).collect::<Vec<_>>()
        };
        assert_eq!(run(5), run(5));
        assert!((50..90).contains(&run(5).len()) && run(5) != run(6));
    }
}
