//! User namespaces: which ids of the initial namespace a group of tasks sees, and under which numbers
//! (`user_namespaces(7)`).
//!
//! Maps are kept as ranges of kernel ids (those of the initial namespace), resolved through the parent when
//! they are written, so that a translation looks at one namespace only.

use std::sync::{Arc, OnceLock};

use chitin_abi::process::{CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN};
use chitin_abi::{Errno, Result};
use parking_lot::Mutex;

use super::initial_id;
use crate::cred::Credentials;

/// What an id without a number in a namespace is shown as.
pub const OVERFLOW_ID: u32 = 65534;
/// How deep namespaces may be nested.
const MAX_LEVEL: u32 = 32;
const MAX_EXTENTS: usize = 340;

/// A range of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first id inside.
    pub inside: u32,
    /// The first id in the parent namespace, as it was written.
    pub outside: u32,
    /// The first kernel id.
    pub kernel: u32,
    /// How many.
    pub count: u32,
}

/// The two kinds of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// Users.
    User,
    /// Groups.
    Group,
}

/// A user namespace.
pub struct UserNamespace {
    /// Inode number in /proc/pid/ns.
    pub id: u64,
    parent: Option<Arc<UserNamespace>>,
    level: u32,
    owner: u32,
    owner_group: u32,
    uid_map: OnceLock<Vec<Extent>>,
    gid_map: OnceLock<Vec<Extent>>,
    setgroups_denied: Mutex<bool>,
}

impl UserNamespace {
    /// The initial one: every id is itself.
    pub fn initial() -> Arc<Self> {
        let all = vec![Extent { inside: 0, outside: 0, kernel: 0, count: u32::MAX }];
        Arc::new(Self {
            id: initial_id::USER,
            parent: None,
            level: 0,
            owner: 0,
            owner_group: 0,
            uid_map: OnceLock::from(all.clone()),
            gid_map: OnceLock::from(all),
            setgroups_denied: Mutex::new(false),
        })
    }

    /// A namespace below that of `creator`, without maps.
    ///
    /// # Errors
    /// ENOSPC when nested too deeply, EPERM when the creator's ids have no number in its own namespace.
    pub fn new(creator: &Credentials, id: u64) -> Result<Arc<Self>> {
        let parent = &creator.user_ns;
        if parent.level >= MAX_LEVEL {
            return Err(Errno::ENOSPC);
        }
        if !parent.knows_uid(creator.euid) || !parent.knows_gid(creator.egid) {
            return Err(Errno::EPERM);
        }
        Ok(Arc::new(Self {
            id,
            parent: Some(Arc::clone(parent)),
            level: parent.level + 1,
            owner: creator.euid,
            owner_group: creator.egid,
            uid_map: OnceLock::new(),
            gid_map: OnceLock::new(),
            setgroups_denied: Mutex::new(*parent.setgroups_denied.lock()),
        }))
    }

    /// The namespace that it was made in; `None` for the initial one.
    pub fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// Whether it is the initial one.
    pub fn is_initial(&self) -> bool {
        self.parent.is_none()
    }

    /// The user (kernel id) that made it.
    pub fn owner(&self) -> u32 {
        self.owner
    }

    /// Whether it is `ancestor` or below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        let mut at = Some(self);
        while let Some(ns) = at {
            if core::ptr::eq(ns, ancestor) {
                return true;
            }
            at = ns.parent.as_deref();
        }
        false
    }

    fn extents(&self, kind: IdKind) -> &[Extent] {
        let map = if kind == IdKind::User { &self.uid_map } else { &self.gid_map };
        map.get().map_or(&[], Vec::as_slice)
    }

    /// The kernel id of an id in this namespace.
    pub fn to_kernel(&self, kind: IdKind, id: u32) -> Option<u32> {
        self.extents(kind).iter().find_map(|extent| {
            let offset = id.checked_sub(extent.inside)?;
            if offset < extent.count { extent.kernel.checked_add(offset) } else { None }
        })
    }

    /// The number of a kernel id in this namespace.
    pub fn from_kernel(&self, kind: IdKind, kernel: u32) -> Option<u32> {
        self.extents(kind).iter().find_map(|extent| {
            let offset = kernel.checked_sub(extent.kernel)?;
            if offset < extent.count { extent.inside.checked_add(offset) } else { None }
        })
    }

    /// The kernel id of a user id; `None` for one that has none here (and for -1).
    pub fn uid(&self, uid: u32) -> Option<u32> {
        self.to_kernel(IdKind::User, uid)
    }

    /// The kernel id of a group id.
    pub fn gid(&self, gid: u32) -> Option<u32> {
        self.to_kernel(IdKind::Group, gid)
    }

    /// A user id as it is shown here.
    pub fn show_uid(&self, kuid: u32) -> u32 {
        self.from_kernel(IdKind::User, kuid).unwrap_or(OVERFLOW_ID)
    }

    /// A group id as it is shown here.
    pub fn show_gid(&self, kgid: u32) -> u32 {
        self.from_kernel(IdKind::Group, kgid).unwrap_or(OVERFLOW_ID)
    }

    /// Whether a user has a number here.
    pub fn knows_uid(&self, kuid: u32) -> bool {
        self.from_kernel(IdKind::User, kuid).is_some()
    }

    /// Whether a group has a number here.
    pub fn knows_gid(&self, kgid: u32) -> bool {
        self.from_kernel(IdKind::Group, kgid).is_some()
    }

    /// The kernel id of user 0.
    pub fn root_uid(&self) -> Option<u32> {
        self.uid(0)
    }

    /// Whether `setgroups(2)` may be called: a group map is written and the call is not denied.
    pub fn allows_setgroups(&self) -> bool {
        self.gid_map.get().is_some() && !*self.setgroups_denied.lock()
    }

    /// Whether /proc/pid/setgroups says `deny`.
    pub fn setgroups_denied(&self) -> bool {
        *self.setgroups_denied.lock()
    }

    /// A write to /proc/pid/setgroups.
    ///
    /// # Errors
    /// EINVAL, EPERM.
    pub fn write_setgroups(&self, text: &[u8]) -> Result<()> {
        let mut denied = self.setgroups_denied.lock();
        match text.trim_ascii_end() {
            b"deny" if self.gid_map.get().is_none() => *denied = true,
            b"deny" if *denied => {}
            b"allow" if !*denied => {}
            b"allow" | b"deny" => return Err(Errno::EPERM),
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// What /proc/pid/uid_map and gid_map show to a reader in namespace `viewer`.
    pub fn map_text(&self, kind: IdKind, viewer: &Self) -> String {
        let target = if core::ptr::eq(self, viewer) {
            self.parent.as_deref().unwrap_or(self)
        } else {
            viewer
        };
        let lines = self.extents(kind).iter().map(|extent| {
            let outside = target.from_kernel(kind, extent.kernel).unwrap_or(u32::MAX);
            format!("{:>10} {:>10} {:>10}\n", extent.inside, outside, extent.count)
        });
        lines.collect()
    }

    /// A write to /proc/pid/uid_map or gid_map by a task with these credentials.
    ///
    /// # Errors
    /// EINVAL for a bad map, EPERM where the writer may not, or it has been written before.
    pub fn write_map(&self, kind: IdKind, writer: &Credentials, text: &[u8]) -> Result<()> {
        let parent = self.parent.as_ref().ok_or(Errno::EPERM)?;
        let map = if kind == IdKind::User { &self.uid_map } else { &self.gid_map };
        if map.get().is_some() {
            return Err(Errno::EPERM);
        }
        let mut extents = parse_map(text)?;
        self.check_writer(kind, writer, parent, &extents)?;
        for extent in &mut extents {
            let last = extent.outside.checked_add(extent.count - 1).ok_or(Errno::EINVAL)?;
            let first = parent.to_kernel(kind, extent.outside).ok_or(Errno::EPERM)?;
            // A range must lie within one range of the parent.
            let ends = parent.to_kernel(kind, last).ok_or(Errno::EPERM)?;
            if ends.checked_sub(first) != Some(extent.count - 1) {
                return Err(Errno::EPERM);
            }
            extent.kernel = first;
        }
        map.set(extents).map_err(|_| Errno::EPERM)
    }

    fn check_writer(
        &self,
        kind: IdKind,
        writer: &Credentials,
        parent: &Arc<Self>,
        extents: &[Extent],
    ) -> Result<()> {
        let inside = writer.user_ns.is_within(self);
        let from_parent = Arc::ptr_eq(&writer.user_ns, parent);
        if !inside && !from_parent {
            return Err(Errno::EPERM);
        }
        if let ([only], true) = (extents, writer.euid == self.owner)
            && only.count == 1
        {
            let kernel = parent.to_kernel(kind, only.outside);
            match kind {
                IdKind::User if kernel == Some(writer.euid) => return Ok(()),
                IdKind::Group
                    if kernel == Some(writer.egid)
                        && (self.setgroups_denied() || self.owner_group_root(writer, parent)) =>
                {
                    return Ok(());
                }
                _ => {}
            }
        }
        let needed = if kind == IdKind::User { CAP_SETUID } else { CAP_SETGID };
        let over_parent = writer.capable(parent, needed);
        let over_self =
            from_parent && writer.has(CAP_SYS_ADMIN) || inside && writer.has(CAP_SYS_ADMIN);
        if over_parent && over_self { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn owner_group_root(&self, writer: &Credentials, parent: &Arc<Self>) -> bool {
        let _ = self.owner_group;
        writer.capable(parent, CAP_SETGID)
    }
}

fn parse_map(text: &[u8]) -> Result<Vec<Extent>> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let mut extents: Vec<Extent> = Vec::new();
    for line in text.lines() {
        let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
        let mut next = || numbers.next().and_then(core::result::Result::ok).ok_or(Errno::EINVAL);
        let (inside, outside, count) = (next()?, next()?, next()?);
        if line.split_ascii_whitespace().count() != 3 || count == 0 || extents.len() >= MAX_EXTENTS
        {
            return Err(Errno::EINVAL);
        }
        let (Some(inside_end), Some(outside_end)) =
            (inside.checked_add(count), outside.checked_add(count))
        else {
            return Err(Errno::EINVAL);
        };
        let overlaps = extents.iter().any(|other| {
            (inside < other.inside.saturating_add(other.count) && other.inside < inside_end)
                || (outside < other.outside.saturating_add(other.count)
                    && other.outside < outside_end)
        });
        if overlaps {
            return Err(Errno::EINVAL);
        }
        extents.push(Extent { inside, outside, kernel: outside, count });
    }
    if extents.is_empty() { Err(Errno::EINVAL) } else { Ok(extents) }
}

#[cfg(test)]
mod tests {
    use super::{Credentials, Errno, IdKind, UserNamespace};
    use crate::cred::ids::set_uid;

    #[test]
    fn a_user_maps_itself_to_root() {
        let user = set_uid(&Credentials::root(UserNamespace::initial()), 1000).expect("root may");
        let ns = UserNamespace::new(&user, 1).expect("allowed");
        let inside = Credentials { user_ns: ns.clone(), ..user.clone() };
        assert_eq!(ns.write_map(IdKind::User, &inside, b"0 0 1\n"), Err(Errno::EPERM));
        assert_eq!(ns.write_map(IdKind::User, &inside, b"0 1000 2\n"), Err(Errno::EPERM));
        ns.write_map(IdKind::User, &inside, b"0 1000 1\n").expect("its own id");
        assert_eq!((ns.show_uid(1000), ns.show_uid(0), ns.uid(0)), (0, 65534, Some(1000)));
        assert_eq!(ns.write_map(IdKind::User, &inside, b"0 1000 1\n"), Err(Errno::EPERM));
        assert!(ns.write_map(IdKind::Group, &inside, b"0 0 1\n").is_err());
        ns.write_setgroups(b"deny\n").expect("before the map");
        ns.write_map(IdKind::Group, &inside, b"0 0 1\n").expect("its own group");
        assert!(!ns.allows_setgroups());
    }
}
