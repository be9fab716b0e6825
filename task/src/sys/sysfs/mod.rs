//! `/sys`: what programs look for there (`sysfs(5)`): processors, memory nodes, the loopback device, switches of
//! memory management.
//!
//! The tree has no devices of the host's in it. Texts that need CPUID are made when they are read: in a virtual
//! machine each costs tens of microseconds.

mod cpu;
mod net;
mod node;

use std::sync::{Arc, Weak};

use chitin_abi::{Errno, Result};
use chitin_vfs::fs::pseudo::{Dir, LazyDir, Node, PseudoFs, Style};
use chitin_vfs::fs_type::FsType;
use chitin_vfs::inode::Inode;
use chitin_vfs::super_block::SuperBlock;
use chitin_vfs::walk::Walk;

use crate::kernel::Kernel;

/// The type `sysfs` for `mount(2)`.
pub struct SysType {
    kernel: Weak<Kernel>,
}

impl SysType {
    /// The type for a kernel.
    pub fn new(kernel: &Weak<Kernel>) -> Self {
        Self { kernel: Weak::clone(kernel) }
    }
}

impl FsType for SysType {
    fn name(&self) -> &str {
        "sysfs"
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
        if !options.is_empty() {
            return Err(Errno::EINVAL);
        }
        let kernel = Weak::clone(&self.kernel);
        let tree = LazyDir::new(move || root(&kernel));
        Ok(PseudoFs::mount(Style::sysfs(), Node::dir(0o555, tree).numbered(1)))
    }
}

/// A file of one line.
fn line(text: &str) -> Node {
    Node::fixed(0o444, format!("{text}\n"))
}

/// A directory of lines.
fn lines(rows: &[(&str, &str)]) -> Dir {
    rows.iter().fold(Dir::new(), |dir, (name, text)| dir.with(name, line(text)))
}

fn dir(entries: Dir) -> Node {
    Node::dir(0o755, entries)
}

fn empty() -> Node {
    dir(Dir::new())
}

fn link(target: &'static str) -> Node {
    Node::symlink(move |_| Ok(target.as_bytes().to_vec()))
}

/// Character devices as `/sys/dev/char` and `/sys/devices/virtual` name them: number, class, name.
const DEVICES: [(&str, &str, &str, &str); 9] = [
    ("1:3", "mem", "null", "../../devices/virtual/mem/null"),
    ("1:5", "mem", "zero", "../../devices/virtual/mem/zero"),
    ("1:7", "mem", "full", "../../devices/virtual/mem/full"),
    ("1:8", "mem", "random", "../../devices/virtual/mem/random"),
    ("1:9", "mem", "urandom", "../../devices/virtual/mem/urandom"),
    ("1:11", "mem", "kmsg", "../../devices/virtual/mem/kmsg"),
    ("5:0", "tty", "tty", "../../devices/virtual/tty/tty"),
    ("5:1", "tty", "console", "../../devices/virtual/tty/console"),
    ("5:2", "tty", "ptmx", "../../devices/virtual/tty/ptmx"),
];

fn device_node(number: &str, name: &str) -> Node {
    let (major, minor) = number.split_once(':').unwrap_or_default();
    dir(lines(&[
        ("dev", number),
        ("uevent", &format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}")),
    ]))
}

fn devices_of(class: &str) -> Dir {
    let all = DEVICES.iter().filter(|device| device.1 == class);
    all.fold(Dir::new(), |dir, (number, _, name, _)| dir.with(name, device_node(number, name)))
}

fn class_of(class: &str) -> Node {
    let all = DEVICES.iter().filter(|device| device.1 == class);
    dir(all.fold(Dir::new(), |dir, (_, _, name, target)| dir.with(name, link(target))))
}

fn class() -> Dir {
    Dir::new()
        .with("block", empty())
        .with("mem", class_of("mem"))
        .with("misc", empty())
        .with("net", dir(Dir::new().with("lo", link("../../devices/virtual/net/lo"))))
        .with("power_supply", empty())
        .with("thermal", empty())
        .with("tty", class_of("tty"))
}

fn numbers() -> Dir {
    let chars = DEVICES
        .iter()
        .fold(Dir::new(), |dir, (number, _, _, target)| dir.with(number, link(target)));
    Dir::new().with("block", empty()).with("char", dir(chars))
}

fn devices(kernel: &Weak<Kernel>) -> Dir {
    let cpus = kernel.upgrade().map_or(1, |kernel| kernel.machine.cpus);
    let system = Dir::new()
        .with("cpu", dir(cpu::directory(cpus)))
        .with("node", dir(node::directory(kernel, cpus)))
        .with(
            "clocksource",
            dir(Dir::new().with(
                "clocksource0",
                dir(lines(&[("available_clocksource", "tsc"), ("current_clocksource", "tsc")])),
            )),
        );
    let virtual_devices = Dir::new()
        .with("mem", dir(devices_of("mem")))
        .with("net", dir(Dir::new().with("lo", dir(net::loopback()))))
        .with("tty", dir(devices_of("tty")));
    Dir::new().with("system", dir(system)).with("virtual", dir(virtual_devices))
}

fn huge_pages() -> Dir {
    lines(&[
        ("free_hugepages", "0"),
        ("nr_hugepages", "0"),
        ("nr_hugepages_mempolicy", "0"),
        ("nr_overcommit_hugepages", "0"),
        ("resv_hugepages", "0"),
        ("surplus_hugepages", "0"),
    ])
}

fn memory_management() -> Dir {
    let transparent = lines(&[
        ("defrag", "always defer defer+madvise [madvise] never"),
        ("enabled", "always [madvise] never"),
        ("hpage_pmd_size", "2097152"),
        ("shmem_enabled", "always within_size advise [never] deny force"),
        ("use_zero_page", "1"),
    ])
    .with(
        "khugepaged",
        dir(lines(&[
            ("alloc_sleep_millisecs", "60000"),
            ("defrag", "1"),
            ("max_ptes_none", "511"),
            ("pages_to_scan", "4096"),
            ("scan_sleep_millisecs", "10000"),
        ])),
    );
    let ksm = lines(&[("pages_shared", "0"), ("pages_sharing", "0"), ("run", "0")]);
    Dir::new()
        .with("hugepages", dir(Dir::new().with("hugepages-2048kB", dir(huge_pages()))))
        .with("ksm", dir(ksm))
        .with("transparent_hugepage", dir(transparent))
}

fn kernel_switches() -> Dir {
    lines(&[
        ("fscaps", "1"),
        ("profiling", "0"),
        ("rcu_expedited", "0"),
        ("rcu_normal", "0"),
        ("uevent_seqnum", "0"),
    ])
    .with("debug", Node::dir(0o700, Dir::new()))
    .with("mm", dir(memory_management()))
    .with("security", empty())
    .with("tracing", Node::dir(0o700, Dir::new()))
}

fn root(kernel: &Weak<Kernel>) -> Dir {
    let bus = ["cpu", "node", "platform"].iter().fold(Dir::new(), |buses, name| {
        buses.with(name, dir(Dir::new().with("devices", empty()).with("drivers", empty())))
    });
    Dir::new()
        .with("block", empty())
        .with("bus", dir(bus))
        .with("class", dir(class()))
        .with("dev", dir(numbers()))
        .with("devices", dir(devices(kernel)))
        .with("firmware", empty())
        .with(
            "fs",
            dir(Dir::new().with("cgroup", empty()).with("bpf", empty()).with("fuse", empty())),
        )
        .with("hypervisor", empty())
        .with("kernel", dir(kernel_switches()))
        .with("module", empty())
        .with("power", dir(lines(&[("state", "")])))
}

#[cfg(test)]
mod tests {
    use chitin_abi::fs::OpenFlags;
    use chitin_vfs::env::VfsEnv;
    use chitin_vfs::io::VecSink;

    use super::*;

    fn read(path: &str) -> String {
        let mut at = PseudoFs::mount(Style::sysfs(), Node::dir(0o555, root(&Weak::new()))).1;
        for name in path.split('/') {
            at = at.lookup(name.as_bytes()).unwrap();
        }
        let mut sink = VecSink::new(4096);
        at.open(OpenFlags::empty(), &VfsEnv::default()).unwrap().read_at(&mut sink, 0).unwrap();
        String::from_utf8(sink.bytes).unwrap()
    }

    #[test]
    fn what_programs_look_for_is_there() {
        assert!(read("devices/system/cpu/online").starts_with('0'));
        assert_eq!(read("devices/system/cpu/cpu0/topology/core_id"), "0\n");
        assert!(read("kernel/mm/transparent_hugepage/enabled").contains("[madvise]"));
        assert_eq!(read("devices/virtual/net/lo/mtu"), "65536\n");
        assert_eq!(read("devices/virtual/mem/null/dev"), "1:3\n");
        assert_eq!(read("devices/system/node/node0/distance"), "10\n");
    }
}
