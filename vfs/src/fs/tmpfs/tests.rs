//! Tests of tmpfs: contents, limits, seals, directories; and a comparison with the host's files.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use chitin_abi::Errno;
use chitin_abi::fs::{
    F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE,
    FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, OpenFlags, SEEK_DATA,
    SEEK_HOLE,
};
use proptest::prelude::*;

use super::content::LARGE;
use super::{Tmpfs, TmpfsOptions, add_seals, seals, set_initial_seals};
use crate::file::OpenFile;
use crate::io::{SliceSource, VecSink};
use crate::mount::{MountFlags, NewMount};
use crate::testing::World;

fn sized(size: u64, inodes: u64) -> World {
    let (super_block, root) =
        Tmpfs::new(TmpfsOptions { size, inodes, mode: 0o755, ..TmpfsOptions::default() }).unwrap();
    World::with_root(NewMount {
        super_block,
        root,
        flags: MountFlags::default(),
        source: b"t".to_vec(),
    })
}

fn open(world: &World, path: &str) -> Arc<OpenFile> {
    world.open(path, OpenFlags::O_CREAT | OpenFlags::O_RDWR).unwrap()
}

fn write(world: &World, file: &OpenFile, at: u64, bytes: &[u8]) -> chitin_abi::Result<usize> {
    file.write(&mut SliceSource::new(bytes), Some(at), &world.env)
}

fn read(world: &World, file: &OpenFile, at: u64, count: usize) -> Vec<u8> {
    let mut sink = VecSink::new(count);
    file.read(&mut sink, Some(at), &world.env).unwrap();
    sink.bytes
}

#[test]
fn files_are_sparse() {
    let world = World::new();
    let file = open(&world, "/f");
    write(&world, &file, 3 << 20, b"end").unwrap();
    write(&world, &file, 70_000, b"middle").unwrap();
    let attr = file.attr().unwrap();
    assert_eq!((attr.size, attr.blocks), ((3 << 20) + 3, 16));
    assert_eq!(read(&world, &file, 69_998, 10), b"\0\0middle\0\0");
    assert_eq!(read(&world, &file, (3 << 20) - 1, 100), b"\0end");
    let seek = |offset, whence| file.file().seek(0, offset, whence);
    assert_eq!(seek(0, SEEK_DATA), Ok(69_632));
    assert_eq!(seek(69_632, SEEK_HOLE), Ok(73_728));
    assert_eq!(seek(73_728, SEEK_DATA), Ok(3 << 20));
    assert_eq!(seek(3 << 20, SEEK_HOLE), Ok((3 << 20) + 3));
    assert_eq!(seek((3 << 20) + 3, SEEK_DATA), Err(Errno::ENXIO));
}

#[test]
fn mapped_and_large_files_live_in_a_memfd() {
    let world = World::new();
    let file = open(&world, "/f");
    write(&world, &file, 5, b"text").unwrap();
    let mapped = file.file().map().unwrap();
    let (fd, offset) = mapped.host_file(0, 4096, true).unwrap();
    let host = std::fs::File::from(fd.try_clone().unwrap());
    let mut bytes = [0; 4];
    host.read_exact_at(&mut bytes, offset + 5).unwrap();
    assert_eq!(&bytes, b"text");
    // What a program stores by its mapping is read by others, and the other way round.
    host.write_all_at(b"TEXT", offset + 5).unwrap();
    assert_eq!(read(&world, &file, 4, 9), b"\0TEXT");
    write(&world, &file, 9, b"!").unwrap();
    host.read_exact_at(&mut bytes, offset + 6).unwrap();
    assert_eq!(&bytes, b"EXT!");
    assert_eq!(file.attr().unwrap().blocks, 8);
    let large = open(&world, "/large");
    write(&world, &large, LARGE + 10, b"far").unwrap();
    assert_eq!(read(&world, &large, LARGE + 9, 9), b"\0far");
    assert_eq!(large.file().seek(0, 0, SEEK_DATA), Ok(LARGE));
    large.truncate(LARGE + 11, &world.env).unwrap();
    large.truncate(LARGE + 13, &world.env).unwrap();
    assert_eq!(read(&world, &large, LARGE + 9, 9), b"\0f\0\0");
}

#[test]
fn space_is_bounded() {
    let world = sized(64 * 1024, 5);
    let file = open(&world, "/f");
    let stats = || world.walk().statfs(&world.namespace.root()).unwrap().0;
    assert_eq!(
        (stats().blocks, stats().blocks_free, stats().files, stats().files_free),
        (16, 16, 5, 3)
    );
    assert_eq!(write(&world, &file, 0, &[1; 40_000]), Ok(40_000));
    assert_eq!(stats().blocks_free, 6);
    let other = open(&world, "/g");
    assert_eq!(write(&world, &other, 1 << 20, &[1; 10]), Ok(10));
    assert_eq!(other.allocate(0, 0, 24 * 1024, &world.env), Err(Errno::ENOSPC));
    assert_eq!(other.allocate(0, 0, 20 * 1024, &world.env), Ok(()));
    assert_eq!(write(&world, &file, 65_536, b"x"), Err(Errno::ENOSPC));
    file.truncate(4096, &world.env).unwrap();
    assert_eq!(stats().blocks_free, 9);
    drop(other);
    world.walk().unlink(b"/g").unwrap();
    assert_eq!(stats().blocks_free, 15);
    for name in ["/1", "/2", "/3"] {
        open(&world, name);
    }
    assert_eq!(world.walk().mkdir(b"/4", 0o755).err(), Some(Errno::ENOSPC));
    assert_eq!(world.walk().link(&world.path("/f"), b"/4").err(), Some(Errno::ENOSPC));
    world.walk().unlink(b"/1").unwrap();
    assert!(world.walk().mkdir(b"/4", 0o755).is_ok());
    let root = world.namespace.root();
    assert_eq!(world.namespace.remount(&root, MountFlags::default(), false, b"size=1k"), Ok(()));
    assert_eq!(
        world.namespace.remount(&root, MountFlags::default(), false, b"nr_inodes=2"),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        world.namespace.remount(&root, MountFlags::default(), false, b"what=2"),
        Err(Errno::EINVAL)
    );
}

#[test]
fn scattered_bytes_are_charged_for_the_memory_they_take() {
    let world = sized(1 << 20, 0);
    let file = open(&world, "/f");
    let mut done = 0;
    while write(&world, &file, done * 65_536, b"x").is_ok()
        && write(&world, &file, done * 65_536 + 65_535, b"x").is_ok()
    {
        done += 1;
    }
    assert_eq!(done, 16);
}

#[test]
fn holes_are_punched() {
    let world = World::new();
    let file = open(&world, "/f");
    write(&world, &file, 0, &[7; 20_000]).unwrap();
    let punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    file.allocate(punch, 100, 10_000, &world.env).unwrap();
    assert_eq!(read(&world, &file, 99, 3), [7, 0, 0]);
    assert_eq!(read(&world, &file, 10_099, 2), [0, 7]);
    assert_eq!(file.attr().unwrap().blocks, 4 * 8);
    file.allocate(FALLOC_FL_KEEP_SIZE, 0, 100_000, &world.env).unwrap();
    assert_eq!((file.attr().unwrap().size, file.attr().unwrap().blocks), (20_000, 25 * 8));
    assert_eq!(file.allocate(FALLOC_FL_PUNCH_HOLE, 0, 10, &world.env), Err(Errno::EOPNOTSUPP));
    assert_eq!(
        file.allocate(FALLOC_FL_COLLAPSE_RANGE, 0, 4096, &world.env),
        Err(Errno::EOPNOTSUPP)
    );
    file.allocate(0, 30_000, 10, &world.env).unwrap();
    assert_eq!(file.attr().unwrap().size, 30_010);
}

#[test]
fn seals_forbid() {
    let world = World::new();
    let file = open(&world, "/f");
    let inode = file.path().unwrap().inode();
    assert_eq!(seals(&inode), Ok(F_SEAL_SEAL));
    assert_eq!(add_seals(&inode, F_SEAL_GROW), Err(Errno::EPERM));
    set_initial_seals(&inode, 0).unwrap();
    write(&world, &file, 0, b"0123456789").unwrap();
    add_seals(&inode, F_SEAL_GROW | F_SEAL_SHRINK).unwrap();
    assert_eq!(file.truncate(20, &world.env), Err(Errno::EPERM));
    assert_eq!(file.truncate(5, &world.env), Err(Errno::EPERM));
    assert_eq!(write(&world, &file, 8, b"abcdef"), Err(Errno::EPERM));
    assert_eq!(write(&world, &file, 8, b"ab"), Ok(2));
    assert_eq!(write(&world, &file, 10, b"a"), Err(Errno::EPERM));
    let mapped = file.file().map().unwrap();
    mapped.mapped(true);
    assert_eq!(add_seals(&inode, F_SEAL_WRITE), Err(Errno::EBUSY));
    add_seals(&inode, F_SEAL_FUTURE_WRITE).unwrap();
    assert!(mapped.write_sealed());
    mapped.unmapped(true);
    let (host, _) = mapped.host_file(0, 4096, true).unwrap();
    add_seals(&inode, F_SEAL_WRITE | F_SEAL_SEAL).unwrap();
    assert!(rustix::fs::fcntl_get_seals(&host).unwrap().contains(rustix::fs::SealFlags::WRITE));
    assert_eq!(rustix::io::pwrite(&host, b"a", 0), Err(rustix::io::Errno::PERM));
    assert_eq!(write(&world, &file, 0, b"a"), Err(Errno::EPERM));
    assert_eq!(add_seals(&inode, F_SEAL_GROW), Err(Errno::EPERM));
    assert_eq!(add_seals(&inode, 1 << 20), Err(Errno::EINVAL));
}

#[test]
fn listings_survive_changes() {
    let world = World::new();
    world.mkdir("/d");
    for number in 0..300 {
        world.write(&format!("/d/{number}"), "");
    }
    let dir = world.open("/d", OpenFlags::O_DIRECTORY).unwrap();
    let mut seen = Vec::new();
    loop {
        let before = seen.len();
        let mut room = 10;
        dir.read_dir(&world.env, &mut |entry| {
            if room == 0 {
                return false;
            }
            room -= 1;
            seen.push(String::from_utf8(entry.name.to_vec()).unwrap());
            true
        })
        .unwrap();
        if seen.len() == before {
            break;
        }
        // What has been listed is removed, as `rm -r` does.
        for name in seen.iter().skip(before).filter(|name| !name.starts_with('.')) {
            world.walk().unlink(format!("/d/{name}").as_bytes()).unwrap();
        }
    }
    assert_eq!(seen.len(), 302);
    assert!(world.list("/d").is_empty());
}

#[test]
fn directory_sizes_and_links() {
    let world = World::new();
    let dir = world.mkdir("/d");
    world.mkdir("/d/a");
    world.write("/d/b", "");
    let attr = dir.inode().attr().unwrap();
    assert_eq!((attr.nlink, attr.size), (3, 80));
    world.walk().rename(b"/d/a", &world.walk(), b"/a", 0).unwrap();
    assert_eq!(dir.inode().attr().unwrap().nlink, 2);
    assert_eq!(world.namespace.root().inode().attr().unwrap().nlink, 4);
}

#[test]
fn access_times_follow_the_mount() {
    let world = World::new();
    world.write("/f", "x");
    let path = world.path("/f");
    let old = chitin_abi::time::Timespec { tv_sec: 10, tv_nsec: 0 };
    let set = |time| {
        let walk = world.walk();
        walk.utimens(
            &path,
            super::super::super::walk::SetTime::To(time),
            super::super::super::walk::SetTime::Omit,
        )
        .unwrap();
    };
    let atime = || path.inode().attr().unwrap().atime;
    set(old);
    let file = world.open("/f", OpenFlags::O_NOATIME).unwrap();
    read(&world, &file, 0, 1);
    assert_eq!(atime(), old);
    world.read("/f");
    assert_ne!(atime(), old);
    world
        .namespace
        .set_flags(&world.namespace.root(), MountFlags::empty(), MountFlags::NO_ATIME, false)
        .unwrap();
    set(old);
    world.read("/f");
    assert_eq!(atime(), old);
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, usize, u8),
    Truncate(u64),
    Punch(u64, u64),
    Allocate(u64, u64, bool),
    Map,
    Read(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = 0..400_000u64;
    let step = prop_oneof![
        4 => (place.clone(), 0..100_000usize, 1..255u8).prop_map(|(at, count, byte)| Step::Write(at, count, byte)),
        2 => place.clone().prop_map(Step::Truncate),
        2 => (place.clone(), 1..100_000u64).prop_map(|(at, count)| Step::Punch(at, count)),
        1 => (place.clone(), 1..100_000u64, any::<bool>()).prop_map(|(at, count, keep)| Step::Allocate(at, count, keep)),
        1 => Just(Step::Map),
        2 => (place, 0..100_000usize).prop_map(|(at, count)| Step::Read(at, count)),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A file behaves as a vector of bytes does, in the heap and in a memfd, and gives all space back.
    #[test]
    fn contents_match_a_vector(steps in steps()) {
        let world = sized(1 << 30, 0);
        let free = || world.walk().statfs(&world.namespace.root()).unwrap().0.blocks_free;
        let before = free();
        let file = open(&world, "/f");
        let mut model: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Write(at, count, byte) => {
                    prop_assert_eq!(write(&world, &file, at, &vec![byte; count]), Ok(count));
                    let at = at as usize;
                    if count > 0 {
                        model.resize(model.len().max(at + count), 0);
                        model[at..at + count].fill(byte);
                    }
                }
                Step::Truncate(size) => {
                    file.truncate(size, &world.env).unwrap();
                    model.resize(size as usize, 0);
                }
                Step::Punch(at, count) => {
                    file.allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, count, &world.env).unwrap();
                    let end = model.len().min((at + count) as usize);
                    if (at as usize) < end {
                        model[at as usize..end].fill(0);
                    }
                }
                Step::Allocate(at, count, keep) => {
                    let mode = if keep { FALLOC_FL_KEEP_SIZE } else { 0 };
                    file.allocate(mode, at, count, &world.env).unwrap();
                    if !keep {
                        model.resize(model.len().max((at + count) as usize), 0);
                    }
                }
                Step::Map => {
                    file.file().map().unwrap().host_file(0, 4096, true).unwrap();
                }
                Step::Read(at, count) => {
                    let start = model.len().min(at as usize);
                    let end = model.len().min(at as usize + count);
                    prop_assert_eq!(read(&world, &file, at, count), &model[start..end]);
                }
            }
            prop_assert_eq!(file.attr().unwrap().size, model.len() as u64);
        }
        prop_assert_eq!(read(&world, &file, 0, model.len() + 1), model);
        drop(file);
        world.walk().unlink(b"/f").unwrap();
        prop_assert_eq!(free(), before);
    }
}
