//! What others may know of mappings: /proc, faults, shared futexes.

use std::io::Write;
use std::sync::Arc;

use chitin_abi::mm::ProtFlags;

use super::Space;
use super::vma::{Backing, Vma, VmaFlags};
use crate::mapped_file::MappedFile;

/// Which object a shared mapping is a view of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectId {
    /// Shared anonymous memory.
    Anonymous(u64),
    /// A file, by [`MappedFile::key`].
    File(u64),
}

/// A mapping as others see it.
#[derive(Clone)]
pub struct VmaInfo {
    /// First byte.
    pub start: u64,
    /// First byte behind it.
    pub end: u64,
    /// What the guest may do.
    pub prot: ProtFlags,
    /// What `mprotect(2)` may allow.
    pub max_prot: ProtFlags,
    /// Everything else.
    pub flags: VmaFlags,
    /// Offset in the file; 0 for anonymous memory.
    pub offset: u64,
    /// The file.
    pub file: Option<Arc<dyn MappedFile>>,
    /// What a shared mapping shows, and the offset of its first byte in it.
    pub object: Option<(ObjectId, u64)>,
    /// The name that /proc/pid/maps shows where there is no file: `[heap]`, `[stack]`, `[vdso]`, `[anon:…]`.
    pub label: Option<Vec<u8>>,
}

impl VmaInfo {
    /// Whether it is shared (`s` in /proc/pid/maps).
    pub fn shared(&self) -> bool {
        self.flags.contains(VmaFlags::SHARED)
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Never: a mapping has at least a page.
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// What the last column of /proc/pid/maps shows; empty for nothing. Newlines are escaped as there.
    pub fn name(&self) -> Vec<u8> {
        let name = match &self.file {
            Some(file) => file.path(),
            None => self.label.clone().unwrap_or_default(),
        };
        let mut escaped = Vec::with_capacity(name.len());
        for byte in name {
            if byte == b'\n' {
                escaped.extend_from_slice(b"\\012");
            } else {
                escaped.push(byte);
            }
        }
        escaped
    }

    /// Appends the line of /proc/pid/maps, with its newline.
    pub fn write_maps_line(&self, text: &mut Vec<u8>) {
        let line_start = text.len();
        let letter =
            |flag: ProtFlags, letter: char| if self.prot.contains(flag) { letter } else { '-' };
        let (dev, ino) = match (&self.file, self.object) {
            (Some(file), _) => (file.dev(), file.ino()),
            (None, Some((ObjectId::Anonymous(id), _))) => (1, id.wrapping_add(1)),
            _ => (0, 0),
        };
        let major = ((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff);
        let minor = (dev & 0xff) | ((dev >> 12) & !0xff);
        // Writing to a vector does not fail.
        let _ = write!(
            text,
            "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ",
            self.start,
            self.end,
            letter(ProtFlags::PROT_READ, 'r'),
            letter(ProtFlags::PROT_WRITE, 'w'),
            letter(ProtFlags::PROT_EXEC, 'x'),
            if self.shared() { 's' } else { 'p' },
            self.offset,
            major,
            minor & 0xffff_ffff,
            ino,
        );
        let name = self.name();
        if !name.is_empty() {
            while text.len() < line_start + 73 {
                text.push(b' ');
            }
            text.extend_from_slice(&name);
        }
        text.push(b'\n');
    }
}

/// How much of what an address space has, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Everything (`VmSize`).
    pub total: u64,
    /// Most that `total` ever was (`VmPeak`).
    pub peak: u64,
    /// Private writable memory (`VmData` without the stack).
    pub data: u64,
    /// Stack (`VmStk`).
    pub stack: u64,
    /// Executable mappings (`VmExe` + `VmLib`).
    pub exec: u64,
    /// Locked (`VmLck`).
    pub locked: u64,
}

/// The platform's own code is not.
fn is_listed((_, vma): &(u64, &Vma)) -> bool {
    !matches!(vma.backing, Backing::Special { name: "" })
}

impl Space {
    /// All mappings in order.
    pub fn maps(&self) -> impl Iterator<Item = VmaInfo> {
        self.tree.iter().filter(is_listed).map(|(start, vma)| self.describe(start, vma))
    }

    /// The mappings that end above `addr`, in order: /proc/pid/maps in pieces.
    pub fn maps_from(&self, addr: u64) -> impl Iterator<Item = VmaInfo> {
        let all = self.tree.overlapping(addr, u64::MAX);
        all.filter(is_listed).map(|(start, vma)| self.describe(start, vma))
    }

    /// How many mappings there are.
    pub fn map_count(&self) -> usize {
        self.tree.len()
    }

    /// The mapping that holds `addr`.
    pub fn lookup(&self, addr: u64) -> Option<VmaInfo> {
        self.tree.find(addr).map(|(start, vma)| self.describe(start, vma))
    }

    /// The object that a shared futex at `addr` is known by, and the offset in it; `None` for private memory.
    ///
    /// # Errors
    /// EFAULT where nothing is mapped.
    pub fn shared_object(&self, addr: u64) -> chitin_abi::Result<Option<(ObjectId, u64)>> {
        let (start, vma) = self.tree.find(addr).ok_or(chitin_abi::Errno::EFAULT)?;
        let distance = addr.wrapping_sub(start);
        Ok(object_of(vma).map(|(id, offset)| (id, offset.wrapping_add(distance))))
    }

    /// Whether something is mapped at every byte of the range.
    pub fn is_mapped(&self, addr: u64, len: u64) -> bool {
        addr.checked_add(len).is_some_and(|end| self.tree.covers(addr, end))
    }

    /// Whether the range lies in one mapping of ordinary memory that the guest can write: touching it cannot fail for
    /// another reason than that the mapping changes.
    pub fn is_plain(&self, addr: u64, len: u64) -> bool {
        let Some(end) = addr.checked_add(len) else { return false };
        self.tree.find(addr).is_some_and(|(_, vma)| {
            end <= vma.end
                && vma.prot.contains(ProtFlags::PROT_WRITE)
                && !vma.flags.contains(VmaFlags::SPECIAL)
                && !(vma.shared() && vma.is_file())
        })
    }

    /// Whether every byte of the range may be read, or written. Stack that has not grown yet counts.
    pub fn permits(&self, addr: u64, len: u64, write: bool) -> bool {
        let Some(end) = addr.checked_add(len).filter(|end| *end <= self.config.max_address) else {
            return false;
        };
        let wanted = if write { ProtFlags::PROT_WRITE } else { ProtFlags::PROT_READ };
        let mut at = addr;
        for (start, vma) in self.tree.overlapping(addr, end) {
            if start > at || !vma.prot.contains(wanted) {
                return false;
            }
            at = vma.end;
        }
        at >= end
    }

    /// How much of what there is.
    pub fn usage(&self) -> Usage {
        let counters = self.tree.counters();
        Usage {
            total: counters.total,
            peak: self.peak,
            data: counters.data,
            stack: counters.stack,
            exec: counters.exec,
            locked: counters.locked,
        }
    }

    fn describe(&self, start: u64, vma: &Vma) -> VmaInfo {
        let (file, offset) = match &vma.backing {
            Backing::File { file, offset } => (Some(Arc::clone(file.file())), *offset),
            Backing::SharedAnonymous { offset, .. } => (None, *offset),
            _ => (None, 0),
        };
        VmaInfo {
            start,
            end: vma.end,
            prot: vma.prot,
            max_prot: vma.max_prot,
            flags: vma.flags,
            offset,
            file,
            object: object_of(vma),
            label: self.label(start, vma),
        }
    }

    fn label(&self, start: u64, vma: &Vma) -> Option<Vec<u8>> {
        match &vma.backing {
            Backing::Special { name } => return Some(name.as_bytes().to_vec()),
            Backing::File { .. } => return None,
            Backing::SharedAnonymous { .. } => {
                return Some(match &vma.name {
                    Some(name) => [b"[anon_shmem:", &name[..], b"]"].concat(),
                    None => b"/dev/zero (deleted)".to_vec(),
                });
            }
            Backing::Anonymous { .. } => {}
        }
        if start < self.brk.1 && vma.end > self.brk.0 && self.brk.0 != 0 {
            return Some(b"[heap]".to_vec());
        }
        if start <= self.stack && vma.end > self.stack {
            return Some(b"[stack]".to_vec());
        }
        vma.name.as_ref().map(|name| [b"[anon:", &name[..], b"]"].concat())
    }
}

fn object_of(vma: &Vma) -> Option<(ObjectId, u64)> {
    match &vma.backing {
        Backing::SharedAnonymous { object, offset } => {
            Some((ObjectId::Anonymous(*object), *offset))
        }
        Backing::File { file, offset } if vma.shared() => {
            Some((ObjectId::File(file.file().key()), *offset))
        }
        _ => None,
    }
}
