//! The options of `mount -t tmpfs -o …`.

use chitin_abi::{Errno, Result};

use super::TmpfsOptions;

/// A number with an optional `k`, `m`, `g` or, of `memory`, `%`.
fn size(text: &str, memory: u64) -> Result<u64> {
    let digits = text.trim_end_matches(|last: char| !last.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| Errno::EINVAL)?;
    let factor = match text.get(digits.len()..) {
        Some("") => 1,
        Some("k" | "K") => 1 << 10,
        Some("m" | "M") => 1 << 20,
        Some("g" | "G") => 1 << 30,
        Some("t" | "T") => 1 << 40,
        Some("%") => return Ok((u128::from(memory) * u128::from(number) / 100) as u64),
        _ => return Err(Errno::EINVAL),
    };
    number.checked_mul(factor).ok_or(Errno::EINVAL)
}

fn id(text: &str) -> Result<u32> {
    text.parse().map_err(|_| Errno::EINVAL)
}

/// Which of the limits an option string names.
#[derive(Default)]
pub(super) struct Limits {
    pub(super) size: Option<u64>,
    pub(super) inodes: Option<u64>,
}

/// Applies an option string.
pub(super) fn parse(options: &mut TmpfsOptions, text: &[u8], memory: u64) -> Result<Limits> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let mut limits = Limits::default();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "size" => {
                options.size = size(value, memory)?;
                limits.size = Some(options.size);
            }
            "nr_blocks" => {
                options.size = size(value, memory)?.checked_mul(4096).ok_or(Errno::EINVAL)?;
                limits.size = Some(options.size);
            }
            "nr_inodes" => {
                options.inodes = size(value, memory)?;
                limits.inodes = Some(options.inodes);
            }
            "mode" => {
                options.mode = u32::from_str_radix(value, 8).map_err(|_| Errno::EINVAL)? & 0o7777;
            }
            "uid" => options.uid = id(value)?,
            "gid" => options.gid = id(value)?,
            "huge" | "mpol" | "inode32" | "inode64" | "noswap" | "swap" | "usrquota"
            | "grpquota" => {}
            _ => return Err(Errno::EINVAL),
        }
    }
    Ok(limits)
}

/// What /proc/mounts shows.
pub(super) fn show(size: u64, inodes: u64, root: (u32, u32, u32)) -> String {
    use core::fmt::Write as _;
    let mut text = String::new();
    if size != 0 {
        let _ = write!(text, ",size={}k", size / 1024);
    }
    if inodes != 0 {
        let _ = write!(text, ",nr_inodes={inodes}");
    }
    let (mode, uid, gid) = root;
    if mode != 0o1777 {
        let _ = write!(text, ",mode={mode:o}");
    }
    if uid != 0 {
        let _ = write!(text, ",uid={uid}");
    }
    if gid != 0 {
        let _ = write!(text, ",gid={gid}");
    }
    text
}
