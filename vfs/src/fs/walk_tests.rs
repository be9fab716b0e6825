//! The file systems of this folder as a walk sees them.

use std::sync::Arc;

use chitin_abi::Errno;
use chitin_abi::fs::{OpenFlags, S_IFCHR, makedev};
use chitin_abi::time::Timespec;
use chitin_abi::tty::Winsize;

use super::devpts::DevPts;
use super::host::{HostFs, HostOptions};
use super::pseudo::{Dir, Node, PseudoFs, Style};
use crate::host_poll::{HostPoll, NoHostPoll};
use crate::inode::MagicTarget;
use crate::io::{SliceSource, VecSink};
use crate::mount::{MountFlags, NewMount};
use crate::testing::World;
use crate::tty::{MasterFile, NoProcesses, console, register_devices};

type Instance = (Arc<crate::super_block::SuperBlock>, Arc<dyn crate::inode::Inode>);

fn mount(world: &World, at: &str, (super_block, root): Instance) {
    let new = NewMount { super_block, root, flags: MountFlags::default(), source: b"x".to_vec() };
    world.namespace.mount(&world.path(at), new).unwrap();
}

fn with_devpts() -> World {
    let world = World::new();
    register_devices(&world.env.shared.devices);
    world.mkdir("/dev");
    world.mkdir("/dev/pts");
    mount(
        &world,
        "/dev/pts",
        DevPts::mount(b"mode=620", Arc::new(NoProcesses), Timespec::default()).unwrap(),
    );
    world.walk().mknod(b"/dev/ptmx", S_IFCHR | 0o666, makedev(5, 2)).unwrap();
    world.walk().mknod(b"/dev/tty", S_IFCHR | 0o666, makedev(5, 0)).unwrap();
    world.walk().mknod(b"/stray", S_IFCHR | 0o666, makedev(136, 0)).unwrap();
    world.walk().mknod(b"/ptmx", S_IFCHR | 0o666, makedev(5, 2)).unwrap();
    world
}

#[test]
fn ptmx_makes_pairs_in_the_devpts_beside_it() {
    let world = with_devpts();
    let master = world.open("/dev/ptmx", OpenFlags::O_RDWR).unwrap();
    assert_eq!(world.list("/dev/pts"), ["0", "ptmx"]);
    assert_eq!(world.open("/dev/pts/0", OpenFlags::O_RDWR).err(), Some(Errno::EIO));
    master.file().as_any().downcast_ref::<MasterFile>().unwrap().pty().set_locked(false);
    let slave = world.open("/dev/pts/0", OpenFlags::O_RDWR).unwrap();
    assert_eq!(slave.attr().unwrap().rdev, makedev(136, 0));
    master.write(&mut SliceSource::new(b"hi\n"), None, &world.env).unwrap();
    let mut sink = VecSink::new(10);
    slave.read(&mut sink, None, &world.env).unwrap();
    assert_eq!(sink.bytes, b"hi\n");
    assert_eq!(world.open("/dev/tty", OpenFlags::O_RDWR).err(), Some(Errno::ENXIO));
    assert_eq!(world.open("/stray", OpenFlags::O_RDWR).err(), Some(Errno::EIO));
    assert_eq!(world.open("/ptmx", OpenFlags::O_RDWR).err(), Some(Errno::ENODEV));
    drop(master);
    assert_eq!(world.list("/dev/pts"), ["ptmx"]);
}

#[test]
fn a_console_is_a_terminal_with_somebody_before_it() {
    let world = with_devpts();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let poller: Arc<dyn HostPoll> = Arc::new(NoHostPoll);
    let window = Winsize { ws_row: 30, ws_col: 100, ..Winsize::default() };
    let opened =
        console::open(&world.walk(), b"/dev/pts", (1, 2), ours.into(), window, &poller).unwrap();
    assert_eq!(opened.pty.window_size().ws_col, 100);
    assert_eq!(opened.file.attr().unwrap().uid, 1);
    opened.file.write(&mut SliceSource::new(b"$ "), None, &world.env).unwrap();
    let mut shown = [0; 10];
    assert_eq!(std::io::Read::read(&mut &theirs, &mut shown).unwrap(), 2);
    assert!(opened.relay.is_drained());
    let path = opened.file.path().unwrap().text(&world.namespace.root());
    assert_eq!(path.bytes, b"/dev/pts/0");
}

#[test]
fn links_in_a_host_tree_stay_inside_the_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "host").unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    std::fs::write(dir.path().join("sub/file"), "inside").unwrap();
    let link = |name: &str, target: &std::path::Path| {
        std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
    };
    link("absolute", &outside.path().join("secret"));
    link("dots", std::path::Path::new("../../../../../../../../etc/passwd"));
    link("sub/up", std::path::Path::new("../sub/file"));
    link("root", std::path::Path::new("/host/sub/file"));
    let world = World::new();
    world.mkdir("/host");
    let fd = std::fs::File::open(dir.path()).unwrap().into();
    mount(&world, "/host", HostFs::new(fd, HostOptions::default()).unwrap());
    assert_eq!(world.read("/host/sub/up"), "inside");
    assert_eq!(world.read("/host/root"), "inside");
    assert_eq!(world.read("/host/sub/../sub/./file"), "inside");
    for path in ["/host/absolute", "/host/dots"] {
        assert_eq!(world.open(path, OpenFlags::empty()).err(), Some(Errno::ENOENT), "{path}");
    }
    // What the namespace has there is what a link means.
    world.mkdir("/etc");
    world.write("/etc/passwd", "guest's");
    assert_eq!(world.read("/host/dots"), "guest's");
    world.write("/host/new", "written");
    assert_eq!(std::fs::read(dir.path().join("new")).unwrap(), b"written");
    world.walk().rename(b"/host/sub", &world.walk(), b"/host/moved", 0).unwrap();
    assert_eq!(world.read("/host/moved/file"), "inside");
    world.walk().unlink(b"/host/moved/file").unwrap();
    assert!(!world.exists("/host/moved/file"));
    assert_eq!(world.list("/host"), ["absolute", "dots", "moved", "new", "root"]);
}

#[test]
fn magic_links_lead_to_objects() {
    let world = World::new();
    world.mkdir("/proc");
    world.write("/target", "found");
    let target = world.path("/target");
    let tree = Dir::new()
        .with(
            "exe",
            Node::magic(
                0o777,
                |_| Ok(b"/gone (deleted)".to_vec()),
                move |_| Ok(MagicTarget::Path(target.clone())),
            ),
        )
        .with("plain", Node::symlink(|_| Ok(b"exe".to_vec())))
        .with("hostname", Node::fixed(0o644, "chitin\n"));
    mount(&world, "/proc", PseudoFs::mount(Style::proc(), Node::dir(0o555, tree)));
    assert_eq!(world.read("/proc/exe"), "found");
    assert_eq!(world.read("/proc/plain"), "found");
    assert_eq!(world.read("/proc/hostname"), "chitin\n");
    let link = world.walk().lookup(b"/proc/exe", false).unwrap();
    assert_eq!(world.walk().readlink(&link).unwrap(), b"/gone (deleted)");
    assert_eq!(
        world.open("/proc/new", OpenFlags::O_CREAT | OpenFlags::O_RDWR).err(),
        Some(Errno::ENOENT)
    );
    let file = world.open("/proc/hostname", OpenFlags::O_WRONLY | OpenFlags::O_TRUNC).unwrap();
    assert_eq!(file.write(&mut SliceSource::new(b"x"), None, &world.env), Err(Errno::EINVAL));
}
