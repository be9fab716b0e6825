//! What the platform may answer without the kernel: who a task is, in the words of [`Answers`].
//!
//! Whatever changes an answer, or makes somebody want to see each call, says so here at once, also while the guest runs:
//! new credentials, a new parent, a map of a user namespace, a tracer, a filter. Answers are computed and handed over
//! under the lock that guards the guest's handle, so that the latest state wins.

use core::sync::atomic::Ordering;

use chitin_mm::platform::Answers;

use super::Task;
use crate::process::tree::Tree;

impl Task {
    /// What the calls return; `None` where somebody wants to see them.
    fn answers(&self) -> Option<Answers> {
        let is_seen = self.trace.is_traced()
            || self.filtered.load(Ordering::SeqCst)
            || self.kernel.strace.is_some();
        if is_seen {
            return None;
        }
        let cred = self.cred();
        let ids = [
            self.local_tgid(),
            self.local_tid(),
            self.group.parent_pid.load(Ordering::SeqCst),
            cred.show_uid(cred.ruid),
            cred.show_uid(cred.euid),
            cred.show_gid(cred.rgid),
            cred.show_gid(cred.egid),
        ];
        Some(Answers(ids.map(u64::from)))
    }

    /// Tells the guest thread, if there is one, what it may answer now.
    pub fn refresh_answers(&self) {
        self.interrupt.with_guest(|guest| guest.answer_alone(self.answers().as_ref()));
    }

    /// Its process's parent as `getppid(2)` says it.
    pub fn parent_in(&self, tree: &Tree) -> u32 {
        let parent = tree.process(self.tgid()).and_then(|entry| tree.process(entry.parent));
        parent.map_or(0, |parent| parent.group.pid.in_ns(&self.pid_ns()))
    }

    /// Its process may have another parent.
    pub fn refresh_parent(&self, tree: &Tree) {
        self.group.parent_pid.store(self.parent_in(tree), Ordering::SeqCst);
        self.refresh_answers();
    }
}
