//! Paths of system calls: who walks, from where, and what `…at` calls name.
//!
//! A [`PathCaller`] holds what a [`Walk`] borrows: credentials, environment, root and working directory of the
//! caller, taken once per call. An absolute path ignores the directory descriptor, even a bad one; an empty
//! path names the descriptor itself where `AT_EMPTY_PATH` allows it.

use std::sync::Arc;

use chitin_abi::fs::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use chitin_abi::process::{CAP_FSETID, RLIMIT_FSIZE};
use chitin_abi::signal::{SI_USER, SigInfo};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::attr::Attr;
use chitin_vfs::cred::Cred;
use chitin_vfs::env::{Caller, VfsEnv};
use chitin_vfs::fdtable::FdTable;
use chitin_vfs::file::{OpenFile, ProcessIds};
use chitin_vfs::path::Path;
use chitin_vfs::walk::{ResolveFlags, Walk};

use crate::context::Ctx;
use crate::task::Task;

/// Takes back a descriptor that nobody has been told of, unless somebody has found it and put another file there.
/// Whether it was taken back.
pub fn uninstall(table: &FdTable, fd: i32, file: &Arc<OpenFile>) -> bool {
    table.get(fd).is_ok_and(|now| Arc::ptr_eq(&now, file)) && table.remove(fd).is_ok()
}

/// What path operations of a caller borrow.
pub struct PathCaller {
    /// Who asks.
    pub cred: Cred,
    /// The kernel around.
    pub env: VfsEnv,
    root: Path,
    cwd: Path,
    umask: u32,
    now: Timespec,
}

impl PathCaller {
    /// The caller as it is now.
    pub fn new(task: &Arc<Task>) -> Self {
        let fs = task.fs();
        let caller: Arc<dyn Caller> = Arc::clone(task) as Arc<dyn Caller>;
        let mut env = VfsEnv::new(Arc::clone(&task.kernel.vfs), Some(caller));
        env.file_size_limit = task.group.limits.lock().soft(RLIMIT_FSIZE);
        env.pid = task.tgid();
        Self {
            cred: task.cred().fs_cred(),
            env,
            root: fs.root(),
            cwd: fs.cwd(),
            umask: fs.umask(),
            now: task.kernel.clock.realtime(),
        }
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A walk from the working directory.
    pub fn walk(&self) -> Walk<'_> {
        self.walk_from(self.cwd.clone())
    }

    /// A walk from somewhere else.
    pub fn walk_from(&self, base: Path) -> Walk<'_> {
        Walk {
            root: self.root.clone(),
            base,
            cred: &self.cred,
            umask: self.umask,
            now: self.now,
            resolve: ResolveFlags::empty(),
            env: &self.env,
        }
    }
}

/// What an `…at` call names.
pub enum Target {
    /// A file that has been looked up.
    Path(Path),
    /// The file of a descriptor.
    File(Arc<OpenFile>),
}

impl Target {
    /// Its attributes.
    ///
    /// # Errors
    /// Those of the storage.
    pub fn attr(&self) -> Result<Attr> {
        match self {
            Self::Path(path) => path.inode().attr(),
            Self::File(file) => file.attr(),
        }
    }

    /// Its path; `None` for pipes, sockets and the like.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::File(file) => file.path(),
        }
    }
}

impl Caller for Task {
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }

    fn terminal(&self) -> Option<Arc<dyn core::any::Any + Send + Sync>> {
        self.group.terminal.lock().clone()
    }

    fn owner(&self) -> (u32, u32) {
        let cred = self.cred().fs_cred();
        (cred.uid, cred.gid)
    }

    fn process(&self) -> ProcessIds {
        crate::terminal::process_ids(self)
    }

    fn acquire_terminal(&self, terminal: Arc<dyn core::any::Any + Send + Sync>) -> Result<()> {
        crate::terminal::acquire(self, terminal)
    }
}

impl Ctx<'_> {
    /// Sends the caller a signal as the kernel does for what it did itself (`SIGPIPE`, `SIGXFSZ`).
    pub fn signal_self(&self, signal: u32) {
        let cred = self.task.cred();
        let info =
            SigInfo::user(signal, SI_USER, self.task.group.pid.local(), cred.show_uid(cred.ruid));
        // A queue that is full has signals enough.
        let _ = crate::signal::send_to_task(self.task, info);
    }

    /// What path operations of the caller borrow.
    pub fn path_caller(&self) -> PathCaller {
        PathCaller::new(self.task)
    }

    /// The environment of reads and writes of the caller.
    pub fn rw_env(&self) -> VfsEnv {
        let mut env = VfsEnv::new(Arc::clone(&self.task.kernel.vfs), None);
        let cred = self.task.cred();
        env.keeps_set_id = Some(cred.user_ns.is_initial() && cred.has(CAP_FSETID));
        env.file_size_limit = self.task.group.limits.lock().soft(RLIMIT_FSIZE);
        env.pid = self.task.tgid();
        env
    }

    /// One more than the highest descriptor that the caller may use.
    pub fn fd_limit(&self) -> u64 {
        self.task.group.limits.lock().open_files()
    }

    /// Installs an open file at the lowest free descriptor.
    ///
    /// # Errors
    /// EMFILE.
    pub fn install_file(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<u64> {
        let fd = self.task.files().install(file, close_on_exec, 0, self.fd_limit())?;
        Ok(u64::from(fd.unsigned_abs()))
    }

    /// The open file of a descriptor, `O_PATH` ones too.
    ///
    /// # Errors
    /// EBADF.
    pub fn any_file(&self, fd: i32) -> Result<Arc<OpenFile>> {
        self.task.files().get(fd)
    }

    /// The walk of an `…at` call.
    ///
    /// # Errors
    /// EBADF, ENOTDIR for a descriptor that no path can start from.
    pub fn walk_at<'c>(&self, caller: &'c PathCaller, dirfd: i32, path: &[u8]) -> Result<Walk<'c>> {
        match path.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => return Ok(caller.walk()),
            Some(_) if dirfd == AT_FDCWD => return Ok(caller.walk()),
            Some(_) => {}
        }
        let file = self.any_file(dirfd)?;
        let base = file.path().ok_or(Errno::ENOTDIR)?;
        Ok(caller.walk_from(base.clone()))
    }

    /// Looks up what an `…at` call names, by `AT_EMPTY_PATH` and `AT_SYMLINK_NOFOLLOW` in `flags`. A null pointer
    /// is an empty path where `AT_EMPTY_PATH` allows one.
    ///
    /// # Errors
    /// EFAULT, and those of the lookup.
    pub fn target_at(
        &self,
        caller: &PathCaller,
        dirfd: i32,
        path: GuestAddr,
        flags: u32,
    ) -> Result<Target> {
        let empty_allowed = flags & AT_EMPTY_PATH != 0;
        let path = if path.is_null() && empty_allowed { Vec::new() } else { self.read_path(path)? };
        if path.is_empty() && empty_allowed {
            if dirfd == AT_FDCWD {
                return Ok(Target::Path(caller.walk().base));
            }
            return Ok(Target::File(self.any_file(dirfd)?));
        }
        let walk = self.walk_at(caller, dirfd, &path)?;
        Ok(Target::Path(walk.lookup(&path, flags & AT_SYMLINK_NOFOLLOW == 0)?))
    }

    /// Looks up a path from the working directory.
    ///
    /// # Errors
    /// EFAULT, and those of the lookup.
    pub fn lookup(&self, caller: &PathCaller, path: GuestAddr, follow: bool) -> Result<Path> {
        caller.walk().lookup(&self.read_path(path)?, follow)
    }
}
