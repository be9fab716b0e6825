//! Sets of signals: `sigset_t` as the kernel has it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A set of signals.
#[derive(Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct SigSet(u64);

impl SigSet {
    /// No signal.
    pub const EMPTY: Self = Self(0);
    /// All signals.
    pub const FULL: Self = Self(!0);

    /// The set of this bit mask (bit 0 is signal 1).
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bit mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    const fn bit(signal: u32) -> u64 {
        if signal >= 1 && signal <= 64 { 1 << (signal - 1) } else { 0 }
    }

    /// The set of these signals.
    pub fn from_signals(signals: &[u32]) -> Self {
        Self(signals.iter().fold(0, |bits, signal| bits | Self::bit(*signal)))
    }

    /// Whether a signal is in it.
    pub const fn contains(self, signal: u32) -> bool {
        self.0 & Self::bit(signal) != 0
    }

    /// Puts a signal in.
    pub fn insert(&mut self, signal: u32) {
        self.0 |= Self::bit(signal);
    }

    /// Takes a signal out.
    pub fn remove(&mut self, signal: u32) {
        self.0 &= !Self::bit(signal);
    }

    /// Signals in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Signals in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Signals in this set and not in the other.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Signals that are not in it.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(!self.0)
    }

    /// Whether no signal is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest signal in it.
    pub const fn lowest(self) -> Option<u32> {
        if self.0 == 0 { None } else { Some(self.0.trailing_zeros() + 1) }
    }
}

impl core::fmt::Debug for SigSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SigSet({:#x})", self.0)
    }
}

impl IntoIterator for SigSet {
    type Item = u32;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        Iter(self)
    }
}

/// The signals of a set, lowest first.
#[derive(Clone, Debug)]
pub struct Iter(SigSet);

impl Iterator for Iter {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let signal = self.0.lowest()?;
        self.0.remove(signal);
        Some(signal)
    }
}
