//! A program on tokio's runtime (`examples/on_tokio.rs`), natively and in the sandbox.

mod common;
#[path = "common/sandbox.rs"]
mod sandbox;

use std::path::Path;
use std::process::Command;

fn run(prefix: &[&str], program: &Path) -> (String, Option<i32>) {
    let directory = tempfile::tempdir().expect("a directory");
    let program = program.to_string_lossy();
    let mut words = prefix.iter().copied().chain([&*program]);
    let output = Command::new(words.next().expect("a word"))
        .args(words)
        .current_dir(directory.path())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text + &String::from_utf8_lossy(&output.stderr), output.status.code())
}

#[test]
fn tokio_program_does_inside_what_it_does_natively() {
    let here = std::env::current_exe().expect("a path");
    let examples = here.parent().and_then(Path::parent).expect("a directory").join("examples");
    let program = examples.join("on_tokio");
    assert!(program.exists(), "cargo build -p chitin-conformance --examples comes first");
    let Some(runsc) = sandbox::runsc() else {
        let test = "tokio_program_does_inside_what_it_does_natively";
        return common::skip(test, "no release build of runsc");
    };
    let native = run(&[], &program);
    assert_eq!(native.1, Some(0), "{}", native.0);
    assert!(native.0.ends_with("tcp 1048576 1048576\n"), "{}", native.0);
    assert_eq!(run(&[&runsc.to_string_lossy(), "do"], &program), native);
}
