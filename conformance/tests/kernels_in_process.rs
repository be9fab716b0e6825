//! Kernels in this process go when nobody holds them. Alone in a process, so that its memory and threads are theirs.

use chitin_conformance::call;
use chitin_conformance::in_process::start;
use chitin_conformance::subject::Root;
use chitin_conformance::suite::Kernel;

/// A line of `/proc/self/status` as a number.
fn own(key: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[test]
fn kernels_go_when_they_are_dropped() {
    let round = || {
        let kernel = start(Root::Overlay).unwrap();
        let k: &dyn Kernel = &kernel;
        assert_eq!(call!(k, GETPID), Ok(1));
    };
    (0..8).for_each(|_| round());
    let (threads, size) = (own("Threads:"), own("VmRSS:"));
    (0..64).for_each(|_| round());
    println!("threads {threads} -> {}, KiB {size} -> {}", own("Threads:"), own("VmRSS:"));
    assert!(own("Threads:") < threads + 16, "threads stay");
    assert!(own("VmRSS:") < size + 16_000, "memory stays");
}
