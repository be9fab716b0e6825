//! The tests, one file per family.

use crate::suite::Family;

mod eventfd;
mod open;
mod pipe;
mod signal;
mod tree;
mod wait;

/// All families, by name.
pub const FAMILIES: &[Family] =
    &[eventfd::FAMILY, open::FAMILY, pipe::FAMILY, signal::FAMILY, tree::FAMILY, wait::FAMILY];
