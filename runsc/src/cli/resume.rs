//! `runsc resume`.

use super::Global;
use crate::control::{Client, Request};
use crate::error::Result;

/// Arguments of `resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the container
    id: String,
}

impl Args {
    /// Lets all processes go on.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let home = global.store().home(&self.id)?;
        let _lock = home.lock()?;
        Client::connect(&home)?.order(&Request::Resume)?;
        Ok(0)
    }
}
