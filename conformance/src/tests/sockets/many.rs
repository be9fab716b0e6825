//! Many messages at once: `sendmmsg(2)`, `recvmmsg(2)`.

use chitin_abi::Errno;
use chitin_abi::net::{MMsgHdr, MSG_DONTWAIT, MSG_WAITFORONE, MsgHdr, SOCK_DGRAM, SOCK_STREAM};
use zerocopy::{FromZeros, IntoBytes};

use super::pair;
use crate::call;
use crate::suite::{Arg, Calls, fails, tests};
use crate::tests::shared::{interrupted, vector, woken};

/// Headers of messages over these buffers, and what they point to.
fn messages(buffers: &mut [Vec<u8>]) -> (Vec<MMsgHdr>, Vec<Vec<u8>>) {
    let iovs: Vec<_> = buffers.iter_mut().map(|buffer| vector(&mut [buffer])).collect();
    let header =
        |iov: &Vec<u8>| MsgHdr { iov: iov.as_ptr() as u64, iovlen: 1, ..MsgHdr::new_zeroed() };
    let headers =
        iovs.iter().map(|iov| MMsgHdr { hdr: header(iov), ..MMsgHdr::new_zeroed() }).collect();
    (headers, iovs)
}

tests! { "mmsg", "recvmmsg(2)";
    [sendmmsg, recvmmsg] several(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        let mut parts = [b"one".to_vec(), b"three".to_vec()];
        let (mut headers, _iovs) = messages(&mut parts);
        assert_eq!(call!(k, SENDMMSG, a, headers.as_mut_bytes(), 2, 0), Ok(2));
        assert_eq!((headers[0].len, headers[1].len), (3, 5));
        let mut parts = [vec![0; 9], vec![0; 9], vec![0; 9]];
        let (mut headers, _iovs) = messages(&mut parts);
        assert_eq!(call!(k, RECVMMSG, b, headers.as_mut_bytes(), 3, MSG_DONTWAIT, Arg::Null), Ok(2));
        assert_eq!((headers[0].len, headers[1].len, &parts[1][..5]), (3, 5, b"three".as_slice()));
    }
    [recvmmsg] waits_for_one_only(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        let mut parts = [vec![0; 9], vec![0; 9]];
        let (mut headers, _iovs) = messages(&mut parts);
        assert_eq!(woken(k, || { k.write(a, b"x").unwrap(); }, || call!(k, RECVMMSG, b, headers.as_mut_bytes(), 2, MSG_WAITFORONE, Arg::Null)), Ok(1));
    }
    [recvmmsg] nothing_there(k) {
        let (_a, b) = pair(k, SOCK_DGRAM);
        let mut parts = [vec![0; 9]];
        let (mut headers, _iovs) = messages(&mut parts);
        fails(call!(k, RECVMMSG, b, headers.as_mut_bytes(), 1, MSG_DONTWAIT, Arg::Null), Errno::EAGAIN);
        assert_eq!(call!(k, RECVMMSG, b, headers.as_mut_bytes(), 0, MSG_DONTWAIT, Arg::Null), Ok(0));
        interrupted(k, || call!(k, RECVMMSG, b, headers.as_mut_bytes(), 1, 0, Arg::Null));
    }
    [sendmmsg] error_behind_the_first(k) {
        let (a, _b) = pair(k, SOCK_DGRAM);
        let mut parts = [b"one".to_vec(), b"two".to_vec()];
        let (mut headers, _iovs) = messages(&mut parts);
        headers[1].hdr.iov = 1;
        assert_eq!(call!(k, SENDMMSG, a, headers.as_mut_bytes(), 2, 0), Ok(1));
        headers[0].hdr.iov = 1;
        fails(call!(k, SENDMMSG, a, headers.as_mut_bytes(), 2, 0), Errno::EFAULT);
    }
    [sendmmsg, recvmmsg] arguments(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        fails(call!(k, SENDMMSG, a, Arg::Bad, 1, 0), Errno::EFAULT);
        fails(call!(k, RECVMMSG, b, Arg::Bad, 1, MSG_DONTWAIT, Arg::Null), Errno::EFAULT);
        fails(call!(k, RECVMMSG, b, Arg::Null, 0, 0, Arg::Bad), Errno::EFAULT);
        fails(call!(k, RECVMMSG, b, Arg::Null, 0, 0, [0_i64, -1].as_bytes()), Errno::EINVAL);
        fails(call!(k, SENDMMSG, 0, Arg::Null, 1, 0), Errno::ENOTSOCK);
        fails(call!(k, RECVMMSG, 999, Arg::Null, 1, 0, Arg::Null), Errno::EBADF);
        assert_eq!(call!(k, SENDMMSG, a, Arg::Null, 0, 0), Ok(0));
    }
    [recvmmsg] time_is_looked_at_between_messages(k) {
        let (a, b) = pair(k, SOCK_DGRAM);
        k.write(a, b"x").unwrap();
        let mut parts = [vec![0; 9], vec![0; 9]];
        let (mut headers, _iovs) = messages(&mut parts);
        let mut time = [0_i64, 0];
        assert_eq!(call!(k, RECVMMSG, b, headers.as_mut_bytes(), 2, 0, time.as_mut_bytes()), Ok(1));
    }
    [sendmmsg, recvmmsg] streams_too(k) {
        let (a, b) = pair(k, SOCK_STREAM);
        let mut parts = [b"one".to_vec(), b"two".to_vec()];
        let (mut headers, _iovs) = messages(&mut parts);
        assert_eq!(call!(k, SENDMMSG, a, headers.as_mut_bytes(), 2, 0), Ok(2));
        assert_eq!(k.read_some(b, 9).unwrap(), b"onetwo");
    }
}
