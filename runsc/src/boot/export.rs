//! What a container has changed in its root: as lines, and as the tar archive of an image's layer.
//!
//! The archive follows the image specification: a removed name is an empty file `.wh.NAME`, and a directory of which
//! nothing below is seen has a `.wh..wh..opq` in it.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chitin_abi::fs::{
    OpenFlags, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, major, minor,
};
use chitin_vfs::attr::Attr;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::file::File;
use chitin_vfs::fs::overlay::{Change, ChangeKind, changes};
use chitin_vfs::inode::Inode;
use chitin_vfs::io::SliceSink;
use tar::{Builder, EntryType, Header};

use crate::error::{Context as _, Failure, Result};

/// Writes a line for each change: `A`, `C` or `D` and the path.
pub(super) fn list(root: &Arc<dyn Inode>, to: impl Write) -> Result<()> {
    let mut to = io::BufWriter::new(to);
    each(root, |change| {
        let letter = match change.kind {
            ChangeKind::Added => "A",
            ChangeKind::Changed => "C",
            ChangeKind::Removed => "D",
        };
        to.write_all(letter.as_bytes())?;
        to.write_all(b" /")?;
        to.write_all(change.path)?;
        to.write_all(b"\n")
    })?;
    to.flush().context(|| "cannot write the list of changes")
}

/// Writes the archive.
pub(super) fn archive(root: &Arc<dyn Inode>, to: impl Write) -> Result<()> {
    let mut builder = Builder::new(io::BufWriter::with_capacity(1 << 16, to));
    let mut links = std::collections::HashMap::new();
    each(root, |change| append(&mut builder, change, &mut links))?;
    let finish = || builder.into_inner().and_then(|mut out| out.flush());
    finish().context(|| "cannot write the archive")
}

/// Calls `visit` for each change; an error of its own ends it.
fn each(root: &Arc<dyn Inode>, mut visit: impl FnMut(&Change<'_>) -> io::Result<()>) -> Result<()> {
    let mut failed = None;
    let walked = changes(root, &mut |change| {
        visit(change).map_err(|error| {
            failed = Some(error);
            chitin_abi::Errno::EIO
        })
    });
    match (failed, walked) {
        (Some(error), _) => Err(Failure::new(format!("cannot export the changes: {error}"))),
        (None, Err(chitin_abi::Errno::EINVAL)) => {
            Err(Failure::new("the container's root has no layer of changes"))
        }
        (None, walked) => walked.context(|| "cannot read the changes"),
    }
}

/// Where a file with several names is in the archive.
type Links = std::collections::HashMap<u64, PathBuf>;

fn host(error: chitin_abi::Errno) -> io::Error {
    io::Error::from_raw_os_error(error.raw())
}

fn append<W: Write>(
    builder: &mut Builder<W>,
    change: &Change<'_>,
    links: &mut Links,
) -> io::Result<()> {
    let path = Path::new(OsStr::from_bytes(change.path));
    let Some(inode) = change.inode else {
        let name = [b".wh.", path.file_name().unwrap_or_default().as_bytes()].concat();
        return empty(builder, &path.with_file_name(OsStr::from_bytes(&name)));
    };
    let attr = inode.attr().map_err(host)?;
    let mut header = header_of(&attr);
    if !attr.is_dir() && attr.nlink > 1 {
        if let Some(first) = links.get(&attr.ino) {
            header.set_entry_type(EntryType::Link);
            header.set_size(0);
            return builder.append_link(&mut header, path, first);
        }
        links.insert(attr.ino, path.to_owned());
    }
    match attr.mode & S_IFMT {
        S_IFLNK => {
            let text = inode.read_link(&VfsEnv::default()).map_err(host)?;
            builder.append_link(&mut header, path, Path::new(OsStr::from_bytes(&text)))
        }
        S_IFREG => {
            let file = Arc::clone(inode).open(OpenFlags::empty(), &VfsEnv::default());
            let data = Data { file: file.map_err(host)?, offset: 0 };
            // What a file has lost since it was asked for its size is zeros: the archive goes on behind all that the
            // header has announced.
            builder.append_data(&mut header, path, data.chain(io::repeat(0)).take(attr.size))
        }
        _ => builder.append_data(&mut header, path, io::empty()),
    }?;
    if change.opaque { empty(builder, &path.join(".wh..wh..opq")) } else { Ok(()) }
}

/// An empty file, as marks are.
fn empty<W: Write>(builder: &mut Builder<W>, path: &Path) -> io::Result<()> {
    let mut header = header_of(&Attr::empty(S_IFREG));
    builder.append_data(&mut header, path, io::empty())
}

fn header_of(attr: &Attr) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(attr.mode & 0o7777);
    header.set_uid(attr.uid.into());
    header.set_gid(attr.gid.into());
    header.set_mtime(u64::try_from(attr.mtime.tv_sec).unwrap_or(0));
    header.set_size(if attr.is_regular() { attr.size } else { 0 });
    header.set_entry_type(match attr.mode & S_IFMT {
        S_IFDIR => EntryType::Directory,
        S_IFLNK => EntryType::Symlink,
        S_IFCHR => EntryType::Char,
        S_IFBLK => EntryType::Block,
        S_IFIFO => EntryType::Fifo,
        _ => EntryType::Regular,
    });
    if matches!(attr.mode & S_IFMT, S_IFCHR | S_IFBLK) {
        // A header of this kind has room for both.
        let _ = header.set_device_major(major(attr.rdev));
        let _ = header.set_device_minor(minor(attr.rdev));
    }
    header
}

/// The contents of a file.
struct Data {
    file: Arc<dyn File>,
    offset: u64,
}

impl Read for Data {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(&mut SliceSink::new(buffer), self.offset).map_err(host)?;
        self.offset = self.offset.saturating_add(count as u64);
        Ok(count)
    }
}
