//! Files that bodies work with, in the test's own directory.

use chitin_abi::fs::{O_CREAT, O_RDWR, O_TRUNC};

use super::{Calls, Fd, Kernel};

/// Making files; a failure here is a failure of the test's set-up.
pub trait Files {
    /// A file of this content, open for reading and writing at position 0.
    fn file(&self, name: &str, content: &[u8]) -> Fd;
    /// The content of a file.
    fn content(&self, name: &str) -> Vec<u8>;
}

impl Files for dyn Kernel + '_ {
    fn file(&self, name: &str, content: &[u8]) -> Fd {
        let fd = self.open(name, O_RDWR | O_CREAT | O_TRUNC, 0o644);
        let fd = fd.unwrap_or_else(|errno| panic!("set-up: open {name}: {errno:?}"));
        assert_eq!(self.pwrite(fd, content, 0), Ok(content.len()), "set-up: write {name}");
        fd
    }

    fn content(&self, name: &str) -> Vec<u8> {
        let fd = self.open(name, 0, 0).unwrap_or_else(|errno| panic!("open {name}: {errno:?}"));
        let content = self.read_some(fd, 1 << 20);
        assert_eq!(self.close(fd), Ok(()));
        content.unwrap_or_else(|errno| panic!("read {name}: {errno:?}"))
    }
}
