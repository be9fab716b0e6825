//! Terminals.

pub mod host;
