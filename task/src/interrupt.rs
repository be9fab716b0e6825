//! Interrupting a task, wherever it is: in the guest or waiting in a system call.
//!
//! Protocol: the interrupter first makes its reason visible (queues the signal, sets the flag), then calls
//! [`Interrupt::raise`]. A task that waits publishes its waker and then looks at the reasons; one that goes
//! to the guest says so and then looks whether something is raised, while `raise` raises and then looks whether the
//! guest runs. So either side sees the other. A guest that comes back by itself at that moment may come back once
//! more for nothing.
//!
//! Cost: one host call for a task that runs guest code, none for one that waits. Entering the guest takes one
//! locked instruction.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use std::sync::Arc;

use chitin_mm::platform::Interrupter;
use parking_lot::Mutex;

/// The part of a task that others poke.
#[derive(Default)]
pub struct Interrupt {
    /// Something wants the task's attention before it goes on in the guest.
    raised: AtomicBool,
    /// The guest runs, or is about to.
    inside: AtomicBool,
    waker: Mutex<Option<Waker>>,
    guest: Mutex<Option<Arc<dyn Interrupter>>>,
}

impl Interrupt {
    /// Makes the task look for signals and other orders soon.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        if self.inside.load(Ordering::SeqCst)
            && let Some(guest) = &*self.guest.lock()
        {
            guest.interrupt();
        }
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the flag; the task then looks at its signals and orders.
    pub fn take(&self) -> bool {
        self.raised.load(Ordering::Relaxed) && self.raised.swap(false, Ordering::SeqCst)
    }

    /// Whether the flag is set.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// Names the guest thread that [`Interrupt::raise`] kicks.
    pub fn set_guest(&self, handle: Option<Arc<dyn Interrupter>>) {
        self.inside.store(false, Ordering::SeqCst);
        *self.guest.lock() = handle;
    }

    /// Does something with the guest thread's handle, if there is one. Not to be called under a lock that is taken inside
    /// [`Interrupt::raise`]'s callers' locks; the handle's lock is innermost but for the task's own state.
    pub fn with_guest(&self, action: impl FnOnce(&dyn Interrupter)) {
        if let Some(guest) = &*self.guest.lock() {
            action(&**guest);
        }
    }

    /// Lets the guest run by `resume`, unless something is raised (`None`).
    pub fn enter_guest<T>(&self, resume: impl FnOnce() -> T) -> Option<T> {
        self.inside.store(true, Ordering::SeqCst);
        if self.is_raised() {
            self.inside.store(false, Ordering::Release);
            return None;
        }
        Some(resume())
    }

    /// The guest stands still again.
    pub fn leave_guest(&self) {
        self.inside.store(false, Ordering::Release);
    }

    /// Names whom to wake while the task waits.
    pub fn set_waker(&self, waker: Option<&Waker>) {
        let mut known = self.waker.lock();
        match (known.as_ref(), waker) {
            (Some(old), Some(new)) if old.will_wake(new) => {}
            _ => *known = waker.cloned(),
        }
    }
}
