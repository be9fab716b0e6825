//! Character devices that every container has: `null`, `zero`, `full`, `random`, `urandom`, `kmsg`.
//!
//! None makes a host call but the random ones, whose bytes come from the kernel's random source.
//! References: `null(4)`, `full(4)`, `random(4)`.

mod memory;

use core::any::Any;
use std::sync::{Arc, Weak};

use chitin_abi::fs::OpenFlags;
use chitin_abi::uio::{
    RNDADDENTROPY, RNDADDTOENTCNT, RNDCLEARPOOL, RNDGETENTCNT, RNDRESEEDCRNG, RNDZAPENTCNT,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::device::{Device, DeviceKind};
use chitin_vfs::env::{VfsEnv, VfsShared};
use chitin_vfs::file::{File, IoctlContext, WriteAt};
use chitin_vfs::io::{Sink, Source};
use chitin_vfs::path::Path;

use crate::kernel::Kernel;

/// Major number of memory devices.
pub const MEMORY_MAJOR: u32 = 1;
/// Bytes moved at a time.
const CHUNK: usize = 16 << 10;
/// `/proc/sys/kernel/random/entropy_avail`.
const ENTROPY_BITS: i32 = 256;

/// The devices of major number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Null,
    Zero,
    Full,
    Random,
    Kmsg,
}

struct MemoryDevice {
    kind: Kind,
    kernel: Weak<Kernel>,
}

impl Device for MemoryDevice {
    fn open(&self, path: &Path, _flags: OpenFlags, _env: &VfsEnv) -> Result<Arc<dyn File>> {
        Ok(Arc::new(MemoryFile {
            kind: self.kind,
            kernel: Weak::clone(&self.kernel),
            path: path.clone(),
        }))
    }
}

struct MemoryFile {
    kind: Kind,
    kernel: Weak<Kernel>,
    path: Path,
}

/// Takes everything from a source.
fn swallow(from: &mut dyn Source) -> Result<usize> {
    let mut buffer = [0; 4096];
    let mut done = 0_usize;
    while from.remaining() > 0 {
        match from.take(&mut buffer) {
            Ok(0) => break,
            Ok(count) => done = done.saturating_add(count),
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// Gives pieces made by `make` until the sink is full.
fn pour(to: &mut dyn Sink, mut make: impl FnMut(&mut [u8]) -> Result<()>) -> Result<usize> {
    let mut buffer = vec![0; to.remaining().min(CHUNK)];
    let mut done = 0_usize;
    while to.remaining() > 0 {
        let wanted = to.remaining().min(buffer.len());
        let piece = buffer.get_mut(..wanted).unwrap_or_default();
        make(piece)?;
        match to.put(piece) {
            Ok(0) => break,
            Ok(count) => {
                done = done.saturating_add(count);
                if count < wanted {
                    break;
                }
            }
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(done)
}

impl MemoryFile {
    fn random(&self, buffer: &mut [u8]) -> Result<()> {
        self.kernel.upgrade().ok_or(Errno::EIO)?.random.fill(buffer);
        Ok(())
    }
}

impl File for MemoryFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        match self.kind {
            Kind::Null => Ok(0),
            Kind::Zero | Kind::Full => pour(to, |_| Ok(())),
            Kind::Random => pour(to, |buffer| self.random(buffer)),
            Kind::Kmsg => Err(Errno::EAGAIN),
        }
    }

    fn write_at(&self, from: &mut dyn Source, at: WriteAt) -> Result<(usize, u64)> {
        if self.kind == Kind::Full {
            return Err(Errno::ENOSPC);
        }
        // `/dev/null` does not look at the bytes, so that bad pointers do not matter; the position moves.
        let count = match self.kind {
            Kind::Null | Kind::Zero => from.skip_rest(),
            _ => swallow(from)?,
        };
        let start = if let WriteAt::Offset(offset) = at { offset } else { 0 };
        Ok((count, start.saturating_add(count as u64)))
    }

    fn seek(&self, _position: u64, _offset: i64, _whence: u32) -> Result<u64> {
        match self.kind {
            Kind::Kmsg => Err(Errno::EINVAL),
            _ => Ok(0),
        }
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        match (self.kind, command) {
            (Kind::Random, RNDGETENTCNT) => {
                context.memory().write(argument, &ENTROPY_BITS.to_ne_bytes())?;
            }
            (
                Kind::Random,
                RNDADDENTROPY | RNDADDTOENTCNT | RNDCLEARPOOL | RNDRESEEDCRNG | RNDZAPENTCNT,
            ) => {
                return Err(Errno::EPERM);
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(0)
    }

    fn map(&self) -> Result<Arc<dyn chitin_mm::MappedFile>> {
        match self.kind {
            Kind::Zero => Ok(memory::ZeroMapping::new(&self.path)),
            _ => Err(Errno::ENODEV),
        }
    }

    fn sync(&self, _data_only: bool) -> Result<()> {
        Err(Errno::EINVAL)
    }
}

/// Registers the devices of this module.
pub fn register(shared: &VfsShared, kernel: &Weak<Kernel>) {
    let kinds = [
        (3, Kind::Null),
        (5, Kind::Zero),
        (7, Kind::Full),
        (8, Kind::Random),
        (9, Kind::Random),
        (11, Kind::Kmsg),
    ];
    for (minor, kind) in kinds {
        let device = MemoryDevice { kind, kernel: Weak::clone(kernel) };
        shared.devices.register(DeviceKind::Char, MEMORY_MAJOR, minor, Arc::new(device));
    }
}

#[cfg(test)]
mod tests {
    use chitin_vfs::io::{SliceSource, VecSink};

    use super::*;

    #[test]
    fn pouring_stops_when_the_sink_is_full() {
        let mut sink = VecSink::new(40_000);
        let sevens = |buffer: &mut [u8]| {
            buffer.fill(7);
            Ok(())
        };
        assert_eq!(pour(&mut sink, sevens), Ok(40_000));
        assert!(sink.bytes.iter().all(|byte| *byte == 7));
        assert_eq!(pour(&mut VecSink::new(0), |_| Err(Errno::EIO)), Ok(0));
    }

    #[test]
    fn swallowing_takes_everything() {
        assert_eq!(swallow(&mut SliceSource::new(&[1; 10_000])), Ok(10_000));
    }
}
