//! `runsc fs`: what a container has changed in its root.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;

use clap::Subcommand;

use super::Global;
use crate::control::{Client, Request};
use crate::error::{Context as _, Result};
use crate::fail;

/// Arguments of `fs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List what was added (A), changed (C) and deleted (D)
    Diff {
        /// Name of the container
        id: String,
    },
    /// Write the changes as a tar archive, a layer of an image
    Export {
        /// The layer above the root filesystem, which is the only one that can be exported
        #[arg(long, required = true)]
        upper: bool,
        /// File to write to instead of standard output
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Name of the container
        id: String,
    },
}

impl Args {
    /// Lets the sandbox write to a descriptor of this command.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let (id, request, to) = match self.command {
            Command::Diff { id } => (id, Request::Diff, standard_output()?),
            Command::Export { id, output, .. } => {
                let to = match output {
                    Some(path) => File::create(&path)
                        .context(|| format!("cannot write {} (--output)", path.display()))?
                        .into(),
                    None if rustix::termios::isatty(io::stdout()) => {
                        return fail!("an archive does not belong on a terminal: use --output");
                    }
                    None => standard_output()?,
                };
                (id, Request::Export, to)
            }
        };
        let home = global.store().home(&id)?;
        Client::connect(&home)?.ask(&request, &[&to])?;
        Ok(0)
    }
}

fn standard_output() -> Result<OwnedFd> {
    let output = io::stdout().as_fd().try_clone_to_owned();
    output.context(|| "standard output is closed")
}
