//! Telling parents and other onlookers that a process stopped, continued or got a signal.

use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::signal::{
    CLD_CONTINUED, CLD_STOPPED, SA_NOCLDSTOP, SIGCHLD, SIGCONT, SIGSTOP, SigInfo,
};

use crate::signal::send_to_group;
use crate::task::Task;

/// Stops the process of this task because of a stop signal.
pub fn stop(task: &Arc<Task>, signal: u32) {
    if signal != SIGSTOP && crate::process::jobs::is_orphaned(task) {
        return;
    }
    let threads = {
        let mut tree = task.kernel.tree.lock();
        {
            let mut group = task.group.signals.lock();
            // A SIGCONT or SIGKILL that came meanwhile has taken the stop back.
            if !core::mem::take(&mut group.stop_pending) {
                return;
            }
            if group.stopped.is_some() {
                // A tracer has let the thread run on meanwhile: it stops once more.
                if task.trace.is_traced() {
                    group.stopped = Some(signal);
                    group.stop_generation = group.stop_generation.wrapping_add(1);
                    task.interrupt.raise();
                }
                return;
            }
            group.stopped = Some(signal);
            group.stop_generation = group.stop_generation.wrapping_add(1);
        }
        tree.set_stopped(task.tgid(), true);
        let Some(entry) = tree.process_mut(task.tgid()) else { return };
        entry.stop_report = Some(signal);
        entry.continue_report = false;
        entry.tasks.clone()
    };
    for thread in threads {
        thread.interrupt.raise();
    }
    tell_parent(task, CLD_STOPPED, signal.cast_signed());
}

/// The process of this task has been continued.
pub fn continued(task: &Arc<Task>) {
    {
        let mut tree = task.kernel.tree.lock();
        tree.set_stopped(task.tgid(), false);
        let Some(entry) = tree.process_mut(task.tgid()) else { return };
        entry.stop_report = None;
        entry.continue_report = true;
    }
    tell_parent(task, CLD_CONTINUED, SIGCONT.cast_signed());
}

fn tell_parent(task: &Arc<Task>, code: i32, status: i32) {
    let (group, member) = {
        let tree = task.kernel.tree.lock();
        let Some(entry) = tree.process(task.tgid()) else { return };
        let Some(parent) = tree.process(entry.parent) else { return };
        (Arc::clone(&parent.group), parent.member().cloned())
    };
    if let Some(member) = member {
        let quiet = group.actions().get(SIGCHLD).flags & SA_NOCLDSTOP != 0;
        if !quiet {
            let pid = task.group.pid.in_ns(&member.pid_ns());
            let uid = member.cred().show_uid(task.cred().ruid);
            // A full queue loses the signal, as on Linux; wait sees the change all the same.
            let _ = send_to_group(&member, SigInfo::child(SIGCHLD, code, pid, uid, status));
        }
    }
    group.child_events.notify(PollEvents::POLLIN);
}

/// A signal was queued for this task or its process: signalfds look again.
pub fn signal_queued(task: &Task) {
    task.group.signal_event.notify(PollEvents::POLLIN);
}
