//! Running a target for a while.

use std::any::Any;
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};

use crate::mutate::input;

/// Names how many seconds a target runs; a fraction is allowed.
const SECONDS: &str = "CHITIN_FUZZ_SECONDS";
const USUAL: Duration = Duration::from_millis(500);
/// Address space that all targets of a process have together. An allocation of a size that a 32-bit field names does
/// not fit.
const ADDRESS_SPACE: u64 = 3 << 30;
/// Longest single run of a target, on a machine that has other things to do, too.
const LONGEST_RUN: Duration = Duration::from_secs(5);
/// A run that takes so long has no end.
const STUCK: Duration = Duration::from_secs(60);
/// Inputs between two looks at the clock.
const BATCH: u64 = 64;
/// An input has fewer changes.
const MAX_CHANGES: usize = 16;
/// How long an input that makes a target panic is made smaller.
const SHRINKING: Duration = Duration::from_secs(10);

fn duration() -> Duration {
    let text = std::env::var(SECONDS).ok();
    let seconds = text.and_then(|text| text.parse().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(USUAL)
}

thread_local! {
    /// Where this thread's target has panicked; `None` outside of targets.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Once per process: shrinking makes a target panic hundreds of times, of which only the last is told; and memory is
/// limited.
fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_inside = PLACE.with_borrow_mut(|place| {
                let is_inside = place.is_some();
                if is_inside {
                    *place = Some(info.location().map(ToString::to_string).unwrap_or_default());
                }
                is_inside
            });
            if !is_inside {
                usual(info);
            }
        }));
        let limit = Rlimit { current: Some(ADDRESS_SPACE), maximum: Some(ADDRESS_SPACE) };
        // Where that is forbidden there already is a limit.
        let _ = rustix::process::setrlimit(Resource::As, limit);
    });
}

/// What runs, and since when.
type Current = Mutex<Option<(Instant, Vec<u8>)>>;

/// Ends everything when a run does not end. What it was given is shown first.
struct Watchdog {
    current: Arc<Current>,
}

impl Watchdog {
    fn new() -> Self {
        let current: Arc<Current> = Arc::default();
        let seen = Arc::downgrade(&current);
        std::thread::spawn(move || {
            while let Some(current) = seen.upgrade() {
                if let Some((begun, input)) =
                    &*current.lock().unwrap_or_else(PoisonError::into_inner)
                    && begun.elapsed() > STUCK
                {
                    eprintln!("no end with {} bytes: {}", input.len(), input.escape_ascii());
                    std::process::abort();
                }
                drop(current);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self { current }
    }

    fn note(&self, input: Option<&[u8]>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = input.map(|input| (Instant::now(), input.to_vec()));
    }
}

struct Fuzzer<'a> {
    target: &'a dyn Fn(&[u8]),
    watchdog: Watchdog,
}

impl Fuzzer<'_> {
    /// Calls the target; says how it panicked, if it did.
    fn call(&self, input: &[u8]) -> Option<String> {
        self.watchdog.note(Some(input));
        PLACE.set(Some(String::new()));
        let begun = Instant::now();
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| (self.target)(input)));
        let took = begun.elapsed();
        let place = PLACE.take().unwrap_or_default();
        self.watchdog.note(None);
        match result {
            Ok(()) => (took > LONGEST_RUN).then(|| format!("a run took {took:?}")),
            Err(payload) => Some(format!("{place}: {}", message(&*payload))),
        }
    }

    /// Fewer changes, then parts cut out of the input, as long as the target panics.
    fn shrink(&self, seed: u64, changes: usize, samples: &[Vec<u8>]) -> Vec<u8> {
        let begun = Instant::now();
        let fewest =
            (0..changes).find(|changes| self.call(&input(seed, *changes, samples)).is_some());
        let mut smallest = input(seed, fewest.unwrap_or(changes), samples);
        let mut size = smallest.len() / 2;
        while size > 0 && begun.elapsed() < SHRINKING {
            let mut at = 0;
            while at < smallest.len() && begun.elapsed() < SHRINKING {
                let end = at.saturating_add(size).min(smallest.len());
                let shorter = [smallest.get(..at), smallest.get(end..)];
                let shorter = shorter.into_iter().flatten().flatten().copied().collect::<Vec<_>>();
                if self.call(&shorter).is_some() {
                    smallest = shorter;
                } else {
                    at = end;
                }
            }
            size /= 2;
        }
        smallest
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

/// Calls `target` with changed samples until its time is over.
///
/// # Panics
/// When the target does, with the input that made it panic; or when one run takes seconds.
pub fn fuzz(samples: &[Vec<u8>], target: impl Fn(&[u8])) {
    prepare();
    let begun = Instant::now();
    let fuzzer = Fuzzer { target: &target, watchdog: Watchdog::new() };
    let mut count = 0_u64;
    while count == 0 || begun.elapsed() < duration() {
        for _ in 0..BATCH {
            let (seed, changes) = (fastrand::u64(..), fastrand::usize(..MAX_CHANGES));
            if fuzzer.call(&input(seed, changes, samples)).is_some() {
                let input = fuzzer.shrink(seed, changes, samples);
                let reason = fuzzer.call(&input).unwrap_or_default();
                panic!("{reason}\ninput of {} bytes: {}", input.len(), input.escape_ascii());
            }
        }
        count = count.saturating_add(BATCH);
    }
    println!("{count} inputs in {:?}", begun.elapsed());
}

#[cfg(test)]
mod tests {
    use super::fuzz;

    #[test]
    fn a_panic_is_found_and_made_small() {
        let samples = [b"a sample with some text in it".to_vec()];
        let result = std::panic::catch_unwind(|| {
            fuzz(&samples, |data| assert!(!data.contains(&0xff), "found"));
        });
        let message = super::message(&*result.expect_err("it finds the byte"));
        assert!(message.contains("found\ninput of 1 bytes: \\xff"), "{message}");
    }
}
