//! Tests of path operations on a tmpfs.

use chitin_abi::Errno;
use chitin_abi::fs::{
    OpenFlags, R_OK, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, S_IFCHR, S_IFIFO, S_IFMT,
    S_IFSOCK, S_ISGID, W_OK, X_OK, XATTR_CREATE, XATTR_REPLACE,
};
use chitin_abi::time::Timespec;

use super::{OpenWait, ResolveFlags, SetTime};
use crate::io::SliceSource;
use crate::testing::{World, user};

const RDONLY: OpenFlags = OpenFlags::empty();
const CREATE: OpenFlags = OpenFlags::O_CREAT.union(OpenFlags::O_RDWR);

#[test]
fn paths_are_resolved_as_linux_does() {
    let world = World::new();
    world.mkdir("/a");
    world.mkdir("/a/b");
    world.write("/a/b/file", "text");
    let walk = world.walk();
    for path in ["/a/b/file", "a/b/file", "a//b/./file", "/../a/b/../b/file", "/a/b/../../a/b/file"]
    {
        assert!(walk.lookup(path.as_bytes(), true).is_ok(), "{path}");
    }
    let error = |path: &str| walk.lookup(path.as_bytes(), true).unwrap_err();
    assert_eq!(error(""), Errno::ENOENT);
    assert_eq!(error("/a/x"), Errno::ENOENT);
    assert_eq!(error("/a/x/y"), Errno::ENOENT);
    assert_eq!(error("/a/b/file/"), Errno::ENOTDIR);
    assert_eq!(error("/a/b/file/x"), Errno::ENOTDIR);
    assert_eq!(error("/a/b/file/.."), Errno::ENOTDIR);
    assert_eq!(error(&"x".repeat(256)), Errno::ENAMETOOLONG);
    assert_eq!(error(&"x".repeat(255)), Errno::ENOENT);
    assert_eq!(world.path("/a/b/file").text(&world.namespace.root()).bytes, b"/a/b/file");
    let below = world.walk_from(world.path("/a/b"));
    assert!(below.lookup(b"../b/file", true).is_ok());
}

#[test]
fn symbolic_links_are_followed_to_a_limit() {
    let world = World::new();
    world.mkdir("/d");
    world.write("/d/f", "x");
    let walk = world.walk();
    walk.symlink(b"d", b"/ld").unwrap();
    walk.symlink(b"/d/f", b"/lf").unwrap();
    walk.symlink(b"loop", b"/loop").unwrap();
    walk.symlink(b"nowhere", b"/dangling").unwrap();
    assert!(walk.lookup(b"/ld", false).unwrap().dentry().is_symlink());
    assert!(walk.lookup(b"/ld/", false).unwrap().dentry().is_dir());
    assert!(walk.lookup(b"/ld/f", false).is_ok());
    assert_eq!(walk.lookup(b"/lf/", true).unwrap_err(), Errno::ENOTDIR);
    assert_eq!(walk.lookup(b"/loop", true).unwrap_err(), Errno::ELOOP);
    assert_eq!(walk.lookup(b"/loop/x", true).unwrap_err(), Errno::ELOOP);
    assert_eq!(walk.lookup(b"/dangling", true).unwrap_err(), Errno::ENOENT);
    assert_eq!(walk.readlink(&walk.lookup(b"/lf", false).unwrap()).unwrap(), b"/d/f");
    assert_eq!(walk.readlink(&walk.lookup(b"/d", false).unwrap()).unwrap_err(), Errno::EINVAL);
    // 40 links are followed, 41 are not.
    walk.symlink(b"d/f", b"/l0").unwrap();
    for number in 1..=41 {
        let target = format!("l{}", number - 1);
        walk.symlink(target.as_bytes(), format!("/l{number}").as_bytes()).unwrap();
    }
    assert!(walk.lookup(b"/l39", true).is_ok());
    assert_eq!(walk.lookup(b"/l40", true).unwrap_err(), Errno::ELOOP);
}

#[test]
fn creating_through_links_and_slashes() {
    let world = World::new();
    world.mkdir("/d");
    let walk = world.walk();
    walk.symlink(b"d/new", b"/l").unwrap();
    assert_eq!(world.open("/l", CREATE | OpenFlags::O_EXCL).err(), Some(Errno::EEXIST));
    assert_eq!(world.open("/l", CREATE | OpenFlags::O_NOFOLLOW).err(), Some(Errno::ELOOP));
    world.open("/l", CREATE).unwrap();
    assert!(world.exists("/d/new"));
    assert_eq!(world.open("/d/x/", CREATE).err(), Some(Errno::EISDIR));
    assert_eq!(world.open("/d", CREATE).err(), Some(Errno::EISDIR));
    assert_eq!(world.open("/d/.", CREATE).err(), Some(Errno::EISDIR));
    assert_eq!(world.open("/d", OpenFlags::O_WRONLY).err(), Some(Errno::EISDIR));
    assert_eq!(world.open("/d/new", RDONLY | OpenFlags::O_DIRECTORY).err(), Some(Errno::ENOTDIR));
    assert_eq!(world.open("/d/y", CREATE | OpenFlags::O_DIRECTORY).err(), Some(Errno::EINVAL));
    assert_eq!(world.open("/l", RDONLY | OpenFlags::O_NOFOLLOW).err(), Some(Errno::ELOOP));
    assert!(
        world
            .open("/l", OpenFlags::O_PATH | OpenFlags::O_NOFOLLOW)
            .unwrap()
            .path()
            .unwrap()
            .dentry()
            .is_symlink()
    );
    assert_eq!(walk.mkdir(b"/d", 0o777).unwrap_err(), Errno::EEXIST);
    assert_eq!(walk.mkdir(b"/", 0o777).unwrap_err(), Errno::EEXIST);
    assert_eq!(walk.mkdir(b"/d/.", 0o777).unwrap_err(), Errno::EEXIST);
    assert!(walk.mkdir(b"/d/slash/", 0o777).is_ok());
    assert_eq!(walk.mknod(b"/d/node/", S_IFIFO, 0).unwrap_err(), Errno::ENOENT);
    assert_eq!(walk.mkdir(b"/no/x", 0o777).unwrap_err(), Errno::ENOENT);
}

#[test]
fn removing_names() {
    let world = World::new();
    world.mkdir("/d");
    world.write("/d/f", "x");
    let walk = world.walk();
    assert_eq!(walk.unlink(b"/d").unwrap_err(), Errno::EISDIR);
    assert_eq!(walk.unlink(b"/d/").unwrap_err(), Errno::EISDIR);
    assert_eq!(walk.unlink(b"/d/f/").unwrap_err(), Errno::ENOTDIR);
    assert_eq!(walk.unlink(b"/d/none").unwrap_err(), Errno::ENOENT);
    assert_eq!(walk.unlink(b"/d/..").unwrap_err(), Errno::EISDIR);
    assert_eq!(walk.rmdir(b"/d/f").unwrap_err(), Errno::ENOTDIR);
    assert_eq!(walk.rmdir(b"/d").unwrap_err(), Errno::ENOTEMPTY);
    assert_eq!(walk.rmdir(b"/d/.").unwrap_err(), Errno::EINVAL);
    assert_eq!(walk.rmdir(b"/d/..").unwrap_err(), Errno::ENOTEMPTY);
    assert_eq!(walk.rmdir(b"/").unwrap_err(), Errno::EBUSY);
    let open = world.open("/d/f", OpenFlags::O_RDWR).unwrap();
    walk.unlink(b"/d/f").unwrap();
    assert_eq!(open.attr().unwrap().nlink, 0);
    assert_eq!(open.write(&mut SliceSource::new(b"more"), None, &world.env), Ok(4));
    assert!(!world.exists("/d/f"));
    let text = open.path().unwrap().text(&world.namespace.root());
    assert_eq!(text.into_bytes(), b"/d/f (deleted)");
    let dir = world.path("/d");
    walk.rmdir(b"/d").unwrap();
    let inside = world.walk_from(dir);
    assert_eq!(inside.mkdir(b"x", 0o777).unwrap_err(), Errno::ENOENT);
    assert_eq!(inside.open(b"x", CREATE, 0o644).err(), Some(Errno::ENOENT));
    assert!(inside.lookup(b".", true).is_ok());
    assert!(inside.lookup(b"..", true).is_ok());
}

#[test]
fn renaming() {
    let world = World::new();
    world.mkdir("/a");
    world.mkdir("/b");
    world.mkdir("/a/sub");
    world.write("/a/f", "f");
    world.write("/b/g", "g");
    let walk = world.walk();
    let rename =
        |old: &str, new: &str, flags| walk.rename(old.as_bytes(), &walk, new.as_bytes(), flags);
    assert_eq!(rename("/a", "/a/sub/x", 0), Err(Errno::EINVAL));
    assert_eq!(rename("/a/sub", "/a", 0), Err(Errno::ENOTEMPTY));
    assert_eq!(rename("/a/f", "/b", 0), Err(Errno::EISDIR));
    assert_eq!(rename("/a", "/b/g", 0), Err(Errno::ENOTDIR));
    assert_eq!(rename("/a/sub", "/b", 0), Err(Errno::ENOTEMPTY));
    assert_eq!(rename("/a/f/", "/b/h", 0), Err(Errno::ENOTDIR));
    assert_eq!(rename("/a/f", "/b/h/", 0), Err(Errno::ENOTDIR));
    assert_eq!(rename("/a/none", "/b/h", 0), Err(Errno::ENOENT));
    assert_eq!(rename("/a/.", "/b/h", 0), Err(Errno::EBUSY));
    assert_eq!(rename("/a/f", "/b/g", RENAME_NOREPLACE), Err(Errno::EEXIST));
    assert_eq!(rename("/a/f", "/b/h", RENAME_EXCHANGE), Err(Errno::ENOENT));
    assert_eq!(rename("/a/f", "/b/h", RENAME_EXCHANGE | RENAME_NOREPLACE), Err(Errno::EINVAL));
    rename("/a/f", "/b/g", RENAME_EXCHANGE).unwrap();
    assert_eq!((world.read("/a/f").as_str(), world.read("/b/g").as_str()), ("g", "f"));
    rename("/a/f", "/b/g", 0).unwrap();
    assert_eq!(world.read("/b/g"), "g");
    assert!(!world.exists("/a/f"));
    // A directory takes its subtree along, also for those who are in it.
    let inside = world.walk_from(world.path("/a/sub"));
    rename("/a/sub", "/b/moved/", 0).unwrap();
    assert_eq!(inside.base.text(&walk.root).bytes, b"/b/moved");
    assert!(inside.lookup(b"../g", true).is_ok());
    assert_eq!(world.path("/a").inode().attr().unwrap().nlink, 2);
    assert_eq!(world.path("/b").inode().attr().unwrap().nlink, 3);
    rename("/b/g", "/b/g2", RENAME_WHITEOUT).unwrap();
    let mark = world.path("/b/g").inode().attr().unwrap();
    assert_eq!((mark.mode & S_IFMT, mark.rdev), (S_IFCHR, 0));
    assert_eq!(world.list("/b"), ["g", "g2", "moved"]);
}

#[test]
fn hard_links() {
    let world = World::new();
    world.write("/f", "x");
    world.mkdir("/d");
    let walk = world.walk();
    walk.link(&world.path("/f"), b"/g").unwrap();
    assert_eq!(world.path("/g").inode().attr().unwrap().nlink, 2);
    assert_eq!(walk.link(&world.path("/f"), b"/g").unwrap_err(), Errno::EEXIST);
    assert_eq!(walk.link(&world.path("/d"), b"/h").unwrap_err(), Errno::EPERM);
    // Renaming one name of a file to another does nothing.
    walk.rename(b"/f", &walk, b"/g", 0).unwrap();
    assert!(world.exists("/f") && world.exists("/g"));
    let open = world.open("/f", RDONLY).unwrap();
    walk.unlink(b"/f").unwrap();
    walk.unlink(b"/g").unwrap();
    assert_eq!(walk.link(open.path().unwrap(), b"/h").unwrap_err(), Errno::ENOENT);
}

#[test]
fn unnamed_files() {
    let world = World::new();
    world.mkdir("/d");
    let flags = OpenFlags::O_TMPFILE | OpenFlags::O_RDWR;
    assert_eq!(world.open("/d", OpenFlags::O_TMPFILE).err(), Some(Errno::EINVAL));
    assert_eq!(world.open("/d", flags | OpenFlags::O_CREAT).err(), Some(Errno::EINVAL));
    let file = world.open("/d", flags).unwrap();
    file.write(&mut SliceSource::new(b"hidden"), None, &world.env).unwrap();
    assert!(world.list("/d").is_empty());
    world.walk().link(file.path().unwrap(), b"/d/shown").unwrap();
    assert_eq!(world.read("/d/shown"), "hidden");
    let exclusive = world.open("/d", flags | OpenFlags::O_EXCL).unwrap();
    assert_eq!(world.walk().link(exclusive.path().unwrap(), b"/d/x").unwrap_err(), Errno::ENOENT);
}

#[test]
fn permissions() {
    let mut world = World::new();
    world.mkdir("/private");
    world.write("/private/f", "x");
    world.write("/readable", "x");
    let root = world.walk();
    root.chmod(&world.path("/private"), 0o700).unwrap();
    world.mkdir("/tmp");
    root.chmod(&world.path("/tmp"), 0o1777).unwrap();
    world.write("/tmp/root", "x");
    root.chmod(&world.path("/tmp/root"), 0o666).unwrap();
    world.cred = user(1000);
    let walk = world.walk();
    assert_eq!(walk.lookup(b"/private/f", true).unwrap_err(), Errno::EACCES);
    assert!(walk.lookup(b"/private", true).is_ok());
    assert_eq!(world.open("/readable", OpenFlags::O_RDWR).err(), Some(Errno::EACCES));
    assert_eq!(world.open("/readable", RDONLY | OpenFlags::O_TRUNC).err(), Some(Errno::EACCES));
    assert_eq!(world.open("/readable", RDONLY | OpenFlags::O_NOATIME).err(), Some(Errno::EPERM));
    assert_eq!(world.open("/new", CREATE).err(), Some(Errno::EACCES));
    let readable = world.path("/readable");
    assert_eq!(walk.access(&readable, R_OK), Ok(()));
    assert_eq!(walk.access(&readable, W_OK), Err(Errno::EACCES));
    assert_eq!(walk.access(&readable, X_OK), Err(Errno::EACCES));
    assert_eq!(walk.chmod(&readable, 0o777), Err(Errno::EPERM));
    assert_eq!(walk.chown(&readable, Some(1000), None), Err(Errno::EPERM));
    assert_eq!(walk.unlink(b"/tmp/root"), Err(Errno::EPERM));
    assert_eq!(walk.rename(b"/tmp/root", &walk, b"/tmp/x", 0), Err(Errno::EPERM));
    assert_eq!(walk.unlink(b"/readable"), Err(Errno::EACCES));
    assert_eq!(walk.mknod(b"/tmp/null", S_IFCHR, 0x103).unwrap_err(), Errno::EPERM);
    world.write("/tmp/mine", "x");
    let mine = world.path("/tmp/mine");
    assert_eq!(mine.inode().attr().unwrap().uid, 1000);
    walk.chmod(&mine, 0o6755).unwrap();
    assert_eq!(mine.inode().attr().unwrap().mode & 0o7777, 0o6755);
    // A write by the owner takes the set-id bits away.
    world
        .open("/tmp/mine", OpenFlags::O_WRONLY)
        .unwrap()
        .write(&mut SliceSource::new(b"y"), None, &world.env)
        .unwrap();
    assert_eq!(mine.inode().attr().unwrap().mode & 0o7777, 0o755);
    let touch = |path: &str, atime, mtime| walk.utimens(&world.path(path), atime, mtime);
    assert_eq!(touch("/tmp/root", SetTime::Now, SetTime::Now), Ok(()));
    assert_eq!(touch("/tmp/root", SetTime::Now, SetTime::Omit), Err(Errno::EPERM));
    assert_eq!(touch("/readable", SetTime::Now, SetTime::Now), Err(Errno::EACCES));
    let then = Timespec { tv_sec: 7, tv_nsec: 9 };
    touch("/tmp/mine", SetTime::Omit, SetTime::To(then)).unwrap();
    assert_eq!(mine.inode().attr().unwrap().mtime, then);
    walk.unlink(b"/tmp/mine").unwrap();
}

#[test]
fn set_group_id_directories() {
    let mut world = World::new();
    let dir = world.mkdir("/g");
    let walk = world.walk();
    walk.chown(&dir, None, Some(50)).unwrap();
    walk.chmod(&dir, 0o2777).unwrap();
    world.cred = user(1000);
    let sub = world.mkdir("/g/sub").inode().attr().unwrap();
    assert_eq!((sub.gid, sub.mode & S_ISGID), (50, S_ISGID));
    let file = world.walk().open(b"/g/f", CREATE, 0o2775).unwrap().file.attr().unwrap();
    assert_eq!((file.gid, file.mode & S_ISGID), (50, 0));
}

#[test]
fn special_files() {
    let world = World::new();
    let walk = world.walk();
    walk.mknod(b"/fifo", S_IFIFO | 0o644, 0).unwrap();
    walk.mknod(b"/sock", S_IFSOCK | 0o644, 0).unwrap();
    walk.mknod(b"/dev", S_IFCHR | 0o644, 0x9999).unwrap();
    assert_eq!(world.open("/sock", RDONLY).err(), Some(Errno::ENXIO));
    assert_eq!(world.open("/dev", RDONLY).err(), Some(Errno::ENXIO));
    let waiting = walk.open(b"/fifo", RDONLY, 0).unwrap();
    let Some(OpenWait::Fifo(wait)) = waiting.wait else { panic!("it waits") };
    assert!(!wait.is_over());
    let writer = walk.open(b"/fifo", OpenFlags::O_WRONLY, 0).unwrap();
    assert!(writer.wait.is_none() && wait.is_over());
}

#[test]
fn running_programs_are_not_written() {
    let world = World::new();
    world.write("/program", "x");
    let path = world.path("/program");
    let walk = world.walk();
    assert_eq!(walk.open_exec(&path).err(), Some(Errno::EACCES));
    walk.chmod(&path, 0o755).unwrap();
    let writer = world.open("/program", OpenFlags::O_RDWR).unwrap();
    assert_eq!(walk.open_exec(&path).err(), Some(Errno::ETXTBSY));
    drop(writer);
    let running = walk.open_exec(&path).unwrap();
    assert_eq!(world.open("/program", OpenFlags::O_RDWR).err(), Some(Errno::ETXTBSY));
    assert_eq!(walk.truncate(&path, 0), Err(Errno::ETXTBSY));
    drop(running);
    assert!(world.open("/program", OpenFlags::O_RDWR).is_ok());
}

#[test]
fn resolve_flags() {
    let mut world = World::new();
    world.mkdir("/jail");
    world.mkdir("/jail/d");
    world.write("/outside", "x");
    let walk = world.walk();
    walk.symlink(b"/outside", b"/jail/abs").unwrap();
    walk.symlink(b"../outside", b"/jail/rel").unwrap();
    walk.symlink(b"d", b"/jail/in").unwrap();
    let jail = world.path("/jail");
    let mut result = |flags, path: &str| {
        world.resolve = flags;
        world.walk_from(jail.clone()).lookup(path.as_bytes(), true).map(|_| ())
    };
    assert_eq!(result(ResolveFlags::BENEATH, ".."), Err(Errno::EXDEV));
    assert_eq!(result(ResolveFlags::BENEATH, "/jail"), Err(Errno::EXDEV));
    assert_eq!(result(ResolveFlags::BENEATH, "abs"), Err(Errno::EXDEV));
    assert_eq!(result(ResolveFlags::BENEATH, "rel"), Err(Errno::EXDEV));
    assert_eq!(result(ResolveFlags::BENEATH, "d/../in"), Ok(()));
    assert_eq!(result(ResolveFlags::IN_ROOT, "../../d"), Ok(()));
    assert_eq!(result(ResolveFlags::IN_ROOT, "/d"), Ok(()));
    assert_eq!(result(ResolveFlags::IN_ROOT, "abs"), Err(Errno::ENOENT));
    assert_eq!(result(ResolveFlags::NO_SYMLINKS, "in"), Err(Errno::ELOOP));
    assert_eq!(result(ResolveFlags::NO_SYMLINKS, "d"), Ok(()));
    assert_eq!(result(ResolveFlags::CACHED, "d"), Ok(()));
}

#[test]
fn extended_attributes() {
    let mut world = World::new();
    world.write("/f", "x");
    let path = world.path("/f");
    let walk = world.walk();
    assert_eq!(walk.get_xattr(&path, b"user.a"), Err(Errno::ENODATA));
    assert_eq!(walk.set_xattr(&path, b"user.a", b"1", XATTR_REPLACE), Err(Errno::ENODATA));
    walk.set_xattr(&path, b"user.a", b"1", XATTR_CREATE).unwrap();
    assert_eq!(walk.set_xattr(&path, b"user.a", b"1", XATTR_CREATE), Err(Errno::EEXIST));
    walk.set_xattr(&path, b"trusted.t", b"", 0).unwrap();
    assert_eq!(walk.set_xattr(&path, b"user.", b"1", 0), Err(Errno::EINVAL));
    assert_eq!(walk.set_xattr(&path, b"other.x", b"1", 0), Err(Errno::EOPNOTSUPP));
    assert_eq!(walk.set_xattr(&path, b"user.big", &[0; 65537], 0), Err(Errno::E2BIG));
    assert_eq!(walk.list_xattr(&path).unwrap().len(), 2);
    world.cred = user(7);
    let walk = world.walk();
    assert_eq!(walk.list_xattr(&path).unwrap(), [b"user.a".to_vec()]);
    assert_eq!(walk.get_xattr(&path, b"trusted.t"), Err(Errno::ENODATA));
    assert_eq!(walk.set_xattr(&path, b"user.a", b"2", 0), Err(Errno::EACCES));
    assert_eq!(walk.set_xattr(&path, b"trusted.t", b"2", 0), Err(Errno::EPERM));
    assert_eq!(walk.get_xattr(&path, b"user.a").unwrap(), b"1");
}

#[test]
fn deep_trees_are_dropped_without_recursion() {
    let world = World::new();
    let mut at = world.namespace.root();
    for _ in 0..20_000 {
        at = world.walk_from(at).mkdir(b"d", 0o755).unwrap();
    }
    drop(at);
    drop(world);
}

#[test]
fn many_names_do_not_grow_the_cache_without_bound() {
    let world = World::new();
    for number in 0..70_000 {
        assert!(!world.exists(&format!("/absent{number}")));
    }
    assert!(world.namespace.root().dentry().cached_names() <= 20_000);
}
