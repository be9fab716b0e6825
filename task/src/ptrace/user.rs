//! Registers as tracers see them: `struct user`, `struct user_regs_struct`, `struct user_fpregs_struct`, XSAVE.
//!
//! References: `arch/x86/kernel/ptrace.c`, `sys/user.h`.

use chitin_abi::signal::{FPX_SW_BYTES_OFFSET, FXSAVE_SIZE};
use chitin_abi::system::TASK_SIZE;
use chitin_abi::{Errno, Regs, Result};
use zerocopy::{FromBytes, IntoBytes};

/// Bytes of `struct user`.
const USER_SIZE: u64 = 928;
/// Where the debug registers lie in it.
const DEBUG_START: u64 = 848;
const DEBUG_END: u64 = DEBUG_START + 64;
/// Flags that a tracer may change.
const FLAGS: u64 = 0x5_4dd5;

const ORIG_RAX: u64 = 15;
const CS: u64 = 17;
const EFLAGS: u64 = 18;
const SS: u64 = 20;
const FS_BASE: u64 = 21;
const GS_BASE: u64 = 22;
const DS: u64 = 23;
const GS: u64 = 26;

/// Bytes of the general registers.
pub const REGS_SIZE: u64 = size_of::<Regs>() as u64;

/// `PTRACE_PEEKUSR`.
///
/// # Errors
/// EIO outside of the structure, and where no register starts.
pub fn peek(regs: &Regs, offset: u64) -> Result<u64> {
    if !offset.is_multiple_of(8) || offset >= USER_SIZE {
        return Err(Errno::EIO);
    }
    let bytes = usize::try_from(offset).ok().and_then(|at| regs.as_bytes().get(at..at + 8));
    // What is not a general register is zero.
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes))
}

/// `PTRACE_POKEUSR`.
///
/// # Errors
/// EIO for what cannot be changed.
pub fn poke(regs: &mut Regs, offset: u64, value: u64) -> Result<()> {
    if !offset.is_multiple_of(8) || offset >= USER_SIZE {
        return Err(Errno::EIO);
    }
    if offset < REGS_SIZE {
        return put(regs, offset / 8, value);
    }
    Err(Errno::EIO)
}

/// The debug register that lies at an offset of the structure.
pub fn debug_index(offset: u64) -> Option<usize> {
    let inside = (DEBUG_START..DEBUG_END).contains(&offset) && offset.is_multiple_of(8);
    if inside { usize::try_from((offset - DEBUG_START) / 8).ok() } else { None }
}

fn put(regs: &mut Regs, index: u64, value: u64) -> Result<()> {
    let value = match index {
        FS_BASE | GS_BASE if value >= TASK_SIZE => return Err(Errno::EIO),
        CS | SS | DS..=GS => {
            // A selector is one of user mode, or null.
            let value = value & 0xffff;
            let bad = if value == 0 { index == CS || index == SS } else { value & 3 != 3 };
            if bad {
                return Err(Errno::EIO);
            }
            value
        }
        EFLAGS => regs.eflags & !FLAGS | value & FLAGS,
        _ => value,
    };
    let at = usize::try_from(index.saturating_mul(8)).map_err(|_| Errno::EIO)?;
    let slot = regs.as_mut_bytes().get_mut(at..at.saturating_add(8)).ok_or(Errno::EIO)?;
    slot.copy_from_slice(&value.to_ne_bytes());
    Ok(())
}

/// Loads as many registers as there are whole words.
///
/// # Errors
/// EIO for a value that no register can have; those before it have been loaded.
pub fn load(regs: &mut Regs, bytes: &[u8]) -> Result<()> {
    for (index, word) in bytes.chunks_exact(8).take(27).enumerate() {
        let value = u64::read_from_bytes(word).map_err(|_| Errno::EIO)?;
        put(regs, index as u64, value)?;
    }
    Ok(())
}

/// Whether these registers are those of a task in a system call.
pub fn in_call(regs: &Regs) -> bool {
    regs.as_bytes()
        .chunks_exact(8)
        .nth(ORIG_RAX as usize)
        .and_then(|word| i64::read_from_bytes(word).ok())
        .is_some_and(|number| number >= 0)
}

/// `struct user_fpregs_struct` out of an extended state.
pub fn legacy(state: &[u8]) -> Vec<u8> {
    let mut legacy = state.get(..FXSAVE_SIZE).map_or_else(|| vec![0; FXSAVE_SIZE], <[u8]>::to_vec);
    if let Some(words) = legacy.get_mut(FPX_SW_BYTES_OFFSET..) {
        words.fill(0);
    }
    legacy
}

fn word(state: &[u8], at: usize) -> u64 {
    let bytes = state.get(at..at.saturating_add(8)).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_ne_bytes)
}

/// The features that the state has room for.
fn features(state: &[u8]) -> u64 {
    word(state, FPX_SW_BYTES_OFFSET + 8) | 3
}

/// The XSAVE area as tracers see it: the features stand where a signal frame has the kernel's words.
pub fn xstate(mut state: Vec<u8>) -> Vec<u8> {
    let features = features(&state);
    if let Some(words) = state.get_mut(FPX_SW_BYTES_OFFSET..FXSAVE_SIZE) {
        words.fill(0);
        if let Some(first) = words.get_mut(..8) {
            first.copy_from_slice(&features.to_ne_bytes());
        }
    }
    state
}

const MXCSR: usize = 24;

fn check_mxcsr(old: &[u8], new: &[u8]) -> Result<()> {
    let mask = (word(old, MXCSR) >> 32) as u32;
    let mask = if mask == 0 { 0xffbf } else { mask };
    if word(new, MXCSR) as u32 & !mask != 0 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// An extended state with another legacy area, of which `new` is the beginning.
///
/// # Errors
/// EINVAL for control bits that do not exist.
pub fn with_legacy(mut state: Vec<u8>, new: &[u8]) -> Result<Vec<u8>> {
    let new = new.get(..new.len().min(FPX_SW_BYTES_OFFSET)).unwrap_or_default();
    let mut legacy = legacy(&state);
    if let Some(start) = legacy.get_mut(..new.len()) {
        start.copy_from_slice(new);
    }
    check_mxcsr(&state, &legacy)?;
    // The mask of the control word is the processor's.
    if let (Some(to), Some(from)) = (state.get_mut(..MXCSR + 4), legacy.get(..MXCSR + 4)) {
        to.copy_from_slice(from);
    }
    let rest = MXCSR + 8..FPX_SW_BYTES_OFFSET;
    if let (Some(to), Some(from)) = (state.get_mut(rest.clone()), legacy.get(rest)) {
        to.copy_from_slice(from);
    }
    let present = word(&state, FXSAVE_SIZE) | 3;
    if let Some(header) = state.get_mut(FXSAVE_SIZE..FXSAVE_SIZE + 8) {
        header.copy_from_slice(&present.to_ne_bytes());
    }
    Ok(state)
}

/// Another XSAVE area of the same size.
///
/// # Errors
/// EFAULT for another size, EINVAL for what the processor would not load.
pub fn with_xstate(old: &[u8], new: &[u8]) -> Result<Vec<u8>> {
    if new.len() != old.len() {
        return Err(Errno::EFAULT);
    }
    let reserved = (FXSAVE_SIZE + 8..FXSAVE_SIZE + 64).step_by(8).any(|at| word(new, at) != 0);
    if reserved || word(new, FXSAVE_SIZE) & !features(old) != 0 {
        return Err(Errno::EINVAL);
    }
    check_mxcsr(old, new)?;
    let mut state = new.to_vec();
    let words = FPX_SW_BYTES_OFFSET..FXSAVE_SIZE;
    if let (Some(to), Some(from)) = (state.get_mut(words.clone()), old.get(words)) {
        to.copy_from_slice(from);
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_lie_where_the_structure_has_them() {
        let mut regs = Regs { rip: 5, orig_rax: 7, ..Regs::default() };
        assert_eq!((peek(&regs, 16 * 8), peek(&regs, 15 * 8)), (Ok(5), Ok(7)));
        assert_eq!(poke(&mut regs, 15 * 8, u64::MAX), Ok(()));
        assert!(!in_call(&regs));
        assert_eq!(peek(&regs, DEBUG_START), Ok(0));
        assert_eq!((peek(&regs, 1), peek(&regs, USER_SIZE)), (Err(Errno::EIO), Err(Errno::EIO)));
    }

    #[test]
    fn only_some_flags_change() {
        let mut regs = Regs { eflags: 0x202, cs: 0x33, ..Regs::default() };
        poke(&mut regs, EFLAGS * 8, 0x3101).expect("any value is taken");
        assert_eq!(regs.eflags, 0x303);
        assert_eq!(poke(&mut regs, CS * 8, 0x10), Err(Errno::EIO));
        assert_eq!(poke(&mut regs, FS_BASE * 8, u64::MAX), Err(Errno::EIO));
    }

    #[test]
    fn a_new_xsave_area_is_checked() {
        let mut state = vec![0; 832];
        state[28..32].copy_from_slice(&0xffff_u32.to_ne_bytes());
        state[FPX_SW_BYTES_OFFSET + 8] = 7;
        let shown = xstate(state.clone());
        assert_eq!(word(&shown, FPX_SW_BYTES_OFFSET), 7);
        assert_eq!(with_xstate(&state, &shown), Ok(state.clone()));
        assert_eq!(with_xstate(&state, &shown[..800]), Err(Errno::EFAULT));
        let mut bad = shown;
        bad[FXSAVE_SIZE] = 8;
        assert_eq!(with_xstate(&state, &bad), Err(Errno::EINVAL));
    }
}
