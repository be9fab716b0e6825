//! [`Loan`]: what was taken from a network namespace, which gets it back unless the sandbox stands.

use std::fs::File;

use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::RouteMessage;

use super::namespace;
use super::netlink::{Netlink, plan_of};
use crate::error::Result;
use crate::log::warn_once;

/// What goes when addresses are taken away, as the host's routing has said it.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) addresses: Vec<AddressMessage>,
    /// Those over the same interfaces: the host's kernel removes them with the addresses.
    pub(super) routes: Vec<RouteMessage>,
}

/// Gives back what was taken when it is dropped; whoever starts again finds the namespace as it was.
#[derive(Debug, Default)]
pub(crate) struct Loan {
    open: Option<(File, Taken)>,
}

impl Loan {
    pub(super) fn new(namespace: File, taken: Taken) -> Self {
        let open = !taken.addresses.is_empty();
        Self { open: open.then_some((namespace, taken)) }
    }

    /// The sandbox has it now.
    pub(crate) fn settle(&mut self) {
        self.open = None;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some((namespace, taken)) = self.open.take() else { return };
        let returned = namespace::inside(&namespace, || give_back(&taken));
        if let Err(failure) = returned.and_then(|returned| returned) {
            warn_once(&format!("cannot give the network namespace its addresses back: {failure}"));
        }
    }
}

/// In the current network namespace.
fn give_back(taken: &Taken) -> Result<()> {
    let mut netlink = Netlink::open()?;
    for address in &taken.addresses {
        netlink.restore_address(address)?;
    }
    let plan = |route: &RouteMessage| plan_of(route, &|index| Some(index as usize));
    // Some came back with their addresses, and others never went.
    let there: Vec<_> = netlink.routes()?.iter().filter_map(plan).collect();
    let missing = taken.routes.iter().filter_map(|route| Some((plan(route)?, route)));
    let mut missing: Vec<_> = missing.filter(|(plan, _)| !there.contains(plan)).collect();
    // Gateways need the routes to their links first.
    missing.sort_by_key(|(plan, _)| plan.gateway.is_some());
    missing.into_iter().try_for_each(|(_, route)| netlink.restore_route(route))
}
