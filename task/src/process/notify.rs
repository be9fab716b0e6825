//! Telling parents and other onlookers that a process stopped, continued or got a signal.

use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::signal::{CLD_CONTINUED, CLD_STOPPED, SA_NOCLDSTOP, SIGCHLD, SIGCONT, SigInfo};

use crate::signal::send_to_group;
use crate::task::Task;

/// Stops the process of this task because of a stop signal.
pub fn stop(task: &Arc<Task>, signal: u32) {
    if signal != chitin_abi::signal::SIGSTOP && crate::process::jobs::is_orphaned(task) {
        return;
    }
    {
        let mut group = task.group.signals.lock();
        if group.stopped.is_some() {
            return;
        }
        group.stopped = Some(signal);
    }
    let threads = {
        let mut tree = task.kernel.tree.lock();
        let Some(entry) = tree.process_mut(task.tgid()) else { return };
        entry.stopped = true;
        entry.stop_report = Some(signal);
        entry.continue_report = false;
        entry.tasks.clone()
    };
    for thread in threads {
        thread.interrupt.raise();
    }
    tell_parent(task, CLD_STOPPED, signal as i32);
}

/// The process of this task has been continued.
pub fn continued(task: &Arc<Task>) {
    {
        let mut tree = task.kernel.tree.lock();
        let Some(entry) = tree.process_mut(task.tgid()) else { return };
        entry.stopped = false;
        entry.stop_report = None;
        entry.continue_report = true;
    }
    tell_parent(task, CLD_CONTINUED, SIGCONT as i32);
}

fn tell_parent(task: &Arc<Task>, code: i32, status: i32) {
    let parent = {
        let tree = task.kernel.tree.lock();
        let Some(entry) = tree.process(task.tgid()) else { return };
        let Some(parent) = tree.process(entry.parent) else { return };
        (Arc::clone(&parent.group), parent.tasks.first().cloned())
    };
    let (group, member) = parent;
    if let Some(member) = member {
        let quiet = group.actions().get(SIGCHLD).flags & SA_NOCLDSTOP != 0;
        if !quiet {
            let info = SigInfo::child(SIGCHLD, code, task.tgid(), task.cred().uid, status);
            // A full queue loses the signal, as on Linux; wait sees the change all the same.
            let _ = send_to_group(&member, info);
        }
    }
    group.child_events.notify(PollEvents::POLLIN);
}

/// A signal was queued for this task: signalfds and `rt_sigtimedwait` look again.
pub fn signal_queued(task: &Arc<Task>) {
    task.group.signal_event.notify(PollEvents::POLLIN);
}
