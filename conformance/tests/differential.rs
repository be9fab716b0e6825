//! Random programs on the native kernel and on Chitin's in process: a quick run, and all that ever differed.
//!
//! `CHITIN_SOAK_SECONDS` makes each area's run longer, `CHITIN_SOAK_SEED` gives other programs.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chitin_conformance::differential::{Area, Program, Runner, Site, find, replay};
use chitin_conformance::subject::Subject;

/// Programs of each area in a quick run.
const PROGRAMS: u64 = 150;
/// Seconds that a quick run of an area takes at most.
const SECONDS: u64 = 12;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn runner() -> Runner {
    let shared = Path::new("/dev/shm");
    let directory = if shared.exists() { shared.to_owned() } else { std::env::temp_dir() };
    Runner { program: PathBuf::from(env!("CARGO_BIN_EXE_chitin-conformance")), directory }
}

fn sites() -> (Site, Site) {
    let site = |subject| Site { subject, prefix: Vec::new() };
    (site(Subject::Host), site(Subject::Task))
}

/// Why nothing can be compared here at all.
fn why_not() -> Option<&'static str> {
    let is_root = rustix::process::geteuid().is_root();
    (!is_root).then_some("needs user 0, as which the kernel in process runs them")
}

fn check(area: Area) {
    let test = format!("programs of {area:?} beside the native kernel");
    if let Some(reason) = why_not() {
        return common::skip(&test, reason);
    }
    let (oracle, subject) = sites();
    let first = number("CHITIN_SOAK_SEED").unwrap_or(0);
    let seconds = number("CHITIN_SOAK_SECONDS");
    let seeds = first..first.saturating_add(seconds.map_or(PROGRAMS, |_| u64::MAX));
    let time = Duration::from_secs(seconds.unwrap_or(SECONDS));
    match find(&runner(), (&oracle, &subject), area, seeds, time) {
        Ok(count) => {
            println!("{count} programs");
            assert!(count > 0, "no program was run");
        }
        Err(Ok(difference)) => panic!("{difference}"),
        // This machine may lack what Chitin has; the other way round it is Chitin's fault.
        Err(Err(reason)) if reason.starts_with("the subject: ") => panic!("{reason}"),
        Err(Err(reason)) => common::skip(&test, &reason),
    }
}

#[test]
fn files_are_as_natively() {
    check(Area::Files);
}

#[test]
fn overlays_are_as_natively() {
    check(Area::Overlay);
}

#[test]
fn memory_is_as_natively() {
    check(Area::Memory);
}

#[test]
fn readiness_is_as_natively() {
    check(Area::Readiness);
}

#[test]
fn signals_are_as_natively() {
    check(Area::Signals);
}

#[test]
fn sockets_are_as_natively() {
    check(Area::Sockets);
}

/// Every program under `regressions/` was answered differently once.
#[test]
fn what_once_differed_does_no_more() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .expect("the directory is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let test = "what_once_differed_does_no_more";
    if let Some(reason) = why_not() {
        return common::skip(test, reason);
    }
    let (oracle, subject) = sites();
    let mut missing = None;
    for path in files {
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let program = Program::parse(&text).expect("it is a program");
        match replay(&runner(), (&oracle, &subject), &program) {
            Ok(()) => {}
            Err(Ok(difference)) => panic!("{}: {difference}", path.display()),
            Err(Err(reason)) if reason.starts_with("the subject: ") => {
                panic!("{}: {reason}", path.display());
            }
            Err(Err(reason)) => {
                missing.get_or_insert(format!("{}: {reason}", path.display()));
            }
        }
    }
    if let Some(reason) = missing {
        common::skip(test, &reason);
    }
}
