//! The seccomp filters of a stub's threads.
//!
//! Two filters are stacked. Every thread of a stub carries the first; guest threads carry another on top, which they load
//! before they run their first guest instruction, and the kernel takes the stricter answer. That one is loaded for each copy
//! of the stub, and the kernel compiles it each time, so it is short.
//!
//! - **All threads** ([`stub`]): whatever does not come from the stub's code is a trap (SIGSYS), whatever its architecture.
//!   From the first page come only the calls of [`from_guest_page`], with arguments checked because guest code can jump
//!   there with any registers, from the warden's page only those of [`from_wardens_page`].
//! - **Guest threads** ([`guest`]): from the warden's page comes nothing, ever: the process dies.
//!
//! A filter is a list of rules; a rule is a call's number and checks. The first rule whose checks all hold
//! allows the call; when none does, the process dies.

use crate::layout::{self, Descriptors};

/// One instruction as the kernel takes it (`struct sock_filter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u16,
    on_true: u8,
    on_false: u8,
    value: u32,
}

impl Instruction {
    /// The instruction in memory.
    pub fn to_bytes(self) -> [u8; 8] {
        let [a, b] = self.code.to_ne_bytes();
        let [e, f, g, h] = self.value.to_ne_bytes();
        [a, b, self.on_true, self.on_false, e, f, g, h]
    }
}

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const LOAD_MEM: u16 = 0x60; // BPF_LD | BPF_MEM
const STORE: u16 = 0x02; // BPF_ST
const ADD: u16 = 0x04; // BPF_ALU | BPF_ADD | BPF_K
const ADD_X: u16 = 0x0c; // BPF_ALU | BPF_ADD | BPF_X
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const TO_X: u16 = 0x07; // BPF_MISC | BPF_TAX
const EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const AT_LEAST_X: u16 = 0x3d; // BPF_JMP | BPF_JGE | BPF_X
const GO: u16 = 0x05; // BPF_JMP | BPF_JA
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

const KILL: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const ALLOW: u32 = 0x7fff_0000;

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const INSTRUCTION_LOW: u32 = 8;
const INSTRUCTION_HIGH: u32 = 12;
const X86_64: u32 = 0xc000_003e;

/// A jump to the end of the rule, until its length is known.
const FAIL: u8 = 0xff;

const fn low(argument: u32) -> u32 {
    16 + 8 * argument
}

const fn high(argument: u32) -> u32 {
    low(argument) + 4
}

/// What an argument must be.
#[derive(Clone, Copy, Debug)]
enum Check {
    /// All 64 bits.
    Is(u32, u64),
    /// The lower 32 bits, of an argument that the kernel takes as an `int`.
    Int(u32, u32),
    /// The lower 32 bits are below this.
    Below(u32, u32),
    /// The lower 32 bits are at least this and not negative.
    File(u32, u32),
    /// Masked lower 32 bits.
    Bits(u32, u32, u32),
    /// No bits but these.
    Within(u32, u32),
    /// The lower 32 bits are one of these.
    OneOf(u32, &'static [i32]),
    /// An address from `.1` to below `.2`, which share their upper half.
    Window(u32, u64, u64),
    /// Address and length lie below the end of guest memory.
    Guest(u32, u32),
}

#[derive(Default)]
struct Program {
    code: Vec<Instruction>,
}

impl Program {
    fn step(&mut self, code: u16, value: u32) {
        self.jump(code, value, 0, 0);
    }

    fn jump(&mut self, code: u16, value: u32, on_true: u8, on_false: u8) {
        self.code.push(Instruction { code, on_true, on_false, value });
    }

    fn check(&mut self, check: Check) {
        match check {
            Check::Is(argument, value) => {
                self.step(LOAD, low(argument));
                self.jump(EQUAL, value as u32, 0, FAIL);
                self.step(LOAD, high(argument));
                self.jump(EQUAL, (value >> 32) as u32, 0, FAIL);
            }
            Check::Int(argument, value) => {
                self.step(LOAD, low(argument));
                self.jump(EQUAL, value, 0, FAIL);
            }
            Check::Below(argument, value) => {
                self.step(LOAD, low(argument));
                self.jump(AT_LEAST, value, FAIL, 0);
            }
            Check::File(argument, first) => {
                self.step(LOAD, low(argument));
                self.jump(AT_LEAST, first, 0, FAIL);
                self.jump(AT_LEAST, 0x8000_0000, FAIL, 0);
            }
            Check::Bits(argument, mask, value) => {
                self.step(LOAD, low(argument));
                self.step(AND, mask);
                self.jump(EQUAL, value, 0, FAIL);
            }
            Check::Within(argument, known) => {
                self.step(LOAD, high(argument));
                self.jump(EQUAL, 0, 0, FAIL);
                self.step(LOAD, low(argument));
                self.step(AND, !known);
                self.jump(EQUAL, 0, 0, FAIL);
            }
            Check::OneOf(argument, values) => {
                self.step(LOAD, low(argument));
                for (value, left) in values.iter().zip((0..values.len()).rev()) {
                    self.jump(EQUAL, *value as u32, left as u8, if left == 0 { FAIL } else { 0 });
                }
            }
            Check::Window(argument, start, end) => {
                self.step(LOAD, high(argument));
                self.jump(EQUAL, (start >> 32) as u32, 0, FAIL);
                self.step(LOAD, low(argument));
                self.jump(AT_LEAST, start as u32, 0, FAIL);
                self.jump(AT_LEAST, end as u32, FAIL, 0);
            }
            Check::Guest(address, length) => self.guest_range(address, length),
        }
    }

    /// Adds address and length in halves. The end of guest memory has an empty lower half, so the sum may
    /// have that upper half only with nothing below it.
    fn guest_range(&mut self, address: u32, length: u32) {
        const END: u32 = (layout::MAX_ADDRESS >> 32) as u32;
        const { assert!(layout::MAX_ADDRESS as u32 == 0) };
        self.step(LOAD, high(address));
        self.jump(AT_LEAST, END, FAIL, 0);
        self.step(STORE, 0);
        self.step(LOAD, high(length));
        self.jump(GREATER, END, FAIL, 0);
        self.step(STORE, 1);
        self.step(LOAD, low(address));
        self.step(TO_X, 0);
        self.step(LOAD, low(length));
        self.step(ADD_X, 0);
        self.step(STORE, 2);
        self.jump(AT_LEAST_X, 0, 3, 0); // no carry: the sum is not below what was added
        self.step(LOAD_MEM, 0);
        self.step(ADD, 1);
        self.step(STORE, 0);
        self.step(LOAD_MEM, 0);
        self.step(TO_X, 0);
        self.step(LOAD_MEM, 1);
        self.step(ADD_X, 0);
        self.jump(GREATER, END, FAIL, 0);
        self.jump(EQUAL, END, 0, 2);
        self.step(LOAD_MEM, 2);
        self.jump(EQUAL, 0, 0, FAIL);
    }

    fn rule(&mut self, number: i64, checks: &[Check]) {
        let start = self.code.len();
        self.step(LOAD, NUMBER);
        self.jump(EQUAL, number as u32, 0, FAIL);
        for check in checks {
            self.check(*check);
        }
        self.step(RETURN, ALLOW);
        let end = self.code.len();
        debug_assert!(end - start < usize::from(FAIL));
        for (at, instruction) in self.code.iter_mut().enumerate().skip(start) {
            let away = (end - at - 1) as u8;
            for target in [&mut instruction.on_true, &mut instruction.on_false] {
                if *target == FAIL {
                    *target = away;
                }
            }
        }
    }

    /// Behind a jump over `count` instructions.
    fn page_or(&mut self, page: u64, otherwise: u32) {
        self.step(LOAD, ARCHITECTURE);
        self.jump(EQUAL, X86_64, 0, 4);
        self.step(LOAD, INSTRUCTION_HIGH);
        self.jump(EQUAL, (page >> 32) as u32, 0, 2);
        self.step(LOAD, INSTRUCTION_LOW);
        self.jump(AT_LEAST, page as u32, 1, 0);
        self.step(RETURN, otherwise);
    }
}

/// What guest threads carry besides.
pub fn guest() -> Vec<Instruction> {
    let mut program = Program::default();
    program.step(LOAD, INSTRUCTION_HIGH);
    program.jump(EQUAL, (layout::WARDEN >> 32) as u32, 0, 4);
    program.step(LOAD, INSTRUCTION_LOW);
    program.jump(GREATER, (layout::TEXT + layout::TEXT_LEN) as u32, 2, 0);
    program.jump(GREATER, layout::WARDEN as u32, 0, 1);
    program.step(RETURN, KILL);
    program.step(RETURN, ALLOW);
    program.code
}

/// The filter of all threads.
pub fn stub(descriptors: Descriptors, fsgsbase: bool) -> Vec<Instruction> {
    let mut program = Program::default();
    program.page_or(layout::TEXT, TRAP);
    program.jump(GREATER, (layout::TEXT + layout::TEXT_LEN) as u32, 0, 1);
    program.step(RETURN, TRAP);
    let mut other = Program::default();
    from_guest_page(&mut other, descriptors, fsgsbase);
    program.jump(GREATER, layout::WARDEN as u32, 0, 1);
    program.step(GO, other.code.len() as u32);
    program.code.append(&mut other.code);
    from_wardens_page(&mut program, descriptors);
    program.code
}

/// What guest threads need.
fn from_guest_page(program: &mut Program, descriptors: Descriptors, fsgsbase: bool) {
    let window = (layout::CHANNELS, layout::CHANNELS + layout::CHANNELS_LEN);
    program.rule(libc::SYS_rt_sigreturn, &[]);
    program.rule(
        libc::SYS_futex,
        &[Check::Int(1, libc::FUTEX_WAIT as u32), Check::Window(0, window.0, window.1)],
    );
    ring(program, descriptors);
    carried(program);
    program.rule(
        libc::SYS_futex,
        &[Check::Int(1, libc::FUTEX_WAKE as u32), Check::Window(0, window.0, window.1)],
    );
    if !fsgsbase {
        program.rule(libc::SYS_arch_prctl, &[Check::Int(0, 0x1002)]);
        program.rule(libc::SYS_arch_prctl, &[Check::Int(0, 0x1001)]);
    }
    program.rule(libc::SYS_exit, &[]);
    program.step(RETURN, KILL);
}

/// A doorbell's counter grows by the one that stands in the configuration: whoever could add more could fill it, and the
/// sentry, which rings too, would block.
fn ring(program: &mut Program, descriptors: Descriptors) {
    let one = Check::Is(1, layout::CONFIG + layout::config::ONE);
    program.rule(libc::SYS_write, &[Check::Below(0, descriptors.workers), one, Check::Is(2, 8)]);
}

/// What guest threads carry out themselves: calls on their own memory, anonymous where they make some. Whatever guest code
/// puts there instead of what the sentry wrote stays within guest memory, and makes nothing that lies elsewhere.
fn carried(program: &mut Program) {
    let window = Check::Guest(0, 1);
    let wanted = (libc::MAP_FIXED | libc::MAP_ANONYMOUS | libc::MAP_PRIVATE) as u32;
    let may = (libc::MAP_POPULATE | libc::MAP_NORESERVE) as u32;
    program.rule(
        libc::SYS_mmap,
        &[window, Check::Bits(3, wanted, wanted), Check::Within(3, wanted | may)],
    );
    program.rule(libc::SYS_munmap, &[window]);
    program.rule(libc::SYS_mprotect, &[window]);
    program.rule(libc::SYS_madvise, &[window, Check::OneOf(2, &CARRIED_ADVICE)]);
    // In place, or to a place that is named: the kernel never chooses.
    program.rule(libc::SYS_mremap, &[window, Check::Guest(0, 2), Check::Is(3, 0)]);
    let moves = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as u64;
    program.rule(libc::SYS_mremap, &[window, Check::Guest(4, 2), Check::Is(3, moves)]);
    // A thread with the same filters: one more that the host's limits count.
    program.rule(libc::SYS_clone, &[Check::Is(0, clone::THREAD)]);
}

/// Advice that guest threads carry out themselves.
pub const CARRIED_ADVICE: [i32; 4] =
    [libc::MADV_DONTNEED, libc::MADV_FREE, libc::MADV_HUGEPAGE, libc::MADV_NOHUGEPAGE];

/// The flags of the warden's two clones.
pub mod clone {
    /// Of a copy of the stub.
    pub const PROCESS: u64 = libc::CLONE_PARENT as u64;
    /// Of a guest thread.
    pub const THREAD: u64 = (libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM
        | libc::CLONE_CHILD_CLEARTID) as u64;
}

/// What the warden needs.
fn from_wardens_page(program: &mut Program, descriptors: Descriptors) {
    use layout::{CHANNEL_LEN, CHANNELS, CHANNELS_LEN, ORDER, PAGE, REPLY};
    let both = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let fixed = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
    let file = descriptors.first_file();
    let refused = (libc::MAP_LOCKED | libc::MAP_HUGETLB) as u32;
    let anonymous = libc::MAP_ANONYMOUS as u32;
    let map_fixed = libc::MAP_FIXED as u32;
    program.rule(libc::SYS_futex, &[Check::Int(1, libc::FUTEX_WAIT as u32), Check::Is(0, ORDER)]);
    program.rule(
        libc::SYS_futex,
        &[
            Check::Int(1, libc::FUTEX_WAIT as u32),
            Check::Window(0, CHANNELS, CHANNELS + CHANNELS_LEN),
        ],
    );
    ring(program, descriptors);
    let window = Check::Guest(0, 1);
    let private = Check::Bits(3, refused | anonymous | map_fixed, anonymous | map_fixed);
    program.rule(libc::SYS_mmap, &[window, private]);
    let of_file = Check::Bits(3, refused | anonymous | map_fixed, map_fixed);
    program.rule(libc::SYS_mmap, &[window, of_file, Check::File(4, file)]);
    program.rule(libc::SYS_munmap, &[window]);
    program.rule(libc::SYS_mprotect, &[window]);
    program.rule(libc::SYS_madvise, &[window]);
    program.rule(libc::SYS_msync, &[window]);
    program.rule(libc::SYS_mremap, &[window, Check::Guest(0, 2), Check::Guest(4, 2)]);
    program.rule(
        libc::SYS_mmap,
        &[
            Check::Window(0, CHANNELS, CHANNELS + CHANNELS_LEN),
            Check::Bits(0, CHANNEL_LEN as u32 - 1, 0),
            Check::Is(1, CHANNEL_LEN),
            Check::Is(2, both),
            Check::Is(3, fixed),
            Check::Int(4, descriptors.channels()),
        ],
    );
    program.rule(libc::SYS_clone, &[Check::Is(0, clone::THREAD)]);
    program.rule(libc::SYS_clone, &[Check::Is(0, clone::PROCESS)]);
    program.rule(
        libc::SYS_seccomp,
        &[
            Check::Is(0, 1),
            Check::Is(1, 0),
            Check::Is(2, layout::CONFIG + layout::config::GUEST_PROGRAM),
        ],
    );
    program.rule(libc::SYS_recvmsg, &[Check::Int(0, descriptors.socket())]);
    program.rule(libc::SYS_sendto, &[Check::Int(0, descriptors.socket()), Check::Is(4, 0)]);
    program.rule(libc::SYS_close, &[Check::File(0, file)]);
    program.rule(
        libc::SYS_dup3,
        &[Check::Int(0, file), Check::Int(1, descriptors.socket()), Check::Int(2, 0)],
    );
    program.rule(
        libc::SYS_mmap,
        &[
            Check::Is(0, REPLY),
            Check::Is(1, PAGE),
            Check::Is(2, both),
            Check::Is(3, fixed),
            Check::Int(4, descriptors.channels()),
        ],
    );
    program.rule(
        libc::SYS_mmap,
        &[
            Check::Is(0, ORDER),
            Check::Is(1, PAGE),
            Check::Is(2, libc::PROT_READ as u64),
            Check::Is(3, fixed),
            Check::Int(4, descriptors.orders()),
        ],
    );
    program.rule(libc::SYS_munmap, &[Check::Is(0, CHANNELS), Check::Is(1, CHANNELS_LEN)]);
    program.rule(
        libc::SYS_prctl,
        &[Check::Int(0, libc::PR_SET_PDEATHSIG as u32), Check::Is(1, libc::SIGKILL as u64)],
    );
    program.rule(libc::SYS_getppid, &[]);
    program.rule(libc::SYS_exit_group, &[]);
    program.step(RETURN, KILL);
}

#[cfg(test)]
mod tests {
    use super::{ALLOW, Instruction, KILL, TRAP, X86_64, clone, guest, stub};
    use crate::layout::{self, CHANNELS, Descriptors, MAX_ADDRESS};

    const DESCRIPTORS: Descriptors = Descriptors { workers: 2 };
    const FIXED: u64 = (libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_ANONYMOUS) as u64;

    /// Runs a program as the kernel does.
    fn run(program: &[Instruction], architecture: u32, rip: u64, call: i64, args: [u64; 6]) -> u32 {
        let mut data = vec![call as u32, architecture, rip as u32, (rip >> 32) as u32];
        data.extend(args.iter().flat_map(|arg| [*arg as u32, (*arg >> 32) as u32]));
        let (mut a, mut x, mut memory, mut at) = (0_u32, 0_u32, [0_u32; 16], 0);
        loop {
            let step = program[at];
            at += 1;
            let mut jump = |holds: bool| {
                at += usize::from(if holds { step.on_true } else { step.on_false });
            };
            match step.code {
                super::LOAD => a = data[step.value as usize / 4],
                super::LOAD_MEM => a = memory[step.value as usize],
                super::STORE => memory[step.value as usize] = a,
                super::ADD => a = a.wrapping_add(step.value),
                super::ADD_X => a = a.wrapping_add(x),
                super::AND => a &= step.value,
                super::TO_X => x = a,
                super::EQUAL => jump(a == step.value),
                super::GREATER => jump(a > step.value),
                super::AT_LEAST => jump(a >= step.value),
                super::AT_LEAST_X => jump(a >= x),
                super::GO => at += step.value as usize,
                super::RETURN => return step.value,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn as_warden(call: i64, args: [u64; 6]) -> u32 {
        run(&stub(DESCRIPTORS, true), X86_64, layout::WARDEN + 9, call, args)
    }

    /// What the kernel makes of two filters: the stricter answer.
    fn with_both(architecture: u32, rip: u64, call: i64, args: [u64; 6]) -> u32 {
        let programs = [stub(DESCRIPTORS, true), guest()];
        let answers = programs.map(|program| run(&program, architecture, rip, call, args));
        answers.into_iter().min_by_key(|answer| answer.cast_signed()).unwrap_or(KILL)
    }

    fn as_guest(rip: u64, call: i64, args: [u64; 6]) -> u32 {
        with_both(X86_64, rip, call, args)
    }

    #[test]
    fn guest_code_traps_whatever_it_asks_for() {
        for call in 0..500 {
            for rip in [0x40_0002, MAX_ADDRESS, layout::TEXT - 1, layout::CONFIG, u64::MAX] {
                assert_eq!(as_guest(rip, call, [0; 6]), TRAP);
                assert_eq!(run(&stub(DESCRIPTORS, true), X86_64, rip, call, [0; 6]), TRAP);
            }
            assert_eq!(with_both(0x4000_0003, layout::TEXT + 9, call, [0; 6]), TRAP);
        }
    }

    #[test]
    fn guest_threads_never_call_as_warden() {
        for call in 0..500 {
            assert_eq!(as_guest(layout::WARDEN + 9, call, [0; 6]), KILL);
        }
    }

    #[test]
    fn stub_text_has_few_calls() {
        let text = layout::TEXT + 9;
        let allowed: Vec<i64> =
            (0..500).filter(|call| as_guest(text, *call, [0; 6]) == ALLOW).collect();
        // Nothing of nothing: calls that do nothing at all with such arguments.
        let of_nothing = [libc::SYS_mprotect, libc::SYS_munmap, libc::SYS_rt_sigreturn];
        assert_eq!(allowed, [&of_nothing[..], &[libc::SYS_mremap, libc::SYS_exit]].concat());
        assert_eq!(as_guest(text, libc::SYS_futex, [CHANNELS, 0, 2, 0, 0, 0]), ALLOW);
        assert_eq!(as_guest(text, libc::SYS_futex, [CHANNELS - 4, 0, 2, 0, 0, 0]), KILL);
        let end = CHANNELS + layout::CHANNELS_LEN;
        assert_eq!(as_guest(text, libc::SYS_futex, [end, 0, 2, 0, 0, 0]), KILL);
        assert_eq!(as_guest(text, libc::SYS_futex, [CHANNELS, 1, 2, 0, 0, 0]), ALLOW);
        assert_eq!(as_guest(text, libc::SYS_futex, [end, 1, 2, 0, 0, 0]), KILL);
        let one = layout::CONFIG + layout::config::ONE;
        assert_eq!(as_guest(text, libc::SYS_write, [1, one, 8, 0, 0, 0]), ALLOW);
        assert_eq!(as_guest(text, libc::SYS_write, [2, one, 8, 0, 0, 0]), KILL);
        assert_eq!(as_guest(text, libc::SYS_write, [1, one, 8 | 1 << 32, 0, 0, 0]), KILL);
        for other in [0, one - 1, one + 8, CHANNELS] {
            assert_eq!(as_guest(text, libc::SYS_write, [1, other, 8, 0, 0, 0]), KILL);
        }
    }

    #[test]
    fn guest_threads_stay_in_guest_memory() {
        let call = |number, args| as_guest(layout::TEXT + 9, number, args);
        let inside = [(0x1_0000, 0x1000), (MAX_ADDRESS - 0x1000, 0x1000), (0xffff_f000, 0x2000)];
        let outside = [
            (MAX_ADDRESS - 0x1000, 0x2000),
            (0x1_0000, MAX_ADDRESS),
            (0x1000, u64::MAX - 0xfff),
            (layout::TEXT, 0x1000),
            (CHANNELS, layout::CHANNELS_LEN),
            (layout::ORDER, 0x1000),
            (layout::REPLY, 0x1000),
        ];
        for ((addr, len), answer) in
            inside.map(|range| (range, ALLOW)).into_iter().chain(outside.map(|range| (range, KILL)))
        {
            let zero = u64::MAX;
            assert_eq!(call(libc::SYS_mmap, [addr, len, 7, FIXED, zero, 0]), answer);
            assert_eq!(call(libc::SYS_munmap, [addr, len, 0, 0, 0, 0]), answer);
            assert_eq!(call(libc::SYS_mprotect, [addr, len, 7, 0, 0, 0]), answer);
            assert_eq!(call(libc::SYS_madvise, [addr, len, 4, 0, 0, 0]), answer);
            assert_eq!(call(libc::SYS_mremap, [addr, len, len, 0, 0, 0]), answer);
            assert_eq!(call(libc::SYS_mremap, [0x1_0000, 0x1000, len, 0, 0, 0]), {
                if len < MAX_ADDRESS - 0x1_0000 { ALLOW } else { KILL }
            });
            assert_eq!(call(libc::SYS_mremap, [0x1_0000, 0x1000, len, 3, addr, 0]), answer);
            assert_eq!(call(libc::SYS_mremap, [addr, len, 0x1000, 3, 0x1_0000, 0]), answer);
        }
    }

    #[test]
    fn guest_threads_make_one_kind_of_clone() {
        let clone = |flags| as_guest(layout::TEXT + 9, libc::SYS_clone, [flags, 0, 0, 0, 0, 0]);
        assert_eq!(clone(clone::THREAD), ALLOW);
        for bit in 0..64 {
            assert_eq!(clone(clone::THREAD ^ 1 << bit), KILL, "{bit}");
        }
        assert_eq!(as_guest(layout::TEXT + 9, libc::SYS_clone3, [0; 6]), KILL);
    }

    #[test]
    fn guest_threads_map_private_memory_at_a_place() {
        let map = |flags: i32, upper: u64| {
            let flags = flags as u64 | upper << 32;
            as_guest(layout::TEXT + 9, libc::SYS_mmap, [0x1_0000, 0x1000, 3, flags, 3, 0])
        };
        let private = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_ANONYMOUS;
        assert_eq!(map(private, 0), ALLOW);
        assert_eq!(map(private | libc::MAP_POPULATE | libc::MAP_NORESERVE, 0), ALLOW);
        assert_eq!(map(private, 1), KILL);
        for missing in [libc::MAP_PRIVATE, libc::MAP_FIXED, libc::MAP_ANONYMOUS] {
            assert_eq!(map(private & !missing, 0), KILL);
        }
        for bit in 0..32 {
            let known = private | libc::MAP_POPULATE | libc::MAP_NORESERVE;
            let answer = if known & 1 << bit == 0 { KILL } else { ALLOW };
            assert_eq!(map(private | 1 << bit, 0), answer, "{bit}");
        }
        for advice in -1..200 {
            let args = [0x1_0000, 0x1000, advice as u64, 0, 0, 0];
            let answer = if super::CARRIED_ADVICE.contains(&advice) { ALLOW } else { KILL };
            assert_eq!(as_guest(layout::TEXT + 9, libc::SYS_madvise, args), answer, "{advice}");
        }
        for flags in 0..16 {
            let args = [0x1_0000, 0x1000, 0x1000, flags, 0x3_0000, 0];
            let answer = if matches!(flags, 0 | 3) { ALLOW } else { KILL };
            assert_eq!(as_guest(layout::TEXT + 9, libc::SYS_mremap, args), answer, "{flags}");
        }
    }

    #[test]
    fn the_warden_stays_in_guest_memory() {
        let unmap = |addr, len| as_warden(libc::SYS_munmap, [addr, len, 0, 0, 0, 0]);
        assert_eq!(unmap(0x1_0000, 0x1000), ALLOW);
        assert_eq!(unmap(0x1_0000, MAX_ADDRESS - 0x1_0000), ALLOW);
        assert_eq!(unmap(MAX_ADDRESS - 0x1000, 0x1000), ALLOW);
        assert_eq!(unmap(MAX_ADDRESS - 0x1000, 0x2000), KILL);
        assert_eq!(unmap(0x1_0000, MAX_ADDRESS), KILL);
        assert_eq!(unmap(0xffff_f000, 0x2000), ALLOW, "a carry");
        assert_eq!(unmap(0x7ffe_ffff_f000, 0x7fff_0000_0000), KILL);
        assert_eq!(unmap(0x1000, u64::MAX - 0xfff), KILL);
        assert_eq!(unmap(layout::TEXT, 0x1000), KILL);
        assert_eq!(unmap(CHANNELS, layout::CHANNELS_LEN), ALLOW);
        assert_eq!(unmap(CHANNELS, layout::CHANNELS_LEN + 1), KILL);
        let map = |addr, flags, fd| as_warden(libc::SYS_mmap, [addr, 0x1000, 3, flags, fd, 0]);
        assert_eq!(map(0x1_0000, FIXED, u64::MAX), ALLOW);
        assert_eq!(map(0x1_0000, FIXED & !(libc::MAP_FIXED as u64), u64::MAX), KILL);
        assert_eq!(map(0x1_0000, FIXED | libc::MAP_LOCKED as u64, u64::MAX), KILL);
        let shared = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
        let file = DESCRIPTORS.first_file().into();
        assert_eq!(map(0x1_0000, shared, file), ALLOW);
        assert_eq!(map(0x1_0000, shared, file - 1), KILL, "the socket");
        assert_eq!(map(0x1_0000, shared, DESCRIPTORS.channels().into()), KILL);
        assert_eq!(map(layout::ORDER, shared, DESCRIPTORS.orders().into()), KILL, "writable");
        assert_eq!(map(layout::REPLY, shared, DESCRIPTORS.channels().into()), ALLOW);
        let remap = |old, len, to| as_warden(libc::SYS_mremap, [old, len, len, 3, to, 0]);
        assert_eq!(remap(0x1_0000, 0x1000, 0x2_0000), ALLOW);
        assert_eq!(remap(0x1_0000, 0x1000, MAX_ADDRESS), KILL);
        assert_eq!(remap(layout::CONFIG, 0x1000, 0x2_0000), KILL);
    }

    #[test]
    fn the_warden_makes_two_kinds_of_clones() {
        assert_eq!(as_warden(libc::SYS_clone, [clone::PROCESS, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(as_warden(libc::SYS_clone, [clone::THREAD, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(as_warden(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]), KILL);
        assert_eq!(as_warden(libc::SYS_execve, [0; 6]), KILL);
        assert_eq!(as_warden(libc::SYS_clone3, [0; 6]), KILL);
    }
}
