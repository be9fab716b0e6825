//! What a system-call handler works with: the calling task, its registers, its guest thread, its memory.

use core::future::Future;
use core::pin::pin;
use core::sync::atomic::Ordering;
use core::task::Poll;
use std::sync::Arc;

use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Regs, Result};
use chitin_mm::GuestMemory;
use chitin_mm::platform::GuestThread;
use chitin_vfs::file::OpenFile;
use chitin_vfs::wait::WaitQueue;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::error::{Restart, SysError, SysResult};
use crate::kernel::Kernel;
use crate::memory::{Carried, Mm};
use crate::scheduler::wait::Waiter;
use crate::task::Task;

/// The world of one system call. `mm` is the address space that the call was made in.
pub struct Ctx<'a> {
    /// The caller.
    pub task: &'a Arc<Task>,
    /// The registers as the call found them; the result goes to `rax` when the handler is done. Until [`Ctx::complete`]
    /// only number and arguments need be there.
    pub regs: &'a mut Regs,
    /// The guest thread, which stands still.
    pub thread: &'a mut Box<dyn GuestThread>,
    /// The caller's address space.
    pub mm: Arc<Mm>,
    /// What the guest thread is to carry out before the guest runs on.
    pub carried: Option<Carried>,
}

impl GuestMemory for Ctx<'_> {
    fn read_partial(&self, addr: GuestAddr, buffer: &mut [u8]) -> Result<usize> {
        if let Some(count) = self.thread.brought(addr, buffer) {
            return Ok(count);
        }
        self.thread.deliver(addr, buffer.len());
        self.mm.memory().read_partial(addr, buffer)
    }

    fn write_partial(&self, addr: GuestAddr, bytes: &[u8]) -> Result<usize> {
        let len = bytes.len();
        if self.mm.space.lock().is_plain(addr.0, len as u64) && self.thread.give(addr, bytes) {
            return Ok(len);
        }
        self.thread.deliver(addr, len);
        self.mm.memory().write_partial(addr, bytes)
    }

    fn compare_exchange_u32(&self, addr: GuestAddr, old: u32, new: u32) -> Result<u32> {
        self.mm.memory().compare_exchange_u32(addr, old, new)
    }
}

impl Ctx<'_> {
    /// Has the guest thread carry out now what it would on its way back to the guest: whatever looks at the guest's memory
    /// from elsewhere comes behind.
    ///
    /// # Errors
    /// What the host refused, in terms of the call that asked for it.
    pub async fn carry_out(&mut self) -> Result<()> {
        let Some(carried) = self.carried.take() else { return Ok(()) };
        let thread = &mut *self.thread;
        match core::future::poll_fn(|cx| thread.poll_carried(cx)).await {
            Ok(()) => Ok(()),
            Err(errno) => self.mm.take_back(carried, errno).await.map(drop),
        }
    }

    /// The same, once the call's result is in the registers.
    pub async fn carry_out_late(&mut self) {
        let Some(carried) = self.carried.take() else { return };
        let thread = &mut *self.thread;
        if let Err(errno) = core::future::poll_fn(|cx| thread.poll_carried(cx)).await {
            self.take_back(carried, errno).await;
        }
    }

    /// The guest thread could not carry it out on its way back.
    pub async fn not_carried(&mut self, errno: Errno) {
        if let Some(carried) = self.carried.take() {
            self.take_back(carried, errno).await;
        }
    }

    async fn take_back(&mut self, carried: Carried, errno: Errno) {
        let result = self.mm.take_back(carried, errno).await;
        self.regs.rax = result.unwrap_or_else(Errno::as_register);
    }

    /// The kernel.
    pub fn kernel(&self) -> &Arc<Kernel> {
        &self.task.kernel
    }

    /// The caller's memory, as this call sees it: some of it has come with the call, and what is written is carried to the
    /// guest with its result. Who wants others to see what it writes before the call is over uses that of [`Ctx::mm`].
    pub fn memory(&self) -> &dyn GuestMemory {
        self
    }

    /// Loads all registers.
    pub fn complete(&mut self) {
        self.thread.complete(self.regs);
    }

    /// Reads a structure.
    ///
    /// # Errors
    /// EFAULT.
    pub fn read<T: FromBytes + IntoBytes>(&self, addr: GuestAddr) -> Result<T> {
        let mut value = T::new_zeroed();
        self.memory().read(addr, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes a structure.
    ///
    /// # Errors
    /// EFAULT.
    pub fn write<T: IntoBytes + Immutable + ?Sized>(
        &self,
        addr: GuestAddr,
        value: &T,
    ) -> Result<()> {
        self.memory().write(addr, value.as_bytes())
    }

    /// Writes a structure unless the pointer is null.
    ///
    /// # Errors
    /// EFAULT.
    pub fn write_opt<T: IntoBytes + Immutable + ?Sized>(
        &self,
        addr: GuestAddr,
        value: &T,
    ) -> Result<()> {
        if addr.is_null() { Ok(()) } else { self.write(addr, value) }
    }

    /// Reads an array of `count` structures; the caller has bounded `count`.
    ///
    /// # Errors
    /// EFAULT.
    pub fn read_array<T: FromBytes + IntoBytes + Clone>(
        &self,
        addr: GuestAddr,
        count: usize,
    ) -> Result<Vec<T>> {
        let mut values = vec![T::new_zeroed(); count];
        let size = size_of::<T>() as u64;
        for (index, value) in values.iter_mut().enumerate() {
            let at = addr.checked_add(size.wrapping_mul(index as u64)).ok_or(Errno::EFAULT)?;
            self.memory().read(at, value.as_mut_bytes())?;
        }
        Ok(values)
    }

    /// Reads a path: at most `PATH_MAX` bytes with the NUL, which is not returned.
    ///
    /// # Errors
    /// EFAULT, ENAMETOOLONG.
    pub fn read_path(&self, addr: GuestAddr) -> Result<Vec<u8>> {
        chitin_mm::guest_memory::read_cstring(self.memory(), addr, 4096)
    }

    /// The open file of a descriptor (not one of `O_PATH`).
    ///
    /// # Errors
    /// EBADF.
    pub fn file(&self, fd: i32) -> Result<Arc<OpenFile>> {
        let file = self.task.files().get(fd)?;
        if file.is_path_only() { Err(Errno::EBADF) } else { Ok(file) }
    }

    /// Waits for a future unless a signal arrives first.
    ///
    /// # Errors
    /// `restart` when a signal is to be delivered.
    pub async fn wait<F: Future>(&self, restart: Restart, future: F) -> SysResult<F::Output> {
        let mut future = pin!(future);
        let interrupt = &self.task.interrupt;
        let result = core::future::poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            interrupt.set_waker(Some(cx.waker()));
            if self.task.must_leave_wait() {
                return Poll::Ready(Err(SysError::Restart(restart)));
            }
            self.task.falls_asleep();
            Poll::Pending
        })
        .await;
        self.task.sleeping.store(false, Ordering::Relaxed);
        interrupt.set_waker(None);
        result
    }

    /// Waits for a future until the monotonic clock reaches `deadline` (`u64::MAX`: no limit): `None` then.
    ///
    /// # Errors
    /// `restart` when a signal is to be delivered.
    pub async fn wait_until<F: Future>(
        &self,
        restart: Restart,
        deadline: u64,
        future: F,
    ) -> SysResult<Option<F::Output>> {
        let mut future = pin!(future);
        let mut sleep = self.kernel().scheduler.sleep_until(deadline);
        let either = core::future::poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            core::pin::Pin::new(&mut sleep).poll(cx).map(|()| None)
        });
        self.wait(restart, either).await
    }

    /// Waits for a future unless the task has to exit; `None` then.
    pub async fn wait_killable<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let interrupt = &self.task.interrupt;
        let result = core::future::poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            interrupt.set_waker(Some(cx.waker()));
            if crate::signal::exit_status(self.task).is_some() {
                return Poll::Ready(None);
            }
            self.task.falls_asleep();
            Poll::Pending
        })
        .await;
        self.task.sleeping.store(false, Ordering::Relaxed);
        interrupt.set_waker(None);
        result
    }

    /// Tries `attempt` until it fails with something else than `EAGAIN`, waiting on `queue` in between; once
    /// only if `nonblocking`.
    ///
    /// # Errors
    /// What `attempt` returns, or [`Restart::Sys`] when a signal interrupted the wait.
    pub async fn blocking<T>(
        &self,
        queue: Option<&Arc<WaitQueue>>,
        interest: PollEvents,
        nonblocking: bool,
        mut attempt: impl FnMut() -> Result<T>,
    ) -> SysResult<T> {
        match attempt() {
            Err(Errno::EAGAIN) if !nonblocking => {}
            result => return Ok(result?),
        }
        let Some(queue) = queue else { return Err(Errno::EAGAIN.into()) };
        let waiter = Waiter::new();
        let _registration = waiter.register(queue, interest);
        loop {
            let seen = waiter.generation();
            match attempt() {
                Err(Errno::EAGAIN) => {}
                result => return Ok(result?),
            }
            self.wait(Restart::Sys, waiter.changed(seen)).await?;
        }
    }
}
