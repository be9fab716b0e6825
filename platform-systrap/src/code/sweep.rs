//! Whether a call stands somewhere in a file.
//!
//! A guest can jump into the middle of an instruction whose bytes happen to be those of a call, and trap there. Rewriting that place
//! would break the code of all who map the file. So the instructions in front are decoded, from many places: wherever one
//! begins, sooner or later the true instructions are met, and almost all beginnings must come to the call.

use std::os::fd::OwnedFd;

use iced_x86::{Decoder, DecoderOptions};

use super::Identity;
use crate::patch::{self, Shape};

/// How far in front the decoding begins.
const RUN_UP: u64 = 320;
/// From so many places, one byte apart.
const BEGINNINGS: usize = 16;
/// So many may go astray.
const ASTRAY: usize = 2;
/// The longest of what follows a call that matters.
const BEHIND: u64 = 16;

/// What stands at the call that ends `end` bytes into this part of a file.
pub(super) fn site(file: &OwnedFd, part: &Identity, end: u64, number: u32) -> Option<Shape> {
    let start = end.saturating_sub(RUN_UP);
    let stop = end.checked_add(BEHIND)?.min(part.len);
    let mut bytes = vec![0; usize::try_from(stop.checked_sub(start)?).ok()?];
    let read = rustix::io::pread(file, &mut bytes, part.offset.checked_add(start)?).ok()?;
    bytes.truncate(read);
    find(&bytes, usize::try_from(end - start).ok()?, number)
}

/// The same in bytes, of which `end` are in front of the call's end.
fn find(bytes: &[u8], end: usize, number: u32) -> Option<Shape> {
    let (before, after) = bytes.split_at_checked(end)?;
    // Any address will do.
    const RIP: u64 = 1 << 40;
    let site = patch::recognise(RIP, before, after, number.into())?;
    let target = end.checked_sub(usize::try_from(RIP - site.start).ok()?)?;
    let astray = (0..BEGINNINGS).filter(|first| !comes_to(bytes, *first, target)).count();
    (target >= BEGINNINGS && astray <= ASTRAY).then_some(site.shape)
}

/// Whether one of the instructions from `first` on begins at `target`.
fn comes_to(bytes: &[u8], first: usize, target: usize) -> bool {
    let Some(code) = bytes.get(first..) else { return false };
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    while decoder.can_decode() && first + decoder.position() < target {
        let _ = decoder.decode();
    }
    first + decoder.position() == target
}

#[cfg(test)]
mod tests {
    use super::{Shape, find};

    /// Something like the code in front of a call, long enough.
    fn code(tail: &[u8]) -> Vec<u8> {
        let some =
            [0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x18, 0x8b, 0x45, 0x08, 0x85, 0xc0, 0x74, 0x05];
        let mut code: Vec<u8> = some.iter().copied().cycle().take(14 * 22).collect();
        code.extend(tail);
        code
    }

    const BEHIND: [u8; 8] = [0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, 0x73, 0x01];

    #[test]
    fn calls_are_found() {
        let mut bytes = code(&[0xb8, 39, 0, 0, 0, 0x0f, 0x05]);
        let end = bytes.len();
        bytes.extend([0xc3]);
        assert_eq!(find(&bytes, end, 39), Some(Shape::Number(39)));
        assert_eq!(find(&bytes, end, 40), None, "nothing behind it can be moved");
        let mut bytes = code(&[0x0f, 0x05]);
        let end = bytes.len();
        bytes.extend(BEHIND);
        assert!(matches!(find(&bytes, end, 1), Some(Shape::Next(_, 6))));
    }

    #[test]
    fn calls_inside_of_other_instructions_are_none() {
        // movabs $0x...050f...: a call for who jumps into it.
        let mut bytes = code(&[0x48, 0xb8, 0x90, 0x90, 0x90, 0x90, 0x0f, 0x05]);
        let end = bytes.len();
        bytes.extend(BEHIND);
        assert_eq!(find(&bytes, end, 1), None);
        let mut bytes = code(&[0x48, 0xb9, 0xb8, 39, 0, 0, 0, 0x0f, 0x05]);
        let end = bytes.len();
        bytes.extend(BEHIND);
        assert_eq!(find(&bytes, end, 39), None);
        assert_eq!(find(&BEHIND, 6, 1), None);
        assert_eq!(find(&[0x0f, 0x05], 2, 1), None, "too little in front");
    }
}
