//! The terminal devices: `/dev/tty`, `/dev/console`, `/dev/ptmx`, and slave nodes outside a devpts.

use std::sync::Arc;

use chitin_abi::fs::OpenFlags;
use chitin_abi::{Errno, Result};
use parking_lot::RwLock;

use super::pty::Pty;
use super::slave::SlaveFile;
use crate::device::{Device, DeviceKind, DeviceRegistry};
use crate::env::VfsEnv;
use crate::file::File;
use crate::fs::devpts::DevPts;
use crate::path::Path;

/// Major number of `/dev/tty`, `/dev/console` and `/dev/ptmx`.
const AUX_MAJOR: u32 = 5;
const TTY_MINOR: u32 = 0;
const CONSOLE_MINOR: u32 = 1;
const PTMX_MINOR: u32 = 2;
/// Major numbers of slaves.
const SLAVE_MAJORS: core::ops::RangeInclusive<u32> = 136..=143;

/// `/dev/tty`: the caller's controlling terminal.
pub struct CurrentTerminal;

impl Device for CurrentTerminal {
    fn open(&self, _path: &Path, flags: OpenFlags, env: &VfsEnv) -> Result<Arc<dyn File>> {
        let terminal =
            env.caller.as_ref().and_then(|caller| caller.terminal()).ok_or(Errno::ENXIO)?;
        let pty = terminal.downcast::<Pty>().map_err(|_| Errno::ENXIO)?;
        // Somebody of the session has it open already: neither lock nor O_NOCTTY matter.
        Ok(SlaveFile::open(&pty, flags | OpenFlags::O_NOCTTY, env)?)
    }
}

/// `/dev/console`: the container's terminal, if it has one.
#[derive(Default)]
pub struct Console {
    terminal: RwLock<Option<Arc<Pty>>>,
}

impl Console {
    /// Says which terminal it is.
    pub fn set(&self, terminal: Option<Arc<Pty>>) {
        let old = core::mem::replace(&mut *self.terminal.write(), terminal);
        drop(old);
    }
}

impl Device for Console {
    fn open(&self, _path: &Path, flags: OpenFlags, env: &VfsEnv) -> Result<Arc<dyn File>> {
        let pty = self.terminal.read().clone().ok_or(Errno::EIO)?;
        Ok(SlaveFile::open(&pty, flags | OpenFlags::O_NOCTTY, env)?)
    }
}

/// `/dev/ptmx`: each open makes a pair in the devpts that is mounted at `pts` beside it.
pub struct PtmxDevice;

impl Device for PtmxDevice {
    fn open(&self, path: &Path, flags: OpenFlags, env: &VfsEnv) -> Result<Arc<dyn File>> {
        let dir = path.dentry().parent().ok_or(Errno::ENODEV)?;
        let pts = dir.lookup(b"pts").map_err(|_| Errno::ENODEV)?;
        let pts = Path::new(Arc::clone(path.mount()), pts).cross_mounts();
        let root = pts.inode();
        DevPts::of(&*root).ok_or(Errno::ENODEV)?.open_master(flags, env)
    }
}

/// A slave's device number on a node that no devpts has: nobody knows which pair is meant.
pub struct StrayTerminal;

impl Device for StrayTerminal {
    fn open(&self, _path: &Path, _flags: OpenFlags, _env: &VfsEnv) -> Result<Arc<dyn File>> {
        Err(Errno::EIO)
    }
}

/// Registers the terminal devices; the result is `/dev/console`.
pub fn register_devices(devices: &DeviceRegistry) -> Arc<Console> {
    let console = Arc::new(Console::default());
    devices.register(DeviceKind::Char, AUX_MAJOR, TTY_MINOR, Arc::new(CurrentTerminal));
    devices.register(
        DeviceKind::Char,
        AUX_MAJOR,
        CONSOLE_MINOR,
        Arc::clone(&console) as Arc<dyn Device>,
    );
    devices.register(DeviceKind::Char, AUX_MAJOR, PTMX_MINOR, Arc::new(PtmxDevice));
    for major in SLAVE_MAJORS {
        devices.register_major(DeviceKind::Char, major, Arc::new(StrayTerminal));
    }
    console
}
