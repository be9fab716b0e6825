//! How a call site is rewritten.
//!
//! A `syscall` that traps costs a signal. A site that is used often becomes a jump to a *trampoline*, which goes to
//! the stub's code without one. Sites are recognised in two shapes:
//!
//! - `mov $number, %eax; syscall`: the `mov` becomes the jump, the `syscall` stays where it is. Who jumps to it directly, or
//!   returns behind it, finds what was there before.
//! - `syscall` and an instruction of three bytes or more that can be moved: both become the jump. The byte that
//!   then stands where that instruction was is one that no instruction begins with (06), so that whoever comes there
//!   faults and is sent to the instruction's copy. A trampoline's place is chosen for that byte.
//!
//! A trampoline (64 bytes):
//!
//! ```text
//!  0  mov $number, %eax        only of the first shape
//!     lea cont(%rip), %rcx
//!     jmp *entry(%rip)         the stub's code, by the area's first page
//! 24  .quad                    the address behind the call, as the guest knows it, less that of cont
//! 32  syscall                  traps
//! 34  cont: lea …(%rip), %rcx  the same address, as a `syscall` leaves it
//!     the moved instruction
//!     jmp back
//! ```
//!
//! All of it is relative, so that copies of code and trampolines may lie anywhere together.
//!
//! Reading the rewritten bytes is the only way for a guest to notice.

use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind};

use crate::layout::trampoline::{CONT, ENTRY, LEN, RIP, SYSCALL};

/// A trampoline's bytes.
pub type Code = [u8; LEN as usize];

/// What no instruction begins with.
const NOTHING: u8 = 0x06;
/// `syscall`.
const CALL: [u8; 2] = [0x0f, 0x05];
/// Bytes of the jump.
const JUMP_LEN: u64 = 5;
/// Bytes of `lea …(%rip), %rcx`.
const LEA_LEN: u64 = 7;

/// What stands at a call site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The number is loaded by the instruction in front.
    Number(u32),
    /// An instruction of so many bytes follows that can be moved.
    Next([u8; 15], usize),
}

/// A call site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where the jump goes.
    pub start: u64,
    /// The address behind the `syscall`.
    pub rip: u64,
    /// What stands there.
    pub shape: Shape,
}

/// Whether an instruction does the same anywhere.
fn can_move(bytes: &[u8]) -> Option<usize> {
    const MOVABLE: [Mnemonic; 16] = [
        Mnemonic::Cmp,
        Mnemonic::Mov,
        Mnemonic::Test,
        Mnemonic::Add,
        Mnemonic::Sub,
        Mnemonic::And,
        Mnemonic::Or,
        Mnemonic::Xor,
        Mnemonic::Lea,
        Mnemonic::Movsxd,
        Mnemonic::Movzx,
        Mnemonic::Shl,
        Mnemonic::Shr,
        Mnemonic::Neg,
        Mnemonic::Not,
        Mnemonic::Cdqe,
    ];
    let mut decoder = Decoder::new(64, bytes, DecoderOptions::NONE);
    let next = decoder.decode();
    let fits = !next.is_invalid() && (3..=15).contains(&next.len());
    let is_plain = MOVABLE.contains(&next.mnemonic()) && !next.is_ip_rel_memory_operand();
    let is_whole = !next.has_lock_prefix()
        && (0..next.op_count()).all(|index| {
            !matches!(next.op_kind(index), OpKind::NearBranch64 | OpKind::FarBranch32)
        });
    (fits && is_plain && is_whole).then(|| next.len())
}

/// Looks at a call that trapped. `before` and `after` are the bytes around the address behind it, `number` the
/// call's.
pub fn recognise(rip: u64, before: &[u8], after: &[u8], number: u64) -> Option<Site> {
    if !before.ends_with(&CALL) {
        return None;
    }
    let front = before.get(before.len().checked_sub(8)?..)?;
    // A prefix would make it another instruction (`mov $number, %r8d`), which could load the same number by chance.
    if let [prefix, 0xb8, a, b, c, d, _, _] = *front
        && prefix & 0xf0 != 0x40
        && u64::from(u32::from_le_bytes([a, b, c, d])) == number
    {
        return Site::at(rip, Shape::Number(u32::from_le_bytes([a, b, c, d])));
    }
    let len = can_move(after)?;
    let mut next = [0; 15];
    next.get_mut(..len)?.copy_from_slice(after.get(..len)?);
    Site::at(rip, Shape::Next(next, len))
}

fn displacement(end: u64, target: u64) -> Option<[u8; 4]> {
    i32::try_from(target.wrapping_sub(end) as i64).ok().map(i32::to_le_bytes)
}

impl Site {
    /// The one whose call ends at `rip`.
    pub fn at(rip: u64, shape: Shape) -> Option<Self> {
        let len = match shape {
            Shape::Number(_) => 7,
            Shape::Next(..) => 2,
        };
        Some(Self { start: rip.checked_sub(len)?, rip, shape })
    }

    /// The jump to a trampoline; `None` where that one cannot be used.
    pub fn jump(&self, trampoline: u64) -> Option<[u8; JUMP_LEN as usize]> {
        let [a, b, c, d] = displacement(self.start.checked_add(JUMP_LEN)?, trampoline)?;
        if matches!(self.shape, Shape::Next(..)) && b != NOTHING {
            return None;
        }
        Some([0xe9, a, b, c, d])
    }

    /// Where the instructions end that the jump is in the place of.
    pub fn end(&self) -> u64 {
        self.rip.saturating_add(self.moved()).max(self.start.saturating_add(JUMP_LEN))
    }

    /// Bytes of the moved instruction.
    pub fn moved(&self) -> u64 {
        match self.shape {
            Shape::Number(_) => 0,
            Shape::Next(_, len) => len as u64,
        }
    }

    /// The trampoline at this address of the area at `area`.
    pub fn trampoline(&self, area: u64, address: u64) -> Option<Code> {
        let mut code = [NOTHING; LEN as usize];
        let mut at = 0_usize;
        let mut put = |at: &mut usize, bytes: &[u8]| -> Option<()> {
            code.get_mut(*at..*at + bytes.len())?.copy_from_slice(bytes);
            *at += bytes.len();
            Some(())
        };
        if let Shape::Number(number) = self.shape {
            put(&mut at, &[0xb8])?;
            put(&mut at, &number.to_le_bytes())?;
        }
        let end = address + at as u64 + LEA_LEN;
        put(&mut at, &[0x48, 0x8d, 0x0d])?;
        put(&mut at, &displacement(end, address + CONT)?)?;
        let end = address + at as u64 + 6;
        put(&mut at, &[0xff, 0x25])?;
        put(&mut at, &displacement(end, area + ENTRY)?)?;
        at = RIP as usize; // nothing stands in between
        put(&mut at, &self.rip.wrapping_sub(address + CONT).to_le_bytes())?;
        debug_assert!(at as u64 == SYSCALL);
        put(&mut at, &CALL)?;
        put(&mut at, &[0x48, 0x8d, 0x0d])?;
        put(&mut at, &displacement(address + CONT + LEA_LEN, self.rip)?)?;
        if let Shape::Next(next, len) = &self.shape {
            put(&mut at, next.get(..*len)?)?;
        }
        let end = address + at as u64 + JUMP_LEN;
        put(&mut at, &[0xe9])?;
        put(&mut at, &displacement(end, self.rip + self.moved())?)?;
        Some(code)
    }

    /// What the guest's registers mean for a thread that stopped inside this site's trampoline, `offset` bytes from
    /// its start: the address at which the guest is, as it knows it.
    pub fn seen_from(&self, offset: u64) -> u64 {
        match offset {
            ..CONT => self.start,
            _ if offset < CONT + LEA_LEN + self.moved().max(1) => self.rip,
            _ => self.rip + self.moved(),
        }
    }
}

/// Where the moved instruction is in a trampoline.
pub fn landing(trampoline: u64) -> u64 {
    trampoline + CONT + LEA_LEN
}

#[cfg(test)]
mod tests {
    use super::{Shape, recognise};

    const RIP: u64 = 0x7000_1234_5000;
    const COMPARE: [u8; 6] = [0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff];

    #[test]
    fn numbers_in_front_are_used() {
        let before = [0xc3, 0xb8, 39, 0, 0, 0, 0x0f, 0x05];
        let site = recognise(RIP, &before, &[0xc3], 39).expect("a known shape");
        assert_eq!((site.start, site.shape), (RIP - 7, Shape::Number(39)));
        assert_eq!(recognise(RIP, &before, &[0xc3], 40), None, "another number");
        let other = [0x41, 0xb8, 39, 0, 0, 0, 0x0f, 0x05];
        assert_eq!(recognise(RIP, &other, &[0xc3], 39), None, "another register");
    }

    #[test]
    fn next_instructions_are_moved() {
        let before = [0x31, 0xc0, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x05];
        let site = recognise(RIP, &before, &COMPARE, 0).expect("a known shape");
        assert_eq!((site.start, site.moved()), (RIP - 2, 6));
        for other in [&[0xc3_u8][..], &[0x85, 0xc0], &[0x0f, 0x84, 1, 0, 0, 0], &[0xe8, 0, 0, 0, 0]]
        {
            assert_eq!(recognise(RIP, &before, other, 0), None);
        }
        let relative = [0x48, 0x8b, 0x05, 1, 0, 0, 0];
        assert_eq!(recognise(RIP, &before, &relative, 0), None);
        assert_eq!(recognise(RIP, &[0; 8], &COMPARE, 0), None, "no call");
    }

    #[test]
    fn jumps_into_the_middle_fault() {
        let site = recognise(RIP, &[0, 0, 0, 0, 0, 0, 0x0f, 0x05], &COMPARE, 0).expect("known");
        let area = RIP - 0x4_0000;
        let places = (2..0x800).map(|slot| area + slot * 64);
        let jumps: Vec<_> = places.filter_map(|place| site.jump(place)).collect();
        assert!(jumps.len() >= 6, "{} places", jumps.len());
        assert!(jumps.iter().all(|jump| jump[2] == 0x06));
        assert_eq!(site.jump(RIP + (4 << 30)), None, "out of reach");
    }

    #[test]
    fn trampolines_lead_back() {
        let site = recognise(RIP, &[0, 0, 0, 0, 0, 0, 0x0f, 0x05], &COMPARE, 0).expect("known");
        let code = site.trampoline(RIP - 0x4_0000, RIP - 0x3_0000).expect("it fits");
        assert_eq!(code[32..34], [0x0f, 0x05]);
        assert_eq!(code[24..32], (0x3_0000_u64 - 34).to_le_bytes());
        assert_eq!(code[41..47], COMPARE);
        let mut decoder = iced_x86::Decoder::with_ip(64, &code[34..], RIP - 0x3_0000 + 34, 0);
        assert_eq!(decoder.decode().ip_rel_memory_address(), RIP);
        let _ = decoder.decode();
        assert_eq!(decoder.decode().near_branch_target(), RIP + 6);
        let seen: Vec<_> = [0, 13, 34, 41, 47].map(|at| site.seen_from(at)).to_vec();
        assert_eq!(seen, [RIP - 2, RIP - 2, RIP, RIP, RIP + 6]);
    }
}
