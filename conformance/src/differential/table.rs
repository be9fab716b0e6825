//! Descriptors that programs name by number, and how results are written down.

use core::fmt::Display;

use chitin_abi::Result;

use crate::suite::{Calls, Fd, Kernel};

/// How many descriptors a program has.
pub(super) const SLOTS: u8 = 5;

/// The open descriptors of a program.
#[derive(Default)]
pub(super) struct Slots {
    fds: [Option<Fd>; SLOTS as usize],
}

impl Slots {
    /// The descriptor of a slot; one that is never open where it is empty.
    pub(super) fn get(&self, slot: u8) -> Fd {
        self.fds.get(usize::from(slot)).copied().flatten().unwrap_or(-1)
    }

    /// Puts the result of an `open` into a slot, whose old descriptor is closed.
    pub(super) fn put(&mut self, k: &dyn Kernel, slot: u8, fd: Result<Fd>) -> Result<&'static str> {
        let fd = fd?;
        if let Some(place) = self.fds.get_mut(usize::from(slot))
            && let Some(old) = place.replace(fd)
        {
            k.close(old)?;
        }
        Ok("open")
    }

    /// Closes a slot.
    pub(super) fn close(&mut self, k: &dyn Kernel, slot: u8) -> Result<()> {
        match self.fds.get_mut(usize::from(slot)).and_then(Option::take) {
            Some(fd) => k.close(fd),
            None => k.close(-1),
        }
    }

    /// Closes all.
    pub(super) fn close_all(&mut self, k: &dyn Kernel) {
        for slot in 0..SLOTS {
            // What is not open needs no closing.
            let _ = self.close(k, slot);
        }
    }
}

/// A result in one word.
pub(super) fn show<T: Display>(result: Result<T>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(errno) => format!("{errno:?}"),
    }
}

/// A result without a value.
pub(super) fn done<T>(result: Result<T>) -> String {
    show(result.map(|_| "ok"))
}

/// Bytes as text: their number, and the first few as runs.
pub(super) fn bytes(bytes: &[u8]) -> String {
    let mut text = format!("{} bytes", bytes.len());
    for run in bytes.chunk_by(|one, other| one == other).take(12) {
        text += &format!(" {:02x}x{}", run[0], run.len());
    }
    text
}
