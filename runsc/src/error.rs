//! Failures of `runsc`: one sentence that says what, where and what to do, and an exit code.
//!
//! A [`Failure`] crosses process borders as JSON (see [`crate::sandbox::status`]), so that the user reads the
//! real cause wherever it happened.

use core::fmt;

use serde::{Deserialize, Serialize};

/// What shells exit with when a program was found and could not be run.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// What shells exit with when a program was not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

/// The result of most functions here.
pub(crate) type Result<T> = core::result::Result<T, Failure>;

impl Failure {
    /// A failure with the exit code of a runtime error, 1.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::with_code(message, 1)
    }

    /// A failure with an exit code of its own.
    pub(crate) fn with_code(message: impl Into<String>, code: u8) -> Self {
        Self { message: message.into(), code }
    }

    /// What the process exits with.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Puts what was being done before the cause.
pub(crate) trait Context<T> {
    /// Turns an error into a [`Failure`] that reads `what: cause`.
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for core::result::Result<T, E> {
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|cause| {
            Failure::new(format!("{}: {}", what().into(), plain(&cause.to_string())))
        })
    }
}

/// The text of an error without the `(os error N)` that the standard library appends.
fn plain(text: &str) -> &str {
    text.rfind(" (os error ").map_or(text, |end| &text[..end])
}

/// Shortens what [`Context::context`] is called with most: a text that is already there.
#[macro_export]
macro_rules! fail {
    ($($arg:tt)*) => { Err($crate::error::Failure::new(format!($($arg)*))) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_lose_their_numbers() {
        let cause = std::io::Error::from_raw_os_error(2);
        let failure = Err::<(), _>(cause).context(|| "cannot open /x").unwrap_err();
        assert_eq!(failure.to_string(), "cannot open /x: No such file or directory");
        assert_eq!(failure.code(), 1);
    }
}
