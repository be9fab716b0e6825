//! `docs/compatibility.md` is the table of system calls with the results of the last full run.
//!
//! `scripts/conformance --bless sandbox` writes the results (`results/sandbox.txt`);
//! `CHITIN_BLESS=1 cargo test -p chitin-conformance --test compatibility_page` writes the page anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use chitin_conformance::report::{Tests, from_lines};
use chitin_conformance::suite::all;
use chitin_task::syscalls::{SYSCALLS, Support, SyscallInfo};

const HEAD: &str = "# Compatibility\n\n\
What of Linux's interface Chitin has, and how that is tested. Made from the table of system calls \
(`task/src/syscalls/table.rs`) and the results of the last full run of the conformance suite in the sandbox \
(`conformance/results/sandbox.txt`). A test counts for each call that it covers; every test passes on Linux itself. \
What does not pass, with the reason, is in `conformance/expectations/`; what is skipped needs what the machine of the \
run did not have.\n\n";

/// What to do about results that are old.
const RUN: &str = "run scripts/conformance --bless sandbox";

fn level(support: &Support) -> (&'static str, &'static str) {
    match support {
        Support::Full => ("full", ""),
        Support::Partial(note) => ("partial", note),
        Support::Fails(errno) => ("missing", errno),
    }
}

fn page(results: &BTreeMap<String, Tests>) -> String {
    let count =
        |wanted: &str| SYSCALLS.iter().filter(|call| level(&call.support).0 == wanted).count();
    let tested = |call: &&SyscallInfo| results.get(call.name).is_some_and(|tests| tests.all > 0);
    let mut text = HEAD.to_owned();
    let _ = writeln!(
        text,
        "{} calls: {} full, {} partial, {} missing (they fail with the error in the note, as on a kernel without that \
         feature); {} have tests of their own.\n",
        SYSCALLS.len(),
        count("full"),
        count("partial"),
        count("missing"),
        SYSCALLS.iter().filter(tested).count(),
    );
    text += "| call | support | tests | passed | note |\n|---|---|--:|--:|---|\n";
    for call in SYSCALLS {
        let (support, note) = level(&call.support);
        let Tests { all, passed } = results.get(call.name).copied().unwrap_or_default();
        let _ = writeln!(text, "| `{}` | {support} | {all} | {passed} | {note} |", call.name);
    }
    text
}

fn results() -> BTreeMap<String, Tests> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/sandbox.txt");
    let results = std::fs::read_to_string(path);
    from_lines(&results.expect("the results of the last run are there"))
}

/// The results are of the tests that there are: no call has fewer tests than were counted, and those that came since
/// are few.
#[test]
fn results_are_of_these_tests() {
    let mut calls: BTreeMap<&str, usize> = BTreeMap::new();
    for test in all().iter().flat_map(|family| family.tests) {
        test.covers.iter().for_each(|call| *calls.entry(call).or_default() += 1);
    }
    let results = results();
    let has = |call: &str| calls.get(call).copied().unwrap_or(0);
    let gone: Vec<&String> = results
        .iter()
        .filter(|(call, counted)| counted.all > has(call) || counted.passed > counted.all)
        .map(|(call, _)| call)
        .collect();
    assert!(gone.is_empty(), "more results than tests: {gone:?}; {RUN}");
    let counted: usize = results.values().map(|tests| tests.all).sum();
    let there: usize = calls.values().sum();
    assert!(counted * 100 >= there * 95, "{counted} results of {there} tests; {RUN}");
}

#[test]
fn page_is_current() {
    let page = page(&results());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    if std::env::var_os("CHITIN_BLESS").is_some() {
        std::fs::write(&path, &page).expect("docs/compatibility.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/compatibility.md is stale: set CHITIN_BLESS=1 and run this test again"
    );
}
