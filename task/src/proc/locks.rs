//! `/proc/locks`, and the locks in `/proc/PID/fdinfo`.
//!
//! Nobody keeps a list of all locks: their holders have the files open, so the descriptor tables lead to them.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::fs::{major, minor};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fdtable::FdTable;
use chitin_vfs::file::OpenFile;
use chitin_vfs::locks::{FileLocks, LockKind, LockOwner, LockRange, OFFSET_MAX};

use super::View;
use crate::task::Task;

/// One lock: its words up to the process, the process, its bytes, and who holds it.
struct Shown {
    words: &'static str,
    kind: LockKind,
    pid: i32,
    range: LockRange,
    owner: LockOwner,
}

fn locks_of(locks: &FileLocks) -> Vec<Shown> {
    let (records, whole) = locks.list();
    let records = records.into_iter().map(|lock| Shown {
        words: match lock.owner {
            LockOwner::Table(_) => "POSIX  ADVISORY ",
            LockOwner::File(_) => "OFDLCK ADVISORY ",
        },
        kind: lock.kind,
        pid: lock.pid,
        range: lock.range,
        owner: lock.owner,
    });
    let whole = whole.into_iter().map(|lock| Shown {
        words: "FLOCK  ADVISORY ",
        kind: lock.kind,
        pid: lock.pid,
        range: LockRange::whole(),
        owner: LockOwner::File(lock.file),
    });
    let leases = locks.list_leases().into_iter().map(|lease| Shown {
        words: if lease.breaking { "LEASE  BREAKING " } else { "LEASE  ACTIVE   " },
        kind: lease.kind,
        pid: lease.pid,
        range: LockRange::whole(),
        owner: LockOwner::File(lease.file),
    });
    records.chain(whole).chain(leases).collect()
}

/// The line of a lock; `None` where its holder cannot be seen.
fn line(view: &View, file: &OpenFile, lock: &Shown, number: usize) -> Option<String> {
    let attr = file.attr().ok()?;
    let pid = match u32::try_from(lock.pid) {
        Err(_) => -1,
        Ok(global) => {
            let kernel = view.kernel().ok()?;
            let tree = kernel.tree.lock();
            let pid = view.number(&tree.process(global)?.group.pid);
            i32::try_from(pid).ok().filter(|pid| *pid != 0)?
        }
    };
    let kind = if lock.kind == LockKind::Shared { "READ" } else { "WRITE" };
    let end = match lock.range.end {
        OFFSET_MAX => "EOF".to_owned(),
        end => end.to_string(),
    };
    let (words, start, ino) = (lock.words, lock.range.start, attr.ino);
    let (major, minor) = (major(attr.dev), minor(attr.dev));
    Some(format!("{number}: {words} {kind} {pid} {major:02x}:{minor:02x}:{ino} {start} {end}\n"))
}

fn files(table: &FdTable) -> Vec<Arc<OpenFile>> {
    table.descriptors().into_iter().filter_map(|fd| table.get(fd).ok()).collect()
}

/// The text of `/proc/locks`.
///
/// # Errors
/// ESRCH when the kernel is gone.
pub fn all(view: &View, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let tasks: Vec<Arc<Task>> = view.kernel()?.tree.lock().tasks().cloned().collect();
    let (mut tables, mut seen, mut number) = (HashSet::new(), HashSet::new(), 1);
    for task in tasks {
        let table = task.files();
        if !tables.insert(table.id()) {
            continue;
        }
        for file in files(&table) {
            let Some(locks) = file.state().and_then(|state| state.locks_if_any()) else { continue };
            if !seen.insert(core::ptr::from_ref(locks)) {
                continue;
            }
            for lock in locks_of(locks) {
                if let Some(line) = line(view, &file, &lock, number) {
                    out.extend_from_slice(line.as_bytes());
                    number += 1;
                }
            }
        }
    }
    Ok(())
}

/// The lines of the locks that a process holds by a descriptor.
pub fn of_file(view: &View, table: u64, file: &OpenFile) -> String {
    let mut text = String::new();
    let Some(locks) = file.state().and_then(|state| state.locks_if_any()) else { return text };
    let owners = [LockOwner::Table(table), LockOwner::File(file.id())];
    for lock in locks_of(locks).iter().filter(|lock| owners.contains(&lock.owner)) {
        if let Some(line) = line(view, file, lock, 1) {
            // Writing to a string does not fail.
            let _ = write!(text, "lock:\t{line}");
        }
    }
    text
}
