//! Guest programs. They never run in this process: their bytes are copied into stubs.

use core::arch::global_asm;

macro_rules! guest {
    ($name:ident, $($line:literal),+ $(,)?) => {
        global_asm!(
            concat!(".pushsection .rodata.guest_", stringify!($name), ",\"a\",@progbits"),
            concat!(".globl guest_", stringify!($name)),
            concat!(".globl guest_", stringify!($name), "_end"),
            concat!("guest_", stringify!($name), ":"),
            $($line,)+
            concat!("guest_", stringify!($name), "_end:"),
            ".popsection",
        );
        pub fn $name() -> &'static [u8] {
            unsafe extern "C" {
                #[link_name = concat!("guest_", stringify!($name))]
                static START: u8;
                #[link_name = concat!("guest_", stringify!($name), "_end")]
                static END: u8;
            }
            let start = &raw const START;
            let len = (&raw const END) as usize - start as usize;
            // SAFETY: both symbols delimit constant bytes of this program.
            unsafe { core::slice::from_raw_parts(start, len) }
        }
    };
}

// Asks for call 1234 with all registers set, leaves a red zone, and for 1235 with what came back in rax.
guest!(
    calls,
    "mov qword ptr [rsp - 8], 0x11",
    "mov qword ptr [rsp - 128], 0x22",
    "mov eax, 1234",
    "mov edi, 1",
    "mov esi, 2",
    "mov edx, 3",
    "mov r10d, 4",
    "mov r8d, 5",
    "mov r9d, 6",
    "mov ebx, 7",
    "mov ebp, 8",
    "mov r12d, 9",
    "mov r13d, 10",
    "mov r14d, 11",
    "mov r15d, 12",
    "std",
    "syscall",
    "cld",
    "mov rdi, rax",
    "mov rsi, [rsp - 8]",
    "add rsi, [rsp - 128]",
    "mov eax, 1235",
    "syscall",
    "ud2",
);

// Counts in rbx and calls forever; the number is loaded right in front of the call.
guest!(counter, "inc rbx", "mov eax, 39", "syscall", "jmp guest_counter",);

// The same; behind the call stands an instruction that can be moved.
guest!(
    comparer,
    "inc rbx",
    "push 39",
    "pop rax",
    "nop",
    "nop",
    "syscall",
    "cmp rax, -4095",
    "jmp guest_comparer",
);

// Asks the processor for leaf r13, subleaf r14; eax is in r9 and ecx in r8 at the call.
guest!(
    inquirer,
    "mov eax, r13d",
    "mov ecx, r14d",
    "cpuid",
    "mov r9, rax",
    "mov r8, rcx",
    "mov eax, 39",
    "syscall",
    "jmp guest_inquirer",
);

// Two calls; what stands behind the first can be moved, and is what the second needs.
guest!(
    pair,
    "push 39",
    "pop rax",
    "nop",
    "nop",
    "syscall",
    "mov eax, 40",
    "syscall",
    "jmp guest_pair",
);

// Makes the call whose number is in r15, forever, and leaves the result in r14.
guest!(
    asker,
    "mov rax, r15",
    "nop",
    "nop",
    "nop",
    "syscall",
    "mov r14, rax",
    "inc rbx",
    "jmp guest_asker",
);

// Calls forever.
guest!(caller, "2:", "mov eax, 39", "syscall", "jmp 2b");

// Computes forever.
guest!(spinner, "2:", "inc rax", "jmp 2b");

// Reads from the address in rdi, then writes to it.
guest!(toucher, "mov rax, [rdi]", "mov [rdi], rax", "mov eax, 39", "syscall", "ud2");

// A call of the 32-bit ABI, then one of the 64-bit one.
guest!(foreign, "mov eax, 20", "int 0x80", "mov eax, 39", "syscall", "ud2");

// Jumps to rbx with the registers as they are.
guest!(jumper, "jmp rbx");

// Divides by zero, single-steps, breaks.
guest!(
    faulty,
    "xor ecx, ecx",
    "xor edx, edx",
    "mov eax, 1",
    "div ecx",
    "int3",
    "ud2",
    "pushfq",
    "or qword ptr [rsp], 0x100",
    "popfq",
    "nop",
    "nop",
    "ud2",
);

// Adds rsi to the word at rdi a million times, atomically, then calls.
guest!(
    adder,
    "mov ecx, 1000000",
    "2:",
    "lock add [rdi], rsi",
    "dec ecx",
    "jnz 2b",
    "mov eax, 60",
    "syscall",
    "ud2"
);

// Loads xmm0 and x87 from DATA, calls, stores xmm0 at DATA + 64, calls.
guest!(
    vectors,
    "movups xmm0, [rdi]",
    "fld1",
    "mov eax, 1",
    "syscall",
    "movups [rdi + 64], xmm0",
    "fstp qword ptr [rdi + 80]",
    "mov eax, 2",
    "syscall",
    "ud2",
);

// Reads through FS and GS, calls with the words.
guest!(segments, "2:", "mov rdi, fs:[0]", "mov rsi, gs:[8]", "mov eax, 1", "syscall", "jmp 2b");

// Copies rcx bytes from rsi to rdi, calls.
guest!(copier, "rep movsb", "mov eax, 39", "syscall", "ud2");

// Fills rcx words at rdi with what rax makes, over and over; a caller is 0x100 bytes in.
guest!(
    scribbler,
    "mov r8, rdi",
    "mov r9, rcx",
    "2:",
    "mov rdi, r8",
    "mov rcx, r9",
    "3:",
    "mov rdx, rax",
    "shl rdx, 13",
    "xor rax, rdx",
    "mov rdx, rax",
    "shr rdx, 7",
    "xor rax, rdx",
    "mov rdx, rax",
    "shl rdx, 17",
    "xor rax, rdx",
    "mov [rdi], rax",
    "add rdi, 8",
    "dec rcx",
    "jnz 3b",
    "jmp 2b",
    ".org guest_scribbler + 0x100",
    "4:",
    "mov eax, 39",
    "syscall",
    "jmp 4b",
);

// Calls futex with the registers as they are, counts what comes back by its kind: r14 for rax = 0, r15 for EAGAIN, and tells of
// the end of r12 rounds by call 39 (whose site is another). Starts 8 bytes in.
guest!(
    futexes,
    ".org guest_futexes + 8, 0x90",
    "2:",
    "mov eax, 202",
    "syscall",
    "cmp rax, 0",
    "jne 3f",
    "inc r14",
    "jmp 4f",
    "3:",
    "cmp rax, -11",
    "jne 4f",
    "inc r15",
    "4:",
    "dec r12",
    "jnz 2b",
    "mov eax, 24",
    "push rax",
    "pop rax",
    "syscall",
    "ud2",
);
