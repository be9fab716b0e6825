//! Tests of mounts.

use chitin_abi::Errno;
use chitin_abi::fs::{MNT_DETACH, MNT_EXPIRE, OpenFlags};

use super::{DetachedFile, Propagation, mount_line, mountinfo_line};
use crate::mount::MountFlags;
use crate::testing::{World, tmpfs};

fn lines(world: &World) -> Vec<String> {
    let root = world.namespace.root();
    let mounts = world.namespace.mounts(&root);
    mounts.iter().map(|info| String::from_utf8(mountinfo_line(info, &root)).unwrap()).collect()
}

/// The mount points that show, sorted.
fn points(world: &World) -> Vec<String> {
    let mut points: Vec<String> =
        lines(world).iter().map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect();
    points.sort();
    points
}

#[test]
fn mounting_covers_and_unmounting_uncovers() {
    let world = World::new();
    world.mkdir("/m");
    world.write("/m/below", "x");
    world.write("/file", "x");
    let ns = &world.namespace;
    assert_eq!(ns.mount(&world.path("/file"), tmpfs()).err(), Some(Errno::ENOTDIR));
    ns.mount(&world.path("/m"), tmpfs()).unwrap();
    assert!(!world.exists("/m/below"));
    world.write("/m/above", "x");
    assert_eq!(points(&world), ["/", "/m"]);
    let inside = world.walk_from(world.path("/m"));
    assert!(inside.lookup(b"../file", true).is_ok());
    assert_eq!(inside.rmdir(b"/m"), Err(Errno::EBUSY));
    drop(inside);
    assert_eq!(world.walk().rename(b"/m", &world.walk(), b"/n", 0), Err(Errno::EBUSY));
    assert_eq!(world.walk().link(&world.path("/m/above"), b"/above"), Err(Errno::EXDEV));
    assert_eq!(ns.unmount(&world.path("/"), 0), Err(Errno::EBUSY));
    let open = world.open("/m/above", OpenFlags::empty()).unwrap();
    assert_eq!(ns.unmount(&world.path("/m"), 0), Err(Errno::EBUSY));
    drop(open);
    assert_eq!(ns.unmount(&world.path("/m/above"), 0), Err(Errno::EINVAL));
    ns.unmount(&world.path("/m"), 0).unwrap();
    assert!(world.exists("/m/below"));
    assert_eq!(ns.unmount(&world.path("/m"), 0), Err(Errno::EINVAL));
}

#[test]
fn detaching_leaves_open_files_alone() {
    let world = World::new();
    world.mkdir("/m");
    let ns = &world.namespace;
    ns.mount(&world.path("/m"), tmpfs()).unwrap();
    world.mkdir("/m/sub");
    ns.mount(&world.path("/m/sub"), tmpfs()).unwrap();
    world.write("/m/sub/f", "text");
    let inside = world.path("/m/sub");
    assert_eq!(ns.unmount(&world.path("/m"), 0), Err(Errno::EBUSY));
    ns.unmount(&world.path("/m"), MNT_DETACH).unwrap();
    assert_eq!(points(&world), ["/"]);
    assert!(world.walk_from(inside).lookup(b"f", true).is_ok());
}

#[test]
fn expiring_takes_two_calls() {
    let world = World::new();
    world.mkdir("/m");
    world.namespace.mount(&world.path("/m"), tmpfs()).unwrap();
    assert_eq!(world.namespace.unmount(&world.path("/m"), MNT_EXPIRE), Err(Errno::EAGAIN));
    assert_eq!(world.namespace.unmount(&world.path("/m"), MNT_EXPIRE), Ok(()));
}

#[test]
fn binds_show_the_same_files() {
    let world = World::new();
    for dir in ["/a", "/a/sub", "/b", "/c"] {
        world.mkdir(dir);
    }
    world.write("/a/f", "x");
    let ns = &world.namespace;
    ns.mount(&world.path("/a/sub"), tmpfs()).unwrap();
    world.write("/a/sub/g", "x");
    ns.bind(&world.path("/a"), &world.path("/b"), false).unwrap();
    assert!(world.exists("/b/f") && !world.exists("/b/sub/g"));
    ns.bind(&world.path("/a"), &world.path("/c"), true).unwrap();
    assert!(world.exists("/c/f") && world.exists("/c/sub/g"));
    assert_eq!(points(&world), ["/", "/a/sub", "/b", "/c", "/c/sub"]);
    assert!(lines(&world).iter().any(|line| line.contains(" /a /b ")));
    // A file can be bound on a file.
    world.write("/over", "over");
    ns.bind(&world.path("/over"), &world.path("/a/f"), false).unwrap();
    assert_eq!(world.read("/a/f"), "over");
    assert_eq!(world.read("/b/f"), "x");
}

#[test]
fn read_only_mounts() {
    let world = World::new();
    world.mkdir("/m");
    world.mkdir("/m/d");
    world.write("/m/f", "x");
    let ns = &world.namespace;
    ns.bind(&world.path("/m"), &world.path("/m"), false).unwrap();
    let writer = world.open("/m/f", OpenFlags::O_RDWR).unwrap();
    let read_only = |world: &World| {
        world.namespace.set_flags(
            &world.path("/m"),
            MountFlags::empty(),
            MountFlags::READ_ONLY,
            false,
        )
    };
    assert_eq!(read_only(&world), Err(Errno::EBUSY));
    drop(writer);
    read_only(&world).unwrap();
    let walk = world.walk();
    let create = OpenFlags::O_CREAT | OpenFlags::O_RDWR;
    assert_eq!(world.open("/m/f", OpenFlags::O_RDWR).err(), Some(Errno::EROFS));
    assert_eq!(world.open("/m/new", create).err(), Some(Errno::EROFS));
    assert_eq!(walk.mkdir(b"/m/new", 0o755).err(), Some(Errno::EROFS));
    assert_eq!(walk.mkdir(b"/m/d", 0o755).err(), Some(Errno::EEXIST));
    assert_eq!(walk.unlink(b"/m/f"), Err(Errno::EROFS));
    assert_eq!(walk.chmod(&world.path("/m/f"), 0o600), Err(Errno::EROFS));
    assert_eq!(walk.access(&world.path("/m/f"), 2), Err(Errno::EROFS));
    let line = lines(&world).into_iter().find(|line| line.contains(" /m /m ")).unwrap();
    assert!(line.contains(" ro,relatime - tmpfs tmpfs rw,size="), "{line}");
}

#[test]
fn moving_mounts() {
    let world = World::new();
    for dir in ["/a", "/b"] {
        world.mkdir(dir);
    }
    let ns = &world.namespace;
    assert_eq!(ns.move_mount(&world.path("/a"), &world.path("/b")), Err(Errno::EINVAL));
    ns.mount(&world.path("/a"), tmpfs()).unwrap();
    world.mkdir("/a/in");
    assert_eq!(ns.move_mount(&world.path("/a"), &world.path("/a/in")), Err(Errno::ELOOP));
    ns.move_mount(&world.path("/a"), &world.path("/b")).unwrap();
    assert!(world.exists("/b/in") && !world.exists("/a/in"));
    assert_eq!(points(&world), ["/", "/b"]);
}

#[test]
fn shared_mounts_propagate_both_ways_slaves_one_way() {
    let world = World::new();
    for dir in ["/a", "/peer", "/slave"] {
        world.mkdir(dir);
    }
    let ns = &world.namespace;
    ns.bind(&world.path("/a"), &world.path("/a"), false).unwrap();
    ns.set_propagation(&world.path("/a"), Propagation::Shared, false).unwrap();
    world.mkdir("/a/x");
    world.mkdir("/a/y");
    ns.bind(&world.path("/a"), &world.path("/peer"), false).unwrap();
    ns.bind(&world.path("/a"), &world.path("/slave"), false).unwrap();
    ns.set_propagation(&world.path("/slave"), Propagation::Slave, false).unwrap();
    ns.mount(&world.path("/peer/x"), tmpfs()).unwrap();
    assert_eq!(points(&world), ["/", "/a", "/a/x", "/peer", "/peer/x", "/slave", "/slave/x"]);
    ns.mount(&world.path("/slave/y"), tmpfs()).unwrap();
    assert!(!points(&world).contains(&"/a/y".to_owned()));
    let line = lines(&world).into_iter().find(|line| line.contains(" /slave ")).unwrap();
    assert!(line.contains(" master:") && !line.contains(" shared:"), "{line}");
    ns.unmount(&world.path("/a/x"), 0).unwrap();
    assert_eq!(points(&world), ["/", "/a", "/peer", "/slave", "/slave/y"]);
    ns.set_propagation(&world.path("/a"), Propagation::Unbindable, false).unwrap();
    world.mkdir("/z");
    assert_eq!(ns.bind(&world.path("/a"), &world.path("/z"), false).err(), Some(Errno::EINVAL));
}

#[test]
fn copied_namespaces_are_independent_unless_shared() {
    let mut world = World::new();
    world.mkdir("/m");
    let ns = world.namespace.clone();
    let copy = ns.copy(false).unwrap();
    let cwd = copy.translate(&world.path("/m"));
    assert!(copy.namespace.contains(&cwd) && !ns.contains(&cwd));
    ns.mount(&world.path("/m"), tmpfs()).unwrap();
    assert_eq!(copy.namespace.mounts(&copy.namespace.root()).len(), 1);
    ns.set_propagation(&ns.root(), Propagation::Shared, true).unwrap();
    let locked = ns.copy(true).unwrap();
    world.mkdir("/n");
    ns.mount(&world.path("/n"), tmpfs()).unwrap();
    assert_eq!(locked.namespace.mounts(&locked.namespace.root()).len(), 3);
    world.namespace = locked.namespace;
    assert_eq!(world.namespace.unmount(&world.path("/m"), 0), Err(Errno::EINVAL));
    drop(ns);
}

#[test]
fn pivoting() {
    let world = World::new();
    world.mkdir("/new");
    let ns = &world.namespace;
    let old_root = ns.root();
    assert_eq!(
        ns.pivot_root(&world.path("/new"), &world.path("/new"), &old_root),
        Err(Errno::EBUSY)
    );
    ns.mount(&world.path("/new"), tmpfs()).unwrap();
    world.mkdir("/new/old");
    ns.pivot_root(&world.path("/new"), &world.path("/new/old"), &old_root).unwrap();
    assert!(world.exists("/old/new"));
    assert_eq!(points(&world), ["/", "/old"]);
    // The form without a directory for the old root: it comes to lie over the new one.
    world.mkdir("/next");
    ns.mount(&world.path("/next"), tmpfs()).unwrap();
    world.mkdir("/next/mark");
    let next = world.path("/next");
    ns.pivot_root(&next, &next, &ns.root()).unwrap();
    let top = next.clone().cross_mounts();
    assert!(top != next);
    ns.unmount(&top, MNT_DETACH).unwrap();
    assert!(world.exists("/mark"));
}

#[test]
fn loose_mounts_go_with_their_descriptor() {
    let world = World::new();
    world.mkdir("/a");
    world.mkdir("/b");
    let ns = &world.namespace;
    ns.mount(&world.path("/a"), tmpfs()).unwrap();
    let tree = ns.clone_tree(&ns.root(), true).unwrap();
    let file = DetachedFile::new(tree.clone());
    let weak = std::sync::Arc::downgrade(tree.mount());
    assert_eq!(points(&world), ["/", "/a"]);
    ns.set_flags(&tree, MountFlags::empty(), MountFlags::NO_SUID, true).unwrap();
    drop(tree);
    drop(file);
    assert!(weak.upgrade().is_none());
    let fresh = ns.system().detached(&tmpfs());
    let file = DetachedFile::new(fresh.clone());
    ns.move_mount(&fresh, &world.path("/b")).unwrap();
    drop(file);
    assert_eq!(points(&world), ["/", "/a", "/b"]);
    let line = mount_line(&ns.mounts(&ns.root())[2], &ns.root());
    assert!(line.starts_with(b"tmpfs /b tmpfs rw,relatime,size="));
}

#[test]
fn everything_goes_with_the_namespace() {
    let world = World::new();
    world.mkdir("/m");
    let super_block = {
        let root = world.namespace.mount(&world.path("/m"), tmpfs()).unwrap();
        std::sync::Arc::downgrade(root.mount().super_block())
    };
    world.write("/m/f", "x");
    drop(world);
    assert!(super_block.upgrade().is_none());
}

#[test]
fn mounts_are_bounded() {
    let world = World::new();
    world.mkdir("/m");
    world.namespace.system().obey(&world.env.shared.sysctls);
    world.env.shared.sysctls.mount_max.store(4, std::sync::atomic::Ordering::Relaxed);
    let mount = || world.namespace.mount(&world.path("/m"), tmpfs()).map(|_| ());
    assert_eq!((mount(), mount()), (Ok(()), Ok(())));
    assert_eq!(mount(), Err(Errno::ENOSPC));
    assert_eq!(
        world.namespace.bind(&world.path("/"), &world.path("/m"), true).err(),
        Some(Errno::ENOSPC)
    );
    assert_eq!(points(&world).len(), 3);
}

#[test]
fn propagation_does_not_multiply_without_bound() {
    let world = World::new();
    world.mkdir("/m");
    let ns = &world.namespace;
    ns.system().obey(&world.env.shared.sysctls);
    world.env.shared.sysctls.mount_max.store(200, std::sync::atomic::Ordering::Relaxed);
    ns.set_propagation(&ns.root(), Propagation::Shared, true).unwrap();
    // Each recursive bind of the root into itself doubles the mounts.
    let failed = (0..20).find_map(|_| ns.bind(&world.path("/"), &world.path("/m"), true).err());
    assert_eq!(failed, Some(Errno::ENOSPC));
    assert!(points(&world).len() <= 200);
}
