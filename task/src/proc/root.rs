//! The files at the top of `/proc`.

use core::sync::atomic::Ordering;
use std::io::Write;
use std::sync::{Arc, OnceLock};

use chitin_abi::Result;
use chitin_abi::fs::{DT_DIR, DT_REG};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::{Dir, Node, TableDir, TableEntry};

use super::format::cpuinfo::Processor;
use super::format::meminfo::{self, Memory};
use super::format::stat::ticks;
use super::pids::Processes;
use super::{View, reader};
use crate::kernel::{Kernel, RELEASE, SYSNAME, VERSION};
use crate::task::Task;

/// How memory is used, counted from the address spaces of the sandbox's processes.
pub fn memory(kernel: &Kernel) -> Memory {
    let info = kernel.memory();
    let mut memory = Memory { total: info.total, free: info.free, ..Memory::default() };
    let tasks: Vec<Arc<Task>> = kernel.tree.lock().tasks().cloned().collect();
    let mut seen = Vec::new();
    for mm in tasks.iter().filter_map(|task| task.mm()) {
        if seen.contains(&mm.id()) {
            continue;
        }
        seen.push(mm.id());
        let (resident, file) = mm.host().resident();
        let usage = mm.space.lock().usage();
        memory.anonymous = memory.anonymous.saturating_add(resident.saturating_sub(file));
        memory.mapped = memory.mapped.saturating_add(file);
        memory.committed = memory.committed.saturating_add(usage.data).saturating_add(usage.stack);
        memory.locked = memory.locked.saturating_add(usage.locked);
        memory.page_tables = memory.page_tables.saturating_add(resident / 512 + 4096);
    }
    memory.kernel_stack = (tasks.len() as u64).saturating_mul(16 << 10);
    memory
}

type Generate = fn(&View, &VfsEnv, &mut Vec<u8>) -> Result<()>;

fn text(view: &Arc<View>, permissions: u32, generate: Generate) -> Node {
    let view = Arc::clone(view);
    Node::text_for(permissions, move |env, out| generate(&view, env, out))
}

fn put(out: &mut Vec<u8>, text: &str) -> Result<()> {
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn cpuinfo(view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    static PROCESSOR: OnceLock<Processor> = OnceLock::new();
    put(out, &PROCESSOR.get_or_init(Processor::detect).cpuinfo(view.kernel()?.machine.cpus))
}

fn show_meminfo(view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    put(out, &meminfo::meminfo(&memory(&*view.kernel()?)))
}

fn vmstat(view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    put(out, &meminfo::vmstat(&memory(&*view.kernel()?)))
}

/// CPU time of all processes, living and gone: user, system nanoseconds.
pub fn cpu_time(kernel: &Kernel) -> (u64, u64) {
    let tree = kernel.tree.lock();
    let mut sum = (0_u64, 0_u64);
    let mut add =
        |time: (u64, u64)| sum = (sum.0.saturating_add(time.0), sum.1.saturating_add(time.1));
    for (_, entry) in tree.processes() {
        let group = &entry.group;
        add((group.dead_cpu.0.load(Ordering::Relaxed), group.dead_cpu.1.load(Ordering::Relaxed)));
        add((
            group.children_cpu.0.load(Ordering::Relaxed),
            group.children_cpu.1.load(Ordering::Relaxed),
        ));
        entry.tasks.iter().for_each(|task| add(task.cpu.get()));
    }
    sum
}

fn stat(view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let kernel = view.kernel()?;
    let cpus = kernel.machine.cpus as u64;
    let (user, system) = cpu_time(&kernel);
    let uptime = kernel.clock.boottime();
    let all = uptime.saturating_mul(cpus);
    let idle = all.saturating_sub(user).saturating_sub(system);
    let line = |name: &str, share: u64| {
        format!(
            "{name} {} 0 {} {} 0 0 0 0 0 0\n",
            ticks(user / share),
            ticks(system / share),
            ticks(idle / share)
        )
    };
    let mut text = line("cpu ", 1);
    for cpu in 0..cpus {
        text.push_str(&line(&format!("cpu{cpu}"), cpus.max(1)));
    }
    let born = kernel.clock.realtime_nanos().saturating_sub(uptime) / 1_000_000_000;
    let forks = kernel.counters.forks.load(Ordering::Relaxed);
    let running = running_tasks(&kernel);
    text.push_str(&format!(
        "intr 0\nctxt {}\nbtime {born}\nprocesses {forks}\nprocs_running {}\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
        kernel.counters.syscalls.load(Ordering::Relaxed),
        running.max(1),
    ));
    put(out, &text)
}

fn running_tasks(kernel: &Kernel) -> usize {
    kernel.tree.lock().tasks().filter(|task| !task.sleeping.load(Ordering::Relaxed)).count()
}

fn uptime(view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let kernel = view.kernel()?;
    let up = kernel.clock.boottime();
    let (user, system) = cpu_time(&kernel);
    let idle =
        up.saturating_mul(kernel.machine.cpus as u64).saturating_sub(user).saturating_sub(system);
    let show = |time: u64| format!("{}.{:02}", time / 1_000_000_000, time / 10_000_000 % 100);
    put(out, &format!("{} {}\n", show(up), show(idle)))
}

fn loadavg(view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let kernel = view.kernel()?;
    let running = running_tasks(&kernel);
    let (tasks, last) = (kernel.tree.lock().task_count(), view.last());
    put(out, &format!("0.00 0.00 0.00 {}/{tasks} {last}\n", running.max(1)))
}

fn version(_view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let name = format!("{SYSNAME} version {RELEASE}");
    put(out, &format!("{name} (chitin@chitin) (rustc) {VERSION}\n"))
}

fn filesystems(view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    for (name, nodev) in view.kernel()?.vfs.fs_types.list() {
        // Writing to a vector does not fail.
        let _ = writeln!(out, "{}\t{name}", if nodev { "nodev" } else { "" });
    }
    Ok(())
}

/// A file whose text is always the same.
fn fixed(text: &'static str) -> impl Fn(&Arc<View>) -> Node {
    move |_| Node::fixed(0o444, text)
}

const DEVICES: &str = "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n 10 misc\n136 pts\n\nBlock devices:\n";
const INTERRUPTS: &str = "           CPU0       \nNMI:          0   Non-maskable interrupts\nLOC:          0   Local timer interrupts\n";
const BUDDYINFO: &str = "Node 0, zone   Normal      0      0      0      0      0      0      0      0      0      0      0 \n";
const CRYPTO: &str = "";
const CGROUPS: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
const SWAPS: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
const PRESSURE: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
const SOFTIRQS: &str = "                    CPU0       \n          HI:          0\n       TIMER:          0\n      NET_TX:          0\n      NET_RX:          0\n";
const MISC: &str = "";

fn zoneinfo(view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let memory = memory(&*view.kernel()?);
    let pages = |bytes: u64| bytes / 4096;
    let text = format!(
        "Node 0, zone   Normal\n  pages free     {}\n        min      0\n        low      0\n        high     0\n        spanned  {}\n\
         \x20       present  {}\n        managed  {}\n",
        pages(memory.free),
        pages(memory.total),
        pages(memory.total),
        pages(memory.total),
    );
    put(out, &text)
}

const PRESSURES: &[TableEntry<Arc<View>>] = &[
    TableEntry { name: "cpu", kind: DT_REG, make: |_| Node::fixed(0o444, PRESSURE) },
    TableEntry { name: "io", kind: DT_REG, make: |_| Node::fixed(0o444, PRESSURE) },
    TableEntry { name: "memory", kind: DT_REG, make: |_| Node::fixed(0o444, PRESSURE) },
];

const IPC: &[TableEntry<Arc<View>>] = &[
    TableEntry { name: "msg", kind: DT_REG, make: |view| text(view, 0o444, super::ipc::messages) },
    TableEntry {
        name: "sem",
        kind: DT_REG,
        make: |view| text(view, 0o444, super::ipc::semaphores),
    },
    TableEntry { name: "shm", kind: DT_REG, make: |view| text(view, 0o444, super::ipc::segments) },
];

const TTY: &[TableEntry<Arc<View>>] = &[
    TableEntry { name: "drivers", kind: DT_REG, make: |_| Node::fixed(0o444, TTY_DRIVERS) },
    TableEntry { name: "ldiscs", kind: DT_REG, make: |_| Node::fixed(0o444, "n_tty       0\n") },
];
const TTY_DRIVERS: &str = "/dev/tty             /dev/tty        5       0 system:/dev/tty\n\
    /dev/console         /dev/console    5       1 system:console\n\
    /dev/ptmx            /dev/ptmx       5       2 system\n\
    pty_slave            /dev/pts      136 0-1048575 pty:slave\n\
    pty_master           /dev/ptm      128 0-1048575 pty:master\n";

fn empty_dir(_view: &Arc<View>) -> Node {
    Node::dir(0o555, Dir::new())
}

fn bus(_view: &Arc<View>) -> Node {
    Node::dir(0o555, Dir::new().with("input", Node::dir(0o555, Dir::new())))
}

fn table(view: &Arc<View>, entries: &'static [TableEntry<Arc<View>>]) -> Node {
    Node::dir(0o555, TableDir::new(Arc::clone(view), entries))
}

/// The tables that are directories.
const DIRECTORIES: &[TableEntry<Arc<View>>] = &[
    TableEntry { name: "bus", kind: DT_DIR, make: bus },
    TableEntry { name: "driver", kind: DT_DIR, make: empty_dir },
    TableEntry { name: "fs", kind: DT_DIR, make: empty_dir },
    TableEntry { name: "irq", kind: DT_DIR, make: empty_dir },
    TableEntry { name: "pressure", kind: DT_DIR, make: |view| table(view, PRESSURES) },
    TableEntry { name: "sysvipc", kind: DT_DIR, make: |view| table(view, IPC) },
    TableEntry { name: "tty", kind: DT_DIR, make: |view| table(view, TTY) },
];

/// The root directory of a mount.
pub fn directory(view: &Arc<View>) -> Dir {
    let texts: [(&str, u32, Generate); 12] = [
        ("cpuinfo", 0o444, cpuinfo),
        ("filesystems", 0o444, filesystems),
        ("loadavg", 0o444, loadavg),
        ("locks", 0o444, super::locks::all),
        ("meminfo", 0o444, show_meminfo),
        ("stat", 0o444, stat),
        ("uptime", 0o444, uptime),
        ("version", 0o444, version),
        ("vmstat", 0o444, vmstat),
        ("zoneinfo", 0o444, zoneinfo),
        ("key-users", 0o444, key_users),
        ("keys", 0o444, keys),
    ];
    let constants: [(&str, &'static str); 17] = [
        ("buddyinfo", BUDDYINFO),
        ("cgroups", CGROUPS),
        ("cmdline", "\n"),
        ("consoles", ""),
        ("crypto", CRYPTO),
        ("devices", DEVICES),
        ("diskstats", ""),
        ("dma", " 4: cascade\n"),
        ("execdomains", "0-0\tLinux           \t[kernel]\n"),
        ("interrupts", INTERRUPTS),
        ("iomem", ""),
        ("ioports", ""),
        ("kallsyms", ""),
        ("misc", MISC),
        ("modules", ""),
        ("softirqs", SOFTIRQS),
        ("swaps", SWAPS),
    ];
    let mut root = Dir::new();
    for (name, permissions, generate) in texts {
        root.insert(name.as_bytes(), text(view, permissions, generate));
    }
    for (name, contents) in constants {
        root.insert(name.as_bytes(), fixed(contents)(view));
    }
    root.insert(b"partitions", Node::fixed(0o444, "major minor  #blocks  name\n\n"));
    root.insert(b"sysrq-trigger", Node::sink(0o200).on_write(|_| Err(chitin_abi::Errno::EPERM)));
    for entry in DIRECTORIES {
        root.insert(entry.name.as_bytes(), (entry.make)(view));
    }
    root.insert(b"mounts", Node::symlink(|_| Ok(b"self/mounts".to_vec())));
    root.insert(b"net", Node::symlink(|_| Ok(b"self/net".to_vec())));
    root.insert(b"self", own_link(view, |view, task| view.number(&task.group.pid).to_string()));
    root.insert(
        b"thread-self",
        own_link(view, |view, task| {
            format!("{}/task/{}", view.number(&task.group.pid), view.number(&task.pid()))
        }),
    );
    root.insert(b"sys", super::sysctl::directory(view));
    root.and(Processes::new(view))
}

fn own_link(view: &Arc<View>, say: fn(&View, &Task) -> String) -> Node {
    let view = Arc::clone(view);
    Node::symlink(move |env| {
        let task = reader(env).ok_or(chitin_abi::Errno::ENOENT)?;
        if view.number(&task.group.pid) == 0 {
            return Err(chitin_abi::Errno::ENOENT);
        }
        Ok(say(&view, task).into_bytes())
    })
}

/// The keys that the reader may see.
fn keys(_view: &View, env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let Some(task) = reader(env) else { return Ok(()) };
    let (cred, now) = (task.cred(), task.kernel.clock.realtime_nanos());
    let own = crate::keys::search::possessed(task);
    for key in task.kernel.keys.all() {
        let possessed = own.contains(&key.serial());
        if key.check(&cred, possessed, crate::keys::right::VIEW).is_err() {
            continue;
        }
        out.extend_from_slice(super::format::keys::line(&key, &cred, now).as_bytes());
    }
    Ok(())
}

/// What each user's keys take.
fn key_users(_view: &View, env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let Some(task) = reader(env) else { return Ok(()) };
    let uid = task.cred().ruid;
    let (used, most) = task.kernel.keys.quota(uid);
    let line = super::format::keys::user_line(task.cred().show_uid(uid), used, most);
    out.extend_from_slice(line.as_bytes());
    Ok(())
}
