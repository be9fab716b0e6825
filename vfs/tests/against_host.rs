//! Random sequences of operations on names, on a tree of this crate and on a directory of the host: both must
//! answer the same, errors included, and end up with the same tree.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::time::Timespec;
use chitin_gofer_proto::server::Server;
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::gofer::serve::{Trees, serve};
use chitin_vfs::fs::gofer::{GoferFs, GoferOptions, Session};
use chitin_vfs::fs::host::{CachePolicy, HostFs, HostOptions};
use chitin_vfs::fs::overlay::{Overlay, OverlayOptions};
use chitin_vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::MountNamespace;
use chitin_vfs::walk::{ResolveFlags, Walk};
use proptest::prelude::*;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};

#[derive(Clone, Debug)]
enum Step {
    Mkdir(String),
    Create(String, bool),
    Symlink(String, String),
    Link(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, u32),
    Stat(String, bool),
}

/// The result of a step: 0 or an error number.
type Outcome = i32;

/// A file as both sides see it: type, links (of files), size (of files), target.
type Seen = (u32, u64, u64, Vec<u8>);

struct Ours {
    namespace: Arc<MountNamespace>,
    env: VfsEnv,
    cred: Cred,
}

fn tmpfs() -> (Arc<chitin_vfs::super_block::SuperBlock>, Arc<dyn chitin_vfs::inode::Inode>) {
    Tmpfs::new(TmpfsOptions { mode: 0o755, ..TmpfsOptions::default() }).unwrap()
}

/// A directory of the host, served to a client in this process.
fn served(
    directory: &tempfile::TempDir,
    plain: bool,
    cache: CachePolicy,
) -> (Arc<chitin_vfs::super_block::SuperBlock>, Arc<dyn chitin_vfs::inode::Inode>) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let root = rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap();
    let (_, root) = HostFs::new(root, HostOptions { cache, ..HostOptions::default() }).unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    std::thread::spawn(move || {
        let server = Server::new(Trees::new(root));
        let mut server = if plain { server.plain_only() } else { server };
        serve(&theirs.into(), &mut server)
    });
    let session = Session::connect(ours.into(), std::time::Duration::from_secs(20)).unwrap();
    GoferFs::new(&session, b"", GoferOptions { cache, ..GoferOptions::default() }).unwrap()
}

impl Ours {
    fn mounted(
        (super_block, root): (
            Arc<chitin_vfs::super_block::SuperBlock>,
            Arc<dyn chitin_vfs::inode::Inode>,
        ),
    ) -> Self {
        let new =
            NewMount { super_block, root, flags: MountFlags::default(), source: b"test".to_vec() };
        Self { namespace: MountNamespace::new(new), env: VfsEnv::default(), cred: Cred::root() }
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

    fn run(&self, step: &Step) -> Outcome {
        let walk = self.walk();
        let result = match step {
            Step::Mkdir(path) => walk.mkdir(path.as_bytes(), 0o755).map(drop),
            Step::Create(path, exclusive) => {
                let mut flags = OpenFlags::O_CREAT | OpenFlags::O_RDWR;
                flags.set(OpenFlags::O_EXCL, *exclusive);
                walk.open(path.as_bytes(), flags, 0o644).map(drop)
            }
            Step::Symlink(target, path) => {
                walk.symlink(target.as_bytes(), path.as_bytes()).map(drop)
            }
            Step::Link(old, new) => {
                walk.lookup(old.as_bytes(), false).and_then(|old| walk.link(&old, new.as_bytes()))
            }
            Step::Unlink(path) => walk.unlink(path.as_bytes()),
            Step::Rmdir(path) => walk.rmdir(path.as_bytes()),
            Step::Rename(old, new, flags) => {
                walk.rename(old.as_bytes(), &walk, new.as_bytes(), *flags)
            }
            Step::Stat(path, follow) => walk.lookup(path.as_bytes(), *follow).map(drop),
        };
        result.map_or_else(|error| error.raw(), |()| 0)
    }

    fn collect(&self, dir: &str, into: &mut BTreeMap<String, Seen>) {
        let walk = self.walk();
        let flags = OpenFlags::O_DIRECTORY | OpenFlags::O_NOFOLLOW;
        let file = walk.open(format!("/{dir}").as_bytes(), flags, 0).unwrap().file;
        let mut names = Vec::new();
        file.read_dir(&self.env, &mut |entry| {
            names.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.ino));
            true
        })
        .unwrap();
        for (name, ino) in names.into_iter().filter(|(name, _)| name != "." && name != "..") {
            let path = format!("{dir}/{name}");
            let found = walk.lookup(path.as_bytes(), false).unwrap();
            let attr = found.inode().attr().unwrap();
            assert_eq!(attr.ino, ino, "{path}: readdir and stat differ");
            let target = walk.readlink(&found).unwrap_or_default();
            let (links, size) = if attr.is_dir() { (0, 0) } else { (attr.nlink, attr.size) };
            let is_dir = attr.is_dir();
            into.insert(path.clone(), (attr.file_type(), links, size, target));
            if is_dir {
                self.collect(&path, into);
            }
        }
    }
}

struct Host {
    root: OwnedFd,
    _directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = rustix::fs::open(directory.path(), flags, Mode::empty()).unwrap();
        Self { root, _directory: directory }
    }

    fn run(&self, step: &Step) -> Outcome {
        let root = self.root.as_fd();
        let result = match step {
            Step::Mkdir(path) => rustix::fs::mkdirat(root, path.as_str(), Mode::from(0o755)),
            Step::Create(path, exclusive) => {
                let mut flags = OFlags::CREATE | OFlags::RDWR;
                flags.set(OFlags::EXCL, *exclusive);
                rustix::fs::openat(root, path.as_str(), flags, Mode::from(0o644)).map(drop)
            }
            Step::Symlink(target, path) => {
                rustix::fs::symlinkat(target.as_str(), root, path.as_str())
            }
            Step::Link(old, new) => {
                rustix::fs::linkat(root, old.as_str(), root, new.as_str(), AtFlags::empty())
            }
            Step::Unlink(path) => rustix::fs::unlinkat(root, path.as_str(), AtFlags::empty()),
            Step::Rmdir(path) => rustix::fs::unlinkat(root, path.as_str(), AtFlags::REMOVEDIR),
            Step::Rename(old, new, flags) => {
                let flags = RenameFlags::from_bits_retain(*flags);
                rustix::fs::renameat_with(root, old.as_str(), root, new.as_str(), flags)
            }
            Step::Stat(path, follow) => {
                let flags = if *follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
                rustix::fs::statat(root, path.as_str(), flags).map(drop)
            }
        };
        result.map_or_else(rustix::io::Errno::raw_os_error, |()| 0)
    }

    fn collect(&self, dir: &str, into: &mut BTreeMap<String, Seen>) {
        let at = if dir.is_empty() { "." } else { dir };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&self.root, at, flags, Mode::empty()).unwrap();
        let names: Vec<String> = rustix::fs::Dir::new(fd)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
            .filter(|name| name != "." && name != "..")
            .collect();
        for name in names {
            let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
            let stat =
                rustix::fs::statat(&self.root, path.as_str(), AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let kind = stat.st_mode & 0o170_000;
            let is_dir = kind == 0o040_000;
            let target = rustix::fs::readlinkat(&self.root, path.as_str(), Vec::new());
            let target = target.map(std::ffi::CString::into_bytes).unwrap_or_default();
            let (links, size) =
                if is_dir { (0, 0) } else { (stat.st_nlink, stat.st_size.unsigned_abs()) };
            into.insert(path.clone(), (kind, links, size, target));
            if is_dir {
                self.collect(&path, into);
            }
        }
    }
}

fn paths() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "c"]),
        1 => prop::sample::select(vec![".", ".."]),
    ];
    (prop::collection::vec(name, 1..4), prop::bool::weighted(0.08)).prop_map(|(names, slash)| {
        // `..` must not lead out of the directory on the host.
        let mut depth = 0i32;
        let names: Vec<&str> = names
            .into_iter()
            .map(|name| {
                if name == ".." && depth <= 0 {
                    return ".";
                }
                depth += match name {
                    "." => 0,
                    ".." => -1,
                    _ => 1,
                };
                name
            })
            .collect();
        names.join("/") + if slash { "/" } else { "" }
    })
}

/// Targets stay inside: links of depth one or more that only go down or sideways.
fn targets() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "a/b", "b/c", "./a", "c/"]).prop_map(str::to_owned)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let flags = prop_oneof![5 => Just(0u32), 1 => Just(1u32), 1 => Just(2u32), 1 => Just(3u32)];
    let step = prop_oneof![
        4 => paths().prop_map(Step::Mkdir),
        4 => (paths(), any::<bool>()).prop_map(|(path, exclusive)| Step::Create(path, exclusive)),
        1 => (targets(), paths()).prop_map(|(target, path)| Step::Symlink(target, path)),
        2 => (paths(), paths()).prop_map(|(old, new)| Step::Link(old, new)),
        2 => paths().prop_map(Step::Unlink),
        2 => paths().prop_map(Step::Rmdir),
        4 => (paths(), paths(), flags).prop_map(|(old, new, flags)| Step::Rename(old, new, flags)),
        2 => (paths(), any::<bool>()).prop_map(|(path, follow)| Step::Stat(path, follow)),
    ];
    prop::collection::vec(step, 1..40)
}

/// `..` behind a symbolic link may lead out on the host: such steps are left out by looking first.
fn stays_inside(ours: &Ours, step: &Step) -> bool {
    let inside = |path: &String| {
        let mut prefix = String::new();
        path.split('/').all(|name| {
            let is_link = !prefix.is_empty()
                && ours
                    .walk()
                    .lookup(prefix.as_bytes(), false)
                    .is_ok_and(|found| found.dentry().is_symlink());
            prefix.push_str(name);
            prefix.push('/');
            prefix = prefix.trim_end_matches('/').to_owned() + "/";
            !(name == ".." && is_link)
        })
    };
    let _ = inside;
    let text = match step {
        Step::Mkdir(path)
        | Step::Create(path, _)
        | Step::Unlink(path)
        | Step::Rmdir(path)
        | Step::Stat(path, _) => {
            vec![path]
        }
        Step::Symlink(_, path) => vec![path],
        Step::Link(old, new) | Step::Rename(old, new, _) => vec![old, new],
    };
    text.into_iter().all(|path| !path.contains("..") || inside(path))
}

fn compare(ours: &Ours, host: &Host, steps: &[Step]) -> Result<(), TestCaseError> {
    for step in steps.iter().filter(|step| stays_inside(ours, step)) {
        prop_assert_eq!(ours.run(step), host.run(step), "{:?} of {:?}", step, steps);
    }
    let (mut mine, mut theirs) = (BTreeMap::new(), BTreeMap::new());
    ours.collect("", &mut mine);
    host.collect("", &mut theirs);
    let mine: BTreeMap<String, Seen> = mine
        .into_iter()
        .map(|(path, seen)| (path.trim_start_matches('/').to_owned(), seen))
        .collect();
    prop_assert_eq!(mine, theirs, "after {:?}", steps);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn tmpfs_answers_as_the_host(steps in steps()) {
        compare(&Ours::mounted(tmpfs()), &Host::new(), &steps)?;
    }

    /// The first steps make the lower layer, the others work on the overlay.
    #[test]
    fn overlay_answers_as_the_host(below in steps(), above in steps()) {
        let (super_block, root) = tmpfs();
        let lower = Ours::mounted((super_block, Arc::clone(&root)));
        let host = Host::new();
        compare(&lower, &host, &below)?;
        let overlay = Overlay::new(Some(tmpfs().1), vec![root], OverlayOptions::default()).unwrap();
        compare(&Ours::mounted(overlay), &host, &above)?;
    }

    #[test]
    fn a_served_tree_answers_as_the_host(steps in steps(), shared in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let cache = if shared { CachePolicy::Shared } else { CachePolicy::Exclusive };
        compare(&Ours::mounted(served(&directory, false, cache)), &Host::new(), &steps)?;
    }

    /// The same with a server that only speaks 9P2000.L, which has no flags of renames.
    #[test]
    fn a_tree_of_a_plain_server_answers_as_the_host(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let steps: Vec<Step> = steps.into_iter().map(|step| match step {
            Step::Rename(old, new, _) => Step::Rename(old, new, 0),
            other => other,
        }).collect();
        let tree = served(&directory, true, CachePolicy::Exclusive);
        compare(&Ours::mounted(tree), &Host::new(), &steps)?;
    }

    /// An overlay whose lower layer is served.
    #[test]
    fn an_overlay_of_a_served_tree_answers_as_the_host(below in steps(), above in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::new();
        let (super_block, root) = served(&directory, false, CachePolicy::Exclusive);
        compare(&Ours::mounted((super_block, Arc::clone(&root))), &host, &below)?;
        let overlay = Overlay::new(Some(tmpfs().1), vec![root], OverlayOptions::default()).unwrap();
        compare(&Ours::mounted(overlay), &host, &above)?;
    }
}
