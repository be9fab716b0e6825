//! Who makes a call on a socket.

use std::sync::Arc;

use chitin_abi::net::Ucred;
use chitin_abi::process::{CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_RESOURCE, RLIMIT_NOFILE};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use chitin_vfs::cred::Cred;
use chitin_vfs::path::Path;
use chitin_vfs::walk::Walk;

use crate::namespace::{NetNamespace, Pid};
use crate::syscalls::at::PathCaller;
use crate::task::Task;

/// Group and user that cannot be shown.
const OVERFLOW_ID: u32 = 65534;

/// A process as sockets know it: for `SO_PEERCRED` and `SCM_CREDENTIALS`.
#[derive(Clone)]
pub struct Identity {
    /// Its process id; keeps the number from being used again.
    pub pid: Option<Arc<Pid>>,
    /// User, as the kernel knows it.
    pub uid: u32,
    /// Group, as the kernel knows it.
    pub gid: u32,
    /// Supplementary groups (`SO_PEERGROUPS`).
    pub groups: Arc<[u32]>,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        let same_pid = match (&self.pid, &other.pid) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            (None, None) => true,
            _ => false,
        };
        same_pid && self.uid == other.uid && self.gid == other.gid
    }
}

impl Identity {
    /// Of a message whose sender is not known.
    pub fn unknown() -> Self {
        Self { pid: None, uid: OVERFLOW_ID, gid: OVERFLOW_ID, groups: Arc::from([]) }
    }

    /// The caller's, as `SCM_CREDENTIALS` has it by default (real ids).
    pub fn of_sender(task: &Task) -> Self {
        let cred = task.cred();
        let pid = Some(Arc::clone(&task.group.pid));
        Self { pid, uid: cred.ruid, gid: cred.rgid, groups: Arc::clone(&cred.groups) }
    }

    /// The caller's, as `SO_PEERCRED` has it (effective ids).
    pub fn of_peer(task: &Task) -> Self {
        let cred = task.cred();
        let pid = Some(Arc::clone(&task.group.pid));
        Self { pid, uid: cred.euid, gid: cred.egid, groups: Arc::clone(&cred.groups) }
    }

    /// As the viewer's namespaces show it.
    pub fn show(&self, viewer: &Task) -> Ucred {
        let cred = viewer.cred();
        let pid = self.pid.as_ref().map_or(0, |pid| pid.in_ns(&viewer.pid_ns()));
        Ucred { pid, uid: cred.show_uid(self.uid), gid: cred.show_gid(self.gid) }
    }
}

/// The caller of a socket operation. Tests of single families make one without a task.
pub struct Caller<'a> {
    task: Option<&'a Arc<Task>>,
    net: Arc<NetNamespace>,
    identity: Option<&'a Identity>,
}

impl<'a> Caller<'a> {
    /// This task.
    pub fn new(task: &'a Arc<Task>) -> Self {
        Self { task: Some(task), net: Arc::clone(&task.namespaces().net), identity: None }
    }

    /// Somebody of whom no more is known: sends through `write(2)`.
    pub fn as_sender(net: &Arc<NetNamespace>, identity: &'a Identity) -> Self {
        Self { task: None, net: Arc::clone(net), identity: Some(identity) }
    }

    /// Nobody in particular: no paths lead anywhere.
    pub fn nobody(net: &Arc<NetNamespace>) -> Self {
        Self { task: None, net: Arc::clone(net), identity: None }
    }

    /// The network namespace.
    pub fn net(&self) -> &Arc<NetNamespace> {
        &self.net
    }

    /// The task, unless this is a test.
    pub fn task(&self) -> Option<&'a Arc<Task>> {
        self.task
    }

    /// Its identity for messages.
    pub fn sender(&self) -> Identity {
        match (self.task, self.identity) {
            (Some(task), _) => Identity::of_sender(task),
            (None, Some(identity)) => identity.clone(),
            (None, None) => Identity::unknown(),
        }
    }

    /// Its identity for connections.
    pub fn peer(&self) -> Identity {
        self.task.map_or_else(Identity::unknown, |task| Identity::of_peer(task))
    }

    /// An identity as the caller sees it.
    pub fn show(&self, identity: &Identity) -> Ucred {
        match self.task {
            Some(task) => identity.show(task),
            None => Ucred { pid: 0, uid: identity.uid, gid: identity.gid },
        }
    }

    /// A group as the caller sees it.
    pub fn show_gid(&self, gid: u32) -> u32 {
        self.task.map_or(gid, |task| task.cred().show_gid(gid))
    }

    /// How many descriptors its user may have in flight.
    pub fn flight_limit(&self) -> u64 {
        let Some(task) = self.task else { return u64::MAX };
        let cred = task.cred();
        if cred.capable_initial(CAP_SYS_RESOURCE) || cred.capable_initial(CAP_SYS_ADMIN) {
            return u64::MAX;
        }
        task.group.limits().soft(RLIMIT_NOFILE)
    }

    /// Whether it may exceed limits of buffers and the like.
    pub fn is_net_admin(&self) -> bool {
        self.task.is_none_or(|task| task.cred().capable(&self.net.user_ns, CAP_NET_ADMIN))
    }

    /// Whether a capability counts in the network namespace.
    pub fn has_net_capability(&self, capability: u32) -> bool {
        self.task.is_none_or(|task| task.cred().capable(&self.net.user_ns, capability))
    }

    /// Its credentials for files.
    pub fn fs_cred(&self) -> Cred {
        self.task.map_or_else(Cred::root, |task| task.cred().fs_cred())
    }

    /// The time for attributes.
    pub fn now(&self) -> Timespec {
        self.task.map_or_else(Timespec::default, |task| task.kernel.clock.realtime())
    }

    /// What a path leads to, if the caller may write to it (as a connect does).
    ///
    /// # Errors
    /// Those of the walk; EACCES.
    pub fn find_writable(&self, path: &[u8]) -> Result<Path> {
        self.walk(|walk| {
            let found = walk.lookup(path, true)?;
            walk.access(&found, chitin_abi::fs::W_OK)?;
            Ok(found)
        })
    }

    /// Makes a socket file.
    ///
    /// # Errors
    /// Those of mknod(2).
    pub fn make_socket_file(&self, path: &[u8]) -> Result<Path> {
        self.walk(|walk| walk.mknod(path, chitin_abi::fs::S_IFSOCK | 0o777, 0))
    }

    /// Removes a socket file that has just been made.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove_socket_file(&self, path: &[u8]) -> Result<()> {
        self.walk(|walk| walk.unlink(path))
    }

    fn walk<T>(&self, act: impl FnOnce(&Walk<'_>) -> Result<T>) -> Result<T> {
        let task = self.task.ok_or(Errno::ENOENT)?;
        act(&PathCaller::new(task).walk())
    }
}
