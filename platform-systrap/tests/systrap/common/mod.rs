//! What a kernel does for its guests, as little of it as tests need.

pub mod raw;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use chitin_abi::{GuestAddr, Regs};
use chitin_mm::platform::{AddressSpace, Doorbell, Event, GuestThread, Platform, ThreadState};
use chitin_mm::{HostOp, HostProt};
use chitin_platform_systrap::{Systrap, SystrapConfig};

pub const CODE: u64 = 0x40_0000;
pub const DATA: u64 = 0x50_0000;
pub const STACK_TOP: u64 = 0x70_0000;
const PATIENCE: Duration = Duration::from_secs(20);

pub const READ: HostProt = HostProt { read: true, write: false, exec: false };
pub const WRITE: HostProt = HostProt { read: true, write: true, exec: false };
pub const RUN: HostProt = HostProt { read: true, write: false, exec: true };

/// A platform and one worker: the test's own thread.
pub struct Host {
    pub platform: Arc<Systrap>,
    pub bell: Arc<dyn Doorbell>,
}

impl Host {
    pub fn new() -> Self {
        let platform = Systrap::new(SystrapConfig::default()).expect("the platform starts");
        let bell = platform.doorbell(0);
        Self { platform, bell }
    }

    /// Rings, as a scheduler does when a task of another thread can go on.
    fn waker(&self) -> Waker {
        struct Ringer(Arc<dyn Doorbell>);
        impl Wake for Ringer {
            fn wake(self: Arc<Self>) {
                self.0.ring();
            }
        }
        Arc::new(Ringer(Arc::clone(&self.bell))).into()
    }

    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = self.waker();
        let mut context = Context::from_waker(&waker);
        let start = Instant::now();
        loop {
            if let Poll::Ready(result) = future.as_mut().poll(&mut context) {
                return result;
            }
            assert!(start.elapsed() < PATIENCE, "it takes too long");
            if self.bell.collect() == 0 {
                self.bell.wait(Some(now() + 1_000_000_000));
            }
        }
    }

    /// The result, if it comes soon enough.
    pub fn within<T>(
        &self,
        future: &mut (impl Future<Output = T> + Unpin),
        limit: Duration,
    ) -> Option<T> {
        let waker = self.waker();
        let mut context = Context::from_waker(&waker);
        let start = Instant::now();
        while start.elapsed() <= limit {
            if let Poll::Ready(result) = pin!(&mut *future).poll(&mut context) {
                return Some(result);
            }
            if self.bell.collect() == 0 {
                self.bell.wait(Some(now() + 1_000_000));
            }
        }
        None
    }

    /// The next event of a thread that runs, with all registers.
    pub fn event(&self, thread: &mut dyn GuestThread, regs: &mut Regs) -> Event {
        let event = self.call(thread, regs);
        thread.complete(regs);
        event
    }

    /// The next event of a thread that runs; of a call only number and arguments.
    pub fn call(&self, thread: &mut dyn GuestThread, regs: &mut Regs) -> Event {
        self.wait(std::future::poll_fn(|context| thread.poll_event(context, regs)))
    }

    /// The next event, if it comes soon enough.
    pub fn event_within(
        &self,
        thread: &mut dyn GuestThread,
        regs: &mut Regs,
        limit: Duration,
    ) -> Option<Event> {
        let waker = self.waker();
        let mut context = Context::from_waker(&waker);
        let start = Instant::now();
        loop {
            if let Poll::Ready(event) = thread.poll_event(&mut context, regs) {
                thread.complete(regs);
                return Some(event);
            }
            if start.elapsed() > limit {
                return None;
            }
            if self.bell.collect() == 0 {
                self.bell.wait(Some(now() + 1_000_000));
            }
        }
    }

    /// Resumes, and waits for the next event.
    pub fn run(&self, thread: &mut dyn GuestThread, regs: &mut Regs) -> Event {
        thread.resume(regs).expect("it can run");
        self.event(thread, regs)
    }

    pub fn space(&self) -> Arc<dyn AddressSpace> {
        self.wait(self.platform.new_address_space()).expect("an address space")
    }

    pub fn map(&self, space: &dyn AddressSpace, addr: u64, len: u64, prot: HostProt) {
        self.wait(space.apply(vec![anonymous(addr, len, prot)])).expect("it can be mapped");
    }

    /// An address space with this code, a data page and a stack.
    pub fn load(&self, code: &[u8]) -> Arc<dyn AddressSpace> {
        let space = self.space();
        self.fill(&*space, code);
        space
    }

    /// Puts this code, a data page and a stack into an empty address space.
    pub fn fill(&self, space: &dyn AddressSpace, code: &[u8]) {
        let len = (code.len() as u64).next_multiple_of(0x1000);
        self.map(space, CODE, len, WRITE);
        self.map(space, DATA, 0x4000, WRITE);
        self.map(space, STACK_TOP - 0x10000, 0x10000, WRITE);
        space.memory().write(GuestAddr(CODE), code).expect("it is mapped");
        let run = HostOp::Protect { addr: CODE, len, prot: RUN };
        self.wait(space.apply(vec![run])).expect("it can be protected");
    }

    pub fn spawn(&self, space: &dyn AddressSpace, regs: &Regs) -> Box<dyn GuestThread> {
        let state = ThreadState { regs: *regs, extended: Vec::new() };
        self.wait(space.spawn(state)).expect("a thread")
    }

    /// A thread at the start of this code, and its registers.
    pub fn start(&self, code: &[u8]) -> (Arc<dyn AddressSpace>, Box<dyn GuestThread>, Regs) {
        let space = self.load(code);
        let regs = at(CODE);
        let thread = self.spawn(&*space, &regs);
        (space, thread, regs)
    }
}

pub fn anonymous(addr: u64, len: u64, prot: HostProt) -> HostOp {
    HostOp::MapAnonymous {
        addr,
        len,
        prot,
        shared: false,
        populate: false,
        noreserve: false,
        grows_down: false,
    }
}

pub fn at(rip: u64) -> Regs {
    Regs { rip, rsp: STACK_TOP - 64, eflags: 0x202, cs: 0x33, ss: 0x2b, ..Regs::default() }
}

pub fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Process ids of this process's children, stubs among them.
pub fn children() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("there is /proc");
    let texts = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    texts
        .flat_map(|text| {
            let pids: Vec<i32> =
                text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect();
            pids
        })
        .collect()
}

/// Runs a test in a process of its own, and says whether this is that process.
pub fn is_alone(test: &str) -> bool {
    const ALONE: &str = "CHITIN_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let status = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", test])
        .env(ALONE, "1")
        .status()
        .expect("it runs");
    assert!(status.success());
    false
}
