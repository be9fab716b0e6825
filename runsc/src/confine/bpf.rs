//! Seccomp programs: a binary search for the call's number, then the checks of its arguments.
//!
//! The kernel tries each number when it loads a program, so that calls without checks cost nothing later: with a
//! list the time for that grows with the square of its length, with a tree it is a tenth of a millisecond less.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, sock_filter};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is made.
    Allow,
    /// SIGSYS.
    Trap,
    /// It fails with this error number.
    Fail(u16),
}

/// A check of the lower half of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) argument: u8,
    pub(crate) mask: u32,
    pub(crate) value: u32,
    /// Whether the masked argument has to be the value, or has to be another one.
    pub(crate) equal: bool,
}

/// What becomes of a call if all checks hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) checks: Vec<Check>,
    pub(crate) verdict: Verdict,
}

/// Rules by number; the first whose checks hold decides, and where none does the call traps.
pub(crate) type Rules = BTreeMap<u32, Vec<Rule>>;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const KILL: u32 = 0x8000_0000;
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const X86_64: u32 = 0xc000_003e;

const fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

const fn verdict(verdict: Verdict) -> sock_filter {
    let value = match verdict {
        Verdict::Allow => 0x7fff_0000,
        Verdict::Trap => 0x0003_0000,
        Verdict::Fail(error) => 0x0005_0000 | error as u32,
    };
    step(RETURN, value)
}

/// The code of a program.
pub(crate) fn compile(rules: &Rules) -> BpfProgram {
    let otherwise = vec![verdict(Verdict::Trap)];
    let mut pieces: Vec<(u32, BpfProgram)> = vec![(0, otherwise.clone())];
    let mut add = |first: u32, code: BpfProgram| {
        if pieces.last().is_some_and(|(start, _)| *start == first) {
            pieces.pop();
        }
        if pieces.last().is_none_or(|(_, last)| *last != code) {
            pieces.push((first, code));
        }
    };
    for (number, rules) in rules {
        add(*number, body(rules));
        add(number + 1, otherwise.clone());
    }
    let mut program = vec![
        step(LOAD, ARCHITECTURE),
        sock_filter { jt: 1, ..step(EQUAL, X86_64) },
        step(RETURN, KILL),
        step(LOAD, NUMBER),
    ];
    program.extend(tree(&pieces));
    program
}

/// Finds the piece that a number lies in.
fn tree(pieces: &[(u32, BpfProgram)]) -> BpfProgram {
    let (left, right) = pieces.split_at(pieces.len() / 2);
    let Some((first, code)) = right.first() else { return vec![verdict(Verdict::Trap)] };
    if left.is_empty() {
        return code.clone();
    }
    let (left, right) = (tree(left), tree(right));
    let mut program = match u8::try_from(left.len()) {
        Ok(over) => vec![sock_filter { jt: over, ..step(AT_LEAST, *first) }],
        Err(_) => {
            vec![sock_filter { jf: 1, ..step(AT_LEAST, *first) }, step(JUMP, left.len() as u32)]
        }
    };
    program.extend(left);
    program.extend(right);
    program
}

fn body(rules: &[Rule]) -> BpfProgram {
    let mut program = BpfProgram::new();
    for rule in rules {
        program.extend(one(rule));
        if rule.checks.is_empty() {
            return program;
        }
    }
    program.push(verdict(Verdict::Trap));
    program
}

/// One rule; falls through where a check does not hold.
fn one(rule: &Rule) -> BpfProgram {
    let mut program = BpfProgram::new();
    let mut jumps = Vec::new();
    for check in &rule.checks {
        program.push(step(LOAD, 16 + 8 * u32::from(check.argument)));
        if check.mask != u32::MAX {
            program.push(step(AND, check.mask));
        }
        jumps.push((program.len(), check.equal));
        program.push(step(EQUAL, check.value));
    }
    program.push(verdict(rule.verdict));
    let end = program.len();
    for (at, equal) in jumps {
        let Some(jump) = program.get_mut(at) else { continue };
        // A rule has few checks.
        let over = (end - at - 1) as u8;
        if equal {
            jump.jf = over;
        } else {
            jump.jt = over;
        }
    }
    program
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Runs a program as the kernel does.
    pub(crate) fn run(program: &BpfProgram, arch: u32, number: u32, args: [u64; 6]) -> u32 {
        let mut data = vec![number, arch, 0, 0];
        data.extend(args.iter().flat_map(|arg| [*arg as u32, (*arg >> 32) as u32]));
        let (mut a, mut at) = (0, 0);
        loop {
            let step = &program[at];
            at += 1;
            let over = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match step.code {
                LOAD => a = data[step.k as usize / 4],
                AND => a &= step.k,
                JUMP => at += step.k as usize,
                EQUAL => at += over(a == step.k),
                AT_LEAST => at += over(a >= step.k),
                RETURN => return step.k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn allow(checks: Vec<Check>) -> Vec<Rule> {
        vec![Rule { checks, verdict: Verdict::Allow }]
    }

    #[test]
    fn each_number_has_its_verdict() {
        let mut rules: Rules =
            (0..400).filter(|n| n % 3 != 0).map(|n| (n, allow(vec![]))).collect();
        rules.insert(435, vec![Rule { checks: vec![], verdict: Verdict::Fail(38) }]);
        let program = compile(&rules);
        assert!(program.iter().all(|step| step.code != JUMP) || program.len() > 255);
        for number in 0..600_u32 {
            let expected = match number {
                435 => 0x0005_0026,
                0..400 if number % 3 != 0 => 0x7fff_0000,
                _ => 0x0003_0000,
            };
            assert_eq!(run(&program, X86_64, number, [0; 6]), expected, "{number}");
            assert_eq!(run(&program, X86_64, number | 0x4000_0000, [0; 6]), 0x0003_0000);
            assert_eq!(run(&program, 0x4000_0003, number, [0; 6]), KILL);
        }
    }

    #[test]
    fn checks_have_to_hold_together() {
        let check = |argument, mask, value, equal| Check { argument, mask, value, equal };
        let first = allow(vec![check(1, u32::MAX, 5, true), check(2, 4, 0, true)]);
        let second = allow(vec![check(0, u32::MAX, 9, false)]);
        let rules: Rules = [(7, first.into_iter().chain(second).collect())].into();
        let program = compile(&rules);
        let ask = |args| run(&program, X86_64, 7, args) == 0x7fff_0000;
        assert!(ask([9, 5, 3, 0, 0, 0]) && ask([1, 0, 4, 0, 0, 0]));
        assert!(!ask([9, 5, 4, 0, 0, 0]) && !ask([9, 4, 3, 0, 0, 0]));
        assert!(ask([9, 5 | 1 << 40, 3, 0, 0, 0]), "the upper half is not looked at");
    }
}
