//! The clocks that guests name: `clock_gettime(2)`.

use std::sync::Arc;

use chitin_abi::time::{
    CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE,
    CLOCK_MONOTONIC_RAW, CLOCK_PROCESS_CPUTIME_ID, CLOCK_REALTIME, CLOCK_REALTIME_ALARM,
    CLOCK_REALTIME_COARSE, CLOCK_TAI, CLOCK_THREAD_CPUTIME_ID,
};
use chitin_abi::{Errno, Result};

use super::KernelClock;
use crate::limits::usage;
use crate::process::find;
use crate::task::Task;

/// What is counted of a CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuKind {
    /// User time (`CPUCLOCK_VIRT`).
    User,
    /// Both (`CPUCLOCK_PROF`, `CPUCLOCK_SCHED`).
    Both,
}

impl CpuKind {
    /// The part of (user, system) that counts.
    pub fn of(self, cpu: (u64, u64)) -> u64 {
        match self {
            Self::User => cpu.0,
            Self::Both => cpu.0.saturating_add(cpu.1),
        }
    }
}

/// A clock.
#[derive(Clone)]
pub enum ClockId {
    /// `CLOCK_REALTIME` and its relatives; TAI runs with it.
    Real,
    /// `CLOCK_MONOTONIC` and its relatives.
    Monotonic,
    /// `CLOCK_BOOTTIME`.
    Boot,
    /// CPU time of a process.
    Process(Arc<Task>, CpuKind),
    /// CPU time of a thread.
    Thread(Arc<Task>, CpuKind),
}

impl ClockId {
    /// The number that names it.
    pub fn number(&self) -> i32 {
        let number = match self {
            Self::Real => CLOCK_REALTIME,
            Self::Monotonic => CLOCK_MONOTONIC,
            Self::Boot => CLOCK_BOOTTIME,
            Self::Process(..) => CLOCK_PROCESS_CPUTIME_ID,
            Self::Thread(..) => CLOCK_THREAD_CPUTIME_ID,
        };
        number.cast_signed()
    }
}

/// What can be done with a clock besides reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockTraits {
    /// Whether `clock_nanosleep` and `timer_create` know it.
    pub timers: bool,
    /// Whether they need `CAP_WAKE_ALARM`.
    pub alarm: bool,
    /// Whether it advances in ticks.
    pub coarse: bool,
}

const PLAIN: ClockTraits = ClockTraits { timers: true, alarm: false, coarse: false };
const ALARM: ClockTraits = ClockTraits { timers: true, alarm: true, coarse: false };
const READ_ONLY: ClockTraits = ClockTraits { timers: false, alarm: false, coarse: false };
const COARSE: ClockTraits = ClockTraits { timers: false, alarm: false, coarse: true };

/// The clock of a number.
///
/// # Errors
/// EINVAL for a number that names none, or a task that is not there.
pub fn resolve(caller: &Arc<Task>, number: i32) -> Result<(ClockId, ClockTraits)> {
    if number < 0 {
        return cpu_clock(caller, number).map(|clock| (clock, PLAIN));
    }
    Ok(match number.cast_unsigned() {
        CLOCK_REALTIME | CLOCK_TAI => (ClockId::Real, PLAIN),
        CLOCK_REALTIME_ALARM => (ClockId::Real, ALARM),
        CLOCK_REALTIME_COARSE => (ClockId::Real, COARSE),
        CLOCK_MONOTONIC => (ClockId::Monotonic, PLAIN),
        CLOCK_MONOTONIC_RAW => (ClockId::Monotonic, READ_ONLY),
        CLOCK_MONOTONIC_COARSE => (ClockId::Monotonic, COARSE),
        CLOCK_BOOTTIME => (ClockId::Boot, PLAIN),
        CLOCK_BOOTTIME_ALARM => (ClockId::Boot, ALARM),
        CLOCK_PROCESS_CPUTIME_ID => (ClockId::Process(Arc::clone(caller), CpuKind::Both), PLAIN),
        CLOCK_THREAD_CPUTIME_ID => (ClockId::Thread(Arc::clone(caller), CpuKind::Both), PLAIN),
        _ => return Err(Errno::EINVAL),
    })
}

/// A clock made of a task's id: two bits of what is counted, one for "thread", the complement of the id above.
fn cpu_clock(caller: &Arc<Task>, number: i32) -> Result<ClockId> {
    let id = !(number >> 3);
    let kind = match number & 3 {
        0 | 2 => CpuKind::Both,
        1 => CpuKind::User,
        // A clock of a device descriptor.
        _ => return Err(Errno::EINVAL),
    };
    let task = find::task(caller, id).map_err(|_| Errno::EINVAL)?;
    if number & 4 != 0 {
        let same = Arc::ptr_eq(&task.group, &caller.group);
        return if same { Ok(ClockId::Thread(task, kind)) } else { Err(Errno::EINVAL) };
    }
    if id != 0 && !task.is_leader() && !Arc::ptr_eq(&task, caller) {
        return Err(Errno::EINVAL);
    }
    Ok(ClockId::Process(task, kind))
}

impl ClockId {
    /// The time in nanoseconds.
    pub fn now(&self, clock: &KernelClock) -> u64 {
        match self {
            Self::Real => clock.realtime_nanos(),
            Self::Monotonic => clock.monotonic(),
            Self::Boot => clock.boottime(),
            Self::Process(task, kind) => kind.of(usage::process_cpu(task)),
            Self::Thread(task, kind) => kind.of(usage::other_thread_cpu(task)),
        }
    }

    /// Whether it counts CPU time.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Self::Process(..) | Self::Thread(..))
    }

    /// When the monotonic clock will show that this one has reached `deadline`, if it keeps its pace. For CPU time:
    /// the earliest moment.
    pub fn to_monotonic(&self, clock: &KernelClock, deadline: u64) -> u64 {
        let left = deadline.saturating_sub(self.now(clock));
        clock.monotonic().saturating_add(left)
    }
}
