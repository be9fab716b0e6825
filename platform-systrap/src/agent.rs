//! A thread of each stub that changes words of guest memory atomically, for the sentry.
//!
//! The host has no call for that on another process's memory, so a guest thread that the guest knows nothing of
//! runs one instruction of the stub's text. It is made when it is first needed (robust and PI futexes need it,
//! ordinary ones do not).
//!
//! Costs: as a guest's call and its answer, plus a breakpoint's signal; the caller yields meanwhile, for
//! at most [`PATIENCE`].

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use chitin_abi::{Errno, GuestAddr, Regs, Result};
use chitin_mm::platform::{Event, GuestThread, ThreadState};

use crate::process::Process;
use crate::raw::text;
use crate::space;
use crate::thread::Thread;

/// How long a caller waits at most. Only guest code that keeps every core busy makes it wait at all.
const PATIENCE: Duration = Duration::from_millis(50);

/// See the module.
pub struct Agent {
    thread: Thread,
}

/// Polls until there is a result; `None`: not soon enough.
fn soon<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    let start = Instant::now();
    loop {
        if let Poll::Ready(result) = poll(&mut context) {
            return Some(result);
        }
        if start.elapsed() > PATIENCE {
            return None;
        }
        rustix::thread::sched_yield();
    }
}

impl Agent {
    /// A new one. `None`: there is no room for a thread, or it takes too long.
    pub fn new(process: &Arc<Process>) -> Option<Self> {
        let mut thread = space::start_thread(process, &ThreadState::default()).ok()?;
        let thread = soon(|context| core::pin::Pin::new(&mut thread).poll(context))?.ok()?;
        Some(Self { thread })
    }

    /// Puts `new` where `old` stands; returns what stood there. `None`: it takes too long, and the agent is of no
    /// more use.
    pub fn compare_exchange(&mut self, addr: GuestAddr, old: u32, new: u32) -> Option<Result<u32>> {
        let (start, end) = text::compare_exchange();
        let mut regs = Regs {
            rip: start,
            rdi: addr.0,
            rax: old.into(),
            rdx: new.into(),
            eflags: 0x202,
            ..Regs::default()
        };
        loop {
            if self.thread.resume(&regs).is_err() {
                return Some(Err(Errno::ESRCH));
            }
            match soon(|context| self.thread.poll_event(context, &mut regs))? {
                Event::Interrupted => {}
                Event::Fault(_) if regs.rip == end => return Some(Ok(regs.rax as u32)),
                Event::Dead => return Some(Err(Errno::ESRCH)),
                _ => return Some(Err(Errno::EFAULT)),
            }
        }
    }
}
