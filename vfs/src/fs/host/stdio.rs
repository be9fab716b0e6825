//! Descriptors that the sandbox was started with (standard input and output, `--preserve-fds`) as files of the guest.
//!
//! A regular file is read and written at offsets, and after each operation the host's own position is put where the
//! guest's is, because the shell that started us goes on with it. Everything else is a stream, and may block: nobody
//! may set `O_NONBLOCK`, as the open file is shared with processes of the host. So a stream is asked not to
//! block per call (`RWF_NOWAIT`, `MSG_DONTWAIT`), and where the host cannot do that, only after `poll(2)` has said that
//! it would not, in pieces small enough for that to be true.
//!
//! Cost: regular files one host call per 64 KiB and one for the position; pipes and sockets one call; terminals
//! two. The readiness watch of the host begins when somebody first waits.
//!
//! References: `preadv2(2)`, `poll(2)`, `ioctl_tty(2)`.

use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use chitin_abi::fs::{
    FIONREAD, O_ACCMODE, O_RDWR, OpenFlags, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFMT, S_IFREG,
    S_IFSOCK, makedev,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Result};
use parking_lot::Mutex;
use rustix::fs::SeekFrom;
use rustix::io::ReadWriteFlags;
use rustix::net::{RecvFlags, SendFlags};

use super::attr;
use super::tty_ioctl;
use crate::attr::{Attr, SetAttr};
use crate::cred::Cred;
use crate::file::{File, IoctlContext, OpenFile, WriteAt};
use crate::host_errno::from_host;
use crate::host_poll::{HostPoll, HostWatch, poll_now};
use crate::io::{Sink, Source};
use crate::wait::WaitQueue;

/// Most bytes moved at once where the host says beforehand that it would not block.
const NOWAIT_CHUNK: usize = 64 << 10;
/// Most bytes written at once after `poll(2)`: what a pipe that is ready surely takes.
const POLLED_CHUNK: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Seekable,
    Socket,
    Pipe,
    Terminal,
    Device,
}

/// An open file of the host that the guest uses directly.
pub struct HostFile {
    fd: Arc<OwnedFd>,
    kind: Kind,
    poller: Arc<dyn HostPoll>,
    watch: OnceLock<Option<HostWatch>>,
    /// The host takes `RWF_NOWAIT` for this file.
    nowait: AtomicBool,
    /// Held over an append.
    appending: Mutex<()>,
}

impl HostFile {
    /// A host descriptor as a file.
    ///
    /// # Errors
    /// EISDIR for a directory, which would lead out of the sandbox; those of `fstat(2)`.
    pub fn new(fd: OwnedFd, poller: &Arc<dyn HostPoll>) -> Result<Arc<Self>> {
        let stat = attr::statx_fd(fd.as_fd())?;
        let kind = match attr::mode(&stat) & S_IFMT {
            S_IFREG | S_IFBLK => Kind::Seekable,
            S_IFSOCK => Kind::Socket,
            S_IFIFO => Kind::Pipe,
            S_IFCHR if rustix::termios::isatty(&fd) => Kind::Terminal,
            S_IFDIR => return Err(Errno::EISDIR),
            _ => Kind::Device,
        };
        Ok(Arc::new(Self {
            fd: Arc::new(fd),
            kind,
            poller: Arc::clone(poller),
            watch: OnceLock::new(),
            nowait: AtomicBool::new(kind != Kind::Terminal),
            appending: Mutex::new(()),
        }))
    }

    /// The host descriptor.
    pub fn fd(&self) -> &Arc<OwnedFd> {
        &self.fd
    }

    /// Whether it is a terminal of the host.
    pub fn is_terminal(&self) -> bool {
        self.kind == Kind::Terminal
    }

    /// The size of its window, if it is a terminal.
    pub fn window_size(&self) -> Option<chitin_abi::tty::Winsize> {
        tty_ioctl::window_size(self.fd.as_fd()).ok()
    }

    fn watch(&self) -> Option<&HostWatch> {
        let begin = || match self.kind {
            Kind::Seekable => None,
            _ => HostWatch::new(Arc::clone(&self.poller), Arc::clone(&self.fd)).ok(),
        };
        self.watch.get_or_init(begin).as_ref()
    }

    fn is_ready(&self, events: PollEvents) -> bool {
        self.kind == Kind::Device
            || poll_now(self.fd.as_fd(), events).intersects(
                events | PollEvents::POLLERR | PollEvents::POLLHUP | PollEvents::POLLNVAL,
            )
    }

    fn read_stream(&self, buffer: &mut [u8]) -> Result<usize> {
        if self.kind == Kind::Socket {
            let received = rustix::net::recv(&*self.fd, buffer, RecvFlags::DONTWAIT);
            return received.map(|(count, _)| count).map_err(from_host);
        }
        if self.nowait.load(Ordering::Relaxed) {
            let mut buffers = [IoSliceMut::new(buffer)];
            match rustix::io::preadv2(&*self.fd, &mut buffers, u64::MAX, ReadWriteFlags::NOWAIT) {
                Err(
                    rustix::io::Errno::OPNOTSUPP
                    | rustix::io::Errno::SPIPE
                    | rustix::io::Errno::INVAL,
                ) => {
                    self.nowait.store(false, Ordering::Relaxed);
                }
                result => return result.map_err(from_host),
            }
        }
        if !self.is_ready(PollEvents::POLLIN) {
            return Err(Errno::EAGAIN);
        }
        rustix::io::read(&*self.fd, buffer).map_err(from_host)
    }

    fn write_stream(&self, bytes: &[u8]) -> Result<usize> {
        if self.kind == Kind::Socket {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            return rustix::net::send(&*self.fd, bytes, flags).map_err(from_host);
        }
        if self.nowait.load(Ordering::Relaxed) {
            let buffers = [IoSlice::new(bytes)];
            match rustix::io::pwritev2(&*self.fd, &buffers, u64::MAX, ReadWriteFlags::NOWAIT) {
                Err(
                    rustix::io::Errno::OPNOTSUPP
                    | rustix::io::Errno::SPIPE
                    | rustix::io::Errno::INVAL,
                ) => {
                    self.nowait.store(false, Ordering::Relaxed);
                }
                result => return result.map_err(from_host),
            }
        }
        if !self.is_ready(PollEvents::POLLOUT) {
            return Err(Errno::EAGAIN);
        }
        let bytes = bytes.get(..POLLED_CHUNK).unwrap_or(bytes);
        rustix::io::write(&*self.fd, bytes).map_err(from_host)
    }

    fn write_seekable(&self, bytes: &[u8], at: WriteAt, done: usize) -> Result<(usize, u64)> {
        match at {
            WriteAt::Offset(offset) => {
                let offset = offset.saturating_add(done as u64);
                let written = rustix::io::pwrite(&*self.fd, bytes, offset).map_err(from_host)?;
                Ok((written, offset.saturating_add(written as u64)))
            }
            WriteAt::End => {
                let buffers = [IoSlice::new(bytes)];
                let written = rustix::io::pwritev2(&*self.fd, &buffers, 0, ReadWriteFlags::APPEND);
                let written = written.map_err(from_host)?;
                Ok((written, attr::statx_fd(self.fd.as_fd())?.stx_size))
            }
        }
    }

    /// Leaves the host's position where the guest's is.
    fn leave_position(&self, position: u64) {
        if self.kind == Kind::Seekable {
            // Only who shares the open file would notice a failure.
            let _ = rustix::fs::seek(&*self.fd, SeekFrom::Start(position));
        }
    }
}

impl File for HostFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    /// Only the length may change (`ftruncate`, `O_TRUNC` by `/dev/stdout`): the rest belongs to the host.
    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let SetAttr { mode, uid, gid, size, atime, mtime } = *change;
        let others = mode.is_some() || uid.is_some() || gid.is_some();
        if others || atime.is_some() || mtime.is_some() {
            return Err(Errno::EPERM);
        }
        let Some(size) = size else { return Ok(()) };
        rustix::fs::ftruncate(&*self.fd, size).map_err(from_host)
    }

    /// `/dev/stdout` and the like: the same open file, if it allows what is asked. The host's object is never
    /// opened anew, which could give more rights than were handed in.
    fn reopen(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn File>> {
        if self.kind == Kind::Socket {
            return Err(Errno::ENXIO);
        }
        let has = rustix::fs::fcntl_getfl(&*self.fd).map_err(from_host)?.bits() & O_ACCMODE;
        let wants = flags.bits() & O_ACCMODE;
        if has == O_RDWR || has == wants { Ok(self) } else { Err(Errno::EACCES) }
    }

    fn read_at(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        let mut buffer = vec![0; to.remaining().min(NOWAIT_CHUNK)];
        let mut done = 0usize;
        while to.remaining() > 0 {
            let chunk = to.remaining().min(buffer.len());
            let room = buffer.get_mut(..chunk).unwrap_or_default();
            let at = offset.saturating_add(done as u64);
            let result = match self.kind {
                Kind::Seekable => rustix::io::pread(&*self.fd, &mut *room, at).map_err(from_host),
                _ => self.read_stream(room),
            };
            let count = match result {
                Ok(count) => count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            let stored = match to.put(room.get(..count).unwrap_or_default()) {
                Ok(stored) => stored,
                Err(error) if done == 0 && count > 0 => return Err(error),
                Err(_) => break,
            };
            done = done.saturating_add(stored);
            if count < chunk || stored < count || self.kind != Kind::Seekable {
                break;
            }
        }
        self.leave_position(offset.saturating_add(done as u64));
        Ok(done)
    }

    fn write_at(&self, from: &mut dyn Source, at: WriteAt) -> Result<(usize, u64)> {
        let _appending =
            (at == WriteAt::End && self.kind == Kind::Seekable).then(|| self.appending.lock());
        let limit = if self.kind == Kind::Seekable || self.nowait.load(Ordering::Relaxed) {
            NOWAIT_CHUNK
        } else {
            POLLED_CHUNK
        };
        let mut buffer = vec![0; from.remaining().min(limit)];
        let mut done = 0usize;
        let mut end = if let WriteAt::Offset(offset) = at { offset } else { 0 };
        while from.remaining() > 0 {
            let taken = match from.take(&mut buffer) {
                Ok(0) => break,
                Ok(taken) => taken,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            let bytes = buffer.get(..taken).unwrap_or_default();
            let result = match self.kind {
                Kind::Seekable => self.write_seekable(bytes, at, done),
                _ => self.write_stream(bytes).map(|written| (written, 0)),
            };
            let written = match result {
                Ok((written, behind)) => {
                    end = behind;
                    written
                }
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            done = done.saturating_add(written);
            if written < taken {
                break;
            }
        }
        if done > 0 {
            self.leave_position(end);
        }
        Ok((done, end))
    }

    fn is_stream(&self) -> bool {
        !matches!(self.kind, Kind::Seekable | Kind::Device)
    }

    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        if self.kind != Kind::Seekable {
            // Devices such as /dev/null take any position.
            return Ok(0);
        }
        let size = || Ok(attr::statx_fd(self.fd.as_fd())?.stx_size);
        let position = crate::seek::default_seek(position, offset, whence, size)?;
        self.leave_position(position);
        Ok(position)
    }

    fn poll(&self) -> PollEvents {
        let always = PollEvents::POLLIN
            | PollEvents::POLLRDNORM
            | PollEvents::POLLOUT
            | PollEvents::POLLWRNORM;
        match self.kind {
            Kind::Seekable => always,
            _ => poll_now(self.fd.as_fd(), always | PollEvents::POLLPRI | PollEvents::POLLRDHUP),
        }
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        self.watch().map(HostWatch::queue)
    }

    fn attr(&self) -> Result<Option<Attr>> {
        let stat = attr::statx_fd(self.fd.as_fd())?;
        Ok(Some(attr::convert(
            &stat,
            makedev(stat.stx_dev_major, stat.stx_dev_minor),
            stat.stx_ino,
        )))
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        if command == FIONREAD && self.kind != Kind::Device {
            let waiting = match self.kind {
                Kind::Seekable => {
                    let size = attr::statx_fd(self.fd.as_fd())?.stx_size;
                    size.saturating_sub(rustix::fs::tell(&*self.fd).map_err(from_host)?)
                }
                _ => rustix::io::ioctl_fionread(&*self.fd).map_err(from_host)?,
            };
            let waiting = u32::try_from(waiting).unwrap_or(i32::MAX.unsigned_abs());
            context.memory().write(argument, &waiting.to_ne_bytes())?;
            return Ok(0);
        }
        match self.kind {
            Kind::Terminal => tty_ioctl::ioctl(self.fd.as_fd(), command, argument, context),
            _ => Err(Errno::ENOTTY),
        }
    }

    fn map(&self) -> Result<Arc<dyn chitin_mm::MappedFile>> {
        match self.kind {
            Kind::Seekable => {
                Ok(Arc::new(StdioMapping { fd: Arc::clone(&self.fd), attr: self.attr()? }))
            }
            _ => Err(Errno::ENODEV),
        }
    }

    fn sync(&self, data_only: bool) -> Result<()> {
        let fd = &*self.fd;
        let result = if data_only { rustix::fs::fdatasync(fd) } else { rustix::fs::fsync(fd) };
        result.map_err(from_host)
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        let attr = self.attr().ok().flatten()?;
        let text = match self.kind {
            Kind::Pipe => format!("pipe:[{}]", attr.ino),
            Kind::Socket => format!("socket:[{}]", attr.ino),
            Kind::Device if attr.rdev == makedev(1, 3) => "/dev/null".to_owned(),
            Kind::Terminal => "/dev/console".to_owned(),
            _ => format!("host:[{}]", attr.ino),
        };
        Some(text.into_bytes())
    }
}

struct StdioMapping {
    fd: Arc<OwnedFd>,
    attr: Option<Attr>,
}

impl chitin_mm::MappedFile for StdioMapping {
    fn host_file(&self, offset: u64, _len: u64, write: bool) -> Result<(Arc<OwnedFd>, u64)> {
        let flags = rustix::fs::fcntl_getfl(&*self.fd).map_err(from_host)?;
        if write && !flags.contains(rustix::fs::OFlags::RDWR) {
            return Err(Errno::EACCES);
        }
        Ok((Arc::clone(&self.fd), offset))
    }

    fn dev(&self) -> u64 {
        self.attr.as_ref().map_or(0, |attr| attr.dev)
    }

    fn ino(&self) -> u64 {
        self.attr.as_ref().map_or(0, |attr| attr.ino)
    }

    fn path(&self) -> Vec<u8> {
        format!("host:[{}]", self.ino()).into_bytes()
    }

    fn key(&self) -> u64 {
        self.ino().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.dev().rotate_left(40) ^ (1 << 63)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Whether two descriptors are the same open file of the host: they have one position.
fn is_same_file(one: &HostFile, other: &HostFile) -> bool {
    let (Ok(Some(first)), Ok(Some(second))) = (one.attr(), other.attr()) else { return false };
    let (Ok(here), Ok(there)) = (rustix::fs::tell(&*one.fd), rustix::fs::tell(&*other.fd)) else {
        return false;
    };
    if (first.dev, first.ino) != (second.dev, second.ino) || here != there {
        return false;
    }
    let moved = here.saturating_add(1);
    if rustix::fs::seek(&*one.fd, SeekFrom::Start(moved)).is_err() {
        return false;
    }
    let follows = rustix::fs::tell(&*other.fd) == Ok(moved);
    one.leave_position(here);
    follows
}

/// Makes guest files of host descriptors, in their order: with the access mode and status flags that they have, and
/// one open file description for those that are one on the host (`>log 2>&1`).
///
/// # Errors
/// EISDIR for a directory; those of `fstat(2)`.
pub fn import(
    fds: Vec<OwnedFd>,
    poller: &Arc<dyn HostPoll>,
    cred: &Cred,
) -> Result<Vec<Arc<OpenFile>>> {
    let mut files: Vec<(Arc<HostFile>, Arc<OpenFile>)> = Vec::new();
    for fd in fds {
        let host = HostFile::new(fd, poller)?;
        let seekable = host.kind == Kind::Seekable;
        let known = files.iter().find(|(other, _)| seekable && is_same_file(other, &host)).cloned();
        if let Some(known) = known {
            files.push(known);
            continue;
        }
        let flags = rustix::fs::fcntl_getfl(&*host.fd).map_err(from_host)?.bits();
        let kept = OpenFlags::O_ACCMODE | OpenFlags::O_APPEND | OpenFlags::O_NONBLOCK;
        let flags = OpenFlags::from_bits_retain(flags) & kept;
        let open = OpenFile::new(Arc::clone(&host) as Arc<dyn File>, None, flags, cred.clone());
        if seekable {
            *open.position.lock() = rustix::fs::tell(&*host.fd).unwrap_or(0);
        }
        files.push((host, open));
    }
    Ok(files.into_iter().map(|(_, open)| open).collect())
}
