//! Terminals and devices.

pub mod devices;
pub mod fifos;
pub mod jobs;
pub mod pseudo;
