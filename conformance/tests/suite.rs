//! The suite on the native kernel, which is the oracle (every test must pass here), and on Chitin's in process.

mod common;
#[path = "common/sandbox.rs"]
mod sandbox;

use std::path::Path;
use std::time::Duration;

use chitin_conformance::expect::Expectations;
use chitin_conformance::report::{Report, table};
use chitin_conformance::run::{Outcome, Plan, Record, run, select};
use chitin_conformance::subject::{Root, Subject};

/// Runs a subject's tests; about 97 of 100 that passed when this was written are to do so wherever it is run.
fn check(subject: Subject, root: Root, least: usize) {
    check_under(subject, root, Vec::new(), least);
}

fn check_under(subject: Subject, root: Root, prefix: Vec<String>, least: usize) {
    let plan = Plan {
        subject,
        root,
        prefix,
        program: Path::new(env!("CARGO_BIN_EXE_chitin-conformance")).to_owned(),
        directory: None,
        jobs: 2,
        limit: Duration::from_secs(60),
    };
    let expectations = Expectations::built_in(subject).expect("the list is right");
    let names = select(subject, None).into_iter();
    let names: Vec<String> = names.filter(|name| expectations.skip(name).is_none()).collect();
    let records: Vec<Record> = run(&plan, &names, &|_| {});
    let passed = records.iter().filter(|record| record.outcome == Outcome::Passed).count();
    let report = Report::new((subject, root), &plan.prefix, records, &expectations);
    let text = table(&report);
    println!("{text}");
    assert!(report.is_good(), "{text}");
    // Another user than 0 cannot run all.
    let least = if rustix::process::geteuid().is_root() { least } else { least / 2 };
    assert!(passed >= least, "only {passed} tests passed, of {least} at least");
}

#[test]
fn native_kernel_passes_every_test() {
    check(Subject::Host, Root::default(), 2390);
}

#[test]
fn kernel_in_process_passes_every_test() {
    check(Subject::Task, Root::Tmpfs, 1245);
}

#[test]
fn files_on_an_overlay_pass_every_test() {
    check(Subject::Vfs, Root::Overlay, 1005);
}

#[test]
fn sandbox_passes_every_test() {
    let Some(runsc) = sandbox::runsc() else {
        return common::skip("sandbox_passes_every_test", "no release build of runsc");
    };
    let prefix = vec![runsc.to_string_lossy().into_owned(), "do".to_owned()];
    check_under(Subject::Sandbox, Root::default(), prefix, 2390);
}
