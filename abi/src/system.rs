//! The machine: `uname(2)`, `sysinfo(2)`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use crate::arch::{MACHINE, TASK_SIZE};
pub use crate::consts::system::*;
pub use crate::consts::uio::{GRND_INSECURE, GRND_NONBLOCK, GRND_RANDOM};

/// `struct new_utsname`: NUL-terminated strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "the fields are those of the C structure")]
pub struct Utsname {
    pub sysname: [u8; 65],
    pub nodename: [u8; 65],
    pub release: [u8; 65],
    pub version: [u8; 65],
    pub machine: [u8; 65],
    pub domainname: [u8; 65],
}

c_struct! {
    /// `struct sysinfo`.
    pub struct Sysinfo {
        pub uptime: i64,
        pub loads: [u64; 3],
        pub totalram: u64,
        pub freeram: u64,
        pub sharedram: u64,
        pub bufferram: u64,
        pub totalswap: u64,
        pub freeswap: u64,
        pub procs: u16,
        pub pad: u16,
        pub pad1: u32,
        pub totalhigh: u64,
        pub freehigh: u64,
        pub mem_unit: u32,
        pub pad2: u32,
    }
}

/// Longest string in [`Utsname`], without its NUL.
pub const UTS_LEN: usize = 64;
/// `sysinfo(2)` counts load in fractions of this.
pub const SI_LOAD_SHIFT: u32 = 16;

impl Default for Utsname {
    fn default() -> Self {
        let empty = [0; UTS_LEN + 1];
        Self {
            sysname: empty,
            nodename: empty,
            release: empty,
            version: empty,
            machine: empty,
            domainname: empty,
        }
    }
}

/// A field of [`Utsname`]: the text, cut at [`UTS_LEN`], and zeros.
pub fn uts_field(text: &[u8]) -> [u8; UTS_LEN + 1] {
    let mut field = [0; UTS_LEN + 1];
    for (to, from) in field.iter_mut().take(UTS_LEN).zip(text) {
        *to = *from;
    }
    field
}
