//! Typed system-call arguments: how a register becomes what a handler takes.
//!
//! Decoding never fails: what a type cannot hold is cut off as the C prototype of the kernel would
//! (`int fd` looks at 32 bits). Whether a value makes sense is the handler's question.

use chitin_abi::GuestAddr;

/// A register read as an argument.
pub trait FromReg: Sized {
    /// How strace prints it.
    const PRINT: Print;

    /// The argument in this register.
    fn from_reg(register: u64) -> Self;
}

/// How an argument is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Print {
    /// Signed decimal.
    Signed,
    /// Unsigned decimal.
    Unsigned,
    /// Hexadecimal.
    Hex,
    /// A descriptor, `AT_FDCWD` by name.
    Fd,
    /// A pointer to a path, printed as a string.
    Path,
    /// A pointer.
    Pointer,
    /// `O_…` flags.
    OpenFlags,
    /// Octal permission bits.
    Mode,
    /// A signal by name.
    Signal,
}

macro_rules! from_reg {
    ($($type:ty: $print:ident = |$register:ident| $value:expr;)*) => {
        $(impl FromReg for $type {
            const PRINT: Print = Print::$print;
            fn from_reg($register: u64) -> Self {
                $value
            }
        })*
    };
}

from_reg! {
    u64: Unsigned = |register| register;
    i64: Signed = |register| register.cast_signed();
    u32: Unsigned = |register| register as u32;
    i32: Signed = |register| register as i32;
    usize: Unsigned = |register| register as usize;
    GuestAddr: Pointer = |register| GuestAddr(register);
    Fd: Fd = |register| Fd(register as i32);
    PathPtr: Path = |register| PathPtr(GuestAddr(register));
    Flags: Hex = |register| Flags(register as u32);
    OpenMode: OpenFlags = |register| OpenMode(register as u32);
    Mode: Mode = |register| Mode(register as u32);
    Signal: Signal = |register| Signal(register as i32);
}

/// A descriptor, or `AT_FDCWD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fd(pub i32);

/// A pointer to a NUL-terminated path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathPtr(pub GuestAddr);

/// Flags of a call, printed in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

/// The flags of open(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenMode(pub u32);

/// File permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

/// A signal number as the guest gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub i32);
