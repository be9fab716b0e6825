//! Events in a queue, and the bytes that `read(2)` gives for them.

use std::sync::Arc;

use chitin_abi::fs::{
    FAN_EVENT_INFO_TYPE_DFID, FAN_EVENT_INFO_TYPE_DFID_NAME, FAN_EVENT_INFO_TYPE_FID,
    FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, FAN_EVENT_INFO_TYPE_OLD_DFID_NAME,
    FAN_EVENT_INFO_TYPE_PIDFD, FAN_NOFD, FAN_ONDIR, FAN_Q_OVERFLOW, FAN_RENAME, FAN_REPORT_DIR_FID,
    FAN_REPORT_FID, FAN_REPORT_NAME, FAN_REPORT_PIDFD, FAN_REPORT_TARGET_FID,
    FanotifyEventMetadata, S_IFDIR, S_IFREG,
};
use chitin_abi::{Errno, Result};
use smallvec::SmallVec;
use zerocopy::IntoBytes;

use super::{Fanotify, Happened, Reader};
use crate::dentry::Dentry;
use crate::handle::{self, FID_TYPE, HANDLE_LEN, HANDLE_TYPE};
use crate::inode::Inode;
use crate::path::Path;

const METADATA: usize = size_of::<FanotifyEventMetadata>();
const VERSION: u8 = 3;
/// Header, file system and head of the handle of a record.
const RECORD: usize = 4 + 8 + 8;
const PIDFD_RECORD: usize = 8;

/// What finds a file: its file system and handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    fs: u64,
    kind: i32,
    handle: [u8; HANDLE_LEN],
}

impl Id {
    fn of(inode: &Arc<dyn Inode>, dentry: Option<&Arc<Dentry>>) -> Result<Self> {
        let super_block = inode.super_block();
        let exports = super_block.fs().exports();
        let handle = match dentry {
            Some(dentry) if exports => handle::give(dentry)?,
            _ => handle::encode(inode.attr()?.ino),
        };
        let kind = if exports { HANDLE_TYPE } else { FID_TYPE };
        Ok(Self { fs: super_block.dev, kind, handle })
    }

    fn of_dir(dentry: &Arc<Dentry>) -> Result<Self> {
        Self::of(dentry.inode(), Some(dentry))
    }
}

/// One record behind an event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    kind: u8,
    id: Id,
    /// With its end, where there is one.
    name: Vec<u8>,
}

impl Record {
    fn new(kind: u8, id: Id, name: Option<&[u8]>) -> Self {
        let name = name.map_or_else(Vec::new, |name| [name, b"\0"].concat());
        Self { kind, id, name }
    }

    fn length(&self) -> usize {
        (RECORD + HANDLE_LEN + self.name.len()).next_multiple_of(4)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (start, length) = (out.len(), self.length());
        out.extend([self.kind, 0]);
        out.extend((length as u16).to_ne_bytes());
        // The file system as `statfs(2)` says it.
        out.extend((self.id.fs as u32).to_ne_bytes());
        out.extend(((self.id.fs >> 32) as u32).to_ne_bytes());
        out.extend((HANDLE_LEN as u32).to_ne_bytes());
        out.extend(self.id.kind.to_ne_bytes());
        out.extend(self.id.handle);
        out.extend(&self.name);
        out.resize(start + length, 0);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    Path(Path),
    Records(Vec<Record>),
    Nothing,
}

/// An event in a queue.
pub(super) struct Queued {
    pub(super) mask: u32,
    pid: u32,
    subject: Subject,
}

/// What a reader gets for an event.
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    /// Those that have been installed for it.
    pub(super) descriptors: SmallVec<[i32; 2]>,
}

/// The records that tell what happened to a group that wants handles.
fn records(group: &Fanotify, happened: &Happened<'_>, mask: u32) -> Result<Vec<Record>> {
    let mode = group.fid_mode();
    let has = |flag: u32| mode & flag != 0;
    let (of_name, on_dir) = (happened.is_of_name(), mask & FAN_ONDIR as u32 != 0);
    let target = has(FAN_REPORT_TARGET_FID);
    let names = has(FAN_REPORT_NAME);
    let object = || Id::of(happened.inode, happened.dentry);
    if !has(FAN_REPORT_DIR_FID) {
        // Of a changed entry only the directory is told.
        let id = match happened.dir {
            Some((dir, _)) if of_name && !target => Id::of_dir(dir)?,
            _ => object()?,
        };
        return Ok(vec![Record::new(FAN_EVENT_INFO_TYPE_FID, id, None)]);
    }
    let Some(dir) = happened.directory() else {
        return Ok(vec![Record::new(FAN_EVENT_INFO_TYPE_FID, object()?, None)]);
    };
    let name = happened.dir.map(|(_, name)| name).filter(|_| of_name || !on_dir);
    let with_child = if of_name { target } else { has(FAN_REPORT_FID) && !on_dir };
    let first = match name.filter(|_| names) {
        Some(name) => Record::new(FAN_EVENT_INFO_TYPE_DFID_NAME, Id::of_dir(dir)?, Some(name)),
        None if names && on_dir => {
            Record::new(FAN_EVENT_INFO_TYPE_DFID_NAME, Id::of_dir(dir)?, Some(b"."))
        }
        // A directory that stands for one of its files alone is told as Linux does.
        None if !of_name && !on_dir && !with_child => {
            Record::new(FAN_EVENT_INFO_TYPE_FID, Id::of_dir(dir)?, None)
        }
        None => Record::new(FAN_EVENT_INFO_TYPE_DFID, Id::of_dir(dir)?, None),
    };
    let mut records = vec![first];
    if with_child {
        records.push(Record::new(FAN_EVENT_INFO_TYPE_FID, object()?, None));
    }
    Ok(records)
}

impl Queued {
    /// What a group is told; `None` for what it cannot be told.
    pub(super) fn new(group: &Fanotify, happened: &Happened<'_>, mask: u32) -> Option<Self> {
        if let Some(to) = happened.to {
            return Self::renamed(happened, to, mask);
        }
        let subject = if group.fid_mode() == 0 {
            let path = happened.path?;
            if !matches!(path.dentry().kind(), S_IFREG | S_IFDIR) {
                return None;
            }
            Subject::Path(path.clone())
        } else {
            Subject::Records(records(group, happened, mask).ok()?)
        };
        Some(Self { mask, pid: happened.pid, subject })
    }

    /// A move of a name, told with both names.
    fn renamed(
        happened: &Happened<'_>,
        (new_dir, new_name): (&Arc<Dentry>, &[u8]),
        mask: u32,
    ) -> Option<Self> {
        let (old_dir, old_name) = happened.dir?;
        let old = Id::of_dir(old_dir).ok()?;
        let new = Id::of_dir(new_dir).ok()?;
        let records = vec![
            Record::new(FAN_EVENT_INFO_TYPE_OLD_DFID_NAME, old, Some(old_name)),
            Record::new(FAN_EVENT_INFO_TYPE_NEW_DFID_NAME, new, Some(new_name)),
        ];
        let mask = mask & (FAN_RENAME | FAN_ONDIR) as u32;
        Some(Self { mask, pid: happened.pid, subject: Subject::Records(records) })
    }

    pub(super) fn overflow() -> Self {
        Self { mask: FAN_Q_OVERFLOW as u32, pid: 0, subject: Subject::Nothing }
    }

    /// Whether a new event tells of the same file by the same process.
    pub(super) fn merges(&self, other: &Self) -> bool {
        self.pid == other.pid
            && self.subject == other.subject
            && (self.mask ^ other.mask) & FAN_ONDIR as u32 == 0
            && self.subject != Subject::Nothing
    }

    /// Bytes that it takes for a group with these flags.
    pub(super) fn length(&self, flags: u32) -> usize {
        let records: usize = match &self.subject {
            Subject::Records(records) => records.iter().map(Record::length).sum(),
            _ => 0,
        };
        let pidfd = if flags & FAN_REPORT_PIDFD != 0 { PIDFD_RECORD } else { 0 };
        METADATA + records + pidfd
    }

    /// The bytes for a reader, and the descriptors that they tell of.
    pub(super) fn encode(&self, group: &Fanotify, reader: &dyn Reader) -> Result<Encoded> {
        let length = u32::try_from(self.length(group.flags)).map_err(|_| Errno::EINVAL)?;
        let mut descriptors = SmallVec::new();
        let fd = match &self.subject {
            Subject::Path(path) => reader.open(path)?,
            _ => FAN_NOFD,
        };
        descriptors.push(fd);
        let metadata = FanotifyEventMetadata {
            event_len: length,
            vers: VERSION,
            reserved: 0,
            metadata_len: METADATA as u16,
            mask: self.mask.into(),
            fd,
            pid: reader.pid(self.pid),
        };
        let mut bytes = metadata.as_bytes().to_vec();
        if let Subject::Records(records) = &self.subject {
            for record in records {
                record.encode(&mut bytes);
            }
        }
        if group.flags & FAN_REPORT_PIDFD != 0 {
            bytes.extend([FAN_EVENT_INFO_TYPE_PIDFD, 0]);
            bytes.extend((PIDFD_RECORD as u16).to_ne_bytes());
            let pidfd = reader.pidfd(self.pid);
            descriptors.push(pidfd);
            bytes.extend(pidfd.to_ne_bytes());
        }
        descriptors.retain(|fd| *fd >= 0);
        Ok(Encoded { bytes, descriptors })
    }
}
