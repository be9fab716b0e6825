//! From a bundle to the plan of a sandbox.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType, LinuxNamespaceType, Spec};

use super::identity::IdMaps;
use super::{Bundle, mounts, process, seccomp};
use crate::error::{Context as _, Failure, Result};
use crate::fail;
use crate::network::Wanted;
use crate::sandbox::options::{Network, Options};
use crate::sandbox::{DevicePlan, Plan, RootPlan};

/// What a bundle asks for.
pub(crate) fn plan(bundle: &Bundle, options: Options) -> Result<Plan> {
    let place = || bundle.directory.join("config.json").display().to_string();
    convert(&bundle.spec, &bundle.directory, &bundle.rootfs, options).context(place)
}

/// The same for a configuration that comes from elsewhere.
pub(super) fn convert(
    spec: &Spec,
    directory: &Path,
    rootfs: &Path,
    options: Options,
) -> Result<Plan> {
    let Some(process) = spec.process() else { return fail!("field process is missing") };
    let read_only = spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false);
    let linux = spec.linux().clone().unwrap_or_default_empty();
    let mount = |mount| mounts::plan(mount, directory);
    Ok(Plan {
        options,
        maps: IdMaps::of(spec)?,
        root: RootPlan {
            source: rootfs.to_owned(),
            image: rootfs.is_file(),
            read_only,
            overlay: true,
        },
        mounts: spec.mounts().iter().flatten().map(mount).collect::<Result<_>>()?,
        devices: linux.devices().iter().flatten().map(device).collect::<Result<_>>()?,
        network: network(&linux, options),
        hostname: spec.hostname().clone(),
        domainname: spec.domainname().clone(),
        process: process::Plan::new(process)?,
        masked_paths: linux.masked_paths().clone().unwrap_or_default(),
        readonly_paths: linux.readonly_paths().clone().unwrap_or_default(),
        sysctl: linux.sysctl().clone().unwrap_or_default().into_iter().collect(),
        seccomp: linux.seccomp().as_ref().map(seccomp::compile).transpose()?,
        mortal: false,
    })
}

/// The network namespace that was prepared for the container, if one was and it is wanted.
fn network(linux: &Linux, options: Options) -> Wanted {
    if options.network == Some(Network::None) {
        return Wanted::None;
    }
    let namespaces = linux.namespaces().iter().flatten();
    let mut networks = namespaces.filter(|one| one.typ() == LinuxNamespaceType::Network);
    match networks.next().and_then(|one| one.path().clone()) {
        Some(path) => {
            Wanted::Namespace { path, required: options.network == Some(Network::Sandbox) }
        }
        None => Wanted::None,
    }
}

trait OrEmpty {
    fn unwrap_or_default_empty(self) -> Linux;
}

impl OrEmpty for Option<Linux> {
    /// Nothing at all; the type's own default is a set of suggestions.
    fn unwrap_or_default_empty(self) -> Linux {
        self.unwrap_or_else(|| serde_json::from_str("{}").unwrap_or_default())
    }
}

fn device(device: &LinuxDevice) -> Result<DevicePlan> {
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => return fail!("field linux.devices: type \"a\" is not a device"),
    };
    let number = |number: i64| {
        let bad = || Failure::new(format!("field linux.devices: {number} is not a device number"));
        u32::try_from(number).map_err(|_| bad())
    };
    if !device.path().is_absolute() {
        return fail!("field linux.devices: {:?} is not an absolute path", device.path());
    }
    Ok(DevicePlan {
        path: device.path().clone(),
        mode: kind | (device.file_mode().unwrap_or(0o666) & 0o7777),
        major: number(device.major())?,
        minor: number(device.minor())?,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
    })
}

/// The devices that every container has, and links: `(path, target)`.
pub(crate) fn usual_devices() -> (Vec<DevicePlan>, [(&'static str, &'static str); 6]) {
    let character = |name: &str, major, minor| DevicePlan {
        path: PathBuf::from(format!("/dev/{name}")),
        mode: libc::S_IFCHR | 0o666,
        major,
        minor,
        uid: 0,
        gid: 0,
    };
    let nodes = vec![
        character("null", 1, 3),
        character("zero", 1, 5),
        character("full", 1, 7),
        character("random", 1, 8),
        character("urandom", 1, 9),
        character("tty", 5, 0),
    ];
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
        ("/dev/core", "/proc/kcore"),
    ];
    (nodes, links)
}
