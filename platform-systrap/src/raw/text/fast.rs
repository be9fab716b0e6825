//! Guest threads: where patched call sites go.

/// Loads the registers that `chitin_stub_fast` has saved; rbx = header.
macro_rules! load {
    () => {
        $crate::raw::text::lines! {
        // Loads the registers that `chitin_stub_fast` has saved; rbx = header.
        ".macro CHITIN_LOAD",
        "lea rsp, [rbx + {fast_registers}]",
        "mov rax, [rbx + {call}]",
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
        "pop rcx", // RAX is there already
        "pop rcx",
        "lea rsp, [rsp + 16]",
        "popfq",
        "mov rsp, [rsp - 24]",
        ".endm",
        }
    };
}
pub(super) use load;

/// Patched call sites come here: rcx = where to go on, the base of GS is the header, all signals open. Answers what needs
/// no sentry, without touching a flag.
///
/// A kick that comes here sends the call to the sentry (see the handler): until the last instruction nothing is lost
/// but r11, and rcx is in the header.
macro_rules! answers {
    () => {
        $crate::raw::text::lines! {
        "chitin_stub_fast:",
        "mov gs:[{cont}], rcx",
        "movzx r11d, al",
        "mov rcx, {config} + {numbers}",
        "movsxd rcx, dword ptr [rcx + 4 * r11]",
        "lea rcx, [rcx + rax]",
        "jrcxz 1f",
        "jmp .Lchitin_ask",
        "1:",
        "mov rcx, gs:[{silent}]",
        "jrcxz 2f",
        "jmp .Lchitin_ask",
        "2:",
        "mov rcx, {config} + {slots}",
        "movzx r11d, byte ptr [rcx + r11]",
        "mov rcx, gs:[{cont}]",
        "mov rax, gs:[{answers} + 8 * r11]",
        "chitin_stub_answered:",
        "jmp rcx",
        ".Lchitin_ask:",
        "mov rcx, gs:[{cont}]",
        }
    };
}
pub(super) use answers;

/// Saves the registers in the header, in the order of a signal frame.
macro_rules! fast {
    () => {
        $crate::raw::text::lines! {
        "mov gs:[{fast_registers} + 15 * 8], rsp",
        "mov rsp, gs:[{fast_top}]",
        "pushfq",
        "mov r11, [rcx - 10]",
        "add r11, rcx",
        "push r11",
        "mov r11, [rsp + 8]", // as `syscall` does
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
        "rdfsbase rcx",
        "mov [rbx + {fs_base}], rcx",
        // What goes with the call, by its number.
        "cmp rax, {luggage_calls}",
        "jae 31f",
        "cmp eax, {sys_futex}",
        "je .Lchitin_futex",
        "mov rcx, {config} + {luggage}",
        "mov r12, [rcx + 8 * rax]",
        "test r12, r12",
        "jz 31f",
        "cld",
        "lea r13, [rbx - {header}]",
        "lea r14, [rbx + {ins}]",
        // r12 = what of this argument, then of the next; r13 = where to, r14 = where the number of bytes is put.
        "21:",
        "mov dword ptr [r14], 0",
        "movzx ecx, r12b",
        "mov rsi, [rbx + {fast_registers} + 8 * rcx - 8]",
        "mov rdi, r13",
        "lea rax, [rsi - 1]", // null, and addresses that no guest has
        "shr rax, 47",
        "jnz 29f",
        "shr r12, 8",
        "movzx ecx, r12b",
        "test ecx, ecx",
        "jnz 25f",
        // A string: bytes up to a multiple of 8, then double words, which never lie in two pages.
        "lea r9, [rdi + {in_most}]",
        "22:",
        "test esi, 7",
        "jz 23f",
        "chitin_stub_copy:",
        "movzx eax, byte ptr [rsi]",
        "mov [rdi], al",
        "inc rsi",
        "inc rdi",
        "test al, al",
        "jz 28f",
        "jmp 22b",
        "23:",
        "mov r10, 0x0101010101010101",
        "mov r11, 0x8080808080808080",
        "24:",
        "cmp rdi, r9",
        "jae 28f",
        "mov rax, [rsi]",
        "mov [rdi], rax",
        "add rsi, 8",
        "add rdi, 8",
        "mov rcx, rax",
        "not rcx",
        "sub rax, r10",
        "and rcx, r11",
        "test rcx, rax",
        "jz 24b",
        "jmp 28f",
        // A structure, or an array whose length another argument says.
        "25:",
        "mov edx, ecx",
        "and edx, 0x7f",
        "test cl, 0x80",
        "jz 26f",
        "and edx, 15",
        "mov rdx, [rbx + {fast_registers} + 8 * rdx - 8]",
        "shr ecx, 4",
        "and ecx, 7",
        "cmp rdx, {in_most}",
        "ja 29f",
        "shl rdx, cl",
        "cmp rdx, {in_most}",
        "ja 29f",
        "26:",
        "mov rcx, rdx",
        "rep movsb",
        "28:",
        "sub rdi, r13",
        "mov [r14], edi",
        "29:",
        "chitin_stub_copied:",
        // The next argument.
        "lea r13, [rbx - {header} + {in_len}]",
        "add r14, 4",
        "mov rax, [rbx + {fast_registers} + 8 * 13]",
        "mov rcx, {config} + {luggage}",
        "mov r12d, [rcx + 8 * rax + 4]",
        "test r12d, r12d",
        "jz 30f",
        "lea rcx, [rbx + {ins} + 8]",
        "cmp r14, rcx",
        "jb 21b",
        "30:",
        // Others come here to ask the sentry after all.
        ".Lchitin_ask_now:",
        "mov rax, [rbx + {fast_registers} + 8 * 13]",
        "mov rdi, [rbx + {fast_registers} + 8 * 8]",
        "mov rsi, [rbx + {fast_registers} + 8 * 9]",
        "mov rdx, [rbx + {fast_registers} + 8 * 12]",
        "mov r10, [rbx + {fast_registers} + 8 * 2]",
        "mov r8, [rbx + {fast_registers}]",
        "mov r9, [rbx + {fast_registers} + 8]",
        // The line that the sentry looks at, all at once: it moves to the other core and back whenever it is touched.
        "31:",
        // Kicks that came before are seen by who takes the request.
        "mov dword ptr [rbx + {kicked}], 0",
        "mov ecx, 0x7b", // as in CHITIN_RING
        "lsl r12d, ecx",
        "and r12d, 0xfff",
        "mov [rbx + {core}], r12d",
        "mov dword ptr [rbx + {signal}], {fast_signal}",
        "mov [rbx + {call}], rax",
        "mov [rbx + {call} + 8], rdi",
        "mov [rbx + {call} + 16], rsi",
        "mov [rbx + {call} + 24], rdx",
        "mov [rbx + {call} + 32], r10",
        "mov [rbx + {call} + 40], r8",
        "mov [rbx + {call} + 48], r9",
        "mov dword ptr [rbx + {word}], {posted}",
        "mov r8d, r12d",
        "jmp .Lchitin_posted",
        }
    };
}
pub(super) use fast;

/// Once the fast way is closed.
macro_rules! trap {
    () => {
        $crate::raw::text::lines! {
        // Patched call sites come here once the fast way is closed: the call traps after all.
        "chitin_stub_trap:",
        "lea r11, [rcx - 2]",
        "jmp r11",
        }
    };
}
pub(super) use trap;
