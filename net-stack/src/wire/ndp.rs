//! Neighbour discovery for IPv6 (RFC 4861), as messages of ICMPv6.

use core::net::Ipv6Addr;

use smallvec::SmallVec;

use super::ethernet::Mac;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
const PREFIX: u8 = 3;
const MTU: u8 = 5;

/// A prefix that a router has told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// Its first bits.
    pub address: Ipv6Addr,
    /// How many.
    pub bits: u8,
    /// Addresses with it are on the link.
    pub on_link: bool,
    /// Hosts may make addresses of it (RFC 4862).
    pub autonomous: bool,
    /// Seconds that it may be used.
    pub valid: u32,
    /// Seconds that it should be used.
    pub preferred: u32,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Which routers are there?
    RouterSolicitation {
        /// The sender's hardware address.
        source: Option<Mac>,
    },
    /// A router is.
    RouterAdvertisement {
        /// Hops that packets should begin with; 0 if it does not say.
        hops: u8,
        /// Seconds that it may be a default router; 0 if it is none.
        lifetime: u16,
        /// Its hardware address.
        source: Option<Mac>,
        /// The link's largest packet.
        mtu: Option<u32>,
        /// The link's prefixes.
        prefixes: SmallVec<[Prefix; 2]>,
    },
    /// Who has the target's address?
    NeighbourSolicitation {
        /// Whom it is about.
        target: Ipv6Addr,
        /// The sender's hardware address.
        source: Option<Mac>,
    },
    /// The sender has.
    NeighbourAdvertisement {
        /// Whom it is about.
        target: Ipv6Addr,
        /// Its hardware address.
        address: Option<Mac>,
        /// It is a router.
        router: bool,
        /// It was asked for.
        solicited: bool,
        /// It replaces what is known.
        overrides: bool,
    },
}

impl Message {
    /// Reads a message; `None` for other messages of ICMPv6 and for malformed ones.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<8>()?;
        if header[1] != 0 {
            return None;
        }
        let target = || {
            let (octets, options) = rest.split_first_chunk::<16>()?;
            Some((Ipv6Addr::from(*octets), Options::parse(options)?))
        };
        match header[0] {
            ROUTER_SOLICITATION => {
                Some(Self::RouterSolicitation { source: Options::parse(rest)?.source })
            }
            ROUTER_ADVERTISEMENT => {
                let (_, options) = rest.split_first_chunk::<8>()?;
                let options = Options::parse(options)?;
                Some(Self::RouterAdvertisement {
                    hops: header[4],
                    lifetime: u16::from_be_bytes([header[6], header[7]]),
                    source: options.source,
                    mtu: options.mtu,
                    prefixes: options.prefixes,
                })
            }
            NEIGHBOUR_SOLICITATION => {
                let (target, options) = target()?;
                Some(Self::NeighbourSolicitation { target, source: options.source })
            }
            NEIGHBOUR_ADVERTISEMENT => {
                let (target, options) = target()?;
                Some(Self::NeighbourAdvertisement {
                    target,
                    address: options.target,
                    router: header[4] & 0x80 != 0,
                    solicited: header[4] & 0x40 != 0,
                    overrides: header[4] & 0x20 != 0,
                })
            }
            _ => None,
        }
    }

    /// Appends a question or answer about neighbours, or a question for routers, with a checksum of zero; nothing
    /// for what only routers send.
    pub fn emit<A: Extend<u8>>(&self, to: &mut A) {
        let option = |kind: u8, address: &Option<Mac>, to: &mut A| {
            if let Some(address) = address {
                to.extend([kind, 1]);
                to.extend(address.0);
            }
        };
        match self {
            Self::RouterSolicitation { source } => {
                to.extend([ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
                option(SOURCE_ADDRESS, source, to);
            }
            Self::NeighbourSolicitation { target, source } => {
                to.extend([NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
                to.extend(target.octets());
                option(SOURCE_ADDRESS, source, to);
            }
            Self::NeighbourAdvertisement { target, address, router, solicited, overrides } => {
                let flags =
                    u8::from(*router) << 7 | u8::from(*solicited) << 6 | u8::from(*overrides) << 5;
                to.extend([NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0]);
                to.extend(target.octets());
                option(TARGET_ADDRESS, address, to);
            }
            Self::RouterAdvertisement { .. } => {}
        }
    }
}

#[derive(Default)]
struct Options {
    source: Option<Mac>,
    target: Option<Mac>,
    mtu: Option<u32>,
    prefixes: SmallVec<[Prefix; 2]>,
}

impl Options {
    fn parse(mut bytes: &[u8]) -> Option<Self> {
        let mut options = Self::default();
        while let Some([kind, units]) = bytes.first_chunk() {
            let length = usize::from(*units) * 8;
            let body = bytes.get(2..length)?;
            match *kind {
                SOURCE_ADDRESS => options.source = body.first_chunk().map(|mac| Mac(*mac)),
                TARGET_ADDRESS => options.target = body.first_chunk().map(|mac| Mac(*mac)),
                MTU => {
                    options.mtu = body.get(2..6)?.first_chunk().map(|mtu| u32::from_be_bytes(*mtu));
                }
                PREFIX => options.prefixes.extend(prefix(body)),
                _ => {}
            }
            bytes = bytes.get(length..)?;
        }
        bytes.is_empty().then_some(options)
    }
}

fn prefix(body: &[u8]) -> Option<Prefix> {
    let body: &[u8; 30] = body.first_chunk()?;
    let word = |at: usize| Some(u32::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let octets: [u8; 16] = *body.get(14..)?.first_chunk()?;
    (body[0] <= 128).then_some(Prefix {
        address: octets.into(),
        bits: body[0],
        on_link: body[1] & 0x80 != 0,
        autonomous: body[1] & 0x40 != 0,
        valid: word(2)?,
        preferred: word(6)?,
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn messages_read_back_as_written() {
        let target: Ipv6Addr = "fe80::7".parse().unwrap();
        let mac = Some(Mac([2, 0, 0, 0, 0, 1]));
        let messages = [
            Message::RouterSolicitation { source: mac },
            Message::NeighbourSolicitation { target, source: None },
            Message::NeighbourSolicitation { target, source: mac },
            Message::NeighbourAdvertisement {
                target,
                address: mac,
                router: false,
                solicited: true,
                overrides: true,
            },
        ];
        for message in messages {
            let mut bytes = Vec::new();
            message.emit(&mut bytes);
            assert_eq!(Message::parse(&bytes), Some(message));
            bytes.push(1);
            assert_eq!(Message::parse(&bytes), None, "half an option");
        }
    }

    #[test]
    fn a_router_tells_of_prefixes() {
        let mut bytes = alloc::vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([5, 1, 0, 0, 0, 0, 5, 0xdc]);
        bytes.extend([3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 0, 9, 0, 0, 0, 0]);
        let address: Ipv6Addr = "2001:db8::".parse().unwrap();
        bytes.extend(address.octets());
        let Some(Message::RouterAdvertisement { hops, lifetime, mtu, prefixes, .. }) =
            Message::parse(&bytes)
        else {
            panic!("not read");
        };
        assert_eq!((hops, lifetime, mtu), (64, 0x708, Some(1500)));
        let expected =
            Prefix { address, bits: 64, on_link: true, autonomous: true, valid: 256, preferred: 9 };
        assert_eq!(prefixes.as_slice(), [expected]);
        bytes[25] = 0;
        assert_eq!(Message::parse(&bytes), None, "an option of no length");
    }
}
