//! `differ` and `transcript`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::run::{sandbox, words};
use crate::differential::{Area, Program, Runner, Site, find};
use crate::raw::Host;
use crate::run::catch_skip;
use crate::subject::{Root, Subject};
use crate::suite::Kernel;

/// `differ`.
#[derive(Args)]
pub(super) struct Differ {
    /// What is compared with the native kernel.
    #[arg(long, default_value = "task")]
    subject: Subject,
    /// A command that runs the rest of its arguments on the kernel to be compared.
    #[arg(long)]
    prefix: Option<String>,
    /// What the programs are about; all areas without this.
    #[arg(long)]
    area: Vec<Area>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Programs per area.
    #[arg(long, default_value_t = 200)]
    count: u64,
    /// Seconds per area at most.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Where the directories of programs are made: a tmpfs, to be compared with ours.
    #[arg(long, default_value = "/dev/shm")]
    directory: PathBuf,
    /// Where programs that are answered differently are kept.
    #[arg(long)]
    keep: Option<PathBuf>,
}

impl Differ {
    pub(super) fn execute(&self) -> Result<ExitCode, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let runner = Runner { program, directory: self.directory.clone() };
        let oracle = Site { subject: Subject::Host, prefix: Vec::new() };
        let subject = self.site()?;
        let areas = if self.area.is_empty() { &Area::ALL[..] } else { &self.area };
        let mut code = ExitCode::SUCCESS;
        for area in areas {
            let seeds = self.seed..self.seed.saturating_add(self.count);
            let time = Duration::from_secs(self.seconds);
            match find(&runner, (&oracle, &subject), *area, seeds, time) {
                Ok(count) => println!("{area:?}: {count} programs, no difference"),
                Err(Ok(difference)) => {
                    println!("{area:?}: {difference}");
                    self.keep(*area, difference.seed, &difference.program)?;
                    code = ExitCode::FAILURE;
                }
                Err(Err(reason)) => println!("{area:?}: skipped: {reason}"),
            }
        }
        Ok(code)
    }

    fn site(&self) -> Result<Site, String> {
        let prefix = match (&self.prefix, self.subject) {
            (Some(text), _) => words(text)?,
            (None, Subject::Sandbox) => sandbox(None)?,
            (None, _) => Vec::new(),
        };
        let subject = if self.prefix.is_some() { Subject::Sandbox } else { self.subject };
        Ok(Site { subject, prefix })
    }

    fn keep(&self, area: Area, seed: u64, program: &Program) -> Result<(), String> {
        let Some(directory) = &self.keep else { return Ok(()) };
        let name = format!("{area:?}-{seed}.json").to_lowercase();
        std::fs::create_dir_all(directory)
            .and_then(|()| std::fs::write(directory.join(name), program.to_json() + "\n"))
            .map_err(|error| format!("{}: {error}", directory.display()))
    }
}

/// `transcript`.
#[derive(Args)]
pub(super) struct Transcript {
    #[arg(long, default_value = "host")]
    subject: Subject,
    #[arg(long, default_value = "tmpfs")]
    root: Root,
    /// The program, as JSON.
    #[arg(long)]
    program: String,
}

impl Transcript {
    pub(super) fn execute(&self) -> Result<ExitCode, String> {
        let program = Program::parse(&self.program)?;
        let mut lines = Vec::new();
        let mut run = |k: &dyn Kernel| catch_skip(|| lines = program.run(k));
        let result = if self.subject.is_in_process() {
            run(&crate::in_process::start(self.root)?)
        } else {
            run(&Host)
        };
        if let Err(reason) = result {
            lines.push(format!("unavailable: {reason}"));
        }
        let mut out = std::io::stdout().lock();
        let text = lines.join("\n") + "\n";
        out.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
