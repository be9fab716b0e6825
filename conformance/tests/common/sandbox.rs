//! The sandbox of the tests that have one.

use std::path::{Path, PathBuf};

/// The program of the sandbox: `$CHITIN_RUNSC`, or the release build of this workspace.
pub fn runsc() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/runsc");
    std::env::var_os("CHITIN_RUNSC").map_or(built, PathBuf::from).canonicalize().ok()
}
