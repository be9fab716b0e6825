//! The container's files: its root, its mounts, its devices, and what it must not see or change.
//!
//! All of it happens inside the sandbox's own kernel: paths are walked by the kernel's rules from the container's
//! root, so that a symbolic link in an image leads nowhere else.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path as HostPath};
use std::sync::Arc;

use chitin_abi::Errno;
use chitin_abi::fs::{OpenFlags, S_IFREG, makedev};
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::overlay::{Overlay, OverlayOptions};
use chitin_vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use chitin_vfs::io::SliceSource;
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::{MountNamespace, Propagation};
use chitin_vfs::path::Path;
use chitin_vfs::walk::{ResolveFlags, Walk};

use super::storage::{Instance, Source, Storage};
use crate::error::{Context as _, Failure, Result};
use crate::oci::mounts::{self, Flags, Kind, PropagationKind};
use crate::oci::plan::usual_devices;
use crate::sandbox::{DevicePlan, Plan};

/// Makes the mount namespace of a container.
pub(super) fn build(
    plan: &Plan,
    mut storage: Storage,
    env: &VfsEnv,
) -> Result<Arc<MountNamespace>> {
    let root = root_mount(plan, &mut storage, env)?;
    let namespace = MountNamespace::new(root);
    namespace.system().obey(&env.shared.sysctls);
    let mut builder = Builder { namespace, env, cred: Cred::root(), storage, files: None };
    let mut sealed = Vec::new();
    for mount in &plan.mounts {
        let path = builder.mount(mount)?;
        if mount.flags.read_only {
            sealed.push(path);
        }
    }
    builder.devices(plan)?;
    plan.sysctl.iter().for_each(|(name, value)| builder.sysctl(name, value));
    for path in sealed {
        builder.seal(&path, false)?;
    }
    for path in &plan.readonly_paths {
        builder.make_read_only(path)?;
    }
    for path in &plan.masked_paths {
        builder.mask(path)?;
    }
    if plan.root.read_only {
        builder.seal(&builder.namespace.root(), false)?;
    }
    Ok(builder.namespace)
}

struct Builder<'a> {
    namespace: Arc<MountNamespace>,
    env: &'a VfsEnv,
    cred: Cred,
    storage: Storage,
    /// The directory of single files, once one was asked for.
    files: Option<Path>,
}

fn root_mount(plan: &Plan, storage: &mut Storage, env: &VfsEnv) -> Result<NewMount> {
    let describe = || format!("cannot use {} as the root", plan.root.source.display());
    let new = |(super_block, root): Instance, source: &[u8]| NewMount {
        super_block,
        root,
        flags: MountFlags::REL_ATIME,
        source: source.to_vec(),
    };
    let Source::Directory(instance) = storage.root().context(describe)? else {
        let source = plan.root.source.display();
        return Err(Failure::new(format!("the root {source} is not a directory")));
    };
    if !plan.root.overlay {
        return Ok(new(instance, b"none"));
    }
    let (_, lower) = instance;
    let attr = lower.attr().context(describe)?;
    let options = TmpfsOptions {
        mode: attr.mode & 0o7777,
        uid: attr.uid,
        gid: attr.gid,
        clock: Arc::clone(&env.shared.clock),
        ..TmpfsOptions::default()
    };
    let (_, upper) = Tmpfs::new(options).context(describe)?;
    let options =
        OverlayOptions { clock: Arc::clone(&env.shared.clock), ..OverlayOptions::default() };
    Ok(new(Overlay::new(Some(upper), vec![lower], options).context(describe)?, b"overlay"))
}

impl Builder<'_> {
    fn walk_from(&self, root: Path) -> Walk<'_> {
        Walk {
            base: root.clone(),
            root,
            cred: &self.cred,
            umask: 0,
            now: self.env.shared.clock.now(),
            resolve: ResolveFlags::empty(),
            env: self.env,
        }
    }

    fn walk(&self) -> Walk<'_> {
        self.walk_from(self.namespace.root())
    }

    fn mount(&mut self, mount: &mounts::Plan) -> Result<Path> {
        let describe = || format!("mount {}", mount.destination.display());
        let flags = flags(mount.flags);
        let path = match &mount.kind {
            Kind::Internal { fs_type, source, data } => {
                let at = self.place(&mount.destination, true).context(describe)?;
                let new = self.internal(fs_type, source, data, flags).context(describe)?;
                self.namespace.mount(&at, new).context(describe)?
            }
            Kind::Bind { source, .. } => {
                let device = source.as_os_str().as_bytes();
                let source = self.storage.next(device).context(describe)?;
                let directory = matches!(source, Source::Directory(_));
                let at = self.place(&mount.destination, directory).context(describe)?;
                self.bind(source, &at, flags, device).context(describe)?
            }
        };
        if let Some(propagation) = mount.propagation {
            let kind = match propagation.kind {
                PropagationKind::Private => Propagation::Private,
                PropagationKind::Shared => Propagation::Shared,
                PropagationKind::Slave => Propagation::Slave,
                PropagationKind::Unbindable => Propagation::Unbindable,
            };
            self.namespace.set_propagation(&path, kind, propagation.recursive).context(describe)?;
        }
        Ok(path)
    }

    fn bind(
        &mut self,
        source: Source,
        at: &Path,
        flags: MountFlags,
        device: &[u8],
    ) -> core::result::Result<Path, Errno> {
        match source {
            Source::Directory((super_block, root)) => {
                let source = device.to_vec();
                self.namespace.mount(at, NewMount { super_block, root, flags, source })
            }
            Source::File(name) => {
                let directory = self.single_files()?;
                let file = self.walk_from(directory).lookup(name.as_bytes(), false)?;
                let path = self.namespace.bind(&file, at, false)?;
                self.namespace.set_flags(&path, MountFlags::empty(), flags, false)?;
                Ok(path)
            }
        }
    }

    /// Where single files are.
    fn single_files(&mut self) -> core::result::Result<Path, Errno> {
        if let Some(path) = &self.files {
            return Ok(path.clone());
        }
        let (super_block, root) = self.storage.files()?;
        let flags = MountFlags::REL_ATIME;
        let mount = NewMount { super_block, root, flags, source: b"none".to_vec() };
        let path = self.namespace.system().detached(&mount);
        self.files = Some(path.clone());
        Ok(path)
    }

    fn internal(
        &self,
        fs_type: &str,
        source: &[u8],
        data: &[u8],
        flags: MountFlags,
    ) -> core::result::Result<NewMount, Errno> {
        let types = &self.env.shared.fs_types;
        let found = match types.find(fs_type.as_bytes()) {
            // A kernel without these still has to offer a directory to find nothing in.
            Err(Errno::ENODEV)
                if matches!(fs_type, "devtmpfs" | "ramfs" | "cgroup" | "cgroup2" | "mqueue") =>
            {
                crate::log::debug(|| {
                    format!("an empty directory takes the place of file system {fs_type}")
                });
                let (super_block, root) =
                    types.find(b"tmpfs")?.mount(source, b"mode=755", &self.walk())?;
                return Ok(NewMount { super_block, root, flags, source: source.to_vec() });
            }
            other => other?,
        };
        let (super_block, root) = found.mount(source, data, &self.walk())?;
        Ok(NewMount { super_block, root, flags, source: source.to_vec() })
    }

    /// The place of a mount, made if it is missing.
    fn place(&self, destination: &HostPath, directory: bool) -> core::result::Result<Path, Errno> {
        let walk = self.walk();
        let absolute = HostPath::new("/").join(destination);
        match walk.lookup(absolute.as_os_str().as_bytes(), true) {
            Err(Errno::ENOENT) => {}
            other => return other,
        }
        let names: Vec<&[u8]> = absolute.components().filter_map(normal).collect();
        let mut path = Vec::new();
        for (index, name) in names.iter().enumerate() {
            path.push(b'/');
            path.extend_from_slice(name);
            let result = if directory || index + 1 < names.len() {
                walk.mkdir(&path, 0o755)
            } else {
                walk.mknod(&path, S_IFREG | 0o644, 0)
            };
            match result {
                Ok(_) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        walk.lookup(&path, true)
    }

    /// Fills `/dev` with what every container has, and with what this one asks for.
    fn devices(&self, plan: &Plan) -> Result<()> {
        let (nodes, links) = usual_devices();
        let walk = self.walk();
        if walk.lookup(b"/dev", true).is_err() {
            return Ok(());
        }
        for node in &nodes {
            self.device(node, false)?;
        }
        for (path, target) in links {
            match walk.symlink(target.as_bytes(), path.as_bytes()) {
                Ok(_) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno).context(|| format!("cannot make {path}")),
            }
        }
        plan.devices.iter().try_for_each(|node| self.device(node, true))
    }

    fn device(&self, node: &DevicePlan, replace: bool) -> Result<()> {
        let describe = || format!("cannot make the device {}", node.path.display());
        let walk = self.walk();
        let path = node.path.as_os_str().as_bytes();
        if let Some(parent) = node.path.parent() {
            self.place(parent, true).context(describe)?;
        }
        let device = makedev(node.major, node.minor);
        let made = match walk.mknod(path, node.mode, device) {
            Err(Errno::EEXIST) if !replace => return Ok(()),
            Err(Errno::EEXIST) => {
                walk.unlink(path).context(describe)?;
                walk.mknod(path, node.mode, device)
            }
            other => other,
        };
        let made = made.context(describe)?;
        walk.chown(&made, Some(node.uid), Some(node.gid)).context(describe)
    }

    /// Sets a switch of `/proc/sys`. What this kernel does not have is passed over: engines set some by default.
    fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let set = || -> core::result::Result<(), Errno> {
            let opened = self.walk().open(path.as_bytes(), OpenFlags::O_WRONLY, 0)?;
            opened.file.write(&mut SliceSource::new(value.as_bytes()), None, self.env).map(drop)
        };
        if let Err(errno) = set() {
            crate::log::warn_once(&format!("field linux.sysctl: {name} is not set ({errno})"));
        }
    }

    fn seal(&self, path: &Path, recursive: bool) -> Result<()> {
        let sealed =
            self.namespace.set_flags(path, MountFlags::empty(), MountFlags::READ_ONLY, recursive);
        sealed.context(|| "cannot make a mount read-only")
    }

    /// `readonlyPaths`: the path is bound onto itself, read-only.
    fn make_read_only(&self, path: &str) -> Result<()> {
        let describe = || format!("cannot make {path} read-only (field linux.readonlyPaths)");
        let at = match self.walk().lookup(path.as_bytes(), true) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            other => other.context(describe)?,
        };
        let bound = self.namespace.bind(&at, &at, true).context(describe)?;
        self.seal(&bound, true).context(describe)
    }

    /// `maskedPaths`: an empty directory or the null device takes the place.
    fn mask(&self, path: &str) -> Result<()> {
        let describe = || format!("cannot hide {path} (field linux.maskedPaths)");
        let walk = self.walk();
        let at = match walk.lookup(path.as_bytes(), true) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            other => other.context(describe)?,
        };
        let directory = at.inode().attr().context(describe)?.is_dir();
        if directory {
            let options = TmpfsOptions {
                mode: 0o755,
                clock: Arc::clone(&self.env.shared.clock),
                ..TmpfsOptions::default()
            };
            let (super_block, root) = Tmpfs::new(options).context(describe)?;
            let flags = MountFlags::READ_ONLY | MountFlags::REL_ATIME;
            let new = NewMount { super_block, root, flags, source: b"tmpfs".to_vec() };
            self.namespace.mount(&at, new).map(drop).context(describe)
        } else {
            let null = walk.lookup(b"/dev/null", true).context(describe)?;
            self.namespace.bind(&null, &at, false).map(drop).context(describe)
        }
    }
}

fn normal(component: Component<'_>) -> Option<&[u8]> {
    match component {
        Component::Normal(name) => Some(name.as_bytes()),
        _ => None,
    }
}

/// Flags of a mount, but for `ro`, which comes last: devices may have to be made in it first.
fn flags(flags: Flags) -> MountFlags {
    let mut result = MountFlags::empty();
    result.set(MountFlags::NO_SUID, flags.no_suid);
    result.set(MountFlags::NO_DEV, flags.no_dev);
    result.set(MountFlags::NO_EXEC, flags.no_exec);
    result.set(MountFlags::NO_ATIME, flags.no_atime);
    result.set(MountFlags::NO_DIR_ATIME, flags.no_dir_atime);
    result.set(MountFlags::NO_SYM_FOLLOW, flags.no_symlink_follow);
    result.set(MountFlags::REL_ATIME, !flags.no_atime && !flags.strict_atime);
    result
}
