//! What the socket calls get: addresses, control messages, lists of ranges, netlink requests.

use chitin_abi::net::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NlMsgHdr, RTM_GETADDR, RTM_GETLINK};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_fuzz::fuzz;
use chitin_mm::GuestMemory;
use chitin_task::namespace::{NetNamespace, UserNamespace};
use chitin_task::socket::netlink::NetlinkSocket;
use chitin_task::socket::{Caller, Outgoing, inet, unix};
use chitin_task::syscalls::scatter::{Scatter, check_range};
use chitin_task::syscalls::socket::control;
use chitin_vfs::io::{Sink, SliceSource, Source, VecSink};
use parking_lot::Mutex;
use zerocopy::IntoBytes;

/// Where the memory of these tests begins.
const BASE: u64 = 0x10_000;

/// A guest's memory: some bytes, and nothing around them.
struct Memory(Mutex<Vec<u8>>);

impl Memory {
    fn place(&self, addr: GuestAddr, len: usize) -> Result<core::ops::Range<usize>> {
        let end = self.0.lock().len();
        let start = addr.0.checked_sub(BASE).and_then(|start| usize::try_from(start).ok());
        let start = start.filter(|start| *start < end).ok_or(Errno::EFAULT)?;
        Ok(start..start.saturating_add(len).min(end))
    }
}

impl GuestMemory for Memory {
    fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
        let place = self.place(addr, buffer.len())?;
        let count = place.len();
        buffer[..count].copy_from_slice(&self.0.lock()[place]);
        Ok(count)
    }

    fn write_partial(&self, addr: GuestAddr, bytes: &[u8]) -> Result<usize> {
        let place = self.place(addr, bytes.len())?;
        let count = place.len();
        self.0.lock()[place].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

#[test]
fn addresses() {
    let mut long = vec![1, 0];
    long.resize(110, b'/');
    let samples = [
        vec![2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        [&[10, 0, 0, 80, 0, 0, 0, 0], [0; 16].as_slice(), &[0; 4]].concat(),
        b"\x01\0/tmp/socket\0".to_vec(),
        b"\x01\0\0abstract".to_vec(),
        long,
    ];
    fuzz(&samples, |data| {
        if let Ok(unix::address::Parsed::Named(address)) = unix::address::parse(data) {
            let again = unix::address::emit(Some(&address));
            // A path of the full length has no room for its NUL.
            assert!(again.len() <= data.len() + 1, "{address:?}");
        }
        let _ = unix::address::parse_named(data);
        for v6 in [false, true] {
            for address in [
                inet::address::parse_for_bind(data, v6).ok(),
                inet::address::parse_for_send(data, v6).ok(),
                inet::address::parse_for_connect(data, v6).ok().flatten(),
            ]
            .into_iter()
            .flatten()
            {
                let again = inet::address::emit(address);
                let parsed = inet::address::parse_for_send(&again, address.is_ipv6());
                assert_eq!(parsed, Ok(address), "an address changes");
            }
        }
    });
}

#[test]
fn control_messages() {
    let message = |level: i32, kind: i32, data: &[u8]| {
        let header = [
            (16 + data.len() as u64).to_le_bytes(),
            [level.to_le_bytes(), kind.to_le_bytes()].concat().try_into().expect("8 bytes"),
        ];
        let mut bytes = [header.concat(), data.to_vec()].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    let samples = [
        message(1, 1, &[3, 0, 0, 0, 4, 0, 0, 0]),
        [message(1, 2, &[0; 12]), message(0, 8, &[1, 0, 0, 0])].concat(),
    ];
    fuzz(&samples, |data| {
        let mut all = 0;
        for message in control::messages(data) {
            let Ok((_, _, bytes)) = message else { break };
            all += 16 + bytes.len();
        }
        assert!(all <= data.len(), "data from nowhere");
    });
}

#[test]
fn scatter_lists() {
    let list = |ranges: &[(u64, u64)]| -> Vec<u8> {
        ranges
            .iter()
            .flat_map(|(base, len)| [base.to_le_bytes(), len.to_le_bytes()].concat())
            .collect()
    };
    let samples = [
        list(&[(BASE, 16), (BASE + 8, 3), (0, 0), (BASE, u64::MAX >> 1)]),
        list(&[(BASE, 1 << 31), (BASE, 1 << 31), (BASE, 1 << 31)]),
        list(&[(u64::MAX, 2), (0x7fff_ffff_f000, 0x1000)]),
    ];
    fuzz(&samples, |data| {
        let count = data.len() / 16;
        let memory = Memory(Mutex::new(data.to_vec()));
        let _ = check_range(BASE, data.len() as u64);
        let Ok(mut scatter) = Scatter::vector(&memory, GuestAddr(BASE), count) else { return };
        let all = Source::remaining(&scatter);
        assert!(all <= 0x7fff_f000, "longer than any transfer");
        let mut buffer = [0; 300];
        let taken = scatter.take(&mut buffer).unwrap_or(0);
        assert_eq!(scatter.done(), taken, "bytes are not counted");
        let put = scatter.put(&buffer).unwrap_or(0);
        assert_eq!(Sink::remaining(&scatter), all - taken - put, "bytes are not counted");
        scatter.limit(5);
        assert!(Sink::remaining(&scatter) <= 5, "the limit is passed over");
        let _ = scatter.put(&[0; 10]);
    });
}

#[test]
fn netlink_requests() {
    let request = |kind: u16, flags: u16, body: &[u8]| {
        let len = 16 + body.len() as u32;
        let header = NlMsgHdr { len, kind, flags: flags | NLM_F_REQUEST, seq: 7, pid: 0 };
        [header.as_bytes(), body].concat()
    };
    let named = [&[0; 16], [7, 0, 3, 0].as_slice(), b"lo\0\0"].concat();
    let samples = [
        request(RTM_GETLINK, NLM_F_DUMP, &[0; 16]),
        request(RTM_GETADDR, NLM_F_DUMP, &[0; 8]),
        request(RTM_GETLINK, NLM_F_ACK, &named),
    ];
    let net = NetNamespace::initial(&UserNamespace::initial());
    fuzz(&samples, |data| {
        let caller = Caller::nobody(&net);
        let socket = NetlinkSocket::create(3, 0).expect("a socket");
        let mut message = Outgoing { to: data.get(..12), ..Outgoing::default() };
        let _ = socket.send(&mut SliceSource::new(data), &mut message, &caller);
        let _ = socket.send(&mut SliceSource::new(data), &mut Outgoing::default(), &caller);
        let _ = socket.bind(data, &caller);
        let _ = socket.set_option(270, 1, data, &caller);
        let mut answers = 0;
        while socket.receive(&mut VecSink::new(100), 0).is_ok() {
            answers += 1;
        }
        assert!(answers <= 1 << 16, "{answers} answers");
        socket.close_in(&net);
    });
}
