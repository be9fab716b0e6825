//! One test in this process.

use std::path::Path;

use chitin_abi::signal::{SIG_DFL, SIGPIPE};

use crate::subject::{Root, Subject};
use crate::suite::{Calls, Kernel, Need, Skip, Test};

/// The exit code of a process whose test was skipped; the reason is on its standard error.
pub const SKIPPED: u8 = 77;

/// Runs a test on a subject. A panic says where the kernel does not do what Linux does.
///
/// # Errors
/// The reason why it cannot run here.
pub fn run_case(test: &Test, subject: Subject, root: Root) -> Result<(), String> {
    if subject.is_in_process() {
        return crate::in_process::run(test, root);
    }
    for need in test.needs {
        if let Some(reason) = unmet(*need) {
            return Err(reason.to_owned());
        }
    }
    let kernel: &dyn Kernel = &crate::raw::Host;
    // Rust's runtime ignores SIGPIPE; a body starts with the defaults of a new process.
    kernel.set_action(SIGPIPE, SIG_DFL).map_err(|errno| format!("SIGPIPE: {errno:?}"))?;
    catch_skip(|| (test.body)(kernel))
}

/// Runs a body; the reason if it skips itself.
///
/// # Errors
/// That reason.
pub fn catch_skip(body: impl FnOnce()) -> Result<(), String> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
        Ok(()) => Ok(()),
        Err(payload) => match payload.downcast::<Skip>() {
            Ok(skip) => Err(skip.0),
            Err(payload) => std::panic::resume_unwind(payload),
        },
    }
}

/// Why this machine does not have what a test needs.
fn unmet(need: Need) -> Option<&'static str> {
    let root = rustix::process::geteuid().is_root();
    let there = |path: &str| Path::new(path).exists();
    match need {
        Need::Root if !root => Some("needs user 0"),
        Need::User if root => Some("needs a user other than 0"),
        Need::Exec if !there("/bin/sh") => Some("needs /bin/sh"),
        Need::Kvm if !there("/dev/kvm") => Some("needs /dev/kvm"),
        Need::Terminal if !there("/dev/ptmx") => Some("needs /dev/ptmx"),
        Need::Network if !has_network() => Some("needs a network interface besides the loopback"),
        _ => None,
    }
}

fn has_network() -> bool {
    let interfaces = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    interfaces.into_iter().any(|entry| entry.file_name() != "lo")
}
