//! The facade of the tests over a kernel in this process.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use chitin_abi::fs::O_RDWR;
use chitin_abi::mm::{MAP_ANONYMOUS, MAP_FIXED, MAP_NORESERVE, MAP_PRIVATE, PROT_READ, PROT_WRITE};
use chitin_abi::process::{
    CLONE_FILES, CLONE_FS, CLONE_SIGHAND, CLONE_SYSVSEM, CLONE_THREAD, CLONE_VM,
};
use chitin_abi::signal::{SA_RESTORER, SA_SIGINFO, SIGCHLD, SigAction, SigSet};
use chitin_abi::{Result, nr};
use chitin_task::Kernel as TaskKernel;
use zerocopy::IntoBytes;

use super::arena::{Arena, SIZE};
use super::boot::First;
use super::guest::Stopped;
use super::handler::Counts;
use super::thread::{CHILD_WAITS, Current, Ended, doubt, replace, settle, with};
use super::tree::DIRECTORY;
use crate::call;
use crate::suite::{Arg, Calls, Kernel, Mapping, skip};

/// Where the instruction stands that makes system calls; nothing is there.
pub(super) const CODE: u64 = 0x2000;
/// Where the handler stands that counts.
pub(super) const HANDLER: u64 = 0x3000;
/// Where a handler returns to.
const RESTORER: u64 = 0x4000;
/// How long the first process may take to end.
const END: Duration = Duration::from_millis(100);
/// How often an access is tried again after the kernel has had its fault.
const MOST_FAULTS: usize = 3;

/// A kernel in this process; the calling thread is its first process.
pub struct InProcess {
    kernel: Arc<TaskKernel>,
}

impl InProcess {
    /// Makes the calling thread the first process.
    pub(super) fn enter(first: First) -> Result<Self> {
        let First { guest, platform, kernel } = first;
        let (arena, counts) = (Arena::new(0), Arc::default());
        replace(Some(Current { guest, arena, counts, platform, is_child: false, patience: None }));
        let arena = with(new_arena)?;
        with(|current| {
            current.arena = arena;
            current.guest.regs.rsp = arena.stack();
        });
        let own = Self { kernel };
        let k: &dyn Kernel = &own;
        for _ in 0..3 {
            k.open("/dev/null", O_RDWR, 0)?;
        }
        let directory = [DIRECTORY, b"\0"].concat();
        call!(k, CHDIR, directory.as_slice())?;
        Ok(own)
    }

    /// Makes a call of any number, and gives up after a while: the kernel is of no use then.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn try_call(
        &self,
        number: u64,
        args: &mut [Arg<'_>],
        patience: Duration,
    ) -> core::result::Result<Result<u64>, Stopped> {
        with(|current| {
            current.patience = Some(patience);
            current.call(number, args)
        })
    }

    /// Runs a child to its end.
    fn run_child(&self, body: &mut dyn FnMut() -> i32) {
        doubt("a child ran to its end before its parent went on, and the test failed then");
        let child = with(|parent| {
            let guest = settle(parent.newborn());
            Current {
                guest,
                arena: parent.arena,
                counts: Arc::new(Counts::copy(&parent.counts)),
                platform: Arc::clone(&parent.platform),
                is_child: true,
                patience: Some(CHILD_WAITS),
            }
        });
        let parent = replace(Some(child));
        let result = catch_unwind(AssertUnwindSafe(body));
        let code = match &result {
            Ok(code) => *code,
            Err(_) => 101,
        };
        let status = u64::from(code.cast_unsigned());
        // It does not come back from this.
        let _ = with(|child| child.syscall(nr::EXIT_GROUP, [status, 0, 0, 0, 0, 0]));
        replace(parent);
        if let Err(payload) = result
            && payload.is::<crate::suite::Skip>()
        {
            resume_unwind(payload);
        }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(mut current) = replace(None) {
            current.patience = Some(END);
            // It does not come back from this, and what it holds is given up. One that waits for a call cannot.
            let _ = current.syscall(nr::EXIT_GROUP, [0; 6]);
        }
        self.kernel.scheduler.stop();
    }
}

/// Maps an arena for the thread or one that it makes.
fn new_arena(current: &mut Current) -> Result<Arena> {
    const FLAGS: u32 = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    let rights = u64::from(PROT_READ | PROT_WRITE);
    let (nothing, flags) = (u64::MAX, u64::from(FLAGS));
    let start = settle(current.syscall(nr::MMAP, [0, SIZE, rights, flags, nothing, 0]))?;
    let arena = Arena::new(start);
    settle(current.syscall(nr::MPROTECT, [arena.edge(), 4096, 0, 0, 0, 0]))?;
    Ok(arena)
}

/// Skips the test where the call is of something that is not there.
fn check(number: u64) {
    match number {
        nr::EXECVE | nr::EXECVEAT => skip("a subject in process runs no programs"),
        nr::FORK | nr::VFORK | nr::CLONE | nr::CLONE3 => {
            skip("a subject in process makes children by the facade alone");
        }
        nr::NANOSLEEP | nr::CLOCK_NANOSLEEP | nr::PAUSE if with(|current| current.is_child) => {
            skip("a child that sleeps needs processes at one time");
        }
        _ => {}
    }
}

impl Kernel for InProcess {
    fn catch(&self, signal: u32, flags: u64) -> Result<()> {
        let flags = flags | SA_RESTORER | SA_SIGINFO;
        let action = SigAction { handler: HANDLER, flags, restorer: RESTORER, mask: SigSet::EMPTY };
        let mut args = [Arg::from(signal), Arg::In(action.as_bytes()), Arg::Null, Arg::from(8_u64)];
        self.call(nr::RT_SIGACTION, &mut args).map(drop)
    }

    fn caught(&self, signal: u32) -> (u32, i32, u64) {
        with(|current| current.counts.get(signal))
    }

    fn map(
        &self,
        length: usize,
        rights: u32,
        flags: u32,
        fd: i32,
        offset: u64,
    ) -> Result<Box<dyn Mapping>> {
        let flags = flags & !MAP_FIXED;
        let address = call!(self, MMAP, 0, length, rights, flags, fd, offset)?;
        Ok(Box::new(Mapped { address, length }))
    }

    fn call(&self, number: u64, args: &mut [Arg<'_>]) -> Result<u64> {
        check(number);
        settle(with(|current| current.call(number, args)))
    }

    fn fork(&self, body: &mut dyn FnMut() -> i32) -> Result<i32> {
        let flags = u64::from(SIGCHLD);
        let id = settle(with(|current| current.syscall(nr::CLONE, [flags, 0, 0, 0, 0, 0])))?;
        self.run_child(body);
        Ok(i32::try_from(id).unwrap_or(-1))
    }

    fn run_beside(&self, other: &mut (dyn FnMut() + Send), own: &mut dyn FnMut()) {
        let thread = with(new_thread);
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || play(thread, other));
            own();
            if let Err(payload) = thread.join() {
                resume_unwind(payload);
            }
        });
    }
}

/// Makes a thread of the process.
fn new_thread(current: &mut Current) -> Current {
    const FLAGS: u64 =
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    let arena = new_arena(current).unwrap_or_else(|errno| panic!("set-up: mmap: {errno:?}"));
    let made = settle(current.syscall(nr::CLONE, [FLAGS, arena.stack(), 0, 0, 0, 0]));
    assert!(made.is_ok(), "set-up: clone: {made:?}");
    Current {
        guest: settle(current.newborn()),
        arena,
        counts: Arc::clone(&current.counts),
        platform: Arc::clone(&current.platform),
        is_child: current.is_child,
        patience: current.patience,
    }
}

/// Runs a body as a thread of the kernel's.
fn play(thread: Current, body: &mut (dyn FnMut() + Send)) {
    replace(Some(thread));
    let result: core::result::Result<(), Box<dyn Any + Send>> =
        catch_unwind(AssertUnwindSafe(body));
    let _ = with(|current| current.syscall(nr::EXIT, [0; 6]));
    replace(None);
    match result {
        Err(payload) if !payload.is::<Ended>() => resume_unwind(payload),
        _ => {}
    }
}

/// Memory that a test mapped.
struct Mapped {
    address: u64,
    length: usize,
}

impl Mapped {
    fn at(&self, offset: usize) -> u64 {
        assert!(offset < self.length, "inside the mapping");
        self.address + offset as u64
    }

    /// Tries an access until it works or the kernel ends the thread.
    fn access<T>(
        &self,
        offset: usize,
        try_it: impl Fn(&Current, u64) -> core::result::Result<T, super::memory::Refusal>,
    ) -> T {
        let at = self.at(offset);
        for _ in 0..MOST_FAULTS {
            let result = with(|current| match try_it(current, at) {
                Ok(value) => Ok(Some(value)),
                Err(why) => current.fault(at, why).map(|()| None),
            });
            if let Some(value) = settle(result) {
                return value;
            }
        }
        panic!("an access at {at:#x} faults again and again");
    }
}

impl Mapping for Mapped {
    fn address(&self) -> u64 {
        self.address
    }

    fn get(&self, offset: usize) -> u8 {
        self.access(offset, |current, at| current.guest.memory.load(at))
    }

    fn set(&self, offset: usize, value: u8) {
        self.access(offset, |current, at| current.guest.memory.store(at, value));
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let range = [self.address, self.length as u64, 0, 0, 0, 0];
        // The thread may have ended: then the memory has gone too.
        let _ = with(|current| current.syscall(nr::MUNMAP, range));
    }
}
