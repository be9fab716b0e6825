//! UTS namespaces: host and domain name (`uts_namespaces(7)`).

use std::sync::Arc;

use chitin_abi::system::UTS_LEN;
use chitin_abi::{Errno, Result};
use parking_lot::RwLock;

use super::UserNamespace;

/// Host and domain name of a group of tasks.
pub struct UtsNamespace {
    /// Inode number in /proc/pid/ns.
    pub id: u64,
    /// The user namespace that owns it.
    pub user_ns: Arc<UserNamespace>,
    names: RwLock<(Vec<u8>, Vec<u8>)>,
}

impl UtsNamespace {
    /// A namespace with this host name.
    pub fn new(id: u64, user_ns: Arc<UserNamespace>, hostname: &[u8]) -> Arc<Self> {
        let hostname = hostname.get(..hostname.len().min(UTS_LEN)).unwrap_or_default().to_vec();
        Arc::new(Self { id, user_ns, names: RwLock::new((hostname, b"(none)".to_vec())) })
    }

    /// A copy with a number and owner of its own.
    pub fn copy(&self, id: u64, user_ns: Arc<UserNamespace>) -> Arc<Self> {
        let names = self.names.read().clone();
        Arc::new(Self { id, user_ns, names: RwLock::new(names) })
    }

    /// The host name.
    pub fn hostname(&self) -> Vec<u8> {
        self.names.read().0.clone()
    }

    /// The NIS domain name.
    pub fn domainname(&self) -> Vec<u8> {
        self.names.read().1.clone()
    }

    /// Changes the host name.
    ///
    /// # Errors
    /// EINVAL when it is too long.
    pub fn set_hostname(&self, name: &[u8]) -> Result<()> {
        check(name)?;
        self.names.write().0 = name.to_vec();
        Ok(())
    }

    /// Changes the domain name.
    ///
    /// # Errors
    /// EINVAL when it is too long.
    pub fn set_domainname(&self, name: &[u8]) -> Result<()> {
        check(name)?;
        self.names.write().1 = name.to_vec();
        Ok(())
    }
}

fn check(name: &[u8]) -> Result<()> {
    if name.len() > UTS_LEN { Err(Errno::EINVAL) } else { Ok(()) }
}
