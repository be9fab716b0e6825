//! `/sys/devices/virtual/net/lo`.

use chitin_abi::Errno;
use chitin_vfs::fs::pseudo::{Dir, Node};

use super::{dir, line, lines, link};

const COUNTERS: [&str; 12] = [
    "collisions",
    "multicast",
    "rx_bytes",
    "rx_compressed",
    "rx_crc_errors",
    "rx_dropped",
    "rx_errors",
    "rx_packets",
    "tx_bytes",
    "tx_dropped",
    "tx_errors",
    "tx_packets",
];

/// What cannot be told of a device without a link.
fn unknown() -> Node {
    Node::text(0o444, |_| Err(Errno::EINVAL))
}

/// The loopback device.
pub fn loopback() -> Dir {
    let counters = COUNTERS.iter().map(|name| (*name, "0")).collect::<Vec<_>>();
    lines(&[
        ("addr_assign_type", "0"),
        ("addr_len", "6"),
        ("address", "00:00:00:00:00:00"),
        ("broadcast", "00:00:00:00:00:00"),
        ("carrier", "1"),
        ("carrier_changes", "0"),
        ("dev_id", "0x0"),
        ("dev_port", "0"),
        ("dormant", "0"),
        ("flags", "0x9"),
        ("group", "0"),
        ("ifalias", ""),
        ("ifindex", "1"),
        ("iflink", "1"),
        ("link_mode", "0"),
        ("mtu", "65536"),
        ("netdev_group", "0"),
        ("operstate", "unknown"),
        ("proto_down", "0"),
        ("tx_queue_len", "1000"),
        ("type", "772"),
        ("uevent", "INTERFACE=lo\nIFINDEX=1"),
    ])
    .with("duplex", unknown())
    .with("speed", unknown())
    .with("statistics", dir(lines(&counters)))
    .with("subsystem", link("../../../../class/net"))
    .with("name_assign_type", line("4"))
}
