//! `/proc/PID/ns`: namespaces as files, by which they are compared, kept alive and entered (`namespaces(7)`).

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::{
    DT_LNK, NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_PARENT, NS_GET_USERNS, OpenFlags, S_IFREG,
    makedev,
};
use chitin_abi::process::{
    CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME,
    CLONE_NEWUSER, CLONE_NEWUTS,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::attr::Attr;
use chitin_vfs::cred::Cred;
use chitin_vfs::file::{File, IoctlContext, OpenFile};
use chitin_vfs::fs::pseudo::{Node, TableDir, TableEntry};
use chitin_vfs::inode::MagicTarget;
use chitin_vfs::namespace::MountNamespace;

use super::Object;
use crate::namespace::{
    CgroupNamespace, IpcNamespace, NetNamespace, PidNamespace, TimeNamespace, UserNamespace,
    UtsNamespace,
};
use crate::proc::access;
use crate::task::Task;

/// Minor device number of the file system of namespaces.
const NSFS_MINOR: u32 = 4;

/// Some namespace.
#[derive(Clone)]
pub enum AnyNamespace {
    /// `cgroup`.
    Cgroup(Arc<CgroupNamespace>),
    /// `ipc`.
    Ipc(Arc<IpcNamespace>),
    /// `mnt`: with its number and owner.
    Mount(Arc<MountNamespace>, u64, Arc<UserNamespace>),
    /// `net`.
    Net(Arc<NetNamespace>),
    /// `pid`.
    Pid(Arc<PidNamespace>),
    /// `time`.
    Time(Arc<TimeNamespace>),
    /// `user`.
    User(Arc<UserNamespace>),
    /// `uts`.
    Uts(Arc<UtsNamespace>),
}

impl AnyNamespace {
    /// Its `CLONE_NEW…` flag, name in link texts, and inode number.
    pub fn identity(&self) -> (u64, &'static str, u64) {
        match self {
            Self::Cgroup(ns) => (CLONE_NEWCGROUP.into(), "cgroup", ns.id),
            Self::Ipc(ns) => (CLONE_NEWIPC.into(), "ipc", ns.id),
            Self::Mount(_, id, _) => (CLONE_NEWNS.into(), "mnt", *id),
            Self::Net(ns) => (CLONE_NEWNET.into(), "net", ns.id),
            Self::Pid(ns) => (CLONE_NEWPID.into(), "pid", ns.id),
            Self::Time(ns) => (CLONE_NEWTIME.into(), "time", ns.id),
            Self::User(ns) => (CLONE_NEWUSER.into(), "user", ns.id),
            Self::Uts(ns) => (CLONE_NEWUTS.into(), "uts", ns.id),
        }
    }

    /// The user namespace that owns it; of a user namespace, the one that it was made in.
    pub fn owner(&self) -> Option<Arc<UserNamespace>> {
        match self {
            Self::Cgroup(ns) => Some(Arc::clone(&ns.user_ns)),
            Self::Ipc(ns) => Some(Arc::clone(&ns.user_ns)),
            Self::Mount(_, _, owner) => Some(Arc::clone(owner)),
            Self::Net(ns) => Some(Arc::clone(&ns.user_ns)),
            Self::Pid(ns) => Some(Arc::clone(&ns.user_ns)),
            Self::Time(ns) => Some(Arc::clone(&ns.user_ns)),
            Self::User(ns) => ns.parent().cloned(),
            Self::Uts(ns) => Some(Arc::clone(&ns.user_ns)),
        }
    }

    fn parent(&self) -> Result<Self> {
        match self {
            Self::Pid(ns) => ns.parent().cloned().map(Self::Pid).ok_or(Errno::EPERM),
            Self::User(ns) => ns.parent().cloned().map(Self::User).ok_or(Errno::EPERM),
            _ => Err(Errno::EINVAL),
        }
    }

    /// An open file of it.
    pub fn open(self, cred: Cred) -> Arc<OpenFile> {
        OpenFile::new(Arc::new(NamespaceFile { namespace: self }), None, OpenFlags::empty(), cred)
    }
}

/// A namespace as a file: what `setns(2)` takes.
pub struct NamespaceFile {
    /// The namespace.
    pub namespace: AnyNamespace,
}

impl File for NamespaceFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Option<Attr>> {
        Ok(Some(Attr {
            dev: makedev(0, NSFS_MINOR),
            ino: self.namespace.identity().2,
            mode: S_IFREG | 0o444,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 0,
            blksize: 4096,
            blocks: 0,
            atime: Default::default(),
            mtime: Default::default(),
            ctime: Default::default(),
            btime: Default::default(),
        }))
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        let open = |namespace: AnyNamespace| {
            context.install_file(namespace.open(context.cred().clone()), true)
        };
        match command {
            NS_GET_USERNS => open(AnyNamespace::User(self.namespace.owner().ok_or(Errno::EPERM)?)),
            NS_GET_PARENT => open(self.namespace.parent()?),
            NS_GET_NSTYPE => Ok(self.namespace.identity().0),
            NS_GET_OWNER_UID => match &self.namespace {
                AnyNamespace::User(ns) => {
                    context.memory().write(argument, &ns.owner().to_ne_bytes())?;
                    Ok(0)
                }
                _ => Err(Errno::EINVAL),
            },
            _ => Err(Errno::ENOTTY),
        }
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        let (_, name, id) = self.namespace.identity();
        Some(format!("{name}:[{id}]").into_bytes())
    }
}

fn link(object: &Object, find: fn(&Task) -> AnyNamespace) -> Node {
    let (reading, following, owner) = (object.clone(), object.clone(), object.clone());
    let checked = move |object: &Object, env: &_| {
        let task = object.task().map_err(|_| Errno::ENOENT)?;
        access::check(env, &task)?;
        Ok(find(&task))
    };
    Node::magic(
        0o777,
        move |env| {
            let (_, name, id) = checked(&reading, env)?.identity();
            Ok(format!("{name}:[{id}]").into_bytes())
        },
        move |env| {
            let cred =
                crate::proc::reader(env).map_or_else(Cred::root, |task| task.cred().fs_cred());
            Ok(MagicTarget::File(checked(&following, env)?.open(cred)))
        },
    )
    .owned_by_now(move || owner.owner())
}

macro_rules! links {
    ($($name:literal |$task:ident| $find:expr;)*) => {
        &[$(TableEntry { name: $name, kind: DT_LNK, make: |object| link(object, |$task| $find) }),*]
    };
}

const LINKS: &[TableEntry<Object>] = links! {
    "cgroup" |task| AnyNamespace::Cgroup(Arc::clone(&task.namespaces().cgroup));
    "ipc" |task| AnyNamespace::Ipc(Arc::clone(&task.namespaces().ipc));
    "mnt" |task| {
        let all = task.namespaces();
        AnyNamespace::Mount(Arc::clone(&all.mount), all.mount_owner.0, Arc::clone(&all.mount_owner.1))
    };
    "net" |task| AnyNamespace::Net(Arc::clone(&task.namespaces().net));
    "pid" |task| AnyNamespace::Pid(task.pid_ns());
    "pid_for_children" |task| AnyNamespace::Pid(Arc::clone(&task.namespaces().pid_for_children));
    "time" |task| AnyNamespace::Time(Arc::clone(&task.namespaces().time));
    "time_for_children" |task| AnyNamespace::Time(Arc::clone(&task.namespaces().time_for_children));
    "user" |task| AnyNamespace::User(Arc::clone(&task.cred().user_ns));
    "uts" |task| AnyNamespace::Uts(Arc::clone(&task.namespaces().uts));
};

/// The directory.
pub fn directory(object: &Object) -> Node {
    let owner = object.clone();
    Node::dir(0o511, TableDir::new(object.clone(), LINKS)).owned_by_now(move || owner.owner())
}
