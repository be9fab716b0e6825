//! `/proc/PID/{exe,cwd,root}`: links that lead to what they name, whatever the path is by now.

use chitin_abi::{Errno, Result};
use chitin_vfs::env::VfsEnv;
use chitin_vfs::fs::pseudo::Node;
use chitin_vfs::inode::MagicTarget;
use chitin_vfs::path::Path;

use super::Object;
use crate::proc::{access, reader};

/// A path's text as whoever asks sees it.
pub fn shown(path: &Path, env: &VfsEnv) -> Vec<u8> {
    match reader(env) {
        Some(task) => path.text(&task.fs().root()).into_link(),
        None => path.text(&path.mount().root_path()).into_link(),
    }
}

/// A link to a path of the process that only who may look into it can follow or read.
fn link(object: &Object, find: fn(&Object) -> Result<Path>) -> Node {
    let (reading, following, owner) = (object.clone(), object.clone(), object.clone());
    let checked = move |object: &Object, env: &VfsEnv| {
        access::check(env, &*object.task().map_err(|_| Errno::ENOENT)?)?;
        find(object)
    };
    Node::magic(
        0o777,
        move |env| Ok(shown(&checked(&reading, env)?, env)),
        move |env| Ok(MagicTarget::Path(checked(&following, env)?)),
    )
    .owned_by_now(move || owner.owner())
}

/// `exe`.
pub fn exe(object: &Object) -> Node {
    link(object, |object| {
        let mm = object.task()?.mm().ok_or(Errno::ENOENT)?;
        let exe = mm.image.read().exe.clone();
        exe.ok_or(Errno::ENOENT)
    })
}

/// `cwd`.
pub fn cwd(object: &Object) -> Node {
    link(object, |object| Ok(object.task()?.fs().cwd()))
}

/// `root`.
pub fn root(object: &Object) -> Node {
    link(object, |object| Ok(object.task()?.fs().root()))
}
