//! The platform itself: how it starts, and where new address spaces come from.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Once};

use chitin_abi::auxv::{AT_HWCAP, AT_HWCAP2, AT_MINSIGSTKSZ};
use chitin_mm::platform::{
    AddressSpace, Answers, Capabilities, Domain, Doorbell, KnownCode, Platform, PlatformFuture,
    VdsoRange,
};
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

use crate::code::Codes;
use crate::doorbell::Sleeper;
use crate::filter::{self, Instruction};
use crate::layout::{self, Descriptors, config};
use crate::patches::Patches;
use crate::process::Process;
use crate::raw::arena::Arena;
use crate::raw::{host, text, zygote};
use crate::reaper::Registry;
use crate::reuse::{self, Spares};
use crate::shared::{Bell, Shared, Spinner};
use crate::space;
use crate::table::{Numbers, PLACES, Table};
use crate::xstate::{self, Shape};
use crate::{cpuid, doorbell, fork, luggage, order, vdso};

/// `HWCAP2_FSGSBASE`.
const FSGSBASE: u64 = 2;
/// For how many seconds a warden waits for a thread that carries out operations. Only who forges its own channel takes
/// longer.
const CARRY_PATIENCE: u64 = 20;
/// Nanoseconds between two looks of a stub at a futex's word: often enough not to be late, and seldom enough to leave the
/// word to whom is to change it.
const LOOK: u64 = 300;
/// Who has looked for so many nanoseconds has lost its core to others meanwhile.
const LOST: u64 = 100_000;
/// How long the first stub may take to say hello.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// How to make a [`Systrap`].
#[derive(Clone, Copy, Debug)]
pub struct SystrapConfig {
    /// Worker threads of the scheduler: one doorbell each, 1 to 64.
    pub workers: usize,
    /// Whether call sites that are used often are rewritten, so that they need no signal. It takes a processor and a
    /// kernel with FSGSBASE.
    pub patch: bool,
}

impl Default for SystrapConfig {
    fn default() -> Self {
        Self { workers: 1, patch: true }
    }
}

/// Guest processes driven by seccomp and SIGSYS.
pub struct Systrap {
    shared: Arc<Shared>,
    /// The first stub, from which all others are copied. It runs no guest.
    template: Arc<Process>,
    capabilities: Capabilities,
    reaper: Once,
}

/// A platform whose first stub is on its way: it needs no attention until [`Starting::finish`].
pub struct Starting {
    shared: Shared,
    vdso: vdso::Plan,
    first: First,
}

impl Systrap {
    /// Makes the platform, and waits for its first stub; see [`Systrap::begin`].
    ///
    /// # Errors
    /// What the host refuses.
    pub fn new(config: SystrapConfig) -> io::Result<Arc<Self>> {
        let mut starting = Self::begin(config)?;
        starting.find_proc();
        starting.finish()
    }

    /// Begins to make the platform and the process that stubs are copied from, which gets ready by itself meanwhile. To
    /// be called while the sentry has one thread, before it loads its own seccomp filter; that thread must live as
    /// long as the platform. Starts no thread.
    ///
    /// # Errors
    /// What the host refuses.
    pub fn begin(config: SystrapConfig) -> io::Result<Starting> {
        // Deadlines are met to the nanosecond: the threads that come inherit this.
        let _ = rustix::thread::set_current_timer_slack(core::num::NonZeroU64::new(1));
        let workers = config.workers.clamp(1, config::WORKERS as usize);
        if !text::is_laid_out() {
            return Err(io::Error::other("the stub's code is not where it should be"));
        }
        let descriptors = Descriptors { workers: workers as u32 };
        let fsgsbase = host::auxiliary(AT_HWCAP2) & FSGSBASE != 0;
        let orders_len = Shared::order_offset(PLACES) as usize;
        let orders = Arena::new("chitin-orders", orders_len, true)?;
        configure(&orders, descriptors, fsgsbase)?;
        let mut shared = Shared {
            orders,
            order_numbers: Numbers::default(),
            channels: Arena::new(
                "chitin-channels",
                Shared::channel_offset(PLACES) as usize,
                false,
            )?,
            channel_numbers: Numbers::default(),
            shape: Shape { features: 0, size: xstate::MINIMUM, mxcsr_mask: 0xffff },
            fsgsbase,
            patch: config.patch && fsgsbase,
            codes: Codes::default(),
            cpuid: cpuid::Answers::default(),
            descriptors,
            cores: cores(workers),
            bells: (0..workers).map(|_| bell()).collect::<io::Result<_>>()?,
            spinner: Spinner::default(),
            running: Table::new(),
            ordering: Table::new(),
            registry: Registry::default(),
            proc: None,
            vdso: layout::VDSO_END,
            spares: Spares::default(),
            sockets: fork::Sockets::default(),
            pid: std::process::id() as i32,
            given_up: Mutex::default(),
        };
        if shared.cores.len() > 1 {
            shared.orders.store32(config::CORES, shared.cores.len() as u32);
        }
        let vdso = vdso::plan(&own_maps()).unwrap_or_default();
        shared.vdso = vdso.moves.iter().map(|one| one.1).min().unwrap_or(layout::VDSO_END);
        let first = start(&shared, &vdso)?;
        Ok(Starting { shared, vdso, first })
    }

    /// The thread that reaps stubs is started late, so that the sentry can confine itself before.
    fn start_reaper(&self) {
        self.reaper.call_once(|| {
            let shared = Arc::clone(&self.shared);
            let group = self.template.pid;
            let thread = std::thread::Builder::new().name("reaper".into()).stack_size(64 << 10);
            let started = thread.spawn(move || {
                while shared.registry.reap_one(group) {
                    shared.sockets.refill();
                }
            });
            if started.is_err() {
                self.template.kill();
            }
        });
    }
}

impl Starting {
    /// Opens `/proc`, if it is that of this process's own pid namespace: what stubs use is found there.
    pub fn find_proc(&mut self) {
        self.shared.proc = own_proc();
    }

    /// Waits until the first stub has said hello. It has given up its rights by then.
    ///
    /// # Errors
    /// Why it did not.
    pub fn finish(self) -> io::Result<Arc<Systrap>> {
        let Self { mut shared, vdso, first } = self;
        shared.shape = greet(&shared, &first)?;
        let First { pid, order, reply, socket, .. } = first;
        let shared = Arc::new(shared);
        let template =
            Process::new(Arc::clone(&shared), pid, order, reply, socket, Patches::default());
        shared.registry.add(&template);
        // The first program's, made while the kernel gets ready.
        if let Ok(copy) = space::copy(&template) {
            shared.spares.add(copy);
        }
        let capabilities = capabilities(&shared, &vdso);
        Ok(Arc::new(Systrap { shared, template, capabilities, reaper: Once::new() }))
    }
}

impl Drop for Systrap {
    fn drop(&mut self) {
        self.shared.spares.close();
        for process in self.shared.registry.all() {
            process.kill();
        }
        if !self.reaper.is_completed() {
            while self.shared.registry.reap_one(self.template.pid) {}
        }
    }
}

/// The cores that this process may use, if there are as many as workers.
fn cores(workers: usize) -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    let cores = (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    let cores: Vec<usize> = cores.collect();
    if cores.len() == workers { cores } else { Vec::new() }
}

fn bell() -> io::Result<Bell> {
    let counter = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
    Ok(Bell {
        counter,
        rung: false.into(),
        core: Mutex::new(None),
        is_recruited: false.into(),
        looks: 0.into(),
        found: 0.into(),
        pace: Mutex::default(),
    })
}

/// `/proc/self/maps`.
fn own_maps() -> String {
    use std::io::Read as _;
    // Read in one piece: each read begins with a search.
    let mut text = String::with_capacity(1 << 14);
    let read =
        std::fs::File::open("/proc/self/maps").map(|mut file| file.read_to_string(&mut text));
    read.map_or_else(|_| String::new(), |_| text)
}

/// `/proc`, if it is that of this process's own pid namespace.
fn own_proc() -> Option<OwnedFd> {
    let own = std::fs::read_link("/proc/self").ok()?;
    if own.to_str()?.parse() != Ok(std::process::id()) {
        return None;
    }
    Some(std::fs::File::open("/proc").ok()?.into())
}

/// Says which calls stubs answer by themselves. What stands for a byte that ends no such number makes 0 with no number
/// that ends in it.
fn configure_answers(orders: &Arena) {
    let mut numbers: [i32; 256] = core::array::from_fn(|byte| if byte == 255 { 2 } else { 1 });
    let mut slots = [0_u8; 256];
    for (slot, number) in Answers::NUMBERS.into_iter().enumerate() {
        let byte = number as usize % 256;
        numbers[byte] = -(number as i32);
        slots[byte] = slot as u8;
    }
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).collect();
    orders.write(config::ANSWER_NUMBERS, &bytes);
    orders.write(config::ANSWER_SLOTS, &slots);
}

/// Writes the pages that all stubs read.
fn configure(orders: &Arena, descriptors: Descriptors, fsgsbase: bool) -> io::Result<()> {
    let workers = descriptors.workers;
    let cores: Vec<u8> = (0..0x400).map(|core| (core % workers) as u8).collect();
    orders.write(config::WORKER_OF, &cores);
    orders.store64(config::ONE, 1);
    orders.store64(config::CARRY_PATIENCE, CARRY_PATIENCE);
    orders.store32(config::LOOK_PAUSES, doorbell::pauses(LOOK));
    orders.store32(config::LOOK_TICKS, doorbell::ticks(LOST));
    configure_answers(orders);
    luggage::configure(orders);
    let (posted, taken) = doorbell::looks();
    orders.store32(config::SPIN_HOT, doorbell::STUB_HOT);
    orders.store32(config::SPIN_POSTED, posted);
    orders.store32(config::SPIN_TAKEN, taken);
    let mut at = config::INSTRUCTIONS;
    let programs = [
        (config::STUB_PROGRAM, filter::stub(descriptors, fsgsbase)),
        (config::GUEST_PROGRAM, filter::guest()),
    ];
    for (place, program) in programs {
        let bytes: Vec<u8> = program.iter().copied().flat_map(Instruction::to_bytes).collect();
        let end = at + bytes.len() as u64;
        if end > config::INSTRUCTIONS + config::INSTRUCTIONS_LEN {
            return Err(io::Error::other("the filters do not fit their page"));
        }
        orders.write(at, &bytes);
        orders.store64(place, program.len() as u64);
        orders.store64(place + 8, layout::CONFIG + at);
        at = end;
    }
    Ok(())
}

fn descriptor_list(shared: &Shared, socket: &OwnedFd) -> Vec<i32> {
    let mut list: Vec<i32> = shared.bells.iter().map(|bell| bell.counter.as_raw_fd()).collect();
    list.push(shared.orders.fd().as_raw_fd());
    list.push(shared.channels.fd().as_raw_fd());
    list.push(socket.as_raw_fd());
    list
}

/// What of the process that becomes the first stub stays mapped.
fn kept(vdso: &vdso::Plan) -> Vec<(u64, u64)> {
    let mut kept: Vec<_> = vdso.moves.iter().map(|&(_, to, len)| (to, to + len)).collect();
    kept.sort_unstable();
    kept.extend([
        (layout::TEXT, layout::TEXT + layout::TEXT_LEN),
        (layout::CONFIG, layout::CONFIG + layout::CONFIG_LEN),
        (layout::ORDER, layout::ORDER + layout::PAGE),
        (layout::REPLY, layout::REPLY + layout::PAGE),
    ]);
    kept
}

/// The first stub, and what it needs until it has said hello.
struct First {
    pid: i32,
    order: u32,
    reply: u32,
    socket: OwnedFd,
    _plan: Box<zygote::Plan>,
    _stack: Vec<u128>,
}

/// Starts the first stub.
fn start(shared: &Shared, vdso: &vdso::Plan) -> io::Result<First> {
    let (socket, theirs) = fork::socket_pair()?;
    let pages = fork::new_pages(shared).map_err(|_| ErrorKind::OutOfMemory)?;
    let (order, reply, number) = pages;
    fork::fill(shared, order, number, &order::first(&kept(vdso), shared.descriptors));
    let plan = Box::new(zygote::Plan {
        descriptors: descriptor_list(shared, &theirs),
        workers: shared.descriptors.workers,
        order: Shared::order_offset(order),
        reply: Shared::channel_offset(reply),
        moves: vdso.moves.clone(),
        parent: shared.pid,
    });
    let mut stack = vec![0_u128; 0x2000];
    let pid = zygote::start(&plan, &mut stack)?;
    Ok(First { pid, order, reply, socket, _plan: plan, _stack: stack })
}

/// Waits for the first stub's hello; what it has seen of the host's signal frames.
fn greet(shared: &Shared, first: &First) -> io::Result<Shape> {
    let ours = [PollFd::new(&first.socket, PollFlags::IN)];
    let _ = rustix::event::poll(&mut { ours }, Some(&PATIENCE));
    if !matches!(fork::hear(&first.socket), Ok(Some(_))) {
        return Err(failure(first.pid));
    }
    let seen = |field| shared.channels.load64(Shared::channel_offset(first.reply) + field);
    let (features, size) = (seen(zygote::seen::FEATURES), seen(zygote::seen::SIZE));
    let shape =
        Shape { features, size: size as usize, mxcsr_mask: seen(zygote::seen::MXCSR_MASK) as u32 };
    let room = layout::channel::HEADER - layout::channel::STACK - 0x600;
    if size < xstate::MINIMUM as u64 || size > room || !size.is_multiple_of(8) {
        let _ = failure(first.pid);
        return Err(io::Error::new(
            ErrorKind::Unsupported,
            format!("the host's signal frames hold {size} bytes of extended state"),
        ));
    }
    Ok(shape)
}

/// Ends a first stub that did not start, and says why.
fn failure(pid: i32) -> io::Error {
    if let Some(process) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    }
    match host::reap(pid) {
        Ok(ended) => io::Error::other(format!(
            "the first stub process did not start: it ended with {}",
            ended.how
        )),
        Err(error) => error,
    }
}

fn capabilities(shared: &Shared, vdso: &vdso::Plan) -> Capabilities {
    let start = vdso.moves.iter().map(|one| one.1).min();
    Capabilities {
        name: "systrap",
        min_address: layout::MIN_ADDRESS,
        max_address: layout::MAX_ADDRESS,
        vdso: start.map(|start| VdsoRange { start, ehdr: vdso.ehdr, end: layout::VDSO_END }),
        xsave_size: shared.shape.size,
        hwcap: host::auxiliary(AT_HWCAP),
        // The base of GS finds the channel: a guest asks for another one by a call, if it needs one.
        hwcap2: host::auxiliary(AT_HWCAP2) & if shared.patch { !FSGSBASE } else { !0 },
        min_signal_stack: host::auxiliary(AT_MINSIGSTKSZ).max(2048),
    }
}

impl Platform for Systrap {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn new_address_space(&self) -> PlatformFuture<'_, Arc<dyn AddressSpace>> {
        self.start_reaper();
        Box::pin(async move {
            Ok(Arc::new(reuse::fresh(&self.template, None).await?) as Arc<dyn AddressSpace>)
        })
    }

    fn address_space_for(&self, domain: &Domain) -> PlatformFuture<'_, Arc<dyn AddressSpace>> {
        self.start_reaper();
        let domain = Arc::clone(domain);
        Box::pin(async move {
            let space = reuse::fresh(&self.template, Some(&domain)).await?;
            Ok(Arc::new(space) as Arc<dyn AddressSpace>)
        })
    }

    fn known_code(&self, file: &OwnedFd, offset: u64, len: u64) -> Option<KnownCode> {
        let shared = &self.shared;
        if shared.patch { shared.codes.known(file, offset, len) } else { None }
    }

    fn doorbell(&self, worker: usize) -> Arc<dyn Doorbell> {
        Arc::new(Sleeper::new(Arc::clone(&self.shared), worker))
    }
}
