//! One request: looks up its fids, calls the handler, writes the reply.

use alloc::vec::Vec;

use chitin_abi::{Errno, Result};

use super::fids::{Fid, Fids};
use crate::handler::{Handler, Lock};
use crate::message::{
    Data, DirEntry, Field, GETATTR_BASIC, List, Qid, Reply, Request, ShortList, Text, Walked,
};
use crate::name::Name;
use crate::wire::Encoder;

/// Largest extended attribute.
pub(super) const XATTR_MAX: u64 = 64 << 10;
/// Longest link text that a reply can carry.
const TEXT_MAX: usize = u16::MAX as usize;
/// Bytes of a step of a walk with attributes, at most.
const WALKED_SIZE: usize = 192;

/// A request that is being answered.
pub(super) struct Call<'s, H: Handler> {
    pub handler: &'s mut H,
    pub fids: &'s mut Fids<H::Node, H::File>,
    pub io_size: u32,
    pub tag: u16,
    pub out: &'s mut Vec<u8>,
    pub descriptor: &'s mut Option<H::Descriptor>,
}

impl<H: Handler> Call<'_, H> {
    pub(super) fn reply(&mut self, reply: &Reply<'_>) -> Result<()> {
        reply.encode(self.tag, self.out);
        Ok(())
    }

    /// Answers a request.
    pub fn run(&mut self, request: Request<'_>) -> Result<()> {
        match request {
            Request::Version { .. } => Err(Errno::EPROTO),
            // EOPNOTSUPP says that no authentication is needed.
            Request::Auth { .. } => Err(Errno::EOPNOTSUPP),
            // Requests are answered in order: what is to be flushed has been.
            Request::Flush { .. } => self.reply(&Reply::Flush {}),
            Request::Attach { fid, name, uid, .. } => self.attach(fid, name.0, uid),
            Request::Walk { fid, new_fid, names } => self.walk(fid, new_fid, &names.0),
            Request::WalkAttr { fid, new_fid, names } => self.walk_attr(fid, new_fid, &names.0),
            Request::Clunk { fid } => {
                self.clunk(fid)?;
                self.reply(&Reply::Clunk {})
            }
            Request::ClunkMany { fids } => {
                // All of them, whatever becomes of one: the client takes none of their numbers for used any more.
                fids.0.into_iter().map(|fid| self.clunk(fid)).fold(Ok(()), Result::and)?;
                self.reply(&Reply::ClunkMany {})
            }
            Request::Remove { fid } => {
                let state = self.fids.remove(fid)?;
                self.handler.remove_node(state.node()?)?;
                self.reply(&Reply::Remove {})
            }
            Request::GetAttr { fid, mask } => {
                let state = self.fids.get(fid)?;
                let attr = self.handler.get_attr(state.node()?, state.file(), mask)?;
                self.reply(&Reply::GetAttr { attr })
            }
            Request::SetAttr { fid, change } => {
                let state = self.fids.get(fid)?;
                self.handler.set_attr(state.node()?, state.file(), &change)?;
                self.reply(&Reply::SetAttr {})
            }
            Request::StatFs { fid } => {
                let stats = self.handler.stat_fs(self.fids.node(fid)?)?;
                self.reply(&Reply::StatFs { stats })
            }
            Request::ReadLink { fid } => {
                let target = self.handler.read_link(self.fids.node(fid)?)?;
                if target.len() > TEXT_MAX.min(self.io_size as usize) {
                    return Err(Errno::ENAMETOOLONG);
                }
                self.reply(&Reply::ReadLink { target: Text(&target) })
            }
            other => self.run_file(other),
        }
    }

    /// Requests on open files.
    fn run_file(&mut self, request: Request<'_>) -> Result<()> {
        match request {
            Request::Open { fid, flags } => self.open(fid, flags),
            Request::Create { fid, name, flags, mode, gid } => {
                let dir = match self.fids.get(fid)? {
                    Fid::Node(node) => node,
                    _ => return Err(Errno::EBADF),
                };
                let (node, file, qid) = self.handler.create(dir, name, flags, mode, gid)?;
                self.fids.insert(fid, Fid::Open(node, file));
                self.reply(&Reply::Create { qid, io_unit: self.io_size })
            }
            Request::Read { fid, offset, count } => self.read(fid, offset, count),
            Request::Write { fid, offset, data } => self.write(fid, offset, data.0),
            Request::ReadDir { fid, offset, count } => self.read_dir(fid, offset, count),
            Request::Sync { fid, data_only } => {
                self.handler.sync(self.fids.file_mut(fid)?, data_only != 0)?;
                self.reply(&Reply::Sync {})
            }
            Request::Allocate { fid, mode, offset, length } => {
                self.handler.allocate(self.fids.file_mut(fid)?, mode, offset, length)?;
                self.reply(&Reply::Allocate {})
            }
            Request::Lock { fid, kind, flags, start, length, process, client } => {
                let lock = Lock { kind, flags, start, length, process, client: client.0 };
                let status = self.handler.lock(self.fids.file_mut(fid)?, lock)?;
                self.reply(&Reply::Lock { status })
            }
            Request::GetLock { fid, kind, start, length, process, client } => {
                let lock = Lock { kind, flags: 0, start, length, process, client: client.0 };
                let Lock { kind, start, length, process, client, .. } =
                    self.handler.get_lock(self.fids.file_mut(fid)?, lock)?;
                self.reply(&Reply::GetLock { kind, start, length, process, client: Text(client) })
            }
            Request::Donate { fid, flags } => {
                let (descriptor, qid) = self.handler.donate(self.fids.node(fid)?, flags)?;
                *self.descriptor = Some(descriptor);
                self.reply(&Reply::Donate { qid })
            }
            other => self.run_change(other),
        }
    }

    /// Requests that change directories and extended attributes.
    fn run_change(&mut self, request: Request<'_>) -> Result<()> {
        let (handler, fids) = (&mut *self.handler, &*self.fids);
        match request {
            Request::MakeDir { dir, name, mode, gid } => {
                let qid = handler.make_dir(fids.node(dir)?, name, mode, gid)?;
                self.reply(&Reply::MakeDir { qid })
            }
            Request::MakeNode { dir, name, mode, major, minor, gid } => {
                let qid = handler.make_node(fids.node(dir)?, name, mode, (major, minor), gid)?;
                self.reply(&Reply::MakeNode { qid })
            }
            Request::Symlink { dir, name, target, gid } => {
                let qid = handler.symlink(fids.node(dir)?, name, target.0, gid)?;
                self.reply(&Reply::Symlink { qid })
            }
            Request::Link { dir, fid, name } => {
                handler.link(fids.node(dir)?, fids.node(fid)?, name)?;
                self.reply(&Reply::Link {})
            }
            Request::Rename { fid, dir, name } => {
                handler.rename_node(fids.node(fid)?, fids.node(dir)?, name)?;
                self.reply(&Reply::Rename {})
            }
            Request::RenameAt { old_dir, old_name, new_dir, new_name } => {
                handler.rename(fids.node(old_dir)?, old_name, fids.node(new_dir)?, new_name, 0)?;
                self.reply(&Reply::RenameAt {})
            }
            Request::RenameFlags { old_dir, old_name, new_dir, new_name, flags } => {
                handler.rename(
                    fids.node(old_dir)?,
                    old_name,
                    fids.node(new_dir)?,
                    new_name,
                    flags,
                )?;
                self.reply(&Reply::RenameFlags {})
            }
            Request::UnlinkAt { dir, name, flags } => {
                handler.unlink(fids.node(dir)?, name, flags)?;
                self.reply(&Reply::UnlinkAt {})
            }
            Request::XattrRemove { fid, name } => {
                handler.remove_xattr(fids.node(fid)?, name.0)?;
                self.reply(&Reply::XattrRemove {})
            }
            Request::XattrWalk { fid, new_fid, name } => self.xattr_walk(fid, new_fid, name.0),
            Request::XattrCreate { fid, name, size, flags } => {
                self.xattr_create(fid, name.0, size, flags)
            }
            other => self.run_batched(other),
        }
    }

    fn attach(&mut self, fid: u32, name: &[u8], uid: u32) -> Result<()> {
        self.fids.check_free(fid)?;
        let (node, qid) = self.handler.attach(name, uid)?;
        self.fids.insert(fid, Fid::Node(node));
        self.reply(&Reply::Attach { qid })
    }

    /// Whether a walk may make `new_fid`: it is free, or is the fid walked from, which must not be open then.
    fn check_walk(&self, fid: u32, new_fid: u32) -> Result<()> {
        if fid != new_fid {
            return self.fids.check_free(new_fid);
        }
        match self.fids.get(fid)? {
            Fid::Node(_) => Ok(()),
            _ => Err(Errno::EBADF),
        }
    }

    fn walk(&mut self, fid: u32, new_fid: u32, names: &[Name<'_>]) -> Result<()> {
        self.check_walk(fid, new_fid)?;
        let mut node = self.handler.duplicate(self.fids.node(fid)?)?;
        let mut qids: Vec<Qid> = Vec::with_capacity(names.len());
        for name in names {
            match self.handler.walk(&node, *name) {
                Ok((next, qid)) => {
                    node = next;
                    qids.push(qid);
                }
                // Failing at the first name is an error; later, a short walk.
                Err(error) if qids.is_empty() => return Err(error),
                Err(_) => return self.reply(&Reply::Walk { qids: ShortList(qids) }),
            }
        }
        self.fids.insert(new_fid, Fid::Node(node));
        self.reply(&Reply::Walk { qids: ShortList(qids) })
    }

    fn walk_attr(&mut self, fid: u32, new_fid: u32, names: &[Name<'_>]) -> Result<()> {
        let (number, steps, _) = self.walk_far(fid, new_fid, names)?;
        self.reply(&Reply::WalkAttr { number, steps: List(steps) })
    }

    /// Walks as far as it goes; says what stopped it (0 for nothing), what it found, and whether it got to the end.
    pub(super) fn walk_far(
        &mut self,
        fid: u32,
        new_fid: u32,
        names: &[Name<'_>],
    ) -> Result<(u32, Vec<Walked>, bool)> {
        self.check_walk(fid, new_fid)?;
        let mut node = self.handler.duplicate(self.fids.node(fid)?)?;
        let mut steps = Vec::with_capacity(names.len());
        let mut number = 0;
        if names.is_empty() {
            let attr = self.handler.get_attr(&node, None, GETATTR_BASIC)?;
            steps.push(Walked { qid: attr.qid, attr });
        }
        let room = self.io_size as usize / WALKED_SIZE;
        for name in names.iter().take(room) {
            let next = self.handler.walk(&node, *name);
            let step = next.and_then(|(next, qid)| {
                let attr = self.handler.get_attr(&next, None, GETATTR_BASIC)?;
                Ok((next, Walked { qid, attr }))
            });
            match step {
                Ok((next, step)) => {
                    node = next;
                    steps.push(step);
                }
                Err(error) => {
                    number = error.raw().unsigned_abs();
                    break;
                }
            }
        }
        let whole = number == 0 && steps.len() >= names.len();
        if !steps.is_empty() {
            self.fids.insert(new_fid, Fid::Node(node));
        }
        Ok((number, steps, whole))
    }

    fn clunk(&mut self, fid: u32) -> Result<()> {
        match self.fids.remove(fid)? {
            Fid::XattrDraft { node, name, value, size, flags } => {
                if value.len() != size {
                    return Err(Errno::EINVAL);
                }
                self.handler.set_xattr(&node, &name, &value, flags)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, fid: u32, flags: u32) -> Result<()> {
        let node = match self.fids.get(fid)? {
            Fid::Node(node) => node,
            _ => return Err(Errno::EBADF),
        };
        let (file, qid) = self.handler.open(node, flags)?;
        if let Fid::Node(node) = self.fids.remove(fid)? {
            self.fids.insert(fid, Fid::Open(node, file));
        }
        self.reply(&Reply::Open { qid, io_unit: self.io_size })
    }

    fn read(&mut self, fid: u32, offset: u64, count: u32) -> Result<()> {
        let count = count.min(self.io_size);
        let mut data = Vec::new();
        match self.fids.get_mut(fid)? {
            Fid::Open(_, file) => self.handler.read(file, offset, count, &mut data)?,
            Fid::XattrValue(value) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(value.len());
                let end = start.saturating_add(count as usize).min(value.len());
                data.extend_from_slice(value.get(start..end).unwrap_or_default());
            }
            _ => return Err(Errno::EBADF),
        }
        data.truncate(count as usize);
        self.reply(&Reply::Read { data: Data(&data) })
    }

    fn write(&mut self, fid: u32, offset: u64, data: &[u8]) -> Result<()> {
        let count = match self.fids.get_mut(fid)? {
            Fid::Open(_, file) => self.handler.write(file, offset, data)?,
            Fid::XattrDraft { value, size, .. } => {
                let in_order = offset == value.len() as u64;
                if !in_order || value.len().saturating_add(data.len()) > *size {
                    return Err(Errno::ENOSPC);
                }
                value.extend_from_slice(data);
                u32::try_from(data.len()).map_err(|_| Errno::EINVAL)?
            }
            _ => return Err(Errno::EBADF),
        };
        self.reply(&Reply::Write { count })
    }

    fn read_dir(&mut self, fid: u32, offset: u64, count: u32) -> Result<()> {
        let limit = count.min(self.io_size) as usize;
        let mut data = Vec::new();
        let mut too_small = false;
        self.handler.read_dir(self.fids.file_mut(fid)?, offset, &mut |entry: DirEntry<'_>| {
            if data.len().saturating_add(entry.size()) > limit {
                too_small = data.is_empty();
                return false;
            }
            entry.put(&mut Encoder::new(&mut data));
            true
        })?;
        if too_small {
            return Err(Errno::EINVAL);
        }
        self.reply(&Reply::ReadDir { entries: Data(&data) })
    }

    fn xattr_walk(&mut self, fid: u32, new_fid: u32, name: &[u8]) -> Result<()> {
        self.fids.check_free(new_fid)?;
        let node = self.fids.node(fid)?;
        let value = if name.is_empty() {
            self.handler.list_xattr(node)?
        } else {
            self.handler.get_xattr(node, name)?
        };
        let size = value.len() as u64;
        self.fids.insert(new_fid, Fid::XattrValue(value));
        self.reply(&Reply::XattrWalk { size })
    }

    fn xattr_create(&mut self, fid: u32, name: &[u8], size: u64, flags: u32) -> Result<()> {
        if size > XATTR_MAX {
            return Err(Errno::E2BIG);
        }
        let node = self.handler.duplicate(self.fids.node(fid)?)?;
        let size = usize::try_from(size).map_err(|_| Errno::E2BIG)?;
        let draft = Fid::XattrDraft { node, name: name.to_vec(), value: Vec::new(), size, flags };
        self.fids.insert(fid, draft);
        self.reply(&Reply::XattrCreate {})
    }
}
