//! Where things go: randomised bases and free places.

use chitin_abi::mm::MapFlags;
use chitin_abi::{Errno, PAGE_SIZE, Result};

use super::tree::STACK_GUARD;
use super::vma::{self, Backing, Vma, VmaFlags};
use super::{Plan, Planned, Space};
use crate::host_op::{HostOp, HostProt};
use crate::platform::KnownCode;
use chitin_abi::mm::ProtFlags;

/// `MAP_32BIT` mappings lie here.
const LOW_32BIT: (u64, u64) = (0x4000_0000, 0x8000_0000);
/// What `MAP_ABOVE4G` mappings lie above.
const FOUR_GIB: u64 = 1 << 32;
/// The stack's own start varies by as much.
const STACK_RANDOM: u64 = 16 << 30;
/// How far away code may be that is jumped to, with a margin for mappings that are far apart.
const REACH: u64 = (2 << 30) - (64 << 20);
/// `mmap` addresses vary by as many pages.
const MMAP_RANDOM_PAGES: u64 = 1 << 28;

impl Space {
    /// The next pseudo-random number below `bound`; always 0 with seed 0.
    pub fn random_below(&mut self, bound: u64) -> u64 {
        if self.config.seed == 0 || bound == 0 {
            return 0;
        }
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.random;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % bound
    }

    /// Bytes that addresses may vary by when the range is as small as `size`.
    fn spread(size: u64, wanted: u64) -> u64 {
        wanted.min(size / 16)
    }

    pub(super) fn choose_mmap_base(&mut self) -> u64 {
        let (min, max) = self.bounds();
        let size = max.saturating_sub(min);
        let stack_room = self.config.stack_limit.saturating_add(STACK_GUARD);
        let stack_room = stack_room.saturating_add(Self::spread(size, STACK_RANDOM));
        let gap = stack_room.clamp((128 << 20).min(size / 6), size / 6 * 5);
        let random = Self::spread(size, MMAP_RANDOM_PAGES.saturating_mul(PAGE_SIZE)) / PAGE_SIZE;
        let random = self.random_below(random).saturating_mul(PAGE_SIZE);
        let base = max.saturating_sub(gap).saturating_sub(random).max(min);
        chitin_abi::addr::page_floor(base)
    }

    /// Below where mappings are placed, from the top down.
    pub fn mmap_base(&self) -> u64 {
        self.mmap_base
    }

    /// The end of the initial stack: page-aligned, randomised.
    pub fn choose_stack_top(&mut self) -> u64 {
        let (min, max) = self.bounds();
        let random = Self::spread(max.saturating_sub(min), STACK_RANDOM) / PAGE_SIZE;
        let random = self.random_below(random).saturating_mul(PAGE_SIZE);
        chitin_abi::addr::page_floor(max.saturating_sub(PAGE_SIZE).saturating_sub(random))
    }

    /// Where a position-independent program goes: two thirds up, randomised, aligned.
    pub fn choose_program_base(&mut self, align: u64) -> u64 {
        let (min, max) = self.bounds();
        let size = max.saturating_sub(min);
        let random = Self::spread(size, MMAP_RANDOM_PAGES.saturating_mul(PAGE_SIZE)) / PAGE_SIZE;
        let random = self.random_below(random).saturating_mul(PAGE_SIZE);
        let base = min.saturating_add(size / 3 * 2).saturating_add(random);
        base & !(align.max(PAGE_SIZE).wrapping_sub(1))
    }

    /// Where a stack of `len` bytes ends: at the top if there is room.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn choose_stack(&mut self, len: u64) -> Result<u64> {
        let top = self.choose_stack_top();
        let start = top.saturating_sub(len);
        if start >= self.config.min_address && self.tree.is_free(start, top) {
            return Ok(top);
        }
        Ok(self.find_place(0, len, MapFlags::empty())?.saturating_add(len))
    }

    /// Whether nothing is mapped in the range, which lies inside what the guest may map.
    pub fn is_free(&self, start: u64, len: u64) -> bool {
        let (min, max) = self.bounds();
        let end = start.checked_add(len).filter(|end| *end <= max);
        start >= min && end.is_some_and(|end| self.tree.is_free(start, end))
    }

    /// A free place for `len` bytes whose address is a multiple of `align`, where mappings go.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn choose_place(&mut self, len: u64, align: u64) -> Result<u64> {
        let slack = align.max(PAGE_SIZE).saturating_sub(PAGE_SIZE);
        let room = len.checked_add(slack).ok_or(Errno::ENOMEM)?;
        let place = self.find_place(0, room, MapFlags::empty())?;
        Ok(place.saturating_add(slack) & !slack)
    }

    /// Takes `len` bytes below `addr`, within reach of a 32-bit displacement, for the platform's own code. They are
    /// not listed among the mappings.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn reserve_code(&mut self, addr: u64, len: u64) -> Planned<u64> {
        let Some(start) = self.code_below(addr, len) else {
            return (Err(Errno::ENOMEM), Plan::default());
        };
        self.take_for_code(start, len);
        let map = HostOp::MapAnonymous {
            addr: start,
            len,
            prot: HostProt { read: true, write: false, exec: true },
            shared: false,
            populate: false,
            noreserve: true,
            grows_down: false,
        };
        (Ok(start), Plan { ops: vec![map], ..Plan::default() })
    }

    /// A free place below `addr`, within reach.
    fn code_below(&mut self, addr: u64, len: u64) -> Option<u64> {
        let (min, _) = self.bounds();
        let low = min.max(addr.saturating_sub(REACH));
        self.tree.find_top_down(len, low, chitin_abi::addr::page_floor(addr))
    }

    fn take_for_code(&mut self, start: u64, len: u64) {
        let vma = Vma {
            end: start.saturating_add(len),
            prot: ProtFlags::PROT_READ | ProtFlags::PROT_EXEC,
            max_prot: vma::RIGHTS,
            flags: VmaFlags::SPECIAL | VmaFlags::DONT_DUMP,
            backing: Backing::Special { name: "" },
            name: None,
        };
        drop(self.tree.insert(start, vma));
    }

    /// Takes the room that the platform would have near code of `len` bytes at `addr`, where it is ready for it if that is
    /// free. Nothing is mapped there: that comes with the code.
    pub(super) fn room_for(&mut self, addr: u64, len: u64, known: &KnownCode) -> Option<u64> {
        if known.room == 0 {
            return None;
        }
        let (min, max) = self.bounds();
        let code = (addr, addr.saturating_add(len));
        let fits = |start: &u64| {
            let end = start.saturating_add(known.room);
            let is_apart = end <= code.0 || *start >= code.1;
            *start >= min && end <= max && is_apart && self.tree.is_free(*start, end)
        };
        let ready = known.distances.iter().filter_map(|far| addr.checked_add_signed(*far));
        let start = ready.clone().find(fits).or_else(|| self.code_below(addr, known.room))?;
        self.take_for_code(start, known.room);
        Some(start)
    }

    /// A free place for `len` bytes, at `hint` if that is free.
    pub(super) fn find_place(&mut self, hint: u64, len: u64, flags: MapFlags) -> Result<u64> {
        let (min, max) = self.bounds();
        let low_only = flags.contains(MapFlags::MAP_32BIT);
        let high = if low_only { max.min(LOW_32BIT.1) } else { max };
        if len > max.saturating_sub(min) {
            return Err(Errno::ENOMEM);
        }
        if hint != 0 {
            let hint = hint.max(min);
            let fits = hint
                .checked_add(len)
                .is_some_and(|end| end <= high && self.tree.is_free(hint, end));
            if fits {
                return Ok(hint);
            }
        }
        if low_only {
            return self.tree.find_bottom_up(len, min.max(LOW_32BIT.0), high).ok_or(Errno::ENOMEM);
        }
        let above = flags.bits() & chitin_abi::mm::MAP_ABOVE4G != 0;
        let low = if above { min.max(FOUR_GIB) } else { min };
        let top = self.mmap_base;
        if let Some(place) = self.tree.find_top_down(len, low, top) {
            return Ok(place);
        }
        let start = min.saturating_add(max.saturating_sub(min) / 3) & !(PAGE_SIZE - 1);
        self.tree.find_bottom_up(len, start.max(low), max).ok_or(Errno::ENOMEM)
    }
}
