//! Being in another network namespace for a moment. The command has one thread, which comes back whatever happens.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context as _, Result};

/// This thread's own namespace.
pub(super) const OWN: &str = "/proc/thread-self/ns/net";

/// Opens a network namespace.
pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).context(|| format!("cannot open the network namespace {}", path.display()))
}

/// Enters a network namespace for good.
pub(super) fn enter(namespace: &File) -> Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context(|| "cannot enter a network namespace (CAP_SYS_ADMIN over it is needed)")
}

/// Does something in a network namespace and comes back.
pub(crate) fn inside<T>(path: &Path, work: impl FnOnce() -> T) -> Result<T> {
    let (own, other) = (open(Path::new(OWN))?, open(path)?);
    enter(&other)?;
    let result = work();
    enter(&own)?;
    Ok(result)
}
