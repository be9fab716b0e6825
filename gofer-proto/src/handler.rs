//! What a file server implements.

use alloc::vec::Vec;

use chitin_abi::{Errno, Result};

use crate::message::{Attr, DirEntry, NewFile, Qid, SetAttr, StatFs};
use crate::name::Name;

/// A record lock, in the terms of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock<'a> {
    /// 0 shared, 1 exclusive, 2 none.
    pub kind: u8,
    /// 1: wait for it; 2: reclaim.
    pub flags: u32,
    /// First byte.
    pub start: u64,
    /// Bytes; 0 for all up to the end.
    pub length: u64,
    /// The client's process.
    pub process: u32,
    /// The client's name.
    pub client: &'a [u8],
}

/// A file that was just made.
#[derive(Debug)]
pub struct Made<N, D> {
    /// Its place.
    pub node: N,
    /// Its attributes.
    pub attr: Attr,
    /// A descriptor of a regular file, for reading and writing.
    pub descriptor: Option<D>,
}

/// Serves a tree of files. A node is a place in the tree (what a fid stands for); a file is a node that was
/// opened. Names are single components; every method has a default for servers that cannot do it.
#[expect(unused_variables, reason = "the defaults do nothing")]
pub trait Handler {
    /// A place in the tree.
    type Node;
    /// An open file or directory.
    type File;
    /// What can be donated.
    type Descriptor;

    /// The root of the tree of this name.
    ///
    /// # Errors
    /// ENOENT, EACCES.
    fn attach(&mut self, name: &[u8], uid: u32) -> Result<(Self::Node, Qid)>;

    /// Another handle of the same place.
    ///
    /// # Errors
    /// EMFILE.
    fn duplicate(&mut self, node: &Self::Node) -> Result<Self::Node>;

    /// The entry of a directory, never following links.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, EACCES.
    fn walk(&mut self, dir: &Self::Node, name: Name<'_>) -> Result<(Self::Node, Qid)>;

    /// Attributes; `file` is the open file if there is one.
    ///
    /// # Errors
    /// Those of the storage.
    fn get_attr(&mut self, node: &Self::Node, file: Option<&Self::File>, mask: u64)
    -> Result<Attr>;

    /// Opens by Linux flags.
    ///
    /// # Errors
    /// EACCES, EROFS, ELOOP, those of the storage.
    fn open(&mut self, node: &Self::Node, flags: u32) -> Result<(Self::File, Qid)>;

    /// Appends up to `count` bytes from `offset` to `out`.
    ///
    /// # Errors
    /// Those of the storage.
    fn read(
        &mut self,
        file: &mut Self::File,
        offset: u64,
        count: u32,
        out: &mut Vec<u8>,
    ) -> Result<()>;

    /// Writes; returns how many bytes.
    ///
    /// # Errors
    /// Those of the storage.
    fn write(&mut self, file: &mut Self::File, offset: u64, data: &[u8]) -> Result<u32> {
        Err(Errno::EROFS)
    }

    /// Hands out entries from `offset` on until `emit` returns false.
    ///
    /// # Errors
    /// ENOTDIR, those of the storage.
    fn read_dir(
        &mut self,
        file: &mut Self::File,
        offset: u64,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()>;

    /// The text of a symbolic link.
    ///
    /// # Errors
    /// EINVAL.
    fn read_link(&mut self, node: &Self::Node) -> Result<Vec<u8>>;

    /// Numbers of the file system.
    ///
    /// # Errors
    /// Those of the storage.
    fn stat_fs(&mut self, node: &Self::Node) -> Result<StatFs>;

    /// Makes and opens a regular file.
    ///
    /// # Errors
    /// EEXIST, EROFS, those of the storage.
    fn create(
        &mut self,
        dir: &Self::Node,
        name: Name<'_>,
        flags: u32,
        mode: u32,
        gid: u32,
    ) -> Result<(Self::Node, Self::File, Qid)> {
        Err(Errno::EROFS)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// EEXIST, EROFS, those of the storage.
    fn make_dir(&mut self, dir: &Self::Node, name: Name<'_>, mode: u32, gid: u32) -> Result<Qid> {
        Err(Errno::EROFS)
    }

    /// Makes a special file.
    ///
    /// # Errors
    /// EEXIST, EROFS, EPERM, those of the storage.
    fn make_node(
        &mut self,
        dir: &Self::Node,
        name: Name<'_>,
        mode: u32,
        device: (u32, u32),
        gid: u32,
    ) -> Result<Qid> {
        Err(Errno::EROFS)
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// EEXIST, EROFS, those of the storage.
    fn symlink(
        &mut self,
        dir: &Self::Node,
        name: Name<'_>,
        target: &[u8],
        gid: u32,
    ) -> Result<Qid> {
        Err(Errno::EROFS)
    }

    /// Makes a hard link.
    ///
    /// # Errors
    /// EEXIST, EROFS, EXDEV, those of the storage.
    fn link(&mut self, dir: &Self::Node, node: &Self::Node, name: Name<'_>) -> Result<()> {
        Err(Errno::EROFS)
    }

    /// Renames an entry; `flags` are `RENAME_…`.
    ///
    /// # Errors
    /// ENOENT, EEXIST, EROFS, those of the storage.
    fn rename(
        &mut self,
        old_dir: &Self::Node,
        old_name: Name<'_>,
        new_dir: &Self::Node,
        new_name: Name<'_>,
        flags: u32,
    ) -> Result<()> {
        Err(Errno::EROFS)
    }

    /// Renames what a node stands for (the older form, which names no entry).
    ///
    /// # Errors
    /// EOPNOTSUPP.
    fn rename_node(&mut self, node: &Self::Node, dir: &Self::Node, name: Name<'_>) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Removes an entry; `AT_REMOVEDIR` in `flags` for a directory.
    ///
    /// # Errors
    /// ENOENT, ENOTEMPTY, EROFS, those of the storage.
    fn unlink(&mut self, dir: &Self::Node, name: Name<'_>, flags: u32) -> Result<()> {
        Err(Errno::EROFS)
    }

    /// Removes what a node stands for (the older form, which names no entry).
    ///
    /// # Errors
    /// EOPNOTSUPP.
    fn remove_node(&mut self, node: &Self::Node) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Changes attributes.
    ///
    /// # Errors
    /// EROFS, EPERM, those of the storage.
    fn set_attr(
        &mut self,
        node: &Self::Node,
        file: Option<&Self::File>,
        change: &SetAttr,
    ) -> Result<()> {
        Err(Errno::EROFS)
    }

    /// Brings data to the storage.
    ///
    /// # Errors
    /// EIO, ENOSPC.
    fn sync(&mut self, file: &mut Self::File, data_only: bool) -> Result<()> {
        Ok(())
    }

    /// `fallocate(2)`.
    ///
    /// # Errors
    /// EOPNOTSUPP, ENOSPC.
    fn allocate(
        &mut self,
        file: &mut Self::File,
        mode: u32,
        offset: u64,
        length: u64,
    ) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The value of an extended attribute.
    ///
    /// # Errors
    /// ENODATA, EOPNOTSUPP.
    fn get_xattr(&mut self, node: &Self::Node, name: &[u8]) -> Result<Vec<u8>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The names of the extended attributes, each with a NUL behind it.
    ///
    /// # Errors
    /// EOPNOTSUPP.
    fn list_xattr(&mut self, node: &Self::Node) -> Result<Vec<u8>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Sets an extended attribute; `flags` are `XATTR_…`.
    ///
    /// # Errors
    /// EEXIST, ENODATA, ENOSPC, EOPNOTSUPP.
    fn set_xattr(
        &mut self,
        node: &Self::Node,
        name: &[u8],
        value: &[u8],
        flags: u32,
    ) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// ENODATA, EOPNOTSUPP.
    fn remove_xattr(&mut self, node: &Self::Node, name: &[u8]) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Takes or drops a record lock: 0 done, 1 blocked.
    ///
    /// # Errors
    /// EOPNOTSUPP.
    fn lock(&mut self, file: &mut Self::File, lock: Lock<'_>) -> Result<u8> {
        Err(Errno::EOPNOTSUPP)
    }

    /// The lock that is in the way of one; its `kind` is 2 where nothing is.
    ///
    /// # Errors
    /// EOPNOTSUPP.
    fn get_lock<'a>(&mut self, file: &mut Self::File, lock: Lock<'a>) -> Result<Lock<'a>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// A descriptor of what a node stands for, opened by Linux flags, to be given away.
    ///
    /// # Errors
    /// EACCES, EOPNOTSUPP.
    fn donate(&mut self, node: &Self::Node, flags: u32) -> Result<(Self::Descriptor, Qid)> {
        Err(Errno::EOPNOTSUPP)
    }

    /// As [`Handler::read_dir`], with the attributes of each entry where they are to be had.
    ///
    /// # Errors
    /// ENOTDIR, those of the storage.
    fn read_dir_attr(
        &mut self,
        node: &Self::Node,
        file: &mut Self::File,
        offset: u64,
        emit: &mut dyn FnMut(DirEntry<'_>, Attr) -> bool,
    ) -> Result<()> {
        self.read_dir(file, offset, &mut |entry| emit(entry, Attr::default()))
    }

    /// Makes an entry of the type that `new.mode` says; `target` is the text of a symbolic link.
    ///
    /// # Errors
    /// EEXIST, EROFS, EPERM, those of the storage.
    fn make(
        &mut self,
        dir: &Self::Node,
        name: Name<'_>,
        new: &NewFile,
        target: &[u8],
    ) -> Result<Made<Self::Node, Self::Descriptor>> {
        Err(Errno::EROFS)
    }

    /// Makes a regular file without a name.
    ///
    /// # Errors
    /// EOPNOTSUPP, EROFS, those of the storage.
    fn make_unnamed(
        &mut self,
        dir: &Self::Node,
        new: &NewFile,
    ) -> Result<Made<Self::Node, Self::Descriptor>> {
        Err(Errno::EOPNOTSUPP)
    }
}
