use chitin_abi::net::{
    NLM_F_DUMP, NLMSG_DONE, RTM_GETADDR, RTM_GETLINK, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE,
};
use chitin_vfs::io::{SliceSource, VecSink};

use super::*;
use crate::namespace::{NetNamespace, UserNamespace};

fn ask(kind: u16, flags: u16) -> Vec<u16> {
    let net =
        NetNamespace::new(1, UserNamespace::initial(), crate::socket::interface::Loopback::up());
    let caller = Caller::nobody(&net);
    let socket = NetlinkSocket::create(SOCK_RAW, NETLINK_ROUTE).unwrap();
    let header = NlMsgHdr { len: 32, kind, flags: flags | NLM_F_REQUEST, seq: 7, pid: 0 };
    let mut request = header.as_bytes().to_vec();
    request.resize(32, 0);
    socket.send(&mut SliceSource::new(&request), &mut Outgoing::default(), &caller).unwrap();
    let mut kinds = Vec::new();
    let mut sink = VecSink::new(10_000);
    while let Ok(received) = socket.receive(&mut sink, 0) {
        assert!(received.count > 0 && received.flags == 0);
    }
    let mut rest = sink.bytes.as_slice();
    while let Ok((header, _)) = NlMsgHdr::read_from_prefix(rest) {
        assert_eq!(header.seq, 7);
        kinds.push(header.kind);
        rest = &rest[nl_align(header.len as usize).unwrap()..];
    }
    kinds
}

#[test]
fn dumps_show_the_loopback_interface_and_end() {
    assert_eq!(ask(RTM_GETLINK, NLM_F_DUMP), [RTM_NEWLINK, NLMSG_DONE]);
    assert_eq!(ask(RTM_GETADDR, NLM_F_DUMP), [RTM_NEWADDR, RTM_NEWADDR, NLMSG_DONE]);
}

#[test]
fn what_is_not_done_is_refused_and_acknowledged() {
    assert_eq!(ask(RTM_NEWROUTE, NLM_F_ACK), [NLMSG_ERROR]);
    assert_eq!(ask(RTM_GETLINK, 0), [NLMSG_ERROR]);
}

#[test]
fn only_some_protocols_exist() {
    assert_eq!(NetlinkSocket::create(SOCK_RAW, 31).err(), Some(Errno::EPROTONOSUPPORT));
    assert_eq!(NetlinkSocket::create(1, NETLINK_ROUTE).err(), Some(Errno::ESOCKTNOSUPPORT));
}

#[test]
fn what_many_dumps_in_a_message_make_wait_is_bounded() {
    let net =
        NetNamespace::new(1, UserNamespace::initial(), crate::socket::interface::Loopback::up());
    let caller = Caller::nobody(&net);
    let socket = NetlinkSocket::create(SOCK_RAW, NETLINK_ROUTE).unwrap();
    let flags = NLM_F_DUMP | NLM_F_REQUEST;
    let header = NlMsgHdr { len: 20, kind: RTM_GETADDR, flags, seq: 7, pid: 0 };
    let mut request = header.as_bytes().to_vec();
    request.resize(20, 0);
    let many = request.repeat(MAX_MESSAGE / request.len());
    for _ in 0..8 {
        let sent = socket.send(&mut SliceSource::new(&many), &mut Outgoing::default(), &caller);
        assert_eq!(sent.unwrap(), many.len());
    }
    let mut sink = VecSink::new(4 << 20);
    assert_eq!(socket.receive(&mut sink, 0).err(), Some(Errno::ENOBUFS));
    while socket.receive(&mut sink, 0).is_ok() {}
    assert!(sink.bytes.len() <= 1 << 20);
    let mut rest = sink.bytes.as_slice();
    let mut busy = 0;
    while let Ok((header, _)) = NlMsgHdr::read_from_prefix(rest) {
        let error = rest.get(NLMSG_HDRLEN..).and_then(|body| body.first_chunk());
        let is_busy = error == Some(&(-Errno::EBUSY.raw()).to_ne_bytes());
        busy += usize::from(header.kind == NLMSG_ERROR && is_busy);
        rest = &rest[nl_align(header.len as usize).unwrap()..];
    }
    assert!(busy > 0);
}
