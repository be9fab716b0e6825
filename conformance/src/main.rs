//! The program of the conformance suite.

fn main() -> std::process::ExitCode {
    chitin_conformance::cli::main()
}
