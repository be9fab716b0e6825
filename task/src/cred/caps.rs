//! Sets of capabilities (`capabilities(7)`).

use chitin_abi::process::CAP_LAST_CAP;

/// A set of capabilities that exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapSet(u64);

impl CapSet {
    /// None.
    pub const EMPTY: Self = Self(0);
    /// All that exist.
    pub const ALL: Self = Self((1 << (CAP_LAST_CAP + 1)) - 1);

    /// The set of this bit mask; bits of capabilities that do not exist are dropped.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The bit mask.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of one capability; empty for one that does not exist.
    pub const fn of(capability: u32) -> Self {
        if capability <= CAP_LAST_CAP { Self(1 << capability) } else { Self(0) }
    }

    /// Whether a capability is in it.
    pub const fn has(self, capability: u32) -> bool {
        self.0 & Self::of(capability).0 != 0
    }

    /// Capabilities in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Capabilities in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Capabilities in this set and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of this set are in the other.
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether it is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
