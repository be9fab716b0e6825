//! Readiness calls: `poll(2)`, `select(2)`, `epoll(7)`.
//!
//! One [`PollSet`] serves poll and select: it holds the files for the whole call, as Linux does, looks at all
//! of them, and only if none is ready registers one waiter at each file's wait queue. `epoll_wait` looks at
//! the ready list alone.
//!
//! A signal mask given to the `p` variants is installed before the first look and put back afterwards, unless
//! a signal ended the wait: then the delivery does it, so that a handler runs under the temporary mask.

pub mod descriptors;
pub mod epoll;
pub mod mask;
pub mod select;

use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::OpenFile;

pub use self::descriptors::{PollRestart, poll, ppoll, restart};
pub use self::epoll::{
    epoll_create, epoll_create1, epoll_ctl, epoll_pwait, epoll_pwait2, epoll_wait,
};
use self::mask::MaskGuard;
pub use self::select::{pselect6, select};
use crate::context::Ctx;
use crate::error::{Restart, SysResult};
use crate::readiness;
use crate::scheduler::wait::Waiter;

/// A descriptor that is looked at.
struct Watched {
    /// `None` for a descriptor that is not open.
    file: Option<Arc<OpenFile>>,
    interest: PollEvents,
    happened: PollEvents,
}

/// The descriptors of one call.
struct PollSet {
    files: Vec<Watched>,
    /// What is reported whether it was asked for or not.
    always: PollEvents,
}

/// When a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// At once.
    Now,
    /// At this time of the monotonic clock.
    Deadline(u64),
    /// Not by itself.
    Forever,
}

impl Until {
    fn after(cx: &Ctx<'_>, nanos: u64) -> Self {
        match nanos {
            0 => Self::Now,
            _ => Self::Deadline(cx.kernel().clock.monotonic().saturating_add(nanos)),
        }
    }

    /// By a timeout in milliseconds, negative for none.
    fn after_millis(cx: &Ctx<'_>, millis: i32) -> Self {
        match u64::try_from(millis) {
            Ok(millis) => Self::after(cx, millis.saturating_mul(1_000_000)),
            Err(_) => Self::Forever,
        }
    }

    /// By a `timespec` in the guest's memory, a null pointer for none.
    fn after_timespec(cx: &Ctx<'_>, addr: GuestAddr) -> Result<Self> {
        if addr.is_null() {
            return Ok(Self::Forever);
        }
        let time: Timespec = cx.read(addr)?;
        Ok(Self::after(cx, time.to_nanos().ok_or(Errno::EINVAL)?))
    }

    const fn deadline(self) -> Option<u64> {
        match self {
            Self::Deadline(deadline) => Some(deadline),
            _ => None,
        }
    }

    /// What is left, in nanoseconds; `None` where there was no limit.
    fn remaining(self, cx: &Ctx<'_>) -> Option<u64> {
        match self {
            Self::Now => Some(0),
            Self::Deadline(deadline) => {
                Some(deadline.saturating_sub(cx.kernel().clock.monotonic()))
            }
            Self::Forever => None,
        }
    }
}

impl PollSet {
    /// Looks at everything; how many have something to report.
    fn look(&mut self) -> usize {
        let mut ready = 0;
        for watched in &mut self.files {
            watched.happened = match &watched.file {
                Some(file) => file.file().poll() & (watched.interest | self.always),
                None => PollEvents::POLLNVAL,
            };
            ready += usize::from(!watched.happened.is_empty());
        }
        ready
    }

    /// Looks until something is there. 0 when the time is over.
    ///
    /// # Errors
    /// `restart` when a signal arrives first.
    async fn wait(&mut self, cx: &Ctx<'_>, until: Until, restart: Restart) -> SysResult<usize> {
        let ready = self.look();
        if ready > 0 || until == Until::Now {
            return Ok(ready);
        }
        let waiter = Waiter::new();
        let mut registrations = Vec::new();
        for watched in &self.files {
            if let Some(queue) = watched.file.as_ref().and_then(|file| file.file().wait_queue()) {
                registrations.push(waiter.register(queue, watched.interest));
            }
        }
        let attempt = || match self.look() {
            0 => Err(Errno::EAGAIN),
            ready => Ok(ready),
        };
        let ready = readiness::retry(cx, &waiter, until.deadline(), restart, attempt).await?;
        Ok(ready.unwrap_or(0))
    }
}
