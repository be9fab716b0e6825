//! Containment of panics: a bug that one guest reaches must not take the others with it.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A future whose panics end only itself.
pub struct Contained<F, P> {
    future: Option<Pin<Box<F>>>,
    on_panic: Option<P>,
}

impl<F: Future<Output = ()>, P: FnOnce()> Contained<F, P> {
    /// Contains the panics of `future`; `on_panic` runs after one, when the future has been dropped.
    pub fn new(future: F, on_panic: P) -> Self {
        Self { future: Some(Box::pin(future)), on_panic: Some(on_panic) }
    }
}

impl<F: Future<Output = ()>, P: FnOnce() + Unpin> Future for Contained<F, P> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(_) => {
                tracing::error!("a task panicked; its process is ended");
                let future = this.future.take();
                let on_panic = this.on_panic.take();
                let ended = catch_unwind(AssertUnwindSafe(move || {
                    drop(future);
                    if let Some(on_panic) = on_panic {
                        on_panic();
                    }
                }));
                if ended.is_err() {
                    tracing::error!("a task that panicked did not end cleanly");
                }
                Poll::Ready(())
            }
        }
    }
}
