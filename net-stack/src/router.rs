//! What routers tell (RFC 4861 §6.3.4, RFC 4862 §5.5): default routes, prefixes, and addresses made of them.

use core::net::{IpAddr, Ipv6Addr};

use crate::interface::InterfaceId;
use crate::interface::route::Route;
use crate::stack::Stack;
use crate::wire::ethernet::Mac;
use crate::wire::ndp::{Message, Prefix};

/// Metric of routes that routers have told of.
const METRIC: u32 = 1024;
/// The only length that addresses are made of.
const AUTONOMOUS_BITS: u8 = 64;

/// The lower half of an address, made of a hardware address (RFC 4291, appendix A).
pub(crate) fn interface_identifier(mac: Mac) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac.0;
    [a ^ 2, b, c, 0xff, 0xfe, d, e, f]
}

impl Stack {
    /// Gives an interface its address on the link (RFC 4862 §5.3).
    ///
    /// # Errors
    /// ENODEV, EEXIST.
    pub fn add_link_local(&mut self, id: InterfaceId) -> chitin_abi::Result<()> {
        let mac = self.interface(id).and_then(crate::interface::Interface::mac);
        let mac = mac.ok_or(chitin_abi::Errno::ENODEV)?;
        let mut octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        octets[8..].copy_from_slice(&interface_identifier(mac));
        self.add_address(id, Ipv6Addr::from(octets).into(), 64)
    }

    /// Asks which routers there are.
    pub fn solicit_routers(&mut self, id: InterfaceId) {
        const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
        let Some(interface) = self.interface(id) else { return };
        let (source, own) = (interface.mac(), &interface.addresses);
        let own = own.iter().map(|address| address.ip).find(|ip| crate::output::is_link_local(*ip));
        if let Some(own) = own {
            let mac = Mac::of_multicast(ALL_ROUTERS.into());
            let ends = (own, ALL_ROUTERS.into());
            self.send_ndp(id, mac, ends, &Message::RouterSolicitation { source });
        }
    }

    pub(crate) fn take_router_advertisement(
        &mut self,
        id: InterfaceId,
        router: IpAddr,
        message: &Message,
    ) {
        let Message::RouterAdvertisement { lifetime, mtu, prefixes, .. } = message else { return };
        if !self.settings.accept_router_advertisements || !crate::output::is_link_local(router) {
            return;
        }
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        if *lifetime > 0 {
            self.routes.add(Route {
                destination: any,
                prefix: 0,
                gateway: Some(router),
                interface: id,
                source: None,
                metric: METRIC,
            });
        } else {
            self.routes.retain(|route| {
                !(route.gateway == Some(router) && route.metric == METRIC && route.prefix == 0)
            });
        }
        if let (Some(mtu), Some(interface)) = (mtu, self.interface_mut(id))
            && (1280..interface.config.mtu).contains(mtu)
        {
            interface.config.mtu = *mtu;
        }
        for prefix in prefixes {
            self.take_prefix(id, prefix);
        }
    }

    fn take_prefix(&mut self, id: InterfaceId, prefix: &Prefix) {
        if prefix.valid == 0 || crate::output::is_link_local(prefix.address.into()) {
            return;
        }
        if prefix.on_link && prefix.bits > 0 {
            self.routes.add(Route {
                destination: prefix.address.into(),
                prefix: prefix.bits,
                gateway: None,
                interface: id,
                source: None,
                metric: 256,
            });
        }
        let mac = self.interface(id).and_then(crate::interface::Interface::mac);
        let Some(mac) = mac.filter(|_| prefix.autonomous && prefix.bits == AUTONOMOUS_BITS) else {
            return;
        };
        let mut octets = prefix.address.octets();
        octets[8..].copy_from_slice(&interface_identifier(mac));
        if let Some(interface) = self.interface_mut(id) {
            let ip = Ipv6Addr::from(octets).into();
            // It is known already when it is told again.
            let _ = interface.add_address(crate::interface::Address { ip, prefix: prefix.bits });
        }
    }
}
