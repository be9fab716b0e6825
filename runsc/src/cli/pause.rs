//! `runsc pause`.

use super::Global;
use crate::control::{Client, Request};
use crate::error::Result;

/// Arguments of `pause`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the container
    id: String,
}

impl Args {
    /// Stops all processes until `resume`.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let home = global.store().home(&self.id)?;
        let _lock = home.lock()?;
        Client::connect(&home)?.order(&Request::Pause)?;
        Ok(0)
    }
}
