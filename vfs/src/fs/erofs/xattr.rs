//! Extended attributes: some behind the inode, some shared between inodes.

use chitin_abi::{Errno, Result};

use super::Erofs;
use super::layout::Stored;

/// Bytes of the header behind the inode.
const HEADER: usize = 12;
/// Bytes of an entry without name and value.
const ENTRY: usize = 4;
/// The name begins with one of the image's own prefixes.
const LONG_PREFIX: u8 = 0x80;

/// An attribute with its whole name.
struct Attribute {
    name: Vec<u8>,
    value: Vec<u8>,
}

fn prefix(index: u8) -> Option<&'static str> {
    match index {
        1 => Some("user."),
        2 => Some("system.posix_acl_access"),
        3 => Some("system.posix_acl_default"),
        4 => Some("trusted."),
        6 => Some("security."),
        _ => None,
    }
}

/// Decodes the attribute at the start of `bytes`; also says where the next one begins. `None` in the place of an
/// attribute of a kind that is not shown.
fn decode(bytes: &[u8]) -> Result<(Option<Attribute>, usize)> {
    let [name_length, index, low, high] = *bytes.first_chunk::<ENTRY>().ok_or(Errno::EUCLEAN)?;
    let name_end = ENTRY.saturating_add(usize::from(name_length));
    let end = name_end.saturating_add(usize::from(u16::from_le_bytes([low, high])));
    let suffix = bytes.get(ENTRY..name_end).ok_or(Errno::EUCLEAN)?;
    let value = bytes.get(name_end..end).ok_or(Errno::EUCLEAN)?.to_vec();
    let prefix = if index & LONG_PREFIX == 0 { prefix(index) } else { None };
    let attribute =
        prefix.map(|prefix| Attribute { name: [prefix.as_bytes(), suffix].concat(), value });
    Ok((attribute, end.next_multiple_of(4)))
}

/// A shared attribute.
fn shared(fs: &Erofs, id: u32) -> Result<Option<Attribute>> {
    let at = fs.block(fs.super_block.xattr_block).checked_add(u64::from(id) * 4);
    let at = at.ok_or(Errno::EUCLEAN)?;
    let mut head = [0; ENTRY];
    fs.image.read(&mut head, at)?;
    let [name_length, _, low, high] = head;
    let size = ENTRY + usize::from(name_length) + usize::from(u16::from_le_bytes([low, high]));
    let mut bytes = vec![0; size];
    fs.image.read(&mut bytes, at)?;
    Ok(decode(&bytes)?.0)
}

/// All attributes of an inode.
fn all(fs: &Erofs, stored: &Stored) -> Result<Vec<Attribute>> {
    let size = usize::try_from(stored.xattr_size).map_err(|_| Errno::EUCLEAN)?;
    if size < HEADER {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; size];
    fs.image.read(&mut bytes, stored.xattr_offset)?;
    let count = usize::from(bytes.get(4).copied().unwrap_or(0));
    let (ids, mut rest) = bytes
        .get(HEADER..)
        .and_then(|rest| rest.split_at_checked(count.saturating_mul(4)))
        .ok_or(Errno::EUCLEAN)?;
    let mut found = Vec::new();
    for id in ids.as_chunks::<4>().0 {
        found.extend(shared(fs, u32::from_le_bytes(*id))?);
    }
    // Zeros at the end are padding.
    let used = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    let end = rest.len().saturating_sub(used);
    while rest.len() > end && rest.len() >= ENTRY {
        let (attribute, next) = decode(rest)?;
        found.extend(attribute);
        rest = rest.get(next..).unwrap_or_default();
    }
    Ok(found)
}

/// The value of an attribute.
pub(super) fn get(fs: &Erofs, stored: &Stored, name: &[u8]) -> Result<Vec<u8>> {
    let found = all(fs, stored)?.into_iter().find(|attribute| attribute.name == name);
    found.map(|attribute| attribute.value).ok_or(Errno::ENODATA)
}

/// The names of all attributes.
pub(super) fn list(fs: &Erofs, stored: &Stored) -> Result<Vec<Vec<u8>>> {
    Ok(all(fs, stored)?.into_iter().map(|attribute| attribute.name).collect())
}
