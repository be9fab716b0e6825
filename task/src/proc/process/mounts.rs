//! `/proc/PID/{mounts,mountinfo,mountstats}` (`proc_pid_mountinfo(5)`).

use std::io::Write;
use std::sync::Arc;

use chitin_abi::Result;
use chitin_abi::fs::{major, minor};
use chitin_vfs::dentry::Dentry;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::Node;
use chitin_vfs::mount::{Mount, MountFlags};
use chitin_vfs::namespace::MountInfo;
use chitin_vfs::path::Path;

use super::Object;
use crate::proc::format::octal_escaped;

/// What is escaped in paths and names (`mangle`).
const ESCAPED: &[u8] = b" \t\n\\#";

/// A file about mounts, which can be polled for changes.
pub fn node(
    object: &Object,
    permissions: u32,
    generate: fn(&Object, &VfsEnv, &mut Vec<u8>) -> Result<()>,
) -> Node {
    let node = super::text(object, permissions, generate);
    match object.task() {
        Ok(task) => {
            let namespace = Arc::clone(&task.namespaces().mount);
            node.on_poll(Arc::clone(namespace.wait_queue()), move || namespace.changes())
        }
        Err(_) => node,
    }
}

/// The mounts that the process sees, and its root.
fn visible(object: &Object) -> Result<(Vec<MountInfo>, Path)> {
    let task = object.task()?;
    let root = task.fs().root();
    Ok((task.namespaces().mount.mounts(&root), root))
}

fn flag_names(flags: MountFlags) -> String {
    let names = [
        (MountFlags::NO_SUID, ",nosuid"),
        (MountFlags::NO_DEV, ",nodev"),
        (MountFlags::NO_EXEC, ",noexec"),
        (MountFlags::NO_ATIME, ",noatime"),
        (MountFlags::NO_DIR_ATIME, ",nodiratime"),
        (MountFlags::REL_ATIME, ",relatime"),
        (MountFlags::NO_SYM_FOLLOW, ",nosymfollow"),
    ];
    names.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, name)| *name).collect()
}

const fn access_name(read_only: bool) -> &'static str {
    if read_only { "ro" } else { "rw" }
}

/// The path of a mount's root in its own file system.
pub fn root_in_tree(mount: &Mount) -> Vec<u8> {
    let mut parts = Vec::new();
    let mut at: Arc<Dentry> = Arc::clone(mount.root());
    while let Some(parent) = at.parent() {
        parts.push(at.name());
        at = parent;
    }
    if parts.is_empty() {
        return b"/".to_vec();
    }
    let mut text = Vec::new();
    for part in parts.iter().rev() {
        text.push(b'/');
        text.extend_from_slice(part);
    }
    text
}

/// What is mounted, for the "device" column; `none` where there is nothing to say.
fn source(mount: &Mount) -> Vec<u8> {
    let source = mount.source();
    octal_escaped(if source.is_empty() { b"none" } else { source }, ESCAPED)
}

fn point(info: &MountInfo, root: &Path) -> Vec<u8> {
    octal_escaped(&info.mount.text(root).bytes, ESCAPED)
}

/// `mounts`.
pub fn mounts(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let (mounts, root) = visible(object)?;
    for info in mounts {
        let mount = info.mount.mount();
        let block = mount.super_block();
        out.extend_from_slice(&source(mount));
        out.push(b' ');
        out.extend_from_slice(&point(&info, &root));
        // Writing to a vector does not fail.
        let _ = writeln!(
            out,
            " {} {}{}{} 0 0",
            block.fs().name(),
            access_name(mount.is_read_only()),
            flag_names(mount.flags()),
            block.fs().options(),
        );
    }
    Ok(())
}

fn propagation(info: &MountInfo) -> String {
    let mut text = String::new();
    for (name, group) in [
        ("shared", info.peer_group),
        ("master", info.master),
        ("propagate_from", info.propagate_from),
    ] {
        if group != 0 {
            text.push_str(&format!("{name}:{group} "));
        }
    }
    if info.unbindable {
        text.push_str("unbindable ");
    }
    text
}

/// `mountinfo`.
pub fn mountinfo(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let (mounts, root) = visible(object)?;
    for info in mounts {
        let mount = info.mount.mount();
        let block = mount.super_block();
        let _ = write!(
            out,
            "{} {} {}:{} ",
            mount.id(),
            info.parent_id,
            major(block.dev),
            minor(block.dev)
        );
        out.extend_from_slice(&octal_escaped(&root_in_tree(mount), ESCAPED));
        out.push(b' ');
        out.extend_from_slice(&point(&info, &root));
        let own = mount.flags().contains(MountFlags::READ_ONLY);
        let _ = write!(
            out,
            " {}{} {}- {} ",
            access_name(own),
            flag_names(mount.flags()),
            propagation(&info),
            block.fs().name(),
        );
        out.extend_from_slice(&source(mount));
        let _ = writeln!(out, " {}{}", access_name(block.is_read_only()), block.fs().options());
    }
    Ok(())
}

/// `mountstats`.
pub fn mountstats(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    let (mounts, root) = visible(object)?;
    for info in mounts {
        let mount = info.mount.mount();
        out.extend_from_slice(b"device ");
        out.extend_from_slice(&source(mount));
        out.extend_from_slice(b" mounted on ");
        out.extend_from_slice(&point(&info, &root));
        let _ = writeln!(out, " with fstype {}", mount.super_block().fs().name());
    }
    Ok(())
}
