//! `runsc create`.

use super::Global;
use crate::error::Result;
use crate::sandbox::container;
use crate::sandbox::launch::Mode;

/// Arguments of `create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    container: container::Args,
}

impl Args {
    /// Creates the container; its program waits for `start`.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let mode = Mode { attached: false, start: false };
        container::create(&self.container, &global.store(), global.options(), mode)?;
        Ok(0)
    }
}
