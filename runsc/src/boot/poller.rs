//! Readiness of the host's descriptors: one thread in an edge-triggered `epoll_wait`.
//!
//! Started when the first descriptor is watched: most programs never wait for one.
//! Cost: one host call per watch, one per unwatch; an event costs the thread's wake.

use std::collections::HashMap;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock, Weak};

use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use chitin_vfs::host_poll::HostPoll;
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

fn from_host(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

type Watched = Arc<Mutex<HashMap<RawFd, Weak<WaitQueue>>>>;

/// Watches descriptors.
#[derive(Default)]
pub(crate) struct Poller {
    epoll: OnceLock<core::result::Result<Arc<OwnedFd>, Errno>>,
    watched: Watched,
}

impl Poller {
    fn epoll(&self) -> Result<&Arc<OwnedFd>> {
        self.epoll.get_or_init(|| self.start()).as_ref().map_err(|errno| *errno)
    }

    fn start(&self) -> Result<Arc<OwnedFd>> {
        let epoll = Arc::new(epoll::create(CreateFlags::CLOEXEC).map_err(from_host)?);
        let (waited, watched) = (Arc::clone(&epoll), Arc::clone(&self.watched));
        let thread = std::thread::Builder::new().name("poller".into()).stack_size(128 << 10);
        thread.spawn(move || run(&waited, &watched)).map_err(|_| Errno::ENOMEM)?;
        Ok(epoll)
    }
}

fn run(epoll: &OwnedFd, watched: &Watched) {
    let mut events: Vec<Event> = Vec::with_capacity(32);
    loop {
        events.clear();
        match epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                crate::log::record(
                    crate::log::Level::Error,
                    &format!("cannot wait for descriptors: {error}"),
                );
                return;
            }
        }
        for event in &events {
            let (data, flags) = (event.data, event.flags);
            let fd = RawFd::try_from(data.u64()).unwrap_or(-1);
            let queue = watched.lock().get(&fd).and_then(Weak::upgrade);
            if let Some(queue) = queue {
                // The bits of poll and epoll are the same below 0x2000.
                queue.notify(PollEvents::from_bits_truncate((flags.bits() & 0x1fff) as u16));
            }
        }
    }
}

impl HostPoll for Poller {
    fn watch(&self, fd: &Arc<OwnedFd>, queue: &Arc<WaitQueue>) -> Result<()> {
        let epoll = self.epoll()?;
        let number = fd.as_raw_fd();
        self.watched.lock().insert(number, Arc::downgrade(queue));
        let data = EventData::new_u64(u64::try_from(number).unwrap_or_default());
        let flags =
            EventFlags::IN | EventFlags::OUT | EventFlags::PRI | EventFlags::RDHUP | EventFlags::ET;
        let added = epoll::add(epoll, fd, data, flags);
        added.map_err(|error| {
            self.watched.lock().remove(&number);
            from_host(error)
        })
    }

    fn unwatch(&self, fd: &OwnedFd) {
        if let Some(Ok(epoll)) = self.epoll.get() {
            // It may have gone by itself with the last copy of the descriptor.
            let _ = epoll::delete(epoll, fd);
        }
        self.watched.lock().remove(&fd.as_raw_fd());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_becomes_ready_is_told() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let fd = Arc::new(OwnedFd::from(reader));
        let queue = Arc::new(WaitQueue::new());
        let poller = Poller::default();
        poller.watch(&fd, &queue).unwrap();
        let before = Arc::clone(&queue);
        writer.write_all(b"x").unwrap();
        // The queue has no observer: that nothing breaks, and that the watch ends, is all there is to see.
        drop(before);
        poller.unwatch(&fd);
        assert!(poller.watched.lock().is_empty());
    }
}
