//! `NETLINK_ROUTE` (`rtnetlink(7)`): the loopback interface, its addresses and routes.

use chitin_abi::net::{
    AF_INET, AF_INET6, AF_UNSPEC, ARPHRD_LOOPBACK, IFA_ADDRESS, IFA_CACHEINFO, IFA_F_PERMANENT,
    IFA_FLAGS, IFA_LABEL, IFA_LOCAL, IFF_LOOPBACK, IFF_LOWER_UP, IFF_RUNNING, IFF_UP, IFLA_ADDRESS,
    IFLA_BROADCAST, IFLA_IFNAME, IFLA_MTU, IFLA_OPERSTATE, IFLA_QDISC, IFLA_TXQLEN, IfAddrMsg,
    IfInfoMsg, IfaCacheinfo, NLM_F_DUMP, NLM_F_MULTI, NLMSG_DONE, NlMsgHdr, RT_SCOPE_HOST,
    RT_SCOPE_UNIVERSE, RT_TABLE_LOCAL, RTA_DST, RTA_OIF, RTA_PREFSRC, RTA_TABLE, RTM_GETADDR,
    RTM_GETLINK, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, RTN_LOCAL, RTPROT_KERNEL,
    RtMsg,
};
use chitin_abi::process::CAP_NET_ADMIN;
use chitin_abi::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

use super::Dump;
use crate::socket::Caller;
use crate::socket::interface::{LOOPBACK_INDEX, LOOPBACK_MTU, LOOPBACK_QUEUE};

/// State "unknown", which the loopback interface is always in.
const OPERSTATE_UNKNOWN: u8 = 0;
const V4: [u8; 4] = [127, 0, 0, 1];
const V6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Answers one request.
///
/// # Errors
/// EPERM and EOPNOTSUPP for changes, ENODEV for another interface, EINVAL.
pub(super) fn answer(
    header: &NlMsgHdr,
    body: &[u8],
    port: u32,
    caller: &Caller<'_>,
    answers: &mut Vec<Vec<u8>>,
) -> Result<()> {
    // As on Linux what is too short to be a request is passed over.
    let Some(family) = body.first().map(|family| u32::from(*family)) else { return Ok(()) };
    let is_dump = header.flags & NLM_F_DUMP == NLM_F_DUMP;
    let mut dump = Dump::new(header, port);
    let flags = if is_dump { NLM_F_MULTI } else { 0 };
    match header.kind {
        RTM_GETLINK if is_dump => link(&mut dump, flags),
        RTM_GETLINK => {
            find_link(body)?;
            link(&mut dump, flags);
        }
        RTM_GETADDR if is_dump => addresses(&mut dump, family, flags),
        RTM_GETROUTE if is_dump => routes(&mut dump, family, flags),
        RTM_GETROUTE => routes(&mut dump, if family == AF_UNSPEC { AF_INET } else { family }, 0),
        // Kinds come in groups of four: new, delete, get, set. Other gets have nothing to show.
        kind if kind & 3 == 2 && is_dump => {}
        kind if kind & 3 == 2 => return Err(Errno::EOPNOTSUPP),
        _ if !caller.has_net_capability(CAP_NET_ADMIN) => return Err(Errno::EPERM),
        _ => return Err(Errno::EOPNOTSUPP),
    }
    answers.push(dump.finish());
    if is_dump {
        let mut done = Dump::new(header, port);
        done.message(NLMSG_DONE, NLM_F_MULTI, &0_i32.to_ne_bytes(), &[]);
        answers.retain(|answer| !answer.is_empty());
        answers.push(done.finish());
    }
    Ok(())
}

/// Checks that a request for one interface means the one that there is.
fn find_link(body: &[u8]) -> Result<()> {
    let (info, mut attributes) = IfInfoMsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
    if info.index == LOOPBACK_INDEX {
        return Ok(());
    }
    if info.index != 0 {
        return Err(Errno::ENODEV);
    }
    while let Ok((attribute, rest)) = chitin_abi::net::RtAttr::read_from_prefix(attributes) {
        let length = usize::from(attribute.len);
        let data = length
            .checked_sub(size_of::<chitin_abi::net::RtAttr>())
            .and_then(|length| rest.get(..length));
        let data = data.ok_or(Errno::EINVAL)?;
        if attribute.kind == IFLA_IFNAME {
            let name = data.split(|byte| *byte == 0).next().unwrap_or_default();
            return if name == b"lo" { Ok(()) } else { Err(Errno::ENODEV) };
        }
        let next = chitin_abi::net::nl_align(length).ok_or(Errno::EINVAL)?;
        attributes = attributes.get(next..).unwrap_or_default();
    }
    Err(Errno::EINVAL)
}

fn link(dump: &mut Dump<'_>, flags: u16) {
    let info = IfInfoMsg {
        family: AF_UNSPEC as u8,
        pad: 0,
        kind: ARPHRD_LOOPBACK,
        index: LOOPBACK_INDEX,
        flags: IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP,
        change: 0,
    };
    let attributes: &[(u16, &[u8])] = &[
        (IFLA_IFNAME, b"lo\0"),
        (IFLA_TXQLEN, &LOOPBACK_QUEUE.to_ne_bytes()),
        (IFLA_OPERSTATE, &[OPERSTATE_UNKNOWN]),
        (IFLA_MTU, &LOOPBACK_MTU.to_ne_bytes()),
        (IFLA_QDISC, b"noqueue\0"),
        (IFLA_ADDRESS, &[0; 6]),
        (IFLA_BROADCAST, &[0; 6]),
    ];
    dump.message(RTM_NEWLINK, flags, info.as_bytes(), attributes);
}

fn addresses(dump: &mut Dump<'_>, family: u32, flags: u16) {
    let forever = IfaCacheinfo { prefered: u32::MAX, valid: u32::MAX, cstamp: 0, tstamp: 0 };
    let permanent = IFA_F_PERMANENT.to_ne_bytes();
    let header = |family: u32, prefixlen| IfAddrMsg {
        family: family as u8,
        prefixlen,
        flags: IFA_F_PERMANENT as u8,
        scope: RT_SCOPE_HOST,
        index: LOOPBACK_INDEX.cast_unsigned(),
    };
    if family == AF_UNSPEC || family == AF_INET {
        let attributes: &[(u16, &[u8])] = &[
            (IFA_ADDRESS, &V4),
            (IFA_LOCAL, &V4),
            (IFA_LABEL, b"lo\0"),
            (IFA_FLAGS, &permanent),
            (IFA_CACHEINFO, forever.as_bytes()),
        ];
        dump.message(RTM_NEWADDR, flags, header(AF_INET, 8).as_bytes(), attributes);
    }
    if family == AF_UNSPEC || family == AF_INET6 {
        let attributes: &[(u16, &[u8])] =
            &[(IFA_ADDRESS, &V6), (IFA_CACHEINFO, forever.as_bytes()), (IFA_FLAGS, &permanent)];
        dump.message(RTM_NEWADDR, flags, header(AF_INET6, 128).as_bytes(), attributes);
    }
}

fn routes(dump: &mut Dump<'_>, family: u32, flags: u16) {
    let table = u32::from(RT_TABLE_LOCAL).to_ne_bytes();
    let interface = LOOPBACK_INDEX.to_ne_bytes();
    let header = |family: u32, dst_len, scope| RtMsg {
        family: family as u8,
        dst_len,
        src_len: 0,
        tos: 0,
        table: RT_TABLE_LOCAL,
        protocol: RTPROT_KERNEL,
        scope,
        kind: RTN_LOCAL,
        flags: 0,
    };
    if family == AF_UNSPEC || family == AF_INET {
        let attributes: &[(u16, &[u8])] = &[
            (RTA_TABLE, &table),
            (RTA_DST, &[127, 0, 0, 0]),
            (RTA_PREFSRC, &V4),
            (RTA_OIF, &interface),
        ];
        dump.message(RTM_NEWROUTE, flags, header(AF_INET, 8, RT_SCOPE_HOST).as_bytes(), attributes);
    }
    if family == AF_UNSPEC || family == AF_INET6 {
        let attributes: &[(u16, &[u8])] =
            &[(RTA_TABLE, &table), (RTA_DST, &V6), (RTA_OIF, &interface)];
        dump.message(
            RTM_NEWROUTE,
            flags,
            header(AF_INET6, 128, RT_SCOPE_UNIVERSE).as_bytes(),
            attributes,
        );
    }
}
