//! Being in another network namespace for a moment. The command has one thread, which comes back whatever happens.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Context as _, Result};

/// This thread's own namespace.
pub(super) const OWN: &str = "/proc/thread-self/ns/net";
/// That of the first process.
const FIRST: &str = "/proc/1/ns/net";

/// Opens a network namespace.
pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).context(|| format!("cannot open the network namespace {}", path.display()))
}

/// Enters a network namespace for good.
pub(super) fn enter(namespace: &File) -> Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context(|| "cannot enter a network namespace (CAP_SYS_ADMIN over it is needed)")
}

/// Whether it is this machine's: the one that the command is in, or the first process.
pub(super) fn is_hosts(namespace: &File) -> Result<bool> {
    let identity = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
    let other = identity(namespace).context(|| "cannot look at a network namespace")?;
    // Without privileges the first process's cannot be seen, nor be taken over.
    let hosts = [OWN, FIRST].into_iter().filter_map(|path| identity(&File::open(path).ok()?).ok());
    Ok(hosts.into_iter().any(|host| host == other))
}

/// Does something in a network namespace and comes back.
pub(super) fn inside<T>(namespace: &File, work: impl FnOnce() -> T) -> Result<T> {
    let own = open(Path::new(OWN))?;
    enter(namespace)?;
    let result = work();
    enter(&own)?;
    Ok(result)
}
