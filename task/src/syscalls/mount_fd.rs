//! Mounting by descriptors: `fsopen(2)`, `fsconfig(2)`, `fsmount(2)`, `fspick(2)`, `open_tree(2)`, `move_mount(2)`,
//! `mount_setattr(2)`.

use core::any::Any;
use std::sync::Arc;

use chitin_abi::fs::{
    AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, FSCONFIG_CMD_CREATE,
    FSCONFIG_CMD_CREATE_EXCL, FSCONFIG_CMD_RECONFIGURE, FSCONFIG_SET_BINARY, FSCONFIG_SET_FD,
    FSCONFIG_SET_FLAG, FSCONFIG_SET_PATH, FSCONFIG_SET_PATH_EMPTY, FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC, FSPICK_CLOEXEC, FSPICK_EMPTY_PATH, FSPICK_NO_AUTOMOUNT,
    FSPICK_SYMLINK_NOFOLLOW, MOUNT_ATTR__ATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY, MOUNT_ATTR_RELATIME, MOUNT_ATTR_SIZE_VER0, MOUNT_ATTR_STRICTATIME,
    MOVE_MOUNT__MASK, MOVE_MOUNT_BENEATH, MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_F_SYMLINKS,
    MOVE_MOUNT_SET_GROUP, MOVE_MOUNT_T_EMPTY_PATH, MOVE_MOUNT_T_SYMLINKS, MountAttr,
    OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE, OpenFlags,
};
use chitin_abi::{Errno, GuestAddr, Result};
use chitin_vfs::file::{File, OpenFile};
use chitin_vfs::fs_type::FsType;
use chitin_vfs::inode::Inode;
use chitin_vfs::io::Sink;
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::DetachedFile;
use chitin_vfs::path::Path;
use chitin_vfs::super_block::SuperBlock;
use parking_lot::Mutex;

use super::args::{AtFlags, Fd, Flags, PathPtr};
use super::at::Target;
use super::mounts::{fs_type, own_mounts, propagation};
use super::open::read_extensible;
use crate::context::Ctx;
use crate::error::SysResult;

/// Longest parameter (`FSCONFIG_SET_STRING`) with its NUL.
const LONGEST: usize = 256;
/// Longest binary parameter.
const LONGEST_BINARY: i32 = 1 << 20;

/// What a context makes or changes.
enum Stage {
    /// Parameters are gathered for an instance of this type.
    New(Arc<dyn FsType>),
    /// The instance is made.
    Made(Arc<SuperBlock>, Arc<dyn Inode>),
    /// It is mounted: nothing more can be done.
    Done,
    /// Parameters are gathered for a change of this mount's file system.
    Change(Path),
}

struct Parameters {
    stage: Stage,
    source: Option<Vec<u8>>,
    options: Vec<u8>,
    read_only: Option<bool>,
}

/// What `fsopen(2)` and `fspick(2)` return.
struct FsContext {
    parameters: Mutex<Parameters>,
}

impl File for FsContext {
    fn as_any(&self) -> &dyn Any {
        self
    }

    /// The log of messages, which is empty.
    fn read_at(&self, _to: &mut dyn Sink, _offset: u64) -> Result<usize> {
        Err(Errno::ENODATA)
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:[fscontext]".to_vec())
    }
}

impl FsContext {
    fn install(cx: &Ctx<'_>, stage: Stage, close_on_exec: bool) -> SysResult {
        let parameters = Parameters { stage, source: None, options: Vec::new(), read_only: None };
        let context = Arc::new(Self { parameters: Mutex::new(parameters) });
        let file = OpenFile::new(context, None, OpenFlags::O_RDWR, cx.task.cred().fs_cred());
        Ok(cx.install_file(file, close_on_exec)?)
    }
}

/// The context of a descriptor.
fn with_context<T>(
    cx: &Ctx<'_>,
    fd: Fd,
    action: impl FnOnce(&mut Parameters) -> Result<T>,
) -> Result<T> {
    let file = cx.file(fd.0)?;
    let context = file.file().as_any().downcast_ref::<FsContext>().ok_or(Errno::EINVAL)?;
    action(&mut context.parameters.lock())
}

/// `fsopen(2)`.
pub fn fsopen(cx: &mut Ctx<'_>, name: PathPtr, flags: Flags) -> SysResult {
    own_mounts(cx)?;
    if flags.0 & !FSOPEN_CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    let found = fs_type(cx, &cx.read_path(name.0)?)?;
    FsContext::install(cx, Stage::New(found), flags.0 & FSOPEN_CLOEXEC != 0)
}

/// `fspick(2)`.
pub fn fspick(cx: &mut Ctx<'_>, dirfd: Fd, path: PathPtr, flags: Flags) -> SysResult {
    own_mounts(cx)?;
    let known = FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY_PATH;
    if flags.0 & !known != 0 {
        return Err(Errno::EINVAL.into());
    }
    let empty = flags.0 & FSPICK_EMPTY_PATH != 0;
    let found = find(cx, dirfd, path, empty, flags.0 & FSPICK_SYMLINK_NOFOLLOW == 0)?;
    if !found.is_mount_root() {
        return Err(Errno::EINVAL.into());
    }
    FsContext::install(cx, Stage::Change(found), flags.0 & FSPICK_CLOEXEC != 0)
}

/// Looks up a path with `AT_…`-like choices.
fn find(cx: &Ctx<'_>, dirfd: Fd, path: PathPtr, empty: bool, follow: bool) -> Result<Path> {
    let mut flags = 0;
    if empty {
        flags |= AT_EMPTY_PATH;
    }
    if !follow {
        flags |= AT_SYMLINK_NOFOLLOW;
    }
    match cx.target_at(&cx.path_caller(), dirfd.0, path.0, flags)? {
        Target::Path(path) => Ok(path),
        Target::File(file) => file.path().cloned().ok_or(Errno::EINVAL),
    }
}

/// Which arguments a command of `fsconfig(2)` takes.
fn check_arguments(cmd: u32, key: PathPtr, value: GuestAddr, aux: i32) -> Result<()> {
    let (key, value) = (!key.0.is_null(), !value.is_null());
    let valid = match cmd {
        FSCONFIG_SET_FLAG => key && !value && aux == 0,
        FSCONFIG_SET_STRING => key && value && aux == 0,
        FSCONFIG_SET_BINARY => key && value && aux > 0 && aux <= LONGEST_BINARY,
        FSCONFIG_SET_PATH | FSCONFIG_SET_PATH_EMPTY => key && value,
        FSCONFIG_SET_FD => key && !value && aux >= 0,
        FSCONFIG_CMD_CREATE | FSCONFIG_CMD_CREATE_EXCL | FSCONFIG_CMD_RECONFIGURE => {
            !key && !value && aux == 0
        }
        _ => return Err(Errno::EOPNOTSUPP),
    };
    if valid { Ok(()) } else { Err(Errno::EINVAL) }
}

fn read_parameter(cx: &Ctx<'_>, addr: GuestAddr) -> Result<Vec<u8>> {
    match chitin_mm::guest_memory::read_cstring(cx.memory(), addr, LONGEST) {
        Err(Errno::ENAMETOOLONG) => Err(Errno::EINVAL),
        other => other,
    }
}

/// `fsconfig(2)`.
pub fn fsconfig(
    cx: &mut Ctx<'_>,
    fd: Fd,
    cmd: u32,
    key: PathPtr,
    value: GuestAddr,
    aux: i32,
) -> SysResult {
    if fd.0 < 0 {
        return Err(Errno::EINVAL.into());
    }
    check_arguments(cmd, key, value, aux)?;
    match cmd {
        FSCONFIG_SET_FLAG => {
            let key = read_parameter(cx, key.0)?;
            with_context(cx, fd, |parameters| parameters.set_flag(&key))?;
        }
        FSCONFIG_SET_STRING => {
            let (key, value) = (read_parameter(cx, key.0)?, read_parameter(cx, value)?);
            with_context(cx, fd, |parameters| parameters.set_string(&key, &value))?;
        }
        FSCONFIG_SET_PATH | FSCONFIG_SET_PATH_EMPTY => {
            let (key, value) = (read_parameter(cx, key.0)?, cx.read_path(value)?);
            with_context(cx, fd, |parameters| parameters.set_string(&key, &value))?;
        }
        FSCONFIG_CMD_CREATE | FSCONFIG_CMD_CREATE_EXCL => create(cx, fd)?,
        FSCONFIG_CMD_RECONFIGURE => reconfigure(cx, fd)?,
        _ => {
            with_context(cx, fd, |_| Ok(()))?;
            return Err(Errno::EINVAL.into());
        }
    }
    Ok(0)
}

impl Parameters {
    fn check_open(&self) -> Result<()> {
        if matches!(self.stage, Stage::New(_) | Stage::Change(_)) {
            Ok(())
        } else {
            Err(Errno::EBUSY)
        }
    }

    fn set_flag(&mut self, key: &[u8]) -> Result<()> {
        self.check_open()?;
        match key {
            b"ro" => self.read_only = Some(true),
            b"rw" => self.read_only = Some(false),
            b"sync" | b"async" | b"dirsync" | b"lazytime" | b"nolazytime" | b"silent" => {}
            _ => self.push(key),
        }
        Ok(())
    }

    fn set_string(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.check_open()?;
        if key == b"source" {
            if self.source.is_some() {
                return Err(Errno::EINVAL);
            }
            self.source = Some(value.to_vec());
            return Ok(());
        }
        let option = [key, b"=", value].concat();
        if let Stage::New(fs_type) = &self.stage {
            fs_type.check_option(&option)?;
        }
        self.push(&option);
        Ok(())
    }

    fn push(&mut self, option: &[u8]) {
        if !self.options.is_empty() {
            self.options.push(b',');
        }
        self.options.extend_from_slice(option);
    }
}

fn create(cx: &Ctx<'_>, fd: Fd) -> Result<()> {
    let caller = cx.path_caller();
    with_context(cx, fd, |parameters| {
        own_mounts(cx)?;
        let Stage::New(found) = &parameters.stage else { return Err(Errno::EBUSY) };
        let source = parameters.source.clone().unwrap_or_default();
        let (super_block, root) = found.mount(&source, &parameters.options, &caller.walk())?;
        if parameters.read_only == Some(true) {
            super_block.set_read_only(true);
        }
        parameters.stage = Stage::Made(super_block, root);
        Ok(())
    })
}

fn reconfigure(cx: &Ctx<'_>, fd: Fd) -> Result<()> {
    let mounts = own_mounts(cx)?;
    with_context(cx, fd, |parameters| {
        let Stage::Change(path) = &parameters.stage else { return Err(Errno::EBUSY) };
        let mount = path.mount();
        let read_only = parameters.read_only.unwrap_or_else(|| mount.super_block().is_read_only());
        mounts.remount(path, mount.flags(), read_only, &parameters.options)
    })
}

/// The flags that `MOUNT_ATTR_…` bits name, all of those of access times replaced.
fn attribute_flags(bits: u64) -> Result<MountFlags> {
    let known = MOUNT_ATTR_RDONLY
        | MOUNT_ATTR_NOSUID
        | MOUNT_ATTR_NODEV
        | MOUNT_ATTR_NOEXEC
        | MOUNT_ATTR__ATIME
        | MOUNT_ATTR_NODIRATIME
        | MOUNT_ATTR_NOSYMFOLLOW;
    if bits & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let atime = match bits & MOUNT_ATTR__ATIME {
        MOUNT_ATTR_RELATIME => MountFlags::REL_ATIME,
        MOUNT_ATTR_NOATIME => MountFlags::NO_ATIME,
        MOUNT_ATTR_STRICTATIME => MountFlags::empty(),
        _ => return Err(Errno::EINVAL),
    };
    Ok(MountFlags::from_bits_truncate((bits & !MOUNT_ATTR__ATIME) as u32) | atime)
}

/// A descriptor of a mount that is attached nowhere.
fn install_detached(cx: &Ctx<'_>, root: Path, close_on_exec: bool) -> SysResult {
    let keeper = DetachedFile::new(root.clone());
    let file = OpenFile::new(keeper, Some(root), OpenFlags::O_PATH, cx.task.cred().fs_cred());
    Ok(cx.install_file(file, close_on_exec)?)
}

/// `fsmount(2)`.
pub fn fsmount(cx: &mut Ctx<'_>, fd: Fd, flags: Flags, attributes: Flags) -> SysResult {
    let mounts = own_mounts(cx)?;
    if flags.0 & !FSMOUNT_CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    let attributes = attribute_flags(attributes.0.into())?;
    let new = with_context(cx, fd, |parameters| {
        let (super_block, root) = match &parameters.stage {
            Stage::Made(super_block, root) => (super_block, root),
            Stage::Done => return Err(Errno::EBUSY),
            Stage::New(_) | Stage::Change(_) => return Err(Errno::EINVAL),
        };
        let new = NewMount {
            super_block: Arc::clone(super_block),
            root: Arc::clone(root),
            flags: attributes,
            source: parameters.source.clone().unwrap_or_default(),
        };
        parameters.stage = Stage::Done;
        Ok(new)
    })?;
    install_detached(cx, mounts.system().detached(&new), flags.0 & FSMOUNT_CLOEXEC != 0)
}

/// `open_tree(2)`.
pub fn open_tree(cx: &mut Ctx<'_>, dirfd: Fd, path: PathPtr, flags: Flags) -> SysResult {
    let known = AT_EMPTY_PATH
        | AT_NO_AUTOMOUNT
        | AT_RECURSIVE
        | AT_SYMLINK_NOFOLLOW
        | OPEN_TREE_CLONE
        | OPEN_TREE_CLOEXEC;
    let clone = flags.0 & OPEN_TREE_CLONE != 0;
    if flags.0 & !known != 0 || (flags.0 & AT_RECURSIVE != 0 && !clone) {
        return Err(Errno::EINVAL.into());
    }
    let mounts = if clone { Some(own_mounts(cx)?) } else { None };
    let found =
        find(cx, dirfd, path, flags.0 & AT_EMPTY_PATH != 0, flags.0 & AT_SYMLINK_NOFOLLOW == 0)?;
    let close_on_exec = flags.0 & OPEN_TREE_CLOEXEC != 0;
    match mounts {
        Some(mounts) => install_detached(
            cx,
            mounts.clone_tree(&found, flags.0 & AT_RECURSIVE != 0)?,
            close_on_exec,
        ),
        None => {
            let opened = cx.path_caller().walk().open_path(&found, OpenFlags::O_PATH)?;
            Ok(cx.install_file(opened.file, close_on_exec)?)
        }
    }
}

/// `open_tree_attr(2)`.
pub fn open_tree_attr(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    flags: Flags,
    attr: GuestAddr,
    size: usize,
) -> SysResult {
    if attr.is_null() && size == 0 {
        return open_tree(cx, dirfd, path, flags);
    }
    // Changing a mount that others see while it is opened needs a clone of it.
    if flags.0 & OPEN_TREE_CLONE == 0 {
        return Err(Errno::EINVAL.into());
    }
    let attr: MountAttr = read_extensible(cx, attr, size, MOUNT_ATTR_SIZE_VER0 as usize)?;
    let fd = open_tree(cx, dirfd, path, flags)?;
    let root = cx.any_file(fd as i32)?.path().cloned().ok_or(Errno::EINVAL)?;
    if let Err(error) = set_attributes(cx, &root, &attr, flags.0 & AT_RECURSIVE != 0) {
        let _ = cx.task.files().close(fd as i32);
        return Err(error.into());
    }
    Ok(fd)
}

/// `move_mount(2)`.
pub fn move_mount(
    cx: &mut Ctx<'_>,
    from_dir: Fd,
    from: PathPtr,
    to_dir: Fd,
    to: PathPtr,
    flags: Flags,
) -> SysResult {
    let mounts = own_mounts(cx)?;
    if flags.0 & !(MOVE_MOUNT__MASK | MOVE_MOUNT_BENEATH) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let flag = |bit| flags.0 & bit != 0;
    if flag(MOVE_MOUNT_SET_GROUP) || flag(MOVE_MOUNT_BENEATH) {
        return Err(Errno::EINVAL.into());
    }
    let from =
        find(cx, from_dir, from, flag(MOVE_MOUNT_F_EMPTY_PATH), flag(MOVE_MOUNT_F_SYMLINKS))?;
    let to = find(cx, to_dir, to, flag(MOVE_MOUNT_T_EMPTY_PATH), flag(MOVE_MOUNT_T_SYMLINKS))?;
    mounts.move_mount(&from, &to)?;
    Ok(0)
}

fn set_attributes(cx: &Ctx<'_>, path: &Path, attr: &MountAttr, recursive: bool) -> Result<()> {
    let mounts = own_mounts(cx)?;
    if attr.attr_set & MOUNT_ATTR__ATIME != 0
        && attr.attr_clr & MOUNT_ATTR__ATIME != MOUNT_ATTR__ATIME
    {
        return Err(Errno::EINVAL);
    }
    let changes_atime = attr.attr_clr & MOUNT_ATTR__ATIME != 0;
    if changes_atime && attr.attr_clr & MOUNT_ATTR__ATIME != MOUNT_ATTR__ATIME {
        return Err(Errno::EINVAL);
    }
    let atime = MountFlags::REL_ATIME | MountFlags::NO_ATIME;
    let (mut set, mut clear) =
        (attribute_flags(attr.attr_set)?, attribute_flags(attr.attr_clr & !MOUNT_ATTR__ATIME)?);
    clear.remove(atime);
    if changes_atime {
        clear.insert(atime);
    } else {
        set.remove(atime);
    }
    if attr.propagation != 0 {
        let kind = propagation(u32::try_from(attr.propagation).map_err(|_| Errno::EINVAL)?)?;
        mounts.set_propagation(path, kind, recursive)?;
    }
    if set.is_empty() && clear.is_empty() {
        Ok(())
    } else {
        mounts.set_flags(path, clear, set, recursive)
    }
}

/// `mount_setattr(2)`.
pub fn mount_setattr(
    cx: &mut Ctx<'_>,
    dirfd: Fd,
    path: PathPtr,
    flags: AtFlags,
    attr: GuestAddr,
    size: usize,
) -> SysResult {
    if flags.0 & !(AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0 {
        return Err(Errno::EINVAL.into());
    }
    let attr: MountAttr = read_extensible(cx, attr, size, MOUNT_ATTR_SIZE_VER0 as usize)?;
    own_mounts(cx)?;
    if attr.attr_set == 0 && attr.attr_clr == 0 && attr.propagation == 0 {
        return Ok(0);
    }
    let found =
        find(cx, dirfd, path, flags.0 & AT_EMPTY_PATH != 0, flags.0 & AT_SYMLINK_NOFOLLOW == 0)?;
    if !found.is_mount_root() {
        return Err(Errno::EINVAL.into());
    }
    set_attributes(cx, &found, &attr, flags.0 & AT_RECURSIVE != 0)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_translate() {
        assert_eq!(attribute_flags(0), Ok(MountFlags::REL_ATIME));
        assert_eq!(
            attribute_flags(MOUNT_ATTR_NOATIME | MOUNT_ATTR_RDONLY),
            Ok(MountFlags::NO_ATIME | MountFlags::READ_ONLY)
        );
        assert_eq!(attribute_flags(MOUNT_ATTR_STRICTATIME), Ok(MountFlags::empty()));
        assert_eq!(attribute_flags(MOUNT_ATTR__ATIME), Err(Errno::EINVAL));
        assert_eq!(attribute_flags(1 << 40), Err(Errno::EINVAL));
    }

    #[test]
    fn commands_take_their_arguments() {
        let (some, none) = (PathPtr(GuestAddr(1)), PathPtr(GuestAddr::NULL));
        assert_eq!(check_arguments(FSCONFIG_SET_STRING, some, GuestAddr(1), 0), Ok(()));
        assert_eq!(
            check_arguments(FSCONFIG_SET_STRING, some, GuestAddr::NULL, 0),
            Err(Errno::EINVAL)
        );
        assert_eq!(check_arguments(FSCONFIG_CMD_CREATE, none, GuestAddr::NULL, 0), Ok(()));
        assert_eq!(
            check_arguments(FSCONFIG_CMD_CREATE, some, GuestAddr::NULL, 0),
            Err(Errno::EINVAL)
        );
        assert_eq!(check_arguments(99, none, GuestAddr::NULL, 0), Err(Errno::EOPNOTSUPP));
    }
}
