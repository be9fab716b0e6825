//! Devices and file systems that the kernel brings: `/dev`'s devices, `/proc`, `/sys`, cgroup, `devtmpfs`.
//!
//! [`register`] puts all of them into the registries of [`chitin_vfs::env::VfsShared`], by which guests' `mount(2)`
//! and whoever builds a container's tree find them.

pub mod cgroup;
pub mod devices;
pub mod mqueue;
pub mod sysfs;
pub mod terminals;
pub mod tmpfs_like;
pub mod unbound;

use core::sync::atomic::Ordering;
use std::sync::Arc;

use crate::kernel::Kernel;

/// Registers devices and file-system types of a kernel.
pub fn register(kernel: &Arc<Kernel>) {
    let weak = Arc::downgrade(kernel);
    devices::register(&kernel.vfs, &weak);
    kernel.vfs.memory_total.store(kernel.machine.memory, Ordering::Relaxed);
    let types = &kernel.vfs.fs_types;
    types.register(Arc::new(crate::proc::ProcType::new(&weak)));
    types.register(Arc::new(sysfs::SysType::new(&weak)));
    types.register(Arc::new(cgroup::CgroupType::new(&weak)));
    types.register(Arc::new(mqueue::MqueueType::new(&weak)));
    types.register(Arc::new(tmpfs_like::RamType));
    types.register(Arc::new(tmpfs_like::DevType));
}
