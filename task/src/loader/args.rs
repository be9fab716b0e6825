//! Reading the argument and environment vectors of `execve(2)`, within its limits.

use chitin_abi::process::MAX_ARG_STRLEN;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;
use chitin_mm::guest_memory::read_cstring;

/// The least that arguments may take, whatever the stack's limit (`ARG_MAX`).
const ARG_MAX: u64 = 131_072;
/// Three quarters of the default stack.
const MOST: u64 = (8 << 20) / 4 * 3;

/// How many bytes arguments and environment may still take.
#[derive(Clone, Copy, Debug)]
pub struct ArgBudget {
    left: u64,
}

impl ArgBudget {
    /// What a process with this `RLIMIT_STACK` may pass.
    pub fn new(stack_limit: u64) -> Self {
        Self { left: (stack_limit / 4).clamp(ARG_MAX, MOST) }
    }

    /// Takes a string with its NUL and its pointer.
    ///
    /// # Errors
    /// E2BIG.
    pub fn take(&mut self, string: &[u8]) -> Result<()> {
        if string.len() >= MAX_ARG_STRLEN {
            return Err(Errno::E2BIG);
        }
        let size = string.len() as u64 + 1 + 8;
        self.left = self.left.checked_sub(size).ok_or(Errno::E2BIG)?;
        Ok(())
    }
}

/// Reads a NULL-terminated array of strings; a null array is an empty one.
///
/// # Errors
/// EFAULT, E2BIG.
pub fn read_strings(
    memory: &dyn GuestMemory,
    array: GuestAddr,
    budget: &mut ArgBudget,
) -> Result<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    if array.is_null() {
        return Ok(strings);
    }
    let mut pointers = PointerArray { memory, next: array, buffer: [0; 256], filled: 0, used: 0 };
    while let Some(pointer) = pointers.next()? {
        let string =
            read_cstring(memory, pointer, MAX_ARG_STRLEN).map_err(|errno| match errno {
                Errno::ENAMETOOLONG => Errno::E2BIG,
                other => other,
            })?;
        budget.take(&string)?;
        strings.push(string);
    }
    Ok(strings)
}

/// Reads pointers a few at a time, never beyond what is readable.
struct PointerArray<'a> {
    memory: &'a dyn GuestMemory,
    next: GuestAddr,
    buffer: [u8; 256],
    filled: usize,
    used: usize,
}

impl PointerArray<'_> {
    fn next(&mut self) -> Result<Option<GuestAddr>> {
        if self.filled - self.used < 8 {
            self.filled = self.memory.read_partial(self.next, &mut self.buffer)?;
            self.used = 0;
        }
        let bytes = self.buffer.get(self.used..self.filled).and_then(|bytes| bytes.first_chunk());
        let pointer = u64::from_ne_bytes(*bytes.ok_or(Errno::EFAULT)?);
        self.used += 8;
        self.next = self.next.checked_add(8).ok_or(Errno::EFAULT)?;
        Ok((pointer != 0).then_some(GuestAddr(pointer)))
    }
}
