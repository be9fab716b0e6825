//! Memory that the sentry shares with stubs.
//!
//! Stubs that map it writable are hostile and write at the same time, so all access is atomic and copies.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A memory file, mapped whole and sparse.
pub struct Arena {
    base: NonNull<u8>,
    len: usize,
    fd: OwnedFd,
}

// SAFETY: the mapping lives as long as the value, and is reached through atomics only.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// Makes `len` bytes of zeros (whole pages, at least one). `read_only`: nobody can map it writable later.
    pub fn new(name: &str, len: usize, read_only: bool) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(name, flags)?;
        rustix::fs::ftruncate(&fd, len as u64)?;
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        let sharing = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a new mapping where the kernel likes; nothing else is touched.
        let base =
            unsafe { rustix::mm::mmap(core::ptr::null_mut(), len, rights, sharing, &fd, 0)? };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let arena = Self { base, len, fd };
        let mut seals = SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        if read_only {
            seals |= SealFlags::FUTURE_WRITE;
        }
        rustix::fs::fcntl_add_seals(&arena.fd, seals)?;
        Ok(arena)
    }

    /// The file.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The aligned word at `offset`. An offset outside is drawn inside: callers never pass one.
    pub fn u32(&self, offset: u64) -> &AtomicU32 {
        debug_assert!(offset.is_multiple_of(4) && offset as usize <= self.len - 4);
        let offset = (offset as usize).min(self.len - 4) & !3;
        // SAFETY: the address is inside the mapping, which lives as long as `self`, and a multiple of 4.
        let pointer = unsafe { self.base.as_ptr().add(offset) };
        // SAFETY: aligned, inside, and only ever used atomically.
        unsafe { AtomicU32::from_ptr(pointer.cast()) }
    }

    /// The aligned double word at `offset`, as [`Arena::u32`].
    pub fn u64(&self, offset: u64) -> &AtomicU64 {
        debug_assert!(offset.is_multiple_of(8) && offset as usize <= self.len - 8);
        let offset = (offset as usize).min(self.len - 8) & !7;
        // SAFETY: the address is inside the mapping, which lives as long as `self`, and a multiple of 8.
        let pointer = unsafe { self.base.as_ptr().add(offset) };
        // SAFETY: aligned, inside, and only ever used atomically.
        unsafe { AtomicU64::from_ptr(pointer.cast()) }
    }

    /// Loads a word once.
    pub fn load32(&self, offset: u64) -> u32 {
        self.u32(offset).load(Ordering::Relaxed)
    }

    /// Loads a double word once.
    pub fn load64(&self, offset: u64) -> u64 {
        self.u64(offset).load(Ordering::Relaxed)
    }

    /// Stores a word.
    pub fn store32(&self, offset: u64, value: u32) {
        self.u32(offset).store(value, Ordering::Relaxed);
    }

    /// Stores a double word.
    pub fn store64(&self, offset: u64, value: u64) {
        self.u64(offset).store(value, Ordering::Relaxed);
    }

    /// Copies out from a multiple of 8; whole double words, the last one in part.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) {
        for (index, piece) in buffer.chunks_mut(8).enumerate() {
            let value = self.load64(offset + 8 * index as u64).to_ne_bytes();
            piece.copy_from_slice(&value[..piece.len()]);
        }
    }

    /// Copies in at a multiple of 8; the rest of the last double word becomes zero.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        for (index, piece) in bytes.chunks(8).enumerate() {
            let mut value = [0; 8];
            value[..piece.len()].copy_from_slice(piece);
            self.store64(offset + 8 * index as u64, u64::from_ne_bytes(value));
        }
    }

    /// Copies out from anywhere.
    pub fn copy_out(&self, offset: u64, buffer: &mut [u8]) {
        let Some(from) = self.range(offset, buffer.len()) else { return };
        let to = buffer.as_mut_ptr();
        // SAFETY: `range` has found all bytes inside the mapping, the buffer is as long and is not part of it. The copy is
        // an instruction of the processor, for which it does not matter that others write at the same time.
        unsafe {
            core::arch::asm!(
                "rep movsb",
                inout("rcx") buffer.len() => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags)
            );
        }
    }

    /// Copies in to anywhere.
    pub fn copy_in(&self, offset: u64, bytes: &[u8]) {
        let Some(to) = self.range(offset, bytes.len()) else { return };
        let from = bytes.as_ptr();
        // SAFETY: as in `copy_out`.
        unsafe {
            core::arch::asm!(
                "rep movsb",
                inout("rcx") bytes.len() => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags)
            );
        }
    }

    /// Where a range begins that is inside.
    fn range(&self, offset: u64, len: usize) -> Option<*mut u8> {
        let offset = usize::try_from(offset).ok()?;
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        debug_assert!(is_inside);
        // SAFETY: the offset is inside the mapping.
        is_inside.then(|| unsafe { self.base.as_ptr().add(offset) })
    }

    /// Gives whole pages back to the host; they are zero afterwards.
    pub fn clear(&self, offset: u64, len: u64) {
        debug_assert!((offset + len) as usize <= self.len);
        let (offset, len) = (offset as usize, len as usize);
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return;
        }
        // SAFETY: inside the mapping.
        let pointer = unsafe { self.base.as_ptr().add(offset) };
        // SAFETY: shared file pages become zero, which is a legal value of every atomic in them.
        let done = unsafe { rustix::mm::madvise(pointer.cast(), len, Advice::LinuxRemove) };
        if done.is_err() {
            for at in (offset..offset + len).step_by(8) {
                self.store64(at as u64, 0);
            }
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no reference into it outlives the value.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
