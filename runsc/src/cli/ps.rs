//! `runsc ps`.

use super::Global;
use crate::control::{Client, Request, Response};
use crate::error::Result;
use crate::fail;

/// Arguments of `ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to print
    #[arg(short, long, value_enum, default_value_t)]
    format: Format,
    /// Name of the container
    id: String,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
}

impl Args {
    /// Lists the processes, with their ids inside.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let home = global.store().home(&self.id)?;
        let answer = Client::connect(&home)?.ask(&Request::Ps, &[])?;
        let Response::Processes(processes) = answer else {
            return fail!("the sandbox answered something else");
        };
        let text = match self.format {
            Format::Json => {
                let ids: Vec<i32> = processes.iter().map(|process| process.pid).collect();
                format!("{}\n", serde_json::json!(ids))
            }
            Format::Table => {
                let mut text = format!("{:>8} {:>8} {:>8} CMD\n", "UID", "PID", "PPID");
                for process in processes {
                    let line =
                        format!("{:>8} {:>8} {:>8} ", process.uid, process.pid, process.parent);
                    text.push_str(&line);
                    text.push_str(&process.command);
                    text.push('\n');
                }
                text
            }
        };
        super::print(&text)?;
        Ok(0)
    }
}
