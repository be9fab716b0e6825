//! Typed wrappers of the calls that many bodies use.

use std::ffi::CString;

use chitin_abi::fs::{AT_FDCWD, Stat};
use chitin_abi::poll::PollFd;
use chitin_abi::signal::SigAction;
use chitin_abi::time::Timespec;
use chitin_abi::{Errno, Result};
use zerocopy::{FromZeros, IntoBytes};

use super::{Arg, Kernel};
use crate::call;

/// A descriptor.
pub type Fd = i32;

fn path(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

fn descriptor(value: u64) -> Fd {
    i32::try_from(value).unwrap_or(-1)
}

/// The wrappers; errors are those of the manual pages.
#[expect(missing_docs, reason = "each is the call of its name")]
#[expect(clippy::missing_errors_doc, reason = "each is the call of its name")]
pub trait Calls {
    fn kernel(&self) -> &dyn Kernel;

    fn open(&self, name: &str, flags: u32, mode: u32) -> Result<Fd> {
        self.openat(AT_FDCWD, name, flags, mode)
    }

    fn openat(&self, at: Fd, name: &str, flags: u32, mode: u32) -> Result<Fd> {
        let name = path(name)?;
        call!(self.kernel(), OPENAT, at, name.as_c_str(), flags, mode).map(descriptor)
    }

    fn close(&self, fd: Fd) -> Result<()> {
        call!(self.kernel(), CLOSE, fd).map(drop)
    }

    fn read(&self, fd: Fd, buffer: &mut [u8]) -> Result<usize> {
        let count = buffer.len();
        call!(self.kernel(), READ, fd, buffer, count).map(|count| count as usize)
    }

    fn read_some(&self, fd: Fd, limit: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![0; limit];
        let count = self.read(fd, &mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    fn write(&self, fd: Fd, bytes: &[u8]) -> Result<usize> {
        call!(self.kernel(), WRITE, fd, bytes, bytes.len()).map(|count| count as usize)
    }

    fn pread(&self, fd: Fd, buffer: &mut [u8], offset: i64) -> Result<usize> {
        let count = buffer.len();
        call!(self.kernel(), PREAD64, fd, buffer, count, offset).map(|count| count as usize)
    }

    fn pwrite(&self, fd: Fd, bytes: &[u8], offset: i64) -> Result<usize> {
        call!(self.kernel(), PWRITE64, fd, bytes, bytes.len(), offset).map(|count| count as usize)
    }

    fn lseek(&self, fd: Fd, offset: i64, whence: u32) -> Result<i64> {
        call!(self.kernel(), LSEEK, fd, offset, whence).map(u64::cast_signed)
    }

    fn pipe2(&self, flags: u32) -> Result<(Fd, Fd)> {
        let mut fds = [0_i32; 2];
        call!(self.kernel(), PIPE2, fds.as_mut_bytes(), flags)?;
        Ok((fds[0], fds[1]))
    }

    fn dup(&self, fd: Fd) -> Result<Fd> {
        call!(self.kernel(), DUP, fd).map(descriptor)
    }

    fn dup3(&self, fd: Fd, to: Fd, flags: u32) -> Result<Fd> {
        call!(self.kernel(), DUP3, fd, to, flags).map(descriptor)
    }

    fn fcntl(&self, fd: Fd, command: u32, argument: u64) -> Result<u64> {
        call!(self.kernel(), FCNTL, fd, command, argument)
    }

    fn fstat(&self, fd: Fd) -> Result<Stat> {
        let mut stat = Stat::new_zeroed();
        call!(self.kernel(), FSTAT, fd, stat.as_mut_bytes())?;
        Ok(stat)
    }

    fn stat(&self, name: &str) -> Result<Stat> {
        self.fstatat(AT_FDCWD, name, 0)
    }

    fn lstat(&self, name: &str) -> Result<Stat> {
        self.fstatat(AT_FDCWD, name, chitin_abi::fs::AT_SYMLINK_NOFOLLOW)
    }

    fn fstatat(&self, at: Fd, name: &str, flags: u32) -> Result<Stat> {
        let (name, mut stat) = (path(name)?, Stat::new_zeroed());
        call!(self.kernel(), NEWFSTATAT, at, name.as_c_str(), stat.as_mut_bytes(), flags)?;
        Ok(stat)
    }

    fn mkdir(&self, name: &str, mode: u32) -> Result<()> {
        let name = path(name)?;
        call!(self.kernel(), MKDIR, name.as_c_str(), mode).map(drop)
    }

    fn rmdir(&self, name: &str) -> Result<()> {
        let name = path(name)?;
        call!(self.kernel(), RMDIR, name.as_c_str()).map(drop)
    }

    fn unlink(&self, name: &str) -> Result<()> {
        let name = path(name)?;
        call!(self.kernel(), UNLINK, name.as_c_str()).map(drop)
    }

    fn link(&self, old: &str, new: &str) -> Result<()> {
        let (old, new) = (path(old)?, path(new)?);
        call!(self.kernel(), LINK, old.as_c_str(), new.as_c_str()).map(drop)
    }

    fn symlink(&self, target: &str, name: &str) -> Result<()> {
        let (target, name) = (path(target)?, path(name)?);
        call!(self.kernel(), SYMLINK, target.as_c_str(), name.as_c_str()).map(drop)
    }

    fn readlink(&self, name: &str) -> Result<Vec<u8>> {
        let (name, mut buffer) = (path(name)?, vec![0; 4096]);
        let count = call!(self.kernel(), READLINK, name.as_c_str(), buffer.as_mut_slice(), 4096)?;
        buffer.truncate(count as usize);
        Ok(buffer)
    }

    fn rename2(&self, old: &str, new: &str, flags: u32) -> Result<()> {
        let (old, new) = (path(old)?, path(new)?);
        let (from, to) = (AT_FDCWD, AT_FDCWD);
        call!(self.kernel(), RENAMEAT2, from, old.as_c_str(), to, new.as_c_str(), flags).map(drop)
    }

    fn ftruncate(&self, fd: Fd, size: i64) -> Result<()> {
        call!(self.kernel(), FTRUNCATE, fd, size).map(drop)
    }

    fn poll(&self, fds: &mut [PollFd], timeout_ms: i32) -> Result<u64> {
        let count = fds.len();
        call!(self.kernel(), POLL, fds.as_mut_bytes(), count, timeout_ms)
    }

    /// The events that poll reports at once for one descriptor.
    fn ready(&self, fd: Fd, events: u16) -> u16 {
        let mut fds = [PollFd { fd, events, revents: 0 }];
        self.poll(&mut fds, 0).map_or(0, |_| fds[0].revents)
    }

    fn getpid(&self) -> i32 {
        call!(self.kernel(), GETPID).map_or(-1, descriptor)
    }

    fn kill(&self, pid: i32, signal: u32) -> Result<()> {
        call!(self.kernel(), KILL, pid, signal).map(drop)
    }

    /// Ignores a signal or restores its default (`SIG_IGN`, `SIG_DFL`).
    fn set_action(&self, signal: u32, handler: u64) -> Result<()> {
        let action = SigAction { handler, ..SigAction::default() };
        call!(self.kernel(), RT_SIGACTION, signal, action.as_bytes(), Arg::Null, 8_u64).map(drop)
    }

    /// Replaces the signal mask and returns the old one.
    fn set_mask(&self, how: u32, set: u64) -> Result<u64> {
        let mut old = [0_u8; 8];
        call!(self.kernel(), RT_SIGPROCMASK, how, &set.to_ne_bytes(), &mut old, 8_u64)?;
        Ok(u64::from_ne_bytes(old))
    }

    fn sleep_ms(&self, milliseconds: i64) {
        let time =
            Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
        let _ = call!(self.kernel(), NANOSLEEP, time.as_bytes(), Arg::Null);
    }
}

impl Calls for dyn Kernel + '_ {
    fn kernel(&self) -> &dyn Kernel {
        // `self` is already the object; the blanket wrappers only need it by this name.
        self
    }
}
