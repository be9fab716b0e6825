//! `/proc/PID/ns`: namespaces as files, by which they are compared, kept alive and entered (`namespaces(7)`).

use chitin_abi::fs::DT_LNK;
use chitin_abi::{Errno, Result};
use chitin_vfs::cred::Cred;
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::{Node, TableDir, TableEntry};
use chitin_vfs::inode::MagicTarget;

use super::Object;
use crate::namespace::file::NamespaceFile;
use crate::namespace::unshare::AnyNamespace;
use crate::proc::access;

fn find(object: &Object, name: &str, env: &VfsEnv) -> Result<AnyNamespace> {
    let task = object.task().map_err(|_| Errno::ENOENT)?;
    access::check(env, &task)?;
    AnyNamespace::of_task(&task, name.as_bytes()).ok_or(Errno::ENOENT)
}

fn link(object: &Object, name: &'static str) -> Node {
    let (reading, following, owner) = (object.clone(), object.clone(), object.clone());
    Node::magic(
        0o777,
        move |env| {
            let namespace = find(&reading, name, env)?;
            Ok(format!("{}:[{}]", namespace.kind(), namespace.id()).into_bytes())
        },
        move |env| {
            let namespace = find(&following, name, env)?;
            let cred =
                crate::proc::reader(env).map_or_else(Cred::root, |task| task.cred().fs_cred());
            Ok(MagicTarget::File(NamespaceFile::open(namespace, cred)))
        },
    )
    .owned_by_now(move || owner.owner())
}

macro_rules! links {
    ($($name:literal)*) => {
        &[$(TableEntry { name: $name, kind: DT_LNK, make: |object| link(object, $name) }),*]
    };
}

const LINKS: &[TableEntry<Object>] = links! {
    "cgroup" "ipc" "mnt" "net" "pid" "pid_for_children" "time" "time_for_children" "user" "uts"
};

/// The directory.
pub fn directory(object: &Object) -> Node {
    let owner = object.clone();
    Node::dir(0o511, TableDir::new(object.clone(), LINKS)).owned_by_now(move || owner.owner())
}
