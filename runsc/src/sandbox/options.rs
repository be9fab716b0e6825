//! Options of the sandbox itself.

use chitin_vfs::fs::host::CachePolicy;
use clap::ValueEnum;

/// `--platform`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlatformName {
    /// A process per address space, driven by seccomp
    #[default]
    Systrap,
}

/// `--patch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Patch {
    /// Call sites that are used often are rewritten
    #[default]
    On,
    /// Every system call traps
    Off,
}

/// `--network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Network {
    /// Nothing but what is inside
    None,
    /// The container's network namespace; for `do`, a link to this machine
    Sandbox,
    /// The host's network (not supported yet)
    Host,
}

/// `--file-access`, `--file-access-mounts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileAccess {
    /// Nobody else changes the files: names and attributes are remembered
    Exclusive,
    /// Changes by others are seen at once
    Shared,
}

impl FileAccess {
    /// The policy of the file system.
    pub(crate) fn policy(self) -> CachePolicy {
        match self {
            Self::Exclusive => CachePolicy::Exclusive,
            Self::Shared => CachePolicy::Shared,
        }
    }
}

/// What concerns the sandbox and not the container in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) platform: PlatformName,
    pub(crate) patch: Patch,
    /// `None` for the usual: the container's namespace if it has one that was prepared.
    pub(crate) network: Option<Network>,
    pub(crate) directfs: bool,
    pub(crate) file_access: FileAccess,
    pub(crate) file_access_mounts: FileAccess,
    pub(crate) strace: bool,
}

impl Options {
    /// Refuses what is not there yet.
    pub(crate) fn check(&self) -> crate::error::Result<()> {
        if self.network == Some(Network::Host) {
            return crate::fail!(
                "--network=host is not supported yet: leave it out, or use --network=sandbox"
            );
        }
        Ok(())
    }
}
