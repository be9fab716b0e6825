//! Bringing data to the storage, and advice about it: `fsync(2)`, `sync(2)`, `sync_file_range(2)`, `fadvise64(2)`.
//!
//! A host call that waits for a disk runs on the scheduler's blocking pool.

use std::sync::Arc;

use chitin_abi::fs::{
    CachestatRange, POSIX_FADV_NOREUSE, S_IFBLK, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG,
    SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE,
};
use chitin_abi::{Errno, GuestAddr};
use chitin_vfs::file::OpenFile;
use chitin_vfs::super_block::SuperBlock;

use super::args::{Fd, Flags};
use crate::context::Ctx;
use crate::error::SysResult;

/// `fsync` of an open file, on the pool.
///
/// # Errors
/// Those of the file; EIO when the call was lost.
pub async fn sync_file(cx: &Ctx<'_>, file: &Arc<OpenFile>, data_only: bool) -> SysResult {
    let file = Arc::clone(file);
    let result = cx.kernel().scheduler.blocking(move || file.file().sync(data_only)).await;
    result.unwrap_or(Err(Errno::EIO))?;
    Ok(0)
}

/// `fsync(2)`.
pub async fn fsync(cx: &mut Ctx<'_>, fd: Fd) -> SysResult {
    let file = cx.file(fd.0)?;
    sync_file(cx, &file, false).await
}

/// `fdatasync(2)`.
pub async fn fdatasync(cx: &mut Ctx<'_>, fd: Fd) -> SysResult {
    let file = cx.file(fd.0)?;
    sync_file(cx, &file, true).await
}

async fn sync_blocks(cx: &Ctx<'_>, blocks: Vec<Arc<SuperBlock>>) -> SysResult {
    let call = move || blocks.iter().map(|block| block.fs().sync()).fold(Ok(()), Result::and);
    cx.kernel().scheduler.blocking(call).await.unwrap_or(Err(Errno::EIO))?;
    Ok(0)
}

/// `sync(2)`.
pub async fn sync(cx: &mut Ctx<'_>) -> SysResult {
    let mut blocks: Vec<Arc<SuperBlock>> = Vec::new();
    for info in cx.task.namespaces().mount.mounts(&cx.task.fs().root()) {
        let block = info.mount.mount().super_block();
        if !blocks.iter().any(|known| Arc::ptr_eq(known, block)) {
            blocks.push(Arc::clone(block));
        }
    }
    // Errors are not reported.
    let _ = sync_blocks(cx, blocks).await;
    Ok(0)
}

/// `syncfs(2)`.
pub async fn syncfs(cx: &mut Ctx<'_>, fd: Fd) -> SysResult {
    let file = cx.file(fd.0)?;
    match file.path() {
        Some(path) => sync_blocks(cx, vec![Arc::clone(path.mount().super_block())]).await,
        None => Ok(0),
    }
}

/// `sync_file_range(2)`: more than asked for, as all of the data is brought to the storage.
pub async fn sync_file_range(
    cx: &mut Ctx<'_>,
    fd: Fd,
    offset: i64,
    count: i64,
    flags: Flags,
) -> SysResult {
    let file = cx.file(fd.0)?;
    let known = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if flags.0 & !known != 0 || offset < 0 || count < 0 || offset.checked_add(count).is_none() {
        return Err(Errno::EINVAL.into());
    }
    if !matches!(file.attr()?.file_type(), S_IFREG | S_IFBLK | S_IFDIR | S_IFLNK) {
        return Err(Errno::ESPIPE.into());
    }
    if flags.0 & (SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) == 0 {
        return Ok(0);
    }
    sync_file(cx, &file, true).await
}

/// `posix_fadvise(2)`: advice about caches that the host keeps; checked and ignored.
pub fn fadvise64(cx: &mut Ctx<'_>, fd: Fd, _offset: i64, len: i64, advice: u32) -> SysResult {
    let file = cx.file(fd.0)?;
    if file.attr()?.file_type() == S_IFIFO {
        return Err(Errno::ESPIPE.into());
    }
    if len < 0 || advice > POSIX_FADV_NOREUSE {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}

/// `readahead(2)`: the host reads ahead by itself.
pub fn readahead(cx: &mut Ctx<'_>, fd: Fd, _offset: i64, _count: usize) -> SysResult {
    let file = cx.file(fd.0)?;
    if !file.readable() {
        return Err(Errno::EBADF.into());
    }
    if !matches!(file.attr()?.file_type(), S_IFREG | S_IFBLK) {
        return Err(Errno::EINVAL.into());
    }
    Ok(0)
}

/// `cachestat(2)`: the host's cache is not visible; everything counts as cached and clean.
pub fn cachestat(
    cx: &mut Ctx<'_>,
    fd: Fd,
    range: GuestAddr,
    to: GuestAddr,
    flags: Flags,
) -> SysResult {
    let file = cx.file(fd.0)?;
    let range: CachestatRange = cx.read(range)?;
    let attr = file.attr()?;
    if !attr.is_regular() {
        return Err(Errno::EOPNOTSUPP.into());
    }
    if flags.0 != 0 {
        return Err(Errno::EINVAL.into());
    }
    let end =
        if range.len == 0 { attr.size } else { range.off.saturating_add(range.len).min(attr.size) };
    let pages = end.div_ceil(4096).saturating_sub(range.off / 4096);
    cx.write(to, &chitin_abi::fs::Cachestat { nr_cache: pages, ..Default::default() })?;
    Ok(0)
}
