//! Mounts of a configuration, as data.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

use crate::error::Result;
use crate::fail;
use crate::sandbox::options::FileAccess;

/// A mount to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) destination: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) flags: Flags,
    pub(crate) propagation: Option<Propagation>,
    /// Who changes the files of a bind mount, if it says.
    pub(crate) cache: Option<FileAccess>,
}

impl Plan {
    /// Whether it shows files of the host.
    pub(crate) fn is_bind(&self) -> bool {
        matches!(self.kind, Kind::Bind { .. })
    }
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file or directory of the host.
    Bind { source: PathBuf, recursive: bool },
    /// A filesystem of the sandbox's kernel, by its type, with the options that are not flags.
    Internal { fs_type: String, source: Vec<u8>, data: Vec<u8> },
}

/// Flags of a mount point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) read_only: bool,
    pub(crate) no_suid: bool,
    pub(crate) no_dev: bool,
    pub(crate) no_exec: bool,
    pub(crate) no_atime: bool,
    pub(crate) no_dir_atime: bool,
    pub(crate) strict_atime: bool,
    pub(crate) no_symlink_follow: bool,
    pub(crate) remount: bool,
}

/// How events of a mount travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Propagation {
    pub(crate) kind: PropagationKind,
    pub(crate) recursive: bool,
}

/// See [`Propagation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PropagationKind {
    Private,
    Shared,
    Slave,
    Unbindable,
}

/// Types that the sandbox's kernel has.
const INTERNAL: [&str; 9] =
    ["tmpfs", "ramfs", "proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "devtmpfs"];

/// Converts one mount of a bundle.
pub(crate) fn plan(mount: &Mount, bundle: &Path) -> Result<Plan> {
    let destination = mount.destination().clone();
    if destination.as_os_str().is_empty() {
        return fail!("a mount of field mounts has no destination");
    }
    let mut options = Options::default();
    for option in mount.options().iter().flatten() {
        options.apply(option, &destination)?;
    }
    for mappings in [mount.uid_mappings(), mount.gid_mappings()] {
        if mappings.as_ref().is_some_and(|list| !list.is_empty()) {
            return fail!(
                "mount {}: uidMappings and gidMappings are not supported",
                destination.display()
            );
        }
    }
    let kind = kind(mount, &options, bundle)?;
    let Options { flags, propagation, cache, .. } = options;
    Ok(Plan { destination, kind, flags, propagation, cache })
}

#[derive(Default)]
struct Options {
    flags: Flags,
    propagation: Option<Propagation>,
    bind: Option<bool>,
    cache: Option<FileAccess>,
    data: Vec<u8>,
}

impl Options {
    fn apply(&mut self, option: &str, destination: &Path) -> Result<()> {
        let flags = &mut self.flags;
        match option {
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "ro" | "rro" => flags.read_only = true,
            "rw" | "rrw" => flags.read_only = false,
            "nosuid" | "rnosuid" => flags.no_suid = true,
            "suid" | "rsuid" => flags.no_suid = false,
            "nodev" | "rnodev" => flags.no_dev = true,
            "dev" | "rdev" => flags.no_dev = false,
            "noexec" | "rnoexec" => flags.no_exec = true,
            "exec" | "rexec" => flags.no_exec = false,
            "noatime" | "rnoatime" => flags.no_atime = true,
            "nodiratime" | "rnodiratime" => flags.no_dir_atime = true,
            "strictatime" | "rstrictatime" => flags.strict_atime = true,
            "nosymfollow" | "rnosymfollow" => flags.no_symlink_follow = true,
            "symfollow" | "rsymfollow" => flags.no_symlink_follow = false,
            "remount" => flags.remount = true,
            "cache=exclusive" => self.cache = Some(FileAccess::Exclusive),
            "cache=shared" => self.cache = Some(FileAccess::Shared),
            "atime" | "ratime" | "diratime" | "rdiratime" | "relatime" | "rrelatime"
            | "norelatime" | "nostrictatime" | "rnostrictatime" | "rnorelatime" | "defaults"
            | "async" | "sync" | "dirsync" | "iversion" | "noiversion" | "silent" | "loud"
            | "mand" | "nomand" | "lazytime" | "nolazytime" | "tmpcopyup" | "copy" | "nocopy"
            | "z" | "Z" => {}
            "idmap" | "ridmap" => {
                return fail!("mount {}: option {option} is not supported", destination.display());
            }
            _ => match propagation(option) {
                Some(propagation) => self.propagation = Some(propagation),
                None => {
                    if !self.data.is_empty() {
                        self.data.push(b',');
                    }
                    self.data.extend_from_slice(option.as_bytes());
                }
            },
        }
        Ok(())
    }
}

fn propagation(option: &str) -> Option<Propagation> {
    let kind = |name: &str| match name {
        "private" => Some(PropagationKind::Private),
        "shared" => Some(PropagationKind::Shared),
        "slave" => Some(PropagationKind::Slave),
        "unbindable" => Some(PropagationKind::Unbindable),
        _ => None,
    };
    let plain = kind(option).map(|kind| Propagation { kind, recursive: false });
    plain.or_else(|| Some(Propagation { kind: kind(option.strip_prefix('r')?)?, recursive: true }))
}

fn kind(mount: &Mount, options: &Options, bundle: &Path) -> Result<Kind> {
    let destination = mount.destination().display();
    let fs_type = mount.typ().as_deref().unwrap_or("");
    let recursive = options.bind.or(match fs_type {
        "bind" => Some(false),
        "rbind" => Some(true),
        _ => None,
    });
    if let Some(recursive) = recursive {
        let Some(source) = mount.source() else {
            return fail!("mount {destination}: a bind mount needs field source");
        };
        return Ok(Kind::Bind { source: bundle.join(source), recursive });
    }
    if !INTERNAL.contains(&fs_type) {
        return fail!(
            "mount {destination}: type {fs_type:?} is not supported (a mounted directory can be bound)"
        );
    }
    let source = mount
        .source()
        .as_ref()
        .map_or(fs_type.as_bytes(), |source| source.as_os_str().as_bytes())
        .to_vec();
    Ok(Kind::Internal { fs_type: fs_type.to_owned(), source, data: options.data.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Plan> {
        plan(&super::super::parse(text.as_bytes())?, Path::new("/bundle"))
    }

    #[test]
    fn flags_and_data_are_told_apart() {
        let text = r#"{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755","ro","size=64k"]}"#;
        let plan = of(text).unwrap();
        assert!(plan.flags.no_suid && plan.flags.read_only && !plan.flags.no_exec);
        let Kind::Internal { fs_type, data, .. } = plan.kind else { panic!("not internal") };
        assert_eq!((fs_type.as_str(), data.as_slice()), ("tmpfs", &b"mode=755,size=64k"[..]));
    }

    #[test]
    fn binds_are_relative_to_the_bundle() {
        let plan =
            of(r#"{"destination":"/d","type":"bind","source":"s","options":["rbind","rslave"]}"#)
                .unwrap();
        assert_eq!(plan.kind, Kind::Bind { source: "/bundle/s".into(), recursive: true });
        assert_eq!(
            plan.propagation,
            Some(Propagation { kind: PropagationKind::Slave, recursive: true })
        );
    }

    #[test]
    fn unknown_types_are_named() {
        let error = of(r#"{"destination":"/d","type":"zfs"}"#).unwrap_err().to_string();
        assert!(error.contains("\"zfs\"") && error.contains("/d"), "{error}");
    }
}
