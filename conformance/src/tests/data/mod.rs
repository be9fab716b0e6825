//! What files hold: reading, writing, sizes, moving bytes.

pub mod aio;
pub mod copy;
pub mod fallocate;
pub mod memfd;
pub mod readwrite;
pub mod rwf;
pub mod secret;
pub mod seek;
pub mod sendfile;
pub mod splice;
pub mod sync;
pub mod truncate;
pub mod vectors;
