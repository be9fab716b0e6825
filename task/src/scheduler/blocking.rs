//! Host calls that may take long: a pool of threads that are made when needed and go when idle.

use core::future::Future;
use core::task::{Poll, Waker};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

const MAX_THREADS: usize = 8;
const IDLE: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    stopping: bool,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    work: Condvar,
}

/// The pool.
#[derive(Clone, Default)]
pub(super) struct Pool {
    inner: Arc<Inner>,
}

enum Slot<T> {
    Waiting(Option<Waker>),
    Done(Option<T>),
}

impl Pool {
    /// Runs `call` on a thread of the pool.
    pub(super) fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send + 'static {
        let slot = Arc::new(Mutex::new(Slot::Waiting(None)));
        let result = Arc::clone(&slot);
        self.submit(Box::new(move || {
            let value = catch_unwind(AssertUnwindSafe(call)).ok();
            let old = core::mem::replace(&mut *slot.lock(), Slot::Done(value));
            if let Slot::Waiting(Some(waker)) = old {
                waker.wake();
            }
        }));
        core::future::poll_fn(move |cx| match &mut *result.lock() {
            Slot::Done(value) => Poll::Ready(value.take()),
            Slot::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        })
    }

    fn submit(&self, job: Job) {
        let mut state = self.inner.state.lock();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            self.inner.work.notify_one();
            return;
        }
        if state.threads >= MAX_THREADS {
            return;
        }
        let inner = Arc::clone(&self.inner);
        if thread::Builder::new()
            .name("blocking".into())
            .stack_size(1 << 18)
            .spawn(move || serve(&inner))
            .is_ok()
        {
            state.threads += 1;
        } else if state.threads == 0 {
            // No thread can be made: late is better than never.
            let job = state.jobs.pop_back();
            drop(state);
            if let Some(job) = job {
                job();
            }
        }
    }

    pub(super) fn stop(&self) {
        self.inner.state.lock().stopping = true;
        self.inner.work.notify_all();
    }
}

/// A thread inherits the core of the worker that started it, where it would be in that worker's way.
fn leave_core() {
    let mut all = rustix::thread::CpuSet::new();
    (0..rustix::thread::CpuSet::MAX_CPU).for_each(|core| all.set(core));
    let _ = rustix::thread::sched_setaffinity(None, &all);
}

fn serve(inner: &Inner) {
    leave_core();
    let mut state = inner.state.lock();
    loop {
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            job();
            state = inner.state.lock();
            continue;
        }
        if state.stopping {
            break;
        }
        state.idle += 1;
        let timed_out = inner.work.wait_for(&mut state, IDLE).timed_out();
        state.idle -= 1;
        if timed_out && state.jobs.is_empty() {
            break;
        }
    }
    state.threads -= 1;
}
