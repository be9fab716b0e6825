//! `runsc kill`.

use nix::sys::signal::Signal;

use super::Global;
use crate::control::{Client, Request, Target};
use crate::error::Result;
use crate::fail;

/// Arguments of `kill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// To all processes, not to the first alone
    #[arg(short, long)]
    all: bool,
    /// To this process, by its id inside
    #[arg(long)]
    pid: Option<i32>,
    /// Name of the container
    id: String,
    /// Signal, by name or number
    #[arg(default_value = "SIGTERM")]
    signal: String,
}

impl Args {
    /// Sends the signal.
    pub(crate) fn execute(self, global: &Global) -> Result<u8> {
        let signal = parse(&self.signal)?;
        let home = global.store().home(&self.id)?;
        let _lock = home.lock()?;
        let record = home.load()?;
        if !record.alive() {
            // Engines tell by these words that there is nothing to be done.
            return fail!("container not running: {:?} is stopped", self.id);
        }
        let target = match self.pid {
            Some(pid) => Target::Process(pid),
            None if self.all => Target::All,
            None => Target::Init,
        };
        Client::connect(&home)?.order(&Request::Signal { signal, target })?;
        Ok(0)
    }
}

fn parse(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=64).contains(&number) {
            Ok(number)
        } else {
            fail!("{number} is not a signal")
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    match name.parse::<Signal>() {
        Ok(signal) => Ok(signal as i32),
        Err(_) => fail!("{text:?} is not a signal: give a name such as TERM or a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (text, number) in [("KILL", 9), ("SIGTERM", 15), ("hup", 1), ("34", 34), ("0", 0)] {
            assert_eq!(parse(text).unwrap(), number);
        }
        assert!(parse("NOPE").is_err() && parse("65").is_err() && parse("-1").is_err());
    }
}
