//! Builds a tree in memory, changes it through an overlay, and says what the overlay has changed.
//!
//! Run it with `cargo run -p chitin-vfs --example layers`.

use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::overlay::{ChangeKind, Overlay, OverlayOptions, changes};
use chitin_vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use chitin_vfs::inode::Inode;
use chitin_vfs::io::SliceSource;
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::MountNamespace;
use chitin_vfs::super_block::SuperBlock;
use chitin_vfs::walk::{ResolveFlags, Walk};

type Tree = (Arc<SuperBlock>, Arc<dyn Inode>);

/// A directory to work in, as a program sees it.
struct World {
    namespace: Arc<MountNamespace>,
    cred: Cred,
    env: VfsEnv,
}

impl World {
    fn new((super_block, root): Tree) -> Self {
        let flags = MountFlags::default();
        let mount = NewMount { super_block, root, flags, source: b"none".to_vec() };
        let namespace = MountNamespace::new(mount);
        Self { namespace, cred: Cred::root(), env: VfsEnv::default() }
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

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let flags = OpenFlags::O_CREAT | OpenFlags::O_WRONLY | OpenFlags::O_TRUNC;
        let file = self.walk().open(path.as_bytes(), flags, 0o644)?.file;
        file.write(&mut SliceSource::new(text.as_bytes()), None, &self.env).map(drop)
    }
}

fn run() -> Result<()> {
    let lower = Tmpfs::new(TmpfsOptions { mode: 0o755, ..TmpfsOptions::default() })?;
    let image = World::new(lower.clone());
    image.walk().mkdir(b"/etc", 0o755)?;
    image.write("/etc/motd", "hello\n")?;
    image.write("/etc/old", "old\n")?;

    let (_, upper) = Tmpfs::new(TmpfsOptions::default())?;
    let overlay = Overlay::new(Some(upper), vec![lower.1], OverlayOptions::default())?;
    let root = Arc::clone(&overlay.1);
    let container = World::new(overlay);
    container.write("/etc/motd", "hello from the container\n")?;
    container.walk().unlink(b"/etc/old")?;
    container.walk().mkdir(b"/srv", 0o755)?;

    changes(&root, &mut |change| {
        let letter = match change.kind {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Removed => 'D',
        };
        println!("{letter} /{}", String::from_utf8_lossy(change.path));
        Ok(())
    })
}

fn main() -> core::result::Result<(), Box<dyn std::error::Error>> {
    run().map_err(|error: Errno| error.description().into())
}
