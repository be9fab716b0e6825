//! Operations on signals of the own process, and on children that have ended.

use chitin_abi::signal::{SIG_DFL, SIG_IGN};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use serde::{Deserialize, Serialize};

use super::table::{done, show};
use crate::suite::{Arg, Calls, Child, Kernel, Processes, call};

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Mask { how: u32, signals: Vec<u32> },
    Send { signal: u32, how: How },
    Catch { signal: u32, flags: u64 },
    Ignore { signal: u32 },
    Pending,
    Take { signals: Vec<u32> },
    Count { signal: u32 },
    Child { end: i32 },
    Wait { which: u8, options: u32 },
    WaitInfo { which: u8, options: u32 },
}

/// How a signal is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    Kill,
    Tgkill,
    Queue(u8),
}

const ONE_SHOT: u64 = 0x8000_0000;
const SIGNALS: [u32; 6] = [10, 12, 23, 28, 34, 40];

/// Any operation.
pub(super) fn operations() -> impl Strategy<Value = Operation> + 'static {
    use Operation as O;
    let signal = || prop::sample::select(SIGNALS.to_vec());
    let set = || prop::collection::vec(prop::sample::select(SIGNALS.to_vec()), 0..4);
    let how = prop_oneof![Just(How::Kill), Just(How::Tgkill), any::<u8>().prop_map(How::Queue)];
    // Nothing, restart, no deferring.
    let flags = prop::sample::select(vec![0, 0x1000_0000, 0x4000_0000]);
    // Signals that end nothing when their one shot has gone.
    let harmless = prop::sample::select(vec![23, 28]);
    // Exit codes, and signals as negative numbers.
    let end = prop::sample::select(vec![0, 1, 42, 255, 256, -9, -15, -10, -6]);
    prop_oneof![
        4 => (0..3_u32, set()).prop_map(|(how, signals)| O::Mask { how, signals }),
        6 => (signal(), how).prop_map(|(signal, how)| O::Send { signal, how }),
        3 => (signal(), flags).prop_map(|(signal, flags)| O::Catch { signal, flags }),
        1 => harmless.prop_map(|signal| O::Catch { signal, flags: ONE_SHOT }),
        1 => signal().prop_map(|signal| O::Ignore { signal }),
        2 => Just(O::Pending),
        2 => set().prop_map(|signals| O::Take { signals }),
        2 => signal().prop_map(|signal| O::Count { signal }),
        1 => end.prop_map(|end| O::Child { end }),
        1 => (0..4_u8, prop::sample::select(vec![0_u32, 1, 2, 0x10]))
            .prop_map(|(which, options)| O::Wait { which, options }),
        1 => (0..4_u8, prop::sample::select(vec![4_u32, 5, 0x0100_0004, 0x0100_0005, 1, 0]))
            .prop_map(|(which, options)| O::WaitInfo { which, options }),
    ]
}

fn set(signals: &[u32]) -> u64 {
    signals.iter().fold(0, |set, signal| set | 1 << (signal - 1))
}

/// Runs operations. All signals are caught in the beginning, so that none ends the process.
pub(super) fn run(k: &dyn Kernel, operations: &[Operation]) -> Vec<String> {
    let mut lines = Vec::new();
    for signal in SIGNALS {
        lines.push(done(k.catch(signal, 0)));
    }
    let mut children = Vec::new();
    for operation in operations {
        let result = step(k, &mut children, operation);
        lines.push(format!("{operation:?} -> {result}"));
    }
    for signal in SIGNALS {
        lines.push(format!("{signal}: {}", count(k, signal)));
    }
    lines
}

fn count(k: &dyn Kernel, signal: u32) -> String {
    let (count, code, value) = k.caught(signal);
    // Only what was queued has a value of the program's own.
    let value = if code == -1 { value } else { 0 };
    format!("{count} {code} {value}")
}

fn step(k: &dyn Kernel, children: &mut Vec<Child>, operation: &Operation) -> String {
    use Operation as O;
    match operation {
        O::Mask { how, signals } => {
            show(k.set_mask(*how, set(signals)).map(|old| format!("{old:x}")))
        }
        O::Send { signal, how } => send(k, *signal, *how),
        O::Catch { signal, flags } => done(k.catch(*signal, *flags)),
        O::Ignore { signal } => {
            // One shot handlers are gone after their shot; what is ignored cannot end the process.
            done(k.set_action(*signal, SIG_IGN))
        }
        O::Pending => {
            let mut pending = [0; 8];
            let result = call!(k, RT_SIGPENDING, &mut pending, 8);
            show(result.map(|_| format!("{:x}", u64::from_ne_bytes(pending))))
        }
        O::Take { signals } => {
            let (wanted, mut info) = (set(signals).to_ne_bytes(), [0_u8; 128]);
            let result = call!(k, RT_SIGTIMEDWAIT, &wanted, &mut info, &[0_u8; 16], 8);
            show(result.map(|signal| format!("{signal} {:?}", &info[8..12])))
        }
        O::Count { signal } => count(k, *signal),
        O::Child { end } => child(k, children, *end),
        O::Wait { which, options } => {
            let (pid, mut status) = (pid(children, *which), [0_u8; 4]);
            let result = call!(k, WAIT4, pid, &mut status, *options | 1, Arg::Null);
            let status = i32::from_ne_bytes(status);
            show(result.map(|found| format!("{} {status:x}", place(children, found))))
        }
        O::WaitInfo { which, options } => {
            let (pid, mut info) = (pid(children, *which), [0_u8; 128]);
            let kind = if pid == -1 { 0 } else { 1 };
            let result = call!(k, WAITID, kind, pid.max(0), &mut info, *options | 1, Arg::Null);
            let word = |at: usize| {
                i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]])
            };
            let found = place(children, u64::from(word(16).cast_unsigned()));
            show(result.map(|_| format!("{} {} {found} {}", word(0), word(8), word(24))))
        }
    }
}

fn send(k: &dyn Kernel, signal: u32, how: How) -> String {
    // A handler of one shot leaves the default action, which may end the process: not of a signal that is not caught.
    let mut action = [0_u8; 32];
    let known = call!(k, RT_SIGACTION, signal, Arg::Null, &mut action, 8);
    if known.is_err() || action[..8] == SIG_DFL.to_ne_bytes() {
        return "not caught".to_owned();
    }
    let pid = k.getpid();
    match how {
        How::Kill => done(k.kill(pid, signal)),
        How::Tgkill => {
            let tid = call!(k, GETTID).unwrap_or_default();
            done(call!(k, TGKILL, pid, tid, signal))
        }
        How::Queue(value) => {
            let mut info = [0_u8; 128];
            info[..4].copy_from_slice(&signal.to_ne_bytes());
            info[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
            info[24] = value;
            done(call!(k, RT_SIGQUEUEINFO, pid, signal, &info))
        }
    }
}

/// Makes a child that ends so, and waits until it has, without reaping it.
fn child(k: &dyn Kernel, children: &mut Vec<Child>, end: i32) -> String {
    let child = k.child(|| {
        if let Ok(signal) = u32::try_from(-end)
            && end < 0
        {
            let _ = k.set_action(signal, SIG_DFL);
            let _ = k.set_mask(2, 0);
            let _ = k.kill(k.getpid(), signal);
        }
        end
    });
    const EXITED_NOWAIT: u32 = 0x0100_0004;
    let result = loop {
        match call!(k, WAITID, 1, child.pid, Arg::Null, EXITED_NOWAIT, Arg::Null) {
            Err(chitin_abi::Errno::EINTR) => {}
            other => break other,
        }
    };
    children.push(child);
    done(result)
}

/// The id of a child by its place; -1 for any.
fn pid(children: &[Child], which: u8) -> i32 {
    children.get(usize::from(which)).map_or(-1, |child| child.pid)
}

/// A child's place by its id.
fn place(children: &[Child], pid: u64) -> String {
    let found = children.iter().position(|child| u64::from(child.pid.cast_unsigned()) == pid);
    found.map_or_else(|| "none".to_owned(), |place| format!("child {place}"))
}
