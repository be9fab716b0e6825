//! Requests of the extension that do in one round trip what plain 9P2000.L takes several for.

use alloc::vec::Vec;

use chitin_abi::{Errno, Result};

use super::dispatch::{Call, XATTR_MAX};
use super::fids::Fid;
use crate::handler::{Handler, Made};
use crate::message::{Attr, Data, DirEntry, Field, List, NewFile, Reply, Request, Walked};
use crate::name::Name;
use crate::wire::Encoder;

impl<H: Handler> Call<'_, H> {
    /// Answers one of them.
    pub(super) fn run_batched(&mut self, request: Request<'_>) -> Result<()> {
        match request {
            Request::ReadDirAttr { fid, offset, count } => self.read_dir_attr(fid, offset, count),
            Request::OpenAt { fid, new_fid, names, flags } => {
                self.open_at(fid, new_fid, &names.0, flags)
            }
            Request::OpenDir { fid, new_fid } => self.open_dir(fid, new_fid),
            Request::Make { dir, new_fid, name, file, target } => {
                self.fids.check_free(new_fid)?;
                let made = self.handler.make(self.fids.node(dir)?, name, &file, target.0)?;
                let (made, donated) = self.keep(new_fid, made);
                self.reply(&Reply::Make { made, donated })
            }
            Request::MakeUnnamed { dir, new_fid, file } => self.make_unnamed(dir, new_fid, &file),
            Request::XattrGet { fid, name } => {
                let value = self.handler.get_xattr(self.fids.node(fid)?, name.0)?;
                self.check_room(value.len())?;
                self.reply(&Reply::XattrGet { value: Data(&value) })
            }
            Request::XattrList { fid } => {
                let names = self.handler.list_xattr(self.fids.node(fid)?)?;
                self.check_room(names.len())?;
                self.reply(&Reply::XattrList { names: Data(&names) })
            }
            Request::XattrSet { fid, name, value, flags } => {
                if value.0.len() as u64 > XATTR_MAX {
                    return Err(Errno::E2BIG);
                }
                self.handler.set_xattr(self.fids.node(fid)?, name.0, value.0, flags)?;
                self.reply(&Reply::XattrSet {})
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn check_room(&self, length: usize) -> Result<()> {
        if length > self.io_size as usize { Err(Errno::E2BIG) } else { Ok(()) }
    }

    /// Walks, and donates a descriptor of where it ends.
    fn open_at(&mut self, fid: u32, new_fid: u32, names: &[Name<'_>], flags: u32) -> Result<()> {
        let (mut number, steps, whole) = self.walk_far(fid, new_fid, names)?;
        if whole {
            match self.handler.donate(self.fids.node(new_fid)?, flags) {
                Ok((descriptor, _)) => *self.descriptor = Some(descriptor),
                Err(error) => number = error.raw().unsigned_abs(),
            }
        }
        let donated = u8::from(self.descriptor.is_some());
        self.reply(&Reply::OpenAt { number, steps: List(steps), donated })
    }

    fn open_dir(&mut self, fid: u32, new_fid: u32) -> Result<()> {
        self.fids.check_free(new_fid)?;
        let node = self.handler.duplicate(self.fids.node(fid)?)?;
        let flags = chitin_abi::fs::OpenFlags::O_DIRECTORY.bits();
        let (file, qid) = self.handler.open(&node, flags)?;
        self.fids.insert(new_fid, Fid::Open(node, file));
        self.reply(&Reply::OpenDir { qid })
    }

    fn make_unnamed(&mut self, dir: u32, new_fid: u32, new: &NewFile) -> Result<()> {
        self.fids.check_free(new_fid)?;
        let made = self.handler.make_unnamed(self.fids.node(dir)?, new)?;
        let (made, donated) = self.keep(new_fid, made);
        self.reply(&Reply::MakeUnnamed { made, donated })
    }

    /// Gives a file that was just made its fid.
    fn keep(&mut self, new_fid: u32, made: Made<H::Node, H::Descriptor>) -> (Walked, u8) {
        self.fids.insert(new_fid, Fid::Node(made.node));
        *self.descriptor = made.descriptor;
        let made = Walked { qid: made.attr.qid, attr: made.attr };
        (made, u8::from(self.descriptor.is_some()))
    }

    fn read_dir_attr(&mut self, fid: u32, offset: u64, count: u32) -> Result<()> {
        let limit = count.min(self.io_size) as usize;
        let mut data = Vec::new();
        let mut too_small = false;
        let (node, file) = self.fids.open_mut(fid)?;
        let mut emit = |entry: DirEntry<'_>, attr: Attr| {
            let before = data.len();
            entry.put(&mut Encoder::new(&mut data));
            attr.put(&mut Encoder::new(&mut data));
            if data.len() > limit {
                data.truncate(before);
                too_small = before == 0;
                return false;
            }
            true
        };
        self.handler.read_dir_attr(node, file, offset, &mut emit)?;
        if too_small {
            return Err(Errno::EINVAL);
        }
        self.reply(&Reply::ReadDirAttr { entries: Data(&data) })
    }
}
