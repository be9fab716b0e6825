//! Tests of descriptor tables.

use std::sync::Arc;

use chitin_abi::Errno;
use chitin_abi::fs::OpenFlags;

use super::FdTable;
use crate::file::OpenFile;
use crate::testing::World;

fn file() -> Arc<OpenFile> {
    let world = World::new();
    world.write("/f", "x");
    world.open("/f", OpenFlags::empty()).unwrap()
}

#[test]
fn the_lowest_free_descriptor_is_taken() {
    let table = FdTable::new();
    let file = file();
    let install = |min, limit| table.install(Arc::clone(&file), false, min, limit);
    for expected in 0..5000 {
        assert_eq!(install(0, 1 << 20), Ok(expected));
    }
    for fd in [4095, 70, 3] {
        table.close(fd).unwrap();
    }
    assert_eq!(install(4, 1 << 20), Ok(70));
    assert_eq!(install(4, 1 << 20), Ok(4095));
    assert_eq!(install(4, 1 << 20), Ok(5000));
    // Descriptors above the limit do not count against it.
    assert!(table.has_room(10));
    assert_eq!(install(0, 10), Ok(3));
    assert_eq!(install(0, 10), Err(Errno::EMFILE));
    assert!(!table.has_room(10));
    assert_eq!(install(9000, 1 << 20), Ok(9000));
    assert_eq!(table.get(8999).err(), Some(Errno::EBADF));
    assert_eq!(table.get(-1).err(), Some(Errno::EBADF));
    assert_eq!(table.len(), 5002);
}

#[test]
fn descriptors_are_replaced_and_copied() {
    let table = FdTable::new();
    let file = file();
    table.install(Arc::clone(&file), true, 0, 100).unwrap();
    assert_eq!(table.install_at(100, Arc::clone(&file), false, 100).err(), Some(Errno::EBADF));
    assert_eq!(table.install_at(-1, Arc::clone(&file), false, 100).err(), Some(Errno::EBADF));
    assert!(table.install_at(7, Arc::clone(&file), false, 100).unwrap().is_none());
    assert!(table.install_at(7, Arc::clone(&file), false, 100).unwrap().is_some());
    let copy = table.copy();
    assert_ne!(copy.id(), table.id());
    copy.close_on_exec();
    assert_eq!((copy.descriptors(), table.descriptors()), (vec![7], vec![0, 7]));
    table.close_range_on_exec(0, u32::MAX);
    assert_eq!(table.close_on_exec_flag(7), Ok(true));
    let left = table.copy_without(1, u32::MAX);
    assert_eq!(left.descriptors(), [0]);
    table.close_range(5, 10);
    assert_eq!(table.descriptors(), [0]);
    assert_eq!(table.close(7), Err(Errno::EBADF));
    drop((copy, left, table));
    assert_eq!(Arc::strong_count(&file), 1);
}
