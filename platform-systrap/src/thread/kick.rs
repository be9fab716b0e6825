//! Stopping a guest thread that runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chitin_mm::platform::{Answers, Interrupter};

use super::{INTERRUPT, RUNNING};
use crate::layout;
use crate::process::{Process, Slot};
use crate::raw::host;

pub(super) fn kick(process: &Process, slot: &Slot) {
    let tid = slot.tid.load(Ordering::Relaxed);
    let _ = process.with_pid(|pid| host::signal_thread(pid, tid, layout::KICK));
}

/// Stops a running thread.
pub(super) struct Kick {
    pub(super) process: Arc<Process>,
    pub(super) slot: Arc<Slot>,
}

impl Interrupter for Kick {
    fn interrupt(&self) {
        let before = self.slot.state.fetch_or(INTERRUPT, Ordering::SeqCst);
        if before & RUNNING != 0 && before & INTERRUPT == 0 {
            kick(&self.process, &self.slot);
        }
    }

    fn answer_alone(&self, answers: Option<&Answers>) {
        self.slot.channel.set_answers(&self.process.shared.channels, answers);
    }
}
