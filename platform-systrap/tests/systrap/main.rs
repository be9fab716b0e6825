//! The platform with guests of a few instructions each, against the real host.

mod carry;
mod common;
mod futexes;
mod guests;
mod hostile;
mod lifetime;
mod luggage;
mod memory;
mod patched;
mod reused;
mod shared_code;
