//! What is told of a run: as a table, as JSON, as JUnit's XML; and how two runs differ.

mod compare;
mod coverage;
mod json;
mod junit;
mod summary;
mod table;

pub use compare::{Difference, differences};
pub use coverage::{Tests, by_call, from_lines, to_lines};
pub use json::{Entry, Report};
pub use junit::junit;
pub use summary::{Counts, by_family, total};
pub use table::table;
