//! The auxiliary vector that `execve(2)` puts on a new stack: `getauxval(3)`.

pub use crate::consts::auxv::*;

c_struct! {
    /// `Elf64_auxv_t`: one entry.
    pub struct Auxv {
        pub key: u64,
        pub value: u64,
    }
}
