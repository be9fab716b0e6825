//! overlay: a writable layer over read-only ones.

use std::sync::Arc;

use chitin_abi::{Errno, Result};

use crate::clock::{Clock, SystemClock};
use crate::inode::Inode;
use crate::super_block::SuperBlock;

/// Options of an instance.
#[derive(Clone)]
pub struct OverlayOptions {
    /// What /proc/mounts shows behind the generic options, with a leading comma.
    pub shown: String,
    /// Time of changes.
    pub clock: Arc<dyn Clock>,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        Self { shown: String::new(), clock: Arc::new(SystemClock) }
    }
}

/// The file system.
pub struct Overlay {}

impl Overlay {
    /// A merged tree of `lowers` (the first is the topmost) below `upper`, which takes the changes; read-only
    /// without one.
    ///
    /// # Errors
    /// EINVAL without a lower layer, ENOTDIR.
    pub fn new(
        upper: Option<Arc<dyn Inode>>,
        lowers: Vec<Arc<dyn Inode>>,
        options: OverlayOptions,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let _ = (upper, lowers, options);
        Err(Errno::ENOSYS)
    }
}
