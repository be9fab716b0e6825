//! Pointers that lead nowhere: each pointer of a call in turn, with everything else in order.

use core::ffi::CStr;

use chitin_abi::Errno;

use super::{Arg, Kernel};

/// An argument of a call that is made again and again with one of its pointers bad.
#[derive(Clone, Copy, Debug)]
pub enum Slot<'a> {
    /// No pointer.
    Value(u64),
    /// The null pointer, which stays null.
    Null,
    /// Memory that the kernel reads: these bytes when it is not the bad one.
    In(&'a [u8]),
    /// So many bytes that the kernel writes.
    Out(usize),
}

/// So many bytes that the kernel writes, for [`faults!`](crate::suite::faults).
pub fn out<'a>(size: usize) -> Slot<'a> {
    Slot::Out(size)
}

macro_rules! from_number {
    ($($number:ty),*) => {$(
        impl From<$number> for Slot<'_> {
            fn from(value: $number) -> Self {
                match Arg::from(value) {
                    Arg::Int(value) => Self::Value(value),
                    _ => Self::Null,
                }
            }
        }
    )*};
}
from_number!(i32, u32, i64, u64, usize);

impl<'a> From<&'a [u8]> for Slot<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::In(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Slot<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::In(bytes)
    }
}

impl<'a> From<&'a CStr> for Slot<'a> {
    fn from(text: &'a CStr) -> Self {
        Self::In(text.to_bytes_with_nul())
    }
}

/// How a pointer is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Badness {
    /// An address that is not mapped.
    Unmapped,
    /// An address in the kernel's half.
    Kernel,
    /// Mapped for the first half of what it points to, then not: a path has no end then, a structure lacks fields.
    Half,
}

/// Asserts that the call fails with `EFAULT` when any one of its pointers is bad in any of these ways.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn assert_faults(k: &dyn Kernel, number: u64, slots: &[Slot<'_>], ways: &[Badness]) {
    for index in 0..slots.len() {
        if !matches!(slots[index], Slot::In(_) | Slot::Out(_)) {
            continue;
        }
        for way in ways {
            let result = call_with_bad(k, number, slots, index, *way);
            assert_eq!(
                result,
                Err(Errno::EFAULT),
                "call {number}: argument {index} is bad: {way:?}"
            );
        }
    }
}

fn call_with_bad(
    k: &dyn Kernel,
    number: u64,
    slots: &[Slot<'_>],
    bad: usize,
    way: Badness,
) -> chitin_abi::Result<u64> {
    let mut buffers: Vec<Vec<u8>> = slots.iter().map(buffer).collect();
    let args = slots.iter().zip(&mut buffers).enumerate();
    let mut args: Vec<Arg<'_>> = args
        .map(|(index, (slot, buffer))| match slot {
            Slot::Value(value) => Arg::Int(*value),
            Slot::Null => Arg::Null,
            Slot::In(_) | Slot::Out(_) if index != bad => Arg::Out(buffer),
            Slot::In(bytes) => bad_arg(way, bytes),
            Slot::Out(_) => bad_arg(way, buffer),
        })
        .collect();
    k.call(number, &mut args)
}

fn buffer(slot: &Slot<'_>) -> Vec<u8> {
    match slot {
        Slot::In(bytes) => bytes.to_vec(),
        Slot::Out(size) => vec![0; *size],
        Slot::Value(_) | Slot::Null => Vec::new(),
    }
}

fn bad_arg(way: Badness, bytes: &[u8]) -> Arg<'_> {
    match way {
        Badness::Unmapped => Arg::Bad,
        Badness::Kernel => Arg::Kernel,
        Badness::Half => Arg::EdgeIn(&bytes[..bytes.len() / 2]),
    }
}

/// `faults!(k, NUMBER, arg, …)`: with any one of its pointers unmapped or in the kernel's half, the call fails with
/// `EFAULT`. Buffers that the kernel writes are `out(size)`; byte slices and C strings are those that it reads.
#[macro_export]
macro_rules! faults {
    ($kernel:expr, $number:ident $(, $arg:expr)* $(,)?) => {
        $crate::suite::assert_faults(
            $kernel,
            ::chitin_abi::nr::$number,
            &[$($crate::suite::Slot::from($arg)),*],
            &[$crate::suite::Badness::Unmapped, $crate::suite::Badness::Kernel],
        )
    };
}

/// The same with each pointer mapped for the first half of its bytes only. Not for calls that do a part of their
/// work then (`read`, `write`).
#[macro_export]
macro_rules! half_faults {
    ($kernel:expr, $number:ident $(, $arg:expr)* $(,)?) => {
        $crate::suite::assert_faults(
            $kernel,
            ::chitin_abi::nr::$number,
            &[$($crate::suite::Slot::from($arg)),*],
            &[$crate::suite::Badness::Half],
        )
    };
}
