#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod guest_memory;
pub mod host_op;
pub mod mapped_file;
pub mod platform;
pub mod space;

pub use guest_memory::GuestMemory;
pub use host_op::{HostOp, HostProt, MappedCode};
pub use mapped_file::MappedFile;
pub use space::{Space, SpaceConfig};
