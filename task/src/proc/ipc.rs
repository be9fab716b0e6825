//! `/proc/sysvipc`: the System V objects of the reader's namespace.

use chitin_abi::Result;
use chitin_vfs::env::VfsEnv;

use super::{View, reader};
use crate::ipc::perm::Caller;
use crate::namespace::IpcNamespace;

fn show(
    env: &VfsEnv,
    out: &mut Vec<u8>,
    text: fn(&IpcNamespace, &Caller<'_>) -> String,
) -> Result<()> {
    let Some(task) = reader(env) else { return Ok(()) };
    let cred = task.cred();
    let namespaces = task.namespaces();
    out.extend_from_slice(text(&namespaces.ipc, &Caller::new(task, &cred)).as_bytes());
    Ok(())
}

/// `msg`.
pub fn messages(_view: &View, env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    show(env, out, IpcNamespace::msg_text)
}

/// `sem`.
pub fn semaphores(_view: &View, env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    show(env, out, IpcNamespace::sem_text)
}

/// `shm`.
pub fn segments(_view: &View, env: &VfsEnv, out: &mut Vec<u8>) -> Result<()> {
    show(env, out, IpcNamespace::shm_text)
}
