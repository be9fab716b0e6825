//! The platform contract: what runs guest code, and what the kernel above asks of it.
//!
//! A [`Platform`] makes [`AddressSpace`]s (for systrap: one host process each). An address space applies
//! [`HostOp`]s in the order in which they were submitted, forks, and spawns [`GuestThread`]s. A guest
//! thread is resumed with registers and comes back with an [`Event`].
//!
//! Nothing here blocks: what takes a round trip to the stub is a [`PlatformFuture`], and waiting for the
//! guest is a `poll` with a waker.
//!
//! Everything that comes back from a guest (registers, floating-point state, events) is hostile input.
//! What the traits promise is only that it was read once.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::{Errno, GuestAddr, Regs, Result};

use crate::guest_memory::GuestMemory;
use crate::host_op::HostOp;

/// A boxed future of a platform operation. It completes even when the guest misbehaves: a stub that died
/// completes everything with [`Errno::ESRCH`].
pub type PlatformFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Those who may use what others of them leave: equal values mean that hostile code of one gains nothing by taking
/// over another.
pub type Domain = Arc<[u64]>;

/// A way to run guest code.
pub trait Platform: Send + Sync {
    /// What this platform can do, and where guest memory may lie.
    fn capabilities(&self) -> Capabilities;

    /// An address space with nothing mapped but what [`Capabilities::vdso`] names.
    fn new_address_space(&self) -> PlatformFuture<'_, Arc<dyn AddressSpace>>;

    /// The same for a program of this domain: it may be one that a process of the same domain has left by
    /// [`AddressSpace::retire`].
    fn address_space_for(&self, domain: &Domain) -> PlatformFuture<'_, Arc<dyn AddressSpace>> {
        let _ = domain;
        self.new_address_space()
    }

    /// Code of a file that is about to be mapped, private, for reading and running: what this platform knows of it. `None`:
    /// nothing. Said for each such mapping, with which the answer goes back ([`HostOp::MapFile`]).
    fn known_code(&self, _file: &OwnedFd, _offset: u64, _len: u64) -> Option<KnownCode> {
        None
    }

    /// The doorbell of a worker; workers are numbered from 0 to one below the count that the platform was
    /// made with. Every worker asks for its own once, before it first sleeps.
    fn doorbell(&self, worker: usize) -> Arc<dyn Doorbell>;
}

/// What an idle worker of the scheduler sleeps on, and where guests make themselves heard.
///
/// A guest that stops rings one doorbell: that of the worker on its own core, or of one that is known to spin.
/// The worker then calls [`Doorbell::collect`], which wakes the tasks whose guests have stopped.
pub trait Doorbell: Send + Sync {
    /// Wakes the wakers (see [`GuestThread::poll_event`]) of all guest threads that have stopped since they
    /// were last collected, by whomever; says how many there were. Never sleeps.
    fn collect(&self) -> usize;

    /// Sleeps until the doorbell rings or `CLOCK_MONOTONIC` reaches `deadline` (nanoseconds). Returns at once
    /// when it has rung since the last `wait` returned, so that no ring is lost.
    fn wait(&self, deadline: Option<u64>);

    /// Rings: ends the current or the next `wait`. One host call when somebody sleeps there, else none.
    fn ring(&self);

    /// Calls `look` again and again until it says that it has found what it looks for, as long as the worker may stay
    /// awake for that: for some microseconds, where a core is free for it and no other guest wants it. Not at all
    /// by default.
    fn linger(&self, _look: &mut dyn FnMut() -> bool) {}
}

/// Fixed facts of a platform.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// The name that `--platform` takes.
    pub name: &'static str,
    /// The lowest address that a guest may map.
    pub min_address: u64,
    /// The first address above what a guest may map (its `TASK_SIZE`).
    pub max_address: u64,
    /// Where each new address space has a vDSO: the range that it and its data pages take, and the address
    /// of its ELF header (`AT_SYSINFO_EHDR`). `None` where there is none.
    pub vdso: Option<VdsoRange>,
    /// Bytes of extended (XSAVE) state in a signal frame, legacy area and header included, without the
    /// trailing magic word.
    pub xsave_size: usize,
    /// The host's `AT_HWCAP`, `AT_HWCAP2`, `AT_MINSIGSTKSZ`.
    pub hwcap: u64,
    /// See [`Capabilities::hwcap`].
    pub hwcap2: u64,
    /// See [`Capabilities::hwcap`].
    pub min_signal_stack: u64,
}

/// The vDSO of a new address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VdsoRange {
    /// The first byte of the data pages.
    pub start: u64,
    /// The ELF header: the first byte of the code.
    pub ehdr: u64,
    /// The first byte behind the code.
    pub end: u64,
}

/// A guest's address space on a platform.
pub trait AddressSpace: Send + Sync {
    /// Applies host operations in order and stops at the first that fails, whose error it returns.
    /// Batches are applied in the order of the calls to `apply`, not of the polls of their futures.
    fn apply(&self, ops: Vec<HostOp>) -> PlatformFuture<'_, ()>;

    /// A copy-on-write copy of this address space, without threads.
    fn fork(&self) -> PlatformFuture<'_, Arc<dyn AddressSpace>>;

    /// A new guest thread that stands still until it is first resumed.
    fn spawn(&self, state: ThreadState) -> PlatformFuture<'_, Box<dyn GuestThread>>;

    /// The bytes of this address space.
    fn memory(&self) -> &dyn GuestMemory;

    /// Ends the host's side of it at once: every thread's next event is [`Event::Dead`]. Idempotent.
    /// Dropping the last reference does the same.
    fn kill(&self);

    /// The same, of a process that has ended in an orderly way: the host's side may be emptied and used by others of
    /// this domain.
    fn retire(&self, domain: &Domain) {
        let _ = domain;
        self.kill();
    }

    /// The same host memory, about to be emptied, for another program of the same process and domain; `None` where it cannot be
    /// used again. Nobody but one thread that stands still may use this address space; it is of no more use
    /// then. The operations empty it and go in front of all others; the thread goes on after [`GuestThread::renew`].
    fn renew(&self) -> Option<(Arc<dyn AddressSpace>, Vec<HostOp>)> {
        None
    }

    /// One more waits for a wake of the futex at `addr`, or (`waits` is false) no more. Said before the word is compared,
    /// for as long as one waits.
    fn expect_wakes(&self, _addr: GuestAddr, _waits: bool) {}

    /// Resident bytes, as the host counts them: (total, of files and shared memory).
    fn resident(&self) -> (u64, u64);

    /// Host CPU time used by all its threads, living and gone: (user, system) in nanoseconds.
    fn cpu_time(&self) -> (u64, u64);

    /// Says of each page from `start` on whether it is in memory, one byte each (1 or 0). False where the host does
    /// not tell.
    fn residency(&self, start: GuestAddr, pages: &mut [u8]) -> bool {
        let _ = (start, pages);
        false
    }

    /// Page faults in this address space: (served without I/O, with).
    fn faults(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// What a platform knows of code in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownCode {
    /// Its name for it.
    pub number: u64,
    /// Bytes that it would have near the code for itself; 0: none.
    pub room: u64,
    /// Distances from the first byte of the code to that room for which it is ready, the best first. Others cost it time.
    pub distances: Vec<i64>,
}

/// Everything that a thread starts with.
#[derive(Clone, Debug, Default)]
pub struct ThreadState {
    /// General registers and segment bases.
    pub regs: Regs,
    /// Extended state as [`GuestThread::extended_state`] gives it; empty for the initial state.
    pub extended: Vec<u8>,
}

/// One guest thread. Dropping it ends the host's thread. It is `Sync` so that what borrows it can wait on another
/// worker than it began on.
pub trait GuestThread: Send + Sync {
    /// Lets the guest run on with these registers. Must not be called while it runs.
    ///
    /// # Errors
    /// ESRCH when the thread is dead.
    fn resume(&mut self, regs: &Regs) -> Result<()>;

    /// The event that stopped the guest, with the registers at that moment in `regs`; pending while it runs.
    /// After `Ready` the guest stands still until [`GuestThread::resume`].
    ///
    /// Of a call only `rax`, `orig_rax` and the registers of the arguments need be there: the others are once
    /// [`GuestThread::complete`] was called. Where it is not, `resume` takes nothing but `rax` and lets the guest go on behind
    /// the call.
    fn poll_event(&mut self, context: &mut Context<'_>, regs: &mut Regs) -> Poll<Event>;

    /// The event as [`GuestThread::poll_event`] gives it, if there is one now: for who looks for it awake. Nobody is told of
    /// it otherwise.
    fn look(&mut self, _regs: &mut Regs) -> Option<Event> {
        None
    }

    /// Loads what registers of a call `poll_event` has not loaded; `rax` and `orig_rax` stay.
    fn complete(&mut self, _regs: &mut Regs) {}

    /// Guest memory that came with the call that the guest stands at: copies it and says how many bytes, all of `buffer`
    /// or up to the end of a string. `None`: it has to be read from the address space.
    fn brought(&self, _addr: GuestAddr, _buffer: &mut [u8]) -> Option<usize> {
        None
    }

    /// Takes bytes that are written when the guest goes on behind its call, by the guest's thread itself; false: they have
    /// to be written to the address space. The caller has found the whole range to be ordinary memory that the guest can
    /// write. Where it no longer is when the guest goes on, the call fails with EFAULT. Nobody sees them before.
    fn give(&self, _addr: GuestAddr, _bytes: &[u8]) -> bool {
        false
    }

    /// Writes what [`GuestThread::give`] has taken to the address space now, if any of it may be read by who is about to
    /// read `len` bytes at `addr`.
    fn deliver(&self, _addr: GuestAddr, _len: usize) {}

    /// The extended (XSAVE) state of a thread that stands still.
    fn extended_state(&mut self) -> Vec<u8>;

    /// Replaces the extended state of a thread that stands still. Empty means the initial state.
    ///
    /// # Errors
    /// EINVAL when the XSAVE header is not one that the processor would load.
    fn set_extended_state(&mut self, state: &[u8]) -> Result<()>;

    /// Forgets everything of a thread that stands still: it goes on as a new one, with the registers that the next
    /// [`GuestThread::resume`] gives it. Only after [`AddressSpace::renew`].
    ///
    /// # Errors
    /// ESRCH when it is dead.
    fn renew(&mut self) -> Result<()> {
        Err(Errno::ESRCH)
    }

    /// A handle that makes a running guest stop with [`Event::Interrupted`], from any thread.
    fn interrupter(&self) -> Arc<dyn Interrupter>;

    /// Has `notice` called, once and from any thread, when the host's side ends without having been told to: a guest
    /// that waits in a system call is not polled, so its task hears of it only this way. At once if that has
    /// happened already; never after this thread is dropped or [`AddressSpace::kill`] was called. The notice holds
    /// no lock of the platform and may be one call late.
    fn on_death(&mut self, notice: DeathNotice) {
        let _ = notice;
    }

    /// Host CPU time used by this thread: (user, system) in nanoseconds.
    fn cpu_time(&self) -> (u64, u64);

    /// Ready once the extended state of a thread that stands still can be had: to be awaited before
    /// [`GuestThread::extended_state`] and [`GuestThread::set_extended_state`]. Ready at once on most platforms.
    fn poll_settle(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// The call site of the last event, if the platform would like to rewrite it because it is used often. Asked
    /// once per event; whoever gets one calls [`GuestThread::patch`] before the next `resume`, if the code there is
    /// private memory that the guest cannot write.
    fn hot_site(&mut self) -> Option<HotSite> {
        None
    }

    /// Takes operations that this thread, which stands still, carries out itself on its way back to the guest: `ops`
    /// up to the first that fails, then all of `optional`, whose failures don't matter. False: it does not take them, and
    /// [`AddressSpace::apply`] is the way.
    ///
    /// The order is that of the calls, as with `apply`: whatever the address space is told afterwards about the same
    /// range, and every copy of it, comes behind. The guest does not run before all is done; if one of `ops` fails it
    /// does not run at all, and [`Event::Failed`] is what `poll_event` says.
    fn carry(&mut self, _ops: &[HostOp], _optional: &[HostOp]) -> bool {
        false
    }

    /// Has what `carry` took done at once, while the guest stands still: ready at once where it has taken nothing.
    fn poll_carried(&mut self, _context: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A new thread of the same address space, made by this one, which stands still: [`AddressSpace::spawn`] without a round
    /// trip to anybody else. `Err`: it cannot; the state is given back for the other way.
    fn spawn(&mut self, state: ThreadState) -> Spawned<'_> {
        Err(Box::new(state))
    }

    /// Rewrites the site that `hot_site` gave, if that can be done now. `area`: a mapping for the platform's own
    /// use, see [`HotSite::needs_area`]. Until it is done, nobody may apply operations to the address space or
    /// copy it.
    fn patch(&mut self, _area: Option<u64>) -> PlatformFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// What [`GuestThread::spawn`] gives.
pub type Spawned<'a> =
    core::result::Result<PlatformFuture<'a, Box<dyn GuestThread>>, Box<ThreadState>>;

/// A call site that the platform would like to rewrite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotSite {
    /// An address in it.
    pub address: u64,
    /// Bytes of private executable memory, less than 2 GiB away from it, that the platform needs to do so: mapped for
    /// this alone, and not shown to the guest.
    pub needs_area: Option<u64>,
}

/// What is called when a guest's host process has gone, see [`GuestThread::on_death`].
pub type DeathNotice = Box<dyn FnOnce() + Send>;

/// How others reach a guest thread, also while it runs.
pub trait Interrupter: Send + Sync {
    /// Makes the guest come back soon if it runs; may make it come back once more for nothing.
    fn interrupt(&self);

    /// Says what the calls of [`Answers::NUMBERS`] return, so that the platform may answer them without an event;
    /// `None`: it must not, for somebody wants to see them. Holds from the next call on. A new thread has none.
    fn answer_alone(&self, _answers: Option<&Answers>) {}
}

/// What calls return that change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers(pub [u64; 7]);

impl Answers {
    /// The numbers of the calls, in the order of the results: `getpid`, `gettid`, `getppid`, `getuid`, `geteuid`, `getgid`,
    /// `getegid`. No two end in the same byte.
    pub const NUMBERS: [u64; 7] = [39, 186, 110, 102, 107, 104, 108];
}

/// Why a guest thread stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It asks for a system call: number in `rax` (and `orig_rax`), arguments in the usual registers, and
    /// `rip` behind the 2-byte instruction.
    Syscall,
    /// It used an entry that is not of the 64-bit ABI (`int 0x80`): Linux semantics are the caller's choice.
    ForeignSyscall,
    /// It faulted.
    Fault(Fault),
    /// Someone called [`Interrupter::interrupt`], or nothing happened at all.
    Interrupted,
    /// An operation that it carried out itself failed, see [`GuestThread::carry`]: the guest has not run, and its registers
    /// are those that it was to go on with.
    Failed(Errno),
    /// The thread or its address space is gone; to the guest this is SIGKILL.
    Dead,
}

/// A processor exception as Linux would report it in `siginfo_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP, as a number.
    pub signal: u32,
    /// `si_code`.
    pub code: i32,
    /// `si_addr`.
    pub address: GuestAddr,
    /// The exception's vector (`trapno` in `sigcontext`).
    pub trap: u64,
    /// The exception's error code (`err` in `sigcontext`).
    pub error: u64,
}

/// What a failed platform operation is to a guest that asked for memory or a thread.
pub const fn host_failure(errno: Errno) -> Errno {
    match errno {
        Errno::ENOMEM
        | Errno::EAGAIN
        | Errno::EACCES
        | Errno::EPERM
        | Errno::ENODEV
        | Errno::EINVAL => errno,
        _ => Errno::ENOMEM,
    }
}
