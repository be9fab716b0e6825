//! Terminals of the container that somebody outside sits before.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use chitin_abi::tty::Winsize;
use chitin_task::Kernel;
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::host_poll::HostPoll;
use chitin_vfs::namespace::MountNamespace;
use chitin_vfs::tty::console::{self, OpenConsole};
use chitin_vfs::tty::relay::Relay;
use chitin_vfs::walk::{ResolveFlags, Walk};
use nix::sys::signal::{SigSet, Signal};

use crate::error::{Context as _, Result};
use crate::oci::process::Plan;
use crate::sandbox::Console;

/// How long the last output may take to leave.
const PATIENCE: core::time::Duration = core::time::Duration::from_secs(2);

/// Opens a terminal for a process.
pub(crate) fn open(
    kernel: &Arc<Kernel>,
    mounts: &Arc<MountNamespace>,
    console: Console,
    process: &Plan,
) -> Result<OpenConsole> {
    let env = VfsEnv::new(Arc::clone(&kernel.vfs), None);
    let cred = Cred::root();
    let walk = walk(mounts, &cred, &env);
    let terminal = match console {
        Console::Stream(fd) | Console::Terminal(fd) => fd,
    };
    let window = window(&terminal, process);
    let poller: Arc<dyn HostPoll> = Arc::new(kernel.scheduler.clone());
    let owner = (process.uid, process.gid);
    console::open(&walk, b"/dev/pts", owner, terminal, window, &poller)
        .context(|| "cannot open a terminal (a devpts has to be mounted on /dev/pts)")
}

fn walk<'a>(mounts: &MountNamespace, cred: &'a Cred, env: &'a VfsEnv) -> Walk<'a> {
    let root = mounts.root();
    Walk {
        base: root.clone(),
        root,
        cred,
        umask: 0,
        now: env.shared.clock.now(),
        resolve: ResolveFlags::empty(),
        env,
    }
}

/// Makes the terminal of a container's first process its `/dev/console`, where there is a place for that.
pub(crate) fn bind(kernel: &Arc<Kernel>, mounts: &Arc<MountNamespace>, console: &OpenConsole) {
    let env = VfsEnv::new(Arc::clone(&kernel.vfs), None);
    let cred = Cred::root();
    let walk = walk(mounts, &cred, &env);
    let place = || -> chitin_abi::Result<()> {
        match walk.mknod(b"/dev/console", chitin_abi::fs::S_IFREG | 0o600, 0) {
            Ok(_) | Err(chitin_abi::Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let at = walk.lookup(b"/dev/console", true)?;
        let slave = walk.lookup(format!("/dev/pts/{}", console.pty.index()).as_bytes(), true)?;
        mounts.bind(&slave, &at, false).map(drop)
    };
    if let Err(errno) = place() {
        crate::log::debug(|| format!("the container has no /dev/console: {errno}"));
    }
}

fn window(terminal: &OwnedFd, process: &Plan) -> Winsize {
    let size = crate::sandbox::terminal::size(terminal).filter(|size| *size != (0, 0));
    let (rows, columns) = process.console_size.or(size).unwrap_or((0, 0));
    Winsize { ws_row: rows, ws_col: columns, ..Winsize::default() }
}

/// Waits until everything that was written has left, but not for ever.
pub(crate) fn drain(relay: &Relay) {
    let begun = std::time::Instant::now();
    while !relay.is_drained() && begun.elapsed() < PATIENCE {
        relay.pump();
        std::thread::sleep(core::time::Duration::from_millis(1));
    }
}

/// Makes a terminal of the host tell its size by SIGWINCH. Before other threads exist: they inherit the mask.
pub(crate) fn adopt(console: &Console) -> Result<Option<OwnedFd>> {
    let Console::Terminal(terminal) = console else { return Ok(None) };
    crate::raw::set_controlling_terminal(terminal.as_fd())
        .context(|| "cannot take over the terminal")?;
    window_changes().thread_block().context(|| "cannot block a signal")?;
    terminal.try_clone().map(Some).context(|| "cannot copy a descriptor")
}

/// Follows the size of a terminal that was [adopted](adopt).
pub(crate) fn follow_size(terminal: OwnedFd, relay: &Arc<Relay>) -> Result<()> {
    let relay = Arc::clone(relay);
    let follow = move || {
        let signals = window_changes();
        while signals.wait().is_ok() {
            if let Some((rows, columns)) = crate::sandbox::terminal::size(&terminal) {
                relay.set_window_size(Winsize {
                    ws_row: rows,
                    ws_col: columns,
                    ..Winsize::default()
                });
            }
        }
    };
    let thread =
        std::thread::Builder::new().name("window".into()).stack_size(128 << 10).spawn(follow);
    thread.map(drop).context(|| "cannot start a thread")
}

fn window_changes() -> SigSet {
    [Signal::SIGWINCH].into_iter().collect()
}
