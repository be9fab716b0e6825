//! Tests of locks.

use std::sync::Arc;

use chitin_abi::Errno;
use chitin_abi::fs::OpenFlags;

use super::{LockKind, LockOwner, LockRange, LockRequest, OFFSET_MAX, RecordLock};
use crate::fdtable::FdTable;
use crate::testing::World;

fn lock(owner: u64, kind: LockKind, start: u64, end: u64) -> RecordLock {
    RecordLock { owner: LockOwner::Table(owner), pid: 1, kind, range: LockRange { start, end } }
}

#[test]
fn ranges_of_struct_flock() {
    let range = |base, start, length| {
        LockRange::new(base, start, length).map(|range| (range.start, range.end))
    };
    assert_eq!(range(0, 10, 5), Ok((10, 14)));
    assert_eq!(range(100, -10, 0), Ok((90, OFFSET_MAX)));
    assert_eq!(range(0, 10, -5), Ok((5, 9)));
    assert_eq!(range(0, 10, -10), Ok((0, 9)));
    assert_eq!(range(0, 10, -11), Err(Errno::EINVAL));
    assert_eq!(range(0, -1, 5), Err(Errno::EINVAL));
    assert_eq!(range(1, i64::MAX, 0), Err(Errno::EOVERFLOW));
    assert_eq!(range(0, i64::MAX, 2), Err(Errno::EOVERFLOW));
    assert_eq!(range(0, i64::MAX, 1), Ok((OFFSET_MAX, OFFSET_MAX)));
    assert_eq!(range(0, 1, i64::MIN), Err(Errno::EINVAL));
}

#[test]
fn records_split_and_merge() {
    let world = World::new();
    world.write("/f", "x");
    let file = world.open("/f", OpenFlags::O_RDWR).unwrap();
    let set = |lock| {
        LockRequest::new(Arc::clone(&world.env.shared), Arc::clone(&file), lock).attempt(false)
    };
    let locks = file.state().unwrap().locks();
    let held = || {
        let (records, _) = locks.list();
        records
            .iter()
            .map(|lock| (lock.kind == LockKind::Exclusive, lock.range.start, lock.range.end))
            .collect::<Vec<_>>()
    };
    set(lock(1, LockKind::Exclusive, 0, 99)).unwrap();
    set(lock(1, LockKind::Shared, 40, 59)).unwrap();
    assert_eq!(held(), [(true, 0, 39), (false, 40, 59), (true, 60, 99)]);
    locks.unlock(LockOwner::Table(1), LockRange { start: 10, end: 19 });
    assert_eq!(held(), [(true, 0, 9), (true, 20, 39), (false, 40, 59), (true, 60, 99)]);
    set(lock(1, LockKind::Exclusive, 10, 19)).unwrap();
    set(lock(1, LockKind::Exclusive, 30, 70)).unwrap();
    assert_eq!(held(), [(true, 0, 99)]);
    set(lock(1, LockKind::Exclusive, 100, OFFSET_MAX)).unwrap();
    assert_eq!(held(), [(true, 0, OFFSET_MAX)]);
    assert_eq!(set(lock(2, LockKind::Shared, 5, 5)), Err(Errno::EAGAIN));
    let wanted = lock(2, LockKind::Shared, 5, 5);
    assert_eq!(locks.conflict(&wanted).map(|held| held.range), Some(LockRange::whole()));
    locks.unlock(LockOwner::Table(1), LockRange { start: 0, end: 9 });
    set(wanted).unwrap();
    set(lock(3, LockKind::Shared, 0, 9)).unwrap();
    assert_eq!(set(lock(2, LockKind::Exclusive, 5, 5)), Err(Errno::EAGAIN));
    locks.release_owner(LockOwner::Table(3));
    set(lock(2, LockKind::Exclusive, 5, 5)).unwrap();
}

#[test]
fn circles_are_refused() {
    let world = World::new();
    world.write("/f", "x");
    let file = world.open("/f", OpenFlags::O_RDWR).unwrap();
    let request = |lock| LockRequest::new(Arc::clone(&world.env.shared), Arc::clone(&file), lock);
    for owner in 1..=3 {
        request(lock(owner, LockKind::Exclusive, owner, owner)).attempt(false).unwrap();
    }
    let first = request(lock(1, LockKind::Exclusive, 2, 2));
    assert_eq!(first.attempt(true), Err(Errno::EAGAIN));
    let second = request(lock(2, LockKind::Exclusive, 3, 3));
    assert_eq!(second.attempt(true), Err(Errno::EAGAIN));
    let third = request(lock(3, LockKind::Exclusive, 1, 1));
    assert_eq!(third.attempt(true), Err(Errno::EDEADLK));
    assert_eq!(third.attempt(false), Err(Errno::EAGAIN));
    drop(first);
    assert_eq!(third.attempt(true), Err(Errno::EAGAIN));
}

#[test]
fn closing_any_descriptor_drops_posix_locks() {
    let world = World::new();
    world.write("/f", "x");
    let table = FdTable::new();
    let open = || world.open("/f", OpenFlags::O_RDWR).unwrap();
    let first = table.install(open(), false, 0, 100).unwrap();
    let second = table.install(open(), false, 0, 100).unwrap();
    let file = table.get(first).unwrap();
    let wanted = lock(table.id(), LockKind::Exclusive, 0, 9);
    LockRequest::new(Arc::clone(&world.env.shared), Arc::clone(&file), wanted)
        .attempt(false)
        .unwrap();
    let other = lock(table.id() + 1000, LockKind::Shared, 0, 0);
    let locks = file.state().unwrap().locks();
    assert!(locks.conflict(&other).is_some());
    table.close(second).unwrap();
    assert!(locks.conflict(&other).is_none());
}

#[test]
fn whole_file_locks_belong_to_the_open_file() {
    let world = World::new();
    world.write("/f", "x");
    let (one, other) = (
        world.open("/f", OpenFlags::empty()).unwrap(),
        world.open("/f", OpenFlags::empty()).unwrap(),
    );
    let locks = one.state().unwrap().locks();
    locks.flock(one.id(), 1, LockKind::Shared).unwrap();
    locks.flock(other.id(), 1, LockKind::Shared).unwrap();
    assert_eq!(locks.flock(one.id(), 1, LockKind::Exclusive), Err(Errno::EAGAIN));
    // The failed conversion has lost the old lock.
    locks.flock(other.id(), 1, LockKind::Exclusive).unwrap();
    assert_eq!(locks.flock(one.id(), 1, LockKind::Shared), Err(Errno::EAGAIN));
    drop(other);
    locks.flock(one.id(), 1, LockKind::Exclusive).unwrap();
}
