//! What messages are made of: qids, attributes, directory entries.

use alloc::vec::Vec;

use bitflags::bitflags;

use crate::name::Name;
use crate::wire::{DecodeError, Decoder, Encoder};

/// Most components of one walk that plain 9P2000.L allows.
pub const MAX_WALK: usize = 16;
/// Most elements of a list in a message of the extension.
pub const MAX_LIST: usize = 128;

/// Something that a message contains.
pub trait Field<'a>: Sized {
    /// Appends its bytes.
    fn put(&self, to: &mut Encoder<'_>);
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    fn get(from: &mut Decoder<'a>) -> Result<Self, DecodeError>;
}

macro_rules! integer_fields {
    ($($type:ty: $get:ident $put:ident;)*) => {
        $(impl<'a> Field<'a> for $type {
            fn put(&self, to: &mut Encoder<'_>) {
                to.$put(*self);
            }

            fn get(from: &mut Decoder<'a>) -> Result<Self, DecodeError> {
                from.$get()
            }
        })*
    };
}

integer_fields! {
    u8: u8 put_u8;
    u16: u16 put_u16;
    u32: u32 put_u32;
    u64: u64 put_u64;
}

impl<'a> Field<'a> for Name<'a> {
    fn put(&self, to: &mut Encoder<'_>) {
        to.put_string(self.bytes());
    }

    fn get(from: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        Self::new(from.string()?)
    }
}

/// A string of up to 65535 bytes, such as the text of a symbolic link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text<'a>(pub &'a [u8]);

impl<'a> Field<'a> for Text<'a> {
    fn put(&self, to: &mut Encoder<'_>) {
        to.put_string(self.0);
    }

    fn get(from: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        from.string().map(Self)
    }
}

/// File data with a 32-bit length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data<'a>(pub &'a [u8]);

impl<'a> Field<'a> for Data<'a> {
    fn put(&self, to: &mut Encoder<'_>) {
        to.put_data(self.0);
    }

    fn get(from: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        from.data().map(Self)
    }
}

fn put_list<'a, T: Field<'a>>(list: &[T], limit: usize, to: &mut Encoder<'_>) {
    let list = list.get(..limit).unwrap_or(list);
    to.put_u16(u16::try_from(list.len()).unwrap_or(u16::MAX));
    for element in list {
        element.put(to);
    }
}

fn get_list<'a, T: Field<'a>>(limit: usize, from: &mut Decoder<'a>) -> Result<Vec<T>, DecodeError> {
    let count = usize::from(from.u16()?);
    if count > limit {
        return Err(DecodeError::TooMany);
    }
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(T::get(from)?);
    }
    Ok(list)
}

/// A list of at most [`MAX_WALK`] elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShortList<T>(pub Vec<T>);

impl<'a, T: Field<'a>> Field<'a> for ShortList<T> {
    fn put(&self, to: &mut Encoder<'_>) {
        put_list(&self.0, MAX_WALK, to);
    }

    fn get(from: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        get_list(MAX_WALK, from).map(Self)
    }
}

/// A list of at most [`MAX_LIST`] elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

impl<'a, T: Field<'a>> Field<'a> for List<T> {
    fn put(&self, to: &mut Encoder<'_>) {
        put_list(&self.0, MAX_LIST, to);
    }

    fn get(from: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        get_list(MAX_LIST, from).map(Self)
    }
}

/// A structure whose fields follow one another.
macro_rules! structure {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl<'a> Field<'a> for $name {
            fn put(&self, to: &mut Encoder<'_>) {
                $(self.$field.put(to);)*
            }

            fn get(from: &mut Decoder<'a>) -> Result<Self, DecodeError> {
                Ok(Self { $($field: Field::get(from)?,)* })
            }
        }
    };
}

structure! {
    /// What identifies a file on a server.
    Qid {
        /// `QID_…`: directory, link or neither.
        kind: u8,
        /// Changes when the file does; 0 where the server does not know.
        version: u32,
        /// The file's identity.
        path: u64,
    }
}

/// [`Qid::kind`] of a directory.
pub const QID_DIR: u8 = 0x80;
/// [`Qid::kind`] of a symbolic link.
pub const QID_LINK: u8 = 0x02;
/// [`Qid::kind`] of everything else.
pub const QID_FILE: u8 = 0;

structure! {
    /// A point in time since 1970.
    Time {
        /// Seconds, as two's complement.
        sec: u64,
        /// Nanoseconds.
        nsec: u64,
    }
}

structure! {
    /// A file's attributes (`Rgetattr`).
    Attr {
        /// Which fields hold something (`GETATTR_…` of 9P2000.L).
        valid: u64,
        /// Identity.
        qid: Qid,
        /// Type and permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Hard links.
        nlink: u64,
        /// Device number of a device node.
        rdev: u64,
        /// Bytes.
        size: u64,
        /// Preferred block size.
        block_size: u64,
        /// 512-byte units in use.
        blocks: u64,
        /// Last access.
        atime: Time,
        /// Last change of the contents.
        mtime: Time,
        /// Last change of the attributes.
        ctime: Time,
        /// Birth.
        btime: Time,
        /// Generation.
        gen_number: u64,
        /// Version of the data.
        data_version: u64,
    }
}

/// [`Attr::valid`] and `Tgetattr` masks: everything that `stat(2)` shows.
pub const GETATTR_BASIC: u64 = 0x7ff;
/// [`Attr::valid`]: also the time of birth, generation and data version.
pub const GETATTR_ALL: u64 = 0x3fff;

bitflags! {
    /// Which attributes a `Tsetattr` changes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SetAttrMask: u32 {
        /// Permission bits.
        const MODE = 0x1;
        /// Owner.
        const UID = 0x2;
        /// Group.
        const GID = 0x4;
        /// Length.
        const SIZE = 0x8;
        /// Last access; to now unless [`SetAttrMask::ATIME_SET`].
        const ATIME = 0x10;
        /// Last change of the contents; to now unless [`SetAttrMask::MTIME_SET`].
        const MTIME = 0x20;
        /// Last change of the attributes, to now.
        const CTIME = 0x40;
        /// The time of access is given.
        const ATIME_SET = 0x80;
        /// The time of change is given.
        const MTIME_SET = 0x100;
    }
}

impl<'a> Field<'a> for SetAttrMask {
    fn put(&self, to: &mut Encoder<'_>) {
        to.put_u32(self.bits());
    }

    fn get(from: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        Self::from_bits(from.u32()?).ok_or(DecodeError::BadValue)
    }
}

structure! {
    /// A change of attributes (`Tsetattr`).
    SetAttr {
        /// Which of the fields are meant.
        valid: SetAttrMask,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Length.
        size: u64,
        /// Last access.
        atime: Time,
        /// Last change of the contents.
        mtime: Time,
    }
}

structure! {
    /// Numbers of a file system (`Rstatfs`).
    StatFs {
        /// `f_type`.
        kind: u32,
        /// Block size.
        block_size: u32,
        /// Blocks in all.
        blocks: u64,
        /// Free blocks.
        blocks_free: u64,
        /// Free blocks for everyone.
        blocks_available: u64,
        /// Inodes in all.
        files: u64,
        /// Free inodes.
        files_free: u64,
        /// File system id.
        fsid: u64,
        /// Longest name.
        name_length: u32,
    }
}

structure! {
    /// What a new file is to be.
    NewFile {
        /// Type and permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Device number of a device node.
        rdev: u64,
    }
}

structure! {
    /// An entry of a walk with attributes.
    Walked {
        /// Identity.
        qid: Qid,
        /// Attributes.
        attr: Attr,
    }
}

/// A directory entry in the data of `Rreaddir`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// Identity.
    pub qid: Qid,
    /// Where a reading goes on behind this entry.
    pub offset: u64,
    /// `DT_…`.
    pub kind: u8,
    /// The name; `.` and `..` may be among them.
    pub name: &'a [u8],
}

impl<'a> Field<'a> for DirEntry<'a> {
    fn put(&self, to: &mut Encoder<'_>) {
        self.qid.put(to);
        to.put_u64(self.offset);
        to.put_u8(self.kind);
        to.put_string(self.name);
    }

    fn get(from: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let (qid, offset, kind) = (Qid::get(from)?, from.u64()?, from.u8()?);
        let name = from.string()?;
        if !matches!(name, b"." | b"..") {
            Name::new(name)?;
        }
        Ok(Self { qid, offset, kind, name })
    }
}

impl DirEntry<'_> {
    /// Bytes that the entry takes in a reply.
    pub const fn size(&self) -> usize {
        24 + self.name.len()
    }
}

/// The entries in the data of a `Rreaddir`.
///
/// # Errors
/// What is wrong with the bytes.
pub fn dir_entries(data: &[u8]) -> Result<Vec<DirEntry<'_>>, DecodeError> {
    let mut decoder = Decoder::new(data);
    let mut entries = Vec::new();
    while decoder.remaining() > 0 {
        entries.push(DirEntry::get(&mut decoder)?);
    }
    Ok(entries)
}

/// The entries in the data of a `RreadDirAttr`, with attributes (`valid` is 0 where there are none).
///
/// # Errors
/// What is wrong with the bytes.
pub fn dir_entries_attr(data: &[u8]) -> Result<Vec<(DirEntry<'_>, Attr)>, DecodeError> {
    let mut decoder = Decoder::new(data);
    let mut entries = Vec::new();
    while decoder.remaining() > 0 {
        entries.push((DirEntry::get(&mut decoder)?, Attr::get(&mut decoder)?));
    }
    Ok(entries)
}
