//! Where the platform gets room near code that it knows.

mod common;

use core::any::Any;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::mm::{MapFlags, ProtFlags};
use chitin_abi::{Errno, PAGE_SIZE, Result};
use chitin_mm::platform::KnownCode;
use chitin_mm::space::{MapRequest, MapSource};
use chitin_mm::{HostOp, MappedCode, MappedFile, Space};

use crate::common::space;

struct Program;

impl MappedFile for Program {
    fn host_file(&self, _offset: u64, _len: u64, _write: bool) -> Result<(Arc<OwnedFd>, u64)> {
        Err(Errno::ENODEV)
    }
    fn dev(&self) -> u64 {
        1
    }
    fn ino(&self) -> u64 {
        1
    }
    fn path(&self) -> Vec<u8> {
        b"/program".to_vec()
    }
    fn key(&self) -> u64 {
        1
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

const A: u64 = 0x1000_0000;
const LEN: u64 = 16 * PAGE_SIZE;
const ROOM: u64 = 8 * PAGE_SIZE;
const CODE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_EXEC);
const FIXED: MapFlags = MapFlags::MAP_PRIVATE.union(MapFlags::MAP_FIXED);

/// What the platform is told of a mapping for which it would have room.
fn map(
    space: &mut Space,
    addr: u64,
    (prot, flags): (ProtFlags, MapFlags),
    distances: &[i64],
) -> Option<MappedCode> {
    let null = std::fs::File::open("/dev/null").expect("there is one");
    let known = KnownCode { number: 7, room: ROOM, distances: distances.to_vec() };
    let source = MapSource::File {
        file: Arc::new(Program),
        offset: 0,
        host: (Arc::new(null.into()), 0),
        readable: true,
        writable: true,
        noexec: false,
        code: Some(known),
    };
    let (result, plan) = space.map(MapRequest { addr, len: LEN, prot, flags, source });
    assert_eq!(result, Ok(addr));
    let [HostOp::MapFile { code, .. }] = &plan.ops[..] else { panic!("{:?}", plan.ops) };
    *code
}

fn room(space: &mut Space, addr: u64, distances: &[i64]) -> u64 {
    let code = map(space, addr, (CODE, FIXED), distances).expect("it is code");
    assert_eq!(code.number, 7);
    code.room.expect("there is room")
}

#[test]
fn room_is_taken_where_the_platform_is_ready() {
    let mut space = space();
    // Inside of the code; beyond all; free.
    let distances = [4096, i64::MIN, -0x10_0000, -0x20_0000];
    assert_eq!(room(&mut space, A, &distances), A - 0x10_0000);
    // That one is taken, and so is the next: below what is there already.
    assert_eq!(room(&mut space, A + LEN, &[-0x10_0000 - LEN as i64]), A - ROOM);
    assert_eq!(room(&mut space, 2 * A, &[]), 2 * A - ROOM);
    // It is nothing that a guest is shown.
    assert!(space.maps().all(|vma| vma.prot == CODE && vma.end - vma.start >= LEN));
    // But nothing else is put there.
    let hint = MapRequest {
        addr: A - 0x10_0000,
        len: PAGE_SIZE,
        prot: CODE,
        flags: MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS,
        source: MapSource::Anonymous,
    };
    assert_ne!(space.map(hint).0, Ok(A - 0x10_0000));
}

#[test]
fn only_code_has_room() {
    let mut space = space();
    let write = CODE | ProtFlags::PROT_WRITE;
    let shared = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
    for kind in [(write, FIXED), (ProtFlags::PROT_READ, FIXED), (CODE, shared)] {
        assert_eq!(map(&mut space, A, kind, &[-0x10_0000]), None);
    }
}
