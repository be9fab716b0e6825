//! `sendmsg(2)` and `recvmsg(2)`: message headers and control messages (`cmsg(3)`).

c_struct! {
    /// `struct msghdr`.
    pub struct MsgHdr {
        pub name: u64,
        pub namelen: u32,
        pub pad0: u32,
        pub iov: u64,
        pub iovlen: u64,
        pub control: u64,
        pub controllen: u64,
        pub flags: u32,
        pub pad1: u32,
    }
}

c_struct! {
    /// `struct mmsghdr`.
    pub struct MMsgHdr {
        pub hdr: MsgHdr,
        pub len: u32,
        pub pad: u32,
    }
}

c_struct! {
    /// `struct cmsghdr`.
    pub struct CmsgHdr {
        pub len: u64,
        pub level: i32,
        pub kind: i32,
    }
}

c_struct! {
    /// `struct ucred`.
    pub struct Ucred {
        pub pid: u32,
        pub uid: u32,
        pub gid: u32,
    }
}

/// Bytes of a control message's header.
pub const CMSG_HDR_LEN: usize = size_of::<CmsgHdr>();
/// Most descriptors in one `SCM_RIGHTS` message.
pub const SCM_MAX_FD: usize = 253;

/// `CMSG_ALIGN`: a length rounded up to where the next control message starts; `None` on overflow.
pub const fn cmsg_align(length: usize) -> Option<usize> {
    match length.checked_add(7) {
        Some(sum) => Some(sum & !7),
        None => None,
    }
}

/// `CMSG_LEN`: the `len` of a control message with this much data.
pub const fn cmsg_len(data: usize) -> Option<usize> {
    data.checked_add(CMSG_HDR_LEN)
}

/// `CMSG_SPACE`: the room that a control message with this much data takes.
pub const fn cmsg_space(data: usize) -> Option<usize> {
    match cmsg_len(data) {
        Some(length) => cmsg_align(length),
        None => None,
    }
}
