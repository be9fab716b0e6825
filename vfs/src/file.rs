//! Open files: [`File`] is what a file system, pipe, socket or device provides, [`OpenFile`] is the open file
//! description that descriptors share (position, status flags, owner).
//!
//! Nothing blocks: what would block fails with `EAGAIN` whatever `O_NONBLOCK` says; waiting is the caller's,
//! by [`File::wait_queue`].

use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use chitin_abi::fs::{O_RDONLY, O_RDWR, OpenFlags};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;
use parking_lot::Mutex;

use crate::attr::{Attr, SetAttr};
use crate::cred::Cred;
use crate::inode_state::InodeState;
use crate::io::{Sink, Source};
use crate::path::Path;
use crate::wait::WaitQueue;

/// Where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteAt {
    /// At this offset.
    Offset(u64),
    /// At the end, atomically with finding it (`O_APPEND`).
    End,
}

/// An entry that [`File::read_dir`] hands out.
#[derive(Clone, Copy, Debug)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Inode number.
    pub ino: u64,
    /// `DT_…`.
    pub kind: u8,
    /// Position behind this entry (`d_off`), where a later `read_dir` goes on.
    pub next: u64,
}

/// What an ioctl needs of its caller.
pub trait IoctlContext {
    /// The caller's memory, where the argument points.
    fn memory(&self) -> &dyn GuestMemory;
    /// The caller's credentials.
    fn cred(&self) -> &Cred;
    /// The caller's session, process group and process id in the initial pid namespace, for terminals.
    fn process(&self) -> ProcessIds;
    /// Makes the terminal with this id the controlling one of the caller's session (`TIOCSCTTY`), or takes it
    /// away (`TIOCNOTTY`).
    ///
    /// # Errors
    /// EPERM where the caller is no session leader or the terminal has a session and is not stolen.
    fn set_controlling_terminal(
        &self,
        terminal: Option<Arc<dyn Any + Send + Sync>>,
        steal: bool,
    ) -> Result<()>;
    /// Opens a descriptor in the caller's table (`TIOCGPTPEER`).
    ///
    /// # Errors
    /// EMFILE.
    fn install_file(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<u64>;
    /// Whether the caller has a capability towards what `owner` owns, which is a user namespace where the kernel
    /// above has such.
    fn has_capability(&self, owner: &dyn Any, capability: u32) -> bool {
        let _ = owner;
        self.cred().caps.has(capability)
    }
    /// The number that the caller's pid namespace has for a process (or group, or session) of the initial one; 0
    /// where it has none.
    fn to_local_id(&self, id: u32) -> u32 {
        id
    }
    /// The number in the initial pid namespace for one of the caller's.
    fn to_global_id(&self, id: u32) -> Option<u32> {
        Some(id)
    }
    /// Whether the caller blocks or ignores a signal.
    fn ignores_signal(&self, signal: u32) -> bool {
        let _ = signal;
        false
    }
}

/// What a process of the background may have to stop for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminalAccess {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// The ioctl of this number.
    Ioctl(u32),
}

/// What became of the check of a process's access to its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobCheck {
    /// The operation may be done.
    Proceed,
    /// SIGTTIN or SIGTTOU has been sent: the call is restarted after it.
    Restart,
}

/// A caller's place in job control.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessIds {
    /// Process id.
    pub pid: u32,
    /// Process group.
    pub pgrp: u32,
    /// Session.
    pub session: u32,
    /// Whether it leads its session.
    pub session_leader: bool,
}

/// What can be done with an open file. Every method has a default for files that cannot do it.
pub trait File: Any + Send + Sync {
    /// For downcasts (epoll, unix sockets, terminals).
    fn as_any(&self) -> &dyn Any;

    /// Reads at an offset; streams ignore it. 0 is the end of the file.
    ///
    /// # Errors
    /// EAGAIN where it would block, EINVAL where there is nothing to read, EISDIR.
    fn read_at(&self, to: &mut dyn Sink, offset: u64) -> Result<usize> {
        let _ = (to, offset);
        Err(Errno::EINVAL)
    }

    /// Writes; streams ignore the place. Returns the bytes written and the offset behind them.
    ///
    /// # Errors
    /// EAGAIN where it would block, EPIPE, ENOSPC, EFBIG, EINVAL.
    fn write_at(&self, from: &mut dyn Source, at: WriteAt) -> Result<(usize, u64)> {
        let _ = (from, at);
        Err(Errno::EINVAL)
    }

    /// Whether offsets mean nothing: `lseek`, `pread` and `pwrite` fail with ESPIPE.
    fn is_stream(&self) -> bool {
        false
    }

    /// Whether `lseek` of a stream does nothing instead of failing, as it does for event counters, timers and
    /// the like.
    fn ignores_seek(&self) -> bool {
        false
    }

    /// Whether a write that was cut short for want of room goes on, once there is room, until everything is
    /// written (pipes, stream sockets, terminals).
    fn writes_whole(&self) -> bool {
        false
    }

    /// The new position of an lseek from `position`. The default knows `SEEK_SET`, `SEEK_CUR` and, by
    /// [`File::attr`], `SEEK_END`, `SEEK_DATA`, `SEEK_HOLE` of a file without holes.
    ///
    /// # Errors
    /// EINVAL, ENXIO, EOVERFLOW.
    fn seek(&self, position: u64, offset: i64, whence: u32) -> Result<u64> {
        crate::seek::default_seek(position, offset, whence, || {
            Ok(self.attr()?.map_or(0, |attr| attr.size))
        })
    }

    /// Whether reads, writes and ioctls need [`File::check_job`] first: true for terminals.
    fn is_job_controlled(&self) -> bool {
        false
    }

    /// Job control, to be asked before a read, write or ioctl of a file that [`File::is_job_controlled`]:
    /// processes of the background get SIGTTIN or SIGTTOU.
    ///
    /// # Errors
    /// EIO where the signal would do nothing; ENOTTY.
    fn check_job(&self, access: TerminalAccess, caller: &dyn IoctlContext) -> Result<JobCheck> {
        let _ = (access, caller);
        Ok(JobCheck::Proceed)
    }

    /// How long a blocking read that has just answered EAGAIN may wait (`VTIME` of a terminal); when the time is
    /// over it ends with what [`File::read_expired`] gives.
    fn read_timeout(&self) -> Option<core::time::Duration> {
        None
    }

    /// Ends a read whose time is over: what is there, or nothing.
    ///
    /// # Errors
    /// Those of [`File::read_at`].
    fn read_expired(&self, to: &mut dyn Sink) -> Result<usize> {
        let _ = to;
        Ok(0)
    }

    /// The events that would be reported by poll now.
    fn poll(&self) -> PollEvents {
        PollEvents::POLLIN | PollEvents::POLLOUT | PollEvents::POLLRDNORM | PollEvents::POLLWRNORM
    }

    /// Where changes of [`File::poll`] are told; `None` for files that are always ready, which epoll refuses.
    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        None
    }

    /// Hands out directory entries from `position` on (0 is the start; `.` and `..` are entries too) until
    /// `emit` returns false or the directory ends.
    ///
    /// # Errors
    /// ENOTDIR.
    fn read_dir(&self, position: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let _ = (position, emit);
        Err(Errno::ENOTDIR)
    }

    /// Attributes that this file has itself (pipes, sockets, anonymous files); `None` where they are those of
    /// the inode that it was opened by.
    ///
    /// # Errors
    /// Those of the storage.
    fn attr(&self) -> Result<Option<Attr>> {
        Ok(None)
    }

    /// Changes the attributes of a file that answers [`File::attr`] itself.
    ///
    /// # Errors
    /// EINVAL.
    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let _ = change;
        Err(Errno::EINVAL)
    }

    /// A device control; `FIONBIO`, `FIOCLEX` and other generic ones are done above.
    ///
    /// # Errors
    /// ENOTTY for one that it does not know.
    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        let _ = (command, argument, context);
        Err(Errno::ENOTTY)
    }

    /// What a mapping of this file is made of.
    ///
    /// # Errors
    /// ENODEV where it cannot be mapped.
    fn map(&self) -> Result<Arc<dyn chitin_mm::MappedFile>> {
        Err(Errno::ENODEV)
    }

    /// `fallocate(2)`.
    ///
    /// # Errors
    /// EOPNOTSUPP, ENODEV, ESPIPE, ENOSPC, EFBIG.
    fn allocate(&self, mode: u32, offset: u64, length: u64) -> Result<()> {
        let _ = (mode, offset, length);
        Err(Errno::ENODEV)
    }

    /// Brings data (and attributes unless `data_only`) to the storage.
    ///
    /// # Errors
    /// EINVAL for what has none; EIO, ENOSPC.
    fn sync(&self, data_only: bool) -> Result<()> {
        let _ = data_only;
        Err(Errno::EINVAL)
    }

    /// Opens the same object once more (`/proc/self/fd/3` of a file without a name).
    ///
    /// # Errors
    /// ENXIO for what cannot be opened by a name, such as sockets.
    fn reopen(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn File>> {
        let _ = flags;
        Err(Errno::ENXIO)
    }

    /// Called when status flags change (`F_SETFL`).
    fn flags_changed(&self, flags: OpenFlags) {
        let _ = flags;
    }

    /// Called when a descriptor of it is closed, before the last reference goes (`flush`).
    ///
    /// # Errors
    /// What close(2) reports.
    fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// What the VFS keeps for a file that no path leads to (`flock` on a pipe).
    fn state(&self) -> Option<&InodeState> {
        None
    }

    /// What /proc/pid/fdinfo shows behind the common lines.
    fn fd_info(&self) -> String {
        String::new()
    }

    /// The text of the /proc/pid/fd link of a file without a path, such as `pipe:[17]`.
    fn link_text(&self) -> Option<Vec<u8>> {
        None
    }
}

/// An open file description: what `open(2)` makes and `dup(2)` and `fork(2)` share. When the last reference
/// goes, its `flock` and OFD locks are released, watches are told, and counts of writers go down.
pub struct OpenFile {
    id: u64,
    /// It counts as a writer of its inode and mount.
    counted: bool,
    file: Arc<dyn File>,
    path: Option<Path>,
    flags: AtomicU32,
    /// The position; held over a read or write of a seekable file, so that positions are atomic.
    pub position: Mutex<u64>,
    /// Who opened it.
    pub cred: Cred,
    /// `F_SETOWN` and `F_SETSIG`.
    pub owner: Mutex<FileOwner>,
    /// Locks on a file that has no inode to keep them.
    own_state: OnceLock<Box<InodeState>>,
    /// The open made the file (`F_CREATED_QUERY`).
    created: AtomicBool,
    /// It counts as a reader of its inode.
    reads: AtomicBool,
    /// What is done with it is nobody's business: it was opened by fanotify.
    unnoticed: AtomicBool,
    /// The process that opened it.
    opener: AtomicU32,
    /// What sends those signals.
    pub watches: Mutex<Option<Box<SignalWatches>>>,
}

/// What makes signals of an open file's events; each is dropped to stop it.
#[derive(Default)]
pub struct SignalWatches {
    /// `O_ASYNC`.
    pub ready: Option<Box<dyn Any + Send + Sync>>,
    /// Urgent data.
    pub urgent: Option<Box<dyn Any + Send + Sync>>,
    /// `F_NOTIFY`.
    pub directory: Option<Box<dyn Any + Send + Sync>>,
}

/// Whom `SIGIO` goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileOwner {
    /// `F_OWNER_TID`, `F_OWNER_PID` or `F_OWNER_PGRP`.
    pub kind: i32,
    /// The id; 0 for none.
    pub id: i32,
    /// The signal; 0 for SIGIO.
    pub signal: u32,
}

static NEXT_FILE: AtomicU64 = AtomicU64::new(1);

impl OpenFile {
    /// An open file description at position 0.
    pub fn new(file: Arc<dyn File>, path: Option<Path>, flags: OpenFlags, cred: Cred) -> Arc<Self> {
        Self::build(file, path, flags, cred, false)
    }

    /// The same for one that has been counted as a writer of its inode and mount.
    pub(crate) fn build(
        file: Arc<dyn File>,
        path: Option<Path>,
        flags: OpenFlags,
        cred: Cred,
        counted: bool,
    ) -> Arc<Self> {
        Arc::new(Self {
            id: NEXT_FILE.fetch_add(1, Ordering::Relaxed),
            counted,
            file,
            path,
            flags: AtomicU32::new(flags.bits()),
            position: Mutex::new(0),
            cred,
            owner: Mutex::new(FileOwner::default()),
            own_state: OnceLock::new(),
            created: AtomicBool::new(false),
            reads: AtomicBool::new(false),
            unnoticed: AtomicBool::new(false),
            opener: AtomicU32::new(0),
            watches: Mutex::new(None),
        })
    }

    /// Its identity, never used again: owner of `flock` and OFD locks.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What the VFS keeps for its inode; `None` for a file without inode that nobody has locked.
    pub fn state(&self) -> Option<&InodeState> {
        match &self.path {
            Some(path) => Some(path.dentry().inode().state()),
            None => self.file.state().or_else(|| self.own_state.get().map(Box::as_ref)),
        }
    }

    /// The same, made for a file without inode, so that it can be locked.
    pub fn lockable_state(&self) -> &InodeState {
        self.state().unwrap_or_else(|| self.own_state.get_or_init(Box::default))
    }

    /// What was opened.
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Where it was opened; `None` for pipes, sockets and other files without a name.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_ref()
    }

    /// Access mode and status flags.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Replaces the status flags.
    pub fn set_flags(&self, flags: OpenFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
        self.file.flags_changed(flags);
    }

    /// Whether it may be read.
    pub fn readable(&self) -> bool {
        let mode = self.flags().bits() & OpenFlags::O_ACCMODE.bits();
        !self.is_path_only() && matches!(mode, O_RDONLY | O_RDWR)
    }

    /// Whether it may be written.
    pub fn writable(&self) -> bool {
        let mode = self.flags().bits() & OpenFlags::O_ACCMODE.bits();
        !self.is_path_only()
            && (mode == OpenFlags::O_WRONLY.bits() || mode == OpenFlags::O_RDWR.bits())
    }

    /// Whether the file was made by opening it.
    pub fn was_created(&self) -> bool {
        self.created.load(Ordering::Relaxed)
    }

    /// The file was made by opening it.
    pub(crate) fn set_created(&self) {
        self.created.store(true, Ordering::Relaxed);
    }

    /// Whether watches and marks are not told of what is done with it.
    pub(crate) fn is_unnoticed(&self) -> bool {
        self.unnoticed.load(Ordering::Relaxed)
    }

    /// Watches and marks are not told of what is done with it.
    pub(crate) fn set_unnoticed(&self) {
        self.unnoticed.store(true, Ordering::Relaxed);
    }

    /// The process that opened it, in the initial pid namespace; 0 for nobody.
    pub(crate) fn opener(&self) -> u32 {
        self.opener.load(Ordering::Relaxed)
    }

    /// Notes who has opened it.
    pub(crate) fn set_opener(&self, pid: u32) {
        self.opener.store(pid, Ordering::Relaxed);
    }

    /// It counts as a reader of its inode from now on.
    pub(crate) fn count_reader(&self) {
        if let Some(path) = &self.path
            && !self.reads.swap(true, Ordering::Relaxed)
        {
            path.dentry().inode().state().get_read();
        }
    }

    /// Whether it was opened with `O_PATH`.
    pub fn is_path_only(&self) -> bool {
        self.flags().contains(OpenFlags::O_PATH)
    }

    /// Whether operations that would block fail instead.
    pub fn nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::O_NONBLOCK)
    }

    /// Its attributes: the file's own, else the inode's.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn attr(&self) -> Result<Attr> {
        match (self.file.attr()?, &self.path) {
            (Some(attr), _) => Ok(attr),
            (None, Some(path)) => path.dentry().inode().attr(),
            (None, None) => Err(Errno::EBADF),
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if !self.is_path_only() {
            if let Some(locks) = self.state().and_then(InodeState::locks_if_any) {
                locks.release_file(self.id);
            }
            crate::notify::close(self);
        }
        if let (true, Some(path)) = (*self.reads.get_mut(), &self.path) {
            path.dentry().inode().state().put_read();
        }
        if let (true, Some(path)) = (self.counted, &self.path) {
            path.dentry().inode().state().put_write();
            path.mount().put_write();
        }
    }
}
