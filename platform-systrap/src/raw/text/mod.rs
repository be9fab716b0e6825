//! The code that runs in stubs: assembly, position-independent, without calls out of itself.
//!
//! **Guest side** (first page). `chitin_stub_handler` is the handler of every signal that a guest can cause,
//! on an alternate stack that is the channel. It leaves the frame's address in the channel's header, says so
//! to the sentry and sleeps on the header's word; the sentry reads and writes registers in the frame itself.
//! It trusts nothing but its stack pointer: guest code can change FS, GS and all memory that this code can write.
//! Whatever it does, guest code could do with the same rights, so only the seccomp filter matters for security.
//!
//! `chitin_stub_fast` is where patched call sites go (see `patch`): it saves the registers in the channel's header, in
//! the order of a signal frame, and goes on as the handler does. Signals are open there. An interruption that comes
//! before the registers are loaded again is only written down; later ones are events like any other, and the sentry knows
//! from the saved registers where the guest is.
//!
//! **Warden** (second page). The thread-group leader, all signals blocked. It has no stack: it keeps everything
//! in registers and takes every argument from the order page, which no code in the stub can write. Each
//! operation is loaded whole and the list's number is compared behind that, so that a list that the sentry
//! rewrites (because guest code forged a reply) is never carried out in halves: the process ends instead.
//!
//! Costs: handler: no host call but at most one `write` (only while the worker of this core sleeps and none spins
//! elsewhere), one `futex` (only if the answer is not there), and `rt_sigreturn`.

use core::arch::global_asm;

use crate::layout::{self, channel, config, op, order, reply};

mod carry;
mod cpuid;
mod fast;
mod futex;
mod guest;
mod warden;

/// Lines of assembly as one literal.
macro_rules! lines {
    ($($line:literal),* $(,)?) => {
        concat!($($line, "\n"),*)
    };
}
pub(crate) use lines;

global_asm!(
    ".pushsection .text.chitin_stub, \"ax\", @progbits",
    ".balign 4096",
    ".globl chitin_stub_start, chitin_stub_warden, chitin_stub_end, chitin_stub_handler, chitin_stub_return",
    ".hidden chitin_stub_start",
    ".hidden chitin_stub_warden",
    ".hidden chitin_stub_end",
    ".hidden chitin_stub_handler",
    ".hidden chitin_stub_return",
    ".globl chitin_stub_compare, chitin_stub_compared",
    ".hidden chitin_stub_compare",
    ".hidden chitin_stub_compared",
    ".globl chitin_stub_fast, chitin_stub_back, chitin_stub_converted",
    ".hidden chitin_stub_fast",
    ".hidden chitin_stub_back",
    ".hidden chitin_stub_converted",
    ".globl chitin_stub_trap",
    ".hidden chitin_stub_trap",
    ".globl chitin_stub_answered",
    ".hidden chitin_stub_answered",
    // Rings the worker of this core if it sleeps. Takes rax, rcx, rdx, rsi, rdi, r11.
    ".macro CHITIN_RING",
    "mov ecx, 0x7b", // the kernel keeps the core's number in this segment's limit
    "lsl eax, ecx",
    "and eax, 0x3ff",
    "mov rsi, {config}",
    "movzx edi, byte ptr [rsi + rax + {worker_of}]",
    "mov ecx, edi",
    "shl ecx, 6",
    "cmp dword ptr [rsi + rcx + {sleeping}], 0",
    "je 99f",
    "add rsi, {one}",
    "mov edx, 8",
    "mov eax, {sys_write}",
    "syscall",
    "99:",
    ".endm",
    "chitin_stub_start:",
    fast::load!(),
    guest::handler!(),
    fast::answers!(),
    fast::fast!(),
    futex::futex!(),
    guest::answer!(),
    carry::carry!(),
    futex::fault!(),
    cpuid::cpuid!(),
    guest::back!(),
    fast::trap!(),
    ".balign 4096, 0xcc",
    warden::warden!(),
    ".balign 4096, 0xcc",
    "chitin_stub_end:",
    ".popsection",
    config = const layout::CONFIG,
    order = const layout::ORDER,
    reply = const layout::REPLY,
    channel_mask = const layout::CHANNEL_LEN - 1,
    header_len = const channel::HEADER_LEN,
    word = const channel::WORD,
    signal = const channel::SIGNAL,
    frame = const channel::FRAME,
    fs_base = const channel::FS_BASE,
    gs_base = const channel::GS_BASE,
    flags = const channel::FLAGS,
    posted = const channel::POSTED,
    parked = const channel::PARKED,
    exit = const channel::EXIT,
    max_address = const layout::MAX_ADDRESS,
    patience = const channel::PATIENCE,
    patience_none = const -32,
    patience_again = const 4,
    patience_most = const 80,
    running = const config::RUNNING,
    cores = const config::CORES,
    look_pauses = const config::LOOK_PAUSES,
    look_ticks = const config::LOOK_TICKS,
    waiters = const reply::WAITERS,
    waiters_mask = const reply::WAITERS_COUNT - 1,
    eagain = const libc::EAGAIN,
    carrying = const channel::CARRYING,
    stay = const channel::STAY,
    carry = const channel::CARRY,
    carry_error = const channel::CARRY_ERROR,
    carry_result = const channel::CARRY_RESULT,
    carried = const channel::CARRIED,
    carry_failed = const channel::CARRY_FAILED,
    carry_done = const channel::CARRY_DONE,
    awaited = const channel::AWAITED,
    kick = const layout::KICK,
    kicked = const channel::KICKED,
    fast = const channel::FAST,
    convert = const channel::CONVERT,
    fast_top = const channel::FAST_TOP,
    fast_registers = const channel::FAST_REGISTERS,
    fast_signal = const channel::FAST_SIGNAL,
    taken = const channel::TAKEN,
    cont = const channel::CONT,
    header = const channel::HEADER,
    ins = const channel::IN,
    in_len = const channel::IN_LEN,
    in_most = const channel::IN_MOST,
    outs = const channel::OUTS,
    outs_most = const channel::OUTS_MOST,
    outs_stride = const channel::OUTS_STRIDE,
    luggage = const config::LUGGAGE,
    luggage_calls = const config::LUGGAGE_CALLS,
    segv = const libc::SIGSEGV,
    cpuid = const config::CPUID,
    cpuid_count = const config::CPUID_COUNT,
    cpuid_stride = const config::CPUID_STRIDE,
    cpuid_mark = const config::CPUID_MARK,
    bus = const libc::SIGBUS,
    silent = const channel::SILENT,
    answers = const channel::ANSWERS,
    numbers = const config::ANSWER_NUMBERS,
    slots = const config::ANSWER_SLOTS,
    call = const channel::CALL,
    place = const channel::PLACE,
    spin_hot = const config::SPIN_HOT,
    serving = const config::SERVING,
    core = const channel::CORE,
    spinner = const config::SPINNER,
    spin_posted = const config::SPIN_POSTED,
    spin_taken = const config::SPIN_TAKEN,
    set_bases = const channel::SET_BASES,
    fsgsbase = const channel::FSGSBASE,
    worker_of = const config::WORKER_OF,
    one = const config::ONE,
    sleeping = const config::SLEEPING,
    guest_program = const config::GUEST_PROGRAM,
    ops = const order::OPS,
    op_len = const order::OP_LEN,
    results = const reply::RESULTS,
    error = const reply::ERROR,
    done = const reply::DONE,
    f_always = const op::ALWAYS,
    f_process = const op::PROCESS,
    f_thread = const op::THREAD,
    f_expect = const op::EXPECT,
    f_ignore = const op::IGNORE,
    f_fatal = const op::FATAL,
    f_switch = const op::SWITCH,
    f_last = const op::LAST,
    sys_write = const libc::SYS_write,
    sys_futex = const libc::SYS_futex,
    sys_rt_sigreturn = const libc::SYS_rt_sigreturn,
    sys_arch_prctl = const libc::SYS_arch_prctl,
    sys_exit = const libc::SYS_exit,
    sys_exit_group = const libc::SYS_exit_group,
    sys_seccomp = const libc::SYS_seccomp,
);

unsafe extern "C" {
    static chitin_stub_start: u8;
    static chitin_stub_warden: u8;
    static chitin_stub_end: u8;
    static chitin_stub_handler: u8;
    static chitin_stub_return: u8;
    static chitin_stub_compare: u8;
    static chitin_stub_compared: u8;
    static chitin_stub_fast: u8;
    static chitin_stub_back: u8;
    static chitin_stub_converted: u8;
    static chitin_stub_trap: u8;
    static chitin_stub_answered: u8;
}

/// The bytes of the stub's code, to be mapped at [`layout::TEXT`].
pub fn bytes() -> &'static [u8] {
    let start = &raw const chitin_stub_start;
    let end = &raw const chitin_stub_end;
    // SAFETY: both symbols delimit one section of this program, which is readable and never changes.
    unsafe { core::slice::from_raw_parts(start, end as usize - start as usize) }
}

/// Where the signal handler is in a stub.
pub fn handler() -> u64 {
    offset(&raw const chitin_stub_handler)
}

/// Where the code is that a signal handler's return address would name (it is never used).
pub fn restorer() -> u64 {
    offset(&raw const chitin_stub_return)
}

/// Where an agent's instruction is, and where it stops behind it.
pub fn compare_exchange() -> (u64, u64) {
    (offset(&raw const chitin_stub_compare), offset(&raw const chitin_stub_compared))
}

/// Where patched call sites go: the first instruction there is the only one that can fault.
pub fn fast() -> u64 {
    offset(&raw const chitin_stub_fast)
}

/// Where a call stops that the stub has answered: `rax` is the result, and RCX says where the guest goes on.
pub fn answered() -> u64 {
    offset(&raw const chitin_stub_answered)
}

/// Where they go when they are to trap after all.
pub fn trap() -> u64 {
    offset(&raw const chitin_stub_trap)
}

/// The code that loads the registers for a patched call site again: from here on an interruption is an event. Its
/// end is where a thread stops that has been made to trap.
pub fn back() -> (u64, u64) {
    (offset(&raw const chitin_stub_back), offset(&raw const chitin_stub_converted))
}

/// Whether the warden's code begins where the filters think that it does.
pub fn is_laid_out() -> bool {
    offset(&raw const chitin_stub_warden) == layout::WARDEN
        && bytes().len() as u64 == layout::TEXT_LEN
}

fn offset(symbol: *const u8) -> u64 {
    layout::TEXT + (symbol as u64 - (&raw const chitin_stub_start) as u64)
}
