//! Tests of overlays of tmpfs layers.

use std::sync::Arc;

use chitin_abi::Errno;
use chitin_abi::fs::{OpenFlags, RENAME_EXCHANGE, S_IFIFO};

use super::{Overlay, OverlayOptions};
use crate::fs::tmpfs::{Tmpfs, TmpfsOptions};
use crate::inode::Inode;
use crate::io::{SliceSource, VecSink};
use crate::mount::{MountFlags, NewMount};
use crate::testing::World;
use crate::walk::SetTime;

const RDONLY: OpenFlags = OpenFlags::empty();

/// A lower tree to be looked at through an overlay, and the overlay.
struct Layers {
    lower: World,
    merged: World,
    upper: Arc<dyn Inode>,
}

fn overlay(prepare: impl FnOnce(&World)) -> Layers {
    let lower = World::new();
    prepare(&lower);
    let (_, upper) = Tmpfs::new(TmpfsOptions { mode: 0o755, ..TmpfsOptions::default() }).unwrap();
    let lowers = vec![lower.namespace.root().inode()];
    let (super_block, root) =
        Overlay::new(Some(Arc::clone(&upper)), lowers, OverlayOptions::default()).unwrap();
    let root =
        NewMount { super_block, root, flags: MountFlags::default(), source: b"overlay".to_vec() };
    Layers { lower, merged: World::with_root(root), upper }
}

#[test]
fn writes_leave_the_lower_layer_alone() {
    let layers = overlay(|lower| {
        lower.mkdir("/d");
        lower.mkdir("/d/e");
        lower.write("/d/e/f", "old");
    });
    let merged = &layers.merged;
    let before = merged.path("/d/e/f").inode().attr().unwrap();
    let reader = merged.open("/d/e/f", RDONLY).unwrap();
    let file = merged.open("/d/e/f", OpenFlags::O_WRONLY | OpenFlags::O_APPEND).unwrap();
    file.write(&mut SliceSource::new(b"+new"), None, &merged.env).unwrap();
    assert_eq!(merged.read("/d/e/f"), "old+new");
    assert_eq!(layers.lower.read("/d/e/f"), "old");
    // Who had it open for reading sees the change; the identity stays.
    let mut sink = VecSink::new(100);
    reader.read(&mut sink, None, &merged.env).unwrap();
    assert_eq!(sink.bytes, b"old+new");
    let after = merged.path("/d/e/f").inode().attr().unwrap();
    assert_eq!((before.dev, before.ino, before.mode), (after.dev, after.ino, after.mode));
    let listed = |world: &World| {
        let mut found = 0;
        let dir = world.open("/d/e", OpenFlags::O_DIRECTORY).unwrap();
        dir.read_dir(&world.env, &mut |entry| {
            if entry.name == b"f" {
                found = entry.ino;
            }
            true
        })
        .unwrap();
        found
    };
    assert_eq!(listed(merged), after.ino);
}

#[test]
fn identity_survives_eviction() {
    let layers = overlay(|lower| lower.write("/f", "x"));
    let merged = &layers.merged;
    let ino = merged.path("/f").inode().attr().unwrap().ino;
    merged.walk().chmod(&merged.path("/f"), 0o600).unwrap();
    merged.namespace.root().dentry().forget_children();
    let attr = merged.path("/f").inode().attr().unwrap();
    assert_eq!((attr.ino, attr.mode & 0o777), (ino, 0o600));
    merged.walk().rename(b"/f", &merged.walk(), b"/g", 0).unwrap();
    merged.namespace.root().dentry().forget_children();
    assert_eq!(merged.path("/g").inode().attr().unwrap().ino, ino);
}

#[test]
fn removed_names_are_hidden_and_can_be_made_again() {
    let layers = overlay(|lower| {
        lower.mkdir("/d");
        lower.write("/d/a", "a");
        lower.write("/d/b", "b");
        lower.mkdir("/d/sub");
        lower.write("/d/sub/x", "x");
    });
    let merged = &layers.merged;
    let walk = merged.walk();
    assert_eq!(merged.list("/d"), ["a", "b", "sub"]);
    walk.unlink(b"/d/a").unwrap();
    assert_eq!(merged.list("/d"), ["b", "sub"]);
    assert!(!merged.exists("/d/a"));
    assert_eq!(walk.rmdir(b"/d/sub"), Err(Errno::ENOTEMPTY));
    walk.unlink(b"/d/sub/x").unwrap();
    walk.rmdir(b"/d/sub").unwrap();
    assert_eq!(merged.list("/d"), ["b"]);
    // What is made anew does not show what was there before.
    merged.mkdir("/d/sub");
    assert!(merged.list("/d/sub").is_empty());
    merged.write("/d/a", "again");
    merged.namespace.root().dentry().forget_children();
    assert_eq!(merged.read("/d/a"), "again");
    assert!(merged.list("/d/sub").is_empty());
    assert_eq!(layers.lower.list("/d"), ["a", "b", "sub"]);
    assert_eq!(layers.lower.list("/d/sub"), ["x"]);
    walk.unlink(b"/d/a").unwrap();
    walk.unlink(b"/d/b").unwrap();
    walk.rmdir(b"/d/sub").unwrap();
    walk.rmdir(b"/d").unwrap();
    assert!(merged.list("/").is_empty());
}

#[test]
fn directories_are_moved_with_what_is_below() {
    let layers = overlay(|lower| {
        lower.mkdir("/a");
        lower.mkdir("/a/b");
        lower.write("/a/b/f", "f");
        lower.mkdir("/other");
        lower.write("/other/g", "g");
    });
    let merged = &layers.merged;
    let walk = merged.walk();
    walk.rename(b"/a", &walk, b"/moved", 0).unwrap();
    merged.namespace.root().dentry().forget_children();
    assert_eq!(merged.list("/"), ["moved", "other"]);
    assert_eq!(merged.read("/moved/b/f"), "f");
    walk.rename(b"/moved/b", &walk, b"/other/b", 0).unwrap();
    merged.namespace.root().dentry().forget_children();
    assert_eq!(merged.read("/other/b/f"), "f");
    assert!(merged.list("/moved").is_empty());
    // A new directory at an old place is empty.
    merged.mkdir("/a");
    assert!(merged.list("/a").is_empty());
    walk.rename(b"/moved", &walk, b"/other", RENAME_EXCHANGE).unwrap();
    merged.namespace.root().dentry().forget_children();
    assert_eq!(merged.list("/moved"), ["b", "g"]);
    assert!(merged.list("/other").is_empty());
    assert_eq!(walk.rename(b"/moved", &walk, b"/moved/b/x", 0), Err(Errno::EINVAL));
}

#[test]
fn moves_over_removed_and_existing_names() {
    let layers = overlay(|lower| {
        lower.write("/a", "a");
        lower.write("/b", "b");
        lower.mkdir("/empty");
        lower.mkdir("/full");
        lower.write("/full/x", "x");
    });
    let merged = &layers.merged;
    let walk = merged.walk();
    walk.rename(b"/a", &walk, b"/b", 0).unwrap();
    assert_eq!(merged.read("/b"), "a");
    walk.rename(b"/b", &walk, b"/a", 0).unwrap();
    assert_eq!(merged.list("/"), ["a", "empty", "full"]);
    merged.mkdir("/b");
    assert_eq!(walk.rename(b"/empty", &walk, b"/full", 0), Err(Errno::ENOTEMPTY));
    walk.rename(b"/full", &walk, b"/empty", 0).unwrap();
    assert_eq!(merged.read("/empty/x"), "x");
    assert_eq!(merged.list("/"), ["a", "b", "empty"]);
}

#[test]
fn all_names_of_a_file_stay_one_file() {
    let layers = overlay(|lower| {
        lower.write("/a", "old");
        lower.walk().link(&lower.path("/a"), b"/b").unwrap();
        lower.walk().link(&lower.path("/a"), b"/c").unwrap();
    });
    let merged = &layers.merged;
    let walk = merged.walk();
    assert_eq!(merged.path("/a").inode().attr().unwrap().nlink, 3);
    merged.write("/a", "new");
    merged.namespace.root().dentry().forget_children();
    assert_eq!(merged.read("/b"), "new");
    assert_eq!(
        merged.path("/b").inode().attr().unwrap().ino,
        merged.path("/a").inode().attr().unwrap().ino
    );
    walk.unlink(b"/a").unwrap();
    merged.namespace.root().dentry().forget_children();
    assert_eq!(
        (merged.read("/b").as_str(), merged.path("/c").inode().attr().unwrap().nlink),
        ("new", 2)
    );
    walk.rename(b"/b", &walk, b"/moved", 0).unwrap();
    walk.link(&merged.path("/c"), b"/d").unwrap();
    assert_eq!(merged.path("/moved").inode().attr().unwrap().nlink, 3);
    merged.write("/d", "newer");
    assert_eq!(merged.read("/moved"), "newer");
    assert_eq!(merged.list("/"), ["c", "d", "moved"]);
}

#[test]
fn open_files_outlive_their_names() {
    let layers = overlay(|lower| lower.write("/f", "text"));
    let merged = &layers.merged;
    let reader = merged.open("/f", RDONLY).unwrap();
    let writer = merged.open("/f", OpenFlags::O_RDWR).unwrap();
    merged.walk().unlink(b"/f").unwrap();
    assert_eq!(reader.attr().unwrap().nlink, 0);
    writer.write(&mut SliceSource::new(b"TEXT"), None, &merged.env).unwrap();
    let mut sink = VecSink::new(10);
    reader.read(&mut sink, None, &merged.env).unwrap();
    assert_eq!(sink.bytes, b"TEXT");
    // Changed only after its name has gone.
    let layers = overlay(|lower| lower.write("/f", "text"));
    let merged = &layers.merged;
    let reader = merged.open("/f", RDONLY).unwrap();
    merged.walk().unlink(b"/f").unwrap();
    merged.walk().chmod(reader.path().unwrap(), 0o600).unwrap();
    assert_eq!(reader.attr().unwrap().mode & 0o777, 0o600);
    assert!(!merged.exists("/f") && merged.list("/").is_empty());
}

#[test]
fn attributes_and_special_files() {
    let layers = overlay(|lower| {
        lower.write("/f", "x");
        let walk = lower.walk();
        walk.set_xattr(&lower.path("/f"), b"user.k", b"v", 0).unwrap();
        walk.symlink(b"f", b"/link").unwrap();
        walk.mknod(b"/fifo", S_IFIFO | 0o644, 0).unwrap();
    });
    let merged = &layers.merged;
    let walk = merged.walk();
    let path = merged.path("/f");
    assert_eq!(walk.get_xattr(&path, b"user.k").unwrap(), b"v");
    let mtime = path.inode().attr().unwrap().mtime;
    walk.chown(&path, Some(5), Some(6)).unwrap();
    let attr = path.inode().attr().unwrap();
    assert_eq!((attr.uid, attr.gid, attr.mtime), (5, 6, mtime));
    assert_eq!(walk.list_xattr(&path).unwrap(), [b"user.k".to_vec()]);
    assert_eq!(walk.get_xattr(&path, b"trusted.overlay.origin"), Err(Errno::ENODATA));
    walk.utimens(&walk.lookup(b"/link", false).unwrap(), SetTime::Now, SetTime::Now).unwrap();
    assert_eq!(merged.read("/link"), "x");
    let reader = walk.open(b"/fifo", RDONLY, 0).unwrap();
    assert!(reader.wait.is_some());
    walk.chmod(&merged.path("/fifo"), 0o600).unwrap();
    assert!(walk.open(b"/fifo", OpenFlags::O_WRONLY, 0).unwrap().wait.is_none());
    let hidden = merged.open("/", OpenFlags::O_TMPFILE | OpenFlags::O_RDWR).unwrap();
    walk.link(hidden.path().unwrap(), b"/named").unwrap();
    assert!(merged.exists("/named"));
    assert_eq!(walk.mknod(b"/null", chitin_abi::fs::S_IFCHR, 0).err(), Some(Errno::EPERM));
    assert!(layers.upper.lookup(b"named").is_ok());
}

#[test]
fn read_only_without_an_upper_layer() {
    let lower = World::new();
    lower.write("/f", "x");
    let options = OverlayOptions::default();
    let (super_block, root) =
        Overlay::new(None, vec![lower.namespace.root().inode()], options).unwrap();
    let root =
        NewMount { super_block, root, flags: MountFlags::default(), source: b"overlay".to_vec() };
    let merged = World::with_root(root);
    assert_eq!(merged.open("/f", OpenFlags::O_RDWR).err(), Some(Errno::EROFS));
    assert_eq!(merged.walk().unlink(b"/f"), Err(Errno::EROFS));
    assert_eq!(merged.read("/f"), "x");
}

#[test]
fn guests_mount_overlays() {
    let world = World::new();
    for dir in ["/l1", "/l2", "/u", "/w", "/m", "/m2"] {
        world.mkdir(dir);
    }
    world.write("/l1/a", "1");
    world.write("/l2/a", "2");
    world.write("/l2/b", "2");
    assert!(!world.exists("/u/a"));
    let walk = world.walk();
    let fs_type = world.env.shared.fs_types.find(b"overlay").unwrap();
    let mount = |options: &[u8], at: &str| {
        let (super_block, root) = fs_type.mount(b"overlay", options, &walk)?;
        let new = NewMount {
            super_block,
            root,
            flags: MountFlags::default(),
            source: b"overlay".to_vec(),
        };
        world.namespace.mount(&world.path(at), new).map(|_| ())
    };
    assert_eq!(mount(b"upperdir=/u,workdir=/w", "/m"), Err(Errno::EINVAL));
    assert_eq!(mount(b"lowerdir=/none,upperdir=/u,workdir=/w", "/m"), Err(Errno::ENOENT));
    mount(b"lowerdir=/l1:/l2,upperdir=/u,workdir=/w", "/m").unwrap();
    assert_eq!((world.read("/m/a"), world.read("/m/b")), ("1".into(), "2".into()));
    world.write("/m/a", "changed");
    assert_eq!(world.read("/u/a"), "changed");
    world.walk().unlink(b"/m/b").unwrap();
    assert!(world.exists("/u/b"));
    assert_eq!(world.list("/m"), ["a"]);
    // What one overlay wrote is a lower layer of the next.
    mount(b"lowerdir=/u:/l2", "/m2").unwrap();
    assert_eq!(world.list("/m2"), ["a"]);
}

/// What an overlay says of itself: additions, changes, removals, moved and replaced directories.
#[test]
fn changes_are_listed() {
    let layers = overlay(|lower| {
        for dir in ["/d", "/d/e", "/moved", "/gone"] {
            lower.mkdir(dir);
        }
        for file in ["/d/f", "/d/e/g", "/moved/h", "/gone/i", "/same"] {
            lower.write(file, "old");
        }
    });
    let merged = &layers.merged;
    merged.write("/d/f", "new");
    merged.write("/d/e/new", "x");
    let walk = merged.walk();
    walk.rename(b"/moved", &walk, b"/d/there", 0).unwrap();
    walk.unlink(b"/gone/i").unwrap();
    walk.rmdir(b"/gone").unwrap();
    merged.mkdir("/gone");
    merged.write("/gone/j", "y");
    let mut found = Vec::new();
    let root = merged.namespace.root().inode();
    super::changes(&root, &mut |change| {
        let kind = match change.kind {
            super::ChangeKind::Added => 'A',
            super::ChangeKind::Changed => 'C',
            super::ChangeKind::Removed => 'D',
        };
        assert_eq!(change.inode.is_none(), kind == 'D');
        let opaque = if change.opaque { "!" } else { "" };
        found.push(format!("{kind} {}{opaque}", String::from_utf8_lossy(change.path)));
        Ok(())
    })
    .unwrap();
    found.sort();
    let expected = [
        "A d/e/new",
        "A d/there",
        "A d/there/h",
        "A gone/j",
        "C d",
        "C d/e",
        "C d/f",
        "C gone!",
        "D moved",
    ];
    assert_eq!(found, expected);
    let (_, plain) = Tmpfs::new(TmpfsOptions::default()).unwrap();
    assert_eq!(super::changes(&plain, &mut |_| Ok(())), Err(Errno::EINVAL));
}

/// Operations go through all layers on one stack, so layers of layers of layers are refused, as on Linux.
#[test]
fn overlays_are_stacked_twice_and_no_further() {
    let (_, mut lower) = Tmpfs::new(TmpfsOptions::default()).unwrap();
    for depth in 1..=3 {
        let (_, other) = Tmpfs::new(TmpfsOptions::default()).unwrap();
        // Whichever of the layers it is that is deep.
        let made = Overlay::new(None, vec![other, Arc::clone(&lower)], OverlayOptions::default());
        if depth > 2 {
            assert_eq!(made.err(), Some(Errno::EINVAL));
            let (_, first) = Tmpfs::new(TmpfsOptions::default()).unwrap();
            let upper = Some(Arc::clone(&lower));
            let made = Overlay::new(upper, vec![first], OverlayOptions::default());
            assert_eq!(made.err(), Some(Errno::EINVAL));
            return;
        }
        (_, lower) = made.unwrap();
    }
}
