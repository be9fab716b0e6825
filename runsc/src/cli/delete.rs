//! `runsc delete`.

use core::time::Duration;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::Global;
use super::state::status;
use crate::error::Result;
use crate::fail;
use crate::state::Record;

/// Arguments of `delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End it if it still runs, and do not complain if there is none
    #[arg(short, long)]
    force: bool,
    /// Names of the containers
    #[arg(required = true)]
    ids: Vec<String>,
}

impl Args {
    /// Removes all that is left of containers.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        for id in &self.ids {
            self.delete(global, id)?;
        }
        Ok(0)
    }

    fn delete(&self, global: &Global, id: &str) -> Result<()> {
        let home = global.store().home(id)?;
        if self.force && !home.exists() {
            return Ok(());
        }
        let _lock = home.lock()?;
        let record = match home.load() {
            Ok(record) => record,
            // Nothing was written yet, or it is damaged: there is no process that could be told by it.
            Err(_) if self.force => return home.remove(),
            Err(failure) => return Err(failure),
        };
        if record.alive() {
            let status = status(&home, &record);
            // The specification lets only stopped ones go; engines delete created ones all the same.
            if !self.force && status != "stopped" && status != "created" {
                return fail!("container {id:?} is {status}: stop it first, or use --force");
            }
            end(&record)?;
        }
        home.remove()
    }
}

/// Ends a sandbox and waits until it is gone.
fn end(record: &Record) -> Result<()> {
    let patience = Duration::from_secs(10);
    let begun = Instant::now();
    while record.alive() {
        if let Some(pid) = Pid::from_raw(record.pid) {
            // It may be gone between the look and the signal; the next look tells.
            let _ = kill_process(pid, Signal::KILL);
        }
        if begun.elapsed() > patience {
            return fail!(
                "the sandbox of container {:?} (process {}) does not end",
                record.id,
                record.pid
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}
