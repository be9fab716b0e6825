//! Host descriptors that become ready: one thread in an edge-triggered `epoll_wait`, made when it is first needed.
//!
//! The thread sleeps in the host for as long as nothing happens. An event costs its wake, and the wake of the worker
//! whose future goes on.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::thread;

use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use chitin_vfs::host_poll::HostPoll;
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use super::Scheduler;

#[derive(Default)]
struct State {
    epoll: Option<Arc<OwnedFd>>,
    next: u64,
    /// Watches by their number, which is what the host gives back with an event.
    queues: HashMap<u64, Weak<WaitQueue>>,
    /// The number by descriptor.
    numbers: HashMap<i32, u64>,
}

/// The watches of a scheduler.
#[derive(Clone, Default)]
pub(super) struct Poller {
    state: Arc<Mutex<State>>,
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

impl Poller {
    fn epoll(&self, state: &mut State) -> Result<Arc<OwnedFd>> {
        if let Some(epoll) = &state.epoll {
            return Ok(Arc::clone(epoll));
        }
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC).map_err(errno)?);
        let (poller, fd) = (self.clone(), Arc::clone(&epoll));
        let spawned = thread::Builder::new()
            .name("host-poll".into())
            .stack_size(1 << 18)
            .spawn(move || poller.serve(&fd));
        spawned.map_err(|_| Errno::EAGAIN)?;
        state.epoll = Some(Arc::clone(&epoll));
        Ok(epoll)
    }

    fn serve(&self, epoll: &OwnedFd) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(32);
        loop {
            events.clear();
            match epoll::wait(epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "host descriptors are no longer watched");
                    return;
                }
            }
            for event in &events {
                let (flags, number) = (event.flags, event.data.u64());
                let queue = self.state.lock().queues.get(&number).and_then(Weak::upgrade);
                if let Some(queue) = queue {
                    queue.notify(PollEvents::from_bits_truncate(flags.bits() as u16));
                }
            }
        }
    }

    fn watch(&self, fd: &Arc<OwnedFd>, queue: &Arc<WaitQueue>) -> Result<()> {
        let mut state = self.state.lock();
        let epoll = self.epoll(&mut state)?;
        let number = state.next;
        state.next = number.wrapping_add(1);
        let interest = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::PRI
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        epoll::add(&*epoll, &**fd, epoll::EventData::new_u64(number), interest).map_err(errno)?;
        state.queues.insert(number, Arc::downgrade(queue));
        state.numbers.insert(fd.as_raw_fd(), number);
        Ok(())
    }

    fn unwatch(&self, fd: &OwnedFd) {
        let mut state = self.state.lock();
        let Some(number) = state.numbers.remove(&fd.as_raw_fd()) else { return };
        state.queues.remove(&number);
        if let Some(epoll) = &state.epoll {
            // It may be gone already; nothing is lost then.
            let _ = epoll::delete(&**epoll, fd);
        }
    }
}

impl HostPoll for Scheduler {
    fn watch(&self, fd: &Arc<OwnedFd>, queue: &Arc<WaitQueue>) -> Result<()> {
        self.poller().watch(fd, queue)
    }

    fn unwatch(&self, fd: &OwnedFd) {
        self.poller().unwatch(fd);
    }
}
