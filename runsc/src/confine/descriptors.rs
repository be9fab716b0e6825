//! Descriptors of the sentry.

use std::io;
use std::os::fd::RawFd;

use crate::error::{Context as _, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as a sentry may have open, if the host lets it.
const MOST: u64 = 1 << 20;
/// For how many the table has room from the beginning.
const ROOM: i32 = 4095;

/// Closes everything but `keep`.
pub(crate) fn keep_only(mut keep: Vec<RawFd>) -> io::Result<()> {
    keep.sort_unstable();
    keep.dedup();
    let mut next = 0_u32;
    for number in keep.into_iter().filter_map(|fd| u32::try_from(fd).ok()) {
        if number > next {
            crate::raw::close_range(next, number - 1)?;
        }
        next = number + 1;
    }
    crate::raw::close_range(next, u32::MAX)
}

/// Puts `null` in the place of the standard descriptors, which belong to the command.
pub(crate) fn replace_standard(null: &std::fs::File) -> Result<()> {
    let replace = || {
        rustix::stdio::dup2_stdin(null)?;
        rustix::stdio::dup2_stdout(null)?;
        rustix::stdio::dup2_stderr(null)
    };
    replace().context(|| "cannot replace the standard descriptors")
}

/// Raises the limit on descriptors as far as it goes and makes room for some.
pub(crate) fn make_room(any: impl std::os::fd::AsFd) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(MOST, |maximum| maximum.min(MOST));
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) })?;
    if most > u64::from(ROOM.unsigned_abs()) {
        drop(rustix::io::fcntl_dupfd_cloexec(any, ROOM)?);
    }
    Ok(())
}
