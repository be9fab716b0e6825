//! What of a configuration is refused, and what is passed over with a warning.

use oci_spec::runtime::{Linux, LinuxNamespaceType, Process, Spec};

use crate::error::Result;
use crate::fail;
use crate::log::warn_once;

/// Checks a whole configuration.
pub(crate) fn check(spec: &Spec) -> Result<()> {
    if !spec.version().is_empty() && !spec.version().starts_with("1.") {
        return fail!(
            "field ociVersion: {:?} is not a version 1 of the specification",
            spec.version()
        );
    }
    let Some(process) = spec.process() else {
        return fail!("field process is missing: it names the program to run");
    };
    check_process(process)?;
    if let Some(linux) = spec.linux() {
        check_linux(linux)?;
    }
    if spec.hooks().as_ref().is_some_and(has_hooks) {
        warn_once("hooks of config.json are not run yet");
    }
    Ok(())
}

/// Checks the process of a container, or of `exec`.
pub(crate) fn check_process(process: &Process) -> Result<()> {
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return fail!("field process.args is missing or empty: it names the program to run");
    }
    if !process.cwd().is_absolute() {
        return fail!("field process.cwd: {:?} is not an absolute path", process.cwd());
    }
    if process
        .apparmor_profile()
        .as_ref()
        .is_some_and(|profile| !profile.is_empty() && profile != "unconfined")
    {
        return fail!("field process.apparmorProfile is not supported: remove it");
    }
    if process.selinux_label().as_ref().is_some_and(|label| !label.is_empty()) {
        return fail!("field process.selinuxLabel is not supported: remove it");
    }
    if process.io_priority().is_some() {
        warn_once("field process.ioPriority is not honoured yet");
    }
    if process.scheduler().is_some() {
        warn_once("field process.scheduler is not honoured yet");
    }
    Ok(())
}

fn check_linux(linux: &Linux) -> Result<()> {
    for namespace in linux.namespaces().iter().flatten() {
        // Every container gets a kernel of its own, and with it all of its namespaces. Joining one of the host
        // has a meaning for the network alone, which has an option of its own.
        if namespace.path().is_some() && namespace.typ() != LinuxNamespaceType::Network {
            warn_once(
                "field linux.namespaces: a path is ignored, each container has namespaces of its own",
            );
        }
    }
    if linux.mount_label().as_ref().is_some_and(|label| !label.is_empty()) {
        return fail!("field linux.mountLabel is not supported: remove it");
    }
    if linux.seccomp().as_ref().is_some_and(|seccomp| seccomp.listener_path().is_some()) {
        return fail!("field linux.seccomp.listenerPath is not supported: remove it");
    }
    if linux.intel_rdt().is_some() {
        warn_once("field linux.intelRdt is not honoured");
    }
    if linux.resources().as_ref().is_some_and(limits_something) {
        warn_once("limits of field linux.resources are not applied yet");
    }
    if linux.time_offsets().as_ref().is_some_and(|offsets| !offsets.is_empty()) {
        warn_once("field linux.timeOffsets is not honoured yet");
    }
    if linux.personality().is_some() {
        warn_once("field linux.personality is not honoured yet");
    }
    Ok(())
}

/// Whether anything but rules for devices, which every configuration has, is set: devices of the host do not
/// exist in the sandbox, whatever the rules say.
fn limits_something(resources: &oci_spec::runtime::LinuxResources) -> bool {
    resources.memory().is_some()
        || resources.cpu().is_some()
        || resources.pids().as_ref().is_some_and(|pids| pids.limit() > 0)
        || resources.block_io().is_some()
}

fn has_hooks(hooks: &oci_spec::runtime::Hooks) -> bool {
    let prestart = hooks.prestart();
    [
        prestart,
        hooks.create_runtime(),
        hooks.create_container(),
        hooks.start_container(),
        hooks.poststart(),
        hooks.poststop(),
    ]
    .into_iter()
    .any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
}
