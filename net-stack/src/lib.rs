#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod address;
mod demux;
mod errors;
mod fragment;
#[doc(hidden)]
pub mod fuzz;
mod input;
mod interface;
pub mod link;
mod output;
mod ports;
mod random;
mod raw;
mod receive;
mod router;
mod settings;
mod stack;
mod tcp;
mod timers;
mod udp;
pub mod wire;

pub use self::address::{is_local, mapped, unmapped};
pub use self::interface::neighbour::NeighbourState;
pub use self::interface::route::Route;
pub use self::interface::{
    Address, Counters, Frame, Interface, InterfaceConfig, InterfaceId, LOOPBACK, Medium,
};
pub use self::output::Way;
pub use self::raw::{RawOptions, RawPacket};
pub use self::receive::Checksum;
pub use self::settings::Settings;
pub use self::stack::{Proto, SocketId, Stack};
pub use self::tcp::{CongestionControl, TcpOptions, TcpState, TcpStats};
pub use self::udp::{Datagram, Marks, UdpOptions};
