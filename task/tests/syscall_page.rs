//! `docs/syscalls.md` is the table, as it is now.
//!
//! `CHITIN_BLESS=1 cargo test -p chitin-task --test syscall_page` writes it anew.

use std::fmt::Write;
use std::path::Path;

use chitin_task::syscalls::{SYSCALLS, Support, listing};

fn page() -> String {
    let count =
        |wanted: fn(&Support) -> bool| SYSCALLS.iter().filter(|call| wanted(&call.support)).count();
    let full = count(|support| matches!(support, Support::Full));
    let partial = count(|support| matches!(support, Support::Partial(_)));
    let mut text = String::new();
    let _ = write!(
        text,
        "# System calls\n\nOf the {} system calls of x86_64, {full} are full, {partial} partial (the note says what is \
         missing), and {} always fail with the error in the note, as on a kernel without that feature. Other numbers \
         fail with `ENOSYS`. `runsc help syscalls` prints the same; a call that is not supported is counted, and named \
         once in the log.\n\n```text\n{}```\n",
        SYSCALLS.len(),
        SYSCALLS.len() - full - partial,
        listing::table_text(),
    );
    text
}

#[test]
fn page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/syscalls.md");
    if std::env::var_os("CHITIN_BLESS").is_some() {
        std::fs::write(&path, page()).expect("docs/syscalls.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page(),
        "docs/syscalls.md is stale: set CHITIN_BLESS=1 and run this test again"
    );
}
