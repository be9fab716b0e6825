//! What a body says of a result: errors that are expected, and reasons not to run.

use chitin_abi::{Errno, Result};

/// Asserts that a call failed with this error.
///
/// # Panics
/// When it succeeded or failed otherwise.
#[track_caller]
pub fn fails<T: core::fmt::Debug>(result: Result<T>, errno: Errno) {
    match result {
        Err(found) => assert_eq!(found, errno, "wrong error"),
        Ok(value) => panic!("succeeded with {value:?} instead of {errno:?}"),
    }
}

/// Asserts that a call failed with one of these errors, where Linux itself does not always give the same.
///
/// # Panics
/// When it succeeded or failed otherwise.
#[track_caller]
pub fn fails_with_one_of<T: core::fmt::Debug>(result: Result<T>, errnos: &[Errno]) {
    match result {
        Err(found) => assert!(errnos.contains(&found), "{found:?} is none of {errnos:?}"),
        Ok(value) => panic!("succeeded with {value:?} instead of one of {errnos:?}"),
    }
}

/// A list of calls and the errors that they fail with: `errors! { k.rmdir("x") => ENOENT, … }`. All are made; what
/// differs is told together.
#[macro_export]
macro_rules! errors {
    ($($call:expr => $errno:ident),* $(,)?) => {{
        let mut wrong = ::std::vec::Vec::<::std::string::String>::new();
        $(
            match $call {
                Err(::chitin_abi::Errno::$errno) => {}
                other => wrong.push(format!(
                    "{}: {:?} instead of {}", stringify!($call), other.map(|_| "success"), stringify!($errno)
                )),
            }
        )*
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }};
}

/// Why a body does not go on: what [`skip`] unwinds with.
#[derive(Clone, Debug)]
pub struct Skip(pub String);

/// Ends the test as skipped: the kernel, or the place where the test runs, lacks something that Linux may lack too.
/// Not for what a subject ought to have: that is a failure, to be listed among the expectations.
///
/// # Panics
/// Always; the runner knows this panic from others.
pub fn skip(reason: impl Into<String>) -> ! {
    std::panic::resume_unwind(Box::new(Skip(reason.into())))
}
