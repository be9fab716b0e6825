//! `/sys/devices/system/node`: all memory is one node's.

use core::fmt::Write;
use std::sync::Weak;

use chitin_abi::Errno;
use chitin_vfs::fs::pseudo::{Dir, Node};

use super::{dir, lines};
use crate::kernel::Kernel;
use crate::proc::format::{bit_list, bit_mask};
use crate::proc::root::memory;

fn meminfo(kernel: &Weak<Kernel>) -> Node {
    let kernel = Weak::clone(kernel);
    Node::text(0o444, move |out| {
        let memory = memory(&*kernel.upgrade().ok_or(Errno::EIO)?);
        let rows = [
            ("MemTotal", memory.total),
            ("MemFree", memory.free),
            ("MemUsed", memory.total.saturating_sub(memory.free)),
            ("FilePages", memory.cached),
            ("Mapped", memory.mapped),
            ("AnonPages", memory.anonymous),
            ("Shmem", memory.shmem),
            ("KernelStack", memory.kernel_stack),
            ("PageTables", memory.page_tables),
        ];
        let mut text = String::new();
        for (name, bytes) in rows {
            let _ = writeln!(text, "Node 0 {:<15} {:>8} kB", format!("{name}:"), bytes / 1024);
        }
        text.push_str("Node 0 HugePages_Total:     0\nNode 0 HugePages_Free:      0\nNode 0 HugePages_Surp:      0\n");
        out.extend_from_slice(text.as_bytes());
        Ok(())
    })
}

/// The directory.
pub fn directory(kernel: &Weak<Kernel>, cpus: usize) -> Dir {
    let all = vec![true; cpus];
    let node = lines(&[
        ("cpulist", &bit_list(&all)),
        ("cpumap", &bit_mask(&all)),
        ("distance", "10"),
        (
            "numastat",
            "numa_hit 0\nnuma_miss 0\nnuma_foreign 0\ninterleave_hit 0\nlocal_node 0\nother_node 0",
        ),
    ])
    .with("meminfo", meminfo(kernel));
    lines(&[
        ("has_cpu", "0"),
        ("has_memory", "0"),
        ("has_normal_memory", "0"),
        ("online", "0"),
        ("possible", "0"),
    ])
    .with("node0", dir(node))
}
