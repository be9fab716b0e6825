//! The routing table: the longest prefix wins, then the smallest metric.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::InterfaceId;

/// Most routes.
const MAX_ROUTES: usize = 4096;

/// Where packets of a destination go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination's first bits.
    pub destination: IpAddr,
    /// How many; 0 for a default route.
    pub prefix: u8,
    /// Who takes them on; `None` where the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Where they are sent.
    pub interface: InterfaceId,
    /// The address that they come from, if something else than the interface's is wanted.
    pub source: Option<IpAddr>,
    /// The smallest is taken.
    pub metric: u32,
}

/// Routes in the order in which they are looked at.
#[derive(Default)]
pub(crate) struct Routes {
    routes: Vec<Route>,
}

impl Routes {
    /// Adds a route; false where the same exists or there are too many.
    pub(crate) fn add(&mut self, route: Route) -> bool {
        let same = |other: &Route| {
            (other.destination, other.prefix, other.metric, other.gateway, other.interface)
                == (route.destination, route.prefix, route.metric, route.gateway, route.interface)
        };
        if self.routes.len() >= MAX_ROUTES || self.routes.iter().any(same) {
            return false;
        }
        let at = self.routes.partition_point(|other| {
            (core::cmp::Reverse(other.prefix), other.metric)
                <= (core::cmp::Reverse(route.prefix), route.metric)
        });
        self.routes.insert(at, route);
        true
    }

    /// Keeps the routes that `keep` wants; says how many are gone.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Route) -> bool) -> usize {
        let before = self.routes.len();
        self.routes.retain(keep);
        before - self.routes.len()
    }

    /// The route to an address.
    pub(crate) fn lookup(&self, to: IpAddr, usable: impl Fn(InterfaceId) -> bool) -> Option<Route> {
        let fits = |route: &&Route| {
            has_prefix(to, route.destination, route.prefix) && usable(route.interface)
        };
        self.routes.iter().find(fits).copied()
    }

    pub(crate) fn as_slice(&self) -> &[Route] {
        &self.routes
    }
}

/// Whether the first `bits` of both are the same.
pub(crate) fn has_prefix(address: IpAddr, of: IpAddr, bits: u8) -> bool {
    match (address, of) {
        (IpAddr::V4(one), IpAddr::V4(two)) => {
            let rest = 32_u32.saturating_sub(bits.into());
            let differs = u32::from(one) ^ u32::from(two);
            differs.checked_shr(rest).unwrap_or(0) == 0
        }
        (IpAddr::V6(one), IpAddr::V6(two)) => {
            let rest = 128_u32.saturating_sub(bits.into());
            let differs = u128::from(one) ^ u128::from(two);
            differs.checked_shr(rest).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: &str, prefix: u8, metric: u32) -> Route {
        let destination = destination.parse().unwrap();
        Route { destination, prefix, gateway: None, interface: metric + 2, source: None, metric }
    }

    #[test]
    fn the_longest_prefix_wins_then_the_metric() {
        let mut routes = Routes::default();
        let added = [
            route("0.0.0.0", 0, 5),
            route("10.0.0.0", 8, 7),
            route("10.1.0.0", 16, 9),
            route("10.1.0.0", 16, 1),
            route("::", 0, 3),
        ];
        for route in added {
            assert!(routes.add(route));
        }
        assert!(!routes.add(route("::", 0, 3)));
        let metric = |to: &str, not: u32| {
            routes.lookup(to.parse().unwrap(), |id| id != not).map(|route| route.metric)
        };
        assert_eq!(metric("10.1.2.3", 0), Some(1));
        assert_eq!(metric("10.1.2.3", 3), Some(9));
        assert_eq!(metric("10.2.0.1", 0), Some(7));
        assert_eq!(metric("192.0.2.1", 0), Some(5));
        assert_eq!((metric("2001:db8::1", 0), metric("2001:db8::1", 5)), (Some(3), None));
        assert_eq!(routes.retain(|route| route.prefix > 0), 2);
    }
}
