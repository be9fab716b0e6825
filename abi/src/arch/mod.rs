//! What depends on the processor. The other modules re-export it, so that nobody names this one.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the tables of this processor are not written yet: see `arch/x86_64`");
