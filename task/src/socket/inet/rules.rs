//! What each option of IPv4, IPv6, TCP and UDP takes and shows.
//!
//! One line per option: what is shown before anybody sets it, and which values are taken. The numbers are those of
//! Linux; options that only other kinds of sockets have fail as they do there.

use chitin_abi::net::{SOL_IP, SOL_IPV6, SOL_TCP, SOL_UDP, SOL_UDPLITE};
use chitin_abi::{Errno, Result};

/// What an option shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A number, this one before it is set.
    Number(i32),
    /// Nothing.
    Empty,
    /// The path's largest packet, of a connected socket.
    Mtu,
    /// It cannot be asked for.
    Fails(Errno),
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Any number; shown as 0 or 1.
    Switch,
    /// A number in this range.
    Range(i32, i32),
    /// A number in this range, or -1 for what it was at first.
    OrDefault(i32, i32),
    /// Any number.
    Any,
    /// A structure of at least so many bytes; shorter ones are EINVAL.
    Structure(usize),
    /// Whatever: nothing comes of it.
    Ignored,
    /// It cannot be set.
    Fails(Errno),
}

/// An option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub shown: Shown,
    pub taken: Taken,
}

const fn rule(shown: Shown, taken: Taken) -> Rule {
    Rule { shown, taken }
}

const fn switch(first: i32) -> Rule {
    rule(Shown::Number(first), Taken::Switch)
}

const fn range(first: i32, least: i32, most: i32) -> Rule {
    rule(Shown::Number(first), Taken::Range(least, most))
}

/// One that only shows something.
const fn fixed(number: i32, set: Errno) -> Rule {
    rule(Shown::Number(number), Taken::Fails(set))
}

const fn fails(get: Errno, set: Errno) -> Rule {
    rule(Shown::Fails(get), Taken::Fails(set))
}

/// One that is only set, with a structure.
const fn told(bytes: usize) -> Rule {
    rule(Shown::Fails(Errno::ENOPROTOOPT), Taken::Structure(bytes))
}

/// Sizes of `struct ip_mreq`, `ip_mreq_source`, `group_req`, `group_source_req`, `ipv6_mreq`, `in6_pktinfo`.
const IP_MREQ: usize = 8;
const IP_MREQ_SOURCE: usize = 12;
const GROUP_REQ: usize = 136;
const GROUP_SOURCE_REQ: usize = 264;
const IPV6_MREQ: usize = 20;
const IN6_PKTINFO: usize = 20;
/// Options of multicast routing, which only raw sockets have.
const ROUTING: core::ops::RangeInclusive<u32> = 200..=212;

/// Kinds of sockets, as far as options differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// TCP.
    Stream,
    /// UDP, and ping sockets.
    Datagram,
    /// Raw.
    Raw,
}

/// The rule of an option.
///
/// # Errors
/// ENOPROTOOPT where there is no such option.
pub(super) fn find(level: u32, name: u32, shape: Shape) -> Result<Rule> {
    let stream = shape == Shape::Stream;
    if matches!(level, SOL_IP | SOL_IPV6) && ROUTING.contains(&name) {
        return Err(Errno::EOPNOTSUPP);
    }
    let found = match level {
        SOL_IP if shape == Shape::Raw && matches!(name, 3 | 5 | 22) => Some(switch(0)),
        SOL_IPV6 if shape == Shape::Raw && matches!(name, 7 | 22 | 36) => Some(switch(0)),
        SOL_IP => ipv4(name, stream),
        SOL_IPV6 => ipv6(name, stream),
        SOL_TCP => tcp(name),
        SOL_UDP | SOL_UDPLITE => udp(name),
        _ => None,
    };
    found.ok_or(Errno::ENOPROTOOPT)
}

fn ipv4(name: u32, stream: bool) -> Option<Rule> {
    Some(match name {
        1 => rule(Shown::Number(0), Taken::Any), // IP_TOS
        2 => rule(Shown::Number(64), Taken::OrDefault(1, 255)), // IP_TTL
        3 | 22 | 52 => fixed(0, Errno::ENOPROTOOPT), // HDRINCL, NODEFRAG, PROTOCOL
        4 => rule(Shown::Empty, Taken::Ignored), // OPTIONS
        5 => fixed(0, Errno::EINVAL),            // ROUTER_ALERT
        6..=8 | 11..=13 | 15 | 18..=20 | 23 | 24 => switch(0), // RECVOPTS … BIND_ADDRESS_NO_PORT
        9 if stream => rule(Shown::Empty, Taken::Fails(Errno::ENOPROTOOPT)), // PKTOPTIONS
        10 => range(1, 0, 5),                    // MTU_DISCOVER
        14 => rule(Shown::Mtu, Taken::Fails(Errno::ENOPROTOOPT)), // MTU
        16 => fails(Errno::ENOPROTOOPT, Errno::EOPNOTSUPP), // IPSEC_POLICY
        17 => fails(Errno::ENOPROTOOPT, Errno::EINVAL), // XFRM_POLICY
        21 => range(0, 0, 255),                  // MINTTL
        25 if stream => fixed(0, Errno::EINVAL), // RECVFRAGSIZE
        25 => switch(0),
        26 => range(0, 0, 1),                    // RECVERR_RFC4884
        32 if stream => fixed(0, Errno::EINVAL), // MULTICAST_IF
        32 => rule(Shown::Number(0), Taken::Structure(4)),
        33 if stream => fixed(1, Errno::EINVAL), // MULTICAST_TTL
        33 => rule(Shown::Number(1), Taken::OrDefault(0, 255)),
        34 => switch(1), // MULTICAST_LOOP
        35 | 36 if stream => fails(Errno::ENOPROTOOPT, Errno::EPROTO), // ADD_, DROP_MEMBERSHIP
        35 | 36 => told(IP_MREQ),
        37..=40 => told(IP_MREQ_SOURCE), // … of one source
        41 => fails(Errno::EADDRNOTAVAIL, Errno::EINVAL), // MSFILTER
        42 | 45 => told(GROUP_REQ),      // MCAST_JOIN_GROUP, …
        43 | 44 | 46 | 47 => told(GROUP_SOURCE_REQ),
        48 => fails(Errno::EINVAL, Errno::EINVAL), // MCAST_MSFILTER
        49 => range(1, 0, 1),                      // MULTICAST_ALL
        50 => rule(Shown::Number(0), Taken::Any),  // UNICAST_IF
        51 => rule(Shown::Number(0), Taken::Any),  // LOCAL_PORT_RANGE
        80 => fails(if stream { Errno::ENOTCONN } else { Errno::ENOPROTOOPT }, Errno::ENOPROTOOPT), // SO_ORIGINAL_DST
        _ => return None,
    })
}

fn ipv6(name: u32, stream: bool) -> Option<Rule> {
    Some(match name {
        1 => fails(Errno::ENOTCONN, Errno::EINVAL), // ADDRFORM
        2..=5 | 8 | 11 | 25 | 26 | 30 | 33 => switch(0), // 2292PKTINFO … FLOWINFO_SEND
        49 | 51 | 53 | 56 | 58 | 60 | 62 | 66 | 74 | 75 | 77 | 78 => switch(0), // RECVPKTINFO …
        6 if stream => rule(Shown::Empty, Taken::Ignored), // 2292PKTOPTIONS
        6 => rule(Shown::Fails(Errno::ENOPROTOOPT), Taken::Ignored),
        16 => rule(Shown::Number(64), Taken::OrDefault(0, 255)), // UNICAST_HOPS
        17 if stream => fixed(0, Errno::ENOPROTOOPT),            // MULTICAST_IF
        17 => rule(Shown::Number(0), Taken::Any),
        18 if stream => fixed(1, Errno::ENOPROTOOPT), // MULTICAST_HOPS
        18 => rule(Shown::Number(1), Taken::OrDefault(0, 255)),
        19 => range(1, 0, 1),                       // MULTICAST_LOOP
        20 | 21 | 27 | 28 => told(IPV6_MREQ),       // JOIN_, LEAVE_GROUP, …_ANYCAST
        22 => fixed(0, Errno::ENOPROTOOPT),         // ROUTER_ALERT
        23 => range(1, 0, 5),                       // MTU_DISCOVER
        24 => rule(Shown::Mtu, Taken::Range(0, 0)), // MTU
        29 | 70 => switch(1),                       // MULTICAST_ALL, AUTOFLOWLABEL
        31 => range(0, 0, 1),                       // RECVERR_RFC4884
        32 | 48 | 64 | 65 => fails(Errno::EINVAL, Errno::EINVAL), // FLOWLABEL_MGR, MCAST_MSFILTER, …
        34 => fails(Errno::ENOPROTOOPT, Errno::EOPNOTSUPP),       // IPSEC_POLICY
        35 => fails(Errno::ENOPROTOOPT, Errno::EINVAL),           // XFRM_POLICY
        42 | 45 => told(GROUP_REQ),                               // MCAST_JOIN_GROUP, …
        43 | 44 | 46 | 47 => told(GROUP_SOURCE_REQ),
        50 => told(IN6_PKTINFO), // PKTINFO
        54 | 55 | 57 | 59 => rule(Shown::Empty, Taken::Structure(usize::MAX)), // HOPOPTS, RTHDR, …
        61 => fails(Errno::ENOTCONN, Errno::ENOPROTOOPT), // PATHMTU
        67 => rule(Shown::Number(0), Taken::OrDefault(0, 255)), // TCLASS
        68 | 69 => fails(Errno::EINVAL, Errno::ENOPROTOOPT), // …_FILTER of netfilter
        72 => rule(Shown::Number(0x500), Taken::Range(0, i32::MAX)), // ADDR_PREFERENCES
        73 => range(0, 0, 255),  // MINHOPCOUNT
        76 => rule(Shown::Number(0), Taken::Any), // UNICAST_IF
        80 => fails(if stream { Errno::ENOENT } else { Errno::ENOPROTOOPT }, Errno::ENOPROTOOPT), // SO_ORIGINAL_DST
        _ => return None,
    })
}

fn tcp(name: u32) -> Option<Rule> {
    Some(match name {
        1 | 3 => switch(0),                                         // NODELAY, CORK
        2 => rule(Shown::Number(0), Taken::Any),                    // MAXSEG: checked apart
        4 => range(7200, 1, 32767),                                 // KEEPIDLE
        5 => range(75, 1, 32767),                                   // KEEPINTVL
        6 => range(9, 1, 127),                                      // KEEPCNT
        7 => range(6, 1, 127),                                      // SYNCNT
        8 => rule(Shown::Number(60), Taken::Any),                   // LINGER2
        9 => rule(Shown::Number(0), Taken::Any),                    // DEFER_ACCEPT
        10 => rule(Shown::Number(0), Taken::Any),                   // WINDOW_CLAMP
        11 | 26 => fails(Errno::ENOPROTOOPT, Errno::ENOPROTOOPT),   // INFO: shown apart, CC_INFO
        12 => switch(1),                                            // QUICKACK
        13 | 31 => rule(Shown::Empty, Taken::Ignored),              // CONGESTION, ULP: apart
        14 | 22 | 32 => fails(Errno::ENOPROTOOPT, Errno::EINVAL), // MD5SIG, REPAIR_OPTIONS, MD5SIG_EXT
        16 | 17 => range(0, 0, 1),   // THIN_LINEAR_TIMEOUTS, THIN_DUPACK
        18 => range(0, 0, i32::MAX), // USER_TIMEOUT
        19 => range(0, -1, 1),       // REPAIR
        23 => rule(Shown::Number(0), Taken::Range(0, i32::MAX)), // FASTOPEN
        20 | 29 => fails(Errno::EINVAL, Errno::EPERM), // REPAIR_QUEUE, REPAIR_WINDOW
        21 => fails(Errno::EINVAL, Errno::EINVAL), // QUEUE_SEQ
        24 => fixed(0, Errno::EPERM), // TIMESTAMP
        25 => rule(Shown::Number(0), Taken::Any), // NOTSENT_LOWAT
        27 => range(0, 0, 2),        // SAVE_SYN
        28 => rule(Shown::Empty, Taken::Fails(Errno::ENOPROTOOPT)), // SAVED_SYN
        30 => range(0, 0, 1),        // FASTOPEN_CONNECT
        33 => rule(Shown::Empty, Taken::Fails(Errno::EINVAL)), // FASTOPEN_KEY
        34 | 36 => range(0, 0, 1),   // FASTOPEN_NO_COOKIE, INQ
        35 => fails(Errno::EINVAL, Errno::ENOPROTOOPT), // ZEROCOPY_RECEIVE
        37 => range(0, 0, i32::MAX), // TX_DELAY
        _ => return None,
    })
}

fn udp(name: u32) -> Option<Rule> {
    Some(match name {
        1 | 101 | 102 | 104 => switch(0), // CORK, NO_CHECK6_TX, …_RX, GRO
        100 => range(0, 0, 0),            // ENCAP
        103 => range(0, 0, 65535),        // SEGMENT
        10 | 11 => rule(Shown::Number(0), Taken::Any), // UDPLITE_SEND_CSCOV, …_RECV_CSCOV
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_no_options_of_multicast_senders() {
        assert_eq!(find(SOL_IP, 33, Shape::Stream).unwrap().taken, Taken::Fails(Errno::EINVAL));
        assert_eq!(find(SOL_IP, 33, Shape::Datagram).unwrap().taken, Taken::OrDefault(0, 255));
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert_eq!(find(SOL_IP, 27, Shape::Stream), Err(Errno::ENOPROTOOPT));
        assert_eq!(find(SOL_IP, 200, Shape::Stream), Err(Errno::EOPNOTSUPP));
        assert_eq!(find(SOL_TCP, 99, Shape::Stream), Err(Errno::ENOPROTOOPT));
    }
}
