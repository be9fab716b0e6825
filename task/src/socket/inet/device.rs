//! Interfaces whose frames a descriptor of the host's carries: packet sockets with virtio-net headers.
//!
//! One future per device reads frames when the host says that there are some, a batch under one lock of the stack. What a
//! call makes the stack send is written when the call lets go of the lock; what the host does not take at once waits, in
//! order, for the future. Costs: one `read` per frame that comes, of up to 64 KiB where the host leaves segments whole, one
//! `writev` per frame that goes.
//!
//! Lock order: the stack, then a device's output.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, Result};
use chitin_net_stack::link::{VNET_HEADER, parse_vnet_header, vnet_header};
use chitin_net_stack::{Frame, InterfaceConfig, InterfaceId, Route};
use chitin_vfs::host_poll::{HostPoll, HostWatch};
use parking_lot::Mutex;

use super::InetStack;
use crate::scheduler::Scheduler;
use crate::scheduler::wait::Waiter;

/// Largest frame, with its header before it.
const MAX_FRAME: usize = VNET_HEADER + 18 + 65_536;
/// Frames that are read before others get their turn.
const BATCH: usize = 64;
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
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => {
                    if !self.is_stuck.swap(true, Ordering::SeqCst) {
                        self.waiter.wake();
                    }
                    return;
                }
                // The interface is down or the frame too large for it: lost, as on a wire.
                Err(_) | Ok(_) => {
                    output.frames.pop_front();
                    output.bytes -= length;
                }
            }
        }
        self.is_stuck.store(false, Ordering::SeqCst);
    }

    /// Reads a frame.
    fn read(&self, buffer: &mut [u8]) -> Option<usize> {
        rustix::io::read(&*self.descriptor, buffer).ok().filter(|count| *count > VNET_HEADER)
    }
}

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
    loop {
        let seen = device.waiter.generation();
        if device.is_stuck.load(Ordering::SeqCst) {
            device.flush();
        }
        let mut frames = Vec::new();
        while frames.len() < BATCH
            && let Some(count) = device.read(&mut buffer)
        {
            let bytes = buffer.get(..count).unwrap_or_default();
            let Some(trust) = parse_vnet_header(bytes) else { continue };
            let frame = Bytes::copy_from_slice(bytes.get(VNET_HEADER..).unwrap_or_default());
            frames.push((frame, trust));
        }
        if frames.is_empty() {
            device.waiter.changed(seen).await;
            continue;
        }
        let Some(stack) = stack.upgrade() else { return };
        stack.with(|stack, now| {
            for (frame, trust) in &frames {
                stack.receive(device.interface, frame, *trust, now);
            }
        });
    }
}
