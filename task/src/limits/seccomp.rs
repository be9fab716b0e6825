//! Seccomp (`seccomp(2)`): which system calls a thread may make. Filters are checked once and kept as a chain
//! that children inherit.

use std::sync::Arc;

use chitin_abi::process::{
    AUDIT_ARCH, SECCOMP_RET_ACTION_FULL, SECCOMP_RET_ALLOW, SECCOMP_RET_DATA, SECCOMP_RET_ERRNO,
    SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_LOG, SECCOMP_RET_TRACE,
    SECCOMP_RET_TRAP, SECCOMP_RET_USER_NOTIF, SeccompData,
};
use chitin_abi::{Errno, Regs, Result, nr};

use super::bpf::Program;
use super::listener::Listener;

/// Instructions that a chain of filters may have in all, with four for each filter.
const MAX_TOTAL: usize = 32768;

/// What a thread may call.
#[derive(Clone, Default)]
pub struct SeccompFilters {
    /// `SECCOMP_MODE_STRICT`: only read, write, exit and rt_sigreturn.
    pub strict: bool,
    newest: Option<Arc<Filter>>,
}

struct Filter {
    program: Program,
    older: Option<Arc<Filter>>,
    total: usize,
    log: bool,
    /// Who decides on calls for which it says `SECCOMP_RET_USER_NOTIF`.
    listener: Option<Arc<Listener>>,
}

impl Drop for Filter {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.orphan();
        }
        // A long chain is taken apart here instead of by recursion.
        let mut next = self.older.take();
        while let Some(filter) = next {
            next = Arc::into_inner(filter).and_then(|mut filter| filter.older.take());
        }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is made.
    Allow,
    /// It fails with this error; 0 means it "succeeds" with 0.
    Fail(u16),
    /// SIGSYS, with this value in `si_errno`.
    Trap(u16),
    /// The tracer decides, with this value; it fails with ENOSYS where there is none.
    Trace(u16),
    /// The filter's listener decides; it fails with ENOSYS where there is none.
    Notify,
    /// The thread ends as by SIGKILL: it is in strict mode.
    EndThread,
    /// The thread ends with SIGSYS.
    KillThread,
    /// The process ends with SIGSYS.
    KillProcess,
}

impl SeccompFilters {
    /// Strict mode.
    pub fn strict() -> Self {
        Self { strict: true, newest: None }
    }

    /// `SECCOMP_MODE_…`.
    pub fn mode(&self) -> u32 {
        match (self.strict, &self.newest) {
            (true, _) => chitin_abi::process::SECCOMP_MODE_STRICT,
            (false, Some(_)) => chitin_abi::process::SECCOMP_MODE_FILTER,
            (false, None) => chitin_abi::process::SECCOMP_MODE_DISABLED,
        }
    }

    /// Whether calls are looked at.
    pub fn is_active(&self) -> bool {
        self.strict || self.newest.is_some()
    }

    /// How many filters there are.
    pub fn count(&self) -> usize {
        let mut count = 0;
        let mut at = self.newest.as_ref();
        while let Some(filter) = at {
            count += 1;
            at = filter.older.as_ref();
        }
        count
    }

    /// Whether one of the filters has a listener.
    pub fn has_listener(&self) -> bool {
        let mut at = self.newest.as_ref();
        while let Some(filter) = at {
            if filter.listener.is_some() {
                return true;
            }
            at = filter.older.as_ref();
        }
        false
    }

    /// With one filter more.
    ///
    /// # Errors
    /// ENOMEM when the chain becomes too long, EINVAL in strict mode.
    pub fn with(
        &self,
        program: Program,
        log: bool,
        listener: Option<Arc<Listener>>,
    ) -> Result<Self> {
        if self.strict {
            return Err(Errno::EINVAL);
        }
        let before = self.newest.as_ref().map_or(0, |filter| filter.total + 4);
        let total = before + program.len();
        if total > MAX_TOTAL {
            return Err(Errno::ENOMEM);
        }
        let filter = Filter { program, older: self.newest.clone(), total, log, listener };
        Ok(Self { strict: false, newest: Some(Arc::new(filter)) })
    }

    /// Whether `self` is `other` or an ancestor of it, so that a thread with it may be given `other` (`TSYNC`).
    pub fn is_ancestor_of(&self, other: &Self) -> bool {
        if self.strict {
            return false;
        }
        let Some(own) = &self.newest else { return true };
        let mut at = other.newest.as_ref();
        while let Some(filter) = at {
            if Arc::ptr_eq(filter, own) {
                return true;
            }
            at = filter.older.as_ref();
        }
        false
    }

    /// What becomes of the call that these registers ask for, and the listener of the filter that decided.
    pub fn check(&self, regs: &Regs, number: u64) -> (Verdict, Option<Arc<Listener>>) {
        if self.strict {
            let allowed = matches!(number, nr::READ | nr::WRITE | nr::EXIT | nr::RT_SIGRETURN);
            return (if allowed { Verdict::Allow } else { Verdict::EndThread }, None);
        }
        let Some(newest) = &self.newest else { return (Verdict::Allow, None) };
        let data = call_data(regs, number);
        let mut strongest = SECCOMP_RET_ALLOW;
        let mut decided = newest;
        let mut at = Some(newest);
        while let Some(filter) = at {
            let value = filter.program.run(&data);
            // Kill-process is the strongest and the only negative one as a signed number.
            let rank = |value: u32| (value & SECCOMP_RET_ACTION_FULL).cast_signed();
            if rank(value) < rank(strongest) {
                strongest = value;
                decided = filter;
            }
            at = filter.older.as_ref();
        }
        let verdict = verdict(strongest, newest.log, number);
        let listener = if verdict == Verdict::Notify { decided.listener.clone() } else { None };
        (verdict, listener)
    }
}

/// What filters see of a call.
pub fn call_data(regs: &Regs, number: u64) -> SeccompData {
    SeccompData {
        nr: number as u32 as i32,
        arch: AUDIT_ARCH,
        instruction_pointer: regs.rip,
        args: regs.syscall_args(),
    }
}

fn verdict(value: u32, log: bool, number: u64) -> Verdict {
    let data = (value & SECCOMP_RET_DATA) as u16;
    let action = value & SECCOMP_RET_ACTION_FULL;
    if action == SECCOMP_RET_LOG || log && action != SECCOMP_RET_ALLOW {
        tracing::info!(number, action, "seccomp filter of the guest");
    }
    match action {
        SECCOMP_RET_ALLOW | SECCOMP_RET_LOG => Verdict::Allow,
        SECCOMP_RET_ERRNO => Verdict::Fail(data.min(4095)),
        SECCOMP_RET_TRAP => Verdict::Trap(data),
        SECCOMP_RET_TRACE => Verdict::Trace(data),
        SECCOMP_RET_USER_NOTIF => Verdict::Notify,
        SECCOMP_RET_KILL_THREAD => Verdict::KillThread,
        _ => Verdict::KillProcess,
    }
}

/// Whether an action may be asked for by `SECCOMP_GET_ACTION_AVAIL`.
pub const fn action_is_available(action: u32) -> bool {
    matches!(
        action,
        SECCOMP_RET_ALLOW
            | SECCOMP_RET_LOG
            | SECCOMP_RET_ERRNO
            | SECCOMP_RET_TRAP
            | SECCOMP_RET_TRACE
            | SECCOMP_RET_USER_NOTIF
            | SECCOMP_RET_KILL_THREAD
            | SECCOMP_RET_KILL_PROCESS
    )
}
