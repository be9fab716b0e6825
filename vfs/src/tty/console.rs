//! Consoles: a process of the container gets a pair of its own, relayed to a descriptor of the host.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::tty::Winsize;
use chitin_abi::{Errno, Result};

use super::pty::Pty;
use super::relay::Relay;
use crate::file::OpenFile;
use crate::fs::devpts::DevPts;
use crate::host_poll::HostPoll;
use crate::walk::Walk;

/// A terminal for a process, with somebody of the host before it.
pub struct OpenConsole {
    /// Moves what is typed and shown. The terminal hangs up when this is dropped; to lose nothing of what was written
    /// last, wait until [`Relay::is_drained`].
    pub relay: Arc<Relay>,
    /// The terminal: what makes it the controlling one of the process that is started on it.
    pub pty: Arc<Pty>,
    /// The slave, open for reading and writing: the process's standard descriptors.
    pub file: Arc<OpenFile>,
}

/// Opens a console in the devpts mounted at `devpts`, which belongs to `owner` (user and group).
///
/// The host's end is `terminal`: a terminal in raw mode, or a socket or pipe to somebody who has one.
///
/// # Errors
/// ENODEV where no devpts is mounted there, ENOSPC when it has no more numbers, those of [`HostPoll::watch`].
pub fn open(
    walk: &Walk<'_>,
    devpts: &[u8],
    owner: (u32, u32),
    terminal: OwnedFd,
    window: Winsize,
    poller: &Arc<dyn HostPoll>,
) -> Result<OpenConsole> {
    let root = walk.lookup(devpts, true)?.inode();
    let fs = DevPts::of(&*root).ok_or(Errno::ENODEV)?;
    let (pty, _) = fs.make_pair(owner, walk.env.shared.clock.now())?;
    pty.set_window_size(window);
    pty.set_locked(false);
    let terminal = Arc::new(terminal);
    let relay = Relay::new(&pty, Arc::clone(&terminal), terminal, poller)?;
    let mut path = devpts.to_vec();
    path.extend_from_slice(format!("/{}", pty.index()).as_bytes());
    let opened = walk.open(&path, OpenFlags::O_RDWR | OpenFlags::O_NOCTTY, 0)?;
    Ok(OpenConsole { relay, pty, file: opened.file })
}
