//! `/proc/PID/{mounts,mountinfo,mountstats}` (`proc_pid_mountinfo(5)`).

use std::sync::Arc;

use chitin_abi::Result;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::Node;
use chitin_vfs::namespace::{MountInfo, mount_line, mountinfo_line, mountstats_line};
use chitin_vfs::path::Path;

use super::Object;

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

/// One line for each mount that the process sees.
fn lines(object: &Object, out: &mut Vec<u8>, line: fn(&MountInfo, &Path) -> Vec<u8>) -> Result<()> {
    let task = object.task()?;
    let root = task.fs().root();
    for info in task.namespaces().mount.mounts(&root) {
        out.append(&mut line(&info, &root));
    }
    Ok(())
}

/// `mounts`.
pub fn mounts(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    lines(object, out, mount_line)
}

/// `mountinfo`.
pub fn mountinfo(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    lines(object, out, mountinfo_line)
}

/// `mountstats`.
pub fn mountstats(object: &Object, _env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    lines(object, out, mountstats_line)
}
