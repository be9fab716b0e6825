//! Looks into an EROFS image without mounting it on the host: prints a file, or lists a directory.
//!
//! Run it with `cargo run -p chitin-vfs --example erofs -- IMAGE /PATH`.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::erofs::Erofs;
use chitin_vfs::io::VecSink;
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::MountNamespace;
use chitin_vfs::walk::{ResolveFlags, Walk};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

fn show(walk: &Walk<'_>, path: &[u8]) -> Result<()> {
    let file = walk.open(path, OpenFlags::empty(), 0)?.file;
    if !file.attr()?.is_dir() {
        return copy(walk, &file);
    }
    let mut names = Vec::new();
    file.read_dir(walk.env, &mut |entry| {
        names.push(entry.name.to_vec());
        true
    })?;
    for name in names {
        let found = walk.lookup(&[path, b"/", &name].concat(), false)?;
        let attr = found.inode().attr()?;
        let name = String::from_utf8_lossy(&name);
        println!("{:06o} {:>5} {:>5} {:>10} {name}", attr.mode, attr.uid, attr.gid, attr.size);
    }
    Ok(())
}

fn copy(walk: &Walk<'_>, file: &chitin_vfs::file::OpenFile) -> Result<()> {
    loop {
        let mut sink = VecSink::new(CHUNK);
        if file.read(&mut sink, None, walk.env)? == 0 {
            return Ok(());
        }
        std::io::stdout().write_all(&sink.bytes).map_err(|_| Errno::EPIPE)?;
    }
}

fn run(image: OwnedFd, path: &str) -> Result<()> {
    let (super_block, root) = Erofs::new(Arc::new(image), b"image")?;
    let flags = MountFlags::default();
    let mount = NewMount { super_block, root, flags, source: b"image".to_vec() };
    let namespace = MountNamespace::new(mount);
    let (cred, env) = (Cred::root(), VfsEnv::default());
    let walk = Walk {
        root: namespace.root(),
        base: namespace.root(),
        cred: &cred,
        umask: 0o022,
        now: Timespec::default(),
        resolve: ResolveFlags::empty(),
        env: &env,
    };
    show(&walk, path.as_bytes())
}

fn main() -> core::result::Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(image), Some(path)) = (args.next(), args.next()) else {
        return Err("usage: erofs IMAGE /PATH".into());
    };
    let image = std::fs::File::open(image)?;
    run(image.into(), &path).map_err(|error| error.description().into())
}
