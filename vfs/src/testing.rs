//! What the unit tests of this crate share: a tree in memory and a caller.

use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::fs::OpenFlags;
use chitin_abi::time::Timespec;

use crate::cred::{Capabilities, Cred};
use crate::env::VfsEnv;
use crate::file::OpenFile;
use crate::fs::tmpfs::{Tmpfs, TmpfsOptions};
use crate::io::{SliceSource, VecSink};
use crate::mount::{MountFlags, NewMount};
use crate::namespace::MountNamespace;
use crate::path::Path;
use crate::walk::{ResolveFlags, Walk};

/// A namespace with a tmpfs as its root.
pub(crate) struct World {
    pub(crate) namespace: Arc<MountNamespace>,
    pub(crate) env: VfsEnv,
    pub(crate) cred: Cred,
    pub(crate) umask: u32,
    pub(crate) resolve: ResolveFlags,
}

/// A tmpfs to be mounted.
pub(crate) fn tmpfs() -> NewMount {
    let options = TmpfsOptions { mode: 0o755, ..TmpfsOptions::default() };
    let (super_block, root) = Tmpfs::new(options).unwrap();
    NewMount { super_block, root, flags: MountFlags::default(), source: b"tmpfs".to_vec() }
}

/// An ordinary user.
pub(crate) fn user(uid: u32) -> Cred {
    Cred { uid, gid: uid, groups: Arc::from([]), caps: Capabilities(0) }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_root(tmpfs())
    }

    pub(crate) fn with_root(root: NewMount) -> Self {
        Self {
            namespace: MountNamespace::new(root),
            env: VfsEnv::default(),
            cred: Cred::root(),
            umask: 0o022,
            resolve: ResolveFlags::empty(),
        }
    }

    pub(crate) fn walk(&self) -> Walk<'_> {
        self.walk_from(self.namespace.root())
    }

    pub(crate) fn walk_from(&self, base: Path) -> Walk<'_> {
        Walk {
            root: self.namespace.root(),
            base,
            cred: &self.cred,
            umask: self.umask,
            now: Timespec { tv_sec: 1_000, tv_nsec: 5 },
            resolve: self.resolve,
            env: &self.env,
        }
    }

    pub(crate) fn path(&self, path: &str) -> Path {
        self.walk().lookup(path.as_bytes(), true).unwrap()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.walk().lookup(path.as_bytes(), false).is_ok()
    }

    pub(crate) fn mkdir(&self, path: &str) -> Path {
        self.walk().mkdir(path.as_bytes(), 0o755).unwrap()
    }

    pub(crate) fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        self.walk().open(path.as_bytes(), flags, 0o644).map(|opened| opened.file)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let flags = OpenFlags::O_CREAT | OpenFlags::O_WRONLY | OpenFlags::O_TRUNC;
        let file = self.open(path, flags).unwrap();
        let count = file.write(&mut SliceSource::new(text.as_bytes()), None, &self.env).unwrap();
        assert_eq!(count, text.len());
    }

    pub(crate) fn read(&self, path: &str) -> String {
        let file = self.open(path, OpenFlags::empty()).unwrap();
        let mut sink = VecSink::new(1 << 20);
        file.read(&mut sink, None, &self.env).unwrap();
        String::from_utf8(sink.bytes).unwrap()
    }

    /// The names in a directory, sorted, without the dots.
    pub(crate) fn list(&self, path: &str) -> Vec<String> {
        let dir = self.open(path, OpenFlags::O_DIRECTORY).unwrap();
        let mut names = Vec::new();
        dir.read_dir(&self.env, &mut |entry| {
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            true
        })
        .unwrap();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        names
    }
}
