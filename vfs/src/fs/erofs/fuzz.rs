//! What a fuzzer runs on images: the body of a fuzz target, as an ordinary function.

use std::sync::Arc;

use chitin_abi::fs::OpenFlags;

use super::Erofs;
use crate::env::VfsEnv;
use crate::inode::Inode;
use crate::io::VecSink;

/// Files that are looked at.
const FILES: usize = 64;
/// Entries of a directory that are looked at.
const ENTRIES: usize = 64;
/// Bytes of a file that are read.
const BYTES: usize = 256 << 10;

/// Mounts hostile bytes and looks at everything in them, as far as a bound goes.
pub fn run(image: &[u8]) {
    let Ok((super_block, root)) = Erofs::new(Arc::new(image.to_vec()), b"image") else { return };
    let _ = super_block.fs().stats();
    let env = VfsEnv::default();
    let mut pending = vec![root];
    let mut seen = 0;
    while let Some(inode) = pending.pop() {
        seen += 1;
        if seen > FILES {
            return;
        }
        look(&inode, &env, &mut pending);
    }
}

fn look(inode: &Arc<dyn Inode>, env: &VfsEnv, pending: &mut Vec<Arc<dyn Inode>>) {
    let _ = (inode.attr(), inode.read_link(env), inode.lookup(b"name"));
    for name in inode.list_xattr().unwrap_or_default() {
        let _ = inode.get_xattr(&name);
    }
    let Ok(file) = Arc::clone(inode).open(OpenFlags::empty(), env) else { return };
    for offset in [0, 5000, u64::MAX / 2] {
        let _ = file.read_at(&mut VecSink::new(BYTES), offset);
    }
    let mut names = Vec::new();
    let _ = file.read_dir(0, &mut |entry| {
        names.push(entry.name.to_vec());
        names.len() < ENTRIES
    });
    names.retain(|name| name != b"." && name != b"..");
    pending.extend(names.iter().filter_map(|name| inode.lookup(name).ok()));
}
