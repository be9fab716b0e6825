//! Guest threads: futex calls from patched sites, as far as they need no sentry.
//!
//! - A wake of a private word that nobody waits on is answered here. The sentry counts its waiters by the address's
//!   hash in the reply page, before it compares the word; the guest has changed the word before it comes here. So one of both
//!   sees the other, and a wake is never lost.
//! - A wait whose word has another value is answered here.
//! - A wait without a time limit looks at the word for some microseconds before it goes to the sentry, while there is a core
//!   for each guest that runs: who is to change it runs on one. Nobody can tell that from a caller that was late. How long
//!   depends on what came of it before: a thread that has waited in vain looks less the next times, and one that has lost
//!   its core meanwhile does not look for a while.
//!
//! The word may not be readable. The fault is at `chitin_stub_look`, and the handler sends the thread on to ask the sentry.
//!
//! Costs: some 40 ns for what is answered here. A wait in vain costs its time on a core that nobody else needs.

/// `fast` has saved the registers and comes here; rbx = header.
macro_rules! futex {
    () => {
        $crate::raw::text::lines! {
        ".Lchitin_futex:",
        "cmp qword ptr [rbx + {silent}], 0",
        "jne .Lchitin_ask_now",
        "mov rdi, [rbx + {fast_registers} + 8 * 8]",
        "test edi, 3",
        "jnz .Lchitin_ask_now",
        "mov rax, {max_address}",
        "cmp rdi, rax",
        "jae .Lchitin_ask_now",
        "mov esi, [rbx + {fast_registers} + 9 * 8]",
        "mov ecx, esi",
        "and ecx, ~0x80", // FUTEX_PRIVATE_FLAG
        "jz .Lchitin_futex_wait", // FUTEX_WAIT
        "cmp ecx, 1", // FUTEX_WAKE
        "je .Lchitin_futex_wake",
        "cmp dword ptr [rbx + {fast_registers} + 1 * 8], 0", // of the others, the bitset
        "je .Lchitin_ask_now",
        "cmp ecx, 10", // FUTEX_WAKE_BITSET
        "je .Lchitin_futex_wake",
        "and ecx, ~0x100", // FUTEX_CLOCK_REALTIME, without meaning where there is no time
        "cmp ecx, 9", // FUTEX_WAIT_BITSET
        "jne .Lchitin_ask_now",
        ".Lchitin_futex_wait:",
        "cmp qword ptr [rbx + {fast_registers} + 2 * 8], 0", // the time limit
        "jne .Lchitin_ask_now",
        "mov r12d, [rbx + {fast_registers} + 12 * 8]",
        "mov r8, {config}",
        "mov r9d, [rbx + {patience}]",
        "xor r10d, r10d",
        ".Lchitin_futex_look:",
        "chitin_stub_look:",
        "cmp [rdi], r12d",
        "jne .Lchitin_futex_changed",
        "cmp r10d, r9d",
        "jge .Lchitin_futex_vain",
        "mov eax, [r8 + {running}]",
        "cmp eax, [r8 + {cores}]",
        "ja .Lchitin_ask_now",
        "cmp dword ptr [rbx + {kicked}], 0",
        "jne .Lchitin_ask_now",
        "test r10d, r10d",
        "jnz .Lchitin_futex_again",
        "rdtsc",
        "mov r13d, eax",
        ".Lchitin_futex_again:",
        "add r10d, 1",
        "mov ecx, [r8 + {look_pauses}]",
        ".Lchitin_futex_pause:",
        "pause",
        "sub ecx, 1",
        "ja .Lchitin_futex_pause",
        "jmp .Lchitin_futex_look",
        // Half as long the next time; not at all for a while behind the shortest.
        ".Lchitin_futex_vain:",
        "mov eax, {patience_none}",
        "sar r9d, 1",
        "cmovz r9d, eax",
        "jns .Lchitin_futex_note",
        "mov r9d, [rbx + {patience}]",
        "add r9d, 1",
        "mov eax, {patience_again}",
        "cmovns r9d, eax",
        ".Lchitin_futex_note:",
        "mov [rbx + {patience}], r9d",
        "jmp .Lchitin_ask_now",
        ".Lchitin_futex_changed:",
        "mov qword ptr [rbx + {call}], -{eagain}",
        "test r10d, r10d",
        "jz chitin_stub_back",
        // Twice as long the next time; not if this took so long that others must have had this core.
        "rdtsc",
        "sub eax, r13d",
        "mov ecx, {patience_none}",
        "lea edx, [r9 + r9 + 1]",
        "cmp edx, {patience_most}",
        "cmovg edx, r9d",
        "cmp eax, [r8 + {look_ticks}]",
        "mov eax, edx",
        "cmova eax, ecx",
        "mov [rbx + {patience}], eax",
        "jmp chitin_stub_back",
        ".Lchitin_futex_wake:",
        "test esi, 0x80",
        "jz .Lchitin_ask_now",
        "lock or dword ptr [rbx + {kicked}], 0", // the guest's store comes before the load below
        "mov eax, edi",
        "shr eax, 2",
        "and eax, {waiters_mask}",
        "mov rcx, {reply} + {waiters}",
        "cmp dword ptr [rcx + 4 * rax], 0",
        "jne .Lchitin_ask_now",
        "mov qword ptr [rbx + {call}], 0",
        "jmp chitin_stub_back",
        }
    };
}
pub(super) use futex;

/// Of the handler, for signals that are no kick: rdx = ucontext.
macro_rules! fault {
    () => {
        $crate::raw::text::lines! {
        ".Lchitin_no_kick:", // rax = RIP
        "lea rsi, [rip + .Lchitin_ask_now]",
        "lea rcx, [rip + chitin_stub_look]",
        "cmp rax, rcx",
        "je .Lchitin_send_on",
        // While bytes are carried: they are not.
        "cmp edi, {segv}",
        "je .Lchitin_fault",
        "cmp edi, {bus}",
        "jne .Lchitin_stopped",
        ".Lchitin_fault:",
        "lea rsi, [rip + chitin_stub_out_failed]",
        "lea rcx, [rip + chitin_stub_out]",
        "cmp rax, rcx",
        "je .Lchitin_send_on",
        "lea rcx, [rip + chitin_stub_copy]",
        "cmp rax, rcx",
        "jb .Lchitin_stopped",
        "lea rsi, [rip + chitin_stub_copied]",
        "cmp rax, rsi",
        "jae .Lchitin_stopped",
        ".Lchitin_send_on:",
        "mov [rdx + 168], rsi",
        "add rsp, 8",
        "mov eax, {sys_rt_sigreturn}",
        "syscall",
        }
    };
}
pub(super) use fault;
