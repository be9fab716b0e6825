//! The suite on the native kernel, which is the oracle: every test must pass here.

use std::path::Path;
use std::time::Duration;

use chitin_conformance::expect::Expectations;
use chitin_conformance::report::{Report, table};
use chitin_conformance::run::{Plan, run, select};
use chitin_conformance::subject::{Root, Subject};

#[test]
fn native_kernel_passes_every_test() {
    let plan = Plan {
        subject: Subject::Host,
        root: Root::default(),
        prefix: Vec::new(),
        program: Path::new(env!("CARGO_BIN_EXE_chitin-conformance")).to_owned(),
        directory: None,
        jobs: 4,
        limit: Duration::from_secs(60),
    };
    let names = select(plan.subject, None);
    assert!(names.len() > 200, "the suite is there");
    let records = run(&plan, &names, &|_| {});
    let expectations = Expectations::built_in(plan.subject).expect("the list is right");
    let report = Report::new((plan.subject, plan.root), &plan.prefix, records, &expectations);
    let text = table(&report);
    println!("{text}");
    assert!(report.is_good(), "{text}");
}
