//! Everything of this crate that the compiler cannot check.

#![allow(unsafe_code, reason = "unsafe code lives in modules named raw")]

pub mod arena;
pub mod host;
pub mod text;
pub mod zygote;
