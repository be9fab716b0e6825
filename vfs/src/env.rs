//! What file operations need from the kernel around them.

use core::any::Any;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::Arc;

use crate::anon_path::AnonMount;
use chitin_abi::{Errno, Result};

use crate::clock::{Clock, SystemClock};
use crate::cred::Cred;
use crate::device::DeviceRegistry;
use crate::file::OpenFile;
use crate::file::ProcessIds;
use crate::fs_type::FsTypes;
use crate::locks::LockGraph;
use crate::memfd::{MemfdMount, MemfdOptions};
use crate::path::Path;

/// Who makes a call, as far as files such as `/dev/tty` and `/proc/self` want to know.
pub trait Caller: Any + Send + Sync {
    /// For downcasts by the kernel's own files (`/proc`).
    fn as_any(&self) -> &dyn Any;

    /// The controlling terminal of the caller's session.
    fn terminal(&self) -> Option<Arc<dyn Any + Send + Sync>>;

    /// The user and group that own what the caller makes.
    fn owner(&self) -> (u32, u32) {
        (0, 0)
    }

    /// The caller's place in job control, in ids of the initial pid namespace.
    fn process(&self) -> ProcessIds {
        ProcessIds::default()
    }

    /// Opening a terminal makes it the controlling one of the caller's session, which has none.
    ///
    /// # Errors
    /// EPERM where the caller is no session leader or has a terminal.
    fn acquire_terminal(&self, terminal: Arc<dyn Any + Send + Sync>) -> Result<()> {
        let _ = terminal;
        Err(Errno::EPERM)
    }
}

/// Switches of /proc/sys/fs.
#[derive(Debug)]
pub struct Sysctls {
    /// `protected_symlinks`.
    pub protected_symlinks: AtomicBool,
    /// `protected_hardlinks`.
    pub protected_hardlinks: AtomicBool,
    /// `protected_fifos`: 0, 1 or 2.
    pub protected_fifos: AtomicU32,
    /// `protected_regular`: 0, 1 or 2.
    pub protected_regular: AtomicU32,
    /// `mount-max`: mounts of one namespace; [`crate::namespace::MountSystem::obey`] shares it.
    pub mount_max: Arc<AtomicU32>,
    /// `leases-enable`.
    pub leases_enable: AtomicBool,
    /// `lease-break-time`, in seconds.
    pub lease_break_time: AtomicU32,
    /// `inotify/max_queued_events`.
    pub inotify_max_queued_events: AtomicU32,
    /// `inotify/max_user_instances`.
    pub inotify_max_user_instances: AtomicU32,
    /// `inotify/max_user_watches`.
    pub inotify_max_user_watches: AtomicU32,
}

impl Default for Sysctls {
    fn default() -> Self {
        Self {
            protected_symlinks: AtomicBool::new(false),
            protected_hardlinks: AtomicBool::new(false),
            protected_fifos: AtomicU32::new(0),
            protected_regular: AtomicU32::new(0),
            mount_max: Arc::new(AtomicU32::new(100_000)),
            leases_enable: AtomicBool::new(true),
            lease_break_time: AtomicU32::new(45),
            inotify_max_queued_events: AtomicU32::new(16_384),
            inotify_max_user_instances: AtomicU32::new(128),
            inotify_max_user_watches: AtomicU32::new(65_536),
        }
    }
}

/// What all callers of one kernel share.
pub struct VfsShared {
    /// Device numbers and what opens them.
    pub devices: DeviceRegistry,
    /// File-system types for `mount(2)`.
    pub fs_types: FsTypes,
    /// Who waits for whose record locks.
    pub lock_graph: LockGraph,
    /// Switches.
    pub sysctls: Sysctls,
    /// Time of changes.
    pub clock: Arc<dyn Clock>,
    /// Bytes of memory that the container has: a tmpfs takes half of it unless told otherwise.
    pub memory_total: AtomicU64,
    anonymous: AnonMount,
    memfds: Option<MemfdMount>,
}

impl VfsShared {
    /// A fresh environment without devices, with the file-system types of this crate.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            devices: DeviceRegistry::default(),
            fs_types: FsTypes::with_builtin(),
            lock_graph: LockGraph::default(),
            sysctls: Sysctls::default(),
            memfds: MemfdMount::new(Arc::clone(&clock)),
            clock,
            memory_total: AtomicU64::new(2 * crate::fs::tmpfs::DEFAULT_SIZE),
            anonymous: AnonMount::new(),
        })
    }

    /// The path of a new file in memory, to be opened by the caller.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn new_memfd(&self, name: &[u8], options: MemfdOptions, owner: &Cred) -> Result<Path> {
        self.memfds.as_ref().ok_or(Errno::ENOMEM)?.make(name, options, owner)
    }

    /// The path of an open file: where it was opened, or one of its own for a file without a name.
    pub fn path_of(&self, file: &Arc<OpenFile>) -> Path {
        file.path().cloned().unwrap_or_else(|| self.anonymous.path(file))
    }
}

/// What one caller's operations need; cheap to make.
#[derive(Clone)]
pub struct VfsEnv {
    /// What all share.
    pub shared: Arc<VfsShared>,
    /// The caller.
    pub caller: Option<Arc<dyn Caller>>,
    /// `RLIMIT_FSIZE`; `u64::MAX` for none.
    pub file_size_limit: u64,
    /// Whether set-id bits survive a write of the caller (`CAP_FSETID`); `None`: as for who opened the file.
    pub keeps_set_id: Option<bool>,
    /// The caller's process id in the initial pid namespace, for `fanotify(7)`; 0 for nobody.
    pub pid: u32,
}

impl Default for VfsEnv {
    fn default() -> Self {
        Self::new(VfsShared::new(Arc::new(SystemClock)), None)
    }
}

impl VfsEnv {
    /// An environment without a file size limit.
    pub fn new(shared: Arc<VfsShared>, caller: Option<Arc<dyn Caller>>) -> Self {
        Self { shared, caller, file_size_limit: u64::MAX, keeps_set_id: None, pid: 0 }
    }
}
