//! Links `runsc` statically where that can be done.
//!
//! Each start then does without a dynamic linker: a third of a millisecond of a whole start of four, and 200 KiB.
//! No name service is needed, nor anything else that a static C library lacks. The target's own switch for it
//! (`crt-static`) holds for proc-macros too, which cannot be built so; so the linker is told, and finds
//! the static libraries under the names of the shared ones.
//!
//! `CHITIN_LINK=dynamic` in the environment turns it off.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// What is asked for by name, and what it is taken from.
const LIBRARIES: [(&str, &str); 3] = [
    ("c", "GROUP(-l:libc.a -l:libgcc_eh.a -l:libgcc.a)"),
    ("gcc_s", "GROUP(-l:libgcc_eh.a -l:libgcc.a -l:libc.a)"),
    ("m", "INPUT(-l:libm.a)"),
];

/// Whether the C compiler knows where this library is.
fn is_there(name: &str) -> bool {
    let output = Command::new("cc").arg(format!("-print-file-name={name}")).output();
    output.is_ok_and(|output| {
        let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        path.is_absolute() && path.exists()
    })
}

fn is_wanted() -> bool {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let is_native = env::var("HOST").ok() == env::var("TARGET").ok();
    is_native
        && is("TARGET", "x86_64-unknown-linux-gnu")
        && !is("CHITIN_LINK", "dynamic")
        && ["libc.a", "libm.a", "libgcc.a", "libgcc_eh.a"].into_iter().all(is_there)
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CHITIN_LINK");
    let Some(directory) = env::var_os("OUT_DIR").filter(|_| is_wanted()) else { return };
    let written = LIBRARIES.iter().all(|(name, text)| {
        fs::write(Path::new(&directory).join(format!("lib{name}.so")), text).is_ok()
    });
    if written {
        println!("cargo:rustc-link-arg-bins=-L{}", directory.display());
        println!("cargo:rustc-link-arg-bins=-static-pie");
    }
}
