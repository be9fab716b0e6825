//! Being told of what happens to files.

pub mod fanotify;
pub mod handles;
pub mod watches;
