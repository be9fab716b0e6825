//! The slave's open files.

use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::process::CAP_SYS_ADMIN;
use chitin_abi::tty::TIOCSPGRP;
use chitin_abi::{Errno, GuestAddr, Result};

use super::ioctl;
use super::line::LINE_MAX;
use super::pty::Pty;
use super::state::{READABLE, State, WRITABLE};
use crate::attr::Attr;
use crate::cred::Cred;
use crate::env::VfsEnv;
use crate::file::{File, IoctlContext, JobCheck, TerminalAccess, WriteAt};
use crate::io::{Sink, Source};
use crate::wait::WaitQueue;

/// Most bytes that go through at once.
const CHUNK: usize = 2048;

/// An open slave.
pub struct SlaveFile {
    pty: Arc<Pty>,
    hangups: u64,
    nonblocking: AtomicBool,
    readable: bool,
    /// Opened without a path: answers for its attributes itself.
    peer: bool,
}

impl SlaveFile {
    /// Opens the slave. A session leader without terminal gets this one, unless `O_NOCTTY` says no.
    ///
    /// # Errors
    /// EIO while it is locked or the master is closed, EBUSY after `TIOCEXCL`.
    pub fn open(pty: &Arc<Pty>, flags: OpenFlags, env: &VfsEnv) -> Result<Arc<Self>> {
        let file = Self::open_as(pty, flags, false, false)?;
        if let (true, false, Some(caller)) =
            (file.readable, flags.contains(OpenFlags::O_NOCTTY), &env.caller)
        {
            pty.acquire_by_open(&**caller);
        }
        Ok(file)
    }

    /// Opens the slave for the holder of the master, locked or not and without a path (`TIOCGPTPEER`).
    ///
    /// # Errors
    /// EIO while the master is closed, EBUSY after `TIOCEXCL`.
    pub fn open_peer(pty: &Arc<Pty>, flags: OpenFlags, cred: &Cred) -> Result<Arc<Self>> {
        Self::open_as(pty, flags, cred.caps.has(CAP_SYS_ADMIN), true)
    }

    fn open_as(
        pty: &Arc<Pty>,
        flags: OpenFlags,
        privileged: bool,
        peer: bool,
    ) -> Result<Arc<Self>> {
        let hangups = pty.open_slave(privileged, peer)?;
        Ok(Arc::new(Self {
            pty: Arc::clone(pty),
            hangups,
            nonblocking: AtomicBool::new(flags.contains(OpenFlags::O_NONBLOCK)),
            readable: flags.is_readable(),
            peer,
        }))
    }

    /// The terminal.
    pub fn pty(&self) -> &Arc<Pty> {
        &self.pty
    }

    fn is_dead(&self, state: &State) -> bool {
        state.hangups != self.hangups
    }

    /// Takes what a read may have now; `None` where it would block. `expired`: its time is over.
    fn take(&self, most: usize, expired: bool) -> Result<Option<Vec<u8>>> {
        let nonblocking = self.nonblocking.load(Ordering::Relaxed);
        self.pty.change(|state, effects| {
            if self.is_dead(state) || most == 0 {
                return Ok(Some(Vec::new()));
            }
            let mut bytes = Vec::new();
            if state.canonical() {
                if state.line.committed() == 0 {
                    return Ok(None);
                }
                state.line.take_line(&mut bytes, most.min(LINE_MAX));
            } else {
                let minimum = state.minimum();
                let at_once = minimum == 0 && state.tenths() == 0;
                let wanted = if nonblocking || expired { 1 } else { minimum.clamp(1, most) };
                if state.line.len() < wanted {
                    return if at_once || (expired && state.line.is_empty()) {
                        Ok(Some(bytes))
                    } else {
                        Ok(None)
                    };
                }
                state.line.take_raw(&mut bytes, most.min(LINE_MAX));
            }
            let was_full = state.input_room() == 0;
            state.pump(effects);
            if was_full {
                effects.master |= WRITABLE;
            }
            Ok(Some(bytes))
        })
    }

    fn read(&self, to: &mut dyn Sink, expired: bool) -> Result<usize> {
        let mut done = 0usize;
        let canonical = self.pty.state.lock().canonical();
        loop {
            let most = to.remaining();
            let bytes = match self.take(most, expired || done > 0)? {
                Some(bytes) => bytes,
                None if done > 0 => return Ok(done),
                None => return Err(Errno::EAGAIN),
            };
            if bytes.is_empty() {
                return Ok(done);
            }
            let stored = to.put(&bytes)?;
            done = done.saturating_add(stored);
            if canonical || stored < bytes.len() || bytes.len() == most {
                return Ok(done);
            }
        }
    }
}

impl Drop for SlaveFile {
    fn drop(&mut self) {
        self.pty.close_slave();
    }
}

impl File for SlaveFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        self.read(to, false)
    }

    fn read_expired(&self, to: &mut dyn Sink) -> Result<usize> {
        self.read(to, true)
    }

    fn read_timeout(&self) -> Option<Duration> {
        let state = self.pty.state.lock();
        if state.canonical()
            || state.tenths() == 0
            || (state.minimum() > 0 && state.line.is_empty())
        {
            return None;
        }
        Some(Duration::from_millis(state.tenths().saturating_mul(100)))
    }

    fn write_at(&self, from: &mut dyn Source, _at: WriteAt) -> Result<(usize, u64)> {
        let mut buffer = [0; CHUNK];
        let mut done = 0usize;
        loop {
            let room = self.pty.change(|state, effects| {
                if self.is_dead(state) || !state.has_master {
                    return Err(Errno::EIO);
                }
                state.push_echo(effects);
                Ok(state.output_room())
            });
            let room = match room {
                Ok(room) => room.min(CHUNK).min(from.remaining()),
                Err(_) if done > 0 => return Ok((done, 0)),
                Err(error) => return Err(error),
            };
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
            self.pty.change(|state, effects| state.write_output(bytes, effects));
            done = done.saturating_add(taken);
        }
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self) -> PollEvents {
        let state = self.pty.state.lock();
        if self.is_dead(&state) {
            return READABLE | WRITABLE | PollEvents::POLLERR | PollEvents::POLLHUP;
        }
        let mut events = PollEvents::empty();
        if state.input_available(true) {
            events |= READABLE;
        }
        if state.output_room() > 0 {
            events |= WRITABLE;
        }
        events
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.pty.slave_queue)
    }

    fn attr(&self) -> Result<Option<Attr>> {
        match self.pty.node() {
            Some(node) if self.peer => node.attr().map(Some),
            _ => Ok(None),
        }
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        if self.is_dead(&self.pty.state.lock()) {
            return Err(if command == TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO });
        }
        ioctl::slave(&self.pty, command, argument, self.readable, context)
    }

    fn is_job_controlled(&self) -> bool {
        true
    }

    fn check_job(&self, access: TerminalAccess, caller: &dyn IoctlContext) -> Result<JobCheck> {
        if self.is_dead(&self.pty.state.lock()) {
            return Ok(JobCheck::Proceed);
        }
        self.pty.check_job(access, caller)
    }

    fn flags_changed(&self, flags: OpenFlags) {
        self.nonblocking.store(flags.contains(OpenFlags::O_NONBLOCK), Ordering::Relaxed);
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(format!("/dev/pts/{}", self.pty.index()).into_bytes())
    }
}
