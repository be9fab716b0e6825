//! Namespaces (`namespaces(7)`): what a task sees under the names that others see something else under.
//!
//! The user namespace is part of a task's credentials, the pid namespace of its process id; all the others are
//! in [`Namespaces`], which is replaced as a whole by `unshare(2)`, `setns(2)` and `clone(2)`.

pub mod file;
pub mod pid;
pub mod unshare;
pub mod user;
pub mod uts;

use std::sync::Arc;

use chitin_vfs::namespace::MountNamespace;

pub use crate::ipc::IpcNamespace;
use crate::socket::interface::Loopback;

pub use self::pid::{Pid, PidNamespace};
pub use self::user::UserNamespace;
pub use self::uts::UtsNamespace;

/// Inode numbers of the initial namespaces, as in Linux (`PROC_…_INIT_INO`).
pub mod initial_id {
    /// ipc.
    pub const IPC: u64 = 0xefff_ffff;
    /// uts.
    pub const UTS: u64 = 0xefff_fffe;
    /// user.
    pub const USER: u64 = 0xefff_fffd;
    /// pid.
    pub const PID: u64 = 0xefff_fffc;
    /// cgroup.
    pub const CGROUP: u64 = 0xefff_fffb;
    /// time.
    pub const TIME: u64 = 0xefff_fffa;
    /// net.
    pub const NET: u64 = 0xefff_fff9;
    /// mnt.
    pub const MOUNT: u64 = 0xefff_fff8;
}

/// The inode number of a namespace made from object number `object` of the kernel.
pub const fn namespace_id(object: u64) -> u64 {
    0xf000_0000u64.wrapping_add(object & 0x0fff_ffff)
}

macro_rules! plain_namespace {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name {
            /// Inode number in /proc/pid/ns.
            pub id: u64,
            /// The user namespace that owns it.
            pub user_ns: Arc<UserNamespace>,
        }

        impl $name {
            /// A namespace that `user_ns` owns.
            pub fn new(id: u64, user_ns: Arc<UserNamespace>) -> Arc<Self> {
                Arc::new(Self { id, user_ns })
            }
        }
    };
}

/// Network devices, ports and abstract socket names of a group of tasks.
pub struct NetNamespace {
    /// Inode number in /proc/pid/ns.
    pub id: u64,
    /// The user namespace that owns it.
    pub user_ns: Arc<UserNamespace>,
    /// Unix sockets.
    pub unix: crate::socket::unix::UnixNamespace,
    /// TCP and UDP.
    pub inet: Arc<crate::socket::inet::InetStack>,
    /// Netlink port ids.
    pub netlink: crate::socket::netlink::NetlinkPorts,
    /// The loopback interface.
    pub loopback: Loopback,
}

impl NetNamespace {
    /// A namespace that `user_ns` owns, with nothing but a loopback interface.
    pub fn new(id: u64, user_ns: Arc<UserNamespace>, loopback: Loopback) -> Arc<Self> {
        let inet = crate::socket::inet::InetStack::new(id);
        let (unix, netlink) = Default::default();
        Arc::new(Self { id, user_ns, unix, inet, netlink, loopback })
    }

    /// That of a container that is about to start.
    pub fn initial(user_ns: &Arc<UserNamespace>) -> Arc<Self> {
        Self::new(initial_id::NET, Arc::clone(user_ns), Loopback::up())
    }
}
plain_namespace! {
    /// Where the cgroup tree starts.
    CgroupNamespace
}
plain_namespace! {
    /// Offsets of the monotonic and boot-time clocks.
    TimeNamespace
}

/// A task's namespaces.
#[derive(Clone)]
pub struct Namespaces {
    /// Host and domain name.
    pub uts: Arc<UtsNamespace>,
    /// System V IPC, POSIX message queues.
    pub ipc: Arc<IpcNamespace>,
    /// Mounts.
    pub mount: Arc<MountNamespace>,
    /// Owner and number of [`Namespaces::mount`].
    pub mount_owner: (u64, Arc<UserNamespace>),
    /// Network.
    pub net: Arc<NetNamespace>,
    /// The pid namespace that children are made in.
    pub pid_for_children: Arc<PidNamespace>,
    /// Control groups.
    pub cgroup: Arc<CgroupNamespace>,
    /// Clock offsets.
    pub time: Arc<TimeNamespace>,
    /// Clock offsets of children.
    pub time_for_children: Arc<TimeNamespace>,
}

impl Namespaces {
    /// The first namespaces of a container.
    pub fn initial(
        user_ns: &Arc<UserNamespace>,
        pid_ns: Arc<PidNamespace>,
        mount: Arc<MountNamespace>,
        hostname: &[u8],
    ) -> Arc<Self> {
        let time = TimeNamespace::new(initial_id::TIME, Arc::clone(user_ns));
        Arc::new(Self {
            uts: UtsNamespace::new(initial_id::UTS, Arc::clone(user_ns), hostname),
            ipc: IpcNamespace::new(initial_id::IPC, Arc::clone(user_ns)),
            mount,
            mount_owner: (initial_id::MOUNT, Arc::clone(user_ns)),
            net: NetNamespace::initial(user_ns),
            pid_for_children: pid_ns,
            cgroup: CgroupNamespace::new(initial_id::CGROUP, Arc::clone(user_ns)),
            time_for_children: Arc::clone(&time),
            time,
        })
    }
}
