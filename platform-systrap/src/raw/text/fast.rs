//! Guest threads: where patched call sites go.

/// Loads the registers that `chitin_stub_fast` has saved; rbx = header.
macro_rules! load {
    () => {
        $crate::raw::text::lines! {
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
        }
    };
}
pub(super) use load;

/// Saves the registers in the header, in the order of a signal frame.
macro_rules! fast {
    () => {
        $crate::raw::text::lines! {
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
