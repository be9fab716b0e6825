//! Frames of the control connection.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest value, in bytes.
pub(crate) const LONGEST: usize = 4 << 20;
/// The most descriptors of one frame (Linux allows 253).
const MOST_DESCRIPTORS: usize = 64;

/// Sends a value with descriptors.
pub(crate) fn send<T: Serialize>(
    mut stream: &UnixStream,
    value: &T,
    descriptors: &[&OwnedFd],
) -> io::Result<()> {
    let body = serde_json::to_vec(value)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= LONGEST);
    let length = length.ok_or_else(|| io::Error::other("the request is too long"))?.to_le_bytes();
    if descriptors.len() > MOST_DESCRIPTORS {
        return Err(io::Error::other("too many descriptors"));
    }
    let borrowed: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other("too many descriptors"));
    }
    // Four bytes of a stream socket are sent whole or not at all.
    sendmsg(stream, &[IoSlice::new(&length)], &mut ancillary, SendFlags::NOSIGNAL)?;
    stream.write_all(&body)
}

/// Receives a value and its descriptors; `None` when the peer has hung up.
pub(crate) fn receive<T: DeserializeOwned>(
    mut stream: &UnixStream,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut length = [0_u8; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let result = recvmsg(
            stream,
            &mut [IoSliceMut::new(&mut length)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        match result {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?.bytes,
        }
    };
    if received == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if let Some(rest) = length.get_mut(received..) {
        stream.read_exact(rest)?;
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(io::Error::other("the frame is too long"));
    }
    let mut body = Vec::new();
    stream.take(u64::try_from(length).unwrap_or(0)).read_to_end(&mut body)?;
    Ok(Some((serde_json::from_slice(&body)?, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn values_and_descriptors_cross() {
        let (a, b) = UnixStream::pair().unwrap();
        let file = OwnedFd::from(File::open("/dev/null").unwrap());
        send(&a, &vec!["x".repeat(10_000)], &[&file, &file]).unwrap();
        let (value, descriptors) = receive::<Vec<String>>(&b).unwrap().unwrap();
        assert_eq!((value[0].len(), descriptors.len()), (10_000, 2));
        drop(a);
        assert!(receive::<Vec<String>>(&b).unwrap().is_none());
    }

    #[test]
    fn a_frame_too_long_is_refused() {
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(receive::<String>(&b).is_err());
    }
}
