//! Signals for events of files: `O_ASYNC` (`SIGIO`) and `F_NOTIFY` (dnotify), `fcntl(2)`.
//!
//! A file with `O_ASYNC` has an observer on its wait queue; a directory with `F_NOTIFY` has an inotify instance of
//! its own, watched in the same way. Signals are sent by a future of the scheduler, so that whoever made the event
//! happen holds nothing of ours while it does.

use std::sync::{Arc, Weak};

use chitin_abi::fs::{
    DN_ACCESS, DN_ATTRIB, DN_CREATE, DN_DELETE, DN_MODIFY, DN_MULTISHOT, DN_RENAME, F_OWNER_PGRP,
    F_OWNER_PID, F_OWNER_TID, IN_ACCESS, IN_ATTRIB, IN_CREATE, IN_DELETE, IN_MODIFY, IN_MOVED_FROM,
    IN_MOVED_TO, IN_ONLYDIR,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::process::CAP_KILL;
use chitin_abi::signal::{
    POLL_ERR, POLL_HUP, POLL_IN, POLL_MSG, POLL_OUT, POLL_PRI, SIGIO, SIGURG, SigInfo,
};
use chitin_abi::{Errno, Result};
use chitin_vfs::file::{File, OpenFile, SignalWatches};
use chitin_vfs::io::VecSink;
use chitin_vfs::notify::Inotify;
use chitin_vfs::wait::{Observer, Registration};

use crate::context::Ctx;
use crate::kernel::Kernel;
use crate::process::ProcessEntry;
use crate::socket::SocketFile;
use crate::task::Task;

/// A message is there.
const POLLMSG: PollEvents = PollEvents::from_bits_retain(0x400);
/// Events that an instance of [`DirectoryWatch`] queues at most: they are only counted.
const QUEUE: u32 = 16;

/// Sends a file's signal to its owner.
fn send(kernel: &Arc<Kernel>, file: &OpenFile, code: i32, fd: i32) {
    let info = match file.owner.lock().signal {
        0 => SigInfo::kernel(SIGIO),
        signal => SigInfo::poll(signal, code, band(code), fd),
    };
    deliver(kernel, file, info);
}

/// Sends a signal to a file's owner.
fn deliver(kernel: &Arc<Kernel>, file: &OpenFile, info: SigInfo) {
    let owner = *file.owner.lock();
    let id = owner.id.unsigned_abs();
    if id == 0 {
        return;
    }
    let thread = owner.kind.cast_unsigned() == F_OWNER_TID;
    let targets: Vec<Arc<Task>> = {
        let tree = kernel.tree.lock();
        match owner.kind.cast_unsigned() {
            F_OWNER_TID => tree.task(id).cloned().into_iter().collect(),
            F_OWNER_PID => {
                tree.process(id).and_then(ProcessEntry::member).cloned().into_iter().collect()
            }
            F_OWNER_PGRP => {
                let members =
                    tree.pgrp_members(id).iter().filter_map(|member| tree.process(*member));
                members.filter_map(|entry| entry.member().cloned()).collect()
            }
            _ => Vec::new(),
        }
    };
    for target in targets.iter().filter(|target| may_signal(file, target)) {
        // A queue that is full has signals enough.
        let _ = if thread {
            crate::signal::send_to_task(target, info)
        } else {
            crate::signal::send_to_group(target, info)
        };
    }
}

/// Whether who opened the file may send signals to its owner.
fn may_signal(file: &OpenFile, target: &Task) -> bool {
    let cred = target.cred();
    file.cred.uid == cred.ruid || file.cred.uid == cred.suid || file.cred.caps.has(CAP_KILL)
}

/// `si_code` of the most pressing of some events.
fn code_of(events: PollEvents) -> i32 {
    let codes = [
        (PollEvents::POLLHUP, POLL_HUP),
        (PollEvents::POLLERR, POLL_ERR),
        (PollEvents::POLLIN, POLL_IN),
        (PollEvents::POLLPRI, POLL_PRI),
        (PollEvents::POLLOUT, POLL_OUT),
    ];
    codes.iter().find(|(event, _)| events.contains(*event)).map_or(POLL_IN, |(_, code)| *code)
}

/// `si_band` of a code.
fn band(code: i32) -> u64 {
    let events = match code {
        POLL_OUT => PollEvents::POLLOUT | PollEvents::POLLWRNORM | PollEvents::POLLWRBAND,
        POLL_ERR => PollEvents::POLLERR,
        POLL_PRI => PollEvents::POLLPRI | PollEvents::POLLRDBAND,
        POLL_HUP => PollEvents::POLLHUP | PollEvents::POLLERR,
        POLL_MSG => PollEvents::POLLIN | PollEvents::POLLRDNORM | POLLMSG,
        _ => PollEvents::POLLIN | PollEvents::POLLRDNORM,
    };
    u64::from(events.bits())
}

/// Tells the owner of readiness.
struct ReadyWatch {
    kernel: Weak<Kernel>,
    file: Weak<OpenFile>,
    fd: i32,
}

impl Observer for ReadyWatch {
    fn notify(&self, events: PollEvents) {
        let (Some(kernel), Some(file)) = (self.kernel.upgrade(), self.file.upgrade()) else {
            return;
        };
        let (code, fd) = (code_of(events), self.fd);
        let scheduler = kernel.scheduler.clone();
        scheduler.spawn(async move { send(&kernel, &file, code, fd) });
    }
}

/// Keeps an observer and its registration.
struct Kept {
    _registration: Registration,
    _observer: Arc<dyn Observer>,
}

fn observe(file: &dyn File, observer: Arc<dyn Observer>) -> Option<Box<Kept>> {
    let registration = file.wait_queue()?.register(PollEvents::all(), &observer);
    Some(Box::new(Kept { _registration: registration, _observer: observer }))
}

/// Starts or stops signals of readiness; false for a file that has none to tell of.
pub fn set_async(cx: &Ctx<'_>, file: &Arc<OpenFile>, fd: i32, on: bool) -> bool {
    let watch = if on {
        let observer =
            ReadyWatch { kernel: Arc::downgrade(cx.kernel()), file: Arc::downgrade(file), fd };
        let Some(kept) = observe(&**file.file(), Arc::new(observer)) else { return false };
        Some(kept as Box<dyn core::any::Any + Send + Sync>)
    } else {
        None
    };
    let mut watches = file.watches.lock();
    if watch.is_none() && watches.is_none() {
        return file.file().wait_queue().is_some();
    }
    let slot: &mut SignalWatches = watches.get_or_insert_default();
    let old = core::mem::replace(&mut slot.ready, watch);
    drop(watches);
    drop(old);
    true
}

/// Tells the owner of urgent data.
struct UrgentWatch {
    kernel: Weak<Kernel>,
    file: Weak<OpenFile>,
}

impl Observer for UrgentWatch {
    fn notify(&self, events: PollEvents) {
        if !events.contains(PollEvents::POLLPRI) || events.contains(PollEvents::POLLHUP) {
            return;
        }
        let (Some(kernel), Some(file)) = (self.kernel.upgrade(), self.file.upgrade()) else {
            return;
        };
        let scheduler = kernel.scheduler.clone();
        scheduler.spawn(async move { deliver(&kernel, &file, SigInfo::kernel(SIGURG)) });
    }
}

/// Starts telling a socket's owner of urgent data, whatever its flags say.
pub fn watch_urgent(cx: &Ctx<'_>, file: &Arc<OpenFile>) {
    if !file.file().as_any().is::<SocketFile>() {
        return;
    }
    let watch = UrgentWatch { kernel: Arc::downgrade(cx.kernel()), file: Arc::downgrade(file) };
    let kept = observe(&**file.file(), Arc::new(watch));
    let mut watches = file.watches.lock();
    let slot: &mut SignalWatches = watches.get_or_insert_default();
    let kept = kept.map(|kept| kept as Box<dyn core::any::Any + Send + Sync>);
    let old = core::mem::replace(&mut slot.urgent, kept);
    drop(watches);
    drop(old);
}

/// Tells the owner that somebody wants to break its lease.
struct LeaseWatch {
    kernel: Weak<Kernel>,
    file: Weak<OpenFile>,
    fd: i32,
}

impl Observer for LeaseWatch {
    fn notify(&self, _events: PollEvents) {
        let (Some(kernel), Some(file)) = (self.kernel.upgrade(), self.file.upgrade()) else {
            return;
        };
        let (fd, scheduler) = (self.fd, kernel.scheduler.clone());
        scheduler.spawn(async move { send(&kernel, &file, POLL_MSG, fd) });
    }
}

/// What is told when a lease of a file is to be broken.
pub fn lease_watch(cx: &Ctx<'_>, file: &Arc<OpenFile>, fd: i32) -> Arc<dyn Observer> {
    let (kernel, file) = (Arc::downgrade(cx.kernel()), Arc::downgrade(file));
    Arc::new(LeaseWatch { kernel, file, fd })
}

/// Tells the owner of changes in a directory.
struct DirectoryWatch {
    kernel: Weak<Kernel>,
    file: Weak<OpenFile>,
    inotify: Arc<Inotify>,
    fd: i32,
    once: bool,
}

impl Observer for DirectoryWatch {
    fn notify(&self, _events: PollEvents) {
        let (Some(kernel), Some(file)) = (self.kernel.upgrade(), self.file.upgrade()) else {
            return;
        };
        let (inotify, fd, once) = (Arc::clone(&self.inotify), self.fd, self.once);
        let scheduler = kernel.scheduler.clone();
        scheduler.spawn(async move {
            // The events themselves are nobody's business; none left means that somebody else told of them.
            let mut events = VecSink::new(8192);
            if inotify.read_at(&mut events, 0).is_err() {
                return;
            }
            let old = if once {
                file.watches.lock().as_mut().and_then(|watches| watches.directory.take())
            } else {
                None
            };
            drop(old);
            send(&kernel, &file, POLL_MSG, fd);
        });
    }
}

/// The `IN_…` events of `DN_…` ones.
fn directory_events(mask: u32) -> u32 {
    let pairs = [
        (DN_ACCESS, IN_ACCESS),
        (DN_MODIFY, IN_MODIFY),
        (DN_CREATE, IN_CREATE | IN_MOVED_TO),
        (DN_DELETE, IN_DELETE | IN_MOVED_FROM),
        (DN_RENAME, IN_MOVED_FROM | IN_MOVED_TO),
        (DN_ATTRIB, IN_ATTRIB),
    ];
    pairs.iter().filter(|(from, _)| mask & from != 0).fold(0, |all, (_, to)| all | to)
}

/// `F_NOTIFY`.
///
/// # Errors
/// ENOTDIR.
pub fn notify(cx: &Ctx<'_>, file: &Arc<OpenFile>, fd: i32, mask: u32) -> Result<()> {
    let watch = if mask & !DN_MULTISHOT == 0 {
        None
    } else {
        let path = match file.path() {
            Some(path) if file.attr()?.is_dir() => path,
            _ => return Err(Errno::ENOTDIR),
        };
        let inotify = Inotify::new(QUEUE);
        inotify.add_watch(path, directory_events(mask) | IN_ONLYDIR, 1)?;
        let watch = DirectoryWatch {
            kernel: Arc::downgrade(cx.kernel()),
            file: Arc::downgrade(file),
            inotify: Arc::clone(&inotify),
            fd,
            once: mask & DN_MULTISHOT == 0,
        };
        let kept = observe(&*inotify, Arc::new(watch)).ok_or(Errno::EINVAL)?;
        let mut owner = file.owner.lock();
        owner.kind = F_OWNER_PID.cast_signed();
        owner.id = cx.task.tgid().cast_signed();
        Some(kept as Box<dyn core::any::Any + Send + Sync>)
    };
    let mut watches = file.watches.lock();
    let slot: &mut SignalWatches = watches.get_or_insert_default();
    let old = core::mem::replace(&mut slot.directory, watch);
    drop(watches);
    drop(old);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_bands() {
        assert_eq!(code_of(PollEvents::POLLIN | PollEvents::POLLOUT), POLL_IN);
        assert_eq!(code_of(PollEvents::POLLIN | PollEvents::POLLHUP), POLL_HUP);
        assert_eq!(band(POLL_IN), 0x41);
        assert_eq!(band(POLL_OUT), 0x304);
    }

    #[test]
    fn directory_masks_translate() {
        assert_eq!(directory_events(DN_CREATE | DN_MULTISHOT), IN_CREATE | IN_MOVED_TO);
        assert_eq!(directory_events(DN_MULTISHOT), 0);
    }
}
