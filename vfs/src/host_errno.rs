//! Errors of host calls as the guest's.

use chitin_abi::Errno;

/// The guest's error number for one of the host. What only says that our own process has run out of something
/// becomes the system-wide form of it.
pub(crate) fn from_host(error: rustix::io::Errno) -> Errno {
    match Errno::from_raw(error.raw_os_error()) {
        Errno::EMFILE => Errno::ENFILE,
        Errno::EINTR => Errno::EAGAIN,
        other => other,
    }
}
