//! Guest memory that goes with calls from patched sites: arguments that the stub copies into the channel before it
//! hands the call over, and results that it copies out before it lets the guest go on.
//!
//! A table, by the call's number, says which arguments point to what: a string, so many bytes, or as many as another
//! argument says. The stub copies up to [`channel::IN_MOST`] bytes of each of two. A fault in that means only that nothing
//! came. The sentry computes for itself which range of guest memory should be there; of the channel it takes the number of
//! bytes that came, read once and bounded. What is there may change at any time, as guest memory may.
//!
//! Results are bytes and a list of up to [`channel::OUTS_MOST`] ranges. A fault in copying one makes the call fail with
//! EFAULT. Guest code can change both, and so what is written to its own memory by its own thread.
//!
//! Costs: no host call. A copy by the stub and one by the sentry for each direction, and the transfer of these cache lines;
//! a call that is not in the table costs the stub two loads.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use chitin_abi::{GuestAddr, Regs};

use crate::frame::Channel;
use crate::layout::{channel, config};
use crate::raw::arena::Arena;

/// What an argument points to.
#[derive(Clone, Copy, Debug)]
enum What {
    /// A string that ends with NUL.
    Text,
    /// So many bytes, at most 127.
    Bytes(u8),
    /// As many items as that argument says, of `1 << .1` bytes each.
    Items(u8, u8),
}

use What::{Bytes, Items, Text};

/// An argument (1 is the first) and what it points to.
type Pointer = (u8, What);

/// Calls with their pointers, at most two. Left out is what handlers do not read by the context's memory, and what is
/// rarely given.
const CALLS: [(i64, &[Pointer]); 65] = [
    (libc::SYS_write, &[(2, Items(3, 0))]),
    (libc::SYS_open, &[(1, Text)]),
    (libc::SYS_stat, &[(1, Text)]),
    (libc::SYS_lstat, &[(1, Text)]),
    (libc::SYS_poll, &[(1, Items(2, 3))]),
    (libc::SYS_rt_sigaction, &[(2, Bytes(32))]),
    (libc::SYS_rt_sigprocmask, &[(2, Bytes(8))]),
    (libc::SYS_pwrite64, &[(2, Items(3, 0))]),
    (libc::SYS_readv, &[(2, Items(3, 4))]),
    (libc::SYS_writev, &[(2, Items(3, 4))]),
    (libc::SYS_access, &[(1, Text)]),
    (libc::SYS_nanosleep, &[(1, Bytes(16))]),
    (libc::SYS_setitimer, &[(2, Bytes(32))]),
    (libc::SYS_connect, &[(2, Items(3, 0))]),
    (libc::SYS_sendto, &[(2, Items(3, 0)), (5, Items(6, 0))]),
    (libc::SYS_sendmsg, &[(2, Bytes(56))]),
    (libc::SYS_recvmsg, &[(2, Bytes(56))]),
    (libc::SYS_bind, &[(2, Items(3, 0))]),
    (libc::SYS_setsockopt, &[(4, Items(5, 0))]),
    (libc::SYS_truncate, &[(1, Text)]),
    (libc::SYS_chdir, &[(1, Text)]),
    (libc::SYS_rename, &[(1, Text), (2, Text)]),
    (libc::SYS_mkdir, &[(1, Text)]),
    (libc::SYS_rmdir, &[(1, Text)]),
    (libc::SYS_creat, &[(1, Text)]),
    (libc::SYS_link, &[(1, Text), (2, Text)]),
    (libc::SYS_unlink, &[(1, Text)]),
    (libc::SYS_symlink, &[(1, Text), (2, Text)]),
    (libc::SYS_readlink, &[(1, Text)]),
    (libc::SYS_chmod, &[(1, Text)]),
    (libc::SYS_chown, &[(1, Text)]),
    (libc::SYS_lchown, &[(1, Text)]),
    (libc::SYS_sigaltstack, &[(1, Bytes(24))]),
    (libc::SYS_statfs, &[(1, Text)]),
    (libc::SYS_setxattr, &[(1, Text), (2, Text)]),
    (libc::SYS_getxattr, &[(1, Text), (2, Text)]),
    (libc::SYS_lgetxattr, &[(1, Text), (2, Text)]),
    (libc::SYS_fgetxattr, &[(2, Text)]),
    (libc::SYS_timer_settime, &[(3, Bytes(32))]),
    (libc::SYS_clock_nanosleep, &[(3, Bytes(16))]),
    (libc::SYS_epoll_ctl, &[(4, Bytes(12))]),
    (libc::SYS_utimes, &[(1, Text), (2, Bytes(32))]),
    (libc::SYS_inotify_add_watch, &[(2, Text)]),
    (libc::SYS_openat, &[(2, Text)]),
    (libc::SYS_mkdirat, &[(2, Text)]),
    (libc::SYS_mknodat, &[(2, Text)]),
    (libc::SYS_fchownat, &[(2, Text)]),
    (libc::SYS_newfstatat, &[(2, Text)]),
    (libc::SYS_unlinkat, &[(2, Text)]),
    (libc::SYS_renameat, &[(2, Text), (4, Text)]),
    (libc::SYS_linkat, &[(2, Text), (4, Text)]),
    (libc::SYS_symlinkat, &[(1, Text), (3, Text)]),
    (libc::SYS_readlinkat, &[(2, Text)]),
    (libc::SYS_fchmodat, &[(2, Text)]),
    (libc::SYS_faccessat, &[(2, Text)]),
    (libc::SYS_ppoll, &[(1, Items(2, 3)), (3, Bytes(16))]),
    (libc::SYS_utimensat, &[(2, Text), (3, Bytes(32))]),
    (libc::SYS_timerfd_settime, &[(3, Bytes(32))]),
    (libc::SYS_preadv, &[(2, Items(3, 4))]),
    (libc::SYS_pwritev, &[(2, Items(3, 4))]),
    (libc::SYS_prlimit64, &[(3, Bytes(16))]),
    (libc::SYS_renameat2, &[(2, Text), (4, Text)]),
    (libc::SYS_statx, &[(2, Text)]),
    (libc::SYS_openat2, &[(2, Text), (3, Bytes(24))]),
    (libc::SYS_faccessat2, &[(2, Text)]),
];

/// Where an argument is among the registers that the stub has saved, plus 1.
fn slot(argument: u8) -> u8 {
    let slots = [9, 10, 13, 3, 1, 2];
    slots.get(usize::from(argument).wrapping_sub(1)).copied().unwrap_or(1)
}

/// The argument of a slot, from 0.
fn argument(slot: u64) -> Option<usize> {
    (1..=6_u8).position(|argument| u64::from(self::slot(argument)) == slot)
}

/// A pointer as the stub reads it: the argument's slot, and what it points to.
fn encode(pointer: Option<&Pointer>) -> u64 {
    let Some((argument, what)) = pointer else { return 0 };
    let what = match what {
        Text => 0,
        Bytes(count) => *count & 0x7f,
        Items(count, shift) => 0x80 | shift << 4 | slot(*count),
    };
    u64::from(slot(*argument)) | u64::from(what) << 8
}

/// Writes the table that stubs read.
pub fn configure(orders: &Arena) {
    for (number, pointers) in CALLS {
        let word = encode(pointers.first()) | encode(pointers.get(1)) << 32;
        orders.store64(config::LUGGAGE + 8 * number as u64, word);
    }
}

/// A range of guest memory that came with a call.
#[derive(Clone, Copy, Default)]
struct In {
    start: u64,
    len: u64,
    /// Where it is in the channel.
    offset: u64,
    is_text: bool,
}

/// What goes with the call that a thread stands at. Only the thread's own task uses it, one thing after the other.
#[derive(Default)]
pub struct Luggage {
    ins: [In; 2],
    count: AtomicU32,
    used: AtomicU32,
    outs: [(AtomicU64, AtomicU32, AtomicU32); channel::OUTS_MOST as usize],
}

impl Luggage {
    /// Looks what came with a call from a patched site.
    pub fn arrive(&mut self, from: Channel, arenas: (&Arena, &Arena), regs: &Regs) {
        let (orders, channels) = arenas;
        self.leave();
        self.ins = [In::default(); 2];
        if regs.rax >= config::LUGGAGE_CALLS {
            return;
        }
        let word = orders.load64(config::LUGGAGE + 8 * regs.rax);
        if word == 0 {
            return;
        }
        let came = from.brought(channels);
        let arguments = regs.syscall_args();
        for (index, slot) in self.ins.iter_mut().enumerate() {
            let pointer = word >> (32 * index);
            let argument = argument(pointer & 0xff);
            let Some(start) = argument.and_then(|at| arguments.get(at)) else { continue };
            let came = came.get(index).copied().unwrap_or(0);
            *slot = In {
                start: *start,
                len: u64::from(came).min(channel::IN_LEN),
                offset: channel::IN_LEN * index as u64,
                is_text: pointer >> 8 & 0xff == 0,
            };
        }
    }

    /// Forgets what was to be carried out.
    pub fn leave(&self) {
        self.count.store(0, Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
    }

    /// How many ranges are to be carried out.
    pub fn outs(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    /// The same, for the stub that carries them out now: they are forgotten here.
    pub fn take_outs(&self) -> u32 {
        let count = self.outs();
        self.leave();
        count
    }

    /// See [`chitin_mm::platform::GuestThread::brought`].
    pub fn read(
        &self,
        from: Channel,
        channels: &Arena,
        addr: GuestAddr,
        buffer: &mut [u8],
    ) -> Option<usize> {
        for one in &self.ins {
            let inside = addr.0.wrapping_sub(one.start);
            if inside >= one.len {
                continue;
            }
            let count = usize::try_from(one.len - inside).ok()?.min(buffer.len());
            if count < buffer.len() && !one.is_text {
                continue;
            }
            let whole = count == buffer.len();
            let part = buffer.get_mut(..count)?;
            channels.copy_out(from.offset + one.offset + inside, part);
            if whole || part.contains(&0) {
                return Some(count);
            }
        }
        None
    }

    /// See [`chitin_mm::platform::GuestThread::give`].
    pub fn write(&self, to: Channel, channels: &Arena, addr: GuestAddr, bytes: &[u8]) -> bool {
        let (count, used) = (self.outs(), u64::from(self.used.load(Ordering::Relaxed)));
        let len = bytes.len() as u64;
        let Some(out) = self.outs.get(count as usize) else { return false };
        if len == 0 || len > channel::OUT_LEN - used {
            return false;
        }
        let offset = channel::OUT + used;
        channels.copy_in(to.offset + offset, bytes);
        to.give(channels, count, addr.0, len as u32, offset as u32);
        out.0.store(addr.0, Ordering::Relaxed);
        out.1.store(len as u32, Ordering::Relaxed);
        out.2.store(offset as u32, Ordering::Relaxed);
        self.count.store(count + 1, Ordering::Relaxed);
        self.used.store((used + len.next_multiple_of(8)) as u32, Ordering::Relaxed);
        true
    }

    /// Whether any of a range is to be carried out.
    pub fn touches(&self, addr: GuestAddr, len: u64) -> bool {
        self.outs.iter().take(self.outs() as usize).any(|out| {
            let start = out.0.load(Ordering::Relaxed);
            let end = start + u64::from(out.1.load(Ordering::Relaxed));
            start < addr.0.saturating_add(len) && addr.0 < end
        })
    }

    /// Gives what was to be carried out to `write` instead, in order.
    pub fn deliver(&self, from: Channel, channels: &Arena, mut write: impl FnMut(u64, &[u8])) {
        let count = self.outs() as usize;
        for out in self.outs.iter().take(count) {
            let mut bytes = vec![0; out.1.load(Ordering::Relaxed) as usize];
            let offset = u64::from(out.2.load(Ordering::Relaxed));
            channels.copy_out(from.offset + offset, &mut bytes);
            write(out.0.load(Ordering::Relaxed), &bytes);
        }
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::{CALLS, Items};
    use crate::layout::config;

    #[test]
    fn the_table_fits_what_the_stub_can_read() {
        for (number, pointers) in CALLS {
            assert!((number as u64) < config::LUGGAGE_CALLS && pointers.len() <= 2);
            for (argument, what) in pointers {
                assert!((1..=6).contains(argument), "{number}");
                if let Items(count, shift) = what {
                    assert!((1..=6).contains(count) && *shift < 8, "{number}");
                }
            }
        }
    }
}
