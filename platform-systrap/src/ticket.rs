//! A result that comes later.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use crate::process::Process;

/// Where a result is put.
pub struct Ticket<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    result: Option<Result<T>>,
    waker: Option<Waker>,
}

impl<T> Ticket<T> {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { result: None, waker: None }) })
    }

    /// Whether a result is there.
    pub fn is_done(&self) -> bool {
        self.state.lock().result.is_some()
    }

    /// Puts the first result in; later ones are dropped. The waker is for the caller to wake without locks.
    #[must_use]
    pub fn complete(&self, result: Result<T>) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.result.is_none() {
            state.result = Some(result);
        }
        state.waker.take()
    }
}

/// Waits for a ticket of a process.
pub struct Waiting<T> {
    process: Arc<Process>,
    ticket: Arc<Ticket<T>>,
}

impl<T> Waiting<T> {
    /// Whether it is there.
    pub fn is_done(&self) -> bool {
        self.ticket.is_done()
    }

    /// Waits for it.
    pub fn new(process: Arc<Process>, ticket: Arc<Ticket<T>>) -> Self {
        Self { process, ticket }
    }
}

impl<T> Future for Waiting<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let mut state = self.ticket.state.lock();
        if let Some(result) = state.result.take() {
            state.result = Some(Err(Errno::ESRCH));
            return Poll::Ready(result);
        }
        state.waker = Some(context.waker().clone());
        drop(state);
        // Done in the meantime? Then the waker has been woken, or is now.
        self.process.pump();
        let mut state = self.ticket.state.lock();
        match state.result.take() {
            Some(result) => {
                state.result = Some(Err(Errno::ESRCH));
                Poll::Ready(result)
            }
            None => Poll::Pending,
        }
    }
}
