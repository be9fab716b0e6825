//! The seam between test bodies and a kernel: one call with typed arguments.

use chitin_abi::Result;

/// An argument of a system call. Pointers are buffers or addresses that are known to be bad, so a body cannot
/// make the kernel write over its own memory.
#[derive(Debug)]
pub enum Arg<'a> {
    /// A number, flag word or descriptor.
    Int(u64),
    /// Memory that the kernel reads.
    In(&'a [u8]),
    /// Memory that the kernel reads and writes.
    Out(&'a mut [u8]),
    /// The null pointer.
    Null,
    /// An address that is not mapped.
    Bad,
    /// An address in the kernel's half.
    Kernel,
    /// The last `n` mapped bytes before an unmapped page: half-mapped buffers. What they hold is not said.
    Edge(usize),
    /// These bytes, right before an unmapped page: a structure or string that is cut off. At most a page.
    EdgeIn(&'a [u8]),
    /// The same for memory that the kernel writes; what stands there after the call is copied back.
    EdgeOut(&'a mut [u8]),
}

impl From<i32> for Arg<'_> {
    fn from(value: i32) -> Self {
        Self::Int(i64::from(value).cast_unsigned())
    }
}

impl From<u32> for Arg<'_> {
    fn from(value: u32) -> Self {
        Self::Int(u64::from(value))
    }
}

impl From<u64> for Arg<'_> {
    fn from(value: u64) -> Self {
        Self::Int(value)
    }
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value.cast_unsigned())
    }
}

impl From<usize> for Arg<'_> {
    fn from(value: usize) -> Self {
        Self::Int(value as u64)
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::In(value)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Arg<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::In(value)
    }
}

impl<'a> From<&'a mut [u8]> for Arg<'a> {
    fn from(value: &'a mut [u8]) -> Self {
        Self::Out(value)
    }
}

impl<'a, const N: usize> From<&'a mut [u8; N]> for Arg<'a> {
    fn from(value: &'a mut [u8; N]) -> Self {
        Self::Out(value)
    }
}

impl<'a> From<&'a std::ffi::CStr> for Arg<'a> {
    fn from(value: &'a std::ffi::CStr) -> Self {
        Self::In(value.to_bytes_with_nul())
    }
}

/// Memory that a test mapped; unmapped when it is dropped.
pub trait Mapping {
    /// Its address.
    fn address(&self) -> u64;
    /// Reads the byte at an offset.
    fn get(&self, offset: usize) -> u8;
    /// Writes the byte at an offset.
    fn set(&self, offset: usize, value: u8);

    /// The bytes from an offset on.
    fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        (offset..offset + length).map(|at| self.get(at)).collect()
    }

    /// Writes bytes from an offset on.
    fn write(&self, offset: usize, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            self.set(at, *byte);
        }
    }
}

/// A kernel that answers system calls.
pub trait Kernel: Sync {
    /// Makes `handler` calls of this signal counted ([`Kernel::caught`]), with these `SA_…` flags.
    ///
    /// # Errors
    /// What the kernel answers.
    fn catch(&self, signal: u32, flags: u64) -> Result<()>;

    /// How often the handler of a signal has run, and the `si_code` and `si_value` of its last run.
    fn caught(&self, signal: u32) -> (u32, i32, u64);

    /// `mmap(2)` at an address of the kernel's choice.
    ///
    /// # Errors
    /// What the kernel answers.
    fn map(
        &self,
        length: usize,
        rights: u32,
        flags: u32,
        fd: i32,
        offset: u64,
    ) -> Result<Box<dyn Mapping>>;

    /// Makes the call of this number (`chitin_abi::nr`).
    ///
    /// # Errors
    /// What the kernel answers.
    fn call(&self, number: u64, args: &mut [Arg<'_>]) -> Result<u64>;

    /// Makes a child process that runs `body` and exits with what it returns; gives the child's id.
    ///
    /// # Errors
    /// What the kernel answers.
    fn fork(&self, body: &mut dyn FnMut() -> i32) -> Result<i32>;

    /// Runs `other` on a new thread of this process while `own` runs on this one; returns when both have ended
    /// ([`Threads::beside`](super::Threads::beside) is the comfortable form).
    ///
    /// # Panics
    /// When one of them does, or no thread can be made.
    fn run_beside(&self, other: &mut (dyn FnMut() + Send), own: &mut dyn FnMut());
}

/// Makes a call: `call!(k, NUMBER, arg, …)`, each argument being anything that converts to an [`Arg`].
#[macro_export]
macro_rules! call {
    ($kernel:expr, $number:ident $(, $arg:expr)* $(,)?) => {
        $kernel.call(::chitin_abi::nr::$number, &mut [$($crate::suite::Arg::from($arg)),*])
    };
}
