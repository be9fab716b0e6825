//! Prints system calls as strace(1) does, for `--strace`.
//!
//! One line per call, when it has returned: what the call reads is decoded before it runs (an `execve`
//! replaces the memory), what it writes afterwards. Structures are printed as pointers. Costs nothing when
//! it is off but one test per call; when it is on, a few copies from the guest and one write to the sink.

mod print;

use std::collections::BTreeSet;
use std::io::Write;

use parking_lot::Mutex;

use self::print::Printer;
use super::args::Print;
use super::{listing, table};
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};

/// Where and how calls are printed.
pub struct Strace {
    sink: Mutex<Box<dyn Write + Send>>,
    only: Option<BTreeSet<u64>>,
    string_limit: usize,
}

impl Strace {
    /// Prints every call to `sink`.
    pub fn new(sink: Box<dyn Write + Send>) -> Self {
        Self { sink: Mutex::new(sink), only: None, string_limit: 32 }
    }

    /// Prints only the calls of these names. Names that are not in the table are ignored.
    #[must_use]
    pub fn only<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let numbers = names.into_iter().filter_map(listing::by_name).map(|call| call.number);
        self.only = Some(numbers.collect());
        self
    }

    /// Prints strings and buffers up to this many bytes instead of 32.
    #[must_use]
    pub fn string_limit(mut self, bytes: usize) -> Self {
        self.string_limit = bytes.min(65536);
        self
    }

    fn wants(&self, number: u64) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&number))
    }

    /// Writes one line; a sink that fails is ignored.
    fn line(&self, text: &str) {
        let mut sink = self.sink.lock();
        let _ = sink.write_all(text.as_bytes());
    }
}

/// Carries out a call and prints it.
///
/// # Errors
/// Those of the call.
pub async fn traced(cx: &mut Ctx<'_>, number: u64) -> SysResult {
    let limit = match &cx.kernel().strace {
        Some(strace) if strace.wants(number) => strace.string_limit,
        _ => return table::dispatch(cx, number).await,
    };
    let tid = cx.task.tid();
    let registers = cx.regs.syscall_args();
    let kinds = listing::by_number(number).map_or(&[] as &[Print], |call| call.args);
    let before = Printer { memory: cx.memory(), limit }.before(kinds, &registers);
    let result = table::dispatch(cx, number).await;
    let args = Printer { memory: cx.memory(), limit }.after(
        kinds,
        &registers,
        before,
        result.as_ref().ok().copied(),
    );
    let name = listing::by_number(number)
        .map_or_else(|| format!("syscall_{number:#x}"), |call| call.name.to_owned());
    let outcome = outcome(number, &result);
    if let Some(strace) = &cx.kernel().strace {
        strace.line(&format!("[pid {tid:5}] {} = {outcome}\n", padded(&format!("{name}({args})"))));
    }
    result
}

/// strace aligns results at column 40.
fn padded(call: &str) -> String {
    format!("{call:<39}")
}

fn outcome(number: u64, result: &SysResult) -> String {
    match result {
        Ok(value) if returns_pointer(number) => format!("{value:#x}"),
        Ok(value) => value.cast_signed().to_string(),
        Err(SysError::Errno(errno)) => {
            let name = errno.name().map_or_else(|| format!("E{}", errno.raw()), str::to_owned);
            format!("-1 {name} ({})", errno.description().trim())
        }
        Err(SysError::Restart(restart)) => restart_text(*restart).to_owned(),
        Err(SysError::NoReturn) => "?".to_owned(),
    }
}

const fn returns_pointer(number: u64) -> bool {
    use chitin_abi::nr;
    matches!(number, nr::MMAP | nr::BRK | nr::MREMAP | nr::SHMAT)
}

const fn restart_text(restart: Restart) -> &'static str {
    match restart {
        Restart::Sys => "? ERESTARTSYS (To be restarted if SA_RESTART is set)",
        Restart::NoHandler => "? ERESTARTNOHAND (To be restarted if no handler)",
        Restart::Always => "? ERESTARTNOINTR (To be restarted)",
        Restart::Block => "? ERESTART_RESTARTBLOCK (Interrupted by signal)",
    }
}

#[cfg(test)]
mod tests {
    use chitin_abi::{Errno, nr};

    use super::*;

    #[test]
    fn results_read_as_in_strace() {
        assert_eq!(outcome(nr::READ, &Ok(7)), "7");
        assert_eq!(outcome(nr::MMAP, &Ok(0x7000)), "0x7000");
        assert!(outcome(nr::OPEN, &Err(Errno::ENOENT.into())).starts_with("-1 ENOENT ("));
        assert_eq!(outcome(nr::EXIT, &Err(SysError::NoReturn)), "?");
        assert!(
            outcome(nr::READ, &Err(SysError::Restart(Restart::Sys))).starts_with("? ERESTARTSYS")
        );
    }

    #[test]
    fn results_stand_in_one_column() {
        assert_eq!(padded("close(3)").len(), 39);
        assert_eq!(padded(&"x".repeat(50)).len(), 50);
    }
}
