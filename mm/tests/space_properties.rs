//! The bookkeeping against two naive page maps: one that carries out the planned host operations, and one that
//! does what the manual pages say, page by page.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chitin_abi::mm::{MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, MapFlags, ProtFlags};
use chitin_abi::{Errno, PAGE_SIZE, Result};
use chitin_mm::space::{
    AdviseContext, MapRequest, MapSource, Plan, Planned, SpaceLimits, VmaFlags,
};
use chitin_mm::{HostOp, HostProt, MappedFile, Space, SpaceConfig};
use proptest::prelude::*;

const MIN: u64 = 0x1_0000;
/// Small, so that operations meet.
const MAX: u64 = MIN + 96 * PAGE_SIZE;

/// A file that counts its mappings.
struct TestFile {
    key: u64,
    pieces: AtomicI64,
}

impl MappedFile for TestFile {
    fn host_file(&self, _offset: u64, _len: u64, _write: bool) -> Result<(Arc<OwnedFd>, u64)> {
        Err(Errno::ENODEV)
    }
    fn dev(&self) -> u64 {
        1
    }
    fn ino(&self) -> u64 {
        self.key
    }
    fn path(&self) -> Vec<u8> {
        format!("/file{}", self.key).into_bytes()
    }
    fn key(&self) -> u64 {
        self.key
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn mapped(&self, _shared_writable: bool) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }
    fn unmapped(&self, _shared_writable: bool) {
        self.pieces.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is at a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Private,
    Shared,
    File { shared: bool, offset: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    prot: (bool, bool, bool),
    kind: Kind,
}

type Pages = BTreeMap<u64, Page>;

fn bits(prot: ProtFlags) -> (bool, bool, bool) {
    (
        prot.contains(ProtFlags::PROT_READ),
        prot.contains(ProtFlags::PROT_WRITE),
        prot.contains(ProtFlags::PROT_EXEC),
    )
}

fn host_bits(prot: HostProt) -> (bool, bool, bool) {
    (prot.read, prot.write, prot.exec)
}

fn pages(addr: u64, len: u64) -> impl Iterator<Item = u64> {
    (addr..addr + len).step_by(PAGE_SIZE as usize)
}

/// Moves pages as mremap does: what is beyond the old length continues what was there.
fn move_pages(map: &mut Pages, old: u64, old_len: u64, new: u64, new_len: u64, keep: bool) {
    let first = map.get(&old).copied();
    let mut moved = Vec::new();
    for distance in (0..new_len).step_by(PAGE_SIZE as usize) {
        let at = old + distance;
        let page = if distance < old_len { map.get(&at).copied() } else { None };
        let page = page.or_else(|| {
            first.map(|mut page| {
                if let Kind::File { offset, .. } = &mut page.kind {
                    *offset += distance;
                }
                page
            })
        });
        moved.extend(page.map(|page| (new + distance, page)));
    }
    if !keep && old != new {
        map.retain(|at, _| *at < old || *at >= old + old_len);
    }
    map.extend(moved);
}

/// The host: carries out operations and checks that they stay inside.
fn carry_out(map: &mut Pages, ops: &[HostOp]) {
    for op in ops {
        let inside = |addr: u64, len: u64| {
            assert!(
                addr.is_multiple_of(PAGE_SIZE) && len.is_multiple_of(PAGE_SIZE),
                "whole pages: {op:?}"
            );
            assert!(addr >= MIN && addr + len <= MAX, "outside: {op:?}");
        };
        match op {
            HostOp::MapAnonymous { addr, len, prot, shared, .. } => {
                inside(*addr, *len);
                let kind = if *shared { Kind::Shared } else { Kind::Private };
                map.extend(
                    pages(*addr, *len).map(|at| (at, Page { prot: host_bits(*prot), kind })),
                );
            }
            HostOp::MapFile { addr, len, prot, shared, offset, .. } => {
                inside(*addr, *len);
                let file = |at| Kind::File { shared: *shared, offset: offset + (at - addr) };
                map.extend(
                    pages(*addr, *len)
                        .map(|at| (at, Page { prot: host_bits(*prot), kind: file(at) })),
                );
            }
            HostOp::Unmap { addr, len } => {
                inside(*addr, *len);
                map.retain(|at, _| *at < *addr || *at >= addr + len);
            }
            HostOp::Protect { addr, len, prot } => {
                inside(*addr, *len);
                for at in pages(*addr, *len) {
                    map.get_mut(&at).expect("only mapped pages are protected").prot =
                        host_bits(*prot);
                }
            }
            HostOp::Remap { old_addr, old_len, new_addr, new_len, keep_old } => {
                inside(*old_addr, *old_len);
                inside(*new_addr, *new_len);
                move_pages(map, *old_addr, *old_len, *new_addr, *new_len, *keep_old);
            }
            HostOp::Advise { addr, len, .. } | HostOp::Sync { addr, len, .. } => {
                inside(*addr, *len);
            }
        }
    }
}

/// The space's own opinion, page by page.
fn believed(space: &Space) -> Pages {
    let mut map = Pages::new();
    let mut last_end = 0;
    for vma in space.maps() {
        assert!(
            vma.start >= last_end && vma.end > vma.start,
            "mappings are ordered and don't overlap"
        );
        assert!(vma.start >= MIN && vma.end <= MAX && vma.start % PAGE_SIZE == 0);
        last_end = vma.end;
        for at in pages(vma.start, vma.len()) {
            let kind = match (&vma.file, vma.shared()) {
                (Some(_), shared) => Kind::File { shared, offset: vma.offset + (at - vma.start) },
                (None, true) => Kind::Shared,
                (None, false) => Kind::Private,
            };
            map.insert(at, Page { prot: bits(vma.prot), kind });
        }
    }
    map
}

#[derive(Clone, Debug)]
enum Call {
    Map { page: u64, len: u64, prot: u32, kind: u8, fixed: u8, offset: u64 },
    Unmap { page: u64, len: u64 },
    Protect { page: u64, len: u64, prot: u32 },
    Remap { page: u64, old: u64, new: u64, flags: u32, to: u64 },
    Advise { page: u64, len: u64, advice: u32 },
    Lock { page: u64, len: u64, unlock: bool },
    Brk { page: u64 },
    Grow { page: u64 },
    FailingMap { page: u64, len: u64 },
}

fn call() -> impl Strategy<Value = Call> {
    let page = 0..110_u64;
    let len = 0..20_u64;
    prop_oneof![
        4 => (page.clone(), 1..20_u64, 0..8_u32, 0..5_u8, 0..3_u8, 0..4_u64)
            .prop_map(|(page, len, prot, kind, fixed, offset)| Call::Map { page, len, prot, kind, fixed, offset }),
        2 => (page.clone(), len.clone()).prop_map(|(page, len)| Call::Unmap { page, len }),
        2 => (page.clone(), len.clone(), 0..8_u32).prop_map(|(page, len, prot)| Call::Protect { page, len, prot }),
        2 => (page.clone(), len.clone(), len.clone(), 0..8_u32, page.clone())
            .prop_map(|(page, old, new, flags, to)| Call::Remap { page, old, new, flags, to }),
        1 => (page.clone(), len.clone(), 0..26_u32).prop_map(|(page, len, advice)| Call::Advise { page, len, advice }),
        1 => (page.clone(), len.clone(), any::<bool>()).prop_map(|(page, len, unlock)| Call::Lock { page, len, unlock }),
        1 => page.clone().prop_map(|page| Call::Brk { page }),
        1 => page.clone().prop_map(|page| Call::Grow { page }),
        1 => (page, len).prop_map(|(page, len)| Call::FailingMap { page, len }),
    ]
}

struct World {
    space: Space,
    host: Pages,
    file: Arc<TestFile>,
    null: Arc<OwnedFd>,
}

fn at(page: u64) -> u64 {
    MIN + page * PAGE_SIZE
}

impl World {
    fn new() -> Self {
        let mut space = Space::new(SpaceConfig {
            min_address: MIN,
            max_address: MAX,
            vdso: None,
            stack_limit: 4 * PAGE_SIZE,
            seed: 0,
            object_ids: Arc::new(AtomicU64::new(0)),
        });
        space.set_limits(SpaceLimits { locked: 40 * PAGE_SIZE, ..SpaceLimits::default() });
        space.set_brk_start(at(10));
        let null = File::open("/dev/null").expect("a null device");
        Self {
            space,
            host: Pages::new(),
            file: Arc::new(TestFile { key: 7, pieces: AtomicI64::new(0) }),
            null: Arc::new(null.into()),
        }
    }

    fn source(&self, kind: u8, offset: u64) -> (MapFlags, MapSource) {
        let file = |flag| {
            let offset = offset * PAGE_SIZE;
            let source = MapSource::File {
                file: Arc::clone(&self.file) as Arc<dyn MappedFile>,
                offset,
                host: (Arc::clone(&self.null), offset),
                readable: true,
                writable: true,
                noexec: false,
                code: None,
            };
            (flag, source)
        };
        let private = MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS;
        match kind {
            0 => (MapFlags::MAP_SHARED | MapFlags::MAP_ANONYMOUS, MapSource::Anonymous),
            1 => file(MapFlags::MAP_PRIVATE),
            2 => file(MapFlags::MAP_SHARED),
            3 => (private | MapFlags::MAP_GROWSDOWN, MapSource::Anonymous),
            _ => (private, MapSource::Anonymous),
        }
    }

    fn take<T>(&mut self, planned: Planned<T>) -> Result<T> {
        let (result, Plan { ops, optional, .. }) = planned;
        carry_out(&mut self.host, &ops);
        carry_out(&mut self.host, &optional);
        result
    }

    /// Carries a call out and says what the pages must be afterwards, if that is easy to say.
    fn call(&mut self, call: &Call) -> Option<Pages> {
        let before = believed(&self.space);
        let mut expected = before.clone();
        match *call {
            Call::Map { page, len, prot, kind, fixed, offset } => {
                let (mut flags, source) = self.source(kind, offset);
                flags |= match fixed {
                    0 => MapFlags::MAP_FIXED,
                    1 => MapFlags::MAP_FIXED_NOREPLACE,
                    _ => MapFlags::empty(),
                };
                let prot = ProtFlags::from_bits_truncate(prot);
                let len = len * PAGE_SIZE - 5;
                let planned =
                    self.space.map(MapRequest { addr: at(page), len, prot, flags, source });
                if let Ok(addr) = self.take(planned) {
                    if fixed < 2 {
                        assert_eq!(addr, at(page));
                    }
                    if fixed > 0 {
                        assert!(
                            pages(addr, len).all(|at| !before.contains_key(&at)),
                            "nothing is replaced"
                        );
                    }
                    for place in pages(addr, len) {
                        let kind = match kind {
                            0 => Kind::Shared,
                            1 | 2 => Kind::File {
                                shared: kind == 2,
                                offset: offset * PAGE_SIZE + (place - addr),
                            },
                            _ => Kind::Private,
                        };
                        expected.insert(place, Page { prot: bits(prot), kind });
                    }
                }
            }
            Call::FailingMap { page, len } => {
                let (flags, source) = self.source(4, 0);
                let flags = flags | MapFlags::MAP_FIXED_NOREPLACE;
                let prot = ProtFlags::PROT_READ;
                let request =
                    MapRequest { addr: at(page), len: len * PAGE_SIZE, prot, flags, source };
                let (_, plan) = self.space.map(request);
                if let Some(undo) = plan.undo {
                    let undone = self.space.undo(undo);
                    carry_out(&mut self.host, &undone.optional);
                }
            }
            Call::Unmap { page, len } => {
                let planned = self.space.unmap(at(page), len * PAGE_SIZE);
                if self.take(planned).is_ok() {
                    expected.retain(|place, _| *place < at(page) || *place >= at(page + len));
                }
            }
            Call::Protect { page, len, prot } => {
                let prot = ProtFlags::from_bits_truncate(prot);
                let planned = self.space.protect(at(page), len * PAGE_SIZE, prot);
                let result = self.take(planned);
                let mut place = at(page);
                while place < at(page + len)
                    && let Some(page) = expected.get_mut(&place)
                {
                    page.prot = bits(prot);
                    place += PAGE_SIZE;
                }
                assert_eq!(result.is_ok(), len == 0 || place == at(page + len));
            }
            Call::Remap { page, old, new, flags, to } => {
                let flags = flags & (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP);
                let planned =
                    self.space.remap(at(page), old * PAGE_SIZE, new * PAGE_SIZE, flags, at(to));
                let result = self.take(planned);
                let Ok(addr) = result else { return None };
                if flags & MREMAP_FIXED != 0 {
                    assert_eq!(addr, at(to));
                    expected.retain(|place, _| *place < at(to) || *place >= at(to + new));
                }
                let kept = old.min(new);
                expected.retain(|place, _| {
                    *place < at(page + kept) || *place >= at(page + old.max(kept))
                });
                let keep = flags & MREMAP_DONTUNMAP != 0;
                if addr == at(page) && new <= old {
                    // Only shrunk; what the old length reached beyond is nobody's business.
                    return Some(expected);
                }
                move_pages(&mut expected, at(page), kept * PAGE_SIZE, addr, new * PAGE_SIZE, keep);
            }
            Call::Advise { page, len, advice } => {
                let planned = self.space.advise(
                    at(page),
                    len * PAGE_SIZE,
                    advice,
                    AdviseContext { admin: true },
                );
                // Errors depend on the advice.
                let _ = self.take(planned);
            }
            Call::Lock { page, len, unlock } => {
                let planned = if unlock {
                    self.space.unlock(at(page) + 9, len * PAGE_SIZE)
                } else {
                    self.space.lock(at(page) + 9, len * PAGE_SIZE, 0)
                };
                let _ = self.take(planned);
            }
            Call::Brk { page } => {
                let old = self.space.brk_range().1;
                let planned = self.space.set_brk(at(page) - 100);
                let new = self.take(planned).expect("brk does not fail");
                let (old, new) = (old.next_multiple_of(PAGE_SIZE), new.next_multiple_of(PAGE_SIZE));
                expected.retain(|place, _| *place < new || *place >= old);
                for place in (old..new).step_by(PAGE_SIZE as usize) {
                    assert!(!expected.contains_key(&place), "the heap grows into free room only");
                    expected.insert(place, Page { prot: (true, true, false), kind: Kind::Private });
                }
            }
            Call::Grow { page } => {
                let planned = self.space.grow_stack(at(page) + 17);
                if self.take(planned).is_ok() {
                    let now = believed(&self.space);
                    assert!(now.contains_key(&at(page)) && !before.contains_key(&at(page)));
                    assert!(before.iter().all(|(place, page)| now.get(place) == Some(page)));
                }
                return None;
            }
        }
        Some(expected)
    }

    fn check(&self) {
        let now = believed(&self.space);
        assert_eq!(now, self.host, "the host has what the space believes");
        let usage = self.space.usage();
        assert_eq!(usage.total, now.len() as u64 * PAGE_SIZE);
        let sum = |counts: &dyn Fn(&chitin_mm::space::VmaInfo) -> bool| -> u64 {
            self.space.maps().filter(|vma| counts(vma)).map(|vma| vma.len()).sum()
        };
        assert_eq!(usage.stack, sum(&|vma| vma.flags.contains(VmaFlags::GROWS_DOWN)));
        assert_eq!(usage.locked, sum(&|vma| vma.flags.contains(VmaFlags::LOCKED)));
        assert!(usage.locked <= 40 * PAGE_SIZE);
        let data = |vma: &chitin_mm::space::VmaInfo| {
            vma.prot.contains(ProtFlags::PROT_WRITE)
                && !vma.shared()
                && !vma.flags.contains(VmaFlags::GROWS_DOWN)
        };
        assert_eq!(usage.data, sum(&data));
        let pieces = self.space.maps().filter(|vma| vma.file.is_some()).count();
        assert_eq!(
            self.file.pieces.load(Ordering::Relaxed),
            pieces as i64,
            "references are balanced"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn space_host_and_model_agree(calls in proptest::collection::vec(call(), 1..60)) {
        let mut world = World::new();
        for call in &calls {
            let expected = world.call(call);
            if let Some(expected) = expected {
                prop_assert_eq!(believed(&world.space), expected, "after {:?}", call);
            }
            world.check();
        }
        let child = world.space.fork();
        let kept: usize = world.space.maps().filter(|vma| !vma.flags.contains(VmaFlags::DONT_FORK)).count();
        prop_assert!(child.map_count() <= kept);
        drop(child);
        drop(world.space.clear());
        prop_assert_eq!(world.file.pieces.load(Ordering::Relaxed), 0);
    }
}
