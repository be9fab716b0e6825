//! System calls with arguments of all kinds, on a kernel in this process.

use std::panic::Location;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use chitin_abi::nr;
use chitin_conformance::in_process::{self, InProcess, Stopped};
use chitin_conformance::subject::Root;
use chitin_conformance::suite::Arg;
use chitin_fuzz::fuzz;
use chitin_task::syscalls::SYSCALLS;

/// Bytes of a call: its number, and of each argument a kind and a value.
const CALL: usize = 2 + 6 * 9;
/// Calls of an input at most.
const MOST: usize = 24;
/// A call that takes longer waits for something, and the input ends there.
const PATIENCE: Duration = Duration::from_millis(40);

/// What the kernel's own threads have panicked with.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers panics of the kernel's threads, which it contains: the task that a panic hits is ended.
fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        let own = std::thread::current().id();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().id() == own {
                return usual(info);
            }
            let place = info.location().map(Location::to_string).unwrap_or_default();
            PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(place);
        }));
    });
}

/// Calls that end or stop the caller, which is what they are for, and those that take a second to fail.
fn is_left_out(number: u64) -> bool {
    matches!(
        number,
        nr::EXIT | nr::EXIT_GROUP | nr::REBOOT | nr::PAUSE | nr::RT_SIGSUSPEND | nr::SECCOMP
    )
}

/// A call from its bytes. Kinds: small numbers, the value itself, buffers with the value in them, bad pointers.
fn make(k: &InProcess, call: &[u8]) -> Option<Stopped> {
    let number = u64::from(u16::from_le_bytes([call[0], call[1]]) % 480);
    if is_left_out(number) {
        return None;
    }
    let mut buffers = [[0_u8; 256]; 6];
    let mut args = Vec::new();
    for (part, buffer) in call[2..].chunks_exact(9).zip(&mut buffers) {
        let bytes: [u8; 8] = part[1..].try_into().unwrap_or_default();
        let value = u64::from_le_bytes(bytes);
        args.push(match part[0] % 8 {
            0 => Arg::Int(value % 8),
            1 => Arg::Int(value),
            2 => Arg::Int(value % 4096),
            3 | 4 => {
                buffer.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&bytes));
                Arg::Out(buffer)
            }
            5 => {
                buffer[..8].copy_from_slice(&bytes);
                Arg::Out(buffer)
            }
            6 => Arg::Edge((value % 64) as usize),
            _ => Arg::Bad,
        });
    }
    k.try_call(number, &mut args, PATIENCE).err()
}

/// For each call of the table: small numbers, then pointers, then what lies between.
fn samples() -> Vec<Vec<u8>> {
    let kinds: [[u8; 6]; 4] =
        [[0, 3, 2, 2, 0, 0], [5, 5, 3, 2, 3, 0], [0, 0, 5, 3, 2, 5], [2, 3, 3, 0, 5, 3]];
    let calls = |kinds: &[u8; 6]| {
        let of_one = |call: &chitin_task::syscalls::SyscallInfo| {
            let mut bytes = (call.number as u16).to_le_bytes().to_vec();
            for (index, kind) in kinds.iter().enumerate() {
                bytes.push(*kind);
                bytes.extend([index as u8 + 1, 0, 0, 0, 0, 0, 0, 0]);
            }
            bytes
        };
        SYSCALLS.iter().map(of_one).collect::<Vec<_>>()
    };
    let all: Vec<Vec<u8>> = kinds.iter().flat_map(calls).collect();
    all.chunks(MOST / 2).map(<[Vec<u8>]>::concat).collect()
}

#[test]
fn system_calls() {
    watch();
    fuzz(&samples(), |input| {
        PANICS.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let Ok(k) = in_process::start(Root::Tmpfs) else { panic!("no kernel") };
        for call in input.chunks_exact(CALL).take(MOST) {
            if make(&k, call).is_some() {
                break;
            }
        }
        drop(k);
        let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(panics.is_empty(), "the kernel panicked at {panics:?}");
    });
}
