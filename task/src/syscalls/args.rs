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
    /// Signed decimal of 32 bits.
    Signed,
    /// Signed decimal of 64 bits.
    Signed64,
    /// Unsigned decimal of 32 bits.
    Unsigned,
    /// Unsigned decimal of 64 bits.
    Unsigned64,
    /// Hexadecimal of 32 bits.
    Hex,
    /// Hexadecimal of 64 bits.
    Hex64,
    /// A descriptor, `AT_FDCWD` by name.
    Fd,
    /// A pointer to a path or another NUL-terminated string, printed as a string.
    Path,
    /// A pointer.
    Pointer,
    /// `O_…` flags.
    OpenFlags,
    /// Octal permission bits; left out behind open flags without `O_CREAT`.
    Mode,
    /// A signal by name.
    Signal,
    /// A pointer to bytes that the call reads; the next argument is their number.
    BytesIn,
    /// A pointer to bytes that the call writes; its result is their number.
    BytesOut,
    /// A pointer to a NULL-terminated array of strings.
    Strings,
    /// `PROT_…` flags.
    Protection,
    /// `MAP_…` flags.
    MapFlags,
    /// `SEEK_…`.
    Whence,
    /// `AT_…` flags.
    AtFlags,
    /// `CLOCK_…`.
    Clock,
    /// `RLIMIT_…`.
    Resource,
    /// A pointer to a signal set.
    SignalSet,
    /// A pointer to two 64-bit numbers: seconds and nanoseconds (or microseconds).
    Time,
    /// A pointer to two descriptors that the call writes (`pipe`).
    FdPair,
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

macro_rules! typed {
    ($($(#[$doc:meta])* $name:ident($inner:ty): $print:ident = |$register:ident| $value:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name(pub $inner);

            impl FromReg for $name {
                const PRINT: Print = Print::$print;
                fn from_reg($register: u64) -> Self {
                    Self($value)
                }
            }
        )*
    };
}

from_reg! {
    u64: Unsigned64 = |register| register;
    i64: Signed64 = |register| register.cast_signed();
    u32: Unsigned = |register| register as u32;
    i32: Signed = |register| register as i32;
    usize: Unsigned64 = |register| register as usize;
    GuestAddr: Pointer = |register| GuestAddr(register);
}

typed! {
    /// A descriptor, or `AT_FDCWD`.
    Fd(i32): Fd = |register| register as i32;
    /// A pointer to a NUL-terminated path.
    PathPtr(GuestAddr): Path = |register| GuestAddr(register);
    /// Flags of a call (`int`), printed in hexadecimal.
    Flags(u32): Hex = |register| register as u32;
    /// Flags of a call (`unsigned long`), printed in hexadecimal.
    LongFlags(u64): Hex64 = |register| register;
    /// The flags of open(2).
    OpenMode(u32): OpenFlags = |register| register as u32;
    /// File permission bits.
    Mode(u32): Mode = |register| register as u32;
    /// A signal number as the guest gave it.
    Signal(i32): Signal = |register| register as i32;
    /// Bytes that the call reads, their number in the next argument.
    BytesIn(GuestAddr): BytesIn = |register| GuestAddr(register);
    /// Bytes that the call writes, as many as its result says.
    BytesOut(GuestAddr): BytesOut = |register| GuestAddr(register);
    /// A NULL-terminated array of strings.
    Strings(GuestAddr): Strings = |register| GuestAddr(register);
    /// `PROT_…` flags.
    Protection(u32): Protection = |register| register as u32;
    /// `MAP_…` flags.
    MapFlags(u32): MapFlags = |register| register as u32;
    /// `SEEK_…`.
    Whence(u32): Whence = |register| register as u32;
    /// `AT_…` flags.
    AtFlags(u32): AtFlags = |register| register as u32;
    /// `CLOCK_…`, or a process's clock.
    Clock(i32): Clock = |register| register as i32;
    /// `RLIMIT_…`.
    Resource(u32): Resource = |register| register as u32;
    /// A pointer to a signal set.
    SignalSet(GuestAddr): SignalSet = |register| GuestAddr(register);
    /// A pointer to a `timespec`, or a `timeval`.
    Time(GuestAddr): Time = |register| GuestAddr(register);
    /// A pointer to two descriptors.
    FdPair(GuestAddr): FdPair = |register| GuestAddr(register);
}
