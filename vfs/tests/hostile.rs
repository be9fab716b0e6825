//! A tree of the host that others change while it is walked: names that become links out of the tree, directories
//! that are moved away, FIFOs and devices in the place of files. Nothing outside the tree may be reached.
//!
//! `CHITIN_RACE_SECONDS` makes it longer.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chitin_abi::fs::{OpenFlags, S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT, S_IFSOCK};
use chitin_abi::time::Timespec;
use chitin_gofer_proto::server::Server;
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::gofer::serve::{Trees, serve};
use chitin_vfs::fs::gofer::{GoferFs, GoferOptions, Session};
use chitin_vfs::fs::host::{CachePolicy, HostFs, HostOptions};
use chitin_vfs::inode::Inode;
use chitin_vfs::io::{SliceSource, VecSink};
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::MountNamespace;
use chitin_vfs::super_block::SuperBlock;
use chitin_vfs::walk::{ResolveFlags, Walk};

const SECRET: &[u8] = b"SECRET outside the tree";
/// How long a test may take at most.
const PATIENCE: Duration = Duration::from_secs(60);
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A directory that is shown, and one beside it that must not be touched.
struct Ground {
    directory: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ground = Self { directory };
        for name in NAMES {
            fs::create_dir_all(ground.inside().join(name).join("x/y")).unwrap();
            fs::write(ground.inside().join(name).join("x/y/file"), "inside").unwrap();
            fs::create_dir_all(ground.outside().join("x/y")).unwrap();
        }
        for path in ["file", "x/file", "x/y/file"] {
            fs::write(ground.outside().join(path), SECRET).unwrap();
        }
        ground
    }

    fn inside(&self) -> PathBuf {
        self.directory.path().join("inside")
    }

    fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    /// Everything outside, with contents.
    fn snapshot(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        let mut pending = vec![self.outside()];
        while let Some(path) = pending.pop() {
            for entry in fs::read_dir(&path).unwrap() {
                let path = entry.unwrap().path();
                let text = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
                if path.is_dir() {
                    pending.push(path.clone());
                }
                all.push((path, text));
            }
        }
        all.sort();
        all
    }
}

fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize
}

/// Somebody on the host who changes names in the tree. It works relative to descriptors itself, so that what changes
/// outside is never its own doing.
struct Attacker {
    inside: OwnedFd,
    outside: PathBuf,
}

impl Attacker {
    /// The directory of a path, reached through no link.
    fn parent(&self, path: &str) -> rustix::io::Result<OwnedFd> {
        use rustix::fs::{Mode, OFlags, ResolveFlags};
        let directory = path.rsplit_once('/').map_or(".", |(directory, _)| directory);
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        rustix::fs::openat2(&self.inside, directory, flags, Mode::empty(), resolve)
    }

    fn step(&self, state: &mut u64) -> rustix::io::Result<()> {
        use rustix::fs::{AtFlags, FileType, Mode, OFlags};
        let depth = ["", "/x", "/x/y", "/x/y/file"];
        let path = format!("{}{}", NAMES[random(state) % 4], depth[random(state) % 4]);
        let name = path.rsplit('/').next().unwrap_or(&path);
        let aside = format!("aside{}", random(state) % 3);
        let parent = self.parent(&path)?;
        let away = || rustix::fs::renameat(&parent, name, &self.inside, aside.as_str());
        match random(state) % 8 {
            0 => away(),
            1 => rustix::fs::renameat(&self.inside, aside.as_str(), &parent, name),
            2 => away().and_then(|()| rustix::fs::symlinkat(&self.outside, &parent, name)),
            3 => away()
                .and_then(|()| rustix::fs::symlinkat(self.outside.join("x/y/file"), &parent, name)),
            4 => away().and_then(|()| {
                let mode = Mode::from_raw_mode(0o600);
                rustix::fs::mknodat(&parent, name, FileType::Fifo, mode, 0)
            }),
            5 => rustix::fs::symlinkat("../../../outside", &parent, name),
            6 => rustix::fs::unlinkat(&parent, name, AtFlags::empty()),
            7 if name == "file" => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW;
                let fd = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
                rustix::io::write(&fd, b"inside").map(drop)
            }
            _ => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
        }
    }
}

struct Guest {
    namespace: Arc<MountNamespace>,
    env: VfsEnv,
    cred: Cred,
    leaks: AtomicU64,
    reads: AtomicU64,
}

impl Guest {
    fn new((super_block, root): (Arc<SuperBlock>, Arc<dyn Inode>)) -> Self {
        let flags = MountFlags::default();
        let mount = NewMount { super_block, root, flags, source: b"host".to_vec() };
        Self {
            namespace: MountNamespace::new(mount),
            env: VfsEnv::default(),
            cred: Cred::root(),
            leaks: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        }
    }

    fn walk(&self) -> Walk<'_> {
        Walk {
            root: self.namespace.root(),
            base: self.namespace.root(),
            cred: &self.cred,
            umask: 0o022,
            now: Timespec::default(),
            resolve: ResolveFlags::empty(),
            env: &self.env,
        }
    }

    fn check(&self, bytes: &[u8]) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if bytes.windows(6).any(|window| window == b"SECRET") {
            self.leaks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One step of what a program would do.
    fn step(&self, state: &mut u64) {
        let walk = self.walk();
        let depth = ["", "/x", "/x/y", "/x/y/file", "/x/file", "/file"];
        let name = |state: &mut u64| {
            let first = NAMES[random(state) % 4];
            format!("/{first}{}", depth[random(state) % 6])
        };
        let path = name(state);
        let path = path.as_bytes();
        match random(state) % 8 {
            0 | 1 => {
                if let Ok(opened) = walk.open(path, OpenFlags::O_NONBLOCK, 0) {
                    let mut sink = VecSink::new(100);
                    if opened.file.read(&mut sink, None, &self.env).is_ok() {
                        self.check(&sink.bytes);
                    }
                }
            }
            2 => {
                let flags = OpenFlags::O_RDWR | OpenFlags::O_CREAT | OpenFlags::O_NONBLOCK;
                if let Ok(opened) = walk.open(path, flags, 0o644) {
                    let _ = opened.file.write(&mut SliceSource::new(b"guest"), None, &self.env);
                }
            }
            3 => {
                if let Ok(found) = walk.lookup(path, random(state).is_multiple_of(2))
                    && let Ok(attr) = found.inode().attr()
                {
                    let special = [S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK];
                    let is_special = special.contains(&(attr.mode & S_IFMT));
                    let opened = Arc::clone(&found.inode()).open(OpenFlags::O_NONBLOCK, &self.env);
                    // The host's own is never opened.
                    if is_special && opened.is_ok() {
                        self.leaks.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
            4 => {
                if let Ok(opened) = walk.open(path, OpenFlags::O_DIRECTORY, 0) {
                    let _ = opened.file.read_dir(&self.env, &mut |entry| {
                        self.check(entry.name);
                        true
                    });
                }
            }
            5 => drop(walk.unlink(path)),
            6 => drop(walk.mkdir(path, 0o755)),
            _ => drop(walk.rename(path, &walk, name(state).as_bytes(), 0)),
        }
    }
}

fn seconds() -> Duration {
    let text = std::env::var("CHITIN_RACE_SECONDS").ok();
    Duration::from_secs(text.and_then(|text| text.parse().ok()).unwrap_or(2))
}

fn host(ground: &Ground, cache: CachePolicy) -> (Arc<SuperBlock>, Arc<dyn Inode>) {
    let fd: OwnedFd = fs::File::open(ground.inside()).unwrap().into();
    HostFs::new(fd, HostOptions { cache, ..HostOptions::default() }).unwrap()
}

fn race(ground: &Ground, tree: (Arc<SuperBlock>, Arc<dyn Inode>)) {
    let before = ground.snapshot();
    let guest = Guest::new(tree);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let inside = fs::File::open(ground.inside()).unwrap().into();
            let attacker = Attacker { inside, outside: ground.outside() };
            let mut state = 0x1234_5678_9abc_def1;
            while !stop.load(Ordering::Relaxed) {
                // Whatever fails is what another step has left behind.
                let _ = attacker.step(&mut state);
            }
        });
        let begun = Instant::now();
        let mut state = 0x9e37_79b9_7f4a_7c15;
        let little = || guest.reads.load(Ordering::Relaxed) <= 10;
        // On a busy machine longer, until there was something to see.
        while begun.elapsed() < seconds() || (little() && begun.elapsed() < PATIENCE) {
            guest.step(&mut state);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (leaks, reads) = (guest.leaks.into_inner(), guest.reads.into_inner());
    assert!(reads > 10, "the guest saw nothing: the test tests nothing");
    assert_eq!(leaks, 0, "accesses outside the tree, of {reads} reads");
    assert!(ground.snapshot() == before, "something outside the tree has changed");
}

#[test]
fn shared_trees() {
    let ground = Ground::new();
    race(&ground, host(&ground, CachePolicy::Shared));
}

/// Nobody should change an exclusive tree; who does it nevertheless gains nothing.
#[test]
fn exclusive_trees() {
    let ground = Ground::new();
    race(&ground, host(&ground, CachePolicy::Exclusive));
}

#[test]
fn served_trees() {
    let ground = Ground::new();
    let (_, root) = host(&ground, CachePolicy::Shared);
    let (ours, theirs) = UnixStream::pair().unwrap();
    std::thread::spawn(move || serve(&theirs.into(), &mut Server::new(Trees::new(root))));
    let session = Session::connect(ours.into(), Duration::from_secs(20)).unwrap();
    let options = GoferOptions { cache: CachePolicy::Shared, ..GoferOptions::default() };
    race(&ground, GoferFs::new(&session, b"", options).unwrap());
    assert!(!session.is_lost(), "the server has given up");
}
