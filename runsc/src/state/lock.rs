//! Locks: of a container's directory, and of what all commands share.

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
    file: File,
}

impl Lock {
    /// Waits for the lock of a container's directory.
    pub(super) fn take(directory: &Path) -> Result<Self> {
        let path = directory.join("lock");
        let deleted = || fail!("the container in {} was deleted meanwhile", directory.display());
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return deleted(),
            Err(error) => return Err(error).context(|| format!("cannot open {}", path.display())),
        };
        let lock = Self::wait_for(file, &path)?;
        // Whoever held it before may have deleted the container.
        if lock.file.metadata().map_or(0, |metadata| metadata.nlink()) == 0 {
            return deleted();
        }
        Ok(lock)
    }

    /// Waits for the lock of a file that nobody removes, and makes the file if it is not there.
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let file = open(path).context(|| format!("cannot open {}", path.display()))?;
        Self::wait_for(file, path)
    }

    fn wait_for(file: File, path: &Path) -> Result<Self> {
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.context(|| format!("cannot lock {}", path.display()))?,
            }
        }
        Ok(Self { file })
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}
