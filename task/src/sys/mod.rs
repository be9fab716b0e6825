//! Devices and file systems that the kernel brings: `/dev`'s devices, `/proc`, `/sys`, cgroup, `devtmpfs`.
//!
//! [`register`] puts all of them into the registries of [`chitin_vfs::env::VfsShared`], by which guests' `mount(2)`
//! and whoever builds a container's tree find them.

pub mod devices;
pub mod terminals;

use std::sync::Arc;

use crate::kernel::Kernel;

/// Registers devices and file-system types of a kernel.
pub fn register(kernel: &Arc<Kernel>) {
    let weak = Arc::downgrade(kernel);
    devices::register(&kernel.vfs, &weak);
    kernel.vfs.fs_types.register(Arc::new(crate::proc::ProcType::new(&weak)));
}
