//! Sockets: addresses, messages, options, netlink, network devices.
//!
//! Everything is re-exported here. Fields that travel in network byte order have types of
//! [`zerocopy::network_endian`], so that a conversion cannot be forgotten.

mod address;
mod device;
mod message;
mod netlink;
mod option;

pub use crate::consts::inet::*;
pub use crate::consts::netdev::*;
pub use crate::consts::netlink::*;
pub use crate::consts::socket::*;
pub use address::*;
pub use device::*;
pub use message::*;
pub use netlink::*;
pub use option::*;
