//! Mount options.

use core::fmt::Write;

use chitin_abi::{Errno, Result};

/// Pairs of one instance unless `max=` says otherwise (`/proc/sys/kernel/pty/max`).
const DEFAULT_MAX: u32 = 4096;
/// What `max=` may say at most.
const MAX: u32 = 1 << 20;

#[derive(Clone)]
pub(super) struct Options {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
    pub ptmx_mode: u32,
    pub max: u32,
    max_given: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { uid: None, gid: None, mode: 0o600, ptmx_mode: 0, max: DEFAULT_MAX, max_given: false }
    }
}

/// Whether an option string would be understood; as /proc/mounts would show it. For tests of hostile strings.
///
/// # Errors
/// EINVAL.
#[doc(hidden)]
pub fn check_options(text: &[u8]) -> Result<String> {
    Options::parse(Options::default(), text).map(|options| options.show())
}

fn number(text: &str, radix: u32) -> Result<u32> {
    u32::from_str_radix(text, radix).map_err(|_| Errno::EINVAL)
}

impl Options {
    /// Changes `base` by an option string.
    pub fn parse(base: Self, text: &[u8]) -> Result<Self> {
        let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
        let mut options = base;
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "uid" => options.uid = Some(number(value, 10)?),
                "gid" => options.gid = Some(number(value, 10)?),
                "mode" => options.mode = number(value, 8)? & 0o7777,
                "ptmxmode" => options.ptmx_mode = number(value, 8)? & 0o7777,
                "max" => {
                    options.max =
                        Some(number(value, 10)?).filter(|max| *max <= MAX).ok_or(Errno::EINVAL)?;
                    options.max_given = true;
                }
                // Every mount is an instance of its own anyway.
                "newinstance" => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        Ok(options)
    }

    /// As /proc/mounts shows them.
    pub fn show(&self) -> String {
        let mut text = String::new();
        for (key, id) in [("uid", self.uid), ("gid", self.gid)] {
            if let Some(id) = id {
                // Writing to a string cannot fail.
                let _ = write!(text, ",{key}={id}");
            }
        }
        let _ = write!(text, ",mode={:03o},ptmxmode={:03o}", self.mode, self.ptmx_mode);
        if self.max_given {
            let _ = write!(text, ",max={}", self.max);
        }
        text
    }

    /// Owner, group and mode of a slave that `caller` makes.
    pub fn slave_owner(&self, caller: (u32, u32)) -> (u32, u32, u32) {
        (self.uid.unwrap_or(caller.0), self.gid.unwrap_or(caller.1), self.mode)
    }
}
