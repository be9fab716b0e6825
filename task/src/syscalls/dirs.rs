//! Directories of a process and their entries: `getdents(2)`, `getcwd(2)`, `chdir(2)`, `chroot(2)`.

use chitin_abi::fs::{DIRENT_NAME_OFFSET, DIRENT64_NAME_OFFSET, X_OK};
use chitin_abi::process::CAP_SYS_CHROOT;
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::DirEntry;
use chitin_vfs::path::Path;

use super::args::{BytesOut, Fd, PathPtr};
use super::at::PathCaller;
use crate::context::Ctx;
use crate::error::SysResult;

/// Most bytes of entries that one call hands out.
const MOST: usize = 256 << 10;

/// How entries are laid out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `struct linux_dirent`: the type is the last byte.
    Old,
    /// `struct linux_dirent64`.
    New,
}

impl Layout {
    /// Appends an entry; false where it does not fit below `limit`.
    fn push(self, buffer: &mut Vec<u8>, entry: &DirEntry<'_>, limit: usize) -> bool {
        let head = if self == Self::New { DIRENT64_NAME_OFFSET } else { DIRENT_NAME_OFFSET + 1 };
        let length = head.saturating_add(entry.name.len()).saturating_add(1).next_multiple_of(8);
        if buffer.len().saturating_add(length) > limit {
            return false;
        }
        let start = buffer.len();
        buffer.extend_from_slice(&entry.ino.to_ne_bytes());
        buffer.extend_from_slice(&entry.next.to_ne_bytes());
        buffer.extend_from_slice(&(length as u16).to_ne_bytes());
        if self == Self::New {
            buffer.push(entry.kind);
        }
        buffer.extend_from_slice(entry.name);
        buffer.resize(start.saturating_add(length), 0);
        if self == Self::Old
            && let Some(last) = buffer.last_mut()
        {
            *last = entry.kind;
        }
        true
    }
}

fn do_getdents(cx: &Ctx<'_>, fd: Fd, to: GuestAddr, count: u32, layout: Layout) -> SysResult {
    let file = cx.file(fd.0)?;
    let mut position = file.position.lock();
    if file.path().is_some_and(|path| path.dentry().is_unlinked()) {
        // Entries of a directory that is gone cannot be read, but what is no directory says so first.
        file.file().read_dir(u64::MAX >> 1, &mut |_| false)?;
        return Err(Errno::ENOENT.into());
    }
    let limit = (count as usize).min(MOST);
    let mut buffer = Vec::with_capacity(limit.min(4096));
    let mut next = *position;
    let mut too_small = false;
    file.file().read_dir(*position, &mut |entry| {
        let fits = layout.push(&mut buffer, &entry, limit);
        if fits {
            next = entry.next;
        } else {
            too_small = buffer.is_empty();
        }
        fits
    })?;
    if too_small {
        return Err(Errno::EINVAL.into());
    }
    cx.memory().write(to, &buffer)?;
    *position = next;
    drop(position);
    file.touch(&cx.rw_env());
    chitin_vfs::notify::access(&file, cx.task.tgid());
    Ok(buffer.len() as u64)
}

/// `getdents(2)`.
pub fn getdents(cx: &mut Ctx<'_>, fd: Fd, dirp: GuestAddr, count: u32) -> SysResult {
    do_getdents(cx, fd, dirp, count, Layout::Old)
}

/// `getdents64(2)`.
pub fn getdents64(cx: &mut Ctx<'_>, fd: Fd, dirp: GuestAddr, count: u32) -> SysResult {
    do_getdents(cx, fd, dirp, count, Layout::New)
}

/// `getcwd(2)`.
pub fn getcwd(cx: &mut Ctx<'_>, buf: BytesOut, size: usize) -> SysResult {
    let fs = cx.task.fs();
    let text = fs.cwd().text(&fs.root());
    if text.deleted {
        return Err(Errno::ENOENT.into());
    }
    let mut bytes = text.into_bytes();
    bytes.push(0);
    if bytes.len() > chitin_abi::fs::PATH_MAX {
        return Err(Errno::ENAMETOOLONG.into());
    }
    if bytes.len() > size {
        return Err(Errno::ERANGE.into());
    }
    cx.memory().write(buf.0, &bytes)?;
    Ok(bytes.len() as u64)
}

/// A directory that the caller may work in.
fn enterable(caller: &PathCaller, path: &Path) -> Result<()> {
    if !path.inode().attr()?.is_dir() {
        return Err(Errno::ENOTDIR);
    }
    caller.walk().access(path, X_OK)
}

/// `chdir(2)`.
pub fn chdir(cx: &mut Ctx<'_>, path: PathPtr) -> SysResult {
    let caller = cx.path_caller();
    let path = cx.lookup(&caller, path.0, true)?;
    enterable(&caller, &path)?;
    cx.task.fs().set_cwd(path);
    Ok(0)
}

/// `fchdir(2)`.
pub fn fchdir(cx: &mut Ctx<'_>, fd: Fd) -> SysResult {
    let file = cx.any_file(fd.0)?;
    let path = file.path().ok_or(Errno::ENOTDIR)?;
    enterable(&cx.path_caller(), path)?;
    cx.task.fs().set_cwd(path.clone());
    Ok(0)
}

/// `chroot(2)`.
pub fn chroot(cx: &mut Ctx<'_>, path: PathPtr) -> SysResult {
    let caller = cx.path_caller();
    let path = cx.lookup(&caller, path.0, true)?;
    enterable(&caller, &path)?;
    if !cx.task.cred().has(CAP_SYS_CHROOT) {
        return Err(Errno::EPERM.into());
    }
    cx.task.fs().set_root(path);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use chitin_abi::fs::{DT_DIR, DT_REG};

    use super::*;

    #[test]
    fn entries_are_laid_out_as_the_kernel_does() {
        let entry = DirEntry { name: b"abcd", ino: 7, kind: DT_REG, next: 9 };
        let mut new = Vec::new();
        assert!(Layout::New.push(&mut new, &entry, 24));
        assert_eq!(new.len(), 24);
        assert_eq!((new[16], new[17], new[18]), (24, 0, DT_REG));
        assert_eq!(&new[19..24], b"abcd\0");
        let mut old = Vec::new();
        assert!(Layout::Old.push(&mut old, &DirEntry { kind: DT_DIR, ..entry }, 24));
        assert_eq!(&old[18..23], b"abcd\0");
        assert_eq!((old.len(), old[23]), (24, DT_DIR));
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let entry = DirEntry { name: b"a name that is long", ino: 1, kind: 0, next: 1 };
        let mut buffer = Vec::new();
        assert!(!Layout::New.push(&mut buffer, &entry, 39));
        assert!(buffer.is_empty());
        assert!(Layout::New.push(&mut buffer, &entry, 40));
        assert!(!Layout::New.push(&mut buffer, &entry, 79));
        assert_eq!(buffer.len(), 40);
    }
}
