//! What the tests of address spaces share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use chitin_mm::{Space, SpaceConfig};

/// An empty one, without chance.
pub fn space() -> Space {
    Space::new(SpaceConfig {
        min_address: 0x1_0000,
        max_address: 0x7fff_0000_0000,
        vdso: None,
        stack_limit: 8 << 20,
        seed: 0,
        object_ids: Arc::new(AtomicU64::new(0)),
    })
}
