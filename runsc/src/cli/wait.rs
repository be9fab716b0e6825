//! `runsc wait`.

use super::Global;
use crate::control::{Client, Request, Response};
use crate::error::Result;
use crate::fail;

/// Arguments of `wait`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait for this process, by its id inside
    #[arg(long)]
    pid: Option<i32>,
    /// Name of the container
    id: String,
}

impl Args {
    /// Waits, and prints how it ended.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let home = global.store().home(&self.id)?;
        let record = home.load()?;
        let answer = if record.alive() {
            Client::connect(&home)?.ask(&Request::Wait { pid: self.pid }, &[])
        } else {
            fail!("container {:?} is stopped", self.id)
        };
        let code = match answer {
            Ok(Response::Exited { code }) => code,
            Ok(_) => return fail!("the sandbox answered something else"),
            // It ended before it was asked or before it could answer: what it left says how.
            Err(failure) => match home.exit_code() {
                Some(code) if self.pid.is_none() => code,
                _ => return Err(failure),
            },
        };
        super::print(&format!("{}\n", serde_json::json!({ "id": self.id, "exitStatus": code })))?;
        Ok(0)
    }
}
