//! `cgroup2`: one group that holds everything, with the files by which programs find their limits.
//!
//! The container's real limits are the host's cgroup around the sandbox; nothing is limited in here, and nothing can
//! be written. References: the kernel's `admin-guide/cgroup-v2.rst`.

use std::sync::{Arc, Weak};

use chitin_abi::{Errno, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::{Dir, Node, PseudoFs, Style};
use chitin_vfs::fs_type::FsType;
use chitin_vfs::inode::Inode;
use chitin_vfs::super_block::SuperBlock;
use chitin_vfs::walk::Walk;

use crate::kernel::Kernel;
use crate::namespace::PidNamespace;
use crate::proc::format::bit_list;
use crate::proc::{reader, root};

/// The type `cgroup2` for `mount(2)`.
pub struct CgroupType {
    kernel: Weak<Kernel>,
}

impl CgroupType {
    /// The type for a kernel.
    pub fn new(kernel: &Weak<Kernel>) -> Self {
        Self { kernel: Weak::clone(kernel) }
    }
}

impl FsType for CgroupType {
    fn name(&self) -> &str {
        "cgroup2"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn mount(
        &self,
        _source: &[u8],
        options: &[u8],
        _walk: &Walk<'_>,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let known =
            [&b"nsdelegate"[..], b"memory_recursiveprot", b"memory_localevents", b"favordynmods"];
        if options
            .split(|byte| *byte == b',')
            .any(|option| !option.is_empty() && !known.contains(&option))
        {
            return Err(Errno::EINVAL);
        }
        Ok(PseudoFs::mount(Style::cgroup2(), Node::dir(0o555, directory(&self.kernel)).numbered(1)))
    }
}

const FIXED: [(&str, &str); 23] = [
    ("cgroup.controllers", "cpuset cpu io memory pids"),
    ("cgroup.events", "populated 1\nfrozen 0"),
    ("cgroup.freeze", "0"),
    ("cgroup.max.depth", "max"),
    ("cgroup.max.descendants", "max"),
    ("cgroup.stat", "nr_descendants 0\nnr_dying_descendants 0"),
    ("cgroup.subtree_control", ""),
    ("cgroup.type", "domain"),
    ("cpu.idle", "0"),
    ("cpu.max", "max 100000"),
    ("cpu.max.burst", "0"),
    ("cpu.weight", "100"),
    ("cpu.weight.nice", "0"),
    ("cpuset.cpus", ""),
    ("cpuset.mems", ""),
    ("cpuset.mems.effective", "0"),
    ("io.stat", ""),
    ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0"),
    ("memory.high", "max"),
    ("memory.low", "0"),
    ("memory.max", "max"),
    ("memory.swap.max", "max"),
    ("pids.max", "max"),
];

type Show = fn(&Kernel, &VfsEnv) -> String;

fn live(kernel: &Weak<Kernel>, show: Show) -> Node {
    let kernel = Weak::clone(kernel);
    Node::text_for(0o444, move |env, out| {
        out.extend_from_slice(show(&*kernel.upgrade().ok_or(Errno::ENODEV)?, env).as_bytes());
        Ok(())
    })
}

/// Numbers as the reader's namespace has them; those of the kernel for whoever is no task.
fn numbers(kernel: &Kernel, env: &VfsEnv, threads: bool) -> String {
    let ns: Option<Arc<PidNamespace>> = reader(env).map(crate::task::Task::pid_ns);
    let tree = kernel.tree.lock();
    let pids: Vec<_> = if threads {
        tree.tasks().map(|task| task.pid()).collect()
    } else {
        tree.processes().map(|(_, entry)| Arc::clone(&entry.group.pid)).collect()
    };
    let shown = pids.iter().map(|pid| ns.as_ref().map_or_else(|| pid.global(), |ns| pid.in_ns(ns)));
    shown.map(|number| format!("{number}\n")).collect()
}

fn cpu_stat(kernel: &Kernel, _env: &VfsEnv) -> String {
    let (user, system) = root::cpu_time(kernel);
    let (user, system) = (user / 1000, system / 1000);
    format!(
        "usage_usec {}\nuser_usec {user}\nsystem_usec {system}\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
        user.saturating_add(system)
    )
}

fn memory_current(kernel: &Kernel, _env: &VfsEnv) -> String {
    let memory = root::memory(kernel);
    format!("{}\n", memory.anonymous.saturating_add(memory.mapped))
}

fn memory_stat(kernel: &Kernel, _env: &VfsEnv) -> String {
    let memory = root::memory(kernel);
    format!(
        "anon {}\nfile {}\nkernel {}\nkernel_stack {}\npagetables {}\nshmem 0\nfile_mapped {}\nfile_dirty 0\n\
         file_writeback 0\ninactive_anon 0\nactive_anon {}\ninactive_file 0\nactive_file {}\nunevictable {}\nslab 0\n",
        memory.anonymous,
        memory.mapped,
        memory.kernel_stack.saturating_add(memory.page_tables),
        memory.kernel_stack,
        memory.page_tables,
        memory.mapped,
        memory.anonymous,
        memory.mapped,
        memory.locked,
    )
}

fn directory(kernel: &Weak<Kernel>) -> Dir {
    let mut dir = Dir::new();
    for (name, text) in FIXED {
        let text = if text.is_empty() { "\n".to_owned() } else { format!("{text}\n") };
        dir.insert(name.as_bytes(), Node::fixed(0o444, text));
    }
    let shows: [(&str, Show); 8] = [
        ("cgroup.procs", |kernel, env| numbers(kernel, env, false)),
        ("cgroup.threads", |kernel, env| numbers(kernel, env, true)),
        ("cpu.stat", cpu_stat),
        ("cpuset.cpus.effective", |kernel, _| {
            format!("{}\n", bit_list(&vec![true; kernel.machine.cpus]))
        }),
        ("memory.current", memory_current),
        ("memory.stat", memory_stat),
        ("memory.swap.current", |_, _| "0\n".to_owned()),
        ("pids.current", |kernel, _| format!("{}\n", kernel.tree.lock().task_count())),
    ];
    for (name, show) in shows {
        dir.insert(name.as_bytes(), live(kernel, show));
    }
    dir
}
