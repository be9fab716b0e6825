//! [`AclCache`]: what an inode remembers of its lists, where reading them costs a call of the host or a round trip.
//!
//! Locks: one leaf, never held while a list is read.

use chitin_abi::Result;
use parking_lot::Mutex;

use crate::acl::{Acl, AclKind};

#[derive(Default)]
struct Known {
    /// How often the lists were forgotten: one that was read before the last time is not remembered.
    age: u32,
    access: Option<Option<Acl>>,
    default: Option<Option<Acl>>,
}

impl Known {
    fn slot(&mut self, kind: AclKind) -> &mut Option<Option<Acl>> {
        match kind {
            AclKind::Access => &mut self.access,
            AclKind::Default => &mut self.default,
        }
    }
}

/// The lists of a file that nobody else changes.
#[derive(Default)]
pub(crate) struct AclCache {
    known: Mutex<Known>,
}

impl AclCache {
    /// The list of this kind, read if it is not known.
    pub fn get(
        &self,
        kind: AclKind,
        read: impl FnOnce() -> Result<Option<Acl>>,
    ) -> Result<Option<Acl>> {
        let mut known = self.known.lock();
        if let Some(list) = known.slot(kind) {
            return Ok(list.clone());
        }
        let age = known.age;
        drop(known);
        let list = read()?;
        let mut known = self.known.lock();
        if known.age == age {
            *known.slot(kind) = Some(list.clone());
        }
        Ok(list)
    }

    /// The lists, or the mode that they share bits with, have changed.
    pub fn forget(&self) {
        let mut known = self.known.lock();
        *known = Known { age: known.age.wrapping_add(1), ..Known::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_a_change_is_not_remembered() {
        let cache = AclCache::default();
        let read = || {
            cache.forget();
            Ok(None)
        };
        assert!(cache.get(AclKind::Access, read).unwrap().is_none());
        let mut asked = 0;
        for _ in 0..2 {
            let read = || {
                asked += 1;
                Ok(None)
            };
            cache.get(AclKind::Access, read).unwrap();
        }
        assert_eq!(asked, 1);
        cache.get(AclKind::Default, || Err(chitin_abi::Errno::EIO)).unwrap_err();
    }
}
