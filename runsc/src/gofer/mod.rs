//! The gofer: a process that holds the container's files and works on them for a sentry that may not
//! (`--directfs=false`).
//!
//! It is forked from the command like the sentry, into a user, pid, mount, IPC, UTS and cgroup namespace of its own with
//! the same id maps; its root directory is empty, what it holds are descriptors of detached mounts, and its filter
//! admits no socket, no thread, no program and no path that is not relative to one of them. It serves one connection,
//! the sentry's, and ends with it.
//!
//! Trees have names: the sources of a plan by their numbers, single files below one directory of all of them.

use std::io::{PipeReader, Read as _};
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use chitin_gofer_proto::server::Server;
use chitin_vfs::fs::gofer::serve::{Trees, serve};
use chitin_vfs::fs::host::{CachePolicy, HostFs, HostOptions};
use chitin_vfs::inode::Inode;

use crate::confine::{self, root::EmptyRoot};
use crate::error::{Context as _, Failure, Result};
use crate::raw;
use crate::sandbox::Plan;
use crate::sandbox::sources::{Sources, Tree};
use crate::sandbox::status::{Event, Reporter};

/// The tree of single files.
pub(crate) const FILES: &[u8] = b"files";
/// Fids that the sentry may have.
const FIDS: usize = 1 << 20;

/// The name of the tree of a source, by its place among the sources of a plan.
pub(crate) fn tree_name(index: usize) -> String {
    index.to_string()
}

/// What the gofer is born with.
pub(crate) struct Birth<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) sources: Sources,
    pub(crate) socket: UnixStream,
    pub(crate) reporter: Reporter,
    /// A byte comes when the id maps are written.
    pub(crate) gate: PipeReader,
    /// Descriptors of all of these.
    pub(crate) keep: Vec<RawFd>,
}

/// The gofer. Never returns to the code of the command that forked it.
pub(crate) fn run(birth: Birth<'_>) -> ! {
    let Birth { plan, sources, socket, reporter, gate, keep } = birth;
    // Without it a refused call still ends the process, only without a name.
    let _ = raw::report_refused_calls(reporter.as_fd());
    let trees = prepare(plan, sources, gate, keep);
    let served = trees.and_then(|trees| {
        let served = serve(&OwnedFd::from(socket), &mut Server::with_limit(trees, FIDS));
        served.context(|| "the sandbox's kernel said something strange to the gofer")
    });
    let code = match served {
        Ok(()) => 0,
        Err(failure) => {
            reporter.report(&Event::Failed(failure.clone()));
            failure.code()
        }
    };
    raw::exit_now(code.into())
}

/// Confines this process; gives what it serves.
fn prepare(
    plan: &Plan,
    sources: Sources,
    mut gate: PipeReader,
    mut keep: Vec<RawFd>,
) -> Result<Trees> {
    // Nothing that is closed here has an owner in this process, who would close it once more.
    keep.extend(0..3);
    confine::descriptors::keep_only(keep).context(|| "cannot close descriptors")?;
    confine::descriptors::make_room(std::io::stdin())
        .context(|| "cannot raise the limit on descriptors")?;
    match gate.read(&mut [0]) {
        Ok(1) => drop(gate),
        _ => return Err(Failure::new("the command that started the sandbox is gone")),
    }
    confine::identity(&plan.maps)?;
    let null = confine::root::open_null()?;
    let mut root = EmptyRoot::new()?;
    let trees = sources.finish(&mut root)?;
    let files = root.enter()?;
    confine::descriptors::replace_standard(&null)?;
    drop(null);
    confine::capabilities::reduce(confine::capabilities::FILES)
        .context(|| "cannot drop capabilities")?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let trees = serve_sources(plan, trees, files)?;
    confine::filter::install_gofer()?;
    crate::log::debug(|| "start: the gofer serves".to_owned());
    Ok(trees)
}

/// The trees of a plan's sources, each as its mount is.
fn serve_sources(plan: &Plan, trees: Vec<Tree>, files: Option<OwnedFd>) -> Result<Trees> {
    let mut served = Trees::default();
    for (index, (tree, how)) in trees.into_iter().zip(plan.host_files()).enumerate() {
        if let Tree::Directory(fd) = tree {
            served = served.with(tree_name(index).as_bytes(), host(fd, how)?);
        }
    }
    if let Some(fd) = files {
        served = served.with(FILES, host(fd, (false, CachePolicy::Shared))?);
    }
    Ok(served)
}

fn host(fd: OwnedFd, (read_only, cache): (bool, CachePolicy)) -> Result<Arc<dyn Inode>> {
    let options = HostOptions { read_only, cache, ..HostOptions::default() };
    HostFs::new(fd, options).map(|(_, root)| root).context(|| "the gofer cannot serve a directory")
}
