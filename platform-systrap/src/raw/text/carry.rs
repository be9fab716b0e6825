//! Guest threads: memory operations and clones of themselves that they carry out on their way back to the guest.
//!
//! The list lies in the thread's own channel, so guest code can have put anything there: the filter lets no call through that
//! does more than what guest code may do to its own memory. Interruptions wait: in the handler the signal is blocked, behind
//! a patched call site it is only written down, because this lies between `chitin_stub_fast` and `chitin_stub_back`.
//!
//! Costs: the calls themselves, and one `futex` where the warden waits for them.

/// rbx = header, r12 = operation, ebp = its flags, r13 = first error.
macro_rules! carry {
    () => {
        $crate::raw::text::lines! {
        ".Lchitin_carry:",
        "lea r12, [rbx + {carried}]",
        "xor r13d, r13d",
        ".Lchitin_carry_next:",
        "mov ebp, [r12 + 4]",
        "test r13, r13",
        "jz .Lchitin_carry_call",
        "test ebp, {f_always}",
        "jz .Lchitin_carry_done",
        ".Lchitin_carry_call:",
        "mov rdi, [r12 + 8]",
        "mov rsi, [r12 + 16]",
        "mov rdx, [r12 + 24]",
        "mov r10, [r12 + 32]",
        "mov r8, [r12 + 40]",
        "mov r9, [r12 + 48]",
        "mov eax, [r12]",
        "syscall",
        "test ebp, {f_thread}",
        "jz .Lchitin_carry_parent",
        "test rax, rax",
        "jz chitin_stub_return",
        ".Lchitin_carry_parent:",
        "mov [rbx + {carry_result}], rax",
        "cmp rax, -4095",
        "jb .Lchitin_carry_done",
        "test ebp, {f_ignore}",
        "jnz .Lchitin_carry_done",
        "mov r13, rax",
        ".Lchitin_carry_done:",
        "add r12, {op_len}",
        "test ebp, {f_last}",
        "jz .Lchitin_carry_next",
        "mov [rbx + {carry_error}], r13",
        "xor eax, eax",
        "xchg [rbx + {carry}], eax",
        "cmp eax, {awaited}",
        "jne .Lchitin_carry_told",
        "lea rdi, [rbx + {carry}]",
        "mov esi, 1", // FUTEX_WAKE
        "mov edx, 1",
        "mov eax, {sys_futex}",
        "syscall",
        ".Lchitin_carry_told:",
        "mov dword ptr [rbx + {signal}], {carry_failed}",
        "test r13, r13",
        "jnz .Lchitin_post",
        "mov dword ptr [rbx + {signal}], {carry_done}",
        "test dword ptr [rbx + {flags}], {stay}",
        "jnz .Lchitin_post",
        "jmp .Lchitin_carried",
        }
    };
}
pub(super) use carry;
