//! A platform whose guests are closures: each guest thread is a thread of the test that makes "system calls" by handing
//! registers to the kernel and waiting to be resumed.
//!
//! A closure has an address, which stands in `rip`; that is how a forked child and a signal handler find what they run.

#![allow(dead_code, clippy::allow_attributes, reason = "not every test uses everything")]

use core::future::ready;
use core::task::{Context, Poll, Waker};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chitin_abi::{Errno, GuestAddr, Regs, Result, nr};
use chitin_mm::platform::{
    AddressSpace, Capabilities, Doorbell, Event, GuestThread, Interrupter, Platform,
    PlatformFuture, ThreadState,
};
use chitin_mm::{GuestMemory, HostOp};
use parking_lot::{Condvar, Mutex};

/// Where the guests' memory lies.
pub const BASE: u64 = 0x10000;
const SIZE: usize = 1 << 20;
/// The stack pointer that guests start with.
pub const STACK: u64 = BASE + 0x80000;

type Body = Arc<dyn Fn(&mut Guest) + Send + Sync>;

/// What closures there are, by address.
#[derive(Default)]
pub struct Code {
    bodies: Mutex<HashMap<u64, Body>>,
    next: AtomicU64,
}

impl Code {
    /// Gives a closure an address.
    pub fn add(&self, body: impl Fn(&mut Guest) + Send + Sync + 'static) -> u64 {
        let at = 0x4000_0000 + self.next.fetch_add(16, Ordering::Relaxed);
        self.bodies.lock().insert(at, Arc::new(body));
        at
    }

    fn get(&self, at: u64) -> Option<Body> {
        self.bodies.lock().get(&at).cloned()
    }
}

/// The platform.
#[derive(Default)]
pub struct Mock {
    /// Its closures.
    pub code: Arc<Code>,
    bells: Mutex<HashMap<usize, Arc<Bell>>>,
}

impl Platform for Mock {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "mock",
            min_address: BASE,
            max_address: 0x7fff_0000_0000,
            vdso: None,
            xsave_size: 576,
            hwcap: 0,
            hwcap2: 0,
            min_signal_stack: 2048,
        }
    }

    fn new_address_space(&self) -> PlatformFuture<'_, Arc<dyn AddressSpace>> {
        let space: Arc<dyn AddressSpace> = Arc::new(Space::new(&self.code, vec![0; SIZE]));
        Box::pin(ready(Ok(space)))
    }

    fn doorbell(&self, worker: usize) -> Arc<dyn Doorbell> {
        Arc::clone(self.bells.lock().entry(worker).or_default()) as Arc<dyn Doorbell>
    }
}

#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Doorbell for Bell {
    fn collect(&self) -> usize {
        0
    }

    fn wait(&self, deadline: Option<u64>) {
        let mut rung = self.rung.lock();
        if !*rung {
            let clock = chitin_task::time::KernelClock::host();
            let left = deadline.map(|deadline| deadline.saturating_sub(clock.monotonic()));
            let left = left.map_or(Duration::from_secs(3600), Duration::from_nanos);
            self.changed.wait_for(&mut rung, left);
        }
        *rung = false;
    }

    fn ring(&self) {
        *self.rung.lock() = true;
        self.changed.notify_all();
    }
}

struct Memory {
    bytes: Mutex<Vec<u8>>,
}

impl GuestMemory for Memory {
    fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
        let bytes = self.bytes.lock();
        let start = addr.0.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        let from = bytes.get(start..).filter(|from| !from.is_empty()).ok_or(Errno::EFAULT)?;
        let count = buffer.len().min(from.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_partial(&self, addr: GuestAddr, from: &[u8]) -> Result<usize> {
        let mut bytes = self.bytes.lock();
        let start = addr.0.checked_sub(BASE).ok_or(Errno::EFAULT)? as usize;
        let to = bytes.get_mut(start..).filter(|to| !to.is_empty()).ok_or(Errno::EFAULT)?;
        let count = from.len().min(to.len());
        to[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }
}

struct Space {
    code: Arc<Code>,
    memory: Arc<Memory>,
    dead: Arc<AtomicBool>,
}

impl Space {
    fn new(code: &Arc<Code>, bytes: Vec<u8>) -> Self {
        let memory = Arc::new(Memory { bytes: Mutex::new(bytes) });
        Self { code: Arc::clone(code), memory, dead: Arc::default() }
    }
}

impl AddressSpace for Space {
    fn apply(&self, _ops: Vec<HostOp>) -> PlatformFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }

    fn fork(&self) -> PlatformFuture<'_, Arc<dyn AddressSpace>> {
        let bytes = self.memory.bytes.lock().clone();
        let copy: Arc<dyn AddressSpace> = Arc::new(Self::new(&self.code, bytes));
        Box::pin(ready(Ok(copy)))
    }

    fn spawn(&self, _state: ThreadState) -> PlatformFuture<'_, Box<dyn GuestThread>> {
        let shared = Arc::new(Shared::default());
        let guest = Guest {
            code: Arc::clone(&self.code),
            memory: Arc::clone(&self.memory),
            shared: Arc::clone(&shared),
            dead: Arc::clone(&self.dead),
            regs: Regs::default(),
        };
        std::thread::spawn(move || guest.run());
        let thread: Box<dyn GuestThread> =
            Box::new(Thread { shared, dead: Arc::clone(&self.dead) });
        Box::pin(ready(Ok(thread)))
    }

    fn memory(&self) -> &dyn GuestMemory {
        &*self.memory
    }

    fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    fn resident(&self) -> (u64, u64) {
        (SIZE as u64, 0)
    }

    fn cpu_time(&self) -> (u64, u64) {
        (0, 0)
    }
}

#[derive(Default)]
struct State {
    /// Registers of a guest that is to run, or is running.
    resumed: Option<Regs>,
    running: bool,
    event: Option<(Event, Regs)>,
    waker: Option<Waker>,
    interrupted: bool,
    gone: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct Thread {
    shared: Arc<Shared>,
    dead: Arc<AtomicBool>,
}

impl GuestThread for Thread {
    fn resume(&mut self, regs: &Regs) -> Result<()> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(Errno::ESRCH);
        }
        let mut state = self.shared.state.lock();
        state.resumed = Some(*regs);
        state.running = true;
        self.shared.changed.notify_all();
        Ok(())
    }

    fn poll_event(&mut self, context: &mut Context<'_>, regs: &mut Regs) -> Poll<Event> {
        let mut state = self.shared.state.lock();
        if let Some((event, now)) = state.event.take() {
            *regs = now;
            return Poll::Ready(event);
        }
        if self.dead.load(Ordering::SeqCst) {
            return Poll::Ready(Event::Dead);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn extended_state(&mut self) -> Vec<u8> {
        vec![0; 576]
    }

    fn set_extended_state(&mut self, _state: &[u8]) -> Result<()> {
        Ok(())
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.shared) as Arc<dyn Interrupter>
    }

    fn cpu_time(&self) -> (u64, u64) {
        (0, 0)
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.shared.state.lock().gone = true;
        self.shared.changed.notify_all();
    }
}

impl Interrupter for Shared {
    fn interrupt(&self) {
        self.state.lock().interrupted = true;
        self.changed.notify_all();
    }
}

/// What a guest's thread unwinds with when the kernel has ended it.
struct Ended;

/// A guest thread, from inside.
pub struct Guest {
    code: Arc<Code>,
    memory: Arc<Memory>,
    shared: Arc<Shared>,
    dead: Arc<AtomicBool>,
    regs: Regs,
}

impl Guest {
    fn run(mut self) {
        let body = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.wait_resumed();
            let body = self.code.get(self.regs.rip).expect("a closure has this address");
            body(&mut self);
            self.syscall(nr::EXIT_GROUP, &[0]);
        }));
        if let Err(payload) = body
            && !payload.is::<Ended>()
        {
            // The test sees a wait status that it does not expect.
            self.stop(Event::Dead);
        }
    }

    fn wait_resumed(&mut self) {
        let mut state = self.shared.state.lock();
        loop {
            if state.gone || self.dead.load(Ordering::SeqCst) {
                drop(state);
                std::panic::resume_unwind(Box::new(Ended));
            }
            if let Some(regs) = state.resumed.take() {
                self.regs = regs;
                return;
            }
            self.shared.changed.wait_for(&mut state, Duration::from_millis(20));
        }
    }

    fn stop(&self, event: Event) {
        let waker = {
            let mut state = self.shared.state.lock();
            state.running = false;
            state.interrupted = false;
            state.event = Some((event, self.regs));
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Makes a system call; what it returned.
    pub fn syscall(&mut self, number: u64, args: &[u64]) -> i64 {
        let arg = |index: usize| args.get(index).copied().unwrap_or(0);
        let return_to = self.regs.rip;
        self.regs.rax = number;
        (self.regs.rdi, self.regs.rsi, self.regs.rdx) = (arg(0), arg(1), arg(2));
        (self.regs.r10, self.regs.r8, self.regs.r9) = (arg(3), arg(4), arg(5));
        // Behind the instruction, as the processor has it.
        self.regs.rip = return_to + 2;
        self.cross(Event::Syscall, return_to);
        self.regs.rip = return_to;
        self.regs.rax.cast_signed()
    }

    /// Stops with an event, and runs what the kernel has put before the way back.
    fn cross(&mut self, event: Event, instruction: u64) {
        self.stop(event);
        loop {
            self.wait_resumed();
            if self.regs.rip == instruction + 2 {
                return;
            }
            if self.regs.rip == instruction {
                // The call is made again.
                self.regs.rip = instruction + 2;
                self.stop(Event::Syscall);
                continue;
            }
            let handler = self.code.get(self.regs.rip).expect("a handler has this address");
            let frame = self.regs.rsp;
            handler(self);
            // The handler's `ret` has taken the return address.
            self.regs.rsp = frame + 8;
            self.regs.rax = nr::RT_SIGRETURN;
            self.regs.rip += 2;
            self.stop(Event::Syscall);
        }
    }

    /// Computes until the kernel interrupts it.
    pub fn compute(&mut self, at_most: Duration) {
        let until = std::time::Instant::now() + at_most;
        loop {
            let mut state = self.shared.state.lock();
            if state.interrupted || state.gone || self.dead.load(Ordering::SeqCst) {
                break;
            }
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return;
            }
            self.shared.changed.wait_for(&mut state, left);
        }
        let here = self.regs.rip;
        self.regs.rip = here + 2;
        self.cross(Event::Interrupted, here);
        self.regs.rip = here;
    }

    /// Forks; the child runs `body`. The child's id.
    pub fn fork(&mut self, body: impl Fn(&mut Guest) + Send + Sync + 'static) -> i64 {
        self.clone_with(chitin_abi::signal::SIGCHLD.into(), 0, body)
    }

    /// `clone` with these flags and stack; the child runs `body`.
    pub fn clone_with(
        &mut self,
        flags: u64,
        stack: u64,
        body: impl Fn(&mut Guest) + Send + Sync + 'static,
    ) -> i64 {
        let child = self.code.add(move |guest| {
            guest.regs.rip -= 2;
            body(guest);
        });
        // The child begins behind the instruction.
        let entry = self.code.get(child).expect("just added");
        self.code.bodies.lock().insert(child + 2, entry);
        let back = self.regs.rip;
        self.regs.rip = child;
        let result = self.syscall(nr::CLONE, &[flags, stack]);
        self.regs.rip = back;
        result
    }

    /// Installs a handler.
    pub fn handle(
        &mut self,
        signal: u32,
        flags: u64,
        body: impl Fn(&mut Guest) + Send + Sync + 'static,
    ) {
        use chitin_abi::signal::{SA_RESTORER, SigAction, SigSet};
        let handler = self.code.add(body);
        let action = SigAction {
            handler,
            flags: flags | SA_RESTORER,
            restorer: 0x3000,
            mask: SigSet::EMPTY,
        };
        self.put(BASE, zerocopy::IntoBytes::as_bytes(&action));
        assert_eq!(self.syscall(nr::RT_SIGACTION, &[signal.into(), BASE, 0, 8]), 0);
    }

    /// Writes memory.
    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.memory.write(GuestAddr(at), bytes).expect("inside");
    }

    /// Reads a word.
    pub fn word(&self, at: u64) -> u32 {
        let mut bytes = [0; 4];
        self.memory.read(GuestAddr(at), &mut bytes).expect("inside");
        u32::from_ne_bytes(bytes)
    }

    /// The registers.
    pub fn regs(&self) -> &Regs {
        &self.regs
    }
}
