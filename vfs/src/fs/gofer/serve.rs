//! The other side: a server of trees of this VFS, by the gofer protocol.
//!
//! Any tree can be served; of regular files of the host ([`HostFs`](crate::fs::host::HostFs)) descriptors are
//! donated. Nothing is checked but what the tree itself refuses: whoever is connected has the rights of the
//! server, so a server is confined to what its client may have. Device nodes, FIFOs and sockets are never opened.
//!
//! The server is one loop on one thread: requests are answered in order.

use core::mem::MaybeUninit;
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use chitin_abi::fs::{OpenFlags, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use chitin_abi::{Errno, Result};
use chitin_gofer_proto::handler::{Handler, Made};
use chitin_gofer_proto::message::{
    Attr as WireAttr, DirEntry as WireDirEntry, NewFile as WireNewFile, Qid,
    SetAttr as WireSetAttr, StatFs,
};
use chitin_gofer_proto::name::Name;
use chitin_gofer_proto::server::Server;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};

use super::convert;
use crate::env::VfsEnv;
use crate::file::{File, WriteAt};
use crate::fs::host;
use crate::host_errno::from_host;
use crate::inode::Inode;
use crate::io::{SliceSource, VecSink};

/// Serves trees by name.
#[derive(Default)]
pub struct Trees {
    roots: BTreeMap<Vec<u8>, Arc<dyn Inode>>,
    env: VfsEnv,
}

impl Trees {
    /// A server of one tree, by the empty name or `/`, which is what clients of one tree ask for.
    pub fn new(root: Arc<dyn Inode>) -> Self {
        Self::default().with(b"/", Arc::clone(&root)).with(b"", root)
    }

    /// The same server with one more tree.
    #[must_use]
    pub fn with(mut self, name: &[u8], root: Arc<dyn Inode>) -> Self {
        self.roots.insert(name.to_vec(), root);
        self
    }
}

type Node = Arc<dyn Inode>;
type Opened = Arc<dyn File>;

fn qid_of(inode: &dyn Inode) -> Result<Qid> {
    let attr = inode.attr()?;
    Ok(convert::qid(attr.mode, attr.ino))
}

/// A descriptor of a regular file of the host; `None` of any other.
fn donation(inode: &dyn Inode, write: bool) -> Result<Option<Arc<OwnedFd>>> {
    match host::descriptor(inode, write) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn made(inode: Node) -> Result<Made<Node, Arc<OwnedFd>>> {
    let attr = convert::to_wire(&inode.attr()?);
    // The file is there, whether it can be opened or not.
    let descriptor = donation(inode.as_ref(), true).unwrap_or(None);
    Ok(Made { node: inode, attr, descriptor })
}

impl Handler for Trees {
    type Node = Node;
    type File = Opened;
    type Descriptor = Arc<OwnedFd>;

    fn attach(&mut self, name: &[u8], _uid: u32) -> Result<(Node, Qid)> {
        let root = self.roots.get(name).ok_or(Errno::ENOENT)?;
        Ok((Arc::clone(root), qid_of(root.as_ref())?))
    }

    fn duplicate(&mut self, node: &Node) -> Result<Node> {
        Ok(Arc::clone(node))
    }

    fn walk(&mut self, dir: &Node, name: Name<'_>) -> Result<(Node, Qid)> {
        let inode = dir.lookup(name.bytes())?;
        let qid = qid_of(inode.as_ref())?;
        Ok((inode, qid))
    }

    fn get_attr(&mut self, node: &Node, _file: Option<&Opened>, _mask: u64) -> Result<WireAttr> {
        Ok(convert::to_wire(&node.attr()?))
    }

    fn open(&mut self, node: &Node, flags: u32) -> Result<(Opened, Qid)> {
        let qid = qid_of(node.as_ref())?;
        match node.access_info()?.mode & S_IFMT {
            S_IFREG | S_IFDIR => {}
            S_IFLNK => return Err(Errno::ELOOP),
            _ => return Err(Errno::ENXIO),
        }
        let file = Arc::clone(node).open(OpenFlags::from_bits_retain(flags), &self.env)?;
        Ok((file, qid))
    }

    fn read(
        &mut self,
        file: &mut Opened,
        offset: u64,
        count: u32,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut sink = VecSink::new(count as usize);
        file.read_at(&mut sink, offset)?;
        out.append(&mut sink.bytes);
        Ok(())
    }

    fn write(&mut self, file: &mut Opened, offset: u64, data: &[u8]) -> Result<u32> {
        let (count, _) = file.write_at(&mut SliceSource::new(data), WriteAt::Offset(offset))?;
        u32::try_from(count).map_err(|_| Errno::EIO)
    }

    fn read_dir(
        &mut self,
        file: &mut Opened,
        offset: u64,
        emit: &mut dyn FnMut(WireDirEntry<'_>) -> bool,
    ) -> Result<()> {
        file.read_dir(offset, &mut |entry| {
            let qid = convert::qid_of_entry(entry.kind, entry.ino);
            emit(WireDirEntry { qid, offset: entry.next, kind: entry.kind, name: entry.name })
        })
    }

    fn read_dir_attr(
        &mut self,
        node: &Node,
        file: &mut Opened,
        offset: u64,
        emit: &mut dyn FnMut(WireDirEntry<'_>, WireAttr) -> bool,
    ) -> Result<()> {
        file.read_dir(offset, &mut |entry| {
            let found = match entry.name {
                b"." | b".." => None,
                name => node.lookup(name).and_then(|inode| inode.attr()).ok(),
            };
            let qid = match &found {
                Some(attr) => convert::qid(attr.mode, attr.ino),
                None => convert::qid_of_entry(entry.kind, entry.ino),
            };
            let attr = found.as_ref().map(convert::to_wire).unwrap_or_default();
            let entry =
                WireDirEntry { qid, offset: entry.next, kind: entry.kind, name: entry.name };
            emit(entry, attr)
        })
    }

    fn read_link(&mut self, node: &Node) -> Result<Vec<u8>> {
        node.read_link(&self.env)
    }

    fn stat_fs(&mut self, node: &Node) -> Result<StatFs> {
        Ok(convert::fs_stats_to_wire(&node.super_block().fs().stats()?))
    }

    fn create(
        &mut self,
        dir: &Node,
        name: Name<'_>,
        flags: u32,
        mode: u32,
        gid: u32,
    ) -> Result<(Node, Opened, Qid)> {
        let new = WireNewFile { mode: S_IFREG | (mode & 0o7777), uid: 0, gid, rdev: 0 };
        let inode = dir.create(name.bytes(), &convert::new_from_wire(&new))?;
        let (file, qid) = self.open(&inode, flags)?;
        Ok((inode, file, qid))
    }

    fn make_dir(&mut self, dir: &Node, name: Name<'_>, mode: u32, gid: u32) -> Result<Qid> {
        let new = WireNewFile { mode: S_IFDIR | (mode & 0o7777), uid: 0, gid, rdev: 0 };
        qid_of(self.make(dir, name, &new, b"")?.node.as_ref())
    }

    fn make_node(
        &mut self,
        dir: &Node,
        name: Name<'_>,
        mode: u32,
        device: (u32, u32),
        gid: u32,
    ) -> Result<Qid> {
        let rdev = chitin_abi::fs::makedev(device.0, device.1);
        let new = WireNewFile { mode, uid: 0, gid, rdev };
        qid_of(self.make(dir, name, &new, b"")?.node.as_ref())
    }

    fn symlink(&mut self, dir: &Node, name: Name<'_>, target: &[u8], gid: u32) -> Result<Qid> {
        let new = WireNewFile { mode: S_IFLNK | 0o777, uid: 0, gid, rdev: 0 };
        qid_of(self.make(dir, name, &new, target)?.node.as_ref())
    }

    fn link(&mut self, dir: &Node, node: &Node, name: Name<'_>) -> Result<()> {
        dir.link(name.bytes(), node)
    }

    fn rename(
        &mut self,
        old_dir: &Node,
        old_name: Name<'_>,
        new_dir: &Node,
        new_name: Name<'_>,
        flags: u32,
    ) -> Result<()> {
        old_dir.rename(old_name.bytes(), new_dir, new_name.bytes(), flags)
    }

    fn unlink(&mut self, dir: &Node, name: Name<'_>, flags: u32) -> Result<()> {
        if flags & chitin_abi::fs::AT_REMOVEDIR != 0 {
            dir.rmdir(name.bytes())
        } else {
            dir.unlink(name.bytes())
        }
    }

    fn set_attr(
        &mut self,
        node: &Node,
        _file: Option<&Opened>,
        change: &WireSetAttr,
    ) -> Result<()> {
        let now = self.env.shared.clock.now();
        node.set_attr(&convert::change_from_wire(change, now), now)
    }

    fn sync(&mut self, file: &mut Opened, data_only: bool) -> Result<()> {
        file.sync(data_only)
    }

    fn allocate(&mut self, file: &mut Opened, mode: u32, offset: u64, length: u64) -> Result<()> {
        file.allocate(mode, offset, length)
    }

    fn get_xattr(&mut self, node: &Node, name: &[u8]) -> Result<Vec<u8>> {
        node.get_xattr(name)
    }

    fn list_xattr(&mut self, node: &Node) -> Result<Vec<u8>> {
        Ok(node.list_xattr()?.iter().flat_map(|name| [name, &b"\0"[..]].concat()).collect())
    }

    fn set_xattr(&mut self, node: &Node, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        node.set_xattr(name, value, flags)
    }

    fn remove_xattr(&mut self, node: &Node, name: &[u8]) -> Result<()> {
        node.remove_xattr(name)
    }

    fn donate(&mut self, node: &Node, flags: u32) -> Result<(Arc<OwnedFd>, Qid)> {
        let write = OpenFlags::from_bits_retain(flags).is_writable();
        let fd = donation(node.as_ref(), write)?.ok_or(Errno::EOPNOTSUPP)?;
        Ok((fd, qid_of(node.as_ref())?))
    }

    fn make(
        &mut self,
        dir: &Node,
        name: Name<'_>,
        new: &WireNewFile,
        target: &[u8],
    ) -> Result<Made<Node, Arc<OwnedFd>>> {
        let (name, new) = (name.bytes(), convert::new_from_wire(new));
        made(match new.mode & S_IFMT {
            S_IFDIR => dir.mkdir(name, &new)?,
            S_IFLNK => dir.symlink(name, target, &new)?,
            _ => dir.create(name, &new)?,
        })
    }

    fn make_unnamed(&mut self, dir: &Node, new: &WireNewFile) -> Result<Made<Node, Arc<OwnedFd>>> {
        made(dir.tmpfile(&convert::new_from_wire(new))?)
    }
}

/// Answers what comes over a stream socket until the client has gone.
///
/// # Errors
/// What the host says; EPROTO for a client that makes no sense.
pub fn serve<H>(socket: &OwnedFd, server: &mut Server<H>) -> Result<()>
where
    H: Handler<Descriptor = Arc<OwnedFd>>,
{
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match recv(socket, &mut buffer, RecvFlags::empty()) {
            Ok((0, _)) => return Ok(()),
            Ok((count, _)) => count,
            Err(rustix::io::Errno::INTR) => continue,
            Err(rustix::io::Errno::CONNRESET) => return Ok(()),
            Err(error) => return Err(from_host(error)),
        };
        server.receive(buffer.get(..count).unwrap_or_default());
        let mut out = Vec::new();
        while let Some(mut answer) = server.next_outgoing().map_err(|_| Errno::EPROTO)? {
            out.append(&mut answer.bytes);
            // Several small answers are sent at once; a descriptor goes with the end of what is sent.
            if answer.descriptor.is_some() || out.len() >= buffer.len() {
                send(socket, &out, answer.descriptor.as_deref())?;
                out.clear();
            }
        }
        if !out.is_empty() {
            send(socket, &out, None)?;
        }
    }
}

fn send(socket: &OwnedFd, bytes: &[u8], descriptor: Option<&OwnedFd>) -> Result<()> {
    let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        match sendmsg(socket, &[IoSlice::new(rest)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                rest = rest.get(sent..).unwrap_or_default();
                ancillary.clear();
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(from_host(error)),
        }
    }
    Ok(())
}
