//! Mapped files that know the path they were opened by.
//!
//! A file system knows files, not where they are mounted; /proc/pid/maps shows the path. A mapping also keeps
//! the mount in use that way, as on Linux.

use core::any::Any;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::addr::page_ceil;
use chitin_abi::mm::{MAP_PRIVATE, MAP_TYPE, MapFlags, ProtFlags};
use chitin_mm::MappedFile;
use chitin_mm::platform::{KnownCode, Platform};
use chitin_vfs::file::OpenFile;
use chitin_vfs::path::Path;

enum Name {
    /// As seen from a root directory.
    Path { path: Path, root: Path },
    /// Of a file without a place: `/memfd:x (deleted)`.
    Text(Vec<u8>),
}

/// A mapped file and its name.
struct Named {
    file: Arc<dyn MappedFile>,
    name: Name,
}

/// What the platform knows of the code in a part of a host file, if it is mapped as code is.
pub fn known_code(
    platform: &dyn Platform,
    prot: ProtFlags,
    flags: MapFlags,
    (file, offset): &(Arc<OwnedFd>, u64),
    len: u64,
) -> Option<KnownCode> {
    let is_code = prot == ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
    let is_private = flags.bits() & MAP_TYPE == MAP_PRIVATE;
    let len = page_ceil(len).filter(|_| is_code && is_private)?;
    platform.known_code(file, *offset, len)
}

/// What a mapping of an open file is made of. `root` is where its path is seen from.
///
/// # Errors
/// ENODEV where it cannot be mapped.
pub fn map(file: &OpenFile, root: &Path) -> Result<Arc<dyn MappedFile>> {
    let mapped = file.file().map()?;
    let name = match (file.path(), file.file().link_text()) {
        (_, Some(text)) => Name::Text(text),
        (Some(path), None) => Name::Path { path: path.clone(), root: root.clone() },
        (None, None) => return Ok(mapped),
    };
    Ok(Arc::new(Named { file: mapped, name }))
}

impl MappedFile for Named {
    fn host_file(&self, offset: u64, len: u64, write: bool) -> Result<(Arc<OwnedFd>, u64)> {
        self.file.host_file(offset, len, write)
    }

    fn dev(&self) -> u64 {
        self.file.dev()
    }

    fn ino(&self) -> u64 {
        self.file.ino()
    }

    fn path(&self) -> Vec<u8> {
        match &self.name {
            Name::Path { path, root } => path.text(root).into_link(),
            Name::Text(text) => text.clone(),
        }
    }

    fn key(&self) -> u64 {
        self.file.key()
    }

    fn as_any(&self) -> &dyn Any {
        self.file.as_any()
    }

    fn mapped(&self, shared_writable: bool) {
        self.file.mapped(shared_writable);
    }

    fn unmapped(&self, shared_writable: bool) {
        self.file.unmapped(shared_writable);
    }

    fn write_sealed(&self) -> bool {
        self.file.write_sealed()
    }
}
