//! Interrupting a task, wherever it is: in the guest or waiting in a system call.
//!
//! Protocol: the interrupter first makes its reason visible (queues the signal, sets the flag), then calls
//! [`Interrupt::raise`]. The task, before it waits or resumes the guest, publishes what it is about to do and
//! then looks at the reasons again. All accesses are sequentially consistent, so one of the two sees the
//! other. Cost: one host call (`tgkill`) for a task that runs guest code, none for one that waits.

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
    in_guest: AtomicBool,
    waker: Mutex<Option<Waker>>,
    guest: Mutex<Option<Arc<dyn Interrupter>>>,
}

impl Interrupt {
    /// Makes the task look for signals and other orders soon.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        if self.in_guest.load(Ordering::SeqCst) {
            let guest = self.guest.lock().clone();
            if let Some(guest) = guest {
                guest.interrupt();
            }
        }
        let waker = self.waker.lock().clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the flag; the task then looks at its signals and orders.
    pub fn take(&self) -> bool {
        self.raised.swap(false, Ordering::SeqCst)
    }

    /// Whether the flag is set.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// Names the guest thread that [`Interrupt::raise`] kicks.
    pub fn set_guest(&self, guest: Option<Arc<dyn Interrupter>>) {
        *self.guest.lock() = guest;
    }

    /// Says whether the task is (about to be) in the guest.
    pub fn set_in_guest(&self, in_guest: bool) {
        self.in_guest.store(in_guest, Ordering::SeqCst);
    }

    /// Names whom to wake while the task waits.
    pub fn set_waker(&self, waker: Option<Waker>) {
        *self.waker.lock() = waker;
    }
}
