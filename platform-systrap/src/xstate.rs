//! Extended (XSAVE) state: what a signal frame holds beyond the general registers.
//!
//! The kernel refuses a frame whose state the processor would not load, by killing the process. So a state
//! that comes from a guest is checked before it goes into a frame.

use chitin_abi::{Errno, Result};

/// Bytes of the legacy area.
const LEGACY: usize = 512;
/// Bytes of the legacy area and the XSAVE header.
pub const MINIMUM: usize = LEGACY + 64;
const MXCSR: usize = 24;
const MXCSR_MASK: usize = 28;
/// The kernel's note at the end of the legacy area (`struct _fpx_sw_bytes`).
const NOTE: usize = 464;
const MAGIC1: u32 = 0x4650_5853;
/// What stands behind the area.
pub const MAGIC2: u32 = 0x4650_5845;

/// The shape of this host's extended state.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Features that a frame can hold.
    pub features: u64,
    /// Bytes, without the trailing magic word.
    pub size: usize,
    /// Bits of MXCSR that exist.
    pub mxcsr_mask: u32,
}

fn put32(state: &mut [u8], at: usize, value: u32) {
    if let Some(place) = state.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}

fn put64(state: &mut [u8], at: usize, value: u64) {
    if let Some(place) = state.get_mut(at..at + 8) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}

fn get64(state: &[u8], at: usize) -> u64 {
    state.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
}

impl Shape {
    /// The state of a new thread.
    pub fn initial(&self) -> Vec<u8> {
        let mut state = vec![0; self.size];
        put32(&mut state, 0, 0x37f);
        put32(&mut state, MXCSR, 0x1f80);
        put32(&mut state, MXCSR_MASK, self.mxcsr_mask);
        self.note(&mut state);
        state
    }

    /// Writes the kernel's note, so that the state can go into a signal frame as it is.
    pub fn note(&self, state: &mut [u8]) {
        put32(state, NOTE, MAGIC1);
        put32(state, NOTE + 4, self.size as u32 + 4);
        put64(state, NOTE + 8, self.features);
        put32(state, NOTE + 16, self.size as u32);
    }

    /// A state that the processor will load, made of one that may come from anywhere: as long as the frame's,
    /// with the kernel's note. Shorter ones end after a header, and what they lack is initial.
    ///
    /// # Errors
    /// EINVAL: features that this host lacks, the compacted format, reserved bits, a bad length.
    pub fn checked(&self, state: &[u8]) -> Result<Vec<u8>> {
        if state.is_empty() {
            return Ok(self.initial());
        }
        if state.len() < LEGACY {
            return Err(Errno::EINVAL);
        }
        let mut full = vec![0; self.size];
        let len = state.len().min(full.len());
        if let (Some(to), Some(from)) = (full.get_mut(..len), state.get(..len)) {
            to.copy_from_slice(from);
        }
        if state.len() < MINIMUM {
            put64(&mut full, LEGACY, 3);
            for at in (LEGACY + 8..MINIMUM).step_by(8) {
                put64(&mut full, at, 0);
            }
        }
        let present = get64(&full, LEGACY);
        let reserved = (LEGACY + 8..MINIMUM).step_by(8).any(|at| get64(&full, at) != 0);
        if present & !self.features != 0 || reserved {
            return Err(Errno::EINVAL);
        }
        let mxcsr = get64(&full, MXCSR) as u32;
        if mxcsr & !self.mxcsr_mask != 0 {
            return Err(Errno::EINVAL);
        }
        // A short state holds only the features whose space it has.
        if state.len() < self.size {
            put64(&mut full, LEGACY, present & 3);
        }
        put32(&mut full, MXCSR_MASK, self.mxcsr_mask);
        self.note(&mut full);
        Ok(full)
    }
}

#[cfg(test)]
mod tests {
    use super::{LEGACY, MINIMUM, MXCSR, Shape, put32, put64};
    use chitin_abi::Errno;

    const SHAPE: Shape = Shape { features: 7, size: 832, mxcsr_mask: 0xffff };

    #[test]
    fn initial_state_is_accepted() {
        assert_eq!(SHAPE.checked(&SHAPE.initial()), Ok(SHAPE.initial()));
        assert_eq!(SHAPE.checked(&[]), Ok(SHAPE.initial()));
    }

    #[test]
    fn bad_headers_are_refused() {
        for (at, value) in [(LEGACY, 8), (LEGACY + 8, 1 << 63), (MINIMUM - 8, 1)] {
            let mut state = SHAPE.initial();
            put64(&mut state, at, value);
            assert_eq!(SHAPE.checked(&state), Err(Errno::EINVAL));
        }
        let mut state = SHAPE.initial();
        put32(&mut state, MXCSR, 0x1_1f80);
        assert_eq!(SHAPE.checked(&state), Err(Errno::EINVAL));
        assert_eq!(SHAPE.checked(&[0; 100]), Err(Errno::EINVAL));
    }

    #[test]
    fn legacy_state_is_completed() {
        let state = SHAPE.checked(&SHAPE.initial()[..LEGACY]).expect("a legacy state");
        assert_eq!((state.len(), state[LEGACY]), (SHAPE.size, 3));
    }
}
