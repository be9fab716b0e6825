//! What a container and a process of it are started with.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::process::Rlimit;
use chitin_vfs::file::OpenFile;
use chitin_vfs::namespace::MountNamespace;

use crate::cred::CapSet;
use crate::limits::bpf::Program;
use crate::namespace::NetNamespace;

/// A container.
pub struct ContainerSpec {
    /// Its mounts, everything mounted.
    pub mounts: Arc<MountNamespace>,
    /// Its host name.
    pub hostname: Vec<u8>,
    /// Its NIS domain name; empty for none.
    pub domainname: Vec<u8>,
    /// Its network; `None` for a loopback interface and nothing else.
    pub network: Option<Arc<NetNamespace>>,
    /// Its first process.
    pub process: ProcessSpec,
}

/// A process.
pub struct ProcessSpec {
    /// The program and its arguments. A program without a slash is looked up in `PATH` of `env`.
    pub args: Vec<Vec<u8>>,
    /// Environment: `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// Working directory; made if it is missing.
    pub cwd: Vec<u8>,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// File mode creation mask.
    pub umask: u32,
    /// Capabilities.
    pub capabilities: CapabilitySets,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privs: bool,
    /// Resource limits that differ from the defaults.
    pub rlimits: Vec<(u32, Rlimit)>,
    /// Open files by descriptor.
    pub files: Vec<(i32, Arc<OpenFile>)>,
    /// The controlling terminal, which is also among `files`: what `Caller::terminal` gives.
    pub terminal: Option<Arc<dyn Any + Send + Sync>>,
    /// Seccomp filters, the first applied first.
    pub seccomp: Vec<Program>,
    /// `oom_score_adj`.
    pub oom_score_adj: i32,
    /// `personality(2)`.
    pub personality: u32,
    /// Whether the first process of a container ignores signals that it has no handler for, as process 1 does on
    /// Linux. False makes it as mortal as any program that a shell starts.
    pub immune: bool,
}

/// The five sets of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// Bounding.
    pub bounding: CapSet,
    /// Effective.
    pub effective: CapSet,
    /// Inheritable.
    pub inheritable: CapSet,
    /// Permitted.
    pub permitted: CapSet,
    /// Ambient.
    pub ambient: CapSet,
}

impl CapabilitySets {
    /// All of them, as the superuser of a host has them.
    pub fn all() -> Self {
        Self {
            bounding: CapSet::ALL,
            effective: CapSet::ALL,
            inheritable: CapSet::EMPTY,
            permitted: CapSet::ALL,
            ambient: CapSet::EMPTY,
        }
    }
}

impl Default for ProcessSpec {
    /// A process of the superuser in `/` without arguments or files.
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            cwd: b"/".to_vec(),
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            umask: 0o022,
            capabilities: CapabilitySets::all(),
            no_new_privs: false,
            rlimits: Vec::new(),
            files: Vec::new(),
            terminal: None,
            seccomp: Vec::new(),
            oom_score_adj: 0,
            personality: 0,
            immune: true,
        }
    }
}
