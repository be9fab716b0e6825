//! Guest memory that calls borrow for their buffers.
//!
//! ```text
//! start ── stack of signal handlers ── buffers of one call ── page before the edge ── edge: not accessible
//! ```

use chitin_mm::GuestMemory;

use super::guest::Stopped;
use super::memory::Memory;
use crate::suite::Arg;

const PAGE: u64 = 4096;
const STACK: u64 = 256 << 10;
const BUFFERS: u64 = 64 << 20;
/// Bytes of an arena; the last page is to be made inaccessible.
pub(super) const SIZE: u64 = STACK + BUFFERS + PAGE;

/// An address in the kernel's half.
const KERNEL: u64 = 0xffff_8000_0000_0000;

/// An arena of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arena {
    start: u64,
}

/// Buffers that are copied back behind the call: where, and to which argument.
type Outputs = Vec<(usize, u64)>;

impl Arena {
    /// One that begins here.
    pub(super) fn new(start: u64) -> Self {
        Self { start }
    }

    /// The stack pointer that its thread begins with.
    pub(super) fn stack(self) -> u64 {
        self.start + STACK - 128
    }

    /// The first byte that cannot be accessed.
    pub(super) fn edge(self) -> u64 {
        self.start + STACK + BUFFERS
    }

    /// Puts the arguments of a call into guest memory; the registers, and what is to be copied back.
    pub(super) fn put(
        self,
        memory: &Memory,
        args: &[Arg<'_>],
    ) -> Result<([u64; 6], Outputs), Stopped> {
        let mut registers = [0; 6];
        let mut outputs = Outputs::new();
        let mut next = self.start + STACK;
        for (index, (arg, register)) in args.iter().zip(&mut registers).enumerate() {
            let bytes = match arg {
                Arg::In(bytes) | Arg::EdgeIn(bytes) => *bytes,
                Arg::Out(bytes) | Arg::EdgeOut(bytes) => &**bytes,
                _ => &[],
            };
            let len = bytes.len() as u64;
            *register = match arg {
                Arg::Int(value) => *value,
                Arg::Null => 0,
                Arg::Bad => self.edge(),
                Arg::Kernel => KERNEL,
                Arg::Edge(count) => self.edge() - *count as u64,
                Arg::EdgeIn(_) | Arg::EdgeOut(_) => self.edge() - len,
                Arg::In(_) | Arg::Out(_) => {
                    let at = next;
                    next = (next + len).next_multiple_of(16);
                    at
                }
            };
            assert!(next + PAGE < self.edge(), "buffers of a call are larger than {BUFFERS} bytes");
            if !bytes.is_empty() {
                let put = memory.write(chitin_abi::GuestAddr(*register), bytes);
                put.map_err(|_| Stopped::Arena)?;
            }
            if matches!(arg, Arg::Out(_) | Arg::EdgeOut(_)) {
                outputs.push((index, *register));
            }
        }
        Ok((registers, outputs))
    }

    /// Copies back what the kernel wrote.
    pub(super) fn take(memory: &Memory, outputs: &Outputs, args: &mut [Arg<'_>]) {
        for (index, at) in outputs {
            if let Some(Arg::Out(bytes) | Arg::EdgeOut(bytes)) = args.get_mut(*index) {
                // A process that has ended has no memory, and nobody looks at what it read.
                let _ = memory.read(chitin_abi::GuestAddr(*at), bytes);
            }
        }
    }
}
