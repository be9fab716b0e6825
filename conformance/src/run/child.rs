//! Child processes with a time limit.

use std::io;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};

/// Waits for a child that leads a process group. `None` when the limit came first, and the child has been killed.
///
/// # Errors
/// Those of waiting.
pub fn wait_limited(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            end_group(child);
            child.wait()?;
            return Ok(None);
        }
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Ends what is left of a child's process group; nothing may be left, so an error is fine.
pub fn end_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let _ = group.map(|group| kill_process_group(group, Signal::KILL));
}

/// Becomes the parent of whatever orphans a test leaves behind, in its own process group or not.
pub(super) fn adopt_orphans() {
    // Where that is not possible they get another parent.
    let _ = rustix::process::set_child_subreaper(Pid::from_raw(1));
}

/// Kills and reaps all children of this process, which has one thread and no child of its own just now.
pub(super) fn end_orphans() {
    let list = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for pid in
        list.split_whitespace().filter_map(|word| word.parse().ok()).filter_map(Pid::from_raw)
    {
        let _ = kill_process(pid, Signal::KILL);
    }
    // Those that were not in the list are left alone, or reaped the next time.
    while matches!(waitpid(None, WaitOptions::NOHANG), Ok(Some(_))) {}
}
