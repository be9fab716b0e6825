//! `NETLINK_SOCK_DIAG` (`sock_diag(7)`): the sockets of the network namespace, as `ss` lists them.
//!
//! A request names a family (and a protocol for internet sockets) and a set of states; a dump lists the sockets in
//! these states, a plain request the one with the given identity. Filters in byte code are left to the asker, who
//! has to apply them anyway.

use chitin_abi::net::{
    AF_INET, AF_INET6, AF_UNIX, IPPROTO_TCP, IPPROTO_UDP, InetDiagReqV2, InetDiagSockid,
    NLM_F_DUMP, NLM_F_MULTI, NLMSG_DONE, NlMsgHdr, SOCK_DIAG_BY_FAMILY, UnixDiagReq,
};
use chitin_abi::{Errno, Result};
use chitin_net_stack::Proto;
use zerocopy::{FromBytes, IntoBytes};

use super::{DUMP_BYTES, Dump};
use crate::socket::Caller;

/// Room that one socket's message needs at most.
const MESSAGE_BYTES: usize = 512;

/// Collects messages into datagrams of a bounded size.
pub struct Listing<'a> {
    header: &'a NlMsgHdr,
    port: u32,
    flags: u16,
    open: Dump<'a>,
    full: Vec<Vec<u8>>,
}

impl<'a> Listing<'a> {
    fn new(header: &'a NlMsgHdr, port: u32) -> Self {
        let flags = if is_dump(header) { NLM_F_MULTI } else { 0 };
        Self { header, port, flags, open: Dump::new(header, port), full: Vec::new() }
    }

    /// Appends one socket: the fixed part of its message and the attributes.
    pub fn socket(&mut self, fixed: &[u8], attributes: &[(u16, &[u8])]) {
        if self.open.bytes.len() > DUMP_BYTES - MESSAGE_BYTES {
            let full = core::mem::replace(&mut self.open, Dump::new(self.header, self.port));
            self.full.push(full.finish());
        }
        self.open.message(SOCK_DIAG_BY_FAMILY as u16, self.flags, fixed, attributes);
    }

    fn finish(self, answers: &mut Vec<Vec<u8>>) -> Result<()> {
        let Self { header, port, open, full, .. } = self;
        answers.extend(full);
        answers.push(open.finish());
        answers.retain(|answer| !answer.is_empty());
        if is_dump(header) {
            let mut done = Dump::new(header, port);
            done.message(NLMSG_DONE, NLM_F_MULTI, &0_i32.to_ne_bytes(), &[]);
            answers.push(done.finish());
        } else if answers.is_empty() {
            return Err(Errno::ENOENT);
        }
        Ok(())
    }
}

const fn is_dump(header: &NlMsgHdr) -> bool {
    header.flags & NLM_F_DUMP == NLM_F_DUMP
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
/// EINVAL, ENOENT for a family or protocol that is not there and for a socket that is not found.
pub(super) fn answer(
    header: &NlMsgHdr,
    body: &[u8],
    port: u32,
    caller: &Caller<'_>,
    answers: &mut Vec<Vec<u8>>,
) -> Result<()> {
    if u32::from(header.kind) != SOCK_DIAG_BY_FAMILY {
        return Err(Errno::EINVAL);
    }
    let mut listing = Listing::new(header, port);
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
    listing.finish(answers)
}

/// The fixed part of a message, as bytes.
pub fn fixed(message: &(impl IntoBytes + zerocopy::Immutable)) -> &[u8] {
    message.as_bytes()
}
