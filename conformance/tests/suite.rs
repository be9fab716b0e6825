//! The suite on the native kernel, which is the oracle: every test must pass here.

use std::time::Duration;

use chitin_conformance::suite::{Outcome, Plan, run_plan_with};

#[test]
fn native_kernel_passes_every_test() {
    let plan =
        Plan { prefix: Vec::new(), filter: String::new(), jobs: 4, limit: Duration::from_secs(60) };
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_chitin-conformance"));
    let records = run_plan_with(&plan, program, &|_| {});
    for record in &records {
        if let Outcome::Skipped(reason) = &record.outcome {
            eprintln!("SKIPPED {}: {reason}", record.name);
        }
    }
    let bad: Vec<_> = records
        .iter()
        .filter(|record| matches!(record.outcome, Outcome::Failed(_) | Outcome::TimedOut))
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(records.len() > 30, "the suite is there");
}
