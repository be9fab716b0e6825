//! The container's connection to the world (`--network`).
//!
//! - `none`: the sandbox has a loopback interface and nothing else.
//! - `sandbox`: the interfaces of the container's network namespace, as an engine or a CNI plugin has prepared it, become
//!   interfaces of the sandbox's own TCP/IP stack. The command enters the namespace for a moment ([`namespace`]), reads what is
//!   there ([`netlink`]), opens a packet socket on each interface ([`packet`]) and takes the addresses away from the host's
//!   kernel, which would answer for them otherwise. The sentry gets the sockets: it can send and receive frames on these
//!   interfaces, and nothing else.
//!
//! `runsc do --network=sandbox` has no namespace to take over and makes one, with a pair of virtual interfaces ([`pair`]) whose
//! other end is on this machine.

pub(crate) mod namespace;
mod netlink;
mod packet;
mod pair;

use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use chitin_net_stack::wire::ethernet::Mac;

use self::netlink::Netlink;
use crate::error::{Context as _, Result};

/// Which network a sandbox is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None.
    #[default]
    None,
    /// What is in this network namespace.
    Namespace(PathBuf),
    /// A pair of interfaces to this machine.
    Pair,
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
    /// Prepares what is wanted.
    pub(crate) fn prepare(wanted: &Wanted) -> Result<Self> {
        match wanted {
            Wanted::None => Ok(Self::default()),
            Wanted::Namespace(path) => Self::take_over(path),
            Wanted::Pair => pair::make(),
        }
    }

    /// Takes over the interfaces of a network namespace.
    fn take_over(path: &Path) -> Result<Self> {
        let advice = || {
            format!(
                "cannot take over the network namespace {} (--network=none does without)",
                path.display()
            )
        };
        namespace::inside(path, Self::of_here).and_then(|network| network).context(advice)
    }

    /// Takes over the interfaces of the current network namespace.
    fn of_here() -> Result<Self> {
        let mut netlink = Netlink::open()?;
        let mut network = Self::default();
        for link in netlink.links()? {
            let addresses = netlink.addresses(link.index)?;
            if addresses.is_empty() {
                continue;
            }
            network.links.push(Link {
                socket: packet::open(link.index)
                    .context(|| format!("interface {}: cannot open a packet socket", link.name))?,
                name: link.name,
                mac: link.mac,
                mtu: link.mtu,
                addresses,
                index: link.index,
            });
        }
        let place = |index: u32| network.links.iter().position(|link| link.index == index);
        network.routes = netlink.routes(place)?;
        for link in &network.links {
            for address in &link.addresses {
                netlink
                    .remove_address(link.index, *address)
                    .context(|| format!("interface {}: cannot take its address over", link.name))?;
            }
        }
        Ok(network)
    }

    /// The descriptors of all links.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.links.iter().map(|link| link.socket.as_raw_fd())
    }
}
