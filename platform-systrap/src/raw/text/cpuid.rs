//! Guest threads: answers to `cpuid` where code is rewritten per file.

/// In the handler: rax = RIP, rsi = siginfo, rdx = ucontext. What faulted may stand for a `cpuid` whose answer is known; the host blocks all
/// signals here, so that nobody sees half of it.
macro_rules! cpuid {
    () => {
        $crate::raw::text::lines! {
        ".Lchitin_cpuid:",
        "cmp edi, {segv}",
        "jne .Lchitin_no_kick",
        "cmp dword ptr [rsi + 8], 0x80", // SI_KERNEL: no page is missing, so this one can be read
        "jne .Lchitin_no_kick",
        "mov rcx, rax",
        "shr rcx, 47",
        "jnz .Lchitin_no_kick",
        "mov ecx, eax",
        "and ecx, 0xfff",
        "cmp ecx, 0xfff", // the next page may be missing
        "je .Lchitin_no_kick",
        "cmp word ptr [rax], {cpuid_mark}",
        "jne .Lchitin_no_kick",
        "test dword ptr [rdx + 176], 0x100", // the trap flag: the sentry says that a step is over
        "jnz .Lchitin_no_kick",
        "mov r8, [rdx + 144]", // RAX: the leaf
        "mov r9, [rdx + 152]", // RCX: the subleaf
        "mov rcx, {config} + {cpuid}",
        "mov r10d, {cpuid_count}",
        ".Lchitin_cpuid_entry:",
        "cmp dword ptr [rcx + 12], 0", // the last one
        "je .Lchitin_no_kick",
        "cmp [rcx], r8d",
        "jne .Lchitin_cpuid_next",
        "mov r11d, [rcx + 4]",
        "and r11d, r9d",
        "cmp r11d, [rcx + 8]",
        "je .Lchitin_cpuid_found",
        ".Lchitin_cpuid_next:",
        "add rcx, {cpuid_stride}",
        "sub r10d, 1",
        "jnz .Lchitin_cpuid_entry",
        "jmp .Lchitin_no_kick",
        ".Lchitin_cpuid_found:",
        "mov r8d, [rcx + 16]",
        "mov [rdx + 144], r8", // RAX
        "mov r8d, [rcx + 20]",
        "mov [rdx + 128], r8", // RBX
        "mov r8d, [rcx + 24]",
        "mov [rdx + 152], r8", // RCX
        "mov r8d, [rcx + 28]",
        "mov [rdx + 136], r8", // RDX
        "add qword ptr [rdx + 168], 2",
        "add rsp, 8",
        "mov eax, {sys_rt_sigreturn}",
        "syscall",
        }
    };
}
pub(super) use cpuid;
