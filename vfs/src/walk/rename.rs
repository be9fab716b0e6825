//! `rename(2)`.

use std::sync::Arc;

use chitin_abi::fs::{NAME_MAX, RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, W_OK, X_OK};
use chitin_abi::{Errno, Result};

use super::Walk;
use super::resolve::{Component, Last, Parent, Resolver};
use crate::dentry::{Dentry, Name};
use crate::path::Path;
use crate::permission;

/// What a rename has found out under the locks.
struct Found {
    old: Arc<Dentry>,
    new: Option<Arc<Dentry>>,
}

fn named(parent: &Parent, otherwise: Errno) -> Result<&Component> {
    match &parent.last {
        Last::Name(name) if name.len() <= NAME_MAX => Ok(name),
        Last::Name(_) => Err(Errno::ENAMETOOLONG),
        _ => Err(otherwise),
    }
}

/// Runs `change` with both directories locked: ancestors first, else by address.
fn with_locks<T>(
    first: &Arc<Dentry>,
    second: &Arc<Dentry>,
    change: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if Arc::ptr_eq(first, second) {
        let _one = first.lock_dir();
        return change();
    }
    let _moves = first.cache().rename.lock();
    let first_is_outer = if second.is_below(first) {
        true
    } else if first.is_below(second) {
        false
    } else {
        Arc::as_ptr(first).addr() < Arc::as_ptr(second).addr()
    };
    let (outer, inner) = if first_is_outer { (first, second) } else { (second, first) };
    let _outer = outer.lock_dir();
    let _inner = inner.lock_dir();
    change()
}

impl Walk<'_> {
    pub(super) fn do_rename(
        &self,
        old: &[u8],
        new: &Walk<'_>,
        new_path: &[u8],
        flags: u32,
    ) -> Result<()> {
        if flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) != 0
            || (flags & RENAME_EXCHANGE != 0 && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT) != 0)
        {
            return Err(Errno::EINVAL);
        }
        let from = Resolver::new(self, old)?.parent()?;
        let to = Resolver::new(new, new_path)?.parent()?;
        if !Arc::ptr_eq(from.dir.mount(), to.dir.mount()) {
            return Err(Errno::EXDEV);
        }
        let old_name = named(&from, Errno::EBUSY)?;
        let taken = if flags & RENAME_NOREPLACE != 0 { Errno::EEXIST } else { Errno::EBUSY };
        let new_name = named(&to, taken)?;
        from.dir.mount().check_writable()?;
        let found = with_locks(from.dir.dentry(), to.dir.dentry(), || {
            let found = self.find(&from, old_name, &to, new_name, flags)?;
            if self.is_same_file(&found) {
                return Ok(None);
            }
            self.check(&from.dir, &to.dir, &found, flags)?;
            self.carry_out(&from.dir, &to.dir, &found, old_name, new_name, flags)?;
            Ok(Some(found))
        })?;
        if let Some(found) = found {
            self.tell(&from.dir, &to.dir, &found, old_name, new_name, flags);
        }
        Ok(())
    }

    fn find(
        &self,
        from: &Parent,
        old_name: &[u8],
        to: &Parent,
        new_name: &[u8],
        flags: u32,
    ) -> Result<Found> {
        let old = from.dir.dentry().lookup_locked(old_name)?;
        let new = match to.dir.dentry().lookup_locked(new_name) {
            Ok(new) => Some(new),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        if flags & RENAME_NOREPLACE != 0 && new.is_some() {
            return Err(Errno::EEXIST);
        }
        let exchange = flags & RENAME_EXCHANGE != 0;
        if exchange {
            let Some(new) = &new else { return Err(Errno::ENOENT) };
            if !new.is_dir() && to.trailing {
                return Err(Errno::ENOTDIR);
            }
        }
        if !old.is_dir() && (from.trailing || (!exchange && to.trailing)) {
            return Err(Errno::ENOTDIR);
        }
        if old.is_dir() && to.dir.dentry().is_below(&old) {
            return Err(Errno::EINVAL);
        }
        if let Some(new) = &new
            && new.is_dir()
            && from.dir.dentry().is_below(new)
        {
            return Err(if exchange { Errno::EINVAL } else { Errno::ENOTEMPTY });
        }
        Ok(Found { old, new })
    }

    /// Two names of one file: rename does nothing.
    fn is_same_file(&self, found: &Found) -> bool {
        found.new.as_ref().is_some_and(|new| {
            Arc::ptr_eq(new, &found.old)
                || core::ptr::addr_eq(new.inode().state(), found.old.inode().state())
        })
    }

    fn check(&self, from: &Path, to: &Path, found: &Found, flags: u32) -> Result<()> {
        let exchange = flags & RENAME_EXCHANGE != 0;
        let is_dir = found.old.is_dir();
        self.may_delete(from, &found.old, is_dir)?;
        match &found.new {
            Some(new) => self.may_delete(to, new, if exchange { new.is_dir() } else { is_dir })?,
            None => {
                if to.dentry().is_unlinked() {
                    return Err(Errno::ENOENT);
                }
                permission::check_dentry(to.dentry(), W_OK | X_OK, self.cred, self.env)?;
            }
        }
        if !Arc::ptr_eq(from.dentry(), to.dentry()) {
            // A directory that gets another parent is written to: its `..` changes.
            let exchanged = found.new.as_ref().filter(|_| exchange);
            for moved in
                [Some(&found.old), exchanged].into_iter().flatten().filter(|moved| moved.is_dir())
            {
                permission::check_dentry(moved, W_OK, self.cred, self.env)?;
            }
        }
        Self::check_not_mounted(from, &found.old)?;
        found.new.as_ref().map_or(Ok(()), |new| Self::check_not_mounted(to, new))
    }

    fn carry_out(
        &self,
        from: &Path,
        to: &Path,
        found: &Found,
        old_name: &[u8],
        new_name: &[u8],
        flags: u32,
    ) -> Result<()> {
        let target = to.dentry().inode();
        let replaced = found.new.as_ref().filter(|_| flags & RENAME_EXCHANGE == 0);
        // Nobody may make an entry in a directory that goes.
        let _empty = replaced.filter(|new| new.is_dir()).map(|new| new.lock_dir());
        from.dentry().inode().rename(old_name, target, new_name, flags)?;
        match (&found.new, flags & RENAME_EXCHANGE != 0) {
            (Some(new), true) => found.old.exchanged(new),
            (replaced, _) => {
                if let Some(new) = replaced {
                    new.unlinked();
                }
                let name: Name = Arc::from(new_name);
                found.old.moved(to.dentry(), &name);
                if flags & RENAME_WHITEOUT != 0 {
                    from.dentry().forget(old_name);
                }
            }
        }
        Ok(())
    }

    fn tell(
        &self,
        from: &Path,
        to: &Path,
        found: &Found,
        old_name: &[u8],
        new_name: &[u8],
        flags: u32,
    ) {
        crate::notify::moved(
            (from.dentry(), old_name),
            (to.dentry(), new_name),
            &found.old,
            self.env.pid,
        );
        let Some(new) = &found.new else { return };
        if flags & RENAME_EXCHANGE != 0 {
            crate::notify::moved(
                (to.dentry(), new_name),
                (from.dentry(), old_name),
                new,
                self.env.pid,
            );
        } else {
            from.mount().system().detach_all(new);
            crate::notify::link_count(new, self.env.pid);
        }
    }
}
