//! The structures of an image, as they are stored.

use chitin_abi::{Errno, Result};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::MAGIC;
use super::image::Image;

/// Where the super block is.
const SUPER_OFFSET: u64 = 1024;
/// Incompatible features that are read here: compressed data ends at the end of its cluster, algorithm records
/// and clusters of several blocks, chunked files, long prefixes of attributes (which are only passed over).
const FEATURES: u32 = 0x1 | 0x2 | 0x4 | 0x40;
/// Compressed data ends where its cluster ends.
const ZERO_PADDING: u32 = 0x1;
/// Bytes of an inode's slot, by which inodes are numbered.
const SLOT_BITS: u32 = 5;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawSuper {
    magic: U32,
    checksum: U32,
    feature_compat: U32,
    block_bits: u8,
    ext_slots: u8,
    root: U16,
    inodes: U64,
    build_time: U64,
    build_time_nsec: U32,
    blocks: U32,
    meta_block: U32,
    xattr_block: U32,
    uuid: [u8; 16],
    volume_name: [u8; 16],
    feature_incompat: U32,
    compression: U16,
    extra_devices: U16,
    device_slots: U16,
    dir_block_bits: u8,
    prefix_count: u8,
    prefix_start: U32,
    packed_inode: U64,
    reserved: [u8; 24],
}

/// What of the super block matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Super {
    pub block_bits: u8,
    pub root: u64,
    pub inodes: u64,
    pub time: (i64, u32),
    pub blocks: u32,
    pub meta_block: u32,
    pub xattr_block: u32,
    pub zero_padding: bool,
}

impl Super {
    pub fn read(image: &Image) -> Result<Self> {
        let raw: RawSuper = image.get(SUPER_OFFSET).map_err(|error| match error {
            Errno::EUCLEAN => Errno::EINVAL,
            other => other,
        })?;
        if u64::from(raw.magic.get()) != MAGIC {
            return Err(Errno::EINVAL);
        }
        if !(9..=16).contains(&raw.block_bits) {
            return Err(Errno::EINVAL);
        }
        let features = raw.feature_incompat.get();
        if features & !FEATURES != 0 || raw.dir_block_bits != 0 || raw.extra_devices.get() != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        Ok(Self {
            block_bits: raw.block_bits,
            root: u64::from(raw.root.get()),
            inodes: raw.inodes.get(),
            time: (raw.build_time.get().cast_signed(), raw.build_time_nsec.get()),
            blocks: raw.blocks.get(),
            meta_block: raw.meta_block.get(),
            xattr_block: raw.xattr_block.get(),
            zero_padding: features & ZERO_PADDING != 0,
        })
    }

    /// Where the inode of a number is.
    pub fn inode_offset(&self, number: u64) -> Result<u64> {
        let base = u64::from(self.meta_block) << self.block_bits;
        let offset = number.checked_mul(1 << SLOT_BITS).ok_or(Errno::EUCLEAN)?;
        base.checked_add(offset).ok_or(Errno::EUCLEAN)
    }
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawCompact {
    format: U16,
    xattr_count: U16,
    mode: U16,
    nlink: U16,
    size: U32,
    reserved: U32,
    place: U32,
    ino: U32,
    uid: U16,
    gid: U16,
    reserved2: U32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawExtended {
    format: U16,
    xattr_count: U16,
    mode: U16,
    reserved: U16,
    size: U64,
    place: U32,
    ino: U32,
    uid: U32,
    gid: U32,
    mtime: U64,
    mtime_nsec: U32,
    nlink: U32,
    reserved2: [u8; 16],
}

/// How a file's data is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    /// In blocks one after the other.
    Flat,
    /// In blocks, and the rest behind the inode.
    Inline,
    /// Compressed, with an index of eight bytes per cluster.
    CompressedFull,
    /// Compressed, with a packed index.
    CompressedCompact,
    /// In chunks that may be anywhere.
    Chunked,
}

/// An inode as it is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub storage: Storage,
    pub mode: u32,
    pub nlink: u64,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// First block, device number, number of compressed blocks or format of chunks.
    pub place: u32,
    pub mtime: (i64, u32),
    /// Where its extended attributes begin.
    pub xattr_offset: u64,
    /// How many bytes they take.
    pub xattr_size: u64,
}

impl Stored {
    /// Where what follows the inode and its attributes begins.
    pub fn tail(&self) -> Result<u64> {
        self.xattr_offset.checked_add(self.xattr_size).ok_or(Errno::EUCLEAN)
    }
}

/// Reads an inode.
pub(super) fn read_inode(image: &Image, super_block: &Super, number: u64) -> Result<Stored> {
    let offset = super_block.inode_offset(number)?;
    let compact: RawCompact = image.get(offset)?;
    let format = compact.format.get();
    let storage = match (format >> 1) & 7 {
        0 => Storage::Flat,
        1 => Storage::CompressedFull,
        2 => Storage::Inline,
        3 => Storage::CompressedCompact,
        4 => Storage::Chunked,
        _ => return Err(Errno::EOPNOTSUPP),
    };
    let xattr_size = match u64::from(compact.xattr_count.get()) {
        0 => 0,
        count => 12 + (count - 1) * 4,
    };
    let behind = |size: usize| offset.checked_add(size as u64).ok_or(Errno::EUCLEAN);
    if format & 1 == 0 {
        return Ok(Stored {
            storage,
            mode: u32::from(compact.mode.get()),
            nlink: u64::from(compact.nlink.get()),
            uid: u32::from(compact.uid.get()),
            gid: u32::from(compact.gid.get()),
            size: u64::from(compact.size.get()),
            place: compact.place.get(),
            mtime: super_block.time,
            xattr_offset: behind(size_of::<RawCompact>())?,
            xattr_size,
        });
    }
    let extended: RawExtended = image.get(offset)?;
    Ok(Stored {
        storage,
        mode: u32::from(extended.mode.get()),
        nlink: u64::from(extended.nlink.get()),
        uid: extended.uid.get(),
        gid: extended.gid.get(),
        size: extended.size.get(),
        place: extended.place.get(),
        mtime: (extended.mtime.get().cast_signed(), extended.mtime_nsec.get()),
        xattr_offset: behind(size_of::<RawExtended>())?,
        xattr_size,
    })
}

/// Rounds up to a power of two.
pub(super) fn align(offset: u64, to: u64) -> Result<u64> {
    offset.checked_next_multiple_of(to).ok_or(Errno::EUCLEAN)
}
