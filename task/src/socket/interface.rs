//! The loopback interface of a network namespace, and the `netdevice(7)` requests about it on sockets of any family.
//!
//! The first namespace's interface is up. That of a namespace made later is down and has no address until somebody
//! gives it one or brings it up, which gives it those that it has by custom.

use core::net::IpAddr;

use chitin_abi::net::{
    AF_INET, ARPHRD_ETHER, ARPHRD_LOOPBACK, IFF_LOOPBACK, IFF_RUNNING, IFF_UP, IFNAME_LEN,
    IFREQ_DATA_LEN, Ifconf, Ifreq, SIOCETHTOOL, SIOCGIFADDR, SIOCGIFBRDADDR, SIOCGIFCONF,
    SIOCGIFDSTADDR, SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFMAP, SIOCGIFMETRIC,
    SIOCGIFMTU, SIOCGIFNAME, SIOCGIFNETMASK, SIOCGIFTXQLEN, SIOCSIFADDR, SIOCSIFFLAGS, SIOCSIFMTU,
    SIOCSIFNETMASK, SockaddrIn,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;
use chitin_net_stack::{Interface, LOOPBACK};
use parking_lot::Mutex;
use zerocopy::network_endian::U16;
use zerocopy::{FromZeros, IntoBytes};

use super::inet::InetStack;
use super::netlink::devices;

/// The interface's number.
pub const LOOPBACK_INDEX: i32 = 1;
/// Its largest packet.
pub const LOOPBACK_MTU: u32 = 65536;
/// Its queue's length, which means nothing.
pub const LOOPBACK_QUEUE: u32 = 1000;
const NAME: &[u8] = b"lo";

/// The interface's state.
#[derive(Default)]
pub struct Loopback(Mutex<State>);

#[derive(Clone, Copy, Default)]
struct State {
    is_up: bool,
    /// It has 127.0.0.1.
    v4: bool,
    /// It has ::1.
    v6: bool,
}

impl Loopback {
    /// One that is up.
    pub fn up() -> Self {
        Self(Mutex::new(State { is_up: true, v4: true, v6: true }))
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.0.lock().is_up
    }

    /// Brings it up, with its addresses, or down, which costs it the one of IPv6.
    pub fn set_up(&self, is_up: bool) {
        let mut state = self.0.lock();
        if state.is_up != is_up {
            *state = State { is_up, v4: state.v4 || is_up, v6: is_up };
        }
    }

    /// Whether it has the address of IPv6, or that of IPv4.
    pub fn has_address(&self, v6: bool) -> bool {
        let state = self.0.lock();
        if v6 { state.v6 } else { state.v4 }
    }

    /// Gives it 127.0.0.1 or ::1, or takes that away.
    ///
    /// # Errors
    /// EEXIST, EADDRNOTAVAIL; EOPNOTSUPP for other addresses, which nothing here answers.
    pub fn set_address(&self, address: IpAddr, is_there: bool) -> Result<()> {
        let mut state = self.0.lock();
        let has = match address {
            IpAddr::V4(address) if address.octets() == [127, 0, 0, 1] => &mut state.v4,
            IpAddr::V6(address) if address.is_loopback() => &mut state.v6,
            _ => return Err(Errno::EOPNOTSUPP),
        };
        match (core::mem::replace(has, is_there), is_there) {
            (true, true) => Err(Errno::EEXIST),
            (false, false) => Err(Errno::EADDRNOTAVAIL),
            _ => Ok(()),
        }
    }

    /// Whether packets get to an address, if it is one of this interface's.
    ///
    /// # Errors
    /// ENETUNREACH, or for IPv6 EADDRNOTAVAIL, for want of an address to send from.
    pub fn reach(&self, address: IpAddr) -> Result<()> {
        let state = *self.0.lock();
        let address = address.to_canonical();
        if !address.is_loopback() && !address.is_unspecified() {
            return Ok(());
        }
        match address {
            IpAddr::V6(_) if state.v6 => Ok(()),
            IpAddr::V6(_) => Err(Errno::EADDRNOTAVAIL),
            IpAddr::V4(_) if state.is_up && state.v4 => Ok(()),
            IpAddr::V4(_) => Err(Errno::ENETUNREACH),
        }
    }

    /// `IFF_…`.
    pub fn flags(&self) -> u32 {
        IFF_LOOPBACK | if self.is_up() { IFF_UP | IFF_RUNNING } else { 0 }
    }
}

/// Carries out an interface request; ENOTTY for anything else.
///
/// # Errors
/// ENOTTY, ENODEV, EPERM, EADDRNOTAVAIL, EOPNOTSUPP, EFAULT.
pub fn ioctl(
    loopback: &Loopback,
    others: &InetStack,
    is_admin: bool,
    command: u32,
    argument: GuestAddr,
    memory: &dyn GuestMemory,
) -> Result<u64> {
    match command {
        SIOCGIFCONF => return list(loopback, others, argument, memory),
        SIOCSIFADDR | SIOCSIFFLAGS | SIOCSIFMTU | SIOCSIFNETMASK if !is_admin => {
            return Err(Errno::EPERM);
        }
        SIOCSIFADDR | SIOCSIFFLAGS | SIOCSIFMTU | SIOCSIFNETMASK | SIOCETHTOOL => {}
        SIOCGIFADDR | SIOCGIFBRDADDR | SIOCGIFDSTADDR | SIOCGIFFLAGS | SIOCGIFHWADDR
        | SIOCGIFINDEX | SIOCGIFMAP | SIOCGIFMETRIC | SIOCGIFMTU | SIOCGIFNAME | SIOCGIFNETMASK
        | SIOCGIFTXQLEN => {}
        _ => return Err(Errno::ENOTTY),
    }
    let mut request = Ifreq::new_zeroed();
    memory.read(argument, request.as_mut_bytes())?;
    if let Some(done) = of_other(others, command, &mut request) {
        done?;
        memory.write(argument, request.as_bytes())?;
        return Ok(0);
    }
    if command == SIOCGIFNAME {
        let index = request.data.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        if index != LOOPBACK_INDEX {
            return Err(Errno::ENODEV);
        }
        request.name = padded(NAME);
    } else if request.name.split(|byte| *byte == 0).next() != Some(NAME) {
        return Err(Errno::ENODEV);
    } else if let Some(done) = change(loopback, command, &request) {
        return done.map(|()| 0);
    } else {
        request.data = answer(loopback, command)?;
    }
    memory.write(argument, request.as_bytes())?;
    Ok(0)
}

/// Requests that change something, or that this interface has no answer to.
fn change(loopback: &Loopback, command: u32, request: &Ifreq) -> Option<Result<()>> {
    match command {
        SIOCSIFFLAGS => {
            let flags = request.data.first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes));
            loopback.set_up(u32::from(flags) & IFF_UP != 0);
            Some(Ok(()))
        }
        SIOCSIFADDR | SIOCSIFMTU | SIOCSIFNETMASK | SIOCETHTOOL => Some(Err(Errno::EOPNOTSUPP)),
        _ => None,
    }
}

/// A request about another interface than the loopback interface; `None` where it is not about one.
fn of_other(others: &InetStack, command: u32, request: &mut Ifreq) -> Option<Result<()>> {
    let name = request.name;
    let wanted = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let index = request.data.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    others.with(|stack, _| {
        let is_it = |one: &&Interface| match command {
            SIOCGIFNAME => one.id.cast_signed() == index,
            _ => one.config.name.as_bytes() == wanted,
        };
        let one = stack.interfaces().iter().filter(|one| one.id != LOOPBACK).find(is_it)?;
        if command == SIOCGIFNAME {
            request.name = padded(one.config.name.as_bytes());
            return Some(Ok(()));
        }
        Some(answer_of_other(one, command).map(|data| request.data = data))
    })
}

fn answer_of_other(one: &Interface, command: u32) -> Result<[u8; IFREQ_DATA_LEN]> {
    let v4 = one.addresses.iter().find_map(|address| match address.ip {
        IpAddr::V4(ip) => Some((ip, address)),
        IpAddr::V6(_) => None,
    });
    let of_address = || v4.ok_or(Errno::EADDRNOTAVAIL);
    Ok(match command {
        SIOCGIFADDR | SIOCGIFDSTADDR => padded(address(of_address()?.0.octets()).as_bytes()),
        SIOCGIFNETMASK => {
            let bits = 32_u32.saturating_sub(of_address()?.1.prefix.into());
            let mask = u32::MAX.checked_shl(bits).unwrap_or(0);
            padded(address(mask.to_be_bytes()).as_bytes())
        }
        SIOCGIFBRDADDR => {
            let broadcast = of_address()?.1.broadcast().map_or([0; 4], |ip| ip.octets());
            padded(address(broadcast).as_bytes())
        }
        SIOCGIFFLAGS => padded(&(devices::flags_of(one) as u16).to_ne_bytes()),
        SIOCGIFHWADDR => {
            let mut bytes = ARPHRD_ETHER.to_ne_bytes().to_vec();
            bytes.extend(one.mac().unwrap_or_default().0);
            padded(&bytes)
        }
        SIOCGIFINDEX => padded(&one.id.to_ne_bytes()),
        SIOCGIFMTU => padded(&one.config.mtu.to_ne_bytes()),
        SIOCGIFTXQLEN => padded(&LOOPBACK_QUEUE.to_ne_bytes()),
        SIOCGIFMAP | SIOCGIFMETRIC => [0; IFREQ_DATA_LEN],
        _ => return Err(Errno::EOPNOTSUPP),
    })
}

fn answer(loopback: &Loopback, command: u32) -> Result<[u8; IFREQ_DATA_LEN]> {
    let of_address =
        matches!(command, SIOCGIFADDR | SIOCGIFDSTADDR | SIOCGIFNETMASK | SIOCGIFBRDADDR);
    if of_address && !loopback.has_address(false) {
        return Err(Errno::EADDRNOTAVAIL);
    }
    Ok(match command {
        SIOCGIFADDR | SIOCGIFDSTADDR => padded(address([127, 0, 0, 1]).as_bytes()),
        SIOCGIFNETMASK => padded(address([255, 0, 0, 0]).as_bytes()),
        SIOCGIFBRDADDR => padded(address([0; 4]).as_bytes()),
        SIOCGIFFLAGS => padded(&(loopback.flags() as u16).to_ne_bytes()),
        SIOCGIFHWADDR => padded(&ARPHRD_LOOPBACK.to_ne_bytes()),
        SIOCGIFINDEX => padded(&LOOPBACK_INDEX.to_ne_bytes()),
        SIOCGIFMTU => padded(&LOOPBACK_MTU.to_ne_bytes()),
        SIOCGIFTXQLEN => padded(&LOOPBACK_QUEUE.to_ne_bytes()),
        _ => [0; IFREQ_DATA_LEN],
    })
}

fn address(octets: [u8; 4]) -> SockaddrIn {
    SockaddrIn { family: AF_INET as u16, port: U16::ZERO, addr: octets, zero: [0; 8] }
}

fn padded<const LENGTH: usize>(bytes: &[u8]) -> [u8; LENGTH] {
    let mut padded = [0; LENGTH];
    for (to, from) in padded.iter_mut().zip(bytes) {
        *to = *from;
    }
    padded
}

/// `SIOCGIFCONF`: the addresses of all interfaces that have one.
fn list(
    loopback: &Loopback,
    others: &InetStack,
    argument: GuestAddr,
    memory: &dyn GuestMemory,
) -> Result<u64> {
    let mut conf = Ifconf::new_zeroed();
    memory.read(argument, conf.as_mut_bytes())?;
    let mut entries = Vec::new();
    if loopback.has_address(false) {
        entries
            .push(Ifreq { name: padded::<IFNAME_LEN>(NAME), data: answer(loopback, SIOCGIFADDR)? });
    }
    others.with(|stack, _| {
        for one in stack.interfaces().iter().filter(|one| one.id != LOOPBACK) {
            if let Ok(data) = answer_of_other(one, SIOCGIFADDR) {
                entries.push(Ifreq { name: padded(one.config.name.as_bytes()), data });
            }
        }
    });
    let entry = size_of::<Ifreq>() as i32;
    if conf.buf != 0 {
        entries.truncate(usize::try_from(conf.len / entry).unwrap_or(0));
        let bytes: Vec<u8> = entries.iter().flat_map(|one| one.as_bytes().to_vec()).collect();
        memory.write(GuestAddr(conf.buf), &bytes)?;
    }
    conf.len = entry * entries.len() as i32;
    memory.write(argument, conf.as_bytes())?;
    Ok(0)
}
