//! `FUTEX_WAKE_OP`: change a word, wake its waiters and those of another.

use chitin_abi::futex::{
    FUTEX_OP_ADD, FUTEX_OP_ANDN, FUTEX_OP_CMP_EQ, FUTEX_OP_CMP_GE, FUTEX_OP_CMP_GT,
    FUTEX_OP_CMP_LE, FUTEX_OP_CMP_LT, FUTEX_OP_CMP_NE, FUTEX_OP_OPARG_SHIFT, FUTEX_OP_OR,
    FUTEX_OP_SET, FUTEX_OP_XOR,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_mm::GuestMemory;

use super::{FutexKey, FutexTable, MATCH_ANY, Wakes, read_word, wake_all};

/// A decoded operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeOp {
    op: u32,
    operand: i32,
    compare: u32,
    reference: i32,
}

impl WakeOp {
    /// Decodes the last argument of the call.
    ///
    /// # Errors
    /// ENOSYS for an operation or a comparison that is none.
    pub fn decode(encoded: u32) -> Result<Self> {
        let signed = |bits: u32| (bits << 20).cast_signed() >> 20;
        let op = (encoded >> 28) & 7;
        let mut operand = signed((encoded >> 12) & 0xfff);
        let compare = (encoded >> 24) & 0xf;
        if (encoded >> 28) & FUTEX_OP_OPARG_SHIFT != 0 {
            operand = 1_i32.wrapping_shl(operand.cast_unsigned() & 31);
        }
        if op > FUTEX_OP_XOR || compare > FUTEX_OP_CMP_GE {
            return Err(Errno::ENOSYS);
        }
        Ok(Self { op, operand, compare, reference: signed(encoded & 0xfff) })
    }

    fn apply(&self, old: u32) -> u32 {
        let operand = self.operand.cast_unsigned();
        match self.op {
            FUTEX_OP_SET => operand,
            FUTEX_OP_ADD => old.wrapping_add(operand),
            FUTEX_OP_OR => old | operand,
            FUTEX_OP_ANDN => old & !operand,
            _ => old ^ operand,
        }
    }

    fn holds(&self, old: u32) -> bool {
        let old = old.cast_signed();
        match self.compare {
            FUTEX_OP_CMP_EQ => old == self.reference,
            FUTEX_OP_CMP_NE => old != self.reference,
            FUTEX_OP_CMP_LT => old < self.reference,
            FUTEX_OP_CMP_LE => old <= self.reference,
            FUTEX_OP_CMP_GT => old > self.reference,
            _ => old >= self.reference,
        }
    }
}

/// Changes a word atomically and returns what it was.
///
/// # Errors
/// EFAULT; EAGAIN where the guest changes it all the time.
pub(super) fn change_word(
    memory: &dyn GuestMemory,
    addr: GuestAddr,
    change: impl Fn(u32) -> u32,
) -> Result<u32> {
    let mut old = read_word(memory, addr)?;
    for _ in 0..64 {
        let seen = memory.compare_exchange_u32(addr, old, change(old))?;
        if seen == old {
            return Ok(old);
        }
        old = seen;
    }
    Err(Errno::EAGAIN)
}

impl FutexTable {
    /// Changes the word at `second`, wakes at most `most` waiters of the first word and, if the comparison holds
    /// for the old value, at most `most_second` of the second; returns how many in all.
    ///
    /// # Errors
    /// EFAULT, EAGAIN, EINVAL.
    pub fn wake_op(
        &self,
        memory: &dyn GuestMemory,
        keys: (&FutexKey, &FutexKey),
        second: GuestAddr,
        limits: (u32, u32),
        op: WakeOp,
    ) -> Result<u32> {
        let mut wakes = Wakes::new();
        let result = self.wake_op_locked(memory, keys, second, limits, op, &mut wakes);
        wake_all(wakes);
        result
    }

    fn wake_op_locked(
        &self,
        memory: &dyn GuestMemory,
        keys: (&FutexKey, &FutexKey),
        second: GuestAddr,
        limits: (u32, u32),
        op: WakeOp,
        wakes: &mut Wakes,
    ) -> Result<u32> {
        let Some((mut bucket, mut other)) = self.lock_two(keys.0, keys.1) else { return Ok(0) };
        let old = change_word(memory, second, |word| op.apply(word))?;
        let mut count = bucket.wake(keys.0, limits.0, MATCH_ANY, wakes)?;
        if op.holds(old) {
            let bucket = other.as_deref_mut().unwrap_or(&mut bucket);
            count += bucket.wake(keys.1, limits.1, MATCH_ANY, wakes)?;
        }
        Ok(count)
    }
}
