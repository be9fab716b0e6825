//! Threads that change one tree at once: nothing deadlocks, nothing is lost, and what directories list is what
//! lookups find.

use std::sync::Arc;
use std::thread;

use chitin_abi::Errno;
use chitin_abi::fs::OpenFlags;
use chitin_abi::time::Timespec;
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::overlay::{Overlay, OverlayOptions};
use chitin_vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use chitin_vfs::inode::Inode;
use chitin_vfs::io::SliceSource;
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::MountNamespace;
use chitin_vfs::notify::Inotify;
use chitin_vfs::super_block::SuperBlock;
use chitin_vfs::walk::{ResolveFlags, Walk};

const THREADS: u64 = 4;
const ROUNDS: u64 = 3_000;

fn walk<'a>(namespace: &MountNamespace, cred: &'a Cred, env: &'a VfsEnv) -> Walk<'a> {
    Walk {
        root: namespace.root(),
        base: namespace.root(),
        cred,
        umask: 0,
        now: Timespec::default(),
        resolve: ResolveFlags::empty(),
        env,
    }
}

fn mounted((super_block, root): (Arc<SuperBlock>, Arc<dyn Inode>)) -> NewMount {
    NewMount { super_block, root, flags: MountFlags::default(), source: b"test".to_vec() }
}

fn tmpfs() -> (Arc<SuperBlock>, Arc<dyn Inode>) {
    Tmpfs::new(TmpfsOptions::default()).unwrap()
}

/// A few directories with a few files each.
fn populate(walk: &Walk<'_>) {
    for dir in ["a", "b", "c"] {
        walk.mkdir(dir.as_bytes(), 0o755).unwrap();
        for file in 0..4 {
            let path = format!("{dir}/{file}");
            let file = walk
                .open(path.as_bytes(), OpenFlags::O_CREAT | OpenFlags::O_RDWR, 0o644)
                .unwrap()
                .file;
            file.write(&mut SliceSource::new(b"lower"), None, walk.env).unwrap();
        }
    }
}

/// A small generator: the tests must not depend on chance.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn path(&mut self) -> String {
        let dir = ["a", "b", "c", "a/d", "b/d"][self.below(5) as usize];
        format!("{dir}/{}", self.below(5))
    }
}

fn change(walk: &Walk<'_>, numbers: &mut Numbers) -> chitin_abi::Result<()> {
    let path = numbers.path();
    let path = path.as_bytes();
    match numbers.below(12) {
        0..=2 => {
            let file = walk.open(path, OpenFlags::O_CREAT | OpenFlags::O_RDWR, 0o644)?.file;
            file.write(&mut SliceSource::new(b"text"), None, walk.env).map(drop)
        }
        3 | 4 => walk.unlink(path),
        5 | 6 => walk.rename(path, walk, numbers.path().as_bytes(), 0),
        7 => walk.mkdir([&b"a/d"[..], b"b/d"][numbers.below(2) as usize], 0o755).map(drop),
        8 => walk.rmdir([&b"a/d"[..], b"b/d"][numbers.below(2) as usize]),
        9 => {
            let (from, to) = if numbers.below(2) == 0 { ("a/d", "b/d") } else { ("b/d", "a/d") };
            walk.rename(from.as_bytes(), walk, to.as_bytes(), numbers.below(2) as u32 * 2)
        }
        10 => {
            let found = walk.lookup(path, false)?;
            walk.chmod(&found, 0o600)?;
            walk.link(&found, numbers.path().as_bytes())
        }
        _ => {
            let dir = walk.open(b"a", OpenFlags::O_DIRECTORY, 0)?.file;
            dir.read_dir(walk.env, &mut |_| true)
        }
    }
}

/// Compares listings with lookups; the number of entries.
fn check(walk: &Walk<'_>, path: &str) -> usize {
    let dir = walk.open(path.as_bytes(), OpenFlags::O_DIRECTORY, 0).unwrap().file;
    let mut names = Vec::new();
    dir.read_dir(walk.env, &mut |entry| {
        names.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.ino));
        true
    })
    .unwrap();
    let mut count = 0;
    for (name, ino) in names.into_iter().filter(|(name, _)| name != "." && name != "..") {
        let path = format!("{path}/{name}");
        let found =
            walk.lookup(path.as_bytes(), false).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert_eq!(found.inode().attr().unwrap().ino, ino, "{path}");
        count += 1;
        if found.dentry().is_dir() {
            count += check(walk, &path);
        } else {
            assert!(walk.open(path.as_bytes(), OpenFlags::empty(), 0).is_ok());
        }
    }
    count
}

fn hammer(root: NewMount) {
    let namespace = MountNamespace::new(root);
    let env = VfsEnv::default();
    let cred = Cred::root();
    if namespace.root().inode().lookup(b"a").is_err() {
        populate(&walk(&namespace, &cred, &env));
    }
    let watcher = Inotify::new(50);
    let dir = walk(&namespace, &cred, &env).lookup(b"a", true).unwrap();
    watcher.add_watch(&dir, chitin_abi::fs::IN_ALL_EVENTS, 10).unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|seed| {
            let (namespace, env, cred) = (Arc::clone(&namespace), env.clone(), cred.clone());
            thread::spawn(move || {
                let walk = walk(&namespace, &cred, &env);
                let mut numbers = Numbers(seed * 77 + 1);
                for _ in 0..ROUNDS {
                    if let Err(error) = change(&walk, &mut numbers) {
                        let expected = [
                            Errno::ENOENT,
                            Errno::EEXIST,
                            Errno::ENOTEMPTY,
                            Errno::ENOTDIR,
                            Errno::EISDIR,
                            Errno::EINVAL,
                            Errno::EPERM,
                        ];
                        assert!(expected.contains(&error), "{error:?}");
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let walk = walk(&namespace, &cred, &env);
    assert!(check(&walk, "/") >= 3);
}

#[test]
fn threads_change_a_tmpfs() {
    hammer(mounted(tmpfs()));
}

#[test]
fn threads_change_an_overlay() {
    let (super_block, lower) = tmpfs();
    let below = MountNamespace::new(mounted((super_block, Arc::clone(&lower))));
    populate(&walk(&below, &Cred::root(), &VfsEnv::default()));
    hammer(mounted(Overlay::new(Some(tmpfs().1), vec![lower], OverlayOptions::default()).unwrap()));
}
