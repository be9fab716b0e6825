//! A pair of virtual interfaces: one on this machine, one in a namespace of the sandbox's own.
//!
//! There is no address translation and no forwarding: the sandbox and this machine can talk to each other. Both interfaces
//! vanish with the sandbox, whose packet socket keeps the namespace alive.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage,
};

use super::loan::Taken;
use super::netlink::{Netlink, plan_of};
use super::{Network, namespace};
use crate::error::{Context as _, Result};
use crate::fail;
use crate::state::Store;

/// Bits of an address that both ends have in common.
const PREFIX: u8 = 30;
/// Links that are looked at before giving up.
const TRIES: u32 = 1024;
/// What the sandbox calls its end.
const INSIDE: &str = "eth0";

/// Makes the pair and takes one end over.
pub(super) fn make(store: &Store) -> Result<Network> {
    make_here(store).context(|| {
        "cannot connect the sandbox to this machine: --network=sandbox needs root (--network=none does without)"
    })
}

fn make_here(store: &Store) -> Result<Network> {
    let host = namespace::open(Path::new(namespace::OWN))?;
    let mut routing = Netlink::open()?;
    let own = new_namespace(&host)?;
    let name = format!("runsc{}", std::process::id());
    routing.add_link(pair(&name, own.as_raw_fd()))?;
    let index = routing.index_of(&name)?;
    let lock = store.lock_links()?;
    let (outside, inside) = free_link(&mut routing)?;
    routing.add_address(index, outside.into(), PREFIX)?;
    routing.set_up(index)?;
    // Others see from here on that the link is taken.
    drop(lock);
    namespace::enter(&own)?;
    // Nobody needs these addresses back: the namespace ends with its last packet socket.
    let take = |()| Network::of_here(&mut Taken::default(), true);
    let network = prepare_inside(inside).and_then(take);
    namespace::enter(&host)?;
    let mut network = network?;
    network.routes.push(super::RoutePlan {
        destination: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        prefix: 0,
        gateway: Some(outside.into()),
        source: None,
        metric: 0,
        link: 0,
    });
    Ok(network)
}

/// Makes a network namespace and comes back.
fn new_namespace(host: &std::fs::File) -> Result<std::fs::File> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .context(|| "cannot make a network namespace")?;
    let own = namespace::open(Path::new(namespace::OWN));
    namespace::enter(host)?;
    own
}

fn pair(name: &str, namespace: i32) -> LinkMessage {
    let mut inside = LinkMessage::default();
    inside.attributes.push(LinkAttribute::IfName(INSIDE.to_owned()));
    inside.attributes.push(LinkAttribute::NetNsFd(namespace));
    let mut outside = LinkMessage::default();
    outside.attributes.push(LinkAttribute::IfName(name.to_owned()));
    outside.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inside))),
    ]));
    outside
}

fn prepare_inside(address: Ipv4Addr) -> Result<()> {
    let mut routing = Netlink::open()?;
    let index = routing.index_of(INSIDE)?;
    routing.add_address(index, address.into(), PREFIX)?;
    routing.set_up(index)
}

/// The addresses of both ends on a link that nothing here leads to yet.
fn free_link(routing: &mut Netlink) -> Result<(Ipv4Addr, Ipv4Addr)> {
    let routes = routing.routes()?;
    let taken: Vec<_> = routes.iter().filter_map(|route| plan_of(route, &|_| Some(0))).collect();
    for number in 0..TRIES {
        let base = u32::from(Ipv4Addr::new(172, 30, 0, 0)) + number * 4;
        let is_taken = taken.iter().any(|route| match route.destination {
            IpAddr::V4(ip) if route.prefix > 0 => {
                let bits = u32::from(route.prefix.min(PREFIX));
                (u32::from(ip) ^ base).leading_zeros() >= bits
            }
            _ => false,
        });
        if !is_taken {
            return Ok((Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2)));
        }
    }
    fail!("no link of 172.30.0.0/20 is free")
}
