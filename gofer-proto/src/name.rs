//! Path components.

use crate::wire::DecodeError;

/// Longest component.
pub const NAME_MAX: usize = 255;

/// A single component of a path: not empty, no `/` or NUL, neither `.` nor `..`, at most 255 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Checks a component.
    ///
    /// # Errors
    /// [`DecodeError::BadName`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let reserved = matches!(bytes, b"" | b"." | b"..");
        if reserved || bytes.len() > NAME_MAX || bytes.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(DecodeError::BadName);
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_components() {
        for good in [&b"a"[..], b"...", b".a", b"a b", b"\xff", &[b'x'; 255]] {
            assert_eq!(Name::new(good).unwrap().bytes(), good);
        }
        for bad in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0", &[b'x'; 256]] {
            assert_eq!(Name::new(bad), Err(DecodeError::BadName));
        }
    }
}
