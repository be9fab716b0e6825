//! The parent's side: what a sandbox is made of, how its processes come to be, and what an attached command does
//! until the container ends.
//!
//! ```text
//!  runsc ──fork(new user, pid, mount, ipc, uts, cgroup namespaces)──▶ sentry (process 1 of its pid namespace)
//!    │  ◀───────── status pipe: ready | failed | exited ─────────────   │
//!    │  ─────────── control connection: signal, resize ────────────▶   ▼
//!    └─ waits, forwards signals, relays the terminal                  stubs
//! ```
//!
//! The sentry is forked, not executed: it starts with everything in memory. Until then the command is
//! single-threaded. All stubs are in the sentry's pid namespace, so that its end is theirs.
//!
//! Costs of a start: one `clone`, two id maps, one `open_tree` per mount source, four small writes.

pub(crate) mod attached;
pub(crate) mod container;
pub(crate) mod launch;
pub(crate) mod options;
pub(crate) mod sources;
pub(crate) mod status;
pub(crate) mod terminal;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use chitin_vfs::fs::host::CachePolicy;

use crate::oci::identity::IdMaps;
use crate::oci::{mounts, process, seccomp};

/// Everything that a sandbox is made of.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) options: options::Options,
    pub(crate) maps: IdMaps,
    pub(crate) root: RootPlan,
    pub(crate) mounts: Vec<mounts::Plan>,
    /// Whether `/dev` has to be filled with the usual devices after the mounts are made.
    pub(crate) devices: Vec<DevicePlan>,
    pub(crate) network: crate::network::Wanted,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) process: process::Plan,
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    pub(crate) sysctl: Vec<(String, String)>,
    pub(crate) seccomp: Option<Vec<seccomp::Instruction>>,
    /// Whether the first process ends by signals like any other, as a program does that a shell starts.
    pub(crate) mortal: bool,
}

/// The root filesystem.
#[derive(Debug)]
pub(crate) struct RootPlan {
    /// Its directory on the host, or an image.
    pub(crate) source: PathBuf,
    /// Whether it is an EROFS image.
    pub(crate) image: bool,
    /// Whether the container sees it read-only.
    pub(crate) read_only: bool,
    /// Whether what the container writes stays in memory.
    pub(crate) overlay: bool,
}

impl Plan {
    /// How the files of the root, unless it is an image, and of the bind mounts are used: whether they are read-only, and
    /// who else changes them.
    pub(crate) fn host_files(&self) -> Vec<(bool, CachePolicy)> {
        let root = &self.root;
        let cache = self.options.file_access.policy();
        let own = (!root.image).then_some((root.overlay || root.read_only, cache));
        let binds = self.mounts.iter().filter(|mount| mount.is_bind()).map(|mount| {
            let cache = mount.cache.unwrap_or(self.options.file_access_mounts);
            (mount.flags.read_only, cache.policy())
        });
        own.into_iter().chain(binds).collect()
    }
}

/// A device node of `linux.devices`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DevicePlan {
    pub(crate) path: PathBuf,
    /// `S_IFCHR`, `S_IFBLK` or `S_IFIFO` and permission bits.
    pub(crate) mode: u32,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Descriptors that the sentry is born with.
#[derive(Debug)]
pub(crate) struct Endowment {
    /// Standard input, output and error of the first process; `None` where it gets the container's terminal.
    pub(crate) stdio: [Option<OwnedFd>; 3],
    /// Descriptors 3 and on of the first process.
    pub(crate) extra: Vec<OwnedFd>,
    /// The other side of the container's terminal.
    pub(crate) console: Option<Console>,
    /// Where commands connect.
    pub(crate) listener: Option<UnixListener>,
    /// A connection to the command that made the sandbox.
    pub(crate) control: Option<UnixStream>,
    /// Interfaces that it takes over; filled in when it is launched.
    pub(crate) network: crate::network::Network,
    /// Where the exit code is left.
    pub(crate) exit_file: Option<File>,
}

/// What a terminal of the container is connected to.
#[derive(Debug)]
pub(crate) enum Console {
    /// A stream of bytes; its size comes by requests.
    Stream(OwnedFd),
    /// The replica of a terminal of the host, which tells its size by itself.
    Terminal(OwnedFd),
}
