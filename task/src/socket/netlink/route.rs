//! `NETLINK_ROUTE` (`rtnetlink(7)`): interfaces, their addresses, routes and neighbours. All of them are shown; what can be
//! changed is whether the loopback interface is up and has its addresses, from which its routes follow. What other
//! interfaces are like is settled when the container starts.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chitin_abi::net::{
    AF_INET, AF_INET6, AF_UNSPEC, ARPHRD_LOOPBACK, IFA_ADDRESS, IFA_CACHEINFO, IFA_F_PERMANENT,
    IFA_FLAGS, IFA_LABEL, IFA_LOCAL, IFF_LOWER_UP, IFF_UP, IFLA_ADDRESS, IFLA_BROADCAST,
    IFLA_GROUP, IFLA_IFNAME, IFLA_MTU, IFLA_OPERSTATE, IFLA_QDISC, IFLA_TXQLEN, IfAddrMsg,
    IfInfoMsg, IfaCacheinfo, NLM_F_EXCL, NLM_F_MULTI, NLM_F_REPLACE, NlMsgHdr, RT_SCOPE_HOST,
    RT_SCOPE_UNIVERSE, RT_TABLE_LOCAL, RTA_DST, RTA_OIF, RTA_PREFSRC, RTA_TABLE, RTM_DELADDR,
    RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE,
    RTM_SETLINK, RTN_LOCAL, RTPROT_KERNEL, RtAttr, RtMsg, nl_align,
};
use chitin_abi::process::CAP_NET_ADMIN;
use chitin_abi::{Errno, Result};
use zerocopy::{FromBytes, IntoBytes};

use super::answers::Answers;
use super::{Dump, devices};
use crate::socket::Caller;
use crate::socket::interface::{LOOPBACK_INDEX, LOOPBACK_MTU, LOOPBACK_QUEUE, Loopback};

/// Kinds come in groups of four: new, delete, get, set.
const GET: u16 = 2;
/// Who asks for a way wants to know its table.
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
/// State of the loopback interface when it is up, and when it is not.
const OPERSTATE_UNKNOWN: u8 = 0;
const OPERSTATE_DOWN: u8 = 2;
const V4: [u8; 4] = [127, 0, 0, 1];
const V6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Answers one request.
///
/// # Errors
/// EPERM for changes without the capability, EOPNOTSUPP for those that are not there, EEXIST, EADDRNOTAVAIL, ENODEV for
/// another interface, EINVAL, EBUSY, ENETUNREACH.
pub(super) fn answer(
    header: &NlMsgHdr,
    body: &[u8],
    port: u32,
    caller: &Caller<'_>,
    answers: &mut Answers,
) -> Result<()> {
    // As on Linux what is too short to be a request is passed over.
    let Some(family) = body.first().map(|family| u32::from(*family)) else { return Ok(()) };
    // Changes use the same bits for something else.
    let is_dump = header.kind & 3 == GET && super::is_dump(header);
    if is_dump {
        answers.begin_dump()?;
    }
    let mut dump = Dump::new(header, port);
    let flags = if is_dump { NLM_F_MULTI } else { 0 };
    let loopback = &caller.net().loopback;
    match header.kind {
        RTM_GETLINK if is_dump => link(loopback, &mut dump, flags),
        RTM_GETLINK => match find_device(body, caller) {
            Some(id) => caller.net().inet.with(|stack, _| {
                if let Some(one) = stack.interface(id) {
                    devices::link(one, &mut dump, flags);
                }
            }),
            None => {
                find_link(body)?;
                link(loopback, &mut dump, flags);
            }
        },
        RTM_GETADDR if is_dump => addresses(loopback, &mut dump, family, flags),
        RTM_GETROUTE if is_dump => routes(loopback, &mut dump, family, flags),
        RTM_GETROUTE => way(body, caller, &mut dump)?,
        // Other gets have nothing to show.
        _ if is_dump => {}
        kind if kind & 3 == GET => return Err(Errno::EOPNOTSUPP),
        _ if !caller.has_net_capability(CAP_NET_ADMIN) => return Err(Errno::EPERM),
        RTM_NEWLINK | RTM_SETLINK => return change_link(loopback, body),
        RTM_NEWADDR => return change_address(loopback, header, body, true),
        RTM_DELADDR => return change_address(loopback, header, body, false),
        _ => return Err(Errno::EOPNOTSUPP),
    }
    answers.push(dump.finish());
    if is_dump {
        show_devices(header, family, port, caller, answers);
        answers.push(Dump::done(header, port));
    }
    Ok(())
}

/// The number of an interface beside the loopback interface that a request means.
fn find_device(body: &[u8], caller: &Caller<'_>) -> Option<u32> {
    let (info, attributes) = IfInfoMsg::read_from_prefix(body).ok()?;
    let name = find_attribute(attributes, IFLA_IFNAME).ok().flatten();
    let name = name.map(|name| name.split(|byte| *byte == 0).next().unwrap_or_default());
    caller.net().inet.with(|stack, _| {
        devices::others(stack)
            .find(|one| match info.index {
                0 => name == Some(one.config.name.as_bytes()),
                index => index == one.id.cast_signed(),
            })
            .map(|one| one.id)
    })
}

/// What a dump shows of interfaces beside the loopback interface: a message for each, so that none grows too long.
fn show_devices(
    header: &NlMsgHdr,
    family: u32,
    port: u32,
    caller: &Caller<'_>,
    answers: &mut Answers,
) {
    let mut show = |fill: &mut dyn FnMut(&mut Dump<'_>)| {
        let mut dump = Dump::new(header, port);
        fill(&mut dump);
        answers.push(dump.finish());
    };
    let flags = NLM_F_MULTI;
    caller.net().inet.with(|stack, _| match header.kind {
        RTM_GETLINK => {
            for one in devices::others(stack) {
                show(&mut |dump| devices::link(one, dump, flags));
            }
        }
        RTM_GETADDR => {
            for one in devices::others(stack) {
                show(&mut |dump| devices::addresses(one, dump, family, flags));
            }
        }
        RTM_GETROUTE => {
            for one in devices::others(stack).filter(|one| one.up) {
                show(&mut |dump| devices::local_routes(one, dump, family, flags));
            }
            for route in stack.routes().iter().filter(|one| devices::wants_route(family, one)) {
                show(&mut |dump| devices::route(route, dump, flags));
            }
        }
        RTM_GETNEIGH => {
            for one in devices::others(stack) {
                show(&mut |dump| devices::neighbours(stack, one.id, dump, family, flags));
            }
        }
        _ => {}
    });
}

/// How packets get to the address that a request names.
fn way(body: &[u8], caller: &Caller<'_>, dump: &mut Dump<'_>) -> Result<()> {
    let (request, attributes) = RtMsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
    let is_v6 = u32::from(request.family) == AF_INET6;
    let nobody = if is_v6 { IpAddr::from(Ipv6Addr::LOCALHOST) } else { Ipv4Addr::LOCALHOST.into() };
    let to = match find_attribute(attributes, RTA_DST)? {
        None => nobody,
        Some(data) if is_v6 => <[u8; 16]>::try_from(data).map_err(|_| Errno::EINVAL)?.into(),
        Some(data) => <[u8; 4]>::try_from(data).map_err(|_| Errno::EINVAL)?.into(),
    };
    // As for packets, an address that is none is the host itself.
    let to: IpAddr = if to.is_unspecified() { nobody } else { to };
    let net = caller.net();
    net.loopback.reach(to)?;
    let way = net.inet.with(|stack, _| stack.way_to(to))?;
    let only = find_attribute(attributes, RTA_OIF)?;
    if only.is_some_and(|only| only != way.interface.to_ne_bytes()) {
        return Err(Errno::ENETUNREACH);
    }
    devices::way(to, &way, request.flags & RTM_F_LOOKUP_TABLE != 0, dump);
    Ok(())
}

/// Brings the interface up or down.
fn change_link(loopback: &Loopback, body: &[u8]) -> Result<()> {
    find_link(body)?;
    let (info, _) = IfInfoMsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
    // Without a mask all flags are meant.
    if info.change == 0 && info.flags == 0 {
        return Ok(());
    }
    if info.change == 0 || info.change & IFF_UP != 0 {
        loopback.set_up(info.flags & IFF_UP != 0);
    }
    Ok(())
}

/// Gives the interface an address or takes it away.
fn change_address(
    loopback: &Loopback,
    header: &NlMsgHdr,
    body: &[u8],
    is_there: bool,
) -> Result<()> {
    let (info, attributes) = IfAddrMsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
    if info.index != LOOPBACK_INDEX.cast_unsigned() {
        return Err(Errno::ENODEV);
    }
    let local = find_attribute(attributes, IFA_LOCAL)?;
    let data = local.or(find_attribute(attributes, IFA_ADDRESS)?).ok_or(Errno::EINVAL)?;
    let address = match u32::from(info.family) {
        AF_INET => <[u8; 4]>::try_from(data).map(IpAddr::from),
        AF_INET6 => <[u8; 16]>::try_from(data).map(IpAddr::from),
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let done = loopback.set_address(address.map_err(|_| Errno::EINVAL)?, is_there);
    let may_exist = header.flags & (NLM_F_REPLACE | NLM_F_EXCL) == NLM_F_REPLACE;
    if may_exist && done == Err(Errno::EEXIST) { Ok(()) } else { done }
}

/// The data of the first attribute of a kind.
fn find_attribute(mut attributes: &[u8], wanted: u16) -> Result<Option<&[u8]>> {
    while let Ok((attribute, rest)) = RtAttr::read_from_prefix(attributes) {
        let length = usize::from(attribute.len);
        let data = length.checked_sub(size_of::<RtAttr>()).and_then(|length| rest.get(..length));
        let data = data.ok_or(Errno::EINVAL)?;
        if attribute.kind == wanted {
            return Ok(Some(data));
        }
        let next = nl_align(length).ok_or(Errno::EINVAL)?;
        attributes = attributes.get(next..).unwrap_or_default();
    }
    Ok(None)
}

/// Checks that a request for one interface means the one that there is.
fn find_link(body: &[u8]) -> Result<()> {
    let (info, attributes) = IfInfoMsg::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
    if info.index == LOOPBACK_INDEX {
        return Ok(());
    }
    if info.index != 0 {
        return Err(Errno::ENODEV);
    }
    let name = find_attribute(attributes, IFLA_IFNAME)?.ok_or(Errno::EINVAL)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    if name == b"lo" { Ok(()) } else { Err(Errno::ENODEV) }
}

fn link(loopback: &Loopback, dump: &mut Dump<'_>, flags: u16) {
    let info = IfInfoMsg {
        family: AF_UNSPEC as u8,
        pad: 0,
        kind: ARPHRD_LOOPBACK,
        index: LOOPBACK_INDEX,
        flags: loopback.flags() | if loopback.is_up() { IFF_LOWER_UP } else { 0 },
        change: 0,
    };
    let state = if loopback.is_up() { OPERSTATE_UNKNOWN } else { OPERSTATE_DOWN };
    let discipline: &[u8] = if loopback.is_up() { b"noqueue\0" } else { b"noop\0" };
    let attributes: &[(u16, &[u8])] = &[
        (IFLA_IFNAME, b"lo\0"),
        (IFLA_GROUP, &0_u32.to_ne_bytes()),
        (IFLA_TXQLEN, &LOOPBACK_QUEUE.to_ne_bytes()),
        (IFLA_OPERSTATE, &[state]),
        (IFLA_MTU, &LOOPBACK_MTU.to_ne_bytes()),
        (IFLA_QDISC, discipline),
        (IFLA_ADDRESS, &[0; 6]),
        (IFLA_BROADCAST, &[0; 6]),
    ];
    dump.message(RTM_NEWLINK, flags, info.as_bytes(), attributes);
}

fn addresses(loopback: &Loopback, dump: &mut Dump<'_>, family: u32, flags: u16) {
    let forever = IfaCacheinfo { prefered: u32::MAX, valid: u32::MAX, cstamp: 0, tstamp: 0 };
    let permanent = IFA_F_PERMANENT.to_ne_bytes();
    let header = |family: u32, prefixlen| IfAddrMsg {
        family: family as u8,
        prefixlen,
        flags: IFA_F_PERMANENT as u8,
        scope: RT_SCOPE_HOST,
        index: LOOPBACK_INDEX.cast_unsigned(),
    };
    if matches!(family, AF_UNSPEC | AF_INET) && loopback.has_address(false) {
        let attributes: &[(u16, &[u8])] = &[
            (IFA_ADDRESS, &V4),
            (IFA_LOCAL, &V4),
            (IFA_LABEL, b"lo\0"),
            (IFA_FLAGS, &permanent),
            (IFA_CACHEINFO, forever.as_bytes()),
        ];
        dump.message(RTM_NEWADDR, flags, header(AF_INET, 8).as_bytes(), attributes);
    }
    if matches!(family, AF_UNSPEC | AF_INET6) && loopback.has_address(true) {
        let attributes: &[(u16, &[u8])] =
            &[(IFA_ADDRESS, &V6), (IFA_CACHEINFO, forever.as_bytes()), (IFA_FLAGS, &permanent)];
        dump.message(RTM_NEWADDR, flags, header(AF_INET6, 128).as_bytes(), attributes);
    }
}

fn routes(loopback: &Loopback, dump: &mut Dump<'_>, family: u32, flags: u16) {
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
    let has_v4 = loopback.is_up() && loopback.has_address(false);
    if matches!(family, AF_UNSPEC | AF_INET) && has_v4 {
        let attributes: &[(u16, &[u8])] = &[
            (RTA_TABLE, &table),
            (RTA_DST, &[127, 0, 0, 0]),
            (RTA_PREFSRC, &V4),
            (RTA_OIF, &interface),
        ];
        dump.message(RTM_NEWROUTE, flags, header(AF_INET, 8, RT_SCOPE_HOST).as_bytes(), attributes);
    }
    if matches!(family, AF_UNSPEC | AF_INET6) && loopback.has_address(true) {
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
