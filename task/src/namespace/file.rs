//! Namespaces as files: what opening `/proc/pid/ns/…` gives (`ioctl_ns(2)`).

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::{
    NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_PARENT, NS_GET_USERNS, OpenFlags, S_IFREG, makedev,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::anon::AnonInode;
use chitin_vfs::attr::Attr;
use chitin_vfs::cred::Cred;
use chitin_vfs::file::{File, IoctlContext, OpenFile};

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

    /// An open file of a namespace.
    pub fn open(namespace: AnyNamespace, cred: Cred) -> Arc<OpenFile> {
        OpenFile::new(Arc::new(Self::new(namespace)), None, OpenFlags::empty(), cred)
    }

    /// The namespace.
    pub fn namespace(&self) -> &AnyNamespace {
        &self.namespace
    }

    fn parent(&self) -> Result<AnyNamespace> {
        match &self.namespace {
            AnyNamespace::Pid(ns) => ns.parent().cloned().map(AnyNamespace::Pid),
            AnyNamespace::User(ns) => ns.parent().cloned().map(AnyNamespace::User),
            _ => return Err(Errno::EINVAL),
        }
        .ok_or(Errno::EPERM)
    }
}

impl File for NamespaceFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn attr(&self) -> Result<Option<Attr>> {
        let (mode, dev) = (S_IFREG | 0o444, makedev(0, NSFS_MINOR));
        Ok(Some(Attr { ino: self.namespace.id(), mode, dev, ..AnonInode::anonymous().attr() }))
    }

    fn ioctl(&self, command: u32, argument: GuestAddr, context: &dyn IoctlContext) -> Result<u64> {
        let open = |namespace: AnyNamespace| {
            context.install_file(Self::open(namespace, context.cred().clone()), true)
        };
        match command {
            NS_GET_USERNS => open(AnyNamespace::User(self.namespace.owner().ok_or(Errno::EPERM)?)),
            NS_GET_PARENT => open(self.parent()?),
            NS_GET_NSTYPE => Ok(self.namespace.flag()),
            NS_GET_OWNER_UID => match &self.namespace {
                AnyNamespace::User(ns) => {
                    context.memory().write(argument, &ns.owner().to_ne_bytes())?;
                    Ok(0)
                }
                _ => Err(Errno::EINVAL),
            },
            _ => Err(Errno::ENOTTY),
        }
    }

    fn reopen(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn File>> {
        Ok(self)
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(format!("{}:[{}]", self.namespace.kind(), self.namespace.id()).into_bytes())
    }
}
