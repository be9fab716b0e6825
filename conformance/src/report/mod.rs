//! What is told of a run: as a table, as JSON, as JUnit's XML; and how two runs differ.

mod compare;
mod json;
mod junit;
mod summary;
mod table;

pub use compare::{Difference, differences};
pub use json::{Entry, Report};
pub use junit::junit;
pub use summary::{Counts, by_family, total};
pub use table::table;
