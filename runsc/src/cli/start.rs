//! `runsc start`.

use super::Global;
use crate::control::{Client, Request};
use crate::error::Result;

/// Arguments of `start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the container
    id: String,
}

impl Args {
    /// Starts the program of a created container.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let home = global.store().home(&self.id)?;
        let _lock = home.lock()?;
        Client::connect(&home)?.order(&Request::Start)?;
        Ok(0)
    }
}
