use std::collections::BTreeMap;

use chitin_mm::HostOp;
use chitin_mm::platform::{AddressSpace, GuestThread, PlatformFuture, ThreadState};

use super::*;

/// A guest's memory of words.
#[derive(Default)]
struct Words(Mutex<BTreeMap<u64, u32>>);

impl Words {
    fn new(words: &[(u64, u32)]) -> Self {
        Self(Mutex::new(words.iter().copied().collect()))
    }
}

impl GuestMemory for Words {
    fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
        let word = *self.0.lock().get(&addr.0).ok_or(Errno::EFAULT)?;
        buffer.copy_from_slice(&word.to_ne_bytes());
        Ok(buffer.len())
    }

    fn write_partial(&self, addr: GuestAddr, bytes: &[u8]) -> Result<usize> {
        let word = u32::from_ne_bytes(bytes.try_into().map_err(|_| Errno::EFAULT)?);
        *self.0.lock().get_mut(&addr.0).ok_or(Errno::EFAULT)? = word;
        Ok(bytes.len())
    }
}

const A: FutexKey = FutexKey::Private(1, 0x1000);
const B: FutexKey = FutexKey::Private(1, 0x2000);

fn queue(table: &FutexTable, words: &Words, key: FutexKey, bitset: u32) -> Arc<Signal> {
    let signal = Signal::with_host(None);
    let addr = if key == A { 0x1000 } else { 0x2000 };
    let value = read_word(words, GuestAddr(addr)).expect("mapped");
    let waiter = Waiter::new(key, bitset, &signal, 0);
    table.queue_if(words, GuestAddr(addr), value, &waiter).expect("queued");
    signal
}

#[test]
fn a_wait_compares_under_the_lock() {
    let (table, words) = (FutexTable::default(), Words::new(&[(0x1000, 5)]));
    let waiter = Waiter::new(A, MATCH_ANY, &Signal::with_host(None), 0);
    assert_eq!(table.queue_if(&words, GuestAddr(0x1000), 4, &waiter), Err(Errno::EAGAIN));
    assert_eq!(table.queue_if(&words, GuestAddr(0x3000), 4, &waiter), Err(Errno::EFAULT));
    assert_eq!(table.waiting(), 0);
    assert_eq!(table.queue_if(&words, GuestAddr(0x1000), 5, &waiter), Ok(()));
    assert!(table.unqueue(&waiter));
    assert!(!table.unqueue(&waiter));
}

#[test]
fn wakes_are_in_order_and_by_bitset() {
    let (table, words) = (FutexTable::default(), Words::new(&[(0x1000, 0)]));
    let signals: Vec<_> = [1, 2, 3].map(|bits| queue(&table, &words, A, bits)).into();
    assert_eq!(table.wake(&A, 1, 2), Ok(1));
    assert!(signals[0].woken().is_none() && signals[1].woken().is_some());
    // A limit of zero wakes one, as on Linux.
    assert_eq!(table.wake(&A, 0, MATCH_ANY), Ok(1));
    assert!(signals[0].woken().is_some());
    assert_eq!(table.wake(&B, 9, MATCH_ANY), Ok(0));
    assert_eq!(table.wake(&A, 9, MATCH_ANY), Ok(1));
}

#[test]
fn requeued_waiters_wait_on_the_other_word() {
    let (table, words) = (FutexTable::default(), Words::new(&[(0x1000, 7), (0x2000, 0)]));
    let signals: Vec<_> = (0..4).map(|_| queue(&table, &words, A, MATCH_ANY)).collect();
    let mut request =
        Requeue { from: A, to: B, expected: Some((GuestAddr(0x1000), 8)), wake: 1, requeue: 2 };
    assert_eq!(table.requeue(&words, &request), Err(Errno::EAGAIN));
    request.expected = Some((GuestAddr(0x1000), 7));
    assert_eq!(table.requeue(&words, &request), Ok(3));
    assert!(signals[0].woken().is_some());
    assert_eq!(table.wake(&B, 9, MATCH_ANY), Ok(2));
    assert_eq!(table.wake(&A, 9, MATCH_ANY), Ok(1));
    assert_eq!(table.waiting(), 0);
}

#[test]
fn wake_op_changes_compares_and_wakes_both() {
    let (table, words) = (FutexTable::default(), Words::new(&[(0x1000, 0), (0x2000, 3)]));
    let first = queue(&table, &words, A, MATCH_ANY);
    let second = queue(&table, &words, B, MATCH_ANY);
    // word2 += 1; if the old value > 2, wake its waiters too.
    let op = WakeOp::decode((1 << 28) | (1 << 12) | (4 << 24) | 2).expect("an operation");
    assert_eq!(table.wake_op(&words, (&A, &B), GuestAddr(0x2000), (1, 1), op), Ok(2));
    assert_eq!(read_word(&words, GuestAddr(0x2000)), Ok(4));
    assert!(first.woken().is_some() && second.woken().is_some());
    assert_eq!(WakeOp::decode(6 << 24), Err(Errno::ENOSYS));
    assert_eq!(WakeOp::decode(5 << 28), Err(Errno::ENOSYS));
    // Operands are signed.
    let op = WakeOp::decode((1 << 28) | (0xfff << 12)).expect("an operation");
    assert_eq!(table.wake_op(&words, (&A, &B), GuestAddr(0x2000), (1, 1), op), Ok(0));
    assert_eq!(read_word(&words, GuestAddr(0x2000)), Ok(3));
}

fn lock<'a>(word: u32, number: u32, queue: bool, signal: &'a Arc<Signal>) -> pi::LockRequest<'a> {
    let contender = pi::Contender { tid: number, number };
    let owner = Some(word & 0xff);
    pi::LockRequest { key: A, addr: GuestAddr(0x1000), contender, word, owner, queue, signal }
}

#[test]
fn locks_are_handed_over() {
    let (table, words) = (FutexTable::default(), Words::new(&[(0x1000, 0)]));
    let word = || read_word(&words, GuestAddr(0x1000)).expect("mapped");
    let signal = Signal::with_host(None);
    let attempt = table.lock_pi(&words, &lock(0, 10, true, &signal));
    assert!(matches!(attempt, Ok(pi::Attempt::Acquired)));
    assert_eq!(word(), 10);
    assert_eq!(table.lock_pi(&words, &lock(10, 10, true, &signal)).err(), Some(Errno::EDEADLK));
    assert_eq!(table.lock_pi(&words, &lock(10, 11, false, &signal)).err(), Some(Errno::EAGAIN));
    assert!(matches!(table.lock_pi(&words, &lock(9, 11, true, &signal)), Ok(pi::Attempt::Again)));
    let attempt = table.lock_pi(&words, &lock(10, 11, true, &signal));
    assert!(matches!(attempt, Ok(pi::Attempt::Queued(_))));
    assert_eq!(word(), 10 | chitin_abi::futex::FUTEX_WAITERS);
    assert_eq!(table.wake(&A, 1, MATCH_ANY), Err(Errno::EINVAL));
    let unlock = |number| {
        table.unlock_pi(&words, &A, GuestAddr(0x1000), pi::Contender { tid: number, number })
    };
    assert_eq!(unlock(11), Err(Errno::EPERM));
    assert_eq!(unlock(10), Ok(()));
    assert!(signal.woken().is_some());
    assert_eq!(word(), 11 | chitin_abi::futex::FUTEX_WAITERS);
    assert_eq!(unlock(11), Ok(()));
    assert_eq!(word(), 0);
    assert!(!table.any_owned());
}

/// An address space that counts who is said to wait.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<u64, i32>>);

impl Counts {
    fn of(&self, addr: u64) -> i32 {
        self.0.lock().get(&addr).copied().unwrap_or(0)
    }
}

impl AddressSpace for Counts {
    fn apply(&self, _ops: Vec<HostOp>) -> PlatformFuture<'_, ()> {
        Box::pin(async { Err(Errno::ENOSYS) })
    }

    fn fork(&self) -> PlatformFuture<'_, Arc<dyn AddressSpace>> {
        Box::pin(async { Err(Errno::ENOSYS) })
    }

    fn spawn(&self, _state: ThreadState) -> PlatformFuture<'_, Box<dyn GuestThread>> {
        Box::pin(async { Err(Errno::ENOSYS) })
    }

    fn memory(&self) -> &dyn GuestMemory {
        self
    }

    fn expect_wakes(&self, addr: GuestAddr, waits: bool) {
        *self.0.lock().entry(addr.0).or_default() += if waits { 1 } else { -1 };
    }

    fn kill(&self) {}

    fn resident(&self) -> (u64, u64) {
        (0, 0)
    }

    fn cpu_time(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// Every word is 7 unless somebody is said to wait on it.
impl GuestMemory for Counts {
    fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
        let word = if self.of(addr.0) > 0 { 8_u32 } else { 7 };
        buffer.copy_from_slice(&word.to_ne_bytes());
        Ok(buffer.len())
    }

    fn write_partial(&self, _addr: GuestAddr, _bytes: &[u8]) -> Result<usize> {
        Err(Errno::EFAULT)
    }
}

#[test]
fn the_platform_knows_who_waits() {
    let (table, counts) = (FutexTable::default(), Arc::new(Counts::default()));
    let host: Arc<dyn AddressSpace> = Arc::clone(&counts) as Arc<dyn AddressSpace>;
    let waiter = |key| {
        let signal = Signal::with_host(Some(Arc::clone(&host)));
        Waiter::new(key, MATCH_ANY, &signal, 0)
    };
    let failed = table.queue_if(&*counts, GuestAddr(0x1000), 7, &waiter(A));
    assert_eq!(failed, Err(Errno::EAGAIN), "it is said before the word is looked at");
    assert_eq!(counts.of(0x1000), 0);
    let waiters = [waiter(A), waiter(A), waiter(A)];
    for waiter in &waiters {
        table.queue_if(&*counts, GuestAddr(0x1000), 8, waiter).expect("it is queued");
    }
    assert_eq!(counts.of(0x1000), 3);
    assert_eq!(table.wake(&A, 1, MATCH_ANY), Ok(1));
    assert_eq!(counts.of(0x1000), 2);
    let request = Requeue { from: A, to: B, expected: None, wake: 0, requeue: 1 };
    assert_eq!(table.requeue(&*counts, &request), Ok(1));
    assert_eq!((counts.of(0x1000), counts.of(0x2000)), (1, 1));
    assert!(waiters.iter().rev().filter(|waiter| table.unqueue(waiter)).count() == 2);
    assert_eq!((counts.of(0x1000), counts.of(0x2000)), (0, 0));
    let shared = waiter(FutexKey::Shared(ObjectId::Anonymous(1), 0));
    table.queue_if(&*counts, GuestAddr(0x3000), 7, &shared).expect("it is queued");
    assert_eq!(counts.of(0x3000), 0, "others may wake it");
}
