//! Raw and ping sockets (`raw(7)`, `icmp(7)`).

use chitin_abi::net::{ICMP_FILTER, MSG_OOB, MSG_PEEK, MSG_TRUNC, SOL_RAW};
use chitin_abi::{Errno, Result};
use chitin_net_stack::{Datagram, Proto};
use chitin_vfs::io::{Sink, Source};
use zerocopy::FromBytes;

use super::{InetSocket, address};
use crate::socket::{Outgoing, Received};

impl InetSocket {
    pub(super) fn send_raw(&self, from: &mut dyn Source, message: &Outgoing<'_>) -> Result<usize> {
        if message.flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let length = from.remaining();
        if length > usize::from(u16::MAX) {
            return Err(Errno::EMSGSIZE);
        }
        let to = message.to.map(|bytes| address::parse_for_send(bytes, self.v6)).transpose()?;
        self.check_way(to)?;
        let mut data = vec![0; length];
        if length > 0 && from.take(&mut data)? < length {
            return Err(Errno::EFAULT);
        }
        let marks = self.marks(&message.control)?;
        self.with(|stack, _| stack.raw_send(self.id, to, &data, marks))
    }

    pub(super) fn receive_raw(&self, to: &mut dyn Sink, flags: u32) -> Result<Received> {
        if flags & MSG_OOB != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let packet = self.with(|stack, _| stack.raw_receive(self.id, flags & MSG_PEEK != 0))?;
        let length = packet.data.len();
        let stored = if length == 0 || to.remaining() == 0 { 0 } else { to.put(&packet.data)? };
        let mut received = Received {
            count: if flags & MSG_TRUNC != 0 { length } else { stored },
            from: Some(address::emit(packet.from)),
            flags: if stored < length { MSG_TRUNC } else { 0 },
            ..Received::default()
        };
        let header = Datagram {
            from: packet.from,
            to: packet.to,
            hops: packet.hops,
            class: packet.class,
            interface: packet.interface,
            data: packet.data,
        };
        self.attach_header_info(&header, &mut received.control);
        Ok(received)
    }

    /// `ICMP_FILTER`; `None` for other options.
    pub(super) fn set_filter(&self, level: u32, name: u32, value: &[u8]) -> Option<Result<()>> {
        if self.proto != Proto::Raw || (level, name) != (SOL_RAW, ICMP_FILTER) {
            return None;
        }
        let Ok((types, _)) = u32::read_from_prefix(value) else { return Some(Err(Errno::EINVAL)) };
        self.with(|stack, _| {
            stack.raw_configure(self.id, |options| options.refused_types = types);
        });
        Some(Ok(()))
    }
}
