//! A terminal that both sides write anything to, with any settings.

use std::any::Any;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::tty::{TCGETS, TCSETS, Termios};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_fuzz::fuzz;
use chitin_mm::GuestMemory;
use chitin_vfs::cred::Cred;
use chitin_vfs::file::{File, IoctlContext, OpenFile, ProcessIds, WriteAt};
use chitin_vfs::io::{SliceSource, VecSink};
use chitin_vfs::tty::{MasterFile, NoProcesses, Pty, SlaveFile};
use parking_lot::Mutex;

/// A caller with 64 bytes at address 0.
struct Caller {
    memory: Memory,
    cred: Cred,
}

struct Memory(Mutex<[u8; 64]>);

impl GuestMemory for Memory {
    fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
        let memory = self.0.lock();
        let from = memory.get(addr.0 as usize..).filter(|from| !from.is_empty());
        let from = from.ok_or(Errno::EFAULT)?;
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_partial(&self, addr: GuestAddr, bytes: &[u8]) -> Result<usize> {
        let mut memory = self.0.lock();
        let to = memory.get_mut(addr.0 as usize..).filter(|to| !to.is_empty());
        let to = to.ok_or(Errno::EFAULT)?;
        let count = to.len().min(bytes.len());
        to[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }
}

impl IoctlContext for Caller {
    fn memory(&self) -> &dyn GuestMemory {
        &self.memory
    }

    fn cred(&self) -> &Cred {
        &self.cred
    }

    fn process(&self) -> ProcessIds {
        ProcessIds { pid: 1, pgrp: 1, session: 1, session_leader: true }
    }

    fn set_controlling_terminal(
        &self,
        _terminal: Option<Arc<dyn Any + Send + Sync>>,
        _steal: bool,
    ) -> Result<()> {
        Ok(())
    }

    fn install_file(&self, file: Arc<OpenFile>, _close_on_exec: bool) -> Result<u64> {
        drop(file);
        Ok(9)
    }
}

struct Script<'a> {
    data: &'a [u8],
    caller: Caller,
    master: Arc<MasterFile>,
    slave: Arc<SlaveFile>,
}

impl Script<'_> {
    fn number(&mut self) -> u8 {
        let Some((first, rest)) = self.data.split_first() else { return 0 };
        self.data = rest;
        *first
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = self.number();
        let count = usize::from(count).min(self.data.len());
        let (bytes, rest) = self.data.split_at(count);
        self.data = rest;
        let times = if self.number() > 250 { 100 } else { 1 };
        bytes.repeat(times)
    }

    fn fill(&mut self) {
        let bytes = self.bytes();
        let mut memory = self.caller.memory.0.lock();
        for (place, byte) in memory.iter_mut().zip(bytes) {
            *place = byte;
        }
    }

    /// Changes a few bytes of the settings, which makes more sense than new ones.
    fn settings(&mut self) {
        let _ = self.slave.ioctl(TCGETS, GuestAddr(0), &self.caller);
        for _ in 0..self.number() % 4 {
            let (at, value) = (usize::from(self.number()), self.number());
            if let Some(place) = self.caller.memory.0.lock().get_mut(at % size_of::<Termios>()) {
                *place ^= value;
            }
        }
        let _ = self.slave.ioctl(TCSETS, GuestAddr(0), &self.caller);
    }

    fn step(&mut self) {
        match self.number() % 8 {
            0 | 1 => {
                let typed = self.bytes();
                let _ = self.master.write_at(&mut SliceSource::new(&typed), WriteAt::End);
            }
            2 => {
                let printed = self.bytes();
                let _ = self.slave.write_at(&mut SliceSource::new(&printed), WriteAt::End);
            }
            3 => {
                let mut sink = VecSink::new(self.number().into());
                let _ = self.slave.read_at(&mut sink, 0);
            }
            4 => {
                let mut sink = VecSink::new(usize::from(self.number()) * 32);
                let _ = self.master.read_at(&mut sink, 0);
            }
            5 => self.settings(),
            step => {
                self.fill();
                let request = 0x5400 | u32::from(self.number());
                let request = match self.number() {
                    0 => request | 0x4004_0000,
                    1 => request | 0x8004_0000,
                    _ => request,
                };
                let argument = GuestAddr(self.number().into());
                let file: &dyn File = if step == 6 { &*self.slave } else { &*self.master };
                let _ = file.ioctl(request, argument, &self.caller);
            }
        }
        let _ = (self.slave.poll(), self.master.poll());
    }
}

#[test]
fn terminals() {
    let samples: [&[u8]; 4] = [
        b"\x00\x09echo \x7f\x15x\n\x00\x03\xff\x04\xff",
        b"\x05\x01\x0c\x02\x00\x05ab\x03\x1a\x04\x00\x02\x04out\n\x00\x04\xff",
        b"\x05\x02\x00\xff\x08\xff\x00\x08\tx\t\x08\x7f\x17\x12\n\xff\x03\xff\x04\xff\x05\x01\x05\x10",
        b"\x06\x08\x18\x00\x50\x00\0\0\0\0\x00\x14\x02\x00\x07\x04\x01\0\0\0\x00\x20\x02\x00\x00\x02a\x16\xff",
    ];
    fuzz(&samples.map(<[u8]>::to_vec), |data| {
        let pty = Pty::new(0, Arc::new(NoProcesses), None);
        let master = MasterFile::new(Arc::clone(&pty));
        pty.set_locked(false);
        let cred = Cred::root();
        let slave = SlaveFile::open_peer(&pty, OpenFlags::O_RDWR, &cred).expect("a slave");
        let caller = Caller { memory: Memory(Mutex::new([0; 64])), cred };
        let mut script = Script { data, caller, master, slave };
        for _ in 0..2000 {
            if script.data.is_empty() {
                break;
            }
            script.step();
        }
        // What waits on either side is bounded.
        let mut sink = VecSink::new(1 << 20);
        let _ = script.master.read_at(&mut sink, 0);
        assert!(sink.bytes.len() <= 1 << 16, "{} bytes wait", sink.bytes.len());
    });
}
