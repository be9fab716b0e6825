//! Network devices: `netdevice(7)` requests.

/// Most bytes of a device's name, with the NUL.
pub const IFNAME_LEN: usize = 16;
/// Bytes of the union in [`Ifreq`].
pub const IFREQ_DATA_LEN: usize = 24;

c_struct! {
    /// `struct ifreq`; what `data` holds depends on the request.
    pub struct Ifreq {
        pub name: [u8; IFNAME_LEN],
        pub data: [u8; IFREQ_DATA_LEN],
    }
}

c_struct! {
    /// `struct ifconf` of `SIOCGIFCONF`.
    pub struct Ifconf {
        pub len: i32,
        pub pad: u32,
        pub buf: u64,
    }
}

c_struct! {
    /// `struct ifmap`.
    pub struct Ifmap {
        pub mem_start: u64,
        pub mem_end: u64,
        pub base_addr: u16,
        pub irq: u8,
        pub dma: u8,
        pub port: u8,
        pub pad: [u8; 3],
    }
}

c_struct! {
    /// `struct in6_ifreq`.
    pub struct In6Ifreq {
        pub addr: [u8; 16],
        pub prefixlen: u32,
        pub ifindex: i32,
    }
}

c_struct! {
    /// `struct arpreq`.
    pub struct Arpreq {
        pub pa: [u8; 16],
        pub ha: [u8; 16],
        pub flags: i32,
        pub netmask: [u8; 16],
        pub dev: [u8; IFNAME_LEN],
    }
}
