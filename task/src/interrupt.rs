//! Interrupting a task, wherever it is: in the guest or waiting in a system call.
//!
//! Protocol: the interrupter first makes its reason visible (queues the signal, sets the flag), then calls
//! [`Interrupt::raise`]. A task that waits publishes its waker and then looks at the reasons; one that goes
//! to the guest does so under the lock that `raise` takes, and only while nothing is raised. So either side
//! sees the other, and a guest is only ever kicked while it runs.
//!
//! Cost: one host call for a task that runs guest code, none for one that waits. Entering the guest takes one
//! lock that nobody else wants.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Waker;
use std::sync::Arc;

use chitin_mm::platform::Interrupter;
use parking_lot::Mutex;

#[derive(Default)]
struct Guest {
    inside: bool,
    handle: Option<Arc<dyn Interrupter>>,
}

/// The part of a task that others poke.
#[derive(Default)]
pub struct Interrupt {
    /// Something wants the task's attention before it goes on in the guest.
    raised: AtomicBool,
    waker: Mutex<Option<Waker>>,
    guest: Mutex<Guest>,
}

impl Interrupt {
    /// Makes the task look for signals and other orders soon.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        {
            let guest = self.guest.lock();
            if guest.inside
                && let Some(handle) = &guest.handle
            {
                handle.interrupt();
            }
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
        *self.guest.lock() = Guest { inside: false, handle };
    }

    /// Lets the guest run by `resume`, unless something is raised (`None`).
    pub fn enter_guest<T>(&self, resume: impl FnOnce() -> T) -> Option<T> {
        let mut guest = self.guest.lock();
        if self.is_raised() {
            return None;
        }
        guest.inside = true;
        Some(resume())
    }

    /// The guest stands still again.
    pub fn leave_guest(&self) {
        self.guest.lock().inside = false;
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
