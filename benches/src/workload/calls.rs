//! Calls that need no file and no other process.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use super::timed;
use crate::raw;

pub(super) fn getppid(count: u32) -> io::Result<Duration> {
    timed(count, || {
        black_box(raw::getppid());
        Ok(())
    })
}

pub(super) fn clock(count: u32) -> io::Result<Duration> {
    timed(count, || {
        black_box(Instant::now());
        Ok(())
    })
}

pub(super) fn signal(count: u32) -> io::Result<Duration> {
    timed(count, raw::signal_self)
}

pub(super) fn map_one(count: u32) -> io::Result<Duration> {
    timed(count, || raw::map_touch_unmap(1))
}

pub(super) fn map_many(count: u32) -> io::Result<Duration> {
    timed(count, || raw::map_touch_unmap(64))
}

pub(super) fn spin(count: u32) -> io::Result<Duration> {
    timed(count, || {
        let mut sum = 0_u64;
        for number in 0..1_000_000_u64 {
            sum = black_box(sum.wrapping_add(number));
        }
        black_box(sum);
        Ok(())
    })
}
