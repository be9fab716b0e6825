//! A socket as an open file.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::net::SOCK_STREAM;
use chitin_abi::poll::PollEvents;
use chitin_abi::process::CAP_NET_ADMIN;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::anon::AnonInode;
use chitin_vfs::attr::{Attr, SetAttr};
use chitin_vfs::file::{File, IoctlContext, OpenFile, WriteAt};
use chitin_vfs::io::{Sink, Source};
use chitin_vfs::wait::WaitQueue;

use super::{Caller, Identity, Outgoing, Socket};
use crate::namespace::NetNamespace;

/// An open socket. The socket is closed when this is dropped.
pub struct SocketFile {
    socket: Arc<dyn Socket>,
    inode: AnonInode,
    net: Arc<NetNamespace>,
    /// Whom bytes come from that are sent by `write(2)`, which does not say who calls: the opener.
    opener: Identity,
}

impl SocketFile {
    /// Opens a socket.
    pub fn open(socket: Arc<dyn Socket>, flags: OpenFlags, caller: &Caller<'_>) -> Arc<OpenFile> {
        let cred = caller.fs_cred();
        let inode = AnonInode::socket(&cred, caller.now());
        socket.opened(inode.ino());
        let file = Self { socket, inode, net: Arc::clone(caller.net()), opener: caller.sender() };
        OpenFile::new(Arc::new(file), None, flags, cred)
    }

    /// The socket.
    pub fn socket(&self) -> &Arc<dyn Socket> {
        &self.socket
    }

    /// The inode number that `socket:[17]` shows.
    pub fn ino(&self) -> u64 {
        self.inode.ino()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.socket.close_in(&self.net);
        self.socket.close();
    }
}

impl File for SocketFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        if to.remaining() == 0 {
            return Ok(0);
        }
        self.socket.receive(to, 0).map(|received| received.count)
    }

    fn write_at(&self, from: &mut dyn Source, _at: WriteAt) -> Result<(usize, u64)> {
        let caller = Caller::as_sender(&self.net, &self.opener);
        let count = self.socket.send(from, &mut Outgoing::default(), &caller)?;
        Ok((count, 0))
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn writes_whole(&self) -> bool {
        self.socket.info().kind == SOCK_STREAM
    }

    fn poll(&self) -> PollEvents {
        self.socket.poll()
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(self.socket.queue())
    }

    fn attr(&self) -> Result<Option<Attr>> {
        Ok(Some(self.inode.attr()))
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        if change.size.is_some() {
            return Err(Errno::EINVAL);
        }
        self.inode.set_attr(change);
        Ok(())
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        match self.socket.ioctl(command, argument, context) {
            Err(Errno::ENOTTY) => {
                let is_admin = context.has_capability(&self.net.user_ns, CAP_NET_ADMIN);
                let loopback = &self.net.loopback;
                let others = &self.net.inet;
                let memory = context.memory();
                super::interface::ioctl(loopback, others, is_admin, command, argument, memory)
            }
            result => result,
        }
    }

    fn allocate(&self, _mode: u32, _offset: u64, _length: u64) -> Result<()> {
        Err(Errno::ESPIPE)
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(format!("socket:[{}]", self.inode.ino()).into_bytes())
    }
}
