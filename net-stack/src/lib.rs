#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod demux;
#[doc(hidden)]
pub mod fuzz;
mod input;
mod ports;
mod random;
mod stack;
mod tcp;
mod udp;
pub mod wire;

pub use self::address::{is_local, mapped, unmapped};
pub use self::stack::{Proto, SocketId, Stack};
pub use self::tcp::{TcpOptions, TcpState, TcpStats};
pub use self::udp::{Datagram, Marks, UdpOptions};
