//! The loopback interface as `netdevice(7)` requests show it, on sockets of any family.

use chitin_abi::net::{
    AF_INET, ARPHRD_LOOPBACK, IFF_LOOPBACK, IFF_RUNNING, IFF_UP, IFNAME_LEN, IFREQ_DATA_LEN,
    Ifconf, Ifreq, SIOCGIFADDR, SIOCGIFBRDADDR, SIOCGIFCONF, SIOCGIFDSTADDR, SIOCGIFFLAGS,
    SIOCGIFHWADDR, SIOCGIFINDEX, SIOCGIFMAP, SIOCGIFMETRIC, SIOCGIFMTU, SIOCGIFNAME,
    SIOCGIFNETMASK, SIOCGIFTXQLEN, SIOCSIFADDR, SIOCSIFFLAGS, SIOCSIFMTU, SIOCSIFNETMASK,
    SockaddrIn,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;
use zerocopy::network_endian::U16;
use zerocopy::{FromZeros, IntoBytes};

/// The interface's number.
pub const LOOPBACK_INDEX: i32 = 1;
/// Its largest packet.
pub const LOOPBACK_MTU: u32 = 65536;
/// Its queue's length, which means nothing.
pub const LOOPBACK_QUEUE: u32 = 1000;
const NAME: &[u8] = b"lo";

/// Carries out an interface request; ENOTTY for anything else.
///
/// # Errors
/// ENOTTY, ENODEV, EPERM, EFAULT.
pub fn ioctl(command: u32, argument: GuestAddr, memory: &dyn GuestMemory) -> Result<u64> {
    match command {
        SIOCGIFCONF => return list(argument, memory),
        SIOCSIFADDR | SIOCSIFFLAGS | SIOCSIFMTU | SIOCSIFNETMASK => return Err(Errno::EPERM),
        SIOCGIFADDR | SIOCGIFBRDADDR | SIOCGIFDSTADDR | SIOCGIFFLAGS | SIOCGIFHWADDR
        | SIOCGIFINDEX | SIOCGIFMAP | SIOCGIFMETRIC | SIOCGIFMTU | SIOCGIFNAME | SIOCGIFNETMASK
        | SIOCGIFTXQLEN => {}
        _ => return Err(Errno::ENOTTY),
    }
    let mut request = Ifreq::new_zeroed();
    memory.read(argument, request.as_mut_bytes())?;
    if command == SIOCGIFNAME {
        let index = request.data.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        if index != LOOPBACK_INDEX {
            return Err(Errno::ENODEV);
        }
        request.name = padded(NAME);
    } else if request.name.split(|byte| *byte == 0).next() != Some(NAME) {
        return Err(Errno::ENODEV);
    } else {
        request.data = answer(command);
    }
    memory.write(argument, request.as_bytes())?;
    Ok(0)
}

fn answer(command: u32) -> [u8; IFREQ_DATA_LEN] {
    match command {
        SIOCGIFADDR | SIOCGIFDSTADDR => padded(address([127, 0, 0, 1]).as_bytes()),
        SIOCGIFNETMASK => padded(address([255, 0, 0, 0]).as_bytes()),
        SIOCGIFBRDADDR => padded(address([0; 4]).as_bytes()),
        SIOCGIFFLAGS => padded(&((IFF_UP | IFF_LOOPBACK | IFF_RUNNING) as u16).to_ne_bytes()),
        SIOCGIFHWADDR => padded(&ARPHRD_LOOPBACK.to_ne_bytes()),
        SIOCGIFINDEX => padded(&LOOPBACK_INDEX.to_ne_bytes()),
        SIOCGIFMTU => padded(&LOOPBACK_MTU.to_ne_bytes()),
        SIOCGIFTXQLEN => padded(&LOOPBACK_QUEUE.to_ne_bytes()),
        _ => [0; IFREQ_DATA_LEN],
    }
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
fn list(argument: GuestAddr, memory: &dyn GuestMemory) -> Result<u64> {
    let mut conf = Ifconf::new_zeroed();
    memory.read(argument, conf.as_mut_bytes())?;
    let entry = size_of::<Ifreq>() as i32;
    if conf.buf == 0 {
        conf.len = entry;
    } else if conf.len >= entry {
        let request = Ifreq { name: padded::<IFNAME_LEN>(NAME), data: answer(SIOCGIFADDR) };
        memory.write(GuestAddr(conf.buf), request.as_bytes())?;
        conf.len = entry;
    } else {
        conf.len = 0;
    }
    memory.write(argument, conf.as_bytes())?;
    Ok(0)
}
