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
    // Loads the registers that `chitin_stub_fast` has saved; rbx = header.
    ".macro CHITIN_LOAD",
    "lea rsp, [rbx + {fast_registers}]",
    "pop r8",
    "pop r9",
    "pop r10",
    "pop r11",
    "pop r12",
    "pop r13",
    "pop r14",
    "pop r15",
    "pop rdi",
    "pop rsi",
    "pop rbp",
    "pop rbx",
    "pop rdx",
    "pop rax",
    "pop rcx",
    "lea rsp, [rsp + 16]",
    "popfq",
    "mov rsp, [rsp - 24]",
    ".endm",
    // ---- guest side
    "chitin_stub_handler:", // rdi = signal, rsi = siginfo, rdx = ucontext, rsp = frame
    "mov rbx, rsp",
    "or rbx, {channel_mask}",
    "sub rbx, {header_len} - 1",
    "cmp edi, {kick}",
    "jne 1f",
    // In the code below, as far as it answers anyway: nothing to say.
    "mov rax, [rdx + 168]", // RIP in ucontext
    "lea rcx, [rip + chitin_stub_fast]",
    "cmp rax, rcx",
    "jb 1f",
    "lea rcx, [rip + chitin_stub_back]",
    "cmp rax, rcx",
    "jae 1f",
    "mov dword ptr [rbx + {kicked}], 1",
    "add rsp, 8",
    "mov eax, {sys_rt_sigreturn}",
    "syscall",
    "1:",
    "mov [rbx + {signal}], edi",
    "mov [rbx + {frame}], rsp",
    "test dword ptr [rbx + {flags}], {fsgsbase}",
    "jz 2f",
    "rdfsbase rax",
    "mov [rbx + {fs_base}], rax",
    "rdgsbase rax",
    "mov [rbx + {gs_base}], rax",
    "jmp 2f",
    // Patched call sites come here: rcx = where to go on, the base of GS is the header, all signals open.
    "chitin_stub_fast:",
    "mov gs:[{fast_registers} + 15 * 8], rsp",
    "mov rsp, gs:[{fast_top}]",
    "pushfq",
    "push qword ptr [rcx - 10]",
    "lea rsp, [rsp - 8]",
    "push rcx",
    "push rax",
    "push rdx",
    "push rbx",
    "push rbp",
    "push rsi",
    "push rdi",
    "push r15",
    "push r14",
    "push r13",
    "push r12",
    "push r11",
    "push r10",
    "push r9",
    "push r8",
    "lea rbx, [rsp - {fast_registers}]",
    "mov dword ptr [rbx + {signal}], {fast_signal}",
    "rdfsbase rax",
    "mov [rbx + {fs_base}], rax",
    "mov dword ptr [rbx + {kicked}], 0",
    "2:",
    "mov ecx, 0x7b", // as in CHITIN_RING
    "lsl r8d, ecx",
    "and r8d, 0xfff",
    "mov [rbx + {core}], r8d",
    "mov eax, {posted}",
    "xchg [rbx + {word}], eax",
    // While a worker spins on another core, it will see the word: no need to ring.
    "mov rsi, {config}",
    "mov edx, [rsi + {spinner}]",
    "sub edx, 1",
    "jc 13f",
    "cmp edx, r8d",
    "je 13f",
    "mov ecx, [rsi + {spin_posted}]",
    "10:",
    "cmp dword ptr [rbx + {word}], {posted}",
    "jne 11f",
    "pause",
    "sub ecx, 1",
    "ja 10b",
    "jmp 13f",
    "11:",
    "mov ecx, [rsi + {spin_taken}]",
    "12:",
    "cmp dword ptr [rbx + {word}], {taken}",
    "jne 3f",
    "pause",
    "sub ecx, 1",
    "ja 12b",
    "jmp 3f",
    "13:",
    "CHITIN_RING",
    "3:",
    "mov eax, [rbx + {word}]",
    "14:",
    "test eax, eax",
    "jz 5f",
    "cmp eax, {exit}",
    "je 5f",
    "cmp eax, {parked}",
    "je 4f",
    "mov ecx, {parked}",
    "lock cmpxchg [rbx + {word}], ecx",
    "jne 14b",
    "4:",
    "lea rdi, [rbx + {word}]",
    "xor esi, esi",
    "mov edx, {parked}",
    "xor r10d, r10d",
    "mov eax, {sys_futex}",
    "syscall",
    "jmp 3b",
    "5:",
    "cmp eax, {exit}",
    "je 8f",
    "mov eax, [rbx + {flags}]",
    "test eax, {set_bases}",
    "jz 7f",
    "test eax, {fsgsbase}",
    "jz 6f",
    "mov rax, [rbx + {fs_base}]",
    "wrfsbase rax",
    "mov rax, [rbx + {gs_base}]",
    "wrgsbase rax",
    "jmp 7f",
    "6:",
    "mov edi, 0x1002", // ARCH_SET_FS
    "mov rsi, [rbx + {fs_base}]",
    "mov eax, {sys_arch_prctl}",
    "syscall",
    "mov edi, 0x1001", // ARCH_SET_GS
    "mov rsi, [rbx + {gs_base}]",
    "mov eax, {sys_arch_prctl}",
    "syscall",
    "7:",
    "mov eax, [rbx + {flags}]",
    "test eax, {fast} | {convert}",
    "jnz 9f",
    "mov rsp, [rbx + {frame}]",
    "add rsp, 8",
    "mov eax, {sys_rt_sigreturn}",
    "syscall",
    "9:",
    "test eax, {convert}",
    "jnz 16f",
    "chitin_stub_back:",
    "cmp dword ptr [rbx + {kicked}], 0",
    "jne 16f",
    "CHITIN_LOAD",
    "jmp rcx",
    "16:",
    "CHITIN_LOAD",
    "int3",
    "chitin_stub_converted:",
    "ud2",
    "8:",
    "xor edi, edi",
    "mov eax, {sys_exit}",
    "syscall",
    "ud2",
    // Patched call sites come here once the fast way is closed: the call traps after all.
    "chitin_stub_trap:",
    "lea r11, [rcx - 2]",
    "jmp r11",
    // A new thread comes here with its frame as stack.
    "chitin_stub_return:",
    "mov rbx, rsp",
    "or rbx, {channel_mask}",
    "sub rbx, {header_len} - 1",
    "jmp 3b",
    // An agent comes here: rdi = address, eax = what is expected, edx = what is to be there.
    "chitin_stub_compare:",
    "lock cmpxchg [rdi], edx",
    "int3",
    "chitin_stub_compared:",
    "ud2",
    ".balign 4096, 0xcc",
    // ---- warden: rbx = order page, ebp = flags, r12d = list number, r13 = operation, r14 = expected, r15 = error
    "chitin_stub_warden:",
    "mov rbx, {order}",
    "20:",
    "mov eax, [rbx]",
    "test eax, eax",
    "jz 21f",
    "cmp eax, r12d",
    "jne 22f",
    "21:",
    "mov rdi, rbx",
    "xor esi, esi",
    "mov edx, eax",
    "xor r10d, r10d",
    "mov eax, {sys_futex}",
    "syscall",
    "jmp 20b",
    "22:",
    "mov r12d, eax",
    "lea r13, [rbx + {ops}]",
    "xor r15d, r15d",
    "23:",
    "mov ebp, [r13 + 4]",
    "mov rdi, [r13 + 8]",
    "mov rsi, [r13 + 16]",
    "mov rdx, [r13 + 24]",
    "mov r10, [r13 + 32]",
    "mov r8, [r13 + 40]",
    "mov r9, [r13 + 48]",
    "mov r14, [r13 + 56]",
    "mov eax, [r13]",
    "cmp [rbx], r12d",
    "jne 40f",
    "test r15, r15",
    "jz 24f",
    "test ebp, {f_always}",
    "jz 29f",
    "24:",
    "syscall",
    "test ebp, {f_process} | {f_thread}",
    "jz 25f",
    "test rax, rax",
    "jz 32f",
    "25:",
    "mov rdx, r13",
    "sub rdx, rbx",
    "shr edx, 3",
    "mov rcx, {reply}",
    "mov [rcx + rdx + {results} - {ops} / 8], rax",
    "test ebp, {f_expect}",
    "jz 26f",
    "cmp rax, r14",
    "jne 40f",
    "26:",
    "cmp rax, -4095",
    "jb 27f",
    "test ebp, {f_ignore}",
    "jnz 27f",
    "test ebp, {f_fatal}",
    "jnz 40f",
    "test r15, r15",
    "jnz 29f",
    "mov r15, rax",
    "jmp 29f",
    "27:",
    "test ebp, {f_switch}",
    "jnz 34f",
    "29:",
    "test ebp, {f_last}",
    "jnz 30f",
    "add r13, {op_len}",
    "jmp 23b",
    "30:",
    "mov rcx, {reply}",
    "mov [rcx + {error}], r15",
    "mov eax, r12d",
    "xchg [rcx + {done}], eax",
    "CHITIN_RING",
    "jmp 20b",
    "32:", // a child
    "test ebp, {f_thread}",
    "jnz 33f",
    "shl r14, 6",
    "lea r13, [rbx + r14 + {ops}]",
    "xor r15d, r15d",
    "jmp 23b",
    "33:", // a new thread: the filter of guest threads first
    "mov edi, 1",
    "xor esi, esi",
    "mov rdx, {config} + {guest_program}",
    "mov eax, {sys_seccomp}",
    "syscall",
    "test rax, rax",
    "jnz 40f",
    "jmp chitin_stub_return",
    "34:", // another order page
    "mov eax, [rbx]",
    "cmp eax, r14d",
    "je 22b",
    "40:",
    "mov edi, 99",
    "mov eax, {sys_exit_group}",
    "syscall",
    "ud2",
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
    kick = const layout::KICK,
    kicked = const channel::KICKED,
    fast = const channel::FAST,
    convert = const channel::CONVERT,
    fast_top = const channel::FAST_TOP,
    fast_registers = const channel::FAST_REGISTERS,
    fast_signal = const channel::FAST_SIGNAL,
    taken = const channel::TAKEN,
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
