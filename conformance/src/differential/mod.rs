//! Random programs of system calls, run on an oracle and on a subject, which must answer the same.
//!
//! Model: a [`Program`] is a list of operations of one [`Area`] (files, memory, …), made from a seed. Running it
//! through the facade ([`Program::run`]) gives a transcript: one line per operation with its result, then what state
//! there is in the end. Nothing in a transcript depends on the kernel's choices (addresses, inode numbers, times), so
//! two kernels that behave alike give the same lines. Each run has a process and an empty directory of its own.
//!
//! Where transcripts differ the program is made smaller as long as they do ([`find`]), and kept under `regressions/`
//! as JSON, from where it is run ever after.

mod compare;
mod files;
mod listing;
mod memory;
mod program;
mod readiness;
mod signals;
mod sockets;
mod table;

pub use compare::{Difference, Runner, Site, find, replay};
pub use program::{Area, Program};
