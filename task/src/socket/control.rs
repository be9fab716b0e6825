//! Control messages (`cmsg(3)`): what travels beside the bytes of a message.

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::Arc;

use chitin_abi::net::SCM_MAX_FD;
use chitin_abi::{Errno, Result};
use chitin_vfs::file::OpenFile;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::Identity;

/// A protocol's own control message, as bytes for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawControl {
    /// `SOL_…`.
    pub level: u32,
    /// Kind within the level.
    pub kind: u32,
    /// Data.
    pub data: SmallVec<[u8; 32]>,
}

/// Control messages of one message.
#[derive(Clone, Default)]
pub struct Control {
    /// `SCM_RIGHTS`.
    pub rights: Option<Rights>,
    /// `SCM_CREDENTIALS`.
    pub identity: Option<Identity>,
    /// The sender's process as `SCM_PIDFD` is asked for.
    pub pidfd: Option<Identity>,
    /// All others.
    pub other: Vec<RawControl>,
}

impl Control {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rights.is_none()
            && self.identity.is_none()
            && self.pidfd.is_none()
            && self.other.is_empty()
    }
}

/// Open files on their way, counted for their sender's user.
#[derive(Clone)]
pub struct Rights {
    inner: Arc<InFlight>,
}

struct InFlight {
    files: Vec<Arc<OpenFile>>,
    user: u32,
    counts: Arc<FlightCounts>,
}

/// How many descriptors of which user are on their way in one network namespace. It bounds what a guest can
/// keep alive in sockets that send themselves to one another.
#[derive(Default)]
pub struct FlightCounts {
    total: AtomicU64,
    landings: AtomicU64,
    by_user: Mutex<HashMap<u32, u64>>,
}

impl FlightCounts {
    /// Descriptors on their way.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// How often files were taken out of a queue: tells the collector that its picture is old.
    pub fn landings(&self) -> u64 {
        self.landings.load(Ordering::SeqCst)
    }

    /// Files are about to be taken out of a queue.
    pub fn landed(&self) {
        self.landings.fetch_add(1, Ordering::SeqCst);
    }

    /// Sends files on their way.
    ///
    /// # Errors
    /// EINVAL for too many at once, ETOOMANYREFS when the user has more than `limit` on their way.
    pub fn launch(
        self: &Arc<Self>,
        files: Vec<Arc<OpenFile>>,
        user: u32,
        limit: u64,
    ) -> Result<Rights> {
        if files.len() > SCM_MAX_FD {
            return Err(Errno::EINVAL);
        }
        let mut by_user = self.by_user.lock();
        let count = by_user.entry(user).or_insert(0);
        if *count > limit {
            return Err(Errno::ETOOMANYREFS);
        }
        *count = count.saturating_add(files.len() as u64);
        self.total.fetch_add(files.len() as u64, Ordering::Relaxed);
        drop(by_user);
        Ok(Rights { inner: Arc::new(InFlight { files, user, counts: Arc::clone(self) }) })
    }

    fn land(&self, count: u64, user: u32) {
        self.total.fetch_sub(count, Ordering::Relaxed);
        let mut by_user = self.by_user.lock();
        if let Some(left) = by_user.get_mut(&user) {
            *left = left.saturating_sub(count);
            if *left == 0 {
                by_user.remove(&user);
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counts.land(self.files.len() as u64, self.user);
    }
}

impl Rights {
    /// Whether no copy of them (a peek) is held elsewhere.
    pub fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.inner) == 1
    }

    /// The files.
    pub fn files(&self) -> &[Arc<OpenFile>] {
        &self.inner.files
    }
}
