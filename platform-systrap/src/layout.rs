//! Where things lie in a stub, and how its pages are laid out.
//!
//! ```text
//! MAX_ADDRESS      end of what the guest may map
//! TEXT             one page of guest-side stub code, one page of warden code      r-x, private
//! CONFIG           doorbell flags, which worker serves which core, filters        r--, shared by all
//! ORDER            what the warden is to do                                       r--, one per stub
//! REPLY            what came of it, and scratch space of the warden               rw-, one per stub
//! CHANNELS         one channel per guest thread                                   rw-, one per thread
//! ```
//!
//! The assembly in `raw::text` takes these numbers as constants.

/// The first address above what a guest may map.
pub const MAX_ADDRESS: u64 = 0x7fff_0000_0000;
/// The lowest address that a guest may map.
pub const MIN_ADDRESS: u64 = 0x1_0000;
/// A page.
pub const PAGE: u64 = 0x1000;

/// Where each stub has the vDSO and its data: this is the end of the code.
pub const VDSO_END: u64 = MAX_ADDRESS - 0x1_0000;

/// The code that runs in guest threads.
pub const TEXT: u64 = MAX_ADDRESS + 0x1_0000;
/// The warden's code.
pub const WARDEN: u64 = TEXT + PAGE;
/// Both.
pub const TEXT_LEN: u64 = 2 * PAGE;
/// The pages that the sentry writes and every stub reads.
pub const CONFIG: u64 = MAX_ADDRESS + 0x2_0000;
/// Bytes of it.
pub const CONFIG_LEN: u64 = 7 * PAGE;
/// The order page.
pub const ORDER: u64 = MAX_ADDRESS + 0x3_0000;
/// The reply page.
pub const REPLY: u64 = MAX_ADDRESS + 0x4_0000;
/// The first channel.
pub const CHANNELS: u64 = MAX_ADDRESS + 0x4000_0000;
/// Bytes of a channel; a channel's address is a multiple of it.
pub const CHANNEL_LEN: u64 = 0x1_0000;
/// The most channels that one stub has room for.
pub const CHANNEL_COUNT: u64 = 0x4000;
/// Bytes of the channel window.
pub const CHANNELS_LEN: u64 = CHANNEL_LEN * CHANNEL_COUNT;
/// The end of what a process can map (with four-level page tables).
pub const TASK_END: u64 = 0x7fff_ffff_f000;

/// Offsets in the configuration pages.
pub mod config {
    /// A byte per core (number modulo 1024): the worker that serves it.
    pub const WORKER_OF: u64 = 0;
    /// The eight bytes that a stub writes to a doorbell: 1.
    pub const ONE: u64 = 0x400;
    /// `struct sock_fprog` of all threads' filter.
    pub const STUB_PROGRAM: u64 = 0x410;
    /// `struct sock_fprog` of what guest threads carry besides.
    pub const GUEST_PROGRAM: u64 = 0x420;
    /// The core of the worker that spins, plus 1; 0 while none does.
    pub const SPINNER: u64 = 0x440;
    /// How often a stub looks for the answer without a pause, before anything else, while a worker spins.
    pub const SPIN_HOT: u64 = 0x488;
    /// The number (plus 1) of the channel whose requests the worker that spins deals with; 0 for none.
    pub const SERVING: u64 = 0x4c0;
    /// How often a stub looks whether its request is taken before it rings, while a worker spins.
    pub const SPIN_POSTED: u64 = 0x480;
    /// How often it looks for the answer to a request that is taken before it sleeps.
    pub const SPIN_TAKEN: u64 = 0x484;
    /// How many guests run.
    pub const RUNNING: u64 = 0x4a0;
    /// How many cores there are for them; 0 where it is not to be counted on.
    pub const CORES: u64 = 0x4a4;
    /// Pauses between two looks at a futex's word.
    pub const LOOK_PAUSES: u64 = 0x4a8;
    /// Ticks of the time stamp counter: who has looked at a futex's word for longer has lost its core meanwhile.
    pub const LOOK_TICKS: u64 = 0x4ac;
    /// `struct timespec`: for how long the warden waits for operations that another thread carries out.
    pub const CARRY_PATIENCE: u64 = 0x490;
    /// Instructions of the filters.
    pub const INSTRUCTIONS: u64 = 0x2000;
    /// Bytes for them.
    pub const INSTRUCTIONS_LEN: u64 = 0x2000;
    /// Which calls stubs answer by themselves, by the lowest bytes of their numbers: a word that makes 0 with the number.
    pub const ANSWER_NUMBERS: u64 = 0x4000;
    /// And by the same, a byte: which of the answers in the channel's header.
    pub const ANSWER_SLOTS: u64 = 0x4400;
    /// What stubs carry to the sentry with a call: a double word per number, see `luggage`.
    pub const LUGGAGE: u64 = 0x5000;
    /// So many numbers.
    pub const LUGGAGE_CALLS: u64 = 512;
    /// Answers to `cpuid`: leaf, bits of the subleaf that count, subleaf, not 0, eax, ebx, ecx, edx; a word each.
    pub const CPUID: u64 = 0x6000;
    /// The most of them.
    pub const CPUID_COUNT: u64 = 64;
    /// Bytes of one.
    pub const CPUID_STRIDE: u64 = 32;
    /// What stands in the place of the instruction: `hlt`, which faults, and a byte that nothing begins with.
    pub const CPUID_MARK: u16 = 0x06f4;
    /// One cache line per worker, whose first word is 1 while the worker sleeps.
    pub const SLEEPING: u64 = 0x1000;
    /// Bytes of such a line.
    pub const SLEEPING_STRIDE: u64 = 64;
    /// The most workers.
    pub const WORKERS: u64 = 64;
}

/// Offsets in an order page.
pub mod order {
    /// The list's number; 0 while the page is being written.
    pub const NUMBER: u64 = 0;
    /// The last number that was used on this page (the sentry's note).
    pub const LAST: u64 = 8;
    /// The operations.
    pub const OPS: u64 = 64;
    /// Bytes of an operation.
    pub const OP_LEN: u64 = 64;
    /// The most operations of one list.
    pub const COUNT: u64 = 63;
}

/// Offsets in a reply page.
pub mod reply {
    /// The number of the last list that was carried out.
    pub const DONE: u64 = 0;
    /// The first error, or 0.
    pub const ERROR: u64 = 8;
    /// What each operation returned.
    pub const RESULTS: u64 = 64;
    /// `struct msghdr` for receiving descriptors.
    pub const MESSAGE: u64 = 0x800;
    /// `struct iovec` of it.
    pub const VECTOR: u64 = 0x840;
    /// A byte of data.
    pub const DATA: u64 = 0x850;
    /// How many wait on futexes, by a hash of the address: a word each.
    pub const WAITERS: u64 = 0xc00;
    /// The hashes: the address's bits above the lowest two, as many as there are.
    pub const WAITERS_COUNT: u64 = 256;
    /// Room for control messages.
    pub const CONTROL: u64 = 0x860;
    /// Bytes of that room.
    pub const CONTROL_LEN: u64 = 0x300;
}

/// Offsets in a channel. It begins with room for the bytes that go with calls; the space below the header is the
/// alternate signal stack.
pub mod channel {
    use super::CHANNEL_LEN;

    /// Bytes of the header.
    pub const HEADER_LEN: u64 = 1024;
    /// The header, at the top.
    pub const HEADER: u64 = CHANNEL_LEN - HEADER_LEN;
    /// Room for what comes with a call, for each of two arguments.
    pub const IN_LEN: u64 = 0x2000;
    /// The most bytes of an argument: the last double word of a string may go past it.
    pub const IN_MOST: u64 = IN_LEN - 8;
    /// Where the bytes begin that the stub carries into the guest's memory.
    pub const OUT: u64 = 2 * IN_LEN;
    /// Room for them.
    pub const OUT_LEN: u64 = 0x4000;
    /// The alternate signal stack.
    pub const STACK: u64 = OUT + OUT_LEN;

    /// In the header's first line: whose turn it is (`GO` and so on).
    pub const WORD: u64 = 0;
    /// In the first line: the signal that stopped the guest; with an answer, how many ranges are to be carried out.
    pub const SIGNAL: u64 = 4;
    /// In the first line: number and arguments of a call that came from a patched site (rax rdi rsi rdx r10 r8 r9), and
    /// where its result is put. A hand-over moves this line and no other, unless the sentry wants all registers.
    pub const CALL: u64 = 8;
    /// In the second line, as all that follows: the address of the signal frame.
    pub const FRAME: u64 = 64;
    /// In the header: the base of FS.
    pub const FS_BASE: u64 = 72;
    /// In the header: the base of GS.
    pub const GS_BASE: u64 = 80;
    /// In the header: [`SET_BASES`] and [`FSGSBASE`].
    pub const FLAGS: u64 = 88;
    /// In the header: not 0 while the host thread exists.
    pub const ALIVE: u64 = 92;
    /// In the header: the core on which the guest stopped.
    pub const CORE: u64 = 96;
    /// In the header: not 0 when the interrupting signal has come while the stub's own code ran.
    pub const KICKED: u64 = 100;
    /// In the header: the address behind the flags' slot of [`FAST_REGISTERS`], where the stub begins to push.
    pub const FAST_TOP: u64 = 104;
    /// In the header: the channel's number, plus 1.
    pub const PLACE: u64 = 112;
    /// In the header: where a call from a patched site goes on, until the stub has saved it with the other registers.
    pub const CONT: u64 = 120;
    /// In the header: whether the operations of [`CARRIED`] are still to be carried out ([`UNDER_WAY`] and so on).
    pub const CARRY: u64 = 384;
    /// In the header: the first error of one of them, or 0.
    pub const CARRY_ERROR: u64 = 392;
    /// In the header: what the last of them returned.
    pub const CARRY_RESULT: u64 = 400;
    /// In the header: how often a thread looks at a futex's word before it waits; negative: not at all so many times.
    pub const PATIENCE: u64 = 408;
    /// [`PATIENCE`] of a new thread.
    pub const PATIENCE_FIRST: u32 = 16;
    /// In the header: operations that the thread carries out itself, as in an order page.
    pub const CARRIED: u64 = 512;
    /// The most of them.
    pub const CARRIED_COUNT: u64 = 8;
    /// In the header: registers of a guest that came from a patched call site, in the order of a signal frame.
    pub const FAST_REGISTERS: u64 = 128;
    /// In the header: 0 while the stub may answer calls by itself.
    pub const SILENT: u64 = 312;
    /// In the header: what it answers, in the order of `chitin_mm::platform::Answers`.
    pub const ANSWERS: u64 = 320;
    /// Their end.
    pub const ANSWERS_END: u64 = ANSWERS + 8 * chitin_mm::platform::Answers::NUMBERS.len() as u64;
    /// In the header: how many bytes of two arguments came with the call; a word each.
    pub const IN: u64 = 304;
    /// In the header: what is to be carried out: address in the guest, bytes, offset in the channel.
    pub const OUTS: u64 = 416;
    /// The most of these.
    pub const OUTS_MOST: u64 = 6;
    /// Bytes of one.
    pub const OUTS_STRIDE: u64 = 16;
    /// Bytes of the registers that the stub pushes.
    pub const FAST_LEN: u64 = 18 * 8;
    /// [`SIGNAL`] of a guest that came from a patched call site.
    pub const FAST_SIGNAL: u32 = 0x100;

    /// [`SIGNAL`] of a thread whose operations have failed.
    pub const CARRY_FAILED: u32 = 0x101;
    /// [`SIGNAL`] of a thread that has carried out operations and was told to stand still then.
    pub const CARRY_DONE: u32 = 0x102;

    /// [`CARRY`]: nothing is under way.
    pub const IDLE: u32 = 0;
    /// [`CARRY`]: operations are to be carried out.
    pub const UNDER_WAY: u32 = 1;
    /// [`CARRY`]: the same, and the warden sleeps on this word.
    pub const AWAITED: u32 = 2;

    /// Word: the guest may run on.
    pub const GO: u32 = 0;
    /// Word: the guest has stopped.
    pub const POSTED: u32 = 1;
    /// Word: the guest has stopped and its thread sleeps on the word.
    pub const PARKED: u32 = 2;
    /// Word: the thread shall end.
    pub const EXIT: u32 = 3;
    /// Word: the guest has stopped, and a worker has seen it.
    pub const TAKEN: u32 = 4;
    /// Word: the same, and the answer will take its time.
    pub const LATER: u32 = 5;

    /// Flag: load both bases before the guest runs on.
    pub const SET_BASES: u32 = 1;
    /// Flag: the instructions for the bases can be used.
    pub const FSGSBASE: u32 = 2;
    /// Flag: the registers to go on with are those of [`FAST_REGISTERS`], and RCX says where.
    pub const FAST: u32 = 4;
    /// Flag: load the registers of [`FAST_REGISTERS`] and trap, so that there is a signal frame.
    pub const CONVERT: u32 = 8;
    /// Flag: carry out the operations of [`CARRIED`] first.
    pub const CARRYING: u32 = 16;
    /// Flag: stop behind them.
    pub const STAY: u32 = 32;
}

/// Offsets in a trampoline and in an area of trampolines; see `patch`.
pub mod trampoline {
    /// Bytes of a trampoline. The first page of an area is data.
    pub const LEN: u64 = 64;
    /// Bytes of an area.
    pub const AREA_LEN: u64 = 0x2_0000;
    /// In an area: where patched call sites go.
    pub const ENTRY: u64 = 0;
    /// In a trampoline: the address that a guest sees behind its call.
    pub const RIP: u64 = 24;
    /// In a trampoline: the instruction that traps.
    pub const SYSCALL: u64 = 32;
    /// In a trampoline: where the guest goes on.
    pub const CONT: u64 = 34;
}

/// Flags of an operation.
pub mod op {
    /// Anything but the expected result ends the process.
    pub const EXPECT: u32 = 1;
    /// An error ends the process.
    pub const FATAL: u32 = 2;
    /// It is a `clone` of a process: the child goes on at the operation that the expected result names.
    pub const PROCESS: u32 = 4;
    /// It is a `clone` of a thread.
    pub const THREAD: u32 = 8;
    /// Behind it the order page is another one, whose list has the expected number.
    pub const SWITCH: u32 = 16;
    /// An error does not count.
    pub const IGNORE: u32 = 32;
    /// It is done even after an error.
    pub const ALWAYS: u32 = 64;
    /// The last of the list.
    pub const LAST: u32 = 128;
}

/// The signal that makes a running guest thread stop: SIGUSR2.
pub const KICK: u32 = 12;

/// Descriptors of a stub: the workers' doorbells come first, from 0.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    /// Doorbells.
    pub workers: u32,
}

impl Descriptors {
    /// The memory of the order pages, which nobody but the sentry can map for writing.
    pub const fn orders(self) -> u32 {
        self.workers
    }

    /// The memory of channels and reply pages.
    pub const fn channels(self) -> u32 {
        self.workers + 1
    }

    /// The warden's socket.
    pub const fn socket(self) -> u32 {
        self.workers + 2
    }

    /// Where received descriptors begin.
    pub const fn first_file(self) -> u32 {
        self.workers + 3
    }
}
