//! The suite on the native kernel, which is the oracle (every test must pass here), and on Chitin's in process.

use std::path::Path;
use std::time::Duration;

use chitin_conformance::expect::Expectations;
use chitin_conformance::report::{Report, table};
use chitin_conformance::run::{Outcome, Plan, Record, run, select};
use chitin_conformance::subject::{Root, Subject};

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
    assert!(passed > least, "only {passed} tests ran to their end");
}

#[test]
fn native_kernel_passes_every_test() {
    check(Subject::Host, Root::default(), 300);
}

#[test]
fn kernel_in_process_passes_every_test() {
    check(Subject::Task, Root::Tmpfs, 250);
}

#[test]
fn files_on_an_overlay_pass_every_test() {
    check(Subject::Vfs, Root::Overlay, 100);
}

/// The program of the sandbox: `$CHITIN_RUNSC`, or the release build of this workspace.
fn runsc() -> Option<String> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/runsc");
    let runsc = std::env::var_os("CHITIN_RUNSC").map_or(built, std::path::PathBuf::from);
    Some(runsc.canonicalize().ok()?.to_string_lossy().into_owned())
}

#[test]
fn sandbox_passes_every_test() {
    match runsc() {
        Some(runsc) => {
            check_under(Subject::Sandbox, Root::default(), vec![runsc, "do".to_owned()], 300);
        }
        None => {
            println!("SKIPPED sandbox: no release build of runsc");
            if let Some(file) = std::env::var_os("CHITIN_SKIP_FILE") {
                let line = "sandbox_passes_every_test: no release build of runsc\n";
                let old = std::fs::read_to_string(&file).unwrap_or_default();
                std::fs::write(file, old + line).expect("the list of skips can be written");
            }
        }
    }
}
