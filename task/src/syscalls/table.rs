//! The system-call table.
//!
//! One line per call: number, name, typed arguments in register order, handler (`async` where it can wait),
//! level of support. Lines are sorted by number. A call that is not here does not exist: `ENOSYS`, counted.

use chitin_abi::{Errno, GuestAddr};

use super::args::{Fd, Flags, FromReg, Mode, OpenMode, PathPtr, Print, Signal};
use super::{Support, SyscallInfo};
use super::{cred, files, io, ipc, memory, misc, mounts, poll, process, sched, signal, socket, thread, time, tree};
use crate::context::Ctx;
use crate::error::SysResult;

macro_rules! invoke {
    (async $path:path, $cx:ident, $($arg:ident),*) => { $path($cx, $($arg),*).await };
    (sync $path:path, $cx:ident, $($arg:ident),*) => { $path($cx, $($arg),*) };
}

macro_rules! syscalls {
    ($($number:literal $name:ident($($arg:ident: $type:ty),*) => $kind:tt $path:path, $support:expr;)*) => {
        /// All supported calls, by number.
        pub const SYSCALLS: &[SyscallInfo] = &[$(SyscallInfo {
            number: $number,
            name: stringify!($name),
            args: &[$(<$type as FromReg>::PRINT),*] as &[Print],
            support: $support,
        }),*];

        /// Decodes and carries out the call of this number.
        ///
        /// # Errors
        /// Those of the handler; ENOSYS for a number that is not in the table.
        pub async fn dispatch(cx: &mut Ctx<'_>, number: u64) -> SysResult {
            #[expect(unused_mut, unused_variables, reason = "calls without arguments")]
            match number {
                $($number => {
                    let mut registers = cx.regs.syscall_args().into_iter();
                    $(let $arg: $type = FromReg::from_reg(registers.next().unwrap_or_default());)*
                    invoke!($kind $path, cx, $($arg),*)
                })*
                _ => {
                    cx.kernel().unsupported.count(number);
                    Err(Errno::ENOSYS.into())
                }
            }
        }
    };
}

/// Carries out a call, printing it if the kernel traces.
///
/// # Errors
/// As [`dispatch`].
pub async fn call(cx: &mut Ctx<'_>, number: u64) -> SysResult {
    if cx.kernel().strace.is_none() {
        return dispatch(cx, number).await;
    }
    super::strace::traced(cx, number).await
}

use Support::{Fails, Full, Partial};

syscalls! {
    0 read(fd: Fd, buf: GuestAddr, count: usize) => async io::read, Full;
}
