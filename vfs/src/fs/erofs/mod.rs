//! EROFS: read-only images, as `mkfs.erofs` makes them.
//!
//! What is read: flat and inline files, chunked files with holes, files compressed with LZ4 (compact and full
//! indexes, clusters of several blocks, interlaced plain data), extended attributes, special files. What is not:
//! other algorithms, packed tails and fragments, deduplicated data, images over several devices; an image that needs
//! one of these is refused when it is mounted, a file with an unknown algorithm (EOPNOTSUPP) when it is read.
//!
//! Model: an [`Image`] is bytes that can be read at an offset (a file of the host, an open file, memory); an inode
//! is decoded when it is looked up and never changes; nothing is read ahead or kept but the last cluster of each
//! open file. A file that is mapped is unpacked into a memfd, which inodes that are in use share, and of which the
//! most recent are kept for the next program.
//!
//! **Hostile images**: every offset is checked against the image, every count against what holds it; no structure
//! can make a read loop, recurse or allocate more than one cluster (12 MiB at most). What contradicts itself
//! is EUCLEAN, as on Linux.
//!
//! Cost: a lookup is one read per halving of the directory's blocks, and one for the inode; a listing one read per
//! block; reading flat data one read and one copy; compressed data one read per cluster and its decompression, again
//! for each open file that comes back to a cluster after another.
//!
//! Locks: each open file's cluster, and the slot of a file that is unpacked, both held over reads of the image; below a
//! slot the list of unpacked files, a leaf.
//!
//! References: the kernel's `fs/erofs/erofs_fs.h` and `Documentation/filesystems/erofs.rst`.

mod compressed;
mod data;
mod dir;
mod file;
pub mod fuzz;
mod image;
mod index;
mod inode;
mod layout;
mod unpacked;
mod xattr;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::{Errno, Result};

use super::inode_table::InodeTable;
use crate::fs_type::FsType;
use crate::inode::Inode;
use crate::super_block::{FileSystem, FsStats, MAX_STACK_DEPTH, SuperBlock};
use crate::walk::Walk;

pub use image::{Bytes, Image};
use inode::ErofsInode;
use layout::Super;
use unpacked::Unpacked;

/// `EROFS_SUPER_MAGIC_V1`.
const MAGIC: u64 = 0xe0f5_e1e2;

/// A mounted image.
pub struct Erofs {
    image: Image,
    /// File systems of this VFS below it.
    depth: u32,
    super_block: Super,
    table: InodeTable<u64, ErofsInode>,
    unpacked: Unpacked,
}

impl Erofs {
    /// Mounts an image; `source` is what /proc/mounts shows as the device.
    ///
    /// # Errors
    /// EINVAL for what is no image, EOPNOTSUPP for one that needs what is not read here, EUCLEAN for a damaged one,
    /// ENOTBLK for one in a file that is too many file systems up.
    #[expect(
        clippy::new_ret_no_self,
        reason = "a file system is used through its super block and root"
    )]
    pub fn new(bytes: Arc<dyn Bytes>, source: &[u8]) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        // Other than for an overlay's layers, this is the error of Linux here.
        let depth = bytes.depth();
        if depth > MAX_STACK_DEPTH {
            return Err(Errno::ENOTBLK);
        }
        let image = Image::new(bytes);
        let super_block = Super::read(&image)?;
        let root = super_block.root;
        let fs = Arc::new(Self {
            image,
            depth,
            super_block,
            table: InodeTable::default(),
            unpacked: Unpacked::default(),
        });
        let super_block = SuperBlock::new(Arc::clone(&fs) as Arc<dyn FileSystem>, source);
        let root = ErofsInode::find(&fs, &super_block, root)?;
        if !root.is_dir() {
            return Err(Errno::EUCLEAN);
        }
        Ok((super_block, root))
    }

    /// The start of a block.
    fn block(&self, number: u32) -> u64 {
        u64::from(number) << self.super_block.block_bits
    }

    fn block_size(&self) -> usize {
        1 << self.super_block.block_bits
    }
}

impl FileSystem for Erofs {
    fn name(&self) -> &'static str {
        "erofs"
    }

    fn stats(&self) -> Result<FsStats> {
        Ok(FsStats {
            magic: MAGIC,
            block_size: 1 << self.super_block.block_bits,
            blocks: u64::from(self.super_block.blocks),
            files: self.super_block.inodes,
            name_max: 255,
            ..FsStats::default()
        })
    }

    fn read_only(&self) -> bool {
        true
    }

    fn stack_depth(&self) -> u32 {
        self.depth
    }
}

/// `mount -t erofs FILE DIRECTORY`: the device is a file with an image in it.
pub(crate) struct ErofsType;

impl FsType for ErofsType {
    fn name(&self) -> &'static str {
        "erofs"
    }

    fn nodev(&self) -> bool {
        false
    }

    fn mount(
        &self,
        source: &[u8],
        options: &[u8],
        walk: &Walk<'_>,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let harmless: [&[u8]; 4] = [b"", b"user_xattr", b"acl", b"cache_strategy=readaround"];
        if options.split(|byte| *byte == b',').any(|option| !harmless.contains(&option)) {
            return Err(Errno::EINVAL);
        }
        let file = walk.open(source, OpenFlags::empty(), 0)?.file;
        if !file.attr()?.is_regular() {
            return Err(Errno::ENOTBLK);
        }
        Self::mount_file(file, source)
    }
}

impl ErofsType {
    fn mount_file(
        file: Arc<crate::file::OpenFile>,
        source: &[u8],
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        Erofs::new(Arc::new(file), source)
    }
}
