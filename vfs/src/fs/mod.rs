//! File systems.

use std::sync::Arc;

use crate::fs_type::FsType;

pub mod devpts;
pub mod erofs;
pub mod gofer;
pub mod host;
mod inode_table;
pub mod overlay;
pub mod pseudo;
pub mod tmpfs;

/// The types that guests can mount without the rest of a kernel.
pub(crate) fn builtin_types() -> Vec<Arc<dyn FsType>> {
    vec![Arc::new(tmpfs::TmpfsType), Arc::new(overlay::OverlayType), Arc::new(erofs::ErofsType)]
}

#[cfg(test)]
mod walk_tests;
