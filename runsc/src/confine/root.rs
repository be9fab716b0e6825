//! A root directory with nothing in it but the single files that are bound into the container.
//!
//! A directory of the host is a detached mount that somebody holds a descriptor of. A single file cannot be: the
//! file server works relative to directories. Such files are mounted on empty files `0`, `1`, … of the new root.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use rustix::process::{fchdir, pivot_root};

use crate::error::{Context as _, Result};

/// The new root, in place above the old one but not entered.
#[derive(Debug)]
pub(crate) struct EmptyRoot {
    directory: OwnedFd,
    files: usize,
}

impl EmptyRoot {
    /// Makes the directory.
    pub(crate) fn new() -> Result<Self> {
        let make = || -> rustix::io::Result<OwnedFd> {
            let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
            for (key, value) in [("size", "4k"), ("mode", "0555")] {
                fsconfig_set_string(&context, key, value)?;
            }
            fsconfig_create(&context)?;
            let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
            let directory = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
            // Above the old root, whose paths still lead where they led: they begin below.
            move_mount(&directory, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            Ok(directory)
        };
        Ok(Self { directory: make().context(|| "cannot make an empty root directory")?, files: 0 })
    }

    /// Mounts `/proc` for the time until [`hide_proc`]: that of the sandbox's own processes, with nothing in it but
    /// them, or where the host does not allow that, the host's.
    pub(crate) fn attach_proc(&self) -> Result<()> {
        let attach = || -> rustix::io::Result<()> {
            let proc = own_proc().or_else(|_| host_proc())?;
            mkdirat(&self.directory, "proc", Mode::from_raw_mode(0o555))?;
            move_mount(&proc, "", &self.directory, "proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        };
        attach().context(|| "cannot mount /proc for the start")
    }

    /// Mounts a file (a detached copy of its mount) and says by what name.
    pub(crate) fn attach(&mut self, file: &OwnedFd) -> io::Result<String> {
        let name = self.files.to_string();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        drop(openat(&self.directory, &name, flags, Mode::empty())?);
        move_mount(file, "", &self.directory, &name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        self.files += 1;
        Ok(name)
    }

    /// Enters the new root and lets go of the host's mounts. Gives the directory if there is something in it.
    pub(crate) fn enter(self) -> Result<Option<OwnedFd>> {
        crate::raw::mount_setattr(self.directory.as_fd(), libc::MOUNT_ATTR_RDONLY, false)
            .context(|| "cannot make the root directory read-only")?;
        let pivot = || -> rustix::io::Result<()> {
            fchdir(&self.directory)?;
            pivot_root(".", ".")?;
            // The old root lies above the new one now.
            unmount(".", UnmountFlags::DETACH)?;
            rustix::process::chdir("/")
        };
        pivot().context(|| "cannot leave the host's files")?;
        Ok(Some(self.directory).filter(|_| self.files > 0))
    }
}

fn own_proc() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // Neither /proc/sys, whose files the host's root may write even without capabilities, nor anything else.
    fsconfig_set_string(&context, "subset", "pid")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn host_proc() -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, "/proc", flags)
}

/// Takes `/proc` away. Descriptors of it stay usable.
pub(crate) fn hide_proc() -> Result<()> {
    unmount("/proc", UnmountFlags::DETACH).context(|| "cannot unmount /proc")
}

/// Opens what takes the place of the standard descriptors, which belong to the command.
pub(crate) fn open_null() -> Result<File> {
    File::options().read(true).write(true).open("/dev/null").context(|| "cannot open /dev/null")
}
