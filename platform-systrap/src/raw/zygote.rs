//! How the first stub comes to be: a child that turns itself into one.
//!
//! The child is made by a bare `clone` without an exit signal (so that nobody's `wait` finds it by chance) and
//! starts on a stack of its own, because the sentry's stack may lie where the stub's pages go. It may be made
//! while other threads hold locks, so it only makes host calls, on data that were prepared before.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::io;

use crate::layout;
use crate::raw::text;

/// Everything that the child needs, prepared by the parent.
pub struct Plan {
    /// Descriptors in the order in which they are to be numbered from 0.
    pub descriptors: Vec<i32>,
    /// Doorbells among them, which come first; order pages, channels and the socket follow.
    pub workers: u32,
    /// Offset of the first stub's order page.
    pub order: u64,
    /// Offset of the first stub's reply page.
    pub reply: u64,
    /// Mappings to move: from, to, bytes.
    pub moves: Vec<(u64, u64, u64)>,
    /// The parent's process id.
    pub parent: i32,
}

/// Where the child leaves what it has seen of a signal frame, in its reply page.
pub mod seen {
    /// Features in a signal frame's XSAVE area.
    pub const FEATURES: u64 = 0x400;
    /// Bytes of the area.
    pub const SIZE: u64 = 0x408;
    /// Bits of MXCSR that exist.
    pub const MXCSR_MASK: u64 = 0x410;
}

global_asm!(
    // fn(stack top, entry, argument) -> pid or -errno
    ".globl chitin_clone_on",
    ".hidden chitin_clone_on",
    "chitin_clone_on:",
    "mov r8, rsi",
    "mov r9, rdx",
    "mov rsi, rdi",
    "xor edi, edi",
    "xor edx, edx",
    "xor r10d, r10d",
    "push r8",
    "push r9",
    "xor r8d, r8d",
    "mov rcx, [rsp + 8]",
    "mov [rsi - 8], rcx",
    "mov rcx, [rsp]",
    "mov [rsi - 16], rcx",
    "sub rsi, 16",
    "mov eax, {sys_clone}",
    "syscall",
    "test rax, rax",
    "jz 2f",
    "add rsp, 16",
    "ret",
    "2:",
    "xor ebp, ebp",
    "pop rdi",
    "pop rax",
    "call rax",
    "ud2",
    sys_clone = const libc::SYS_clone,
);

global_asm!(
    // The registration of restartable sequences that glibc made, if it did.
    ".weak __rseq_offset",
    ".weak __rseq_size",
    ".globl chitin_rseq_area",
    ".hidden chitin_rseq_area",
    "chitin_rseq_area:", // fn() -> address or 0
    "mov rax, [rip + __rseq_offset@GOTPCREL]",
    "test rax, rax",
    "jz 2f",
    "mov rax, [rax]",
    "add rax, fs:0",
    "2:",
    "ret",
);

unsafe extern "C" {
    fn chitin_clone_on(
        stack_top: *mut u8,
        entry: unsafe extern "C" fn(*const u8) -> !,
        plan: *const u8,
    ) -> i64;
    fn chitin_rseq_area() -> u64;
}

/// Makes the first stub and says its process id. `plan` and `stack` must stay until the child has said hello.
pub fn start(plan: &Plan, stack: &mut [u128]) -> io::Result<i32> {
    let top = stack.as_mut_ptr_range().end.cast();
    // SAFETY: the child gets a copy of this process, a stack of its own and a plan that it only reads; the
    // parent gets the result of the host call.
    let pid = unsafe { chitin_clone_on(top, child, core::ptr::from_ref(plan).cast()) };
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(-pid as i32));
    }
    Ok(pid as i32)
}

fn call(number: i64, arguments: [u64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: only called in the child, which owns its whole address space and is about to give it up; each
    // use passes pointers that are valid for the call.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result == -1 {
        return -i64::from(nix::errno::Errno::last_raw());
    }
    result
}

static FEATURES: AtomicU64 = AtomicU64::new(0);
static SIZE: AtomicU32 = AtomicU32::new(0);
static MXCSR_MASK: AtomicU32 = AtomicU32::new(0);

extern "C" fn look(_signal: i32, _info: *const u8, context: *const u8) {
    let area = context.wrapping_add(224).cast::<*const u8>();
    // SAFETY: the third argument of a handler is the frame's ucontext, whose pointer to the extended state is
    // at this offset; null where there is none.
    let area = unsafe { *area };
    if area.is_null() {
        return;
    }
    // SAFETY: the area begins with the 512 bytes of FXSAVE.
    let area = unsafe { core::slice::from_raw_parts(area, 512) };
    let word = |at: usize| u32::from_ne_bytes([area[at], area[at + 1], area[at + 2], area[at + 3]]);
    MXCSR_MASK.store(word(28), Ordering::Relaxed);
    if word(464) == 0x4650_5853 {
        let features = u64::from(word(472)) | u64::from(word(476)) << 32;
        FEATURES.store(features, Ordering::Relaxed);
        SIZE.store(word(480), Ordering::Relaxed);
    }
}

#[repr(C)]
struct Action {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

fn set_action(signal: u64, action: &Action) -> i64 {
    let pointer = core::ptr::from_ref(action) as u64;
    call(libc::SYS_rt_sigaction, [signal, pointer, 0, 8, 0, 0])
}

fn set_mask(mask: u64) -> i64 {
    let pointer = (&raw const mask) as u64;
    call(libc::SYS_rt_sigprocmask, [libc::SIG_SETMASK as u64, pointer, 0, 8, 0, 0])
}

core::arch::global_asm!(
    ".globl chitin_look_return",
    ".hidden chitin_look_return",
    "chitin_look_return:",
    "mov eax, {sys}",
    "syscall",
    "ud2",
    sys = const libc::SYS_rt_sigreturn,
);

unsafe extern "C" {
    static chitin_look_return: u8;
}

/// Takes a signal and looks at its frame.
fn look_at_a_frame() {
    const SA_SIGINFO_RESTORER: u64 = 0x4 | 0x0400_0000;
    let action = Action {
        handler: look as *const () as u64,
        flags: SA_SIGINFO_RESTORER,
        restorer: (&raw const chitin_look_return) as u64,
        mask: !0,
    };
    set_action(u64::from(layout::KICK), &action);
    set_mask(0);
    let pid = call(libc::SYS_getpid, [0; 6]) as u64;
    let tid = call(libc::SYS_gettid, [0; 6]) as u64;
    call(libc::SYS_tgkill, [pid, tid, u64::from(layout::KICK), 0, 0, 0]);
    set_mask(!0);
}

/// The child. Never returns: it ends as a warden, or exits with the number of the step that failed.
unsafe extern "C" fn child(plan: *const u8) -> ! {
    // SAFETY: the parent's plan, of which this process has a copy.
    let plan = unsafe { &*plan.cast::<Plan>() };
    let step = match become_stub(plan) {
        Ok(never) => match never {},
        Err(step) => step,
    };
    call(libc::SYS_exit_group, [step, 0, 0, 0, 0, 0]);
    loop {
        core::hint::spin_loop();
    }
}

fn check(step: u64, result: i64) -> Result<i64, u64> {
    if result < 0 { Err(step) } else { Ok(result) }
}

fn become_stub(plan: &Plan) -> Result<core::convert::Infallible, u64> {
    set_mask(!0);
    call(libc::SYS_setsid, [0; 6]);
    let death = [libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64, 0, 0, 0, 0];
    check(10, call(libc::SYS_prctl, death))?;
    if call(libc::SYS_getppid, [0; 6]) != i64::from(plan.parent) {
        return Err(11);
    }
    look_at_a_frame();
    let none = Action { handler: 0, flags: 0, restorer: 0, mask: 0 };
    for signal in 1..=64 {
        set_action(signal, &none);
    }
    // SAFETY: reads two words of the C library, if it has them.
    let area = unsafe { chitin_rseq_area() };
    for length in [32, 33, 40, 48, 64] {
        if area != 0 && call(libc::SYS_rseq, [area, length, 1, 0x5305_3053, 0, 0]) == 0 {
            break;
        }
    }
    drop_rights()?;
    number_descriptors(plan)?;
    map_pages(plan)?;
    catch_signals()?;
    // SAFETY: the warden's code is mapped there, needs no stack and never returns.
    unsafe {
        core::arch::asm!(
            "xor r12d, r12d",
            "jmp rax",
            in("rax") layout::WARDEN,
            options(noreturn)
        )
    }
}

fn drop_rights() -> Result<(), u64> {
    for capability in 0..64 {
        let drop = [libc::PR_CAPBSET_DROP as u64, capability, 0, 0, 0, 0];
        call(libc::SYS_prctl, drop);
    }
    let clear = [libc::PR_CAP_AMBIENT as u64, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0, 0, 0, 0];
    call(libc::SYS_prctl, clear);
    let header: [u32; 2] = [0x2008_0522, 0];
    let empty = [0_u32; 6];
    let set = [header.as_ptr() as u64, empty.as_ptr() as u64, 0, 0, 0, 0];
    check(12, call(libc::SYS_capset, set))?;
    check(13, call(libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0, 0]))?;
    check(14, call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as u64, 1, 0, 0, 0, 0]))?;
    call(libc::SYS_prctl, [libc::PR_SET_NAME as u64, c"stub".as_ptr() as u64, 0, 0, 0, 0]);
    limit(libc::RLIMIT_CORE as u64, Some(0));
    // The guest's limits are the sentry's business.
    let others = [
        libc::RLIMIT_STACK,
        libc::RLIMIT_DATA,
        libc::RLIMIT_AS,
        libc::RLIMIT_NPROC,
        libc::RLIMIT_CPU,
        libc::RLIMIT_MEMLOCK,
    ];
    for resource in others {
        limit(resource as u64, None);
    }
    Ok(())
}

/// Sets a limit for good, or raises the soft one as far as the hard one goes.
fn limit(resource: u64, value: Option<u64>) {
    let mut limits = [0_u64; 2];
    let pointer = limits.as_mut_ptr() as u64;
    call(libc::SYS_prlimit64, [0, resource, 0, pointer, 0, 0]);
    limits = match value {
        Some(value) => [value; 2],
        None => [limits[1]; 2],
    };
    call(libc::SYS_prlimit64, [0, resource, limits.as_ptr() as u64, 0, 0, 0]);
}

/// The most descriptors of a plan: doorbells and three more.
pub const DESCRIPTORS: usize = layout::config::WORKERS as usize + 3;

fn number_descriptors(plan: &Plan) -> Result<(), u64> {
    limit(libc::RLIMIT_NOFILE as u64, None);
    // Out of the way first: a number may be wanted by one and used by another.
    let mut copies = [0_u64; DESCRIPTORS];
    for (fd, copy) in plan.descriptors.iter().zip(&mut copies) {
        let arguments = [*fd as u64, libc::F_DUPFD_CLOEXEC as u64, 128, 0, 0, 0];
        *copy = check(20, call(libc::SYS_fcntl, arguments))? as u64;
    }
    let count = plan.descriptors.len().min(DESCRIPTORS) as u64;
    for (index, copy) in copies.iter().take(count as usize).enumerate() {
        let arguments = [*copy, index as u64, libc::O_CLOEXEC as u64, 0, 0, 0];
        check(21, call(libc::SYS_dup3, arguments))?;
    }
    let rest = [count, u64::from(u32::MAX), 0, 0, 0, 0];
    if call(libc::SYS_close_range, rest) < 0 {
        let mut limits = [0_u64; 2];
        let pointer = limits.as_mut_ptr() as u64;
        call(libc::SYS_prlimit64, [0, libc::RLIMIT_NOFILE as u64, 0, pointer, 0, 0]);
        for fd in count..limits[0] {
            call(libc::SYS_close, [fd, 0, 0, 0, 0, 0]);
        }
    }
    Ok(())
}

fn map_pages(plan: &Plan) -> Result<(), u64> {
    let fixed = libc::MREMAP_MAYMOVE as u64 | libc::MREMAP_FIXED as u64;
    for (from, to, len) in &plan.moves {
        check(30, call(libc::SYS_mremap, [*from, *len, *len, fixed, *to, 0]))?;
    }
    let both = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let own = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED) as u64;
    let page = [layout::TEXT, layout::TEXT_LEN, both, own, !0, 0];
    check(31, call(libc::SYS_mmap, page))?;
    // SAFETY: these pages have just been mapped, and nothing else is there.
    let target = unsafe {
        core::slice::from_raw_parts_mut(layout::TEXT as *mut u8, layout::TEXT_LEN as usize)
    };
    for (to, from) in target.iter_mut().zip(text::bytes()) {
        *to = *from;
    }
    let run = [layout::TEXT, layout::TEXT_LEN, (libc::PROT_READ | libc::PROT_EXEC) as u64];
    check(32, call(libc::SYS_mprotect, [run[0], run[1], run[2], 0, 0, 0]))?;
    let read = libc::PROT_READ as u64;
    let shared = (libc::MAP_SHARED | libc::MAP_FIXED) as u64;
    let descriptors = layout::Descriptors { workers: plan.workers };
    let orders = u64::from(descriptors.orders());
    let channels = u64::from(descriptors.channels());
    let maps = [
        [layout::CONFIG, layout::CONFIG_LEN, read, shared, orders, 0],
        [layout::ORDER, layout::PAGE, read, shared, orders, plan.order],
        [layout::REPLY, layout::PAGE, both, shared, channels, plan.reply],
    ];
    for map in maps {
        check(33, call(libc::SYS_mmap, map))?;
    }
    let seen = [
        (seen::FEATURES, FEATURES.load(Ordering::Relaxed)),
        (seen::SIZE, SIZE.load(Ordering::Relaxed).into()),
        (seen::MXCSR_MASK, MXCSR_MASK.load(Ordering::Relaxed).into()),
    ];
    for (offset, value) in seen {
        // SAFETY: inside the reply page, which has just been mapped writable.
        unsafe { ((layout::REPLY + offset) as *mut u64).write_volatile(value) };
    }
    Ok(())
}

/// The signals that guest code can cause, and the kick.
const CAUGHT: [u32; 7] = [
    libc::SIGSYS as u32,
    libc::SIGSEGV as u32,
    libc::SIGBUS as u32,
    libc::SIGFPE as u32,
    libc::SIGILL as u32,
    libc::SIGTRAP as u32,
    layout::KICK,
];

fn catch_signals() -> Result<(), u64> {
    const RESTORER: u64 = 0x0400_0000;
    let action = Action {
        handler: text::handler(),
        flags: libc::SA_SIGINFO as u64 | libc::SA_ONSTACK as u64 | RESTORER,
        restorer: text::restorer(),
        mask: !0,
    };
    for signal in CAUGHT {
        check(40, set_action(signal.into(), &action))?;
    }
    Ok(())
}
