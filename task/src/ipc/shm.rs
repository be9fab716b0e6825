//! System V shared memory: one memfd per segment, mapped like a file.

use core::any::Any;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, Weak};

use chitin_abi::ipc::{SHM_DEST, SHM_HUGETLB, SHM_LOCKED, SHM_NORESERVE, ShmidDs};
use chitin_abi::{Errno, Result};
use chitin_mm::MappedFile;
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::ids::{IdTable, Object};
use super::perm::{Caller, Permission};

/// Most segments of a namespace (`kernel.shmmni`).
pub const SEGMENTS_MAX: usize = chitin_abi::ipc::SHMMNI as usize;
/// Most bytes of a segment (`kernel.shmmax`).
pub const SIZE_MAX: u64 = u64::MAX - (1 << 24);
/// Most pages of all segments (`kernel.shmall`).
pub const PAGES_MAX: u64 = SIZE_MAX;
/// Keys of mappings have this bit, so that they are no one else's.
const MAPPING_KEY: u64 = 0x5359_5356_0000_0000;

#[derive(Clone, Copy, Debug, Default)]
struct State {
    permission: Permission,
    attached: u64,
    attach_time: i64,
    detach_time: i64,
    change_time: i64,
    creator: i32,
    last: i32,
}

/// A segment.
pub struct Segment {
    /// Its identifier.
    id: i32,
    key: i32,
    /// Bytes, as asked for.
    pub size: u64,
    state: Mutex<State>,
    memory: OnceLock<Arc<OwnedFd>>,
    table: Weak<IdTable<Segment>>,
    object: u64,
}

impl Object for Segment {
    fn permission(&self) -> Permission {
        self.state.lock().permission
    }
}

/// `shmget(2)`.
///
/// # Errors
/// EINVAL, ENOSPC, ENOMEM, and those of [`IdTable::get_or_create`].
pub fn get(
    table: &Arc<IdTable<Segment>>,
    key: i32,
    size: u64,
    flags: u32,
    caller: &Caller<'_>,
    object: u64,
) -> Result<i32> {
    let check = |segment: &Segment| if size > segment.size { Err(Errno::EINVAL) } else { Ok(()) };
    table.get_or_create(key, flags, caller, check, |_, id| {
        if !(1..=SIZE_MAX).contains(&size) {
            return Err(Errno::EINVAL);
        }
        if flags & SHM_HUGETLB != 0 {
            return Err(Errno::ENOMEM);
        }
        let _ = SHM_NORESERVE;
        let pages = chitin_abi::addr::page_ceil(size).ok_or(Errno::ENOSPC)?;
        if pages > 1 << 46 {
            return Err(Errno::ENOMEM);
        }
        let permission = caller.new_permission(flags);
        let state =
            State { permission, change_time: caller.now, creator: caller.pid, ..State::default() };
        Ok(Arc::new(Segment {
            id,
            key,
            size,
            state: Mutex::new(state),
            memory: OnceLock::new(),
            table: Arc::downgrade(table),
            object,
        }))
    })
}

impl Segment {
    /// Bytes that a mapping of it takes.
    pub fn mapped_size(&self) -> u64 {
        chitin_abi::addr::page_ceil(self.size).unwrap_or(u64::MAX)
    }

    /// The memory: made when it is first attached.
    fn memory(&self) -> Result<Arc<OwnedFd>> {
        if let Some(memory) = self.memory.get() {
            return Ok(Arc::clone(memory));
        }
        let memory = memfd_create("sysv", MemfdFlags::CLOEXEC).map_err(|_| Errno::ENOMEM)?;
        ftruncate(&memory, self.mapped_size()).map_err(|_| Errno::ENOMEM)?;
        Ok(Arc::clone(self.memory.get_or_init(|| Arc::new(memory))))
    }

    /// Someone has attached it.
    pub fn note_attach(&self, caller: &Caller<'_>) {
        let mut state = self.state.lock();
        state.attach_time = caller.now;
        state.last = caller.pid;
    }

    /// Someone has detached it.
    pub fn note_detach(&self, caller: &Caller<'_>) {
        let mut state = self.state.lock();
        state.detach_time = caller.now;
        state.last = caller.pid;
    }

    /// How often it is attached.
    pub fn attached(&self) -> u64 {
        self.state.lock().attached
    }

    /// Whether its memory is locked, for what it is worth.
    pub fn set_locked(&self, locked: bool) {
        let mut state = self.state.lock();
        let mode = &mut state.permission.mode;
        *mode = if locked { *mode | SHM_LOCKED } else { *mode & !SHM_LOCKED };
    }

    /// Changes owner and mode.
    ///
    /// # Errors
    /// EINVAL.
    pub fn set(&self, caller: &Caller<'_>, new: &ShmidDs) -> Result<()> {
        let mut state = self.state.lock();
        caller.apply(&mut state.permission, &new.shm_perm)?;
        state.change_time = caller.now;
        Ok(())
    }

    /// Marks it for removal: it goes when nobody has it attached.
    pub fn remove(&self) {
        let unused = {
            let mut state = self.state.lock();
            state.permission.mode |= SHM_DEST;
            state.attached == 0
        };
        if let Some(table) = self.table.upgrade() {
            if unused {
                // It may be gone by another call already.
                let _ = table.remove(self.id);
            } else {
                table.forget_key(self.id);
            }
        }
    }

    /// What `IPC_STAT` shows.
    pub fn stat(&self, caller: &Caller<'_>, key: i32) -> ShmidDs {
        let state = *self.state.lock();
        ShmidDs {
            shm_perm: caller.show(&state.permission, key, self.id),
            shm_segsz: self.size,
            shm_atime: state.attach_time,
            shm_dtime: state.detach_time,
            shm_ctime: state.change_time,
            shm_cpid: state.creator,
            shm_lpid: state.last,
            shm_nattch: state.attached,
            ..ShmidDs::default()
        }
    }
}

impl MappedFile for Segment {
    fn host_file(&self, offset: u64, _len: u64, _write: bool) -> Result<(Arc<OwnedFd>, u64)> {
        Ok((self.memory()?, offset))
    }

    fn dev(&self) -> u64 {
        1
    }

    fn ino(&self) -> u64 {
        u64::from(self.id.unsigned_abs())
    }

    fn path(&self) -> Vec<u8> {
        format!("/SYSV{:08x} (deleted)", self.key).into_bytes()
    }

    fn key(&self) -> u64 {
        MAPPING_KEY ^ self.object
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn mapped(&self, _shared_writable: bool) {
        self.state.lock().attached += 1;
    }

    fn unmapped(&self, _shared_writable: bool) {
        let last = {
            let mut state = self.state.lock();
            state.attached = state.attached.saturating_sub(1);
            state.attached == 0 && state.permission.mode & SHM_DEST != 0
        };
        if last && let Some(table) = self.table.upgrade() {
            // The last user of a removed segment takes it along.
            let _ = table.remove(self.id);
        }
    }
}
