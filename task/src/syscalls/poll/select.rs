//! `select(2)` and `pselect6(2)`.

use chitin_abi::poll::{POLLEX_SET, POLLIN_SET, POLLOUT_SET, PollEvents};
use chitin_abi::time::Timeval;
use chitin_abi::uio::SigsetArgument;
use chitin_abi::{Errno, GuestAddr, Result};
use zerocopy::IntoBytes;

use super::descriptors::write_remaining;
use super::{MaskGuard, PollSet, Until, Watched};
use crate::context::Ctx;
use crate::error::{Restart, SysError, SysResult};
use crate::syscalls::args::Time;

/// The three sets: readable, writable, exceptional.
const SETS: usize = 3;
/// Which events make a descriptor ready in which set.
const READY: [u16; SETS] = [POLLIN_SET, POLLOUT_SET, POLLEX_SET];
const WORD_BITS: usize = 64;

/// The sets as words of 64 bits.
struct Sets {
    addrs: [GuestAddr; SETS],
    asked: [Vec<u64>; SETS],
    ready: [Vec<u64>; SETS],
    /// Descriptors that are looked at: below this number.
    limit: usize,
}

/// `select(2)`.
pub async fn select(
    cx: &mut Ctx<'_>,
    nfds: i32,
    read: GuestAddr,
    write: GuestAddr,
    except: GuestAddr,
    timeout: Time,
) -> SysResult {
    let until = timeval(cx, timeout.0)?;
    let result = run(cx, nfds, [read, write, except], until).await;
    let Some(nanos) = until.remaining(cx).filter(|_| !timeout.0.is_null()) else { return result };
    match (cx.write(timeout.0, &Timeval::from_nanos(nanos)), result) {
        (Err(_), Err(SysError::Restart(Restart::NoHandler))) => Err(Errno::EINTR.into()),
        (_, result) => result,
    }
}

/// `pselect6(2)`.
pub async fn pselect6(
    cx: &mut Ctx<'_>,
    nfds: i32,
    read: GuestAddr,
    write: GuestAddr,
    except: GuestAddr,
    timeout: Time,
    mask: GuestAddr,
) -> SysResult {
    let mask = if mask.is_null() { SigsetArgument::default() } else { cx.read(mask)? };
    let until = Until::after_timespec(cx, timeout.0)?;
    let guard = MaskGuard::install(cx, GuestAddr(mask.sigmask), mask.sigsetsize as usize)?;
    let result = run(cx, nfds, [read, write, except], until).await;
    let result = guard.finish(cx.task, result);
    write_remaining(cx, timeout.0, until, result)
}

fn timeval(cx: &Ctx<'_>, addr: GuestAddr) -> Result<Until> {
    if addr.is_null() {
        return Ok(Until::Forever);
    }
    let time: Timeval = cx.read(addr)?;
    // Microseconds of more than a second are accepted.
    let seconds = time.tv_sec.checked_add(time.tv_usec / 1_000_000).ok_or(Errno::EINVAL)?;
    let rest = Timeval { tv_sec: seconds, tv_usec: time.tv_usec % 1_000_000 };
    Ok(Until::after(cx, rest.to_nanos().filter(|_| seconds >= 0).ok_or(Errno::EINVAL)?))
}

async fn run(cx: &Ctx<'_>, nfds: i32, addrs: [GuestAddr; SETS], until: Until) -> SysResult {
    let limit = usize::try_from(nfds).map_err(|_| Errno::EINVAL)?.min(cx.task.files().capacity());
    let mut sets = Sets::read(cx, addrs, limit)?;
    let descriptors = sets.descriptors();
    let mut set = sets.watch(cx, &descriptors)?;
    set.wait(cx, until, Restart::NoHandler).await?;
    let mut count = 0;
    for (fd, watched) in descriptors.iter().zip(&set.files) {
        count += sets.report(*fd, watched);
    }
    sets.write(cx)?;
    Ok(count)
}

impl Sets {
    fn read(cx: &Ctx<'_>, addrs: [GuestAddr; SETS], limit: usize) -> Result<Self> {
        let mut asked = addrs.map(|_| vec![0_u64; limit.div_ceil(WORD_BITS)]);
        let ready = asked.clone();
        for (addr, words) in addrs.iter().zip(&mut asked) {
            if !addr.is_null() && limit > 0 {
                cx.memory().read(*addr, words.as_mut_slice().as_mut_bytes())?;
            }
        }
        Ok(Self { addrs, asked, ready, limit })
    }

    fn write(&self, cx: &Ctx<'_>) -> Result<()> {
        for (addr, words) in self.addrs.iter().zip(&self.ready) {
            if !addr.is_null() && self.limit > 0 {
                cx.memory().write(*addr, words.as_bytes())?;
            }
        }
        Ok(())
    }

    fn word(&self, index: usize) -> u64 {
        self.asked.iter().filter_map(|words| words.get(index)).fold(0, |all, word| all | word)
    }

    /// The members of any set.
    fn descriptors(&self) -> Vec<usize> {
        let mut descriptors = Vec::new();
        for index in 0..self.limit.div_ceil(WORD_BITS) {
            let mut word = self.word(index);
            while word != 0 {
                descriptors.push(index * WORD_BITS + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
        descriptors.retain(|fd| *fd < self.limit);
        descriptors
    }

    fn watch(&self, cx: &Ctx<'_>, descriptors: &[usize]) -> Result<PollSet> {
        let table = cx.task.files();
        let mut files = Vec::with_capacity(descriptors.len());
        for fd in descriptors {
            let file = table.get(i32::try_from(*fd).map_err(|_| Errno::EBADF)?)?;
            let asked = self.asked.iter().zip(READY).filter(|(words, _)| has(words, *fd));
            let interest = asked.fold(0, |all, (_, events)| all | events);
            let interest = PollEvents::from_bits_retain(interest);
            files.push(Watched { file: Some(file), interest, happened: PollEvents::empty() });
        }
        // A hang-up does not make a descriptor ready that is not in the set of readable ones.
        Ok(PollSet { files, always: PollEvents::empty() })
    }

    /// Puts a descriptor into the sets where it is ready; in how many it is.
    fn report(&mut self, fd: usize, watched: &Watched) -> u64 {
        let mut count = 0;
        for ((asked, ready), events) in self.asked.iter().zip(&mut self.ready).zip(READY) {
            if has(asked, fd) && watched.happened.bits() & events != 0 {
                if let Some(word) = ready.get_mut(fd / WORD_BITS) {
                    *word |= 1 << (fd % WORD_BITS);
                }
                count += 1;
            }
        }
        count
    }
}

fn has(words: &[u64], fd: usize) -> bool {
    words.get(fd / WORD_BITS).is_some_and(|word| word & (1 << (fd % WORD_BITS)) != 0)
}
