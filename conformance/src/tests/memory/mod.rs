//! Memory: how it is mapped, moved, advised, locked and shared.

pub(super) mod advise;
pub(super) mod map;
