//! Threads of a test's process.

use super::Kernel;

/// Running something on a second thread.
pub trait Threads {
    /// Runs `other` on a new thread of this process while `own` runs here, and returns both results when both have
    /// ended. A panic in either is the test's.
    fn beside<A: Send, B>(
        &self,
        other: impl FnOnce() -> A + Send,
        own: impl FnOnce() -> B,
    ) -> (A, B);

    /// Runs `body` on a new thread and waits for it.
    fn on_thread<A: Send>(&self, body: impl FnOnce() -> A + Send) -> A {
        self.beside(body, || ()).0
    }

    /// The id of the calling thread.
    fn gettid(&self) -> i32;
}

impl Threads for &dyn Kernel {
    fn beside<A: Send, B>(
        &self,
        other: impl FnOnce() -> A + Send,
        own: impl FnOnce() -> B,
    ) -> (A, B) {
        let (mut other, mut own) = (Some(other), Some(own));
        let (mut first, mut second) = (None, None);
        self.run_beside(&mut || first = other.take().map(|other| other()), &mut || {
            second = own.take().map(|own| own());
        });
        match (first, second) {
            (Some(first), Some(second)) => (first, second),
            _ => panic!("a thread did not run"),
        }
    }

    fn gettid(&self) -> i32 {
        crate::call!(self, GETTID).ok().and_then(|id| i32::try_from(id).ok()).unwrap_or(-1)
    }
}
