//! Scheduling parameters (`sched(7)`, `ioprio_set(2)`): checked and kept, and shown again. The host schedules
//! guest threads; policies and priorities do not reach it.

use chitin_abi::process::{
    SCHED_BATCH, SCHED_DEADLINE, SCHED_FIFO, SCHED_IDLE, SCHED_NORMAL, SCHED_RR,
};
use chitin_abi::{Errno, Result};

/// How a thread is to be scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedParams {
    /// `SCHED_…`.
    pub policy: u32,
    /// Static priority: 1 to 99 for real-time policies, else 0.
    pub priority: u32,
    /// Nice value.
    pub nice: i32,
    /// Whether children start with the default policy.
    pub reset_on_fork: bool,
    /// Runtime, deadline and period of `SCHED_DEADLINE`.
    pub deadline: (u64, u64, u64),
    /// The processors that it may run on, as bits; empty for all.
    pub affinity: Vec<u64>,
    /// `ioprio_set(2)`'s value; 0 when never set.
    pub ioprio: u32,
    /// `PR_SET_TIMERSLACK`, nanoseconds: now and by default.
    pub timer_slack: (u64, u64),
}

impl Default for SchedParams {
    fn default() -> Self {
        Self {
            policy: SCHED_NORMAL,
            priority: 0,
            nice: 0,
            reset_on_fork: false,
            deadline: (0, 0, 0),
            affinity: Vec::new(),
            ioprio: 0,
            timer_slack: (50_000, 50_000),
        }
    }
}

impl SchedParams {
    /// What a child starts with.
    pub fn for_child(&self) -> Self {
        let mut child = self.clone();
        child.timer_slack.1 = child.timer_slack.0;
        if child.reset_on_fork {
            child.reset_on_fork = false;
            if is_realtime(child.policy) || child.policy == SCHED_DEADLINE {
                child.policy = SCHED_NORMAL;
                child.priority = 0;
                child.nice = 0;
            }
            child.nice = child.nice.max(0);
        }
        child
    }
}

/// Whether a policy has static priorities.
pub const fn is_realtime(policy: u32) -> bool {
    matches!(policy, SCHED_FIFO | SCHED_RR)
}

/// The lowest and highest static priority of a policy.
///
/// # Errors
/// EINVAL for a number that is none.
pub const fn priority_range(policy: u32) -> Result<(u32, u32)> {
    match policy {
        SCHED_FIFO | SCHED_RR => Ok((1, 99)),
        SCHED_NORMAL | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok((0, 0)),
        _ => Err(Errno::EINVAL),
    }
}
