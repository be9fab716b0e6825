//! Which user and group ids mean what in the sandbox.
//!
//! The sentry runs in a user namespace of its own. Its id maps are such that the ids that it sees are the ids
//! of the container: whatever `stat` says of a file's owner needs no translation.

use std::fs;

use oci_spec::runtime::{LinuxIdMapping, Spec};

use crate::error::Result;
use crate::fail;

/// A range of ids: `inner` and on in the sandbox are `outer` and on here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) inner: u32,
    pub(crate) outer: u32,
    pub(crate) count: u32,
}

/// The maps of the sentry's user namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdMaps {
    pub(crate) users: Vec<Range>,
    pub(crate) groups: Vec<Range>,
    /// The ids that the sentry runs with, inside.
    pub(crate) uid: u32,
    /// See `uid`.
    pub(crate) gid: u32,
    /// Whether the process that makes the namespace may only map itself: its own id, and no `setgroups`.
    pub(crate) unprivileged: bool,
}

impl IdMaps {
    /// The maps for a container: those that its configuration asks for, or the identity.
    pub(crate) fn of(spec: &Spec) -> Result<Self> {
        let linux = spec.linux().as_ref();
        let users =
            linux.and_then(|linux| linux.uid_mappings().as_ref()).filter(|list| !list.is_empty());
        let groups =
            linux.and_then(|linux| linux.gid_mappings().as_ref()).filter(|list| !list.is_empty());
        let Some(users) = users else { return Ok(Self::identity()) };
        let (users, groups) = (ranges(users), ranges(groups.unwrap_or(&Vec::new())));
        if !users.iter().any(|range| range.inner == 0)
            || !groups.iter().any(|range| range.inner == 0)
        {
            return fail!(
                "fields linux.uidMappings and linux.gidMappings must both map id 0 of the container"
            );
        }
        let unprivileged = !privileged();
        Ok(Self { users, groups, uid: 0, gid: 0, unprivileged })
    }

    /// Every id that is mapped here keeps its number; where only one's own can be mapped, that one does.
    pub(crate) fn identity() -> Self {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        if privileged() {
            let (users, groups) = (mapped("/proc/self/uid_map"), mapped("/proc/self/gid_map"));
            return Self { users, groups, uid, gid, unprivileged: false };
        }
        let own = |id| vec![Range { inner: id, outer: id, count: 1 }];
        Self { users: own(uid), groups: own(gid), uid, gid, unprivileged: true }
    }
}

/// Whether this process may write maps of more than its own id.
fn privileged() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}

fn ranges(mappings: &[LinuxIdMapping]) -> Vec<Range> {
    let range = |mapping: &LinuxIdMapping| Range {
        inner: mapping.container_id(),
        outer: mapping.host_id(),
        count: mapping.size(),
    };
    mappings.iter().map(range).collect()
}

/// The ids of this namespace, each mapped to itself.
fn mapped(path: &str) -> Vec<Range> {
    let text = fs::read_to_string(path).unwrap_or_default();
    parse(&text).into_iter().map(|(inner, count)| Range { inner, outer: inner, count }).collect()
}

fn parse(text: &str) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.split_ascii_whitespace().map(str::parse::<u32>);
        let inner = fields.next()?.ok()?;
        Some((inner, fields.nth(1)?.ok()?))
    };
    text.lines().filter_map(range).collect()
}

/// The text of an id map file.
pub(crate) fn render(ranges: &[Range]) -> String {
    ranges
        .iter()
        .map(|range| format!("{} {} {}\n", range.inner, range.outer, range.count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_the_namespace_are_kept() {
        assert_eq!(parse("         0          0 4294967295\n"), [(0, u32::MAX)]);
        assert_eq!(parse("0 1000 1\n1 100000 65536\n"), [(0, 1), (1, 65536)]);
        assert_eq!(render(&[Range { inner: 0, outer: 1000, count: 1 }]), "0 1000 1\n");
    }
}
