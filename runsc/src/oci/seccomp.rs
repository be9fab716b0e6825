//! Compiles the seccomp profile of a configuration to the classic BPF program that the sandbox's kernel runs
//! on each call of the container, as libseccomp would.
//!
//! Rules of one call are tried in their order; the conditions of one rule all have to hold, except that several
//! on one argument are alternatives (which is what runc made of libseccomp's limits, and profiles rely on it).
//! Calls are sorted by number and neighbours that are treated alike share a branch, so that the usual profiles,
//! which allow some 350 calls, are about 60 comparisons long.

use std::collections::BTreeMap;

use chitin_abi::nr;
use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};

use crate::error::Result;
use crate::fail;

/// One instruction of classic BPF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const X32_BIT: u32 = 0x4000_0000;
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
/// The longest program that Linux takes.
const LONGEST: usize = 4096;

/// What is done about one call: alternatives in order, then the default.
type Rules = Vec<(Vec<Condition>, u32)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Condition {
    index: u32,
    op: LinuxSeccompOperator,
    value: u64,
    value_two: u64,
}

/// Compiles a profile.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Vec<Instruction>> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut calls: BTreeMap<u32, Rules> = BTreeMap::new();
    for rule in profile.syscalls().iter().flatten() {
        add(&mut calls, rule)?;
    }
    let mut program =
        vec![load(4), jump(JUMP_EQUAL, AUDIT_ARCH_X86_64, 1, 0), ret(foreign(default)), load(0)];
    program.extend([jump(JUMP_GREATER_EQUAL, X32_BIT, 0, 1), ret(foreign(default))]);
    let mut next = 0_u32;
    let mut pending: Option<(u32, Rules)> = None;
    let mut ranges: Vec<(u32, Rules)> = Vec::new();
    // Ranges cover every number without a gap: `(last number, rules)`, ascending.
    let push = |last: u32,
                rules: Rules,
                pending: &mut Option<(u32, Rules)>,
                ranges: &mut Vec<(u32, Rules)>| {
        match pending {
            Some((end, known)) if *known == rules => *end = last,
            _ => ranges.extend(pending.replace((last, rules))),
        }
    };
    for (number, rules) in calls {
        if number > next {
            push(number - 1, Vec::new(), &mut pending, &mut ranges);
        }
        push(number, rules, &mut pending, &mut ranges);
        next = number + 1;
    }
    push(u32::MAX, Vec::new(), &mut pending, &mut ranges);
    ranges.extend(pending);
    for (last, rules) in ranges {
        branch(&mut program, last, &rules, default);
    }
    if program.len() > LONGEST {
        return fail!(
            "field linux.seccomp: the profile is too long ({} instructions, {LONGEST} allowed)",
            program.len()
        );
    }
    Ok(program)
}

/// What is done about calls of another instruction set: never more than is done about unknown ones.
fn foreign(default: u32) -> u32 {
    const ALLOW: u32 = 0x7fff_0000;
    const LOG: u32 = 0x7ffc_0000;
    if default == ALLOW || default == LOG { errno(38) } else { default }
}

const fn errno(number: u32) -> u32 {
    0x0005_0000 | (number & 0xfff)
}

fn action(action: LinuxSeccompAction, errno_ret: Option<u32>) -> Result<u32> {
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => 0,
        LinuxSeccompAction::ScmpActKillProcess => 0x8000_0000,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActErrno => errno(errno_ret.unwrap_or(1)),
        LinuxSeccompAction::ScmpActTrace => 0x7ff0_0000 | (errno_ret.unwrap_or(1) & 0xffff),
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
        LinuxSeccompAction::ScmpActNotify => {
            return fail!("field linux.seccomp: action SCMP_ACT_NOTIFY is not supported");
        }
    })
}

fn add(calls: &mut BTreeMap<u32, Rules>, rule: &LinuxSyscall) -> Result<()> {
    let verdict = action(rule.action(), rule.errno_ret())?;
    let alternatives = alternatives(rule.args().as_deref().unwrap_or(&[]))?;
    // Profiles name calls of all architectures; those that this one lacks cannot be made.
    for number in rule.names().iter().filter_map(|name| number_of(name)) {
        let rules = calls.entry(number).or_default();
        rules.extend(alternatives.iter().map(|conditions| (conditions.clone(), verdict)));
    }
    Ok(())
}

fn number_of(name: &str) -> Option<u32> {
    (0..600_u32).find(|number| nr::name(u64::from(*number)) == Some(name))
}

fn alternatives(args: &[LinuxSeccompArg]) -> Result<Vec<Vec<Condition>>> {
    let mut conditions = Vec::new();
    for arg in args {
        let index = match u32::try_from(arg.index()) {
            Ok(index) if index < 6 => index,
            _ => {
                return fail!(
                    "field linux.seccomp.syscalls: args.index {} is not below 6",
                    arg.index()
                );
            }
        };
        let value_two = arg.value_two().unwrap_or(0);
        conditions.push(Condition { index, op: arg.op(), value: arg.value(), value_two });
    }
    let repeated = |condition: &Condition| {
        conditions.iter().filter(|other| other.index == condition.index).count() > 1
    };
    if conditions.iter().any(repeated) {
        return Ok(conditions.into_iter().map(|condition| vec![condition]).collect());
    }
    Ok(vec![conditions])
}

const fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, jt: 0, jf: 0, k: offset }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

const fn ret(k: u32) -> Instruction {
    Instruction { code: RETURN, jt: 0, jf: 0, k }
}

/// Appends what is done up to number `last`, which is entered with the number loaded.
fn branch(program: &mut Vec<Instruction>, last: u32, rules: &Rules, default: u32) {
    let mut body = Vec::new();
    let mut decided = false;
    for (conditions, verdict) in rules {
        if conditions.is_empty() {
            body.push(ret(*verdict));
            decided = true;
            break;
        }
        alternative(&mut body, conditions, *verdict);
    }
    if !decided {
        body.push(ret(default));
    }
    let length = body.len();
    if last == u32::MAX {
        // Nothing is greater.
    } else if let Ok(near) = u8::try_from(length) {
        program.push(jump(JUMP_GREATER, last, near, 0));
    } else {
        program.push(jump(JUMP_GREATER, last, 0, 1));
        program.push(jump(JUMP, u32::try_from(length).unwrap_or(u32::MAX), 0, 0));
    }
    program.extend(body);
}

/// Appends `if all conditions { return verdict }`; falls through otherwise.
fn alternative(body: &mut Vec<Instruction>, conditions: &[Condition], verdict: u32) {
    let mut code = vec![ret(verdict)];
    for condition in conditions.iter().rev() {
        let mut test = test(condition, u8::try_from(code.len()).unwrap_or(u8::MAX));
        test.extend(code);
        code = test;
    }
    body.extend(code);
}

/// The test of a condition: goes on behind itself if it holds, else jumps over the `rest` instructions that follow.
/// A test takes at most 6 instructions and there are at most 6 per rule, so that every distance fits.
fn test(condition: &Condition, rest: u8) -> Vec<Instruction> {
    let (low, high) = (16 + condition.index * 8, 20 + condition.index * 8);
    let halves = |value: u64| ((value >> 32) as u32, value as u32);
    let (value_high, value_low) = halves(condition.value);
    // The four below are: load high; decide or go on; load low; decide. `out` is relative to the jump's place.
    let ordered = |code: u16, when_true: bool| {
        // The high half decides unless it is equal to the value's.
        let last =
            if when_true { jump(code, value_low, 0, rest) } else { jump(code, value_low, rest, 0) };
        let greater = if when_true {
            jump(JUMP_GREATER, value_high, 3, 0)
        } else {
            jump(JUMP_GREATER, value_high, rest + 3, 0)
        };
        let equal = if when_true {
            jump(JUMP_EQUAL, value_high, 0, rest + 2)
        } else {
            jump(JUMP_EQUAL, value_high, 0, 2)
        };
        vec![load(high), greater, equal, load(low), last]
    };
    match condition.op {
        LinuxSeccompOperator::ScmpCmpEq => vec![
            load(high),
            jump(JUMP_EQUAL, value_high, 0, rest + 2),
            load(low),
            jump(JUMP_EQUAL, value_low, 0, rest),
        ],
        LinuxSeccompOperator::ScmpCmpNe => {
            vec![
                load(high),
                jump(JUMP_EQUAL, value_high, 0, 2),
                load(low),
                jump(JUMP_EQUAL, value_low, rest, 0),
            ]
        }
        LinuxSeccompOperator::ScmpCmpGt => ordered(JUMP_GREATER, true),
        LinuxSeccompOperator::ScmpCmpGe => ordered(JUMP_GREATER_EQUAL, true),
        LinuxSeccompOperator::ScmpCmpLe => ordered(JUMP_GREATER, false),
        LinuxSeccompOperator::ScmpCmpLt => ordered(JUMP_GREATER_EQUAL, false),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let (two_high, two_low) = halves(condition.value_two);
            vec![
                load(high),
                Instruction { code: AND, jt: 0, jf: 0, k: value_high },
                jump(JUMP_EQUAL, two_high, 0, rest + 3),
                load(low),
                Instruction { code: AND, jt: 0, jf: 0, k: value_low },
                jump(JUMP_EQUAL, two_low, 0, rest),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program on a call.
    fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            0 => number,
            4 => arch,
            _ => {
                let arg = args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
            }
        };
        let (mut pc, mut a) = (0_usize, 0_u32);
        loop {
            let Instruction { code, jt, jf, k } = program[pc];
            pc += 1;
            let take = |yes: bool| usize::from(if yes { jt } else { jf });
            match code {
                LOAD => a = word(k),
                AND => a &= k,
                JUMP => pc += k as usize,
                JUMP_EQUAL => pc += take(a == k),
                JUMP_GREATER => pc += take(a > k),
                JUMP_GREATER_EQUAL => pc += take(a >= k),
                RETURN => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn compiled(syscalls: &str) -> Vec<Instruction> {
        let text = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{syscalls}]}}"#);
        compile(&super::super::parse(text.as_bytes()).unwrap()).unwrap()
    }

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;

    #[test]
    fn calls_without_conditions() {
        let program = compiled(
            r#"{"names":["read","write","open","close","exit_group","no_such_call"],"action":"SCMP_ACT_ALLOW"},
               {"names":["ptrace"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#,
        );
        for (number, expected) in
            [(0, ALLOW), (3, ALLOW), (4, EPERM), (231, ALLOW), (101, 0x0005_0026), (9999, EPERM)]
        {
            assert_eq!(run(&program, AUDIT_ARCH_X86_64, number, [0; 6]), expected, "{number}");
        }
        assert_eq!(run(&program, 0x4000_0003, 0, [0; 6]), EPERM);
        assert_eq!(run(&program, AUDIT_ARCH_X86_64, X32_BIT, [0; 6]), EPERM);
    }

    #[test]
    fn every_operator_agrees_with_its_meaning() {
        let values = [0, 1, 7, 8, 9, u64::from(u32::MAX), 1 << 32, (1 << 32) + 8, u64::MAX];
        type Holds = fn(u64, u64) -> bool;
        let cases: [(&str, Holds); 6] = [
            ("NE", |a, b| a != b),
            ("LT", |a, b| a < b),
            ("LE", |a, b| a <= b),
            ("EQ", |a, b| a == b),
            ("GE", |a, b| a >= b),
            ("GT", |a, b| a > b),
        ];
        for (op, holds) in cases {
            for value in values {
                let program = compiled(&format!(
                    r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{{"index":1,"value":{value},"op":"SCMP_CMP_{op}"}},
                        {{"index":2,"value":5,"op":"SCMP_CMP_EQ"}}]}}"#
                ));
                for arg in values {
                    let expected = if holds(arg, value) { ALLOW } else { EPERM };
                    assert_eq!(
                        run(&program, AUDIT_ARCH_X86_64, 0, [0, arg, 5, 0, 0, 0]),
                        expected,
                        "{arg} {op} {value}"
                    );
                    assert_eq!(run(&program, AUDIT_ARCH_X86_64, 0, [0, arg, 6, 0, 0, 0]), EPERM);
                }
            }
        }
    }

    #[test]
    fn masks_and_alternatives() {
        let program = compiled(
            r#"{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},
               {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"SCMP_CMP_EQ"},{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]}"#,
        );
        let verdict = |number, arg| run(&program, AUDIT_ARCH_X86_64, number, [arg, 0, 0, 0, 0, 0]);
        assert_eq!(verdict(56, 17), ALLOW);
        assert_eq!(verdict(56, 0x1000_0000), EPERM);
        assert_eq!([verdict(135, 0), verdict(135, 8), verdict(135, 4)], [ALLOW, ALLOW, EPERM]);
    }
}
