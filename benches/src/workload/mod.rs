//! Workloads that measure themselves: each does its operation a number of times and says how long one took.
//!
//! They run in a process of their own, natively or inside a sandbox, by `chitin-bench workload NAME`.

mod calls;
mod files;
mod processes;

use std::io;
use std::time::{Duration, Instant};

/// One workload.
#[derive(Clone, Copy)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// What one operation is.
    pub operation: &'static str,
    /// How often it is done in a round.
    pub count: u32,
    /// Does it that often and says how long all of it took.
    pub run: fn(u32) -> io::Result<Duration>,
}

/// All workloads.
pub const ALL: &[Workload] = &[
    Workload { name: "getppid", operation: "getppid", count: 20_000, run: calls::getppid },
    Workload {
        name: "clock",
        operation: "clock_gettime by the vDSO",
        count: 100_000,
        run: calls::clock,
    },
    Workload {
        name: "signal",
        operation: "signal to self, through a handler",
        count: 5_000,
        run: calls::signal,
    },
    Workload {
        name: "map1",
        operation: "mmap, touch, munmap of 1 page",
        count: 2_000,
        run: calls::map_one,
    },
    Workload {
        name: "map64",
        operation: "mmap, touch, munmap of 64 pages",
        count: 500,
        run: calls::map_many,
    },
    Workload {
        name: "stat",
        operation: "stat of a file four directories deep",
        count: 5_000,
        run: files::stat,
    },
    Workload {
        name: "read4k",
        operation: "pread of 4 KiB, cached",
        count: 10_000,
        run: files::read_small,
    },
    Workload {
        name: "read1m",
        operation: "pread of 1 MiB, cached",
        count: 200,
        run: files::read_large,
    },
    Workload {
        name: "write4k",
        operation: "pwrite of 4 KiB",
        count: 5_000,
        run: files::write_small,
    },
    Workload {
        name: "open",
        operation: "open, read 100 bytes, close",
        count: 3_000,
        run: files::open_read_close,
    },
    Workload {
        name: "create",
        operation: "create and remove a file",
        count: 1_000,
        run: files::create_remove,
    },
    Workload {
        name: "readdir",
        operation: "list a directory of 1,000 files",
        count: 20,
        run: files::list,
    },
    Workload {
        name: "pipe",
        operation: "a byte to another process and back",
        count: 3_000,
        run: processes::pipe,
    },
    Workload {
        name: "socket",
        operation: "a byte by a unix socket to a thread and back",
        count: 3_000,
        run: processes::socket,
    },
    Workload {
        name: "thread",
        operation: "make a thread and join it",
        count: 500,
        run: processes::thread,
    },
    Workload {
        name: "mutex",
        operation: "lock that two threads contend for",
        count: 50_000,
        run: processes::mutex,
    },
    Workload { name: "fork", operation: "fork, exit, wait", count: 200, run: processes::fork },
    Workload {
        name: "exec",
        operation: "run /bin/true and wait",
        count: 100,
        run: processes::exec,
    },
    Workload {
        name: "shell",
        operation: "sh that runs /bin/true 50 times",
        count: 2,
        run: processes::shell,
    },
    Workload { name: "spin", operation: "a million additions", count: 300, run: calls::spin },
];

/// Does something a number of times and says how long all of it took.
fn timed(count: u32, mut operation: impl FnMut() -> io::Result<()>) -> io::Result<Duration> {
    let start = Instant::now();
    for _ in 0..count {
        operation()?;
    }
    Ok(start.elapsed())
}
