//! `/proc`: the kernel's state as files (`proc(5)`).
//!
//! A mount shows the processes of one pid namespace: that of whoever mounted it. Files are made when they are
//! looked up and their text when it is read; nothing is cached. Whose namespaces, root and rights a text depends
//! on comes with the open ([`VfsEnv::caller`]).
//!
//! - [`pids`]: the directories of processes and threads. - [`process`]: their files. - [`root`]: files at the top.
//! - [`sysctl`]: `/proc/sys`. - [`net`]: `/proc/net`. - [`mod@format`]: the texts as pure functions.
//!
//! Lock order: generators run without locks of the pseudo tree; they take the process tree's lock for a moment and
//! never hold it while they read a guest's memory.

pub mod access;
pub mod format;
pub mod ipc;
mod locks;
pub mod net;
pub mod pids;
pub mod process;
pub mod root;
pub mod sysctl;

use std::sync::{Arc, OnceLock, Weak};

use chitin_abi::{Errno, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::{Node, PseudoFs, Style};
use chitin_vfs::fs_type::FsType;
use chitin_vfs::inode::Inode;
use chitin_vfs::super_block::SuperBlock;
use chitin_vfs::walk::Walk;

use crate::kernel::Kernel;
use crate::namespace::{Pid, PidNamespace};
use crate::task::Task;

/// What a mount of `/proc` shows.
pub struct View {
    kernel: Weak<Kernel>,
    /// Set later for a mount that was made before there were processes.
    ns: OnceLock<Arc<PidNamespace>>,
    /// `hidepid`: whether processes of other users are closed (1) or hidden (2).
    pub hide: u8,
}

impl View {
    /// The kernel.
    ///
    /// # Errors
    /// ESRCH when it is gone.
    pub fn kernel(&self) -> Result<Arc<Kernel>> {
        self.kernel.upgrade().ok_or(Errno::ESRCH)
    }

    /// An identity's number in this mount's namespace; 0 where it cannot be seen.
    pub fn number(&self, pid: &Pid) -> u32 {
        self.ns.get().map_or(0, |ns| pid.in_ns(ns))
    }

    /// The kernel's number for one of this mount.
    fn global(&self, number: u32) -> Option<u32> {
        self.ns.get()?.global(number)
    }

    /// The number that was handed out last.
    fn last(&self) -> u32 {
        self.ns.get().map_or(0, |ns| ns.last())
    }
}

/// The caller as a task, where a task makes the call.
pub fn reader(env: &VfsEnv) -> Option<&Task> {
    env.caller.as_ref().and_then(|caller| caller.as_any().downcast_ref::<Task>())
}

/// The type `proc` for `mount(2)`.
pub struct ProcType {
    kernel: Weak<Kernel>,
}

impl ProcType {
    /// The type for a kernel.
    pub fn new(kernel: &Weak<Kernel>) -> Self {
        Self { kernel: Weak::clone(kernel) }
    }
}

/// Options of a mount.
#[derive(Default)]
struct Options {
    hide: u8,
    shown: String,
}

fn parse(options: &[u8]) -> Result<Options> {
    let mut parsed = Options::default();
    let text = core::str::from_utf8(options).map_err(|_| Errno::EINVAL)?;
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("hidepid", "0" | "off")) => parsed.hide = 0,
            Some(("hidepid", "1" | "noaccess")) => parsed.hide = 1,
            Some(("hidepid", "2" | "4" | "invisible" | "ptraceable")) => parsed.hide = 2,
            Some(("gid", gid)) => {
                gid.parse::<u32>().map_err(|_| Errno::EINVAL)?;
            }
            Some(("subset", "pid")) => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    parsed.shown = match parsed.hide {
        0 => String::new(),
        1 => ",hidepid=noaccess".to_owned(),
        _ => ",hidepid=invisible".to_owned(),
    };
    Ok(parsed)
}

/// Whether a mount's option string would be understood; as /proc/mounts would show it. For tests of hostile
/// strings.
///
/// # Errors
/// EINVAL.
#[doc(hidden)]
pub fn check_options(options: &[u8]) -> Result<String> {
    parse(options).map(|options| options.shown)
}

impl FsType for ProcType {
    fn name(&self) -> &str {
        "proc"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn mount(
        &self,
        _source: &[u8],
        options: &[u8],
        walk: &Walk<'_>,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let options = parse(options)?;
        let ns = reader(walk.env).map_or_else(OnceLock::new, |task| OnceLock::from(task.pid_ns()));
        let view = Arc::new(View { kernel: Weak::clone(&self.kernel), ns, hide: options.hide });
        let mut style = Style::proc();
        style.options = options.shown;
        let mounted = PseudoFs::mount(style, Node::dir(0o555, root::directory(&view)).numbered(1));
        if view.ns.get().is_none() {
            let late = Arc::downgrade(&view);
            view.kernel()?.unbound.add(mounted.0.dev, move |_, pid_ns| {
                if let Some(view) = late.upgrade() {
                    let _ = view.ns.set(Arc::clone(pid_ns));
                }
            });
        }
        Ok(mounted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_checked() {
        assert_eq!(parse(b"").map(|options| options.hide), Ok(0));
        assert_eq!(
            parse(b"hidepid=2,gid=5").map(|options| (options.hide, options.shown)),
            Ok((2, ",hidepid=invisible".to_owned()))
        );
        assert_eq!(parse(b"hidepid=9").err(), Some(Errno::EINVAL));
        assert_eq!(parse(b"nonsense").err(), Some(Errno::EINVAL));
    }
}
