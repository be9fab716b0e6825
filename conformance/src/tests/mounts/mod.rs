//! The mount tree.

pub mod calls;
pub mod descriptors;
pub mod listing;
