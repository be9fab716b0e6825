//! The tests, one file per family.

use crate::suite::Family;

mod pipe;
mod wait;

/// All families, by name.
pub const FAMILIES: &[Family] = &[pipe::FAMILY, wait::FAMILY];
