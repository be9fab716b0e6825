//! Changes of a served tree: making, naming, renaming and removing files.
//!
//! What a change does to files that are in use (their place, their attributes) is found out in the same round trip:
//! the names are walked before they are changed. That walk also gives a file that loses its name a fid, by which
//! it stays usable.

use std::sync::Arc;

use chitin_abi::fs::{RENAME_EXCHANGE, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use chitin_abi::{Errno, Result};
use chitin_gofer_proto::client::Answer;
use chitin_gofer_proto::message::{List, Reply, Request, SetAttr, SetAttrMask, Text};

use super::convert;
use super::inode::{GoferInode, Place, component};
use super::session::{Answers, Fid, walked};
use crate::attr::NewFile;
use crate::fs::host::fd_cache::CachedFd;
use crate::fs::host::file::Regular as _;
use crate::inode::Inode;

/// The reply that must have come as the `index`th.
fn answer(answers: &Answers, index: usize) -> Result<&Answer> {
    answers.list.get(index).ok_or(Errno::EIO)
}

/// Takes a descriptor that came with a file that was just made.
fn keep_descriptor(inode: &GoferInode, answers: &mut Answers) {
    if let (S_IFREG, Some(fd)) = (inode.kind, answers.descriptors.claim()) {
        inode.remember(true, &CachedFd::new(fd));
    }
}

pub(super) fn make(
    dir: &GoferInode,
    name: &[u8],
    new: &NewFile,
    target: &[u8],
) -> Result<Arc<GoferInode>> {
    dir.fs.check_writable()?;
    let mode = if new.mode & S_IFMT == 0 { new.mode | S_IFREG } else { new.mode };
    let new = NewFile { mode, ..*new };
    dir.forget_listing();
    let result = if dir.fs.session.is_extended() {
        make_at_once(dir, name, &new, target)
    } else {
        make_in_steps(dir, name, &new, target)
    };
    dir.changed();
    result
}

fn make_at_once(
    dir: &GoferInode,
    name: &[u8],
    new: &NewFile,
    target: &[u8],
) -> Result<Arc<GoferInode>> {
    let fid = dir.fs.session.new_fid()?;
    let request = Request::Make {
        dir: dir.fid()?.number(),
        new_fid: fid.number(),
        name: component(name)?,
        file: convert::new_to_wire(new),
        target: Text(target),
    };
    let mut answers = dir.fs.session.exchange(&[request])?;
    let made = match answer(&answers, 0)?.reply() {
        Ok(Reply::Make { made, .. }) => made,
        Ok(_) => return Err(Errno::EIO),
        Err(error) => {
            fid.never_made();
            return Err(error);
        }
    };
    let inode = dir.child(name, &made.attr, Some(fid))?;
    keep_descriptor(&inode, &mut answers);
    Ok(inode)
}

/// The same with a server that only knows plain 9P2000.L, whose owner is whoever attached until it is changed.
fn make_in_steps(
    dir: &GoferInode,
    name: &[u8],
    new: &NewFile,
    target: &[u8],
) -> Result<Arc<GoferInode>> {
    let session = &dir.fs.session;
    let (fid, name, gid) = (dir.fid()?, component(name)?, new.gid);
    let (dir_fid, mode) = (fid.number(), new.mode & 0o7777);
    match new.mode & S_IFMT {
        S_IFDIR => session.order(&Request::MakeDir { dir: dir_fid, name, mode, gid })?,
        S_IFLNK => {
            session.order(&Request::Symlink { dir: dir_fid, name, target: Text(target), gid })?;
        }
        S_IFREG => {
            let copy = session.duplicate(dir_fid)?;
            let flags = chitin_abi::fs::OpenFlags::O_EXCL | chitin_abi::fs::OpenFlags::O_RDWR;
            let (fid, flags) = (copy.number(), flags.bits());
            session.order(&Request::Create { fid, name, flags, mode, gid })?;
        }
        _ => {
            let major = chitin_abi::fs::major(new.rdev);
            let minor = chitin_abi::fs::minor(new.rdev);
            session.order(&Request::MakeNode {
                dir: dir_fid,
                name,
                mode: new.mode,
                major,
                minor,
                gid,
            })?;
        }
    }
    let (fid, attr) = session.walk(dir_fid, name)?;
    if attr.uid != new.uid {
        let change = SetAttr { valid: SetAttrMask::UID, uid: new.uid, ..SetAttr::default() };
        session.order(&Request::SetAttr { fid: fid.number(), change })?;
    }
    let inode = dir.child(name.bytes(), &attr, Some(fid))?;
    inode.changed();
    Ok(inode)
}

pub(super) fn tmpfile(dir: &GoferInode, new: &NewFile) -> Result<Arc<GoferInode>> {
    dir.fs.check_writable()?;
    if !dir.fs.session.is_extended() {
        return Err(Errno::EOPNOTSUPP);
    }
    let fid = dir.fs.session.new_fid()?;
    let new = NewFile { mode: (new.mode & !S_IFMT) | S_IFREG, ..*new };
    let request = Request::MakeUnnamed {
        dir: dir.fid()?.number(),
        new_fid: fid.number(),
        file: convert::new_to_wire(&new),
    };
    let mut answers = dir.fs.session.exchange(&[request])?;
    let made = match answer(&answers, 0)?.reply() {
        Ok(Reply::MakeUnnamed { made, .. }) => made,
        Ok(_) => return Err(Errno::EIO),
        Err(error) => {
            fid.never_made();
            return Err(error);
        }
    };
    let inode = dir.child(b"", &made.attr, Some(fid))?;
    keep_descriptor(&inode, &mut answers);
    Ok(inode)
}

pub(super) fn link(dir: &GoferInode, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
    dir.fs.check_writable()?;
    let target = target.as_any().downcast_ref::<GoferInode>().ok_or(Errno::EXDEV)?;
    dir.forget_listing();
    let (to, fid) = (dir.fid()?, target.fid()?);
    let request = Request::Link { dir: to.number(), fid: fid.number(), name: component(name)? };
    dir.fs.session.order(&request)?;
    if target.place.lock().name.is_empty() {
        target.moved_to(Place { parent: dir.this(), name: name.into() });
    }
    target.changed();
    dir.changed();
    Ok(())
}

/// A walk to be made before a name is changed, and the fid that it makes.
struct Look<'a> {
    dir: &'a GoferInode,
    name: &'a [u8],
    fid: Fid,
}

impl<'a> Look<'a> {
    fn new(dir: &'a GoferInode, name: &'a [u8]) -> Result<Self> {
        Ok(Self { dir, name, fid: dir.fs.session.new_fid()? })
    }

    fn request(&self) -> Result<Request<'a>> {
        let names = List(vec![component(self.name)?]);
        let fid = self.dir.fid()?.number();
        Ok(Request::WalkAttr { fid, new_fid: self.fid.number(), names })
    }

    /// The inode that was found, if it is in use.
    fn found(self, answer: &Answer) -> Option<Arc<GoferInode>> {
        let Ok(attr) = walked(answer) else {
            self.fid.never_made();
            return None;
        };
        self.dir.fs.table.get(attr.qid.path)?;
        self.dir.child(self.name, &attr, Some(self.fid)).ok()
    }
}

/// The inode of an entry if it is in use, with a server that only knows plain 9P2000.L.
fn known(dir: &GoferInode, name: &[u8]) -> Result<Option<Arc<GoferInode>>> {
    match dir.fs.session.walk(dir.fid()?.number(), component(name)?) {
        Ok((fid, attr)) if dir.fs.table.get(attr.qid.path).is_some() => {
            dir.child(name, &attr, Some(fid)).map(Some)
        }
        Ok(_) | Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn remove(dir: &GoferInode, name: &[u8], flags: u32) -> Result<()> {
    dir.fs.check_writable()?;
    let fid = dir.fid()?;
    dir.forget_listing();
    let request = Request::UnlinkAt { dir: fid.number(), name: component(name)?, flags };
    if !dir.fs.session.is_extended() {
        let victim = known(dir, name)?;
        match dir.fs.session.order(&request) {
            // An older server: by a fid of what is to go, which goes with it.
            Err(Errno::EOPNOTSUPP) => {
                let (fid, _) = dir.fs.session.walk(fid.number(), component(name)?)?;
                let result = dir.fs.session.order(&Request::Remove { fid: fid.number() });
                fid.never_made();
                result?;
            }
            result => result?,
        }
        if let Some(victim) = victim {
            victim.changed();
        }
        dir.changed();
        return Ok(());
    }
    let look = Look::new(dir, name)?;
    let answers = dir.fs.session.exchange(&[look.request()?, request])?;
    let victim = look.found(answer(&answers, 0)?);
    answer(&answers, 1)?.reply()?;
    if let Some(victim) = victim {
        victim.changed();
    }
    dir.changed();
    Ok(())
}

pub(super) fn rename(
    dir: &GoferInode,
    old_name: &[u8],
    new_dir: &Arc<dyn Inode>,
    new_name: &[u8],
    flags: u32,
) -> Result<()> {
    dir.fs.check_writable()?;
    let to = new_dir.as_any().downcast_ref::<GoferInode>().ok_or(Errno::EXDEV)?;
    dir.forget_listing();
    to.forget_listing();
    if !dir.fs.session.is_extended() {
        return rename_plain(dir, old_name, to, new_name, flags);
    }
    let (from, onto) = (dir.fid()?, to.fid()?);
    let (old, new) = (Look::new(dir, old_name)?, Look::new(to, new_name)?);
    let request = Request::RenameFlags {
        old_dir: from.number(),
        old_name: component(old_name)?,
        new_dir: onto.number(),
        new_name: component(new_name)?,
        flags,
    };
    let answers = dir.fs.session.exchange(&[old.request()?, new.request()?, request])?;
    let moved = old.found(answer(&answers, 0)?);
    let replaced = new.found(answer(&answers, 1)?);
    answer(&answers, 2)?.reply()?;
    if let Some(moved) = &moved {
        moved.moved_to(Place { parent: to.this(), name: new_name.into() });
        moved.changed();
    }
    if let Some(replaced) = &replaced {
        if flags & RENAME_EXCHANGE != 0 {
            replaced.moved_to(Place { parent: dir.this(), name: old_name.into() });
        }
        replaced.changed();
    }
    dir.changed();
    to.changed();
    Ok(())
}

fn rename_plain(
    dir: &GoferInode,
    old_name: &[u8],
    to: &GoferInode,
    new_name: &[u8],
    flags: u32,
) -> Result<()> {
    if flags != 0 {
        return Err(Errno::EINVAL);
    }
    let (from, onto) = (dir.fid()?, to.fid()?);
    let (moved, replaced) = (known(dir, old_name)?, known(to, new_name)?);
    let (old_name, new_component) = (component(old_name)?, component(new_name)?);
    let request = Request::RenameAt {
        old_dir: from.number(),
        old_name,
        new_dir: onto.number(),
        new_name: new_component,
    };
    match dir.fs.session.order(&request) {
        // An older server: by a fid of what is to be renamed.
        Err(Errno::EOPNOTSUPP) => {
            let (fid, _) = dir.fs.session.walk(from.number(), old_name)?;
            let (fid, dir_fid) = (fid.number(), onto.number());
            dir.fs.session.order(&Request::Rename { fid, dir: dir_fid, name: new_component })?;
        }
        result => result?,
    }
    if let Some(moved) = moved {
        moved.moved_to(Place { parent: to.this(), name: new_name.into() });
        moved.changed();
    }
    if let Some(replaced) = replaced {
        replaced.changed();
    }
    dir.changed();
    to.changed();
    Ok(())
}
