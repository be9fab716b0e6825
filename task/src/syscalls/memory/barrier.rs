//! `membarrier(2)`.
//!
//! Guest threads are threads of the host, so the host's global barrier does for every command. Cost: one host
//! call on the blocking pool, some milliseconds long.

use core::sync::atomic::Ordering;

use chitin_abi::Errno;
use chitin_abi::mm::{
    MEMBARRIER_CMD_GET_REGISTRATIONS, MEMBARRIER_CMD_GLOBAL, MEMBARRIER_CMD_GLOBAL_EXPEDITED,
    MEMBARRIER_CMD_PRIVATE_EXPEDITED, MEMBARRIER_CMD_QUERY,
    MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
};
use rustix::thread::{MembarrierCommand, membarrier as host_membarrier};

use crate::context::Ctx;
use crate::error::SysResult;
use crate::syscalls::args::Flags;

const SUPPORTED: i32 = MEMBARRIER_CMD_GLOBAL
    | MEMBARRIER_CMD_GLOBAL_EXPEDITED
    | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED
    | MEMBARRIER_CMD_PRIVATE_EXPEDITED
    | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED
    | MEMBARRIER_CMD_GET_REGISTRATIONS;

/// `membarrier(2)`.
///
/// # Errors
/// EINVAL, EPERM where the process has not registered.
pub async fn membarrier(cx: &mut Ctx<'_>, cmd: i32, flags: Flags, cpu_id: i32) -> SysResult {
    let _ = cpu_id;
    if flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    match cmd {
        MEMBARRIER_CMD_QUERY => Ok(u64::from(SUPPORTED.cast_unsigned())),
        MEMBARRIER_CMD_GET_REGISTRATIONS => {
            Ok(u64::from(cx.mm.barriers.load(Ordering::Relaxed).cast_unsigned()))
        }
        MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED => {
            cx.mm.barriers.fetch_or(cmd, Ordering::Relaxed);
            Ok(0)
        }
        MEMBARRIER_CMD_PRIVATE_EXPEDITED => {
            let registered = cx.mm.barriers.load(Ordering::Relaxed);
            if registered & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED == 0 {
                return Err(Errno::EPERM.into());
            }
            barrier(cx).await
        }
        MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED => barrier(cx).await,
        _ => Err(Errno::EINVAL.into()),
    }
}

async fn barrier(cx: &Ctx<'_>) -> SysResult {
    let call = cx.kernel().scheduler.blocking(|| host_membarrier(MembarrierCommand::Global));
    match call.await {
        Some(Ok(())) => Ok(0),
        _ => Err(Errno::ENOMEM.into()),
    }
}
