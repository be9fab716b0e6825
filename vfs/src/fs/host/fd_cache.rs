//! A bounded set of open descriptors, with second chances for those in use (the clock algorithm).
//!
//! The cache holds descriptors strongly, inodes hold them weakly: what falls out of the cache is closed as soon as
//! nobody works with it any more. Cost: an atomic store per use, a lock and a scan of a few slots per insertion.

use core::sync::atomic::{AtomicBool, Ordering};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;

/// An open descriptor that may be in the cache.
pub(in crate::fs) struct CachedFd {
    pub fd: Arc<OwnedFd>,
    used: AtomicBool,
}

impl CachedFd {
    pub fn new(fd: OwnedFd) -> Arc<Self> {
        Self::shared(Arc::new(fd))
    }

    pub fn shared(fd: Arc<OwnedFd>) -> Arc<Self> {
        Arc::new(Self { fd, used: AtomicBool::new(false) })
    }

    /// Notes that it was useful again.
    pub fn touch(&self) {
        self.used.store(true, Ordering::Relaxed);
    }
}

impl AsFd for CachedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[derive(Default)]
struct Ring {
    slots: Vec<Arc<CachedFd>>,
    hand: usize,
}

/// The cache.
pub(in crate::fs) struct FdCache {
    capacity: usize,
    ring: Mutex<Ring>,
}

impl FdCache {
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), ring: Mutex::default() }
    }

    /// Keeps a descriptor open, dropping the first one found that was not used since the last round.
    pub fn insert(&self, fd: Arc<CachedFd>) {
        let mut ring = self.ring.lock();
        if ring.slots.len() < self.capacity {
            ring.slots.push(fd);
            return;
        }
        let mut hand = ring.hand;
        for _ in 0..=self.capacity {
            hand = if hand.saturating_add(1) < self.capacity { hand.saturating_add(1) } else { 0 };
            if ring.slots.get(hand).is_none_or(|slot| !slot.used.swap(false, Ordering::Relaxed)) {
                break;
            }
        }
        ring.hand = hand;
        let old = ring.slots.get_mut(hand).map(|slot| core::mem::replace(slot, fd));
        drop(ring);
        drop(old);
    }

    /// Lets go of everything, when the process has run out of descriptors.
    pub fn clear(&self) {
        let old = core::mem::take(&mut self.ring.lock().slots);
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn fd() -> Arc<CachedFd> {
        CachedFd::new(File::open("/dev/null").unwrap().into())
    }

    #[test]
    fn the_used_one_stays() {
        let cache = FdCache::new(3);
        let all: Vec<_> = (0..3).map(|_| fd()).collect();
        let weak: Vec<_> = all.iter().map(Arc::downgrade).collect();
        for fd in all {
            cache.insert(fd);
        }
        cache.insert(fd());
        let alive = |index: usize| weak[index].strong_count() > 0;
        assert_eq!((0..3).filter(|index| alive(*index)).count(), 2);
        let survivor = (0..3).find(|index| alive(*index)).unwrap();
        for _ in 0..2 {
            weak[survivor].upgrade().unwrap().touch();
            cache.insert(fd());
        }
        assert!(alive(survivor));
        cache.clear();
        assert!(!alive(survivor));
    }
}
