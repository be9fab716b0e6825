//! A console: the master side of a pair, pumped to and from descriptors of the host.
//!
//! What the host's terminal (in raw mode) sends is typed on the pair, what the guest writes is shown there. The pump
//! has no thread: it runs on whoever brings the news that it can go on, the host poller or the guest's writer,
//! and does as much as goes without blocking. Only one thread pumps at a time; news in the meantime make it go round
//! again.
//!
//! Cost: two host calls per burst and direction (`poll`, then `read` or `write`), two copies.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::tty::Winsize;
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use super::master::MasterFile;
use super::pty::Pty;
use crate::file::{File, WriteAt};
use crate::host_poll::{HostPoll, HostWatch, poll_now};
use crate::io::{SliceSource, VecSink};
use crate::wait::{Observer, Registration};

/// Most bytes typed at once.
const INPUT_CHUNK: usize = 4096;
/// Most bytes shown at once: what a terminal that is ready surely takes.
const OUTPUT_CHUNK: usize = 1024;

/// A console.
pub struct Relay {
    master: Arc<MasterFile>,
    input: Arc<OwnedFd>,
    output: Arc<OwnedFd>,
    /// Taken from the pair, not yet shown.
    pending: Mutex<Vec<u8>>,
    /// Pumps that were asked for; who raises it from 0 does them.
    wanted: AtomicU32,
    input_ended: AtomicBool,
    output_ended: AtomicBool,
    registrations: Mutex<Vec<Registration>>,
    watches: Mutex<Vec<HostWatch>>,
}

impl Observer for Relay {
    fn notify(&self, _events: PollEvents) {
        self.pump();
    }
}

impl Relay {
    /// Begins to relay between a pair's master and descriptors of the host, which may be the same. Descriptors that
    /// cannot be watched (files) are always ready.
    ///
    /// # Errors
    /// Those of [`HostPoll::watch`].
    pub fn new(
        pty: &Arc<Pty>,
        input: Arc<OwnedFd>,
        output: Arc<OwnedFd>,
        poller: &Arc<dyn HostPoll>,
    ) -> Result<Arc<Self>> {
        let same = Arc::ptr_eq(&input, &output);
        let relay = Arc::new(Self {
            master: MasterFile::new(Arc::clone(pty)),
            input: Arc::clone(&input),
            output: Arc::clone(&output),
            pending: Mutex::default(),
            wanted: AtomicU32::new(0),
            input_ended: AtomicBool::new(false),
            output_ended: AtomicBool::new(false),
            registrations: Mutex::default(),
            watches: Mutex::default(),
        });
        let observer: Arc<dyn Observer> = Arc::clone(&relay) as Arc<dyn Observer>;
        let all = PollEvents::POLLIN | PollEvents::POLLOUT;
        let fds = if same { vec![input] } else { vec![input, output] };
        for fd in fds {
            match HostWatch::new(Arc::clone(poller), fd) {
                Ok(watch) => {
                    relay.registrations.lock().push(watch.queue().register(all, &observer));
                    relay.watches.lock().push(watch);
                }
                Err(Errno::EPERM) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(queue) = relay.master.wait_queue() {
            relay.registrations.lock().push(queue.register(all, &observer));
        }
        relay.pump();
        Ok(relay)
    }

    /// The pair.
    pub fn pty(&self) -> &Arc<Pty> {
        self.master.pty()
    }

    /// The host's window has another size now.
    pub fn set_window_size(&self, window: Winsize) {
        self.pty().set_window_size(window);
    }

    /// Whether everything that the guest has written so far has been shown.
    pub fn is_drained(&self) -> bool {
        let ended = self.output_ended.load(Ordering::Acquire);
        ended
            || (self.pending.lock().is_empty() && !self.master.poll().contains(PollEvents::POLLIN))
    }

    /// Moves what can be moved.
    pub fn pump(&self) {
        if self.wanted.fetch_add(1, Ordering::AcqRel) != 0 {
            return;
        }
        let mut seen = 1;
        loop {
            while self.pump_output() || self.pump_input() {}
            match self.wanted.compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    fn pump_input(&self) -> bool {
        if self.input_ended.load(Ordering::Acquire)
            || !self.master.poll().contains(PollEvents::POLLOUT)
        {
            return false;
        }
        let ready = poll_now(self.input.as_fd(), PollEvents::POLLIN);
        if ready.is_empty() {
            return false;
        }
        let room = self.pty().state.lock().input_room().min(INPUT_CHUNK);
        let mut buffer = [0; INPUT_CHUNK];
        let Some(buffer) = buffer.get_mut(..room).filter(|buffer| !buffer.is_empty()) else {
            return false;
        };
        match rustix::io::read(&*self.input, &mut *buffer) {
            Ok(0) => self.end_input(),
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                // The room was looked at, and nobody else writes to this master.
                let _ = self.master.write_at(&mut SliceSource::new(bytes), WriteAt::End);
                true
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
            Err(_) => self.end_input(),
        }
    }

    /// The host's terminal is gone.
    fn end_input(&self) -> bool {
        self.input_ended.store(true, Ordering::Release);
        self.pty().hang_up();
        false
    }

    fn pump_output(&self) -> bool {
        if self.output_ended.load(Ordering::Acquire) {
            // Nobody looks any more; the guest must not wait for it.
            return self.master.read_at(&mut VecSink::new(INPUT_CHUNK), 0).is_ok();
        }
        let mut pending = self.pending.lock();
        if pending.is_empty() {
            let mut sink = VecSink::new(INPUT_CHUNK);
            if self.master.read_at(&mut sink, 0).is_err() {
                return false;
            }
            *pending = sink.bytes;
        }
        let ready = poll_now(self.output.as_fd(), PollEvents::POLLOUT);
        if ready.is_empty() {
            return false;
        }
        let chunk = pending.get(..OUTPUT_CHUNK).unwrap_or(&pending);
        match rustix::io::write(&*self.output, chunk) {
            Ok(count) => {
                pending.drain(..count);
                true
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
            Err(_) => {
                pending.clear();
                self.output_ended.store(true, Ordering::Release);
                true
            }
        }
    }
}
