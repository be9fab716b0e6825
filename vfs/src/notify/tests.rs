//! Tests of inotify.

use std::sync::Arc;

use chitin_abi::Errno;
use chitin_abi::fs::{
    IN_ACCESS, IN_ALL_EVENTS, IN_ATTRIB, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_CREATE, IN_DELETE,
    IN_DELETE_SELF, IN_EXCL_UNLINK, IN_IGNORED, IN_ISDIR, IN_MASK_ADD, IN_MASK_CREATE, IN_MODIFY,
    IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO, IN_ONESHOT, IN_ONLYDIR, IN_OPEN, IN_Q_OVERFLOW,
    IN_UNMOUNT, OpenFlags,
};
use chitin_abi::poll::PollEvents;

use super::Inotify;
use crate::file::File;
use crate::io::{SliceSink, SliceSource, VecSink};
use crate::testing::{World, tmpfs};

/// The queued events: descriptor, mask, cookie, name.
fn events(instance: &Arc<Inotify>) -> Vec<(i32, u32, u32, String)> {
    let mut sink = VecSink::new(1 << 16);
    if instance.read_at(&mut sink, 0) == Err(Errno::EAGAIN) {
        return Vec::new();
    }
    let word = |at: usize| u32::from_ne_bytes(sink.bytes[at..at + 4].try_into().unwrap());
    let mut at = 0;
    let mut found = Vec::new();
    while at < sink.bytes.len() {
        let length = word(at + 12) as usize;
        let name = sink.bytes[at + 16..at + 16 + length]
            .iter()
            .take_while(|byte| **byte != 0)
            .copied()
            .collect();
        found.push((
            word(at).cast_signed(),
            word(at + 4),
            word(at + 8),
            String::from_utf8(name).unwrap(),
        ));
        at += 16 + length;
    }
    found
}

fn masks(instance: &Arc<Inotify>) -> Vec<(u32, String)> {
    events(instance).into_iter().map(|(_, mask, _, name)| (mask, name)).collect()
}

fn named(pairs: &[(u32, &str)]) -> Vec<(u32, String)> {
    pairs.iter().map(|(mask, name)| (*mask, (*name).to_owned())).collect()
}

#[test]
fn a_directory_tells_of_its_files() {
    let world = World::new();
    let dir = world.mkdir("/d");
    let instance = Inotify::new(100);
    instance.add_watch(&dir, IN_ALL_EVENTS, 10).unwrap();
    assert_eq!(instance.poll(), PollEvents::empty());
    world.write("/d/f", "x");
    assert_eq!(
        masks(&instance),
        named(&[(IN_CREATE, "f"), (IN_OPEN, "f"), (IN_MODIFY, "f"), (IN_CLOSE_WRITE, "f")])
    );
    world.read("/d/f");
    assert_eq!(
        masks(&instance),
        named(&[(IN_OPEN, "f"), (IN_ACCESS, "f"), (IN_CLOSE_NOWRITE, "f")])
    );
    world.walk().chmod(&world.path("/d/f"), 0o600).unwrap();
    world.mkdir("/d/sub");
    world.walk().unlink(b"/d/f").unwrap();
    world.walk().rmdir(b"/d/sub").unwrap();
    assert_eq!(
        masks(&instance),
        named(&[
            (IN_ATTRIB, "f"),
            (IN_CREATE | IN_ISDIR, "sub"),
            (IN_DELETE, "f"),
            (IN_DELETE | IN_ISDIR, "sub")
        ])
    );
}

#[test]
fn a_file_tells_of_its_end() {
    let world = World::new();
    world.write("/f", "x");
    let instance = Inotify::new(100);
    let wd = instance.add_watch(&world.path("/f"), IN_ALL_EVENTS, 10).unwrap();
    let open = world.open("/f", OpenFlags::empty()).unwrap();
    world.walk().unlink(b"/f").unwrap();
    assert_eq!(masks(&instance), named(&[(IN_OPEN, ""), (IN_ATTRIB, "")]));
    drop(open);
    assert_eq!(
        masks(&instance),
        named(&[(IN_CLOSE_NOWRITE, ""), (IN_DELETE_SELF, ""), (IN_IGNORED, "")])
    );
    assert_eq!(instance.remove_watch(wd), Err(Errno::EINVAL));
}

#[test]
fn moves_have_cookies() {
    let world = World::new();
    let (from, to) = (world.mkdir("/from"), world.mkdir("/to"));
    world.write("/from/f", "x");
    world.write("/to/g", "y");
    let instance = Inotify::new(100);
    instance.add_watch(&from, IN_ALL_EVENTS, 10).unwrap();
    instance.add_watch(&to, IN_ALL_EVENTS, 10).unwrap();
    instance.add_watch(&world.path("/from/f"), IN_MOVE_SELF, 10).unwrap();
    instance.add_watch(&world.path("/to/g"), IN_DELETE_SELF, 10).unwrap();
    world.walk().rename(b"/from/f", &world.walk(), b"/to/g", 0).unwrap();
    let found = events(&instance);
    let kinds: Vec<_> = found.iter().map(|(_, mask, _, name)| (*mask, name.as_str())).collect();
    assert_eq!(
        kinds,
        [
            (IN_MOVED_FROM, "f"),
            (IN_MOVED_TO, "g"),
            (IN_MOVE_SELF, ""),
            (IN_DELETE_SELF, ""),
            (IN_IGNORED, "")
        ]
    );
    assert!(found[0].2 != 0 && found[0].2 == found[1].2);
}

#[test]
fn masks_of_watches() {
    let world = World::new();
    let dir = world.mkdir("/d");
    world.write("/d/f", "x");
    let instance = Inotify::new(100);
    let add = |path: &str, mask| instance.add_watch(&world.path(path), mask, 2);
    assert_eq!(add("/d", 0), Err(Errno::EINVAL));
    assert_eq!(add("/d", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE), Err(Errno::EINVAL));
    assert_eq!(add("/d/f", IN_OPEN | IN_ONLYDIR), Err(Errno::ENOTDIR));
    let wd = add("/d", IN_OPEN).unwrap();
    assert_eq!(add("/d", IN_OPEN | IN_MASK_CREATE), Err(Errno::EEXIST));
    assert_eq!(add("/d", IN_CREATE | IN_MASK_ADD), Ok(wd));
    world.write("/d/g", "x");
    assert_eq!(masks(&instance), named(&[(IN_CREATE, "g"), (IN_OPEN, "g")]));
    assert_eq!(add("/d", IN_MODIFY | IN_ONESHOT), Ok(wd));
    world.write("/d/g", "xy");
    assert_eq!(masks(&instance), named(&[(IN_MODIFY, "g"), (IN_IGNORED, "")]));
    assert_eq!(instance.watches(), 0);
    add("/d", IN_OPEN).unwrap();
    add("/d/f", IN_OPEN).unwrap();
    assert_eq!(add("/", IN_OPEN), Err(Errno::ENOSPC));
    drop(dir);
}

#[test]
fn removed_files_can_be_left_out() {
    let world = World::new();
    let dir = world.mkdir("/d");
    world.write("/d/f", "x");
    let instance = Inotify::new(100);
    instance.add_watch(&dir, IN_MODIFY | IN_EXCL_UNLINK, 10).unwrap();
    let file = world.open("/d/f", OpenFlags::O_RDWR).unwrap();
    world.walk().unlink(b"/d/f").unwrap();
    file.write(&mut SliceSource::new(b"y"), None, &world.env).unwrap();
    assert!(events(&instance).is_empty());
}

#[test]
fn queues_are_bounded_and_events_coalesce() {
    let world = World::new();
    world.write("/a", "x");
    world.write("/b", "x");
    let instance = Inotify::new(3);
    instance.add_watch(&world.path("/a"), IN_MODIFY, 10).unwrap();
    instance.add_watch(&world.path("/b"), IN_MODIFY, 10).unwrap();
    let write = |path: &str| {
        let file = world.open(path, OpenFlags::O_WRONLY).unwrap();
        file.write(&mut SliceSource::new(b"y"), None, &world.env).unwrap();
    };
    write("/a");
    write("/a");
    assert_eq!(events(&instance).len(), 1);
    for _ in 0..5 {
        write("/a");
        write("/b");
    }
    let found = events(&instance);
    assert_eq!(found.len(), 4);
    assert_eq!((found[3].0, found[3].1), (-1, IN_Q_OVERFLOW));
    write("/a");
    assert_eq!(instance.read_at(&mut SliceSink::new(&mut [0; 15]), 0), Err(Errno::EINVAL));
    assert_eq!(instance.read_at(&mut SliceSink::new(&mut [0; 16]), 0), Ok(16));
}

#[test]
fn unmounting_ends_watches() {
    let world = World::new();
    world.mkdir("/m");
    world.namespace.mount(&world.path("/m"), tmpfs()).unwrap();
    world.write("/m/f", "x");
    let instance = Inotify::new(100);
    instance.add_watch(&world.path("/m/f"), IN_OPEN, 10).unwrap();
    world.namespace.unmount(&world.path("/m"), 0).unwrap();
    assert_eq!(masks(&instance), named(&[(IN_UNMOUNT, ""), (IN_IGNORED, "")]));
}
