//! The lock of a container's directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::{Context as _, Result};
use crate::fail;

/// Held for as long as a command changes something; released when dropped, or by the end of the process.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of a container's directory.
    pub(super) fn take(directory: &Path) -> Result<Self> {
        let path = directory.join("lock");
        let open =
            || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = match open() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return fail!("the container in {} was deleted meanwhile", directory.display());
            }
            Err(error) => return Err(error).context(|| format!("cannot open {}", path.display())),
        };
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.context(|| format!("cannot lock {}", path.display()))?,
            }
        }
        // Whoever held it before may have deleted the container.
        if file.metadata().map_or(0, |metadata| metadata.nlink()) == 0 {
            return fail!("the container in {} was deleted meanwhile", directory.display());
        }
        Ok(Self { _file: file })
    }
}
