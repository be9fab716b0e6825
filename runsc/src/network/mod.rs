//! The container's connection to the world (`--network`).
//!
//! - `none`: the sandbox has a loopback interface and nothing else.
//! - `sandbox`: the interfaces of the container's network namespace, as an engine or a CNI plugin has prepared it, become
//!   interfaces of the sandbox's own TCP/IP stack. The command enters the namespace for a moment ([`namespace`]), reads what is
//!   there ([`netlink`]), opens a packet socket on each interface ([`packet`]) and takes the addresses away from the host's
//!   kernel, which would answer for them otherwise; a start that fails gives them back ([`loan`]). The sentry gets the sockets:
//!   frames are all that it can send and receive by them, on interfaces of this namespace.
//!
//! `runsc do --network=sandbox` has no namespace to take over and makes one, with a pair of virtual interfaces ([`pair`]) whose
//! other end is on this machine.

mod loan;
mod namespace;
mod netlink;
mod packet;
mod pair;

use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use chitin_net_stack::wire::ethernet::Mac;
use netlink_packet_route::address::AddressMessage;

pub(crate) use self::loan::Loan;

use self::loan::Taken;
use self::netlink::{HostLink, Netlink, address_of, plan_of};
use crate::error::{Context as _, Failure, Result};
use crate::fail;
use crate::state::Store;

/// Which network a sandbox is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None.
    #[default]
    None,
    /// What is in a network namespace.
    Namespace {
        path: PathBuf,
        /// Whether a namespace of nothing but a loopback interface will not do.
        required: bool,
    },
    /// A pair of interfaces to this machine, whose addresses are chosen under a lock of this store.
    Pair(Store),
}

/// An interface that the sandbox takes over.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) mac: Mac,
    pub(crate) mtu: u32,
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    /// A packet socket.
    pub(crate) socket: OwnedFd,
    /// Its number in its namespace.
    index: u32,
}

/// A route that the sandbox takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoutePlan {
    pub(crate) destination: IpAddr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) metric: u32,
    /// Which of the links.
    pub(crate) link: usize,
}

/// What a sandbox gets.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) links: Vec<Link>,
    pub(crate) routes: Vec<RoutePlan>,
}

impl Network {
    /// Prepares what is wanted, and says what is to be given back unless the sandbox stands.
    pub(crate) fn prepare(wanted: &Wanted) -> Result<(Self, Loan)> {
        match wanted {
            Wanted::None => Ok(Default::default()),
            Wanted::Namespace { path, required } => Self::take_over(path, *required),
            // All of it goes when nobody has the packet socket any more.
            Wanted::Pair(store) => Ok((pair::make(store)?, Loan::default())),
        }
    }

    /// Takes over the interfaces of a network namespace.
    fn take_over(path: &Path, required: bool) -> Result<(Self, Loan)> {
        let advice = || {
            format!(
                "cannot take over the network namespace {} (--network=none does without)",
                path.display()
            )
        };
        let take = || {
            let namespace = namespace::open(path)?;
            if namespace::is_hosts(&namespace)? {
                return fail!("it is this machine's own, which would lose its addresses");
            }
            let mut taken = Taken::default();
            let network = namespace::inside(&namespace, || Self::of_here(&mut taken, required));
            let loan = Loan::new(namespace, taken);
            Ok((network.and_then(|network| network)?, loan))
        };
        take().context(advice)
    }

    /// Takes over the interfaces of the current network namespace. `taken` says what is to be given back, also when
    /// this fails halfway.
    fn of_here(taken: &mut Taken, required: bool) -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let (mut network, others) = Self::links_of(&mut netlink, &mut taken.addresses)?;
        if network.links.is_empty() && (required || others.iter().any(|other| other.is_up)) {
            return Err(nothing_usable(&others));
        }
        let place = |index: u32| network.links.iter().position(|link| link.index == index);
        for route in netlink.routes()? {
            if let Some(plan) = plan_of(&route, &place) {
                network.routes.push(plan);
                taken.routes.push(route);
            }
        }
        // The last first: with the first of a subnet the host's kernel removes the others.
        for address in taken.addresses.iter().rev() {
            netlink.remove_address(address).context(|| "cannot take an address over")?;
        }
        Ok(network)
    }

    /// The interfaces that can be taken over, with their addresses, and those that cannot, but for loopback ones.
    fn links_of(
        netlink: &mut Netlink,
        taken: &mut Vec<AddressMessage>,
    ) -> Result<(Self, Vec<HostLink>)> {
        let (mut network, mut others) = (Self::default(), Vec::new());
        let all = netlink.addresses()?;
        for link in netlink.links()? {
            let own = || all.iter().filter(|address| address.header.index == link.index);
            let addresses: Vec<_> = own().filter_map(address_of).collect();
            let Some(mac) = link.mac.filter(|_| link.is_up && !addresses.is_empty()) else {
                others.extend((!link.is_loopback).then_some(link));
                continue;
            };
            taken.extend(own().cloned());
            network.links.push(Link {
                socket: packet::open(link.index)
                    .context(|| format!("interface {}: cannot open a packet socket", link.name))?,
                name: link.name,
                mac,
                mtu: link.mtu,
                addresses,
                index: link.index,
            });
        }
        Ok((network, others))
    }

    /// The descriptors of all links.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.links.iter().map(|link| link.socket.as_raw_fd())
    }
}

/// Says what is wrong with each interface.
fn nothing_usable(links: &[HostLink]) -> Failure {
    let wrong = |link: &HostLink| {
        let why = match link.mac {
            _ if !link.is_up => "is down",
            None => "is no Ethernet interface",
            Some(_) => "has no address (has another sandbox taken it over?)",
        };
        format!("{} {why}", link.name)
    };
    let mut text = "there is no Ethernet interface that is up and has an address".to_owned();
    if !links.is_empty() {
        text += ": ";
        text += &links.iter().map(wrong).collect::<Vec<_>>().join(", ");
    }
    Failure::new(text)
}
