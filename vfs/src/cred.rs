//! Who asks: the credentials that permission checks look at.

use std::sync::Arc;

/// A set of capabilities, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// Whether the capability of this number (`CAP_…`) is in the set.
    pub const fn has(self, number: u32) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }
}

/// The file-system identity of a caller.
#[derive(Clone, Debug, Default)]
pub struct Cred {
    /// File-system user id (or the real one for `access(2)`).
    pub uid: u32,
    /// File-system group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Arc<[u32]>,
    /// Effective capabilities in the file system's user namespace.
    pub caps: Capabilities,
}

impl Cred {
    /// The superuser with all capabilities.
    pub fn root() -> Self {
        Self { uid: 0, gid: 0, groups: Arc::from([]), caps: Capabilities(u64::MAX) }
    }

    /// Whether the caller is in the group.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}
