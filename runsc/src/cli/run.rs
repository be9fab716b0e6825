//! `runsc run`.

use super::Global;
use crate::error::Result;
use crate::sandbox::attached::{self, OwnContainer, Signals};
use crate::sandbox::container::{self, Created};
use crate::sandbox::launch::Mode;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    container: container::Args,
    /// Return when the program runs
    #[arg(short, long)]
    detach: bool,
    /// Leave the state of the container when it has ended
    #[arg(long)]
    keep: bool,
}

impl Args {
    /// Runs the container. The result is its exit code, or 0 if it was detached.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let signals = Signals::take()?;
        let mode = Mode { attached: !self.detach, start: true };
        let created = container::create(&self.container, &global.store(), global.options(), mode)?;
        if self.detach {
            return Ok(0);
        }
        let Created { home, lock, sentry, control, relay } = created;
        // Other commands may use the container while it runs.
        drop(lock);
        let mut container = OwnContainer { sentry, control };
        let result = attached::wait(&mut container, &signals, relay.as_ref());
        drop(relay);
        if !self.keep {
            let _lock = home.lock();
            home.remove()?;
        }
        result
    }
}
