//! Classic BPF as seccomp filters use it (`bpf(4)` of the BSDs, `networking/filter.rst`): a checker and an
//! interpreter over `struct seccomp_data`.
//!
//! A checked [`Program`] only jumps forwards and inside itself, ends in a return, and reads aligned words of
//! the data, so running it takes at most as many steps as it has instructions.

use chitin_abi::process::{
    BPF_A, BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_DIV, BPF_IMM, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT,
    BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX, BPF_LEN, BPF_LSH, BPF_MAXINSNS, BPF_MEM,
    BPF_MEMWORDS, BPF_MISC, BPF_MUL, BPF_NEG, BPF_OR, BPF_RET, BPF_RSH, BPF_ST, BPF_STX, BPF_SUB,
    BPF_TAX, BPF_TXA, BPF_W, BPF_X, BPF_XOR, SeccompData, SockFilter,
};
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

const DATA_SIZE: u32 = size_of::<SeccompData>() as u32;
const WORDS: usize = BPF_MEMWORDS as usize;

/// A filter that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    code: Vec<SockFilter>,
}

impl Program {
    /// Checks a filter.
    ///
    /// # Errors
    /// EINVAL for one that the kernel does not take.
    pub fn new(code: Vec<SockFilter>) -> Result<Self> {
        if code.is_empty() || code.len() > BPF_MAXINSNS as usize {
            return Err(Errno::EINVAL);
        }
        for (index, instruction) in code.iter().enumerate() {
            check(instruction, index, code.len())?;
        }
        if code.last().is_none_or(|last| last.code & 7 != BPF_RET) {
            return Err(Errno::EINVAL);
        }
        Ok(Self { code })
    }

    /// How many instructions it has.
    pub fn len(&self) -> usize {
        self.code.len()
    }

    /// Whether it has none (never).
    pub fn is_empty(&self) -> bool {
        self.code.is_empty()
    }

    /// The instructions.
    pub fn code(&self) -> &[SockFilter] {
        &self.code
    }

    /// What it says of a call.
    pub fn run(&self, data: &SeccompData) -> u32 {
        let mut machine = Machine { a: 0, x: 0, memory: [0; WORDS] };
        let mut at = 0usize;
        while let Some(instruction) = self.code.get(at) {
            match machine.step(instruction, data) {
                Step::Jump(skip) => at = at.saturating_add(1).saturating_add(skip),
                Step::Return(value) => return value,
            }
        }
        // Not reached in a checked program: kill.
        0
    }
}

fn check(instruction: &SockFilter, index: usize, length: usize) -> Result<()> {
    let SockFilter { code, jt, jf, k } = *instruction;
    let inside = |skip: usize| if skip < length - index - 1 { Ok(()) } else { Err(Errno::EINVAL) };
    const LD_ABS: u16 = BPF_LD | BPF_W | BPF_ABS;
    const LD_LEN: u16 = BPF_LD | BPF_W | BPF_LEN;
    const LDX_LEN: u16 = BPF_LDX | BPF_W | BPF_LEN;
    const LD_IMM: u16 = BPF_LD | BPF_IMM;
    const LDX_IMM: u16 = BPF_LDX | BPF_IMM;
    const LD_MEM: u16 = BPF_LD | BPF_MEM;
    const LDX_MEM: u16 = BPF_LDX | BPF_MEM;
    match code {
        LD_ABS if k >= DATA_SIZE || k & 3 != 0 => Err(Errno::EINVAL),
        LD_MEM | LDX_MEM | BPF_ST | BPF_STX if k >= BPF_MEMWORDS => Err(Errno::EINVAL),
        LD_ABS | LD_LEN | LDX_LEN | LD_IMM | LDX_IMM | LD_MEM | LDX_MEM | BPF_ST | BPF_STX => {
            Ok(())
        }
        _ => match code & 7 {
            BPF_ALU => check_alu(code, k),
            BPF_JMP if code & 0xf0 == BPF_JA && code & BPF_X == 0 => inside(k as usize),
            BPF_JMP if matches!(code & 0xf0, BPF_JEQ | BPF_JGT | BPF_JGE | BPF_JSET) => {
                inside(usize::from(jt)).and(inside(usize::from(jf)))
            }
            BPF_RET if matches!(code & !7, BPF_K | BPF_A) => Ok(()),
            BPF_MISC if matches!(code & 0xf8, BPF_TAX | BPF_TXA) => Ok(()),
            _ => Err(Errno::EINVAL),
        },
    }
}

fn check_alu(code: u16, k: u32) -> Result<()> {
    let constant = code & BPF_X == 0;
    match code & 0xf0 {
        BPF_DIV if constant && k == 0 => Err(Errno::EINVAL),
        BPF_LSH | BPF_RSH if constant && k >= 32 => Err(Errno::EINVAL),
        BPF_NEG if !constant => Err(Errno::EINVAL),
        BPF_ADD | BPF_SUB | BPF_MUL | BPF_DIV | BPF_OR | BPF_AND | BPF_LSH | BPF_RSH | BPF_NEG
        | BPF_XOR => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

enum Step {
    Jump(usize),
    Return(u32),
}

struct Machine {
    a: u32,
    x: u32,
    memory: [u32; WORDS],
}

impl Machine {
    fn step(&mut self, instruction: &SockFilter, data: &SeccompData) -> Step {
        let SockFilter { code, jt, jf, k } = *instruction;
        let operand = if code & BPF_X == 0 { k } else { self.x };
        match code & 7 {
            BPF_LD => self.a = self.load(code, k, data),
            BPF_LDX => self.x = self.load(code, k, data),
            BPF_ST => self.store(k, self.a),
            BPF_STX => self.store(k, self.x),
            BPF_ALU => match alu(code & 0xf0, self.a, operand) {
                Some(value) => self.a = value,
                None => return Step::Return(0),
            },
            BPF_JMP => {
                let taken = match code & 0xf0 {
                    BPF_JA => return Step::Jump(k as usize),
                    BPF_JEQ => self.a == operand,
                    BPF_JGT => self.a > operand,
                    BPF_JGE => self.a >= operand,
                    _ => self.a & operand != 0,
                };
                return Step::Jump(usize::from(if taken { jt } else { jf }));
            }
            BPF_RET => return Step::Return(if code & !7 == BPF_A { self.a } else { k }),
            _ if code & 0xf8 == BPF_TXA => self.a = self.x,
            _ => self.x = self.a,
        }
        Step::Jump(0)
    }

    fn load(&self, code: u16, k: u32, data: &SeccompData) -> u32 {
        match code & 0xe0 {
            BPF_ABS => {
                let start = k as usize;
                let bytes = data.as_bytes().get(start..start.saturating_add(4));
                bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes)
            }
            BPF_LEN => DATA_SIZE,
            BPF_MEM => self.memory.get(k as usize).copied().unwrap_or(0),
            _ => k,
        }
    }

    fn store(&mut self, k: u32, value: u32) {
        if let Some(word) = self.memory.get_mut(k as usize) {
            *word = value;
        }
    }
}

fn alu(operation: u16, a: u32, b: u32) -> Option<u32> {
    Some(match operation {
        BPF_ADD => a.wrapping_add(b),
        BPF_SUB => a.wrapping_sub(b),
        BPF_MUL => a.wrapping_mul(b),
        BPF_DIV => return a.checked_div(b),
        BPF_OR => a | b,
        BPF_AND => a & b,
        BPF_LSH => a.wrapping_shl(b),
        BPF_RSH => a.wrapping_shr(b),
        BPF_XOR => a ^ b,
        _ => a.wrapping_neg(),
    })
}

#[cfg(test)]
mod tests {
    use super::{
        BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, Errno, Program, SeccompData,
        SockFilter,
    };

    fn op(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
        SockFilter { code, jt, jf, k }
    }

    #[test]
    fn a_filter_on_the_number() {
        let program = Program::new(vec![
            op(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
            op(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 39),
            op(BPF_RET, 0, 0, 0x5_0001),
            op(BPF_RET, 0, 0, 0x7fff_0000),
        ])
        .expect("valid");
        assert_eq!(program.run(&SeccompData { nr: 39, ..SeccompData::default() }), 0x5_0001);
        assert_eq!(program.run(&SeccompData { nr: 40, ..SeccompData::default() }), 0x7fff_0000);
    }

    #[test]
    fn bad_programs_are_refused() {
        let bad = [
            vec![],
            vec![op(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0)],
            vec![op(BPF_LD | BPF_W | BPF_ABS, 0, 0, 2), op(BPF_RET, 0, 0, 0)],
            vec![op(BPF_LD | BPF_W | BPF_ABS, 0, 0, 64), op(BPF_RET, 0, 0, 0)],
            vec![op(BPF_JMP | BPF_JEQ, 1, 0, 0), op(BPF_RET, 0, 0, 0)],
        ];
        for code in bad {
            assert_eq!(Program::new(code).err(), Some(Errno::EINVAL));
        }
    }
}
