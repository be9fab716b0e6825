//! `mount -t overlay -o lowerdir=…,upperdir=…,workdir=…`.

use std::sync::Arc;

use chitin_abi::{Errno, Result};

use super::{Overlay, OverlayOptions};
use crate::fs_type::FsType;
use crate::inode::Inode;
use crate::path::Path;
use crate::super_block::SuperBlock;
use crate::walk::Walk;

/// Lower layers of one mount.
const MAX_LOWERS: usize = 500;

/// The type that guests mount.
pub(in crate::fs) struct OverlayType;

/// Splits at a separator that no backslash protects, and takes the backslashes away.
fn split(text: &[u8], separator: u8, keep_escapes: bool) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        let escaped = if byte == b'\\' { bytes.next() } else { None };
        if escaped.is_none() && byte == separator {
            parts.push(Vec::new());
            continue;
        }
        let Some(part) = parts.last_mut() else { continue };
        match escaped {
            Some(escaped) if keep_escapes => part.extend_from_slice(&[byte, escaped]),
            Some(escaped) => part.push(escaped),
            None => part.push(byte),
        }
    }
    parts
}

#[derive(Default)]
struct Dirs {
    lower: Vec<Vec<u8>>,
    upper: Option<Vec<u8>>,
    work: Option<Vec<u8>>,
}

fn parse(options: &[u8]) -> Result<(Dirs, String)> {
    let mut dirs = Dirs::default();
    let mut shown = String::new();
    for option in split(options, b',', true).into_iter().filter(|option| !option.is_empty()) {
        let at = option.iter().position(|byte| *byte == b'=').unwrap_or(option.len());
        let (name, value) = option.split_at(at);
        let value = value.get(1..).unwrap_or_default();
        match name {
            b"lowerdir" => dirs.lower = split(value, b':', false),
            b"lowerdir+" => dirs.lower.push(value.to_vec()),
            b"upperdir" => dirs.upper = Some(split(value, 0, false).concat()),
            b"workdir" => dirs.work = Some(split(value, 0, false).concat()),
            b"redirect_dir"
            | b"index"
            | b"xino"
            | b"metacopy"
            | b"uuid"
            | b"nfs_export"
            | b"userxattr"
            | b"volatile"
            | b"default_permissions" => {}
            _ => return Err(Errno::EINVAL),
        }
        shown.push(',');
        shown.push_str(&String::from_utf8_lossy(&option));
    }
    Ok((dirs, shown))
}

/// Whether an option string would be understood; as /proc/mounts would show it. For tests of hostile strings.
///
/// # Errors
/// EINVAL.
#[doc(hidden)]
pub fn check_options(options: &[u8]) -> Result<String> {
    parse(options).map(|(_, shown)| shown)
}

fn directory(walk: &Walk<'_>, path: &[u8]) -> Result<Path> {
    let path = walk.lookup(path, true)?;
    if path.dentry().is_dir() { Ok(path) } else { Err(Errno::ENOTDIR) }
}

impl FsType for OverlayType {
    fn name(&self) -> &str {
        "overlay"
    }

    fn user_mountable(&self) -> bool {
        true
    }

    fn mount(
        &self,
        source: &[u8],
        options: &[u8],
        walk: &Walk<'_>,
    ) -> Result<(Arc<SuperBlock>, Arc<dyn Inode>)> {
        let (dirs, shown) = parse(options)?;
        if dirs.lower.is_empty() || dirs.lower.len() > MAX_LOWERS {
            return Err(Errno::EINVAL);
        }
        let mut lowers = Vec::new();
        for path in &dirs.lower {
            lowers.push(directory(walk, path)?.inode());
        }
        let upper = match (&dirs.upper, &dirs.work) {
            (Some(upper), Some(work)) => {
                let (upper, work) = (directory(walk, upper)?, directory(walk, work)?);
                if !Arc::ptr_eq(upper.mount(), work.mount())
                    || upper.is_below(&work)
                    || work.is_below(&upper)
                {
                    return Err(Errno::EINVAL);
                }
                if upper.mount().is_read_only() {
                    None
                } else {
                    // Names come and go there without the dentry cache's knowledge from now on.
                    upper.dentry().cache().distrust();
                    Some(upper.inode())
                }
            }
            (Some(_), None) => return Err(Errno::EINVAL),
            (None, _) => None,
        };
        if upper.is_none() && dirs.upper.is_none() && lowers.len() < 2 {
            return Err(Errno::EINVAL);
        }
        let options = OverlayOptions {
            shown,
            source: source.to_vec(),
            lower_markers: true,
            clock: Arc::clone(&walk.env.shared.clock),
        };
        Overlay::new(upper, lowers, options)
    }
}
