//! Values of socket options: `socket(7)`, `ip(7)`, `ipv6(7)`, `tcp(7)`, `packet(7)`.

c_struct! {
    /// `struct linger`.
    pub struct Linger {
        pub onoff: i32,
        pub linger: i32,
    }
}

c_struct! {
    /// `struct ip_mreq`.
    pub struct IpMreq {
        pub multiaddr: [u8; 4],
        pub interface: [u8; 4],
    }
}

c_struct! {
    /// `struct ip_mreqn`.
    pub struct IpMreqn {
        pub multiaddr: [u8; 4],
        pub address: [u8; 4],
        pub ifindex: i32,
    }
}

c_struct! {
    /// `struct ipv6_mreq`.
    pub struct Ipv6Mreq {
        pub multiaddr: [u8; 16],
        pub ifindex: u32,
    }
}

c_struct! {
    /// `struct in_pktinfo`.
    pub struct InPktinfo {
        pub ifindex: i32,
        pub spec_dst: [u8; 4],
        pub addr: [u8; 4],
    }
}

c_struct! {
    /// `struct in6_pktinfo`.
    pub struct In6Pktinfo {
        pub addr: [u8; 16],
        pub ifindex: u32,
    }
}

c_struct! {
    /// `struct sock_extended_err`: what `MSG_ERRQUEUE` reports.
    pub struct SockExtendedErr {
        pub errno: u32,
        pub origin: u8,
        pub kind: u8,
        pub code: u8,
        pub pad: u8,
        pub info: u32,
        pub data: u32,
    }
}

c_struct! {
    /// `struct packet_mreq`.
    pub struct PacketMreq {
        pub ifindex: i32,
        pub kind: u16,
        pub alen: u16,
        pub address: [u8; 8],
    }
}

c_struct! {
    /// `struct tpacket_auxdata`.
    pub struct TpacketAuxdata {
        pub status: u32,
        pub len: u32,
        pub snaplen: u32,
        pub mac: u16,
        pub net: u16,
        pub vlan_tci: u16,
        pub vlan_tpid: u16,
    }
}

c_struct! {
    /// `struct tcp_info`. The C structure has two bit fields: `wscale` is sender's scale (low four bits) and
    /// receiver's, `app_limited` is the delivery rate's bit and two bits of the fast open failure.
    pub struct TcpInfo {
        pub state: u8,
        pub ca_state: u8,
        pub retransmits: u8,
        pub probes: u8,
        pub backoff: u8,
        pub options: u8,
        pub wscale: u8,
        pub app_limited: u8,
        pub rto: u32,
        pub ato: u32,
        pub snd_mss: u32,
        pub rcv_mss: u32,
        pub unacked: u32,
        pub sacked: u32,
        pub lost: u32,
        pub retrans: u32,
        pub fackets: u32,
        pub last_data_sent: u32,
        pub last_ack_sent: u32,
        pub last_data_recv: u32,
        pub last_ack_recv: u32,
        pub pmtu: u32,
        pub rcv_ssthresh: u32,
        pub rtt: u32,
        pub rttvar: u32,
        pub snd_ssthresh: u32,
        pub snd_cwnd: u32,
        pub advmss: u32,
        pub reordering: u32,
        pub rcv_rtt: u32,
        pub rcv_space: u32,
        pub total_retrans: u32,
        pub pacing_rate: u64,
        pub max_pacing_rate: u64,
        pub bytes_acked: u64,
        pub bytes_received: u64,
        pub segs_out: u32,
        pub segs_in: u32,
        pub notsent_bytes: u32,
        pub min_rtt: u32,
        pub data_segs_in: u32,
        pub data_segs_out: u32,
        pub delivery_rate: u64,
        pub busy_time: u64,
        pub rwnd_limited: u64,
        pub sndbuf_limited: u64,
        pub delivered: u32,
        pub delivered_ce: u32,
        pub bytes_sent: u64,
        pub bytes_retrans: u64,
        pub dsack_dups: u32,
        pub reord_seen: u32,
        pub rcv_ooopack: u32,
        pub snd_wnd: u32,
        pub rcv_wnd: u32,
        pub rehash: u32,
        pub total_rto: u16,
        pub total_rto_recoveries: u16,
        pub total_rto_time: u32,
    }
}
