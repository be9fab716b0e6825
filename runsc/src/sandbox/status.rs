//! The status pipe: how the sentry tells its parent what became of it.
//!
//! One JSON value a line. The writing end is inherited by nobody but the sentry, so that the end of the pipe is
//! the end of the sentry.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};

/// What the sentry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event {
    /// The sandbox stands; the first process runs, or waits for `start`.
    Ready,
    /// The sandbox lives on without the command that made it.
    Released,
    /// Something went wrong.
    Failed(Failure),
    /// The first process ended with this exit code.
    Exited(u8),
}

/// The sentry's end.
#[derive(Debug)]
pub(crate) struct Reporter(io::PipeWriter);

/// The parent's end.
#[derive(Debug)]
pub(crate) struct Reader(BufReader<io::PipeReader>);

/// A new pipe.
pub(crate) fn pipe() -> io::Result<(Reader, Reporter)> {
    let (reader, writer) = io::pipe()?;
    Ok((Reader(BufReader::new(reader)), Reporter(writer)))
}

impl Reporter {
    /// Tells the parent. Fails in silence when there is none any more.
    pub(crate) fn report(&self, event: &Event) {
        if let Ok(mut line) = serde_json::to_vec(event) {
            line.push(b'\n');
            // A detached sandbox outlives its reader; SIGPIPE is ignored.
            let _ = (&self.0).write_all(&line);
        }
    }
}

impl AsFd for Reporter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl Reader {
    /// The next event; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Event>> {
        let mut line = Vec::new();
        let read = self.0.read_until(b'\n', &mut line);
        if read.unwrap_or(0) == 0 {
            return Ok(None);
        }
        let event = serde_json::from_slice(&line);
        event
            .map(Some)
            .map_err(|error| Failure::new(format!("the sandbox said something strange: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_cross_the_pipe() {
        let (mut reader, reporter) = pipe().unwrap();
        let events =
            [Event::Ready, Event::Failed(Failure::with_code("no \"x\"", 127)), Event::Exited(3)];
        for event in &events {
            reporter.report(event);
        }
        drop(reporter);
        for event in events {
            assert_eq!(reader.next().unwrap(), Some(event));
        }
        assert_eq!(reader.next().unwrap(), None);
    }
}
