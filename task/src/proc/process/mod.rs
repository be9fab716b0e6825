//! `/proc/PID` and `/proc/PID/task/TID`.
//!
//! - [`identity`]: names, states, ids, times. - [`memory`]: mappings and what they hold. - [`links`]: `exe`, `cwd`,
//!   `root`. - [`fd`]: descriptors. - [`ns`]: namespaces. - [`mounts`]: mounts. - [`settings`]: what can be written.

pub mod fd;
pub mod identity;
pub mod links;
pub mod mem;
pub mod memory;
pub mod mounts;
pub mod ns;
pub mod settings;

use core::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use chitin_abi::fs::{DT_DIR, DT_LNK, DT_REG};
use chitin_abi::{Errno, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::{Node, TableDir, TableEntry};

use super::{View, access};
use crate::kernel::Kernel;
use crate::process::{ProcessEntry, ThreadGroup};
use crate::task::Task;

/// A process or a thread as a directory of `/proc` stands for it.
#[derive(Clone)]
pub struct Object {
    view: Arc<View>,
    group: Weak<ThreadGroup>,
    tgid: u32,
    tid: u32,
    thread: bool,
}

impl Object {
    /// A process.
    pub fn process(view: &Arc<View>, group: &Arc<ThreadGroup>) -> Self {
        Self {
            view: Arc::clone(view),
            group: Arc::downgrade(group),
            tgid: group.tgid,
            tid: group.tgid,
            thread: false,
        }
    }

    /// A thread, by the kernel's number.
    pub fn thread(view: &Arc<View>, group: &Arc<ThreadGroup>, tid: u32) -> Self {
        Self { tid, thread: true, ..Self::process(view, group) }
    }

    /// The leader as a thread.
    pub fn as_thread(&self) -> Self {
        Self { thread: true, ..self.clone() }
    }

    /// The mount.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The kernel's number of the process.
    pub fn tgid(&self) -> u32 {
        self.tgid
    }

    /// Whether this is one thread of `/proc/PID/task`.
    pub fn is_thread(&self) -> bool {
        self.thread
    }

    /// The process.
    ///
    /// # Errors
    /// ESRCH when it is gone.
    pub fn group(&self) -> Result<Arc<ThreadGroup>> {
        self.group.upgrade().ok_or(Errno::ESRCH)
    }

    /// The kernel.
    ///
    /// # Errors
    /// ESRCH when it is gone.
    pub fn kernel(&self) -> Result<Arc<Kernel>> {
        self.view.kernel()
    }

    /// Its number in the mount's namespace.
    pub fn number(&self) -> u32 {
        match self.task() {
            Ok(task) if self.thread => self.view.number(&task.pid()),
            _ => self.group.upgrade().map_or(0, |group| self.view.number(&group.pid)),
        }
    }

    /// The thread, or a living thread of the process.
    ///
    /// # Errors
    /// ESRCH for a zombie and for what is gone.
    pub fn task(&self) -> Result<Arc<Task>> {
        let kernel = self.kernel()?;
        let tree = kernel.tree.lock();
        let task = if self.thread {
            tree.task(self.tid)
        } else {
            tree.process(self.tgid).and_then(ProcessEntry::member)
        };
        task.filter(|task| task.tgid() == self.tgid).cloned().ok_or(Errno::ESRCH)
    }

    /// What the tree knows of the process.
    ///
    /// # Errors
    /// ESRCH.
    pub fn with_entry<T>(&self, look: impl FnOnce(&ProcessEntry) -> T) -> Result<T> {
        let kernel = self.kernel()?;
        let tree = kernel.tree.lock();
        tree.process(self.tgid).map(look).ok_or(Errno::ESRCH)
    }

    fn exists(&self) -> bool {
        if self.group.strong_count() == 0 {
            return false;
        }
        if self.thread && self.tid != self.tgid {
            self.task().is_ok()
        } else {
            self.with_entry(|_| ()).is_ok()
        }
    }

    /// Owner of its directory: its effective ids.
    fn owner(&self) -> (u32, u32) {
        self.task().map_or((0, 0), |task| {
            let cred = task.cred();
            (cred.euid, cred.egid)
        })
    }

    /// Owner of its files: root's unless its user may look into it.
    fn file_owner(&self) -> (u32, u32) {
        match self.task() {
            Ok(task) if task.group.dumpable.load(Ordering::Relaxed) == access::DUMPABLE => {
                let cred = task.cred();
                (cred.euid, cred.egid)
            }
            _ => (0, 0),
        }
    }

    /// An inode number that no other process or thread has had: ids are used again.
    fn ino(&self) -> u64 {
        let start = self.group.upgrade().map_or(0, |group| group.start_time / 1000);
        let thread = u64::from(self.tid) << 1 | u64::from(self.thread);
        (start.wrapping_mul(0x9e37_79b9).wrapping_add(thread << 8) & 0xff_ffff_ffff) | 1 << 33
    }
}

/// The directory of a process or thread.
pub fn directory(object: Object) -> Node {
    let table: &'static [TableEntry<Object>] = if object.thread { THREAD } else { PROCESS };
    let (owner, closed, ino) = (object.clone(), object.clone(), object.ino());
    let hide = object.view.hide;
    let node = Node::dir(0o555, TableDir::new(object, table).alive_while(Object::exists))
        .owned_by_now(move || owner.owner())
        .numbered(ino);
    if hide == 0 {
        return node;
    }
    node.check_access(move |_mask, _cred, env| {
        let hidden = closed.task().is_ok_and(|task| !access::may_open(env, &task));
        hidden.then_some(Err(if hide == 1 { Errno::EPERM } else { Errno::ENOENT }))
    })
}

/// A text about the object.
fn text(
    object: &Object,
    permissions: u32,
    generate: fn(&Object, &VfsEnv, &mut Vec<u8>) -> Result<()>,
) -> Node {
    let (owner, object) = (object.clone(), object.clone());
    Node::text_for(permissions, move |env, out| generate(&object, env, out))
        .owned_by_now(move || owner.file_owner())
}

/// A text that only who may look into the process can open.
fn private(
    object: &Object,
    permissions: u32,
    generate: fn(&Object, &VfsEnv, &mut Vec<u8>) -> Result<()>,
) -> Node {
    let target = object.clone();
    text(object, permissions, generate).on_open(move |_, env| access::check(env, &*target.task()?))
}

/// A file without contents, or with the same for all.
fn constant(object: &Object, permissions: u32, contents: &'static str) -> Node {
    let owner = object.clone();
    Node::fixed(permissions, contents).owned_by_now(move || owner.file_owner())
}

macro_rules! entries {
    ($($kind:ident $name:literal $make:expr;)*) => {
        &[$(TableEntry { name: $name, kind: $kind, make: $make }),*]
    };
}

const PROCESS: &[TableEntry<Object>] = entries! {
    DT_DIR "attr" settings::attr;
    DT_REG "auxv" |object| private(object, 0o400, memory::auxv);
    DT_REG "cgroup" |object| text(object, 0o444, identity::cgroup);
    DT_REG "clear_refs" memory::clear_refs;
    DT_REG "cmdline" |object| text(object, 0o444, memory::cmdline);
    DT_REG "comm" settings::comm;
    DT_REG "coredump_filter" |object| constant(object, 0o644, "00000033\n");
    DT_REG "cpuset" |object| constant(object, 0o444, "/\n");
    DT_LNK "cwd" links::cwd;
    DT_REG "environ" |object| private(object, 0o400, memory::environ);
    DT_LNK "exe" links::exe;
    DT_DIR "fd" fd::fd;
    DT_DIR "fdinfo" fd::fdinfo;
    DT_REG "gid_map" settings::gid_map;
    DT_REG "io" |object| private(object, 0o400, identity::io);
    DT_REG "limits" |object| text(object, 0o444, identity::limits);
    DT_REG "loginuid" settings::loginuid;
    DT_DIR "map_files" memory::map_files;
    DT_REG "maps" |object| private(object, 0o444, memory::maps);
    DT_REG "mem" mem::node;
    DT_REG "mountinfo" |object| mounts::node(object, 0o444, mounts::mountinfo);
    DT_REG "mounts" |object| mounts::node(object, 0o444, mounts::mounts);
    DT_REG "mountstats" |object| mounts::node(object, 0o400, mounts::mountstats);
    DT_DIR "net" super::net::of_process;
    DT_DIR "ns" ns::directory;
    DT_REG "numa_maps" |object| private(object, 0o444, memory::numa_maps);
    DT_REG "oom_adj" settings::oom_adj;
    DT_REG "oom_score" |object| text(object, 0o444, identity::oom_score);
    DT_REG "oom_score_adj" settings::oom_score_adj;
    DT_REG "pagemap" memory::pagemap;
    DT_REG "personality" |object| private(object, 0o400, identity::personality);
    DT_REG "projid_map" |object| constant(object, 0o644, "");
    DT_LNK "root" links::root;
    DT_REG "sched" |object| text(object, 0o644, identity::sched);
    DT_REG "schedstat" |object| text(object, 0o444, identity::schedstat);
    DT_REG "sessionid" |object| constant(object, 0o444, "4294967295");
    DT_REG "setgroups" settings::setgroups;
    DT_REG "smaps" |object| private(object, 0o444, memory::smaps);
    DT_REG "smaps_rollup" |object| private(object, 0o444, memory::smaps_rollup);
    DT_REG "stack" |object| private(object, 0o400, identity::nothing);
    DT_REG "stat" |object| text(object, 0o444, identity::stat);
    DT_REG "statm" |object| text(object, 0o444, memory::statm);
    DT_REG "status" |object| text(object, 0o444, identity::status);
    DT_REG "syscall" |object| private(object, 0o400, identity::syscall);
    DT_DIR "task" |object| Node::dir(0o555, super::pids::Threads::new(object));
    DT_REG "timens_offsets" |object| constant(object, 0o644, "monotonic           0         0\nboottime            0         0\n");
    DT_REG "timers" |object| text(object, 0o444, identity::timers);
    DT_REG "timerslack_ns" settings::timerslack;
    DT_REG "uid_map" settings::uid_map;
    DT_REG "wchan" |object| constant(object, 0o444, "0");
};

const THREAD: &[TableEntry<Object>] = entries! {
    DT_DIR "attr" settings::attr;
    DT_REG "auxv" |object| private(object, 0o400, memory::auxv);
    DT_REG "cgroup" |object| text(object, 0o444, identity::cgroup);
    DT_REG "children" |object| text(object, 0o444, identity::children);
    DT_REG "clear_refs" memory::clear_refs;
    DT_REG "cmdline" |object| text(object, 0o444, memory::cmdline);
    DT_REG "comm" settings::comm;
    DT_REG "cpuset" |object| constant(object, 0o444, "/\n");
    DT_LNK "cwd" links::cwd;
    DT_REG "environ" |object| private(object, 0o400, memory::environ);
    DT_LNK "exe" links::exe;
    DT_DIR "fd" fd::fd;
    DT_DIR "fdinfo" fd::fdinfo;
    DT_REG "gid_map" settings::gid_map;
    DT_REG "io" |object| private(object, 0o400, identity::io);
    DT_REG "limits" |object| text(object, 0o444, identity::limits);
    DT_REG "loginuid" settings::loginuid;
    DT_REG "maps" |object| private(object, 0o444, memory::maps);
    DT_REG "mem" mem::node;
    DT_REG "mountinfo" |object| mounts::node(object, 0o444, mounts::mountinfo);
    DT_REG "mounts" |object| mounts::node(object, 0o444, mounts::mounts);
    DT_DIR "net" super::net::of_process;
    DT_DIR "ns" ns::directory;
    DT_REG "numa_maps" |object| private(object, 0o444, memory::numa_maps);
    DT_REG "oom_adj" settings::oom_adj;
    DT_REG "oom_score" |object| text(object, 0o444, identity::oom_score);
    DT_REG "oom_score_adj" settings::oom_score_adj;
    DT_REG "pagemap" memory::pagemap;
    DT_REG "personality" |object| private(object, 0o400, identity::personality);
    DT_REG "projid_map" |object| constant(object, 0o644, "");
    DT_LNK "root" links::root;
    DT_REG "sched" |object| text(object, 0o644, identity::sched);
    DT_REG "schedstat" |object| text(object, 0o444, identity::schedstat);
    DT_REG "sessionid" |object| constant(object, 0o444, "4294967295");
    DT_REG "setgroups" settings::setgroups;
    DT_REG "smaps" |object| private(object, 0o444, memory::smaps);
    DT_REG "smaps_rollup" |object| private(object, 0o444, memory::smaps_rollup);
    DT_REG "stack" |object| private(object, 0o400, identity::nothing);
    DT_REG "stat" |object| text(object, 0o444, identity::stat);
    DT_REG "statm" |object| text(object, 0o444, memory::statm);
    DT_REG "status" |object| text(object, 0o444, identity::status);
    DT_REG "syscall" |object| private(object, 0o400, identity::syscall);
    DT_REG "uid_map" settings::uid_map;
    DT_REG "wchan" |object| constant(object, 0o444, "0");
};
