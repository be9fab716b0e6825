//! Groups that a socket has joined (`IP_ADD_MEMBERSHIP`, `IPV6_ADD_MEMBERSHIP`; `ip(7)`, `ipv6(7)`).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chitin_abi::net::{
    IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP, IP_MULTICAST_IF, IPV6_ADD_MEMBERSHIP,
    IPV6_DROP_MEMBERSHIP, IpMreq, IpMreqn, Ipv6Mreq, SOL_IP, SOL_IPV6,
};
use chitin_abi::{Errno, Result};
use chitin_net_stack::{InterfaceId, Proto};
use zerocopy::FromBytes;

use super::InetSocket;

/// Groups of one socket (`net.ipv4.igmp_max_memberships`).
const MOST: usize = 20;

impl InetSocket {
    /// Joins or leaves a group, or says where packets to groups go; `None` for other options.
    pub(super) fn set_membership(&self, level: u32, name: u32, value: &[u8]) -> Option<Result<()>> {
        match (level, name) {
            (SOL_IP, IP_ADD_MEMBERSHIP) => Some(self.group_v4(value).and_then(|to| self.join(to))),
            (SOL_IP, IP_DROP_MEMBERSHIP) => {
                Some(self.group_v4(value).and_then(|from| self.leave(from)))
            }
            (SOL_IP, IP_MULTICAST_IF) if self.proto != Proto::Tcp => {
                Some(self.interface_v4(value).map(|id| {
                    let id = id.map_or(0, u32::cast_signed);
                    self.values.lock().insert((level, name), id);
                }))
            }
            (SOL_IPV6, IPV6_ADD_MEMBERSHIP) => Some(group_v6(value).and_then(|to| self.join(to))),
            (SOL_IPV6, IPV6_DROP_MEMBERSHIP) => {
                Some(group_v6(value).and_then(|from| self.leave(from)))
            }
            _ => None,
        }
    }

    /// The interface with an address, or with a number.
    fn find(&self, address: [u8; 4], index: i32) -> Result<Option<InterfaceId>> {
        if index != 0 {
            let id = u32::try_from(index).map_err(|_| Errno::ENODEV)?;
            let exists = self.with(|stack, _| stack.interface(id).is_some());
            return if exists { Ok(Some(id)) } else { Err(Errno::ENODEV) };
        }
        let ip = IpAddr::from(address);
        if ip.is_unspecified() {
            return Ok(None);
        }
        let found = self.with(|stack, _| {
            let has =
                |one: &&chitin_net_stack::Interface| one.addresses.iter().any(|own| own.ip == ip);
            stack.interfaces().iter().find(has).map(|one| one.id)
        });
        found.map(Some).ok_or(Errno::ENODEV)
    }

    fn group_v4(&self, value: &[u8]) -> Result<(IpAddr, Option<InterfaceId>)> {
        if let Ok((request, _)) = IpMreqn::read_from_prefix(value) {
            let group = Ipv4Addr::from(request.multiaddr);
            return Ok((group.into(), self.find(request.address, request.ifindex)?));
        }
        let (request, _) = IpMreq::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
        let group = Ipv4Addr::from(request.multiaddr);
        Ok((group.into(), self.find(request.interface, 0)?))
    }

    fn interface_v4(&self, value: &[u8]) -> Result<Option<InterfaceId>> {
        if let Ok((request, _)) = IpMreqn::read_from_prefix(value) {
            return self.find(request.address, request.ifindex);
        }
        if let Ok((request, _)) = IpMreq::read_from_prefix(value) {
            return self.find(request.interface, 0);
        }
        let address: [u8; 4] = *value.first_chunk().ok_or(Errno::EINVAL)?;
        self.find(address, 0).map_err(|_| Errno::EADDRNOTAVAIL)
    }

    fn join(&self, (group, interface): (IpAddr, Option<InterfaceId>)) -> Result<()> {
        let mut memberships = self.memberships.lock();
        let id = self.with(|stack, _| stack.join(group, interface))?;
        let error = if memberships.contains(&(group, id)) {
            Errno::EADDRINUSE
        } else if memberships.len() >= MOST {
            Errno::ENOBUFS
        } else {
            memberships.push((group, id));
            return Ok(());
        };
        self.with(|stack, _| stack.leave(group, id));
        Err(error)
    }

    fn leave(&self, (group, interface): (IpAddr, Option<InterfaceId>)) -> Result<()> {
        let mut memberships = self.memberships.lock();
        let fits = |(known, id): &(IpAddr, InterfaceId)| {
            *known == group && interface.is_none_or(|wanted| wanted == *id)
        };
        let at = memberships.iter().position(fits).ok_or(Errno::EADDRNOTAVAIL)?;
        let (group, id) = memberships.remove(at);
        self.with(|stack, _| stack.leave(group, id));
        Ok(())
    }

    /// The socket is closed.
    pub(super) fn leave_all(&self) {
        for (group, id) in self.memberships.lock().drain(..) {
            self.with(|stack, _| stack.leave(group, id));
        }
    }
}

fn group_v6(value: &[u8]) -> Result<(IpAddr, Option<InterfaceId>)> {
    let (request, _) = Ipv6Mreq::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
    let group = Ipv6Addr::from(request.multiaddr);
    Ok((group.into(), (request.ifindex != 0).then_some(request.ifindex)))
}
