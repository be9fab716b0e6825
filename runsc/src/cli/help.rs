//! `runsc help`.

use clap::{CommandFactory as _, Subcommand, ValueEnum};

use crate::error::{Context as _, Result};

/// Arguments of `help`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    topic: Option<Topic>,
}

#[derive(Debug, Subcommand)]
enum Topic {
    /// The system calls of containers and how far they are supported
    Syscalls {
        /// How to print them
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// A command
    #[command(external_subcommand)]
    Command(Vec<String>),
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    Table,
    Json,
    Csv,
}

impl Args {
    /// Prints help.
    pub(crate) fn execute(self) -> Result<u8> {
        let mut whole = super::Cli::command();
        match self.topic {
            None => whole.print_help().context(|| "cannot write to standard output")?,
            Some(Topic::Syscalls { format }) => super::print(&syscalls(format))?,
            Some(Topic::Command(names)) => {
                let name = names.first().map_or("", String::as_str);
                let Some(command) = whole.find_subcommand_mut(name) else {
                    return crate::fail!("there is no command {name:?}: `runsc help` lists them");
                };
                command.print_long_help().context(|| "cannot write to standard output")?;
            }
        }
        Ok(0)
    }
}

fn syscalls(format: Format) -> String {
    use chitin_task::syscalls::listing;
    match format {
        Format::Table => listing::table_text(),
        Format::Json => listing::table_json(),
        Format::Csv => listing::table_csv(),
    }
}
