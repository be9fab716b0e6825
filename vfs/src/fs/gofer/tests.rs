use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chitin_abi::fs::{OpenFlags, S_IFDIR, S_IFIFO, S_IFREG};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use chitin_gofer_proto::handler::Handler;
use chitin_gofer_proto::message::{
    Attr as WireAttr, DirEntry as WireDirEntry, GETATTR_BASIC, QID_DIR, Qid, Request, StatFs,
};
use chitin_gofer_proto::name::Name;
use chitin_gofer_proto::server::Server;
use tempfile::TempDir;

use super::serve::{Trees, serve};
use super::{GoferFs, GoferOptions, Session};
use crate::attr::{NewFile, SetAttr};
use crate::env::VfsEnv;
use crate::file::{File, WriteAt};
use crate::fs::host::{CachePolicy, HostFs, HostOptions};
use crate::inode::Inode;
use crate::io::{SliceSource, VecSink};

const PATIENCE: Duration = Duration::from_secs(20);
const NOW: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// A served directory.
struct World {
    directory: TempDir,
    root: Arc<dyn Inode>,
    session: Arc<Session>,
    /// The server's end, to be cut off.
    server: UnixStream,
}

impl World {
    fn new(plain: bool, cache: CachePolicy) -> Self {
        let directory = TempDir::new().unwrap();
        let (session, server) = session(directory.path(), plain, cache);
        let options = GoferOptions { cache, ..GoferOptions::default() };
        let (_, root) = GoferFs::new(&session, b"", options).unwrap();
        Self { directory, root, session, server }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn walk(&self, path: &str) -> Result<Arc<dyn Inode>> {
        path.split('/').try_fold(Arc::clone(&self.root), |dir, name| dir.lookup(name.as_bytes()))
    }

    fn fs(&self) -> &GoferFs {
        let inode = self.root.as_any().downcast_ref::<super::inode::GoferInode>().unwrap();
        &inode.fs
    }
}

fn session(path: &Path, plain: bool, cache: CachePolicy) -> (Arc<Session>, UnixStream) {
    let dir: OwnedFd = fs::File::open(path).unwrap().into();
    let (_, root) = HostFs::new(dir, HostOptions { cache, ..HostOptions::default() }).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server_end = theirs.try_clone().unwrap();
    std::thread::spawn(move || {
        let server = Server::new(Trees::new(root));
        let mut server = if plain { server.plain_only() } else { server };
        serve(&theirs.into(), &mut server)
    });
    (Session::connect(ours.into(), PATIENCE).unwrap(), server_end)
}

fn open(inode: &Arc<dyn Inode>, flags: OpenFlags) -> Result<Arc<dyn File>> {
    Arc::clone(inode).open(flags, &VfsEnv::default())
}

fn read(file: &Arc<dyn File>) -> Vec<u8> {
    let mut sink = VecSink::new(1 << 20);
    file.read_at(&mut sink, 0).unwrap();
    sink.bytes
}

fn new(mode: u32) -> NewFile {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    NewFile { mode, uid, gid, rdev: 0 }
}

fn list(dir: &Arc<dyn Inode>) -> Vec<String> {
    let mut names = Vec::new();
    let file = open(dir, OpenFlags::empty()).unwrap();
    let mut emit = |entry: crate::file::DirEntry<'_>| {
        names.push(String::from_utf8_lossy(entry.name).into_owned());
        true
    };
    file.read_dir(0, &mut emit).unwrap();
    names.retain(|name| name != "." && name != "..");
    names.sort();
    names
}

/// What a file goes through, with descriptors and without.
#[test]
fn a_life_of_a_file() {
    for plain in [false, true] {
        let world = World::new(plain, CachePolicy::Exclusive);
        let file = world.root.create(b"f", &new(S_IFREG | 0o640)).unwrap();
        let opened = open(&file, OpenFlags::O_RDWR).unwrap();
        let data = vec![7; 200_000];
        let written = opened.write_at(&mut SliceSource::new(&data), WriteAt::Offset(0)).unwrap();
        assert_eq!(written, (data.len(), data.len() as u64), "plain: {plain}");
        opened.write_at(&mut SliceSource::new(b"end"), WriteAt::End).unwrap();
        opened.sync(false).unwrap();
        assert_eq!(file.attr().unwrap().size, 200_003);
        assert_eq!(fs::metadata(world.at("f")).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(read(&opened), fs::read(world.at("f")).unwrap());
        let change = SetAttr { size: Some(5), mode: Some(0o600), ..SetAttr::default() };
        file.set_attr(&change, NOW).unwrap();
        assert_eq!(read(&opened), [7; 5]);
        world.root.rename(b"f", &world.root, b"g", 0).unwrap();
        assert_eq!(world.root.lookup(b"f").err(), Some(Errno::ENOENT));
        assert!(world.root.lookup(b"g").unwrap().is_same(file.as_ref()));
        world.root.unlink(b"g").unwrap();
        assert_eq!(read(&open(&file, OpenFlags::empty()).unwrap()), [7; 5]);
        assert_eq!(opened.map().is_ok(), !plain, "only descriptors can be mapped");
        assert_eq!(file.attr().unwrap().nlink, 0);
    }
}

#[test]
fn every_type_is_made_and_seen() {
    for plain in [false, true] {
        let world = World::new(plain, CachePolicy::Exclusive);
        let dir = world.root.mkdir(b"d", &new(0o755)).unwrap();
        dir.symlink(b"l", b"../target", &new(0o777)).unwrap();
        let fifo = dir.create(b"p", &new(S_IFIFO | 0o600)).unwrap();
        assert_eq!(open(&fifo, OpenFlags::empty()).err(), Some(Errno::ENXIO));
        let link = world.walk("d/l").unwrap();
        assert_eq!(link.read_link(&VfsEnv::default()).unwrap(), b"../target");
        assert_eq!(list(&dir), ["l", "p"]);
        let file = world.root.create(b"f", &new(S_IFREG | 0o600)).unwrap();
        dir.link(b"second", &file).unwrap();
        assert_eq!(file.attr().unwrap().nlink, 2);
        if file.set_xattr(b"user.x", b"value", 0).is_ok() {
            assert_eq!(file.get_xattr(b"user.x").unwrap(), b"value");
            assert!(file.list_xattr().unwrap().contains(&b"user.x".to_vec()));
        }
        assert_eq!(file.get_xattr(b"user.none").err(), Some(Errno::ENODATA));
        assert_eq!(world.root.rmdir(b"d").err(), Some(Errno::ENOTEMPTY));
        let stats = world.root.super_block().fs().stats().unwrap();
        assert!(stats.blocks > 0 && stats.name_max == 255);
    }
}

/// After a listing and a few lookups the whole directory is known, and what has changed is not believed.
#[test]
fn listed_directories_are_fetched_at_once() {
    let world = World::new(false, CachePolicy::Exclusive);
    for number in 0..100 {
        fs::write(world.at(&format!("f{number:02}")), "x").unwrap();
    }
    assert_eq!(list(&world.root).len(), 100);
    let before = world.fs().counters();
    for number in 0..100 {
        let inode = world.walk(&format!("f{number:02}")).unwrap();
        assert_eq!(inode.attr().unwrap().size, 1);
        assert_eq!(read(&open(&inode, OpenFlags::empty()).unwrap()), b"x");
    }
    let after = world.fs().counters();
    assert_eq!(after.misses - before.misses, 4, "{before:?} {after:?}");
    assert_eq!(world.walk("none").err(), Some(Errno::ENOENT));
    assert_eq!(world.fs().counters().misses, after.misses);
    world.root.unlink(b"f00").unwrap();
    world.root.create(b"none", &new(S_IFREG | 0o600)).unwrap();
    assert_eq!(world.walk("f00").err(), Some(Errno::ENOENT));
    assert!(world.walk("none").is_ok());
}

/// A file that only a listing has shown stays usable when its name goes.
#[test]
fn listed_files_survive_their_names() {
    let world = World::new(false, CachePolicy::Exclusive);
    for number in 0..20 {
        fs::write(world.at(&number.to_string()), number.to_string()).unwrap();
    }
    list(&world.root);
    let inodes: Vec<_> = (0..20).map(|number| world.walk(&number.to_string()).unwrap()).collect();
    world.root.unlink(b"19").unwrap();
    world.root.rename(b"18", &world.root, b"17", 0).unwrap();
    let text = |index: usize| read(&open(&inodes[index], OpenFlags::empty()).unwrap());
    assert_eq!((text(19), text(18), text(17)), (b"19".to_vec(), b"18".to_vec(), b"17".to_vec()));
}

#[test]
fn shared_trees_show_what_others_do() {
    let world = World::new(false, CachePolicy::Shared);
    assert_eq!(world.root.lookup(b"f").err(), Some(Errno::ENOENT));
    fs::write(world.at("f"), "1").unwrap();
    let file = world.root.lookup(b"f").unwrap();
    fs::write(world.at("f"), "more").unwrap();
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(file.attr().unwrap().size, 4);
    fs::remove_file(world.at("f")).unwrap();
    symlink("elsewhere", world.at("f")).unwrap();
    assert!(world.root.lookup(b"f").unwrap().attr().unwrap().is_symlink());
}

/// When the server goes, what needs it fails, and files that are open stay usable.
#[test]
fn a_lost_server() {
    let world = World::new(false, CachePolicy::Exclusive);
    fs::write(world.at("f"), "text").unwrap();
    let file = open(&world.root.lookup(b"f").unwrap(), OpenFlags::empty()).unwrap();
    world.server.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(world.root.lookup(b"g").err(), Some(Errno::EIO));
    assert!(world.session.is_lost());
    assert_eq!(world.root.lookup(b"h").err(), Some(Errno::EIO));
    assert_eq!(read(&file), b"text");
}

/// A server that never answers is given up on.
#[test]
fn a_silent_server() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let result = Session::connect(ours.into(), Duration::from_millis(20));
    assert_eq!(result.err(), Some(Errno::ETIMEDOUT));
}

/// Fids go back to the server, however many files are looked at.
#[test]
fn fids_are_given_back() {
    let world = World::new(false, CachePolicy::Shared);
    fs::write(world.at("f"), "").unwrap();
    for _ in 0..10_000 {
        world.root.lookup(b"f").unwrap();
        assert!(world.root.lookup(b"none").is_err());
    }
    let highest = world.session.new_fid().unwrap().number();
    assert!(highest < 200, "{highest}");
    let request = Request::GetAttr { fid: 5000, mask: 0 };
    assert_eq!(world.session.order(&request), Err(Errno::EBADF));
}

/// A server that sends a byte now and then and never a whole answer: no byte buys it more time, and who waited for the
/// connection meanwhile does not wait once more.
#[test]
fn a_dripping_server_is_given_up_once() {
    const PATIENCE: Duration = Duration::from_millis(400);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let directory = TempDir::new().unwrap();
        let dir: OwnedFd = fs::File::open(directory.path()).unwrap().into();
        let (_, root) = HostFs::new(dir, HostOptions::default()).unwrap();
        let mut server = Server::new(Trees::new(root));
        let mut bytes = [0; 4096];
        let count = theirs.read(&mut bytes).unwrap();
        server.receive(&bytes[..count]);
        let agreed = server.next_outgoing().unwrap().unwrap();
        theirs.write_all(&agreed.bytes).unwrap();
        // The length of a message of 1000 bytes, and then a part of it.
        let message = [0xe8, 3, 0, 0].into_iter().chain(std::iter::repeat_n(0, 900));
        for byte in message {
            if theirs.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let session = Session::connect(ours.into(), PATIENCE).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(session.attach(b"").err(), Some(Errno::EIO)));
        }
    });
    assert!(session.is_lost());
    assert!(start.elapsed() < PATIENCE * 4, "{:?}", start.elapsed());
}

/// A directory of ten names, and of others without end once its names have been asked for.
#[derive(Default)]
struct Endless {
    walks: u64,
    /// Whether the names are all the same.
    same: bool,
}

const ROOT: Qid = Qid { kind: QID_DIR, version: 0, path: 1 };

impl Handler for Endless {
    type Node = Qid;
    type File = ();
    type Descriptor = Arc<OwnedFd>;

    fn attach(&mut self, _name: &[u8], _uid: u32) -> Result<(Qid, Qid)> {
        Ok((ROOT, ROOT))
    }

    fn duplicate(&mut self, node: &Qid) -> Result<Qid> {
        Ok(*node)
    }

    fn walk(&mut self, _dir: &Qid, _name: Name<'_>) -> Result<(Qid, Qid)> {
        self.walks += 1;
        let qid = Qid { kind: 0, version: 0, path: 1_000_000 + self.walks };
        Ok((qid, qid))
    }

    fn get_attr(&mut self, node: &Qid, _file: Option<&()>, _mask: u64) -> Result<WireAttr> {
        let mode = if node.kind == QID_DIR { S_IFDIR } else { S_IFREG };
        let (qid, valid) = (*node, GETATTR_BASIC);
        Ok(WireAttr { valid, qid, mode: mode | 0o777, nlink: 1, ..WireAttr::default() })
    }

    fn open(&mut self, node: &Qid, _flags: u32) -> Result<((), Qid)> {
        Ok(((), *node))
    }

    fn read(&mut self, (): &mut (), _offset: u64, _count: u32, _out: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn read_dir(
        &mut self,
        (): &mut (),
        offset: u64,
        emit: &mut dyn FnMut(WireDirEntry<'_>) -> bool,
    ) -> Result<()> {
        let last = if self.walks == 0 { 10 } else { u64::MAX };
        for number in offset + 1..=last {
            let name = if self.same { "name".to_owned() } else { number.to_string() };
            let qid = Qid { kind: 0, version: 0, path: 1 + number };
            if !emit(WireDirEntry { qid, offset: number, kind: 8, name: name.as_bytes() }) {
                break;
            }
        }
        Ok(())
    }

    fn read_dir_attr(
        &mut self,
        _node: &Qid,
        file: &mut (),
        offset: u64,
        emit: &mut dyn FnMut(WireDirEntry<'_>, WireAttr) -> bool,
    ) -> Result<()> {
        self.read_dir(file, offset, &mut |entry| {
            let (mode, valid) = (S_IFREG | 0o777, GETATTR_BASIC);
            let attr = WireAttr { valid, qid: entry.qid, mode, nlink: 1, ..WireAttr::default() };
            emit(entry, attr)
        })
    }

    fn read_link(&mut self, _node: &Qid) -> Result<Vec<u8>> {
        Err(Errno::EINVAL)
    }

    fn stat_fs(&mut self, _node: &Qid) -> Result<StatFs> {
        Ok(StatFs::default())
    }
}

/// What a server lists without end is not held, and names go on being asked for.
#[test]
fn endless_directories_are_not_fetched() {
    for same in [false, true] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            let mut server = Server::new(Endless { walks: 0, same });
            serve(&theirs.into(), &mut server)
        });
        let session = Session::connect(ours.into(), PATIENCE).unwrap();
        let (_, root) = GoferFs::new(&session, b"", GoferOptions::default()).unwrap();
        list(&root);
        for number in 0..10 {
            root.lookup(number.to_string().as_bytes()).unwrap();
        }
        let inode = root.as_any().downcast_ref::<super::inode::GoferInode>().unwrap();
        assert_eq!(inode.fs.counters().misses, 10, "all were asked for");
        assert!(!session.is_lost());
    }
}
