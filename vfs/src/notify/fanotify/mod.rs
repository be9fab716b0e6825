//! `fanotify(7)`: notification by marks on files, mounts and whole file systems.
//!
//! Model: a [`Fanotify`] group has marks, each on one object ([`MarkOn`]) with the events that it asks for and those
//! that it ignores. An event is looked for at all objects that it touches, each group decides once by all of its marks
//! ([`Fanotify::consider`]), and what it takes is queued, merged with what is there of the same file. A group tells
//! files by descriptors, which are opened when the event is read, or by file handles (`FAN_REPORT_FID` and the like).
//! Permission events are not supported.
//!
//! Cost of an event where nothing in the tree is marked: one atomic load. Locks: a list of marks, then a mark, then a
//! group; all are leaves.

mod event;
mod mark;
mod report;

use core::any::Any;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Weak};

use chitin_abi::fs::{
    FAN_ACCESS, FAN_ATTRIB, FAN_CLOSE_NOWRITE, FAN_CLOSE_WRITE, FAN_CREATE, FAN_DELETE,
    FAN_DELETE_SELF, FAN_EVENT_ON_CHILD, FAN_MODIFY, FAN_MOVE_SELF, FAN_MOVED_FROM, FAN_MOVED_TO,
    FAN_ONDIR, FAN_OPEN, FAN_OPEN_EXEC, FAN_Q_OVERFLOW, FAN_RENAME, FAN_REPORT_DIR_FID,
    FAN_REPORT_FID, FAN_REPORT_NAME, FAN_REPORT_TARGET_FID, FIONREAD,
};
use chitin_abi::poll::PollEvents;
use chitin_abi::{Errno, GuestAddr, Result};
use parking_lot::Mutex;

pub use self::event::Reader;
pub(crate) use self::event::{Happened, raise};
pub(crate) use self::mark::MarkList;
use self::mark::{Changes, Mark};
pub use self::mark::{MarkOn, Masks};
use self::report::Queued;
use crate::file::{File, IoctlContext, WriteAt};
use crate::io::{Sink, Source};
use crate::wait::WaitQueue;

/// Events that a path is enough for.
pub const PATH_EVENTS: u32 =
    (FAN_ACCESS | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_CLOSE_NOWRITE | FAN_OPEN | FAN_OPEN_EXEC)
        as u32;
/// Events of a name in a directory.
pub const NAME_EVENTS: u32 =
    (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_RENAME) as u32;
/// All events that can be asked for.
pub const EVENTS: u32 =
    PATH_EVENTS | NAME_EVENTS | (FAN_ATTRIB | FAN_DELETE_SELF | FAN_MOVE_SELF) as u32;
/// What can be asked for with them.
pub const EVENT_FLAGS: u32 = (FAN_ONDIR | FAN_EVENT_ON_CHILD) as u32;
/// How a group tells files, if not by descriptors.
pub const FID_MODES: u32 =
    FAN_REPORT_FID | FAN_REPORT_DIR_FID | FAN_REPORT_NAME | FAN_REPORT_TARGET_FID;
/// Events of one group that wait at most, whatever it asks for.
const HARD_LIMIT: usize = 1 << 18;
/// Waiting events that a new one may be merged with.
const MERGE_DEPTH: usize = 128;

#[derive(Default)]
struct State {
    marks: Vec<Arc<Mark>>,
    queue: VecDeque<Queued>,
    overflowed: bool,
}

/// A fanotify group.
pub struct Fanotify {
    /// `FAN_…` flags that it was made with.
    pub flags: u32,
    /// `O_…` flags of the descriptors that it hands out.
    pub event_flags: u32,
    /// Whether it may mark mounts and file systems.
    pub privileged: bool,
    state: Mutex<State>,
    queue: Arc<WaitQueue>,
    max_events: usize,
    max_marks: usize,
    _charge: Charge,
}

/// What is given back when a group goes.
pub type Charge = Box<dyn Any + Send + Sync>;

impl Fanotify {
    /// A group; `None` bounds it by no more than the kernel's own limit. `charge` is dropped with it.
    pub fn new(
        flags: u32,
        event_flags: u32,
        privileged: bool,
        max_events: Option<u32>,
        max_marks: Option<u32>,
        charge: Charge,
    ) -> Arc<Self> {
        let limit = |limit: Option<u32>| limit.map_or(HARD_LIMIT, |limit| limit as usize);
        Arc::new(Self {
            flags,
            event_flags,
            privileged,
            state: Mutex::default(),
            queue: Arc::default(),
            max_events: limit(max_events).min(HARD_LIMIT),
            max_marks: limit(max_marks),
            _charge: charge,
        })
    }

    /// How it tells files: the flags of [`FID_MODES`].
    pub fn fid_mode(&self) -> u32 {
        self.flags & FID_MODES
    }

    /// Adds to the mark of an object, which is made if there is none.
    ///
    /// # Errors
    /// ENOSPC for too many marks.
    pub fn mark(self: &Arc<Self>, on: &MarkOn, masks: Masks) -> Result<()> {
        let mark = {
            let mut state = self.state.lock();
            if let Some(mark) = state.marks.iter().find(|mark| mark.is_on(on)).cloned() {
                mark
            } else {
                if state.marks.len() >= self.max_marks {
                    return Err(Errno::ENOSPC);
                }
                let mark = Mark::new(self, on);
                state.marks.push(Arc::clone(&mark));
                mark
            }
        };
        // What is being written is told in any case.
        let pointless = masks.ignores && !masks.survives && on.is_being_written();
        if !pointless {
            mark.change(Changes::Add(masks));
        }
        on.list().add(&mark);
        Ok(())
    }

    /// Takes away from the mark of an object, which goes when nothing is left.
    ///
    /// # Errors
    /// ENOENT where the object has no mark.
    pub fn unmark(&self, on: &MarkOn, masks: Masks) -> Result<()> {
        let known = self.state.lock().marks.iter().find(|mark| mark.is_on(on)).cloned();
        let mark = known.ok_or(Errno::ENOENT)?;
        if mark.change(Changes::Remove(masks)) {
            self.forget(|other| Arc::ptr_eq(other, &mark));
        }
        on.list().refresh();
        Ok(())
    }

    /// Removes all marks of one kind of object.
    pub fn flush(&self, like: &MarkOn) {
        self.forget(|mark| mark.is_like(like));
    }

    fn forget(&self, which: impl Fn(&Arc<Mark>) -> bool) {
        let gone: Vec<_> = {
            let mut state = self.state.lock();
            let (gone, kept) = core::mem::take(&mut state.marks).into_iter().partition(which);
            state.marks = kept;
            gone
        };
        for mark in gone {
            mark.end();
        }
    }

    /// What a group takes of an event, by all marks that it touched: each with whether it is the parent's.
    fn consider(&self, happened: &Happened<'_>, marks: &[(Arc<Mark>, bool)]) -> u32 {
        let fid_mode = self.fid_mode();
        if fid_mode == 0 && happened.path.is_none() {
            return 0;
        }
        if fid_mode != 0 && fid_mode & FAN_REPORT_FID == 0 && happened.directory().is_none() {
            return 0;
        }
        let on_dir = happened.mask & FAN_ONDIR as u32 != 0;
        let (mut wanted, mut ignored) = (0, 0);
        for (mark, is_parent) in marks {
            let (asks, ignores) = mark.effective(on_dir, *is_parent);
            wanted |= asks;
            ignored |= ignores;
        }
        let taken = happened.mask & wanted & !ignored;
        if taken & EVENTS == 0 {
            return 0;
        }
        if fid_mode == 0 { taken & EVENTS } else { taken & (EVENTS | FAN_ONDIR as u32) }
    }

    fn push(&self, event: Queued) {
        {
            let mut state = self.state.lock();
            if let Some(known) =
                state.queue.iter_mut().rev().take(MERGE_DEPTH).find(|known| known.merges(&event))
            {
                known.mask |= event.mask;
                return;
            }
            if state.queue.len() >= self.max_events {
                if state.overflowed {
                    return;
                }
                state.overflowed = true;
                state.queue.push_back(Queued::overflow());
            } else {
                state.queue.push_back(event);
            }
        }
        self.queue.notify(PollEvents::POLLIN | PollEvents::POLLRDNORM);
    }

    /// Takes the next event if it fits.
    fn pop(&self, room: usize) -> Result<Option<Queued>> {
        let mut state = self.state.lock();
        let Some(event) = state.queue.front() else { return Ok(None) };
        if event.length(self.flags) > room {
            return Err(Errno::EINVAL);
        }
        if event.mask == FAN_Q_OVERFLOW as u32 {
            state.overflowed = false;
        }
        Ok(state.queue.pop_front())
    }

    /// Reads events; `reader` opens what they are about.
    ///
    /// # Errors
    /// EAGAIN where there is none, EINVAL for a buffer that takes none, EFAULT, those of opening.
    pub fn read_for(&self, to: &mut dyn Sink, reader: &dyn Reader) -> Result<usize> {
        let mut done = 0;
        loop {
            let event = match self.pop(to.remaining()) {
                Ok(Some(event)) => event,
                Ok(None) if done == 0 => return Err(Errno::EAGAIN),
                Err(error) if done == 0 => return Err(error),
                _ => return Ok(done),
            };
            let encoded = match event.encode(self, reader) {
                Ok(encoded) => encoded,
                Err(error) if done == 0 => return Err(error),
                Err(_) => return Ok(done),
            };
            match to.put(&encoded.bytes) {
                Ok(count) if count == encoded.bytes.len() => done += count,
                // Nobody has been told of the descriptors.
                _ => {
                    encoded.descriptors.into_iter().for_each(|fd| reader.undo(fd));
                    return if done > 0 { Ok(done) } else { Err(Errno::EFAULT) };
                }
            }
        }
    }
}

impl Drop for Fanotify {
    fn drop(&mut self) {
        for mark in core::mem::take(&mut self.state.get_mut().marks) {
            mark.end();
        }
    }
}

impl File for Fanotify {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn ignores_seek(&self) -> bool {
        true
    }

    fn write_at(&self, from: &mut dyn Source, _at: WriteAt) -> Result<(usize, u64)> {
        // An answer to a permission event, of which there are none.
        Err(if from.remaining() < 8 { Errno::EINVAL } else { Errno::ENOENT })
    }

    fn poll(&self) -> PollEvents {
        if self.state.lock().queue.is_empty() {
            PollEvents::empty()
        } else {
            PollEvents::POLLIN | PollEvents::POLLRDNORM
        }
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.queue)
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        if command != FIONREAD {
            return Err(Errno::ENOTTY);
        }
        let bytes: usize =
            self.state.lock().queue.iter().map(|event| event.length(self.flags)).sum();
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        context.memory().write(argument, &bytes.to_ne_bytes())?;
        Ok(0)
    }

    fn fd_info(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ =
            writeln!(text, "fanotify flags:{:x} event-flags:{:x}", self.flags, self.event_flags);
        let marks = self.state.lock().marks.clone();
        for mark in marks {
            mark.describe(&mut text);
        }
        text
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[fanotify]".to_vec())
    }

    fn attr(&self) -> Result<Option<crate::attr::Attr>> {
        Ok(Some(crate::anon::AnonInode::anonymous().attr()))
    }
}

/// Whether something has been removed.
type Removed = AtomicBool;

fn is_removed(removed: &Removed) -> bool {
    removed.load(Ordering::Acquire)
}

/// A group that may have gone.
type Group = Weak<Fanotify>;
