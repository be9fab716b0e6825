//! Runs every script under `programs/` natively and in the sandbox and compares them.
//!
//! The sandbox is `$CHITIN_PREFIX` (default: `$CHITIN_RUNSC do`, with `$CHITIN_RUNSC` defaulting to the
//! release build of this workspace). Scripts that are expected to differ are listed with a reason in
//! `expectations/programs.txt`; one that passes all the same is a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chitin_conformance::program::{Prefix, Script, compare, load_all};
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let scripts = load_all(&root.join("programs")).unwrap_or_default();
    let expected = expectations(&root.join("expectations/programs.txt"));
    let prefix = prefix(root);
    let mut stale = expected.clone();
    scripts.iter().for_each(|script| drop(stale.remove(&script.name)));
    let mut trials: Vec<Trial> =
        scripts.into_iter().map(|script| trial(script, prefix.clone(), &expected)).collect();
    trials.push(Trial::test("expectations_name_scripts_that_exist", move || {
        if stale.is_empty() { Ok(()) } else { Err(format!("{stale:?}").into()) }
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(script: Script, prefix: Option<Prefix>, expected: &BTreeMap<String, String>) -> Trial {
    let reason = expected.get(&script.name).cloned();
    let name = script.name.clone();
    let why_not = match (&prefix, script.missing()) {
        (None, _) => {
            Some("no release build of runsc: cargo build --release -p chitin-runsc".to_owned())
        }
        (_, Some(need)) => Some(format!("{need} is missing")),
        _ => None,
    };
    let skipped = why_not.is_some();
    if let Some(why) = why_not {
        eprintln!("SKIPPED programs {name}: {why}");
    }
    let run = move || {
        let result = compare(&script, &prefix.unwrap_or_default(), Duration::from_secs(180));
        match (result, reason) {
            (Ok(()), Some(reason)) => {
                Err(format!("passes, but is expected to differ: {reason}").into())
            }
            (Err(text), None) => Err(text.into()),
            _ => Ok(()),
        }
    };
    Trial::test(name, run).with_ignored_flag(skipped)
}

fn prefix(root: &Path) -> Option<Prefix> {
    if let Ok(words) = std::env::var("CHITIN_PREFIX") {
        return Some(words.split_whitespace().map(str::to_owned).collect());
    }
    let built = || root.join("../target/release/runsc").canonicalize().ok();
    let runsc = std::env::var_os("CHITIN_RUNSC").map(PathBuf::from).or_else(built)?;
    Some(vec![runsc.to_string_lossy().into_owned(), "do".to_owned()])
}

/// Lines of `name: reason`; `#` begins a comment.
fn expectations(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(": "));
    pairs.map(|(name, reason)| (name.to_owned(), reason.to_owned())).collect()
}
