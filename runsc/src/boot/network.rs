//! The sandbox's interfaces of the host's.

use std::sync::Arc;

use chitin_net_stack::{InterfaceConfig, Medium, Route};
use chitin_task::Kernel;
use chitin_task::namespace::NetNamespace;
use chitin_task::socket::inet::HostInterface;

use crate::error::{Context as _, Result};
use crate::network::{Link, Network};

/// Largest TCP segment that the host cuts up: what fits into an IP packet.
const SEGMENT: u32 = 65_000;

/// Gives the kernel inside what was taken over.
pub(super) fn attach(kernel: &Arc<Kernel>, network: Network) -> Result<Option<Arc<NetNamespace>>> {
    if network.links.is_empty() {
        return Ok(None);
    }
    let namespace = NetNamespace::initial(&kernel.user_ns);
    let stack = &namespace.inet;
    let mut interfaces = Vec::new();
    for link in network.links {
        let Link { name, mac, mtu, addresses, socket, .. } = link;
        let place = || format!("interface {name}: cannot be taken over");
        let config = InterfaceConfig {
            name: name.clone(),
            medium: Medium::Ethernet(mac),
            mtu,
            checksum_offload: true,
            segment_offload: SEGMENT,
        };
        let interface = HostInterface { config, addresses, descriptor: socket };
        interfaces.push(stack.attach(interface, &kernel.scheduler).context(place)?);
    }
    let routes = network.routes.into_iter().filter_map(|plan| {
        Some(Route {
            destination: plan.destination,
            prefix: plan.prefix,
            gateway: plan.gateway,
            interface: *interfaces.get(plan.link)?,
            source: plan.source,
            metric: plan.metric,
        })
    });
    // Gateways need the routes to their links first.
    let (near, far): (Vec<_>, Vec<_>) = routes.partition(|route| route.gateway.is_none());
    stack.add_routes(near.into_iter().chain(far)).context(|| "cannot take the routes over")?;
    Ok(Some(namespace))
}
