//! The command line: one file per command.

mod create;
mod delete;
mod do_;
mod exec;
mod features;
mod fs;
mod help;
mod kill;
mod list;
mod pause;
mod ps;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod wait;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::error::Result;
use crate::log;
use crate::sandbox::options::{FileAccess, Network, Options, Patch, PlatformName};
use crate::state::Store;

/// An OCI runtime that runs containers on a kernel of their own, in user space.
#[derive(Debug, Parser)]
#[command(
    name = "runsc",
    version,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = false
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that all commands take.
#[derive(Debug, clap::Args)]
pub(crate) struct Global {
    /// Directory for the state of containers
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    /// File that errors and warnings are appended to
    #[arg(long, value_name = "FILE", global = true)]
    log: Option<PathBuf>,
    /// Format of --log
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, global = true)]
    log_format: log::Format,
    /// Print what developers want to know
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", global = true)]
    debug: bool,
    /// File for what --debug prints
    #[arg(long, value_name = "FILE", global = true)]
    debug_log: Option<PathBuf>,
    /// Print the system calls of the container as strace(1) does
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", global = true)]
    strace: bool,
    /// What runs the container's code
    #[arg(long, value_name = "NAME", value_enum, default_value_t, global = true)]
    platform: PlatformName,
    /// Whether code that makes system calls is rewritten in memory, so that it is faster
    #[arg(long, value_name = "ON|OFF", value_enum, default_value_t, global = true)]
    patch: Patch,
    /// What the container's network is connected to
    #[arg(long, value_name = "KIND", value_enum, global = true)]
    network: Option<Network>,
    /// Work on the container's files by descriptors instead of through a gofer process
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set, global = true)]
    directfs: bool,
    /// Who changes the root's files
    #[arg(long, value_name = "KIND", value_enum, default_value_t = FileAccess::Exclusive, global = true)]
    file_access: FileAccess,
    /// Who changes the files of bind mounts, unless their options say (`cache=KIND`)
    #[arg(long, value_name = "KIND", value_enum, default_value_t = FileAccess::Shared, global = true)]
    file_access_mounts: FileAccess,
    /// Accepted for engines: whether there are no privileges is found out
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true, global = true)]
    rootless: Option<String>,
    /// Accepted for engines: host control groups are not used yet
    #[arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", hide = true, global = true)]
    systemd_cgroup: bool,
}

/// A command line of `do`, without what all the other commands are made of.
#[derive(Debug, Parser)]
#[command(name = "runsc")]
struct Do {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    args: do_::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a program on this machine's files, without changing them
    Do(do_::Args),
    /// Create a container from a bundle
    Create(create::Args),
    /// Start the program of a created container
    Start(start::Args),
    /// Create a container, start it, wait for it and delete it
    Run(run::Args),
    /// Run another program in a container
    Exec(exec::Args),
    /// Print the state of a container as JSON
    State(state::Args),
    /// Send a signal to a container
    Kill(kill::Args),
    /// Delete a container
    Delete(delete::Args),
    /// List containers
    List(list::Args),
    /// List the processes of a container
    Ps(ps::Args),
    /// Wait for a container to end
    Wait(wait::Args),
    /// Stop all processes of a container for a while
    Pause(pause::Args),
    /// Let a paused container go on
    Resume(resume::Args),
    /// List or export what a container has changed in its root
    Fs(fs::Args),
    /// Write a config.json to begin with
    Spec(spec::Args),
    /// Print what this runtime supports as JSON
    Features(features::Args),
    /// Explain something
    Help(help::Args),
}

impl Global {
    /// Opens the logs.
    pub(crate) fn open_logs(&self) -> Result<()> {
        log::open(&log::Config {
            file: self.log.as_ref(),
            format: self.log_format,
            debug_file: self.debug_log.as_ref(),
            debug: self.debug,
            strace: self.strace,
        })
    }

    /// Where the state of containers is.
    pub(crate) fn store(&self) -> Store {
        Store::new(self.root.as_ref())
    }

    /// What concerns the sandbox itself.
    pub(crate) fn options(&self) -> Options {
        Options {
            platform: self.platform,
            patch: self.patch,
            network: self.network,
            directfs: self.directfs,
            file_access: self.file_access,
            file_access_mounts: self.file_access_mounts,
            strace: self.strace,
        }
    }
}

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    /// What is wrong with it, or what was asked for in its place (help, the version).
    pub(crate) fn read() -> core::result::Result<Self, clap::Error> {
        let mut args = std::env::args_os();
        let name = args.next();
        // The short way for what starts programs; who asks for help or makes a mistake takes the long one.
        if args.next().is_some_and(|command| command == "do")
            && let Ok(Do { global, args }) = Do::try_parse_from(name.into_iter().chain(args))
        {
            return Ok(Self { global, command: Command::Do(args) });
        }
        Self::try_parse()
    }

    /// Does what was asked. The result is the exit code.
    pub(crate) fn execute(self) -> Result<u8> {
        let global = &self.global;
        match self.command {
            Command::Do(args) => args.execute(global),
            Command::Create(args) => args.execute(global),
            Command::Start(args) => args.execute(global),
            Command::Run(args) => args.execute(global),
            Command::Exec(args) => args.execute(global),
            Command::State(args) => args.execute(global),
            Command::Kill(args) => args.execute(global),
            Command::Delete(args) => args.execute(global),
            Command::List(args) => args.execute(global),
            Command::Ps(args) => args.execute(global),
            Command::Wait(args) => args.execute(global),
            Command::Pause(args) => args.execute(global),
            Command::Resume(args) => args.execute(global),
            Command::Fs(args) => args.execute(global),
            Command::Spec(args) => args.execute(global),
            Command::Features(args) => args.execute(),
            Command::Help(args) => args.execute(),
        }
    }
}

/// The value of an option on a command line that is wrong elsewhere.
fn find_option(name: &str) -> Option<std::ffi::OsString> {
    let mut args = std::env::args_os().skip(1);
    while let Some(arg) = args.next() {
        if arg == name {
            return args.next();
        }
        if let Some(value) = arg.to_str().and_then(|arg| arg.strip_prefix(name)?.strip_prefix('='))
        {
            return Some(value.into());
        }
    }
    None
}

/// One sentence about a command line that is wrong, with the log opened as far as the line says where it is.
pub(crate) fn usage_failure(usage: &clap::Error) -> Result<u8> {
    let file = find_option("--log").map(PathBuf::from);
    let json = find_option("--log-format").is_some_and(|format| format == "json");
    let format = if json { log::Format::Json } else { log::Format::Text };
    log::open(&log::Config {
        file: file.as_ref(),
        format,
        debug_file: None,
        debug: false,
        strace: false,
    })?;
    let text = usage.to_string();
    let mut lines = text.lines().take_while(|line| !line.starts_with("Usage:")).map(str::trim);
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let rest: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let what = if rest.is_empty() { first } else { format!("{first} {}", rest.join(" ")) };
    let what =
        if what.contains("An OCI runtime") { "no command is given".to_owned() } else { what };
    Err(crate::error::Failure::with_code(format!("{what} (`runsc help` explains the options)"), 2))
}

/// Prints to standard output. A closed one is an error, and no panic.
fn print(text: &str) -> Result<()> {
    use std::io::Write as _;

    use crate::error::Context as _;
    let mut output = std::io::stdout();
    output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
        .context(|| "cannot write to standard output")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
