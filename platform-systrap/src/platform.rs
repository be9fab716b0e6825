//! The platform itself.

use std::io;
use std::sync::Arc;

use chitin_abi::Errno;
use chitin_mm::platform::{AddressSpace, Capabilities, Doorbell, Platform, PlatformFuture};

/// How to make a [`Systrap`].
#[derive(Clone, Copy, Debug)]
pub struct SystrapConfig {
    /// Worker threads of the scheduler: one doorbell each, 1 to 64.
    pub workers: usize,
}

/// Guest processes driven by seccomp and SIGSYS.
pub struct Systrap {
    _workers: usize,
}

impl Systrap {
    /// Makes the platform and the process that stubs are copied from. To be called while the sentry has one
    /// thread, before it loads its own seccomp filter; that thread must live as long as the platform.
    ///
    /// # Errors
    /// What the host refuses.
    pub fn new(config: SystrapConfig) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { _workers: config.workers }))
    }
}

struct Silent;

impl Doorbell for Silent {
    fn collect(&self) -> usize {
        0
    }

    fn wait(&self, _deadline: Option<u64>) {}

    fn ring(&self) {}
}

impl Platform for Systrap {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "systrap",
            min_address: 0x1_0000,
            max_address: 0x7fff_0000_0000,
            vdso: None,
            xsave_size: 576,
            hwcap: 0,
            hwcap2: 0,
            min_signal_stack: 2048,
        }
    }

    fn new_address_space(&self) -> PlatformFuture<'_, Arc<dyn AddressSpace>> {
        Box::pin(async { Err(Errno::ENOSYS) })
    }

    fn doorbell(&self, _worker: usize) -> Arc<dyn Doorbell> {
        Arc::new(Silent)
    }
}
