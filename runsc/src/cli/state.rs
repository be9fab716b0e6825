//! `runsc state`.

use serde_json::json;

use super::Global;
use crate::control::{Client, Request, Response};
use crate::error::Result;
use crate::state::{Home, OCI_VERSION, Record};

/// Arguments of `state`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the container
    id: String,
}

impl Args {
    /// Prints the state as the runtime specification has it.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let home = global.store().home(&self.id)?;
        let record = home.load()?;
        let value = render(&record, &status(&home, &record));
        super::print(&format!("{value:#}\n"))?;
        Ok(0)
    }
}

/// The state of a container as JSON.
pub(super) fn render(record: &Record, status: &str) -> serde_json::Value {
    let pid = if status == "stopped" { 0 } else { record.pid };
    let mut value = json!({
        "ociVersion": OCI_VERSION,
        "id": record.id,
        "pid": pid,
        "status": status,
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "owner": record.owner.to_string(),
    });
    if !record.annotations.is_empty() {
        value["annotations"] = json!(record.annotations);
    }
    value
}

/// `created`, `running`, `paused` or `stopped`.
pub(super) fn status(home: &Home, record: &Record) -> String {
    let stopped = || "stopped".to_owned();
    if !record.alive() {
        return stopped();
    }
    let answer = Client::connect(home).and_then(|client| client.ask(&Request::State, &[]));
    match answer {
        Ok(Response::State { status }) => status,
        // It ended meanwhile, or it is so busy that it can only be running.
        _ if record.alive() => "running".to_owned(),
        _ => stopped(),
    }
}
