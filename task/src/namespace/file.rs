//! Namespaces as files: what opening `/proc/pid/ns/…` gives (`ioctl_ns(2)`).

use core::any::Any;

use chitin_abi::Result;
use chitin_vfs::anon::AnonInode;
use chitin_vfs::attr::Attr;
use chitin_vfs::file::File;

use super::unshare::AnyNamespace;

/// Minor device number of the file system of namespaces.
const NSFS_MINOR: u32 = 4;

/// An open namespace: keeps it alive, and is what `setns(2)` takes.
pub struct NamespaceFile {
    namespace: AnyNamespace,
}

impl NamespaceFile {
    /// A file of a namespace.
    pub fn new(namespace: AnyNamespace) -> Self {
        Self { namespace }
    }

    /// The namespace.
    pub fn namespace(&self) -> &AnyNamespace {
        &self.namespace
    }
}

impl File for NamespaceFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Option<Attr>> {
        let mode = chitin_abi::fs::S_IFREG | 0o444;
        let dev = chitin_abi::fs::makedev(0, NSFS_MINOR);
        Ok(Some(Attr { ino: self.namespace.id(), mode, dev, ..AnonInode::anonymous().attr() }))
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(format!("{}:[{}]", self.namespace.kind(), self.namespace.id()).into_bytes())
    }
}
