//! POSIX access-control lists (`acl(5)`).
//!
//! Model: a list is the value of an extended attribute (`system.posix_acl_access`, `system.posix_acl_default`) in the
//! form that programs give and get; file systems store that value, and [`Inode::acl`](crate::inode::Inode::acl)
//! reads it. An error of the storage refuses access, as on Linux. A list that says no more than nine mode bits can is
//! never stored: it becomes the mode. The mode's group bits of a file with a list show the list's mask, so that the
//! list matters only where they are not all clear.
//!
//! Cost: nothing for callers who own the file or override permissions. For others files of the host and served ones
//! pay the reading of the attribute, once per inode in a tree of our own ([`AclCache`](crate::acl_cache::AclCache)) and
//! each time in a shared one, those of an image the reading of all their attributes, and all others a virtual call.

use chitin_abi::fs::{S_IFLNK, XATTR_NAME_POSIX_ACL_ACCESS, XATTR_NAME_POSIX_ACL_DEFAULT};
use chitin_abi::{Errno, Result};

use crate::cred::Cred;
use crate::inode::AccessInfo;

/// The only version of the attribute's form.
const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;
/// The id of entries that have none.
const NO_ID: u32 = u32::MAX;

/// Which list of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclKind {
    /// Who may use the file.
    Access,
    /// What new files in the directory inherit.
    Default,
}

impl AclKind {
    /// The attribute that holds it.
    pub const fn name(self) -> &'static [u8] {
        match self {
            Self::Access => XATTR_NAME_POSIX_ACL_ACCESS.as_bytes(),
            Self::Default => XATTR_NAME_POSIX_ACL_DEFAULT.as_bytes(),
        }
    }

    /// The list that an attribute holds, if it is one of the two.
    pub fn of(name: &[u8]) -> Option<Self> {
        [Self::Access, Self::Default].into_iter().find(|kind| kind.name() == name)
    }
}

/// Whom an entry is about, in the order in which a list has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tag {
    Owner,
    User,
    OwningGroup,
    Group,
    Mask,
    Other,
}

impl Tag {
    const ALL: [(Self, u16); 6] = [
        (Self::Owner, 1),
        (Self::User, 2),
        (Self::OwningGroup, 4),
        (Self::Group, 8),
        (Self::Mask, 0x10),
        (Self::Other, 0x20),
    ];

    fn parse(value: u16) -> Result<Self> {
        let found = Self::ALL.iter().find(|(_, known)| *known == value);
        found.map(|(tag, _)| *tag).ok_or(Errno::EINVAL)
    }

    fn value(self) -> u16 {
        Self::ALL.iter().find(|(tag, _)| *tag == self).map_or(0, |(_, value)| *value)
    }

    fn has_id(self) -> bool {
        matches!(self, Self::User | Self::Group)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: Tag,
    /// Three bits.
    rights: u32,
    id: u32,
}

/// A list whose entries are in order and complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    entries: Vec<Entry>,
}

fn parse_entry(bytes: &[u8]) -> Result<Entry> {
    let [tag0, tag1, rights0, rights1, id @ ..] = bytes else { return Err(Errno::EINVAL) };
    let tag = Tag::parse(u16::from_le_bytes([*tag0, *tag1]))?;
    let rights = u32::from(u16::from_le_bytes([*rights0, *rights1]));
    let id = id.try_into().map(u32::from_le_bytes).map_err(|_| Errno::EINVAL)?;
    if rights > 7 {
        return Err(Errno::EINVAL);
    }
    Ok(Entry { tag, rights, id: if tag.has_id() { id } else { NO_ID } })
}

impl Acl {
    /// The list that an attribute's value means; `None` for one without entries.
    ///
    /// # Errors
    /// EINVAL for a value that is none or is incomplete or out of order or names nobody, EOPNOTSUPP for another version.
    pub fn parse(value: &[u8]) -> Result<Option<Self>> {
        let list = Self::stored(value)?;
        let nobody = |entry: &Entry| entry.tag.has_id() && entry.id == NO_ID;
        match list {
            Some(list) if list.entries.iter().any(nobody) => Err(Errno::EINVAL),
            list => Ok(list),
        }
    }

    /// The same for the value of a file. Entries may name nobody there: so the host shows those whose ids are not
    /// mapped into the sandbox. They match no caller, but the list with them is what limits the others.
    ///
    /// # Errors
    /// As [`Acl::parse`], but for names of nobody.
    pub fn stored(value: &[u8]) -> Result<Option<Self>> {
        let (header, rest) = value.split_first_chunk::<HEADER>().ok_or(Errno::EINVAL)?;
        if u32::from_le_bytes(*header) != VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        if rest.len() % ENTRY != 0 {
            return Err(Errno::EINVAL);
        }
        let entries = rest.chunks_exact(ENTRY).map(parse_entry).collect::<Result<Vec<_>>>()?;
        if entries.is_empty() {
            return Ok(None);
        }
        let acl = Self { entries };
        if acl.is_complete() { Ok(Some(acl)) } else { Err(Errno::EINVAL) }
    }

    /// The list that an attribute which was asked for means.
    ///
    /// # Errors
    /// Those of the storage but for having none, and as [`Acl::stored`].
    pub(crate) fn read(value: Result<Vec<u8>>) -> Result<Option<Self>> {
        match value {
            Ok(value) => Self::stored(&value),
            Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_complete(&self) -> bool {
        let count = |tag| self.entries.iter().filter(|entry| entry.tag == tag).count();
        let named = count(Tag::User) + count(Tag::Group) > 0;
        let masks = count(Tag::Mask);
        self.entries.is_sorted_by_key(|entry| entry.tag)
            && [Tag::Owner, Tag::OwningGroup, Tag::Other].into_iter().all(|tag| count(tag) == 1)
            && (masks == 1 || (masks == 0 && !named))
    }

    /// The attribute's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for entry in &self.entries {
            value.extend(entry.tag.value().to_le_bytes());
            value.extend((entry.rights as u16).to_le_bytes());
            value.extend(entry.id.to_le_bytes());
        }
        value
    }

    fn rights(&self, tag: Tag) -> Option<u32> {
        self.entries.iter().find(|entry| entry.tag == tag).map(|entry| entry.rights)
    }

    fn set_rights(&mut self, tag: Tag, rights: u32) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.tag == tag) {
            entry.rights = rights & 7;
        }
    }

    /// Whether the list lets somebody who does not own the file use it so.
    pub fn permits(&self, info: &AccessInfo, mask: u32, cred: &Cred) -> bool {
        let limit = self.rights(Tag::Mask).unwrap_or(7);
        let allows = |entry: &Entry, limit: u32| mask & !(entry.rights & limit) == 0;
        let user = self.entries.iter().find(|entry| entry.tag == Tag::User && entry.id == cred.uid);
        if let Some(user) = user {
            return allows(user, limit);
        }
        let mut matches = false;
        for entry in &self.entries {
            let member = match entry.tag {
                Tag::OwningGroup => cred.in_group(info.gid),
                Tag::Group => cred.in_group(entry.id),
                _ => false,
            };
            matches |= member;
            if member && mask & !entry.rights == 0 {
                return allows(entry, limit);
            }
        }
        let other = self.entries.iter().find(|entry| entry.tag == Tag::Other);
        !matches && other.is_some_and(|other| allows(other, 7))
    }

    /// The mode bits that show this list, and whether they say all of it.
    pub fn mode(&self) -> (u32, bool) {
        let rights = |tag| self.rights(tag).unwrap_or(0);
        let group = self.rights(Tag::Mask).unwrap_or_else(|| rights(Tag::OwningGroup));
        let mode = rights(Tag::Owner) << 6 | group << 3 | rights(Tag::Other);
        (mode, self.entries.len() == 3)
    }

    fn group_class(&self) -> Tag {
        if self.rights(Tag::Mask).is_some() { Tag::Mask } else { Tag::OwningGroup }
    }

    /// The list after `chmod`.
    pub fn with_mode(mut self, mode: u32) -> Self {
        self.set_rights(Tag::Owner, mode >> 6);
        self.set_rights(self.group_class(), mode >> 3);
        self.set_rights(Tag::Other, mode);
        self
    }

    /// What a new file with this mode inherits of the directory's default list: its list, unless the mode says all
    /// of it, and its mode.
    pub fn inherited(&self, mode: u32) -> (Option<Self>, u32) {
        let (own, _) = self.mode();
        let left = mode & own & 0o777;
        let list = self.clone().with_mode(left);
        let (_, exact) = list.mode();
        ((!exact).then_some(list), (mode & !0o777) | left)
    }

    /// Whether a file of this type can have a list.
    pub const fn fits(kind: u32) -> bool {
        kind != S_IFLNK
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Acl, AclKind};
    use crate::cred::Cred;
    use crate::inode::AccessInfo;

    /// A list's value from tags, rights and ids.
    pub(crate) fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = vec![2, 0, 0, 0];
        for (tag, rights, id) in entries {
            value.extend(tag.to_le_bytes());
            value.extend(rights.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    const NO: u32 = u32::MAX;

    #[test]
    fn values_survive() {
        let value = list(&[(1, 7, NO), (2, 5, 1000), (4, 5, NO), (0x10, 4, NO), (0x20, 0, NO)]);
        let acl = Acl::parse(&value).unwrap().unwrap();
        assert_eq!((acl.encode(), acl.mode()), (value, (0o740, false)));
        assert_eq!(AclKind::of(b"system.posix_acl_access"), Some(AclKind::Access));
    }

    #[test]
    fn incomplete_lists_are_refused() {
        for entries in [
            &[(1, 7, NO), (4, 7, NO)][..],
            &[(1, 7, NO), (1, 7, NO), (4, 7, NO), (0x20, 7, NO)],
            &[(1, 7, NO), (2, 7, 5), (4, 7, NO), (0x20, 7, NO)],
            &[(4, 7, NO), (1, 7, NO), (0x20, 7, NO)],
            &[(1, 8, NO), (4, 7, NO), (0x20, 7, NO)],
        ] {
            assert!(Acl::parse(&list(entries)).is_err(), "{entries:?}");
        }
        assert!(Acl::parse(&list(&[])).unwrap().is_none());
        assert!(Acl::parse(b"\x02\0\0").is_err());
    }

    #[test]
    fn entries_of_nobody_limit_others_and_match_none() {
        let value = list(&[(1, 7, NO), (2, 7, NO), (4, 0, NO), (0x10, 7, NO), (0x20, 0, NO)]);
        assert!(Acl::parse(&value).is_err());
        let acl = Acl::stored(&value).unwrap().unwrap();
        let info = AccessInfo { mode: 0o770, uid: 1, gid: 50 };
        let cred = |gid| Cred { uid: 5, gid, ..Cred::default() };
        assert!(!acl.permits(&info, 4, &cred(50)) && !acl.permits(&info, 4, &cred(6)));
    }

    #[test]
    fn new_files_get_what_mode_and_list_agree_on() {
        let value = list(&[(1, 7, NO), (2, 7, 9), (4, 5, NO), (0x10, 7, NO), (0x20, 5, NO)]);
        let acl = Acl::parse(&value).unwrap().unwrap();
        let (own, mode) = acl.inherited(0o100_640);
        assert_eq!(mode, 0o100_640);
        assert_eq!(own.unwrap().mode(), (0o640, false));
        let plain = Acl::parse(&list(&[(1, 7, NO), (4, 5, NO), (0x20, 1, NO)])).unwrap().unwrap();
        let (own, mode) = plain.inherited(0o777);
        assert!(own.is_none() && mode == 0o751);
    }

    #[test]
    fn mask_limits_users_and_groups_but_not_others() {
        let value = list(&[(1, 7, NO), (2, 7, 9), (4, 7, NO), (0x10, 4, NO), (0x20, 7, NO)]);
        let acl = Acl::parse(&value).unwrap().unwrap();
        let info = AccessInfo { mode: 0o747, uid: 1, gid: 50 };
        let cred = |uid| Cred { uid, gid: uid, ..Cred::default() };
        assert!(acl.permits(&info, 4, &cred(9)) && !acl.permits(&info, 2, &cred(9)));
        assert!(acl.permits(&info, 7, &cred(10)) && !acl.permits(&info, 2, &cred(50)));
    }
}
