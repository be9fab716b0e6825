//! Futexes: `futex(2)`, robust lists.

use chitin_abi::futex::{
    FUTEX_CLOCK_REALTIME, FUTEX_CMP_REQUEUE, FUTEX_LOCK_PI, FUTEX_REQUEUE, FUTEX_TRYLOCK_PI,
    FUTEX_UNLOCK_PI, FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAKE, FUTEX_WAKE_BITSET, FUTEX_WAKE_OP,
};
use chitin_abi::mm::{MAP_ANONYMOUS, MAP_SHARED, PROT_READ, PROT_WRITE};
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use zerocopy::IntoBytes;

use super::support::asleep;
use crate::call;
use crate::suite::{Arg, Kernel, Mapping, Processes, fails, tests};

/// Memory that children share: words 0 to 3 are used.
fn words(k: &dyn Kernel) -> Box<dyn Mapping> {
    k.map(4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0).unwrap()
}

fn word(memory: &dyn Mapping, index: u64) -> u64 {
    memory.address() + index * 4
}

/// Milliseconds that nobody waits for.
const LONG: i64 = 20_000;

fn wait(k: &dyn Kernel, address: u64, value: u32, ms: i64) -> Result<u64> {
    let time = Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
    call!(k, FUTEX, address, FUTEX_WAIT, value, time.as_bytes(), Arg::Null, 0)
}

fn wake(k: &dyn Kernel, address: u64, most: u32) -> Result<u64> {
    call!(k, FUTEX, address, FUTEX_WAKE, most, Arg::Null, Arg::Null, 0)
}

tests! { "futex", "futex(2)";
    [futex] another_value_is_eagain(k) {
        let memory = words(k);
        fails(wait(k, word(&*memory, 0), 1, 500), Errno::EAGAIN);
    }
    [futex] wait_times_out(k) {
        let memory = words(k);
        fails(wait(k, word(&*memory, 0), 0, 20), Errno::ETIMEDOUT);
        let past = Timespec { tv_sec: 1, tv_nsec: 0 };
        let op = FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME;
        fails(call!(k, FUTEX, word(&*memory, 0), op, 0, past.as_bytes(), Arg::Null, u32::MAX), Errno::ETIMEDOUT);
    }
    [futex] bad_arguments(k) {
        let memory = words(k);
        let at = word(&*memory, 0);
        fails(wait(k, at + 1, 0, 20), Errno::EINVAL);
        fails(wait(k, 16, 0, 20), Errno::EFAULT);
        fails(wait(k, at, 0, -1), Errno::EINVAL);
        fails(call!(k, FUTEX, at, FUTEX_WAIT, 0, Arg::Bad, Arg::Null, 0), Errno::EFAULT);
        fails(call!(k, FUTEX, at, FUTEX_WAIT_BITSET, 0, Arg::Null, Arg::Null, 0), Errno::EINVAL);
        fails(call!(k, FUTEX, at, FUTEX_WAKE_BITSET, 1, Arg::Null, Arg::Null, 0), Errno::EINVAL);
        fails(call!(k, FUTEX, at, 77, 1, Arg::Null, Arg::Null, 0), Errno::ENOSYS);
        fails(call!(k, FUTEX, at, FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, Arg::Null, Arg::Null, 0), Errno::ENOSYS);
        fails(call!(k, FUTEX, at, FUTEX_REQUEUE, -1, 1, at + 4, 0), Errno::EINVAL);
        fails(call!(k, FUTEX, at, FUTEX_WAKE_OP, 1, 1, at + 4, 0x7000_0000_u32), Errno::ENOSYS);
    }
    [futex] wake_reaches_other_processes(k) {
        let memory = words(k);
        let at = word(&*memory, 0);
        let child = k.child(|| i32::from(wait(k, at, 0, LONG) != Ok(0)));
        asleep(k, child);
        assert_eq!(wake(k, at, 5), Ok(1));
        assert_eq!(k.status(child), 0);
        assert_eq!(wake(k, at, 5), Ok(0));
    }
    [futex] requeue_moves_waiters(k) {
        let memory = words(k);
        let (a, b) = (word(&*memory, 0), word(&*memory, 1));
        let children: Vec<_> = (0..3).map(|_| k.child(|| i32::from(wait(k, a, 0, LONG) != Ok(0)))).collect();
        for child in &children { asleep(k, *child); }
        fails(call!(k, FUTEX, a, FUTEX_CMP_REQUEUE, 1, 1, b, 9), Errno::EAGAIN);
        assert_eq!(call!(k, FUTEX, a, FUTEX_CMP_REQUEUE, 1, 1, b, 0), Ok(2));
        assert_eq!((wake(k, b, 9), wake(k, a, 9)), (Ok(1), Ok(1)));
        for child in children { assert_eq!(k.status(child), 0); }
    }
    [futex] wake_op_adds_and_compares(k) {
        let memory = words(k);
        memory.set(4, 3);
        let (a, b) = (word(&*memory, 0), word(&*memory, 1));
        // b += 2, and wake there too if it was 3.
        let op = (1_u32 << 28) | (2 << 12) | 3;
        let child = k.child(|| i32::from(wait(k, b, 3, LONG) != Ok(0)));
        asleep(k, child);
        assert_eq!(call!(k, FUTEX, a, FUTEX_WAKE_OP, 1, 1, b, op), Ok(1));
        assert_eq!((memory.get(4), k.status(child)), (5, 0));
    }
    [futex] locks_know_their_owner(k) {
        let memory = words(k);
        let at = word(&*memory, 0);
        let op = |op: u32| call!(k, FUTEX, at, op, 0, Arg::Null, Arg::Null, 0);
        assert_eq!(op(FUTEX_LOCK_PI), Ok(0));
        assert_ne!(memory.get(0) | memory.get(1), 0);
        fails(op(FUTEX_LOCK_PI), Errno::EDEADLK);
        fails(op(FUTEX_TRYLOCK_PI), Errno::EDEADLK);
        let child = k.child(|| i32::from(op(FUTEX_TRYLOCK_PI) != Err(Errno::EAGAIN) || op(FUTEX_UNLOCK_PI) != Err(Errno::EPERM)));
        assert_eq!(k.status(child), 0);
        assert_eq!(op(FUTEX_UNLOCK_PI), Ok(0));
        fails(op(FUTEX_UNLOCK_PI), Errno::EPERM);
        assert_eq!((0..4).map(|at| memory.get(at)).sum::<u8>(), 0);
    }
    [futex] locks_are_handed_over(k) {
        let memory = words(k);
        let at = word(&*memory, 0);
        let op = |op: u32| call!(k, FUTEX, at, op, 0, Arg::Null, Arg::Null, 0);
        assert_eq!(op(FUTEX_LOCK_PI), Ok(0));
        let child = k.child(|| i32::from(op(FUTEX_LOCK_PI) != Ok(0) || op(FUTEX_UNLOCK_PI) != Ok(0)));
        asleep(k, child);
        assert_eq!(op(FUTEX_UNLOCK_PI), Ok(0));
        assert_eq!(k.status(child), 0);
    }
    [set_robust_list, get_robust_list] robust_lists_have_one_size(k) {
        fails(call!(k, SET_ROBUST_LIST, Arg::Null, 23), Errno::EINVAL);
        let (mut head, mut size) = ([0; 8], [0; 8]);
        call!(k, GET_ROBUST_LIST, 0, &mut head, &mut size).unwrap();
        assert_eq!(u64::from_ne_bytes(size), 24);
        fails(call!(k, GET_ROBUST_LIST, 0x7fff_fff0, &mut head, &mut size), Errno::ESRCH);
    }
}
