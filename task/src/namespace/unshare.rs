//! Making and joining namespaces: `unshare(2)`, `setns(2)`, and the part of `clone(2)` that is like them.

use std::sync::Arc;

use chitin_abi::process::{
    CAP_SYS_ADMIN, CAP_SYS_CHROOT, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS,
    CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS,
};
use chitin_abi::{Errno, Result};

use super::{
    CgroupNamespace, IpcNamespace, Namespaces, NetNamespace, PidNamespace, TimeNamespace,
    UserNamespace, UtsNamespace,
};
use crate::cred::{CapSet, Credentials};
use crate::socket::interface::Loopback;
use crate::task::{FsContext, Task};

/// What came of making namespaces.
pub struct Made {
    /// The identity, in a new user namespace if one was asked for.
    pub cred: Arc<Credentials>,
    /// The namespaces.
    pub namespaces: Arc<Namespaces>,
}

/// Makes the namespaces of `flags`; a new mount namespace moves the directories of `fs`.
///
/// # Errors
/// EPERM without the capability, ENOSPC when nested too deeply.
pub fn new_namespaces(task: &Arc<Task>, flags: u64, fs: &FsContext) -> Result<Made> {
    let kernel = &task.kernel;
    let mut cred = task.cred();
    if flags & CLONE_NEWUSER != 0 {
        let user_ns = UserNamespace::new(&cred, kernel.next_namespace_id())?;
        cred = Arc::new(entering(&cred, user_ns));
    }
    let others = flags & !CLONE_NEWUSER;
    if others != 0 && !cred.has(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM);
    }
    let owner = || Arc::clone(&cred.user_ns);
    let old = task.child_namespaces();
    let mut new = (*old).clone();
    if flags & CLONE_NEWUTS != 0 {
        new.uts = old.uts.copy(kernel.next_namespace_id(), owner());
    }
    if flags & CLONE_NEWIPC != 0 {
        new.ipc = IpcNamespace::new(kernel.next_namespace_id(), owner());
    }
    if flags & CLONE_NEWNET != 0 {
        new.net = NetNamespace::new(kernel.next_namespace_id(), owner(), Loopback::default());
    }
    if flags & CLONE_NEWCGROUP != 0 {
        new.cgroup = CgroupNamespace::new(kernel.next_namespace_id(), owner());
    }
    if flags & CLONE_NEWTIME != 0 {
        new.time_for_children = TimeNamespace::new(kernel.next_namespace_id(), owner());
    }
    if flags & CLONE_NEWPID != 0 {
        new.pid_for_children =
            PidNamespace::new(&old.pid_for_children, kernel.next_namespace_id(), owner())?;
    }
    if flags & CLONE_NEWNS != 0 {
        let copy = old.mount.copy(!Arc::ptr_eq(&old.mount_owner.1, &cred.user_ns))?;
        let (root, cwd) = (copy.translate(&fs.root()), copy.translate(&fs.cwd()));
        fs.set_root(root);
        fs.set_cwd(cwd);
        new.mount = Arc::clone(&copy.namespace);
        new.mount_owner = (kernel.next_namespace_id(), owner());
    }
    Ok(Made { cred, namespaces: Arc::new(new) })
}

/// The identity of a task that makes or joins a user namespace: all capabilities there.
pub fn entering(old: &Credentials, user_ns: Arc<UserNamespace>) -> Credentials {
    Credentials {
        permitted: CapSet::ALL,
        effective: CapSet::ALL,
        inheritable: CapSet::EMPTY,
        bounding: CapSet::ALL,
        ambient: CapSet::EMPTY,
        securebits: 0,
        user_ns,
        ..old.clone()
    }
}

/// A namespace that a descriptor stands for (`/proc/pid/ns/…`).
#[derive(Clone)]
pub enum AnyNamespace {
    /// user
    User(Arc<UserNamespace>),
    /// mnt, with its number and owner
    Mount(Arc<chitin_vfs::namespace::MountNamespace>, (u64, Arc<UserNamespace>)),
    /// uts
    Uts(Arc<UtsNamespace>),
    /// ipc
    Ipc(Arc<IpcNamespace>),
    /// net
    Net(Arc<NetNamespace>),
    /// pid, pid_for_children
    Pid(Arc<PidNamespace>),
    /// cgroup
    Cgroup(Arc<CgroupNamespace>),
    /// time, time_for_children
    Time(Arc<TimeNamespace>),
}

impl AnyNamespace {
    /// The `CLONE_NEW…` flag of its type.
    pub fn flag(&self) -> u64 {
        match self {
            Self::User(_) => CLONE_NEWUSER,
            Self::Mount(..) => CLONE_NEWNS,
            Self::Uts(_) => CLONE_NEWUTS,
            Self::Ipc(_) => CLONE_NEWIPC,
            Self::Net(_) => CLONE_NEWNET,
            Self::Pid(_) => CLONE_NEWPID,
            Self::Cgroup(_) => CLONE_NEWCGROUP,
            Self::Time(_) => CLONE_NEWTIME,
        }
    }

    /// Its inode number.
    pub fn id(&self) -> u64 {
        match self {
            Self::User(ns) => ns.id,
            Self::Mount(_, (id, _)) => *id,
            Self::Uts(ns) => ns.id,
            Self::Ipc(ns) => ns.id,
            Self::Net(ns) => ns.id,
            Self::Pid(ns) => ns.id,
            Self::Cgroup(ns) => ns.id,
            Self::Time(ns) => ns.id,
        }
    }

    /// The name of its type in link texts such as `net:[4026531840]`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Mount(..) => "mnt",
            Self::Uts(_) => "uts",
            Self::Ipc(_) => "ipc",
            Self::Net(_) => "net",
            Self::Pid(_) => "pid",
            Self::Cgroup(_) => "cgroup",
            Self::Time(_) => "time",
        }
    }

    /// The user namespace that owns it; a user namespace's is its parent.
    pub fn owner(&self) -> Option<Arc<UserNamespace>> {
        match self {
            Self::User(ns) => ns.parent().cloned(),
            Self::Mount(_, (_, owner)) => Some(Arc::clone(owner)),
            Self::Uts(ns) => Some(Arc::clone(&ns.user_ns)),
            Self::Ipc(ns) => Some(Arc::clone(&ns.user_ns)),
            Self::Net(ns) => Some(Arc::clone(&ns.user_ns)),
            Self::Pid(ns) => Some(Arc::clone(&ns.user_ns)),
            Self::Cgroup(ns) => Some(Arc::clone(&ns.user_ns)),
            Self::Time(ns) => Some(Arc::clone(&ns.user_ns)),
        }
    }

    /// The namespace of a task by its name in /proc/pid/ns.
    pub fn of_task(task: &Task, name: &[u8]) -> Option<Self> {
        let namespaces = task.namespaces();
        Some(match name {
            b"user" => Self::User(Arc::clone(&task.cred().user_ns)),
            b"mnt" => Self::Mount(Arc::clone(&namespaces.mount), namespaces.mount_owner.clone()),
            b"uts" => Self::Uts(Arc::clone(&namespaces.uts)),
            b"ipc" => Self::Ipc(Arc::clone(&namespaces.ipc)),
            b"net" => Self::Net(Arc::clone(&namespaces.net)),
            b"pid" => Self::Pid(task.pid_ns()),
            b"pid_for_children" => Self::Pid(Arc::clone(&namespaces.pid_for_children)),
            b"cgroup" => Self::Cgroup(Arc::clone(&namespaces.cgroup)),
            b"time" => Self::Time(Arc::clone(&namespaces.time)),
            b"time_for_children" => Self::Time(Arc::clone(&namespaces.time_for_children)),
            _ => return None,
        })
    }
}

/// The names in /proc/pid/ns.
pub const NAMES: [&str; 10] = [
    "cgroup",
    "ipc",
    "mnt",
    "net",
    "pid",
    "pid_for_children",
    "time",
    "time_for_children",
    "user",
    "uts",
];

/// Moves the caller to other namespaces (`setns(2)`), all or none.
///
/// # Errors
/// EPERM, EINVAL, EUSERS as documented.
pub fn join(task: &Arc<Task>, targets: &[AnyNamespace], threads: usize) -> Result<()> {
    let mut cred = task.cred();
    if let Some(AnyNamespace::User(ns)) =
        targets.iter().find(|target| target.flag() == CLONE_NEWUSER)
    {
        if Arc::ptr_eq(ns, &cred.user_ns) || threads > 1 || Arc::strong_count(&task.fs()) > 2 {
            return Err(Errno::EINVAL);
        }
        if !cred.capable(ns, CAP_SYS_ADMIN) {
            return Err(Errno::EPERM);
        }
        cred = Arc::new(entering(&cred, Arc::clone(ns)));
    }
    let mut new = (*task.namespaces()).clone();
    let mut directories = None;
    for target in targets {
        let over = target.owner().is_none_or(|owner| cred.capable(&owner, CAP_SYS_ADMIN));
        let allowed = over && cred.has(CAP_SYS_ADMIN);
        if !allowed && !matches!(target, AnyNamespace::User(_)) {
            return Err(Errno::EPERM);
        }
        match target {
            AnyNamespace::User(_) => {}
            AnyNamespace::Uts(ns) => new.uts = Arc::clone(ns),
            AnyNamespace::Ipc(ns) => new.ipc = Arc::clone(ns),
            AnyNamespace::Net(ns) => new.net = Arc::clone(ns),
            AnyNamespace::Cgroup(ns) => new.cgroup = Arc::clone(ns),
            AnyNamespace::Time(ns) => {
                if threads > 1 {
                    return Err(Errno::EUSERS);
                }
                new.time = Arc::clone(ns);
                new.time_for_children = Arc::clone(ns);
            }
            AnyNamespace::Pid(ns) => {
                if !ns.is_within(&task.pid_ns()) {
                    return Err(Errno::EINVAL);
                }
                new.pid_for_children = Arc::clone(ns);
            }
            AnyNamespace::Mount(ns, owner) => {
                if !cred.has(CAP_SYS_CHROOT) {
                    return Err(Errno::EPERM);
                }
                if Arc::strong_count(&task.fs()) > 2 {
                    return Err(Errno::EINVAL);
                }
                new.mount = Arc::clone(ns);
                new.mount_owner = owner.clone();
                directories = Some(ns.root());
            }
        }
    }
    if let Some(root) = directories {
        let fs = task.fs();
        fs.set_root(root.clone());
        fs.set_cwd(root);
    }
    task.set_namespaces(Arc::new(new));
    task.set_cred((*cred).clone());
    Ok(())
}
