//! `runsc`: the OCI runtime in front of the Chitin application kernel.
#![deny(unsafe_code)]

fn main() {}
