//! The fids of a client.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use chitin_abi::{Errno, Result};

/// What a fid stands for.
pub(super) enum Fid<N, F> {
    /// A place.
    Node(N),
    /// A place that is open.
    Open(N, F),
    /// The value of an extended attribute, to be read.
    XattrValue(Vec<u8>),
    /// An extended attribute that is being written; set when the fid is clunked.
    XattrDraft { node: N, name: Vec<u8>, value: Vec<u8>, size: usize, flags: u32 },
}

impl<N, F> Fid<N, F> {
    /// The place.
    pub const fn node(&self) -> Result<&N> {
        match self {
            Self::Node(node) | Self::Open(node, _) => Ok(node),
            _ => Err(Errno::EBADF),
        }
    }

    /// The open file, if it is open.
    pub const fn file(&self) -> Option<&F> {
        match self {
            Self::Open(_, file) => Some(file),
            _ => None,
        }
    }
}

pub(super) struct Fids<N, F> {
    fids: BTreeMap<u32, Fid<N, F>>,
    limit: usize,
}

impl<N, F> Fids<N, F> {
    pub const fn new(limit: usize) -> Self {
        Self { fids: BTreeMap::new(), limit }
    }

    pub fn len(&self) -> usize {
        self.fids.len()
    }

    pub fn clear(&mut self) {
        self.fids.clear();
    }

    pub fn get(&self, fid: u32) -> Result<&Fid<N, F>> {
        self.fids.get(&fid).ok_or(Errno::EBADF)
    }

    pub fn get_mut(&mut self, fid: u32) -> Result<&mut Fid<N, F>> {
        self.fids.get_mut(&fid).ok_or(Errno::EBADF)
    }

    pub fn node(&self, fid: u32) -> Result<&N> {
        self.get(fid)?.node()
    }

    pub fn file_mut(&mut self, fid: u32) -> Result<&mut F> {
        match self.get_mut(fid)? {
            Fid::Open(_, file) => Ok(file),
            _ => Err(Errno::EBADF),
        }
    }

    /// Whether a fid is free and may be made.
    pub fn check_free(&self, fid: u32) -> Result<()> {
        if fid == crate::message::NO_FID || self.fids.contains_key(&fid) {
            return Err(Errno::EBADF);
        }
        if self.fids.len() >= self.limit { Err(Errno::ENFILE) } else { Ok(()) }
    }

    /// The place and the open file of a fid.
    pub fn open_mut(&mut self, fid: u32) -> Result<(&N, &mut F)> {
        match self.get_mut(fid)? {
            Fid::Open(node, file) => Ok((node, file)),
            _ => Err(Errno::EBADF),
        }
    }

    pub fn insert(&mut self, fid: u32, state: Fid<N, F>) {
        self.fids.insert(fid, state);
    }

    pub fn remove(&mut self, fid: u32) -> Result<Fid<N, F>> {
        self.fids.remove(&fid).ok_or(Errno::EBADF)
    }
}
