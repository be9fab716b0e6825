//! Guest threads: the handler of every signal that a guest can cause, the wait for the sentry's answer, and the ways
//! back to the guest.

/// rdi = signal, rsi = siginfo, rdx = ucontext, rsp = frame.
macro_rules! handler {
    () => {
        $crate::raw::text::lines! {
        // ---- guest side
        "chitin_stub_handler:", // rdi = signal, rsi = siginfo, rdx = ucontext, rsp = frame
        "mov rbx, rsp",
        "or rbx, {channel_mask}",
        "sub rbx, {header_len} - 1",
        "cmp edi, {kick}",
        "jne .Lchitin_no_kick",
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
        ".Lchitin_stopped:",
        "mov [rbx + {signal}], edi",
        "mov [rbx + {frame}], rsp",
        "test dword ptr [rbx + {flags}], {fsgsbase}",
        "jz .Lchitin_post",
        "rdfsbase rax",
        "mov [rbx + {fs_base}], rax",
        "rdgsbase rax",
        "mov [rbx + {gs_base}], rax",
        "jmp .Lchitin_post",
        }
    };
}
pub(super) use handler;

/// Says so to the sentry, waits, and goes on as the header says; rbx = header.
macro_rules! answer {
    () => {
        $crate::raw::text::lines! {
        ".Lchitin_post:",
        // Kicks that came before are seen by who takes the request.
        "mov dword ptr [rbx + {kicked}], 0",
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
        "test eax, {carrying}",
        "jnz .Lchitin_carry",
        ".Lchitin_carried:",
        "mov eax, [rbx + {flags}]",
        "test eax, {fast} | {convert}",
        "jnz 9f",
        "mov rsp, [rbx + {frame}]",
        "add rsp, 8",
        "mov eax, {sys_rt_sigreturn}",
        "syscall",
        }
    };
}
pub(super) use answer;

/// Loads the registers that a patched call site has saved, and goes on; eax = flags.
macro_rules! back {
    () => {
        $crate::raw::text::lines! {
        "9:",
        "test eax, {convert}",
        "jnz 16f",
        "chitin_stub_back:",
        "cmp dword ptr [rbx + {kicked}], 0",
        "jne 16f",
        "CHITIN_LOAD",
        "jmp rcx",
        "16:",
        "mov dword ptr [rbx + {kicked}], 0",
        "CHITIN_LOAD",
        "int3",
        "chitin_stub_converted:",
        "ud2",
        "8:",
        "xor edi, edi",
        "mov eax, {sys_exit}",
        "syscall",
        "ud2",
        // A new thread comes here with its frame as stack.
        "chitin_stub_return:",
        "mov rbx, rsp",
        "or rbx, {channel_mask}",
        "sub rbx, {header_len} - 1",
        // While a worker spins elsewhere, it will soon be told to go.
        "mov rsi, {config}",
        "cmp dword ptr [rsi + {spinner}], 0",
        "jne 11b",
        "jmp 3b",
        // An agent comes here: rdi = address, eax = what is expected, edx = what is to be there.
        "chitin_stub_compare:",
        "lock cmpxchg [rdi], edx",
        "int3",
        "chitin_stub_compared:",
        "ud2",
        }
    };
}
pub(super) use back;
