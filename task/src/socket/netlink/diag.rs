//! `NETLINK_SOCK_DIAG` (`sock_diag(7)`): the sockets of the network namespace, as `ss` lists them.
//!
//! A request names a family (and a protocol for internet sockets) and a set of states; a dump lists the sockets in
//! these states, a plain request the one with the given identity. Filters in byte code are left to the asker, who
//! has to apply them anyway.

use chitin_abi::net::{
    AF_INET, AF_INET6, AF_UNIX, IPPROTO_TCP, IPPROTO_UDP, InetDiagReqV2, InetDiagSockid,
    NLM_F_MULTI, NlMsgHdr, SOCK_DIAG_BY_FAMILY, UnixDiagReq,
};
use chitin_abi::{Errno, Result};
use chitin_net_stack::Proto;
use zerocopy::{FromBytes, IntoBytes};

use super::answers::Answers;
use super::{DUMP_BYTES, Dump, is_dump};
use crate::socket::Caller;

/// Room that one socket's message needs at most.
const MESSAGE_BYTES: usize = 512;

/// Collects messages into datagrams of a bounded size, which go to the answers as they fill.
pub struct Listing<'a> {
    header: &'a NlMsgHdr,
    port: u32,
    flags: u16,
    open: Dump<'a>,
    has_found: bool,
    answers: &'a mut Answers,
}

impl<'a> Listing<'a> {
    fn new(header: &'a NlMsgHdr, port: u32, answers: &'a mut Answers) -> Self {
        let flags = if is_dump(header) { NLM_F_MULTI } else { 0 };
        let open = Dump::new(header, port);
        Self { header, port, flags, open, has_found: false, answers }
    }

    /// Whether more sockets would only be left out.
    pub const fn is_full(&self) -> bool {
        self.answers.is_overrun()
    }

    /// Appends one socket: the fixed part of its message and the attributes.
    pub fn socket(&mut self, fixed: &[u8], attributes: &[(u16, &[u8])]) {
        self.has_found = true;
        if self.open.bytes.len() > DUMP_BYTES - MESSAGE_BYTES {
            let full = core::mem::replace(&mut self.open, Dump::new(self.header, self.port));
            self.answers.push(full.finish());
        }
        self.open.message(SOCK_DIAG_BY_FAMILY as u16, self.flags, fixed, attributes);
    }

    fn finish(self) -> Result<()> {
        self.answers.push(self.open.finish());
        if is_dump(self.header) {
            self.answers.push(Dump::done(self.header, self.port));
        } else if !self.has_found {
            return Err(Errno::ENOENT);
        }
        Ok(())
    }
}

/// Which internet sockets are asked for.
pub struct InetQuery {
    pub proto: Proto,
    pub v6: bool,
    /// Bit mask of states.
    pub states: u32,
    /// The only one that is asked for.
    pub one: Option<InetDiagSockid>,
}

/// Answers one request.
///
/// # Errors
/// EINVAL, EBUSY, ENOENT for a family or protocol that is not there and for a socket that is not found.
pub(super) fn answer(
    header: &NlMsgHdr,
    body: &[u8],
    port: u32,
    caller: &Caller<'_>,
    answers: &mut Answers,
) -> Result<()> {
    if u32::from(header.kind) != SOCK_DIAG_BY_FAMILY {
        return Err(Errno::EINVAL);
    }
    if is_dump(header) {
        answers.begin_dump()?;
    }
    let mut listing = Listing::new(header, port, answers);
    let net = caller.net();
    match u32::from(*body.first().ok_or(Errno::EINVAL)?) {
        AF_UNIX => {
            let (request, _) = UnixDiagReq::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
            let one = (!is_dump(header)).then_some(request.ino);
            net.unix.diagnose(request.states, request.show, one, &mut listing);
        }
        family @ (AF_INET | AF_INET6) => {
            let (request, _) = InetDiagReqV2::read_from_prefix(body).map_err(|_| Errno::EINVAL)?;
            let proto = match u32::from(request.protocol) {
                IPPROTO_TCP => Proto::Tcp,
                IPPROTO_UDP => Proto::Udp,
                _ => return Err(Errno::ENOENT),
            };
            let one = (!is_dump(header)).then_some(request.id);
            let query = InetQuery { proto, v6: family == AF_INET6, states: request.states, one };
            net.inet.diagnose(&query, &mut listing);
        }
        _ => return Err(Errno::ENOENT),
    }
    listing.finish()
}

/// The fixed part of a message, as bytes.
pub fn fixed(message: &(impl IntoBytes + zerocopy::Immutable)) -> &[u8] {
    message.as_bytes()
}
