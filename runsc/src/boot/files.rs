//! The container's files: its root, its mounts, its devices, and what it must not see or change.
//!
//! All of it happens inside the sandbox's own kernel: paths are walked by the kernel's rules from the container's
//! root, so that a symbolic link in an image leads nowhere else.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path as HostPath};
use std::sync::Arc;

use chitin_abi::Errno;
use chitin_abi::fs::{OpenFlags, S_IFREG, makedev};
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::host::{CachePolicy, HostFs, HostOptions};
use chitin_vfs::fs::overlay::{Overlay, OverlayOptions};
use chitin_vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use chitin_vfs::inode::Inode;
use chitin_vfs::io::SliceSource;
use chitin_vfs::mount::{MountFlags, NewMount};
use chitin_vfs::namespace::{MountNamespace, Propagation};
use chitin_vfs::path::Path;
use chitin_vfs::super_block::SuperBlock;
use chitin_vfs::walk::{ResolveFlags, Walk};

use crate::error::{Context as _, Failure, Result};
use crate::oci::mounts::{self, Flags, Kind, PropagationKind};
use crate::oci::plan::usual_devices;
use crate::sandbox::sources::Tree;
use crate::sandbox::{DevicePlan, Plan};

type Instance = (Arc<SuperBlock>, Arc<dyn Inode>);

/// Makes the mount namespace of a container.
pub(crate) fn build(
    plan: &Plan,
    trees: Vec<Tree>,
    files: Option<OwnedFd>,
    env: &VfsEnv,
) -> Result<Arc<MountNamespace>> {
    let mut trees = trees.into_iter();
    let Some(Tree::Directory(root)) = trees.next() else {
        return Err(Failure::new(format!(
            "the root {} is not a directory",
            plan.root.source.display()
        )));
    };
    let root = root_mount(plan, root, env)?;
    let namespace = MountNamespace::new(root);
    namespace.system().obey(&env.shared.sysctls);
    let builder =
        Builder { namespace, env, cred: Cred::root(), files: files.map(single_files).transpose()? };
    let mut sealed = Vec::new();
    for mount in &plan.mounts {
        let path = builder.mount(mount, &mut trees)?;
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
    files: Option<NewMount>,
}

fn host(
    fd: OwnedFd,
    read_only: bool,
    cache: CachePolicy,
    source: &[u8],
) -> core::result::Result<Instance, Errno> {
    HostFs::new(
        fd,
        HostOptions { read_only, cache, source: source.to_vec(), ..HostOptions::default() },
    )
}

fn root_mount(plan: &Plan, fd: OwnedFd, env: &VfsEnv) -> Result<NewMount> {
    let describe = || format!("cannot use {} as the root", plan.root.source.display());
    let new = |(super_block, root): Instance, source: &[u8]| NewMount {
        super_block,
        root,
        flags: MountFlags::REL_ATIME,
        source: source.to_vec(),
    };
    if !plan.root.overlay {
        let instance =
            host(fd, plan.root.read_only, CachePolicy::Shared, b"none").context(describe)?;
        return Ok(new(instance, b"none"));
    }
    let (_, lower) = host(fd, true, CachePolicy::Exclusive, b"none").context(describe)?;
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

/// The sentry's root directory, where single files are.
fn single_files(fd: OwnedFd) -> Result<NewMount> {
    let instance =
        host(fd, false, CachePolicy::Shared, b"none").context(|| "cannot use bound files")?;
    let (super_block, root) = instance;
    Ok(NewMount { super_block, root, flags: MountFlags::REL_ATIME, source: b"none".to_vec() })
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

    fn mount(&self, mount: &mounts::Plan, trees: &mut impl Iterator<Item = Tree>) -> Result<Path> {
        let describe = || format!("mount {}", mount.destination.display());
        let flags = flags(mount.flags);
        let path = match &mount.kind {
            Kind::Internal { fs_type, source, data } => {
                let at = self.place(&mount.destination, true).context(describe)?;
                let new = self.internal(fs_type, source, data, flags).context(describe)?;
                self.namespace.mount(&at, new).context(describe)?
            }
            Kind::Bind { source, .. } => {
                let tree = trees.next().ok_or_else(|| Failure::new("a source is missing"))?;
                let at = self
                    .place(&mount.destination, matches!(tree, Tree::Directory(_)))
                    .context(describe)?;
                self.bind(tree, &at, flags, mount.flags.read_only, source).context(describe)?
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
        &self,
        tree: Tree,
        at: &Path,
        flags: MountFlags,
        read_only: bool,
        source: &HostPath,
    ) -> core::result::Result<Path, Errno> {
        match tree {
            Tree::Directory(fd) => {
                let (super_block, root) =
                    host(fd, read_only, CachePolicy::Shared, source.as_os_str().as_bytes())?;
                let source = source.as_os_str().as_bytes().to_vec();
                self.namespace.mount(at, NewMount { super_block, root, flags, source })
            }
            Tree::File(name) => {
                let files = self.files.as_ref().ok_or(Errno::ENOENT)?;
                let directory = self.namespace.system().detached(files);
                let file = self.walk_from(directory).lookup(name.as_bytes(), false)?;
                let path = self.namespace.bind(&file, at, false)?;
                self.namespace.set_flags(&path, MountFlags::empty(), flags, false)?;
                Ok(path)
            }
        }
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
