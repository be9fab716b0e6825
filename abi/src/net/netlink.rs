//! Netlink messages: `netlink(7)`, `rtnetlink(7)`, `sock_diag(7)`.

/// What netlink messages are aligned to.
pub const NLMSG_ALIGNTO: usize = 4;
/// Bytes of a netlink message's header.
pub const NLMSG_HDRLEN: usize = size_of::<NlMsgHdr>();

/// A length rounded up to where the next message or attribute starts (`NLMSG_ALIGN`, `RTA_ALIGN`); `None` on
/// overflow.
pub const fn nl_align(length: usize) -> Option<usize> {
    match length.checked_add(NLMSG_ALIGNTO - 1) {
        Some(sum) => Some(sum & !(NLMSG_ALIGNTO - 1)),
        None => None,
    }
}

c_struct! {
    /// `struct nlmsghdr`.
    pub struct NlMsgHdr {
        pub len: u32,
        pub kind: u16,
        pub flags: u16,
        pub seq: u32,
        pub pid: u32,
    }
}

c_struct! {
    /// `struct nlmsgerr`.
    pub struct NlMsgErr {
        pub error: i32,
        pub msg: NlMsgHdr,
    }
}

c_struct! {
    /// `struct rtattr` and `struct nlattr`.
    pub struct RtAttr {
        pub len: u16,
        pub kind: u16,
    }
}

c_struct! {
    /// `struct rtgenmsg`.
    pub struct RtGenMsg {
        pub family: u8,
    }
}

c_struct! {
    /// `struct ifinfomsg`.
    pub struct IfInfoMsg {
        pub family: u8,
        pub pad: u8,
        pub kind: u16,
        pub index: i32,
        pub flags: u32,
        pub change: u32,
    }
}

c_struct! {
    /// `struct ifaddrmsg`.
    pub struct IfAddrMsg {
        pub family: u8,
        pub prefixlen: u8,
        pub flags: u8,
        pub scope: u8,
        pub index: u32,
    }
}

c_struct! {
    /// `struct ifa_cacheinfo`.
    pub struct IfaCacheinfo {
        pub prefered: u32,
        pub valid: u32,
        pub cstamp: u32,
        pub tstamp: u32,
    }
}

c_struct! {
    /// `struct rtmsg`.
    pub struct RtMsg {
        pub family: u8,
        pub dst_len: u8,
        pub src_len: u8,
        pub tos: u8,
        pub table: u8,
        pub protocol: u8,
        pub scope: u8,
        pub kind: u8,
        pub flags: u32,
    }
}

c_struct! {
    /// `struct rtnexthop`.
    pub struct RtNexthop {
        pub len: u16,
        pub flags: u8,
        pub hops: u8,
        pub ifindex: i32,
    }
}

c_struct! {
    /// `struct rta_cacheinfo`.
    pub struct RtaCacheinfo {
        pub clntref: u32,
        pub lastuse: u32,
        pub expires: i32,
        pub error: u32,
        pub used: u32,
        pub id: u32,
        pub ts: u32,
        pub tsage: u32,
    }
}

c_struct! {
    /// `struct ndmsg`.
    pub struct NdMsg {
        pub family: u8,
        pub pad1: u8,
        pub pad2: u16,
        pub ifindex: i32,
        pub state: u16,
        pub flags: u8,
        pub kind: u8,
    }
}

c_struct! {
    /// `struct nda_cacheinfo`.
    pub struct NdaCacheinfo {
        pub confirmed: u32,
        pub used: u32,
        pub updated: u32,
        pub refcnt: u32,
    }
}

c_struct! {
    /// `struct fib_rule_hdr`.
    pub struct FibRuleHdr {
        pub family: u8,
        pub dst_len: u8,
        pub src_len: u8,
        pub tos: u8,
        pub table: u8,
        pub res1: u8,
        pub res2: u8,
        pub action: u8,
        pub flags: u32,
    }
}

c_struct! {
    /// `struct rtnl_link_stats64`.
    pub struct RtnlLinkStats64 {
        pub rx_packets: u64,
        pub tx_packets: u64,
        pub rx_bytes: u64,
        pub tx_bytes: u64,
        pub rx_errors: u64,
        pub tx_errors: u64,
        pub rx_dropped: u64,
        pub tx_dropped: u64,
        pub multicast: u64,
        pub collisions: u64,
        pub rx_length_errors: u64,
        pub rx_over_errors: u64,
        pub rx_crc_errors: u64,
        pub rx_frame_errors: u64,
        pub rx_fifo_errors: u64,
        pub rx_missed_errors: u64,
        pub tx_aborted_errors: u64,
        pub tx_carrier_errors: u64,
        pub tx_fifo_errors: u64,
        pub tx_heartbeat_errors: u64,
        pub tx_window_errors: u64,
        pub rx_compressed: u64,
        pub tx_compressed: u64,
        pub rx_nohandler: u64,
        pub rx_otherhost_dropped: u64,
    }
}

c_struct! {
    /// `struct rtnl_link_stats`.
    pub struct RtnlLinkStats {
        pub rx_packets: u32,
        pub tx_packets: u32,
        pub rx_bytes: u32,
        pub tx_bytes: u32,
        pub rx_errors: u32,
        pub tx_errors: u32,
        pub rx_dropped: u32,
        pub tx_dropped: u32,
        pub multicast: u32,
        pub collisions: u32,
        pub rx_length_errors: u32,
        pub rx_over_errors: u32,
        pub rx_crc_errors: u32,
        pub rx_frame_errors: u32,
        pub rx_fifo_errors: u32,
        pub rx_missed_errors: u32,
        pub tx_aborted_errors: u32,
        pub tx_carrier_errors: u32,
        pub tx_fifo_errors: u32,
        pub tx_heartbeat_errors: u32,
        pub tx_window_errors: u32,
        pub rx_compressed: u32,
        pub tx_compressed: u32,
        pub rx_nohandler: u32,
    }
}

c_struct! {
    /// `struct inet_diag_sockid`; ports and addresses are in network byte order.
    pub struct InetDiagSockid {
        pub sport: [u8; 2],
        pub dport: [u8; 2],
        pub src: [u8; 16],
        pub dst: [u8; 16],
        pub interface: u32,
        pub cookie: [u32; 2],
    }
}

c_struct! {
    /// `struct inet_diag_req_v2`.
    pub struct InetDiagReqV2 {
        pub family: u8,
        pub protocol: u8,
        pub ext: u8,
        pub pad: u8,
        pub states: u32,
        pub id: InetDiagSockid,
    }
}

c_struct! {
    /// `struct inet_diag_msg`.
    pub struct InetDiagMsg {
        pub family: u8,
        pub state: u8,
        pub timer: u8,
        pub retrans: u8,
        pub id: InetDiagSockid,
        pub expires: u32,
        pub rqueue: u32,
        pub wqueue: u32,
        pub uid: u32,
        pub inode: u32,
    }
}

c_struct! {
    /// `struct unix_diag_req`.
    pub struct UnixDiagReq {
        pub family: u8,
        pub protocol: u8,
        pub pad: u16,
        pub states: u32,
        pub ino: u32,
        pub show: u32,
        pub cookie: [u32; 2],
    }
}

c_struct! {
    /// `struct unix_diag_msg`.
    pub struct UnixDiagMsg {
        pub family: u8,
        pub kind: u8,
        pub state: u8,
        pub pad: u8,
        pub ino: u32,
        pub cookie: [u32; 2],
    }
}
