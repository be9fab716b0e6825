//! What `/proc` tells of terminals.

use core::any::Any;
use std::sync::Arc;

use chitin_vfs::tty::Pty;

/// Device number (as `tty_nr` shows it) and foreground process group (the kernel's number) of a controlling
/// terminal.
pub fn facts(terminal: &Arc<dyn Any + Send + Sync>) -> Option<(u32, Option<u32>)> {
    let pty = terminal.downcast_ref::<Pty>()?;
    let pgrp = pty.foreground().pgrp;
    Some((pty.slave_rdev() as u32, (pgrp != 0).then_some(pgrp)))
}
