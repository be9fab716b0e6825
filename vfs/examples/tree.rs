//! Builds a small tree in memory with a mount in it and prints it as `find -ls` would.
//!
//! Run it with `cargo run -p chitin-vfs --example tree`.

use chitin_abi::fs::OpenFlags;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use chitin_vfs::io::SliceSource;
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::{MountNamespace, mountinfo_line};
use chitin_vfs::walk::{ResolveFlags, Walk};

fn tmpfs(size: u64) -> Result<NewMount> {
    let (super_block, root) =
        Tmpfs::new(TmpfsOptions { size, mode: 0o755, ..TmpfsOptions::default() })?;
    Ok(NewMount { super_block, root, flags: MountFlags::default(), source: b"tmpfs".to_vec() })
}

fn print(walk: &Walk<'_>, path: &str) -> Result<()> {
    let found = walk.lookup(path.as_bytes(), false)?;
    let attr = found.inode().attr()?;
    println!("{:>4} {:06o} {:>2} {:>6} {path}", attr.ino, attr.mode, attr.nlink, attr.size);
    if !attr.is_dir() {
        return Ok(());
    }
    let dir = walk.open_path(&found, OpenFlags::O_DIRECTORY)?.file;
    let mut names = Vec::new();
    dir.read_dir(walk.env, &mut |entry| {
        names.push(String::from_utf8_lossy(entry.name).into_owned());
        true
    })?;
    names.retain(|name| name != "." && name != "..");
    names.iter().try_for_each(|name| print(walk, &format!("{}/{name}", path.trim_end_matches('/'))))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run().map_err(|error: Errno| error.description().into())
}

fn run() -> Result<()> {
    let namespace = MountNamespace::new(tmpfs(1 << 20)?);
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
    walk.mkdir(b"/etc", 0o755)?;
    let at = walk.mkdir(b"/tmp", 0o1777)?;
    namespace.mount(&at, tmpfs(1 << 16)?)?;
    let file = walk.open(b"/etc/motd", OpenFlags::O_CREAT | OpenFlags::O_WRONLY, 0o644)?.file;
    file.write(&mut SliceSource::new(b"hello\n"), None, &env)?;
    walk.symlink(b"../etc/motd", b"/tmp/link")?;
    print(&walk, "/")?;
    for info in namespace.mounts(&namespace.root()) {
        print!("{}", String::from_utf8_lossy(&mountinfo_line(&info, &namespace.root())));
    }
    Ok(())
}
