//! The master's open file.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::tty::TIOCPKT_DATA;
use chitin_abi::{Errno, GuestAddr, Result};

use super::ioctl;
use super::pty::Pty;
use super::state::{QUEUE_MAX, READABLE, WRITABLE};
use crate::file::{File, IoctlContext, WriteAt};
use crate::io::{Sink, Source};
use crate::wait::WaitQueue;

const CHUNK: usize = 4096;

/// The open master of a pair. When it goes, the slave hangs up.
pub struct MasterFile {
    pty: Arc<Pty>,
}

impl MasterFile {
    /// The master of a pair that was just made.
    pub fn new(pty: Arc<Pty>) -> Arc<Self> {
        Arc::new(Self { pty })
    }

    /// The pair.
    pub fn pty(&self) -> &Arc<Pty> {
        &self.pty
    }

    fn take(&self, most: usize) -> Result<Vec<u8>> {
        self.pty.change(|state, effects| {
            let mut bytes = Vec::new();
            if most == 0 {
                return Ok(bytes);
            }
            if state.packet && state.packet_status != 0 {
                bytes.push(core::mem::take(&mut state.packet_status));
                return Ok(bytes);
            }
            state.push_echo(effects);
            if state.outgoing.is_empty() {
                return Err(if state.slave_gone { Errno::EIO } else { Errno::EAGAIN });
            }
            let mut room = most;
            if state.packet {
                bytes.push(TIOCPKT_DATA as u8);
                room = room.saturating_sub(1);
            }
            let count = room.min(state.outgoing.len()).min(QUEUE_MAX);
            bytes.extend(state.outgoing.drain(..count));
            state.push_echo(effects);
            if state.output_room() > 0 {
                effects.slave |= WRITABLE;
            }
            Ok(bytes)
        })
    }
}

impl Drop for MasterFile {
    fn drop(&mut self) {
        self.pty.close_master();
    }
}

impl File for MasterFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        to.put(&self.take(to.remaining())?)
    }

    fn write_at(&self, from: &mut dyn Source, _at: WriteAt) -> Result<(usize, u64)> {
        let mut buffer = [0; CHUNK];
        let mut done = 0usize;
        loop {
            let room = self.pty.state.lock().input_room().min(CHUNK).min(from.remaining());
            if room == 0 {
                let finished = done > 0 || from.remaining() == 0;
                return if finished { Ok((done, 0)) } else { Err(Errno::EAGAIN) };
            }
            let chunk = buffer.get_mut(..room).unwrap_or_default();
            let taken = match from.take(chunk) {
                Ok(0) => return Ok((done, 0)),
                Ok(taken) => taken,
                Err(_) if done > 0 => return Ok((done, 0)),
                Err(error) => return Err(error),
            };
            let bytes = chunk.get(..taken).unwrap_or_default();
            self.pty.change(|state, effects| state.receive(bytes, effects));
            done = done.saturating_add(taken);
        }
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self) -> PollEvents {
        let state = self.pty.state.lock();
        let mut events = PollEvents::empty();
        if !state.outgoing.is_empty() {
            events |= READABLE;
        }
        if state.packet && state.packet_status != 0 {
            events |= READABLE | PollEvents::POLLPRI;
        }
        if state.slave_gone {
            events |= PollEvents::POLLHUP;
        }
        if state.input_room() > 0 {
            events |= WRITABLE;
        }
        events
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.pty.master_queue)
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        ioctl::master(&self.pty, command, argument, context)
    }

    fn fd_info(&self) -> String {
        format!("tty-index:\t{}\n", self.pty.index())
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"/dev/ptmx".to_vec())
    }
}
