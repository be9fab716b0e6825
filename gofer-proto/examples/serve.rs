//! Serves a directory of this machine, read-only, to one client after the other: by plain 9P2000.L to whoever speaks it.
//!
//! Run it with `cargo run -p chitin-gofer-proto --example serve -- DIRECTORY 127.0.0.1:5640`, and, where the kernel has
//! the file system, mount it with `mount -t 9p -o trans=tcp,port=5640,version=9p2000.L 127.0.0.1 /mnt`.
//!
//! A server for clients that nobody trusts works relative to descriptors instead of by paths: `chitin-vfs` has one.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;

use chitin_abi::{Errno, Result};
use chitin_gofer_proto::handler::Handler;
use chitin_gofer_proto::message::{
    Attr, DirEntry, GETATTR_BASIC, QID_DIR, QID_FILE, QID_LINK, Qid, StatFs, Time,
};
use chitin_gofer_proto::name::Name;
use chitin_gofer_proto::server::Server;

struct Directory {
    root: PathBuf,
}

/// An open file, or the entries of an open directory.
enum Opened {
    File(File),
    List(Vec<(Vec<u8>, Qid, u8)>),
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(5))
}

fn qid_of(metadata: &fs::Metadata) -> Qid {
    let kind = match metadata.file_type() {
        kind if kind.is_dir() => QID_DIR,
        kind if kind.is_symlink() => QID_LINK,
        _ => QID_FILE,
    };
    Qid { kind, version: 0, path: metadata.ino() }
}

fn stat(path: &PathBuf) -> Result<fs::Metadata> {
    fs::symlink_metadata(path).map_err(|error| errno(&error))
}

impl Handler for Directory {
    type Node = PathBuf;
    type File = Opened;
    type Descriptor = ();

    fn attach(&mut self, _name: &[u8], _uid: u32) -> Result<(PathBuf, Qid)> {
        Ok((self.root.clone(), qid_of(&stat(&self.root)?)))
    }

    fn duplicate(&mut self, node: &PathBuf) -> Result<PathBuf> {
        Ok(node.clone())
    }

    fn walk(&mut self, dir: &PathBuf, name: Name<'_>) -> Result<(PathBuf, Qid)> {
        if !stat(dir)?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        // A name is a single component and neither `.` nor `..`.
        let path = dir.join(std::ffi::OsStr::from_bytes(name.bytes()));
        let qid = qid_of(&stat(&path)?);
        Ok((path, qid))
    }

    fn get_attr(&mut self, node: &PathBuf, _file: Option<&Opened>, _mask: u64) -> Result<Attr> {
        let metadata = stat(node)?;
        let time =
            |sec: i64, nsec: i64| Time { sec: sec.cast_unsigned(), nsec: nsec.cast_unsigned() };
        Ok(Attr {
            valid: GETATTR_BASIC,
            qid: qid_of(&metadata),
            mode: metadata.mode(),
            uid: metadata.uid(),
            gid: metadata.gid(),
            nlink: metadata.nlink(),
            rdev: metadata.rdev(),
            size: metadata.size(),
            block_size: metadata.blksize(),
            blocks: metadata.blocks(),
            atime: time(metadata.atime(), metadata.atime_nsec()),
            mtime: time(metadata.mtime(), metadata.mtime_nsec()),
            ctime: time(metadata.ctime(), metadata.ctime_nsec()),
            ..Attr::default()
        })
    }

    fn open(&mut self, node: &PathBuf, flags: u32) -> Result<(Opened, Qid)> {
        let metadata = stat(node)?;
        let qid = qid_of(&metadata);
        if metadata.is_dir() {
            return Ok((Opened::List(list(node)?), qid));
        }
        if flags & 3 != 0 {
            return Err(Errno::EROFS);
        }
        if !metadata.is_file() {
            return Err(Errno::ENXIO);
        }
        Ok((Opened::File(File::open(node).map_err(|error| errno(&error))?), qid))
    }

    fn read(
        &mut self,
        file: &mut Opened,
        offset: u64,
        count: u32,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let Opened::File(file) = file else { return Err(Errno::EISDIR) };
        out.resize(count as usize, 0);
        let read = file.read_at(out, offset).map_err(|error| errno(&error))?;
        out.truncate(read);
        Ok(())
    }

    fn read_dir(
        &mut self,
        file: &mut Opened,
        offset: u64,
        emit: &mut dyn FnMut(DirEntry<'_>) -> bool,
    ) -> Result<()> {
        let Opened::List(entries) = file else { return Err(Errno::ENOTDIR) };
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, (name, qid, kind)) in (1..).zip(entries.iter()).skip(first) {
            if !emit(DirEntry { qid: *qid, offset: index, kind: *kind, name }) {
                break;
            }
        }
        Ok(())
    }

    fn read_link(&mut self, node: &PathBuf) -> Result<Vec<u8>> {
        let target = fs::read_link(node).map_err(|error| errno(&error))?;
        Ok(target.into_os_string().into_vec())
    }

    fn stat_fs(&mut self, _node: &PathBuf) -> Result<StatFs> {
        Ok(StatFs { kind: 0x0102_1997, block_size: 4096, name_length: 255, ..StatFs::default() })
    }
}

fn list(path: &PathBuf) -> Result<Vec<(Vec<u8>, Qid, u8)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| errno(&error))? {
        let entry = entry.map_err(|error| errno(&error))?;
        // One that has gone meanwhile is no entry any more.
        let Ok(metadata) = entry.metadata() else { continue };
        let kind = u8::try_from((metadata.mode() >> 12) & 15).unwrap_or(0);
        all.push((entry.file_name().into_vec(), qid_of(&metadata), kind));
    }
    Ok(all)
}

fn converse(mut stream: TcpStream, root: PathBuf) -> io::Result<()> {
    let mut server = Server::new(Directory { root }).plain_only();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        server.receive(buffer.get(..count).unwrap_or_default());
        while let Some(answer) = server.next_outgoing().map_err(io::Error::other)? {
            stream.write_all(&answer.bytes)?;
        }
    }
}

fn main() -> io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (Some(root), Some(address)) = (args.next(), args.next()) else {
        return Err(io::Error::other("usage: serve DIRECTORY ADDRESS"));
    };
    let listener = TcpListener::bind(address.to_string_lossy().as_ref())?;
    for stream in listener.incoming() {
        if let Err(error) = converse(stream?, root.clone().into()) {
            eprintln!("a client: {error}");
        }
    }
    Ok(())
}
