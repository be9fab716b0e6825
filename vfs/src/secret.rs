//! Files of `memfd_secret(2)`: memory that is reached by shared mappings only.
//!
//! The memory is that of a file in memory ([`crate::memfd`]) that nothing else leads to: it can neither be read and
//! written by calls nor change its size once it has one.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::{S_IFMT, S_IFREG};
use chitin_abi::{Errno, Result};

use crate::attr::{Attr, SetAttr};
use crate::file::{File, OpenFile};

/// Secret memory.
pub struct SecretFile {
    memory: Arc<OpenFile>,
}

impl SecretFile {
    /// A file over an open file in memory that nobody else has.
    pub fn new(memory: Arc<OpenFile>) -> Self {
        Self { memory }
    }
}

impl File for SecretFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn attr(&self) -> Result<Option<Attr>> {
        let attr = self.memory.attr()?;
        Ok(Some(Attr { mode: S_IFREG | (attr.mode & !S_IFMT & 0o600), ..attr }))
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        let path = self.memory.path().ok_or(Errno::EINVAL)?;
        let inode = path.dentry().inode();
        let attr = inode.attr()?;
        if change.size.is_some() && attr.size != 0 {
            return Err(Errno::EINVAL);
        }
        inode.set_attr(change, attr.mtime)
    }

    fn map(&self) -> Result<Arc<dyn chitin_mm::MappedFile>> {
        self.memory.file().map()
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"/secretmem (deleted)".to_vec())
    }
}
