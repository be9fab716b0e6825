//! The signal mask that `ppoll`, `pselect6` and `epoll_pwait` install for the time of the call.

use chitin_abi::signal::SigSet;
use chitin_abi::{Errno, GuestAddr, Result};

use crate::context::Ctx;
use crate::error::{SysError, SysResult};
use crate::task::Task;

/// Knows whether there is a mask to put back.
pub struct MaskGuard {
    installed: bool,
}

impl MaskGuard {
    /// Installs the mask at `addr` unless that is null.
    ///
    /// # Errors
    /// EINVAL for a set of another size, EFAULT.
    pub fn install(cx: &Ctx<'_>, addr: GuestAddr, size: usize) -> Result<Self> {
        if addr.is_null() {
            return Ok(Self { installed: false });
        }
        if size != size_of::<SigSet>() {
            return Err(Errno::EINVAL);
        }
        let mask: SigSet = cx.read(addr)?;
        cx.task.set_temporary_mask(mask);
        Ok(Self { installed: true })
    }

    /// Puts the mask back, unless the call was interrupted: the delivery of the signal does it then.
    pub fn finish<T>(self, task: &Task, result: SysResult<T>) -> SysResult<T> {
        let interrupted = match &result {
            Err(SysError::Restart(_)) => true,
            Err(SysError::Errno(errno)) => *errno == Errno::EINTR,
            _ => false,
        };
        if self.installed && !interrupted {
            task.end_temporary_mask();
            // What the temporary mask blocked may be pending.
            task.interrupt.raise();
        }
        result
    }
}
