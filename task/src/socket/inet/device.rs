//! Interfaces whose frames a descriptor of the host's carries: packet sockets with virtio-net headers.
//!
//! One future per device reads frames when the host says that there are some, a batch under one lock of the stack, after
//! which others get their turn. A read that fails is a frame lost; a descriptor that only fails is left alone until the host
//! has something new to say about it. What a call makes the stack send is written when the call lets go of the lock; what the host does not take at once waits, in
//! order, for the future. Costs: one `read` per frame that comes, of up to 64 KiB where the host leaves segments whole, one
//! `writev` per frame that goes.
//!
//! Lock order: the stack, then a device's output.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Poll;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use chitin_net_stack::link::{VNET_HEADER, parse_vnet_header, vnet_header};
use chitin_net_stack::{Checksum, Frame, InterfaceConfig, InterfaceId, Route};
use chitin_vfs::host_poll::{HostPoll, HostWatch};
use parking_lot::Mutex;

use super::InetStack;
use crate::scheduler::Scheduler;
use crate::scheduler::wait::Waiter;

/// Largest frame, with its header before it.
const MAX_FRAME: usize = VNET_HEADER + 18 + 65_536;
/// Reads before others get their turn.
const BATCH: usize = 64;
/// Failed reads in a row that are taken for the end and not for so many lost frames.
const MOST_FAILURES: usize = 1024;
/// Bytes that wait for the host at most; what is more is lost, as on a wire.
const MAX_PENDING: usize = 8 << 20;

/// An interface that a host descriptor belongs to.
pub struct HostInterface {
    /// How it looks inside.
    pub config: InterfaceConfig,
    /// Its addresses.
    pub addresses: Vec<(IpAddr, u8)>,
    /// A packet socket that is bound to it, with virtio-net headers, not blocking.
    pub descriptor: OwnedFd,
}

/// A device of a stack.
pub(super) struct Device {
    interface: InterfaceId,
    descriptor: Arc<OwnedFd>,
    output: Mutex<Output>,
    /// The host took no more.
    is_stuck: AtomicBool,
    waiter: Arc<Waiter>,
}

/// Frames that wait for the host.
#[derive(Default)]
struct Output {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Device {
    /// Takes what the stack wants to send; the caller holds the stack.
    pub(super) fn collect(&self, stack: &mut chitin_net_stack::Stack) -> bool {
        let mut output = self.output.lock();
        while let Some(frame) = stack.transmit(self.interface) {
            let length = frame.packet.len();
            if output.bytes + length <= MAX_PENDING {
                output.bytes += length;
                output.frames.push_back(frame);
            }
        }
        !output.frames.is_empty()
    }

    /// Writes what waits, as far as the host takes it.
    pub(super) fn flush(&self) {
        let mut output = self.output.lock();
        while let Some(frame) = output.frames.front() {
            let length = frame.packet.len();
            let header = vnet_header(frame);
            let parts = [
                IoSlice::new(&header),
                IoSlice::new(&frame.packet.header),
                IoSlice::new(&frame.packet.payload),
            ];
            match rustix::io::writev(&*self.descriptor, &parts) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    if !self.is_stuck.swap(true, Ordering::SeqCst) {
                        self.waiter.wake();
                    }
                    return;
                }
                // The interface is down, its queue full or the frame too large for it: lost, as on a wire.
                Err(_) | Ok(_) => {
                    output.frames.pop_front();
                    output.bytes -= length;
                }
            }
        }
        self.is_stuck.store(false, Ordering::SeqCst);
    }

    /// Reads a frame, with its header.
    fn read<'a>(&self, buffer: &'a mut [u8]) -> Reading<'a> {
        match rustix::io::read(&*self.descriptor, &mut *buffer) {
            Err(rustix::io::Errno::AGAIN) => Reading::Nothing,
            Err(rustix::io::Errno::INTR) => Reading::Runt,
            Ok(0) | Err(_) => Reading::Failed,
            Ok(count) if count <= VNET_HEADER => Reading::Runt,
            Ok(count) => Reading::Frame(buffer.get(..count).unwrap_or_default()),
        }
    }

    /// Reads a batch of frames; whether there may be more. `failures` counts reads in a row that failed.
    fn read_batch(&self, buffer: &mut [u8], failures: &mut usize, frames: &mut Frames) -> bool {
        for _ in 0..BATCH {
            match self.read(buffer) {
                Reading::Frame(bytes) => {
                    *failures = 0;
                    let Some(trust) = parse_vnet_header(bytes) else { continue };
                    let frame = bytes.get(VNET_HEADER..).unwrap_or_default();
                    frames.push((Bytes::copy_from_slice(frame), trust));
                }
                Reading::Runt => {}
                Reading::Nothing => return false,
                Reading::Failed => {
                    *failures += 1;
                    if *failures >= MOST_FAILURES {
                        *failures = 0;
                        return false;
                    }
                }
            }
        }
        true
    }
}

/// What a read gave.
enum Reading<'a> {
    Frame(&'a [u8]),
    /// Too short to be a frame; or an interruption.
    Runt,
    Nothing,
    Failed,
}

/// Frames without their headers, and what these say of their checksums.
type Frames = Vec<(Bytes, Checksum)>;

impl InetStack {
    /// Gives the stack an interface of the host's, with its addresses; routes follow by [`InetStack::add_routes`].
    ///
    /// # Errors
    /// Those of watching the descriptor, and of addresses.
    pub fn attach(
        self: &Arc<Self>,
        interface: HostInterface,
        scheduler: &Scheduler,
    ) -> Result<InterfaceId> {
        let HostInterface { config, addresses, descriptor } = interface;
        let _ = self.scheduler.set(scheduler.clone());
        let descriptor = Arc::new(descriptor);
        let poller: Arc<dyn HostPoll> = Arc::new(scheduler.clone());
        let watch = HostWatch::new(poller, Arc::clone(&descriptor))?;
        let id = self.with(|stack, _| {
            let id = stack.add_interface(config);
            for (ip, prefix) in addresses {
                stack.add_address(id, ip, prefix)?;
            }
            Ok::<_, Errno>(id)
        })?;
        let device = Arc::new(Device {
            interface: id,
            descriptor,
            output: Mutex::default(),
            is_stuck: AtomicBool::new(false),
            waiter: Waiter::new(),
        });
        self.devices.write().push(Arc::clone(&device));
        self.has_devices.store(true, Ordering::SeqCst);
        let stack = Arc::downgrade(self);
        scheduler.spawn(async move { serve(&stack, &device, &watch).await });
        Ok(id)
    }

    /// Adds routes; those that exist already stay.
    ///
    /// # Errors
    /// Those of the stack.
    pub fn add_routes(&self, routes: impl IntoIterator<Item = Route>) -> Result<()> {
        self.with(|stack, _| {
            for route in routes {
                match stack.add_route(route) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Ok(())
        })
    }
}

/// Reads frames for as long as the stack lives, and writes what had to wait.
async fn serve(stack: &Weak<InetStack>, device: &Device, watch: &HostWatch) {
    let interest = PollEvents::POLLIN | PollEvents::POLLOUT;
    let _registered = device.waiter.register(watch.queue(), interest);
    let mut buffer = vec![0; MAX_FRAME];
    let mut failures = 0;
    loop {
        let seen = device.waiter.generation();
        if device.is_stuck.load(Ordering::SeqCst) {
            device.flush();
        }
        let mut frames = Vec::new();
        let has_more = device.read_batch(&mut buffer, &mut failures, &mut frames);
        let has_read = has_more || !frames.is_empty();
        if !frames.is_empty() {
            let Some(stack) = stack.upgrade() else { return };
            stack.with(|stack, now| {
                for (frame, trust) in &frames {
                    stack.receive(device.interface, frame, *trust, now);
                }
            });
        }
        // Also where the host has told of more since: a flood of small batches is one, too.
        if has_read {
            yield_now().await;
        }
        if !has_more {
            device.waiter.changed(seen).await;
        }
    }
}

/// Lets all others that can go on do so first.
async fn yield_now() {
    let mut has_yielded = false;
    core::future::poll_fn(|cx| {
        if core::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn device(descriptor: UnixDatagram) -> Device {
        descriptor.set_nonblocking(true).unwrap();
        Device {
            interface: 2,
            descriptor: Arc::new(descriptor.into()),
            output: Mutex::default(),
            is_stuck: AtomicBool::new(false),
            waiter: Waiter::new(),
        }
    }

    #[test]
    fn what_is_no_frame_does_not_end_a_batch() {
        let (host, ours) = UnixDatagram::pair().unwrap();
        let device = device(ours);
        for length in [0, 1, VNET_HEADER, VNET_HEADER + 60, 3, VNET_HEADER + 14] {
            host.send(&vec![0; length]).unwrap();
        }
        let (mut buffer, mut failures, mut frames) = (vec![0; MAX_FRAME], 0, Vec::new());
        assert!(!device.read_batch(&mut buffer, &mut failures, &mut frames));
        let lengths: Vec<usize> = frames.iter().map(|(frame, _)| frame.len()).collect();
        assert_eq!((lengths, failures), (vec![60, 14], 0));
    }

    #[test]
    fn a_descriptor_that_only_fails_is_given_up_until_something_happens() {
        let file = std::fs::File::options().write(true).open("/dev/null").unwrap();
        let (_host, ours) = UnixDatagram::pair().unwrap();
        let device = Device { descriptor: Arc::new(file.into()), ..device(ours) };
        let (mut buffer, mut failures, mut frames) = (vec![0; MAX_FRAME], 0, Vec::new());
        let batches = (0..MOST_FAILURES)
            .take_while(|_| device.read_batch(&mut buffer, &mut failures, &mut frames));
        assert_eq!(batches.count(), MOST_FAILURES / BATCH - 1);
    }
}
