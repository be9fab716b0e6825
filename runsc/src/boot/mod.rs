//! The child's side: from the fork to a running container.
//!
//! Everything that can fail before the first process runs is reported over the status pipe in one sentence.

mod files;
mod server;

use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use crate::confine::{self, root::EmptyRoot};
use crate::error::{Context as _, Failure, Result};
use crate::raw;
use crate::sandbox::launch::Mode;
use crate::sandbox::sources::{Sources, Tree};
use crate::sandbox::status::{Event, Reporter};
use crate::sandbox::{Endowment, Plan};

/// What the sentry is born with.
pub(crate) struct Birth {
    pub(crate) plan: Plan,
    pub(crate) endowment: Endowment,
    pub(crate) mode: Mode,
    pub(crate) sources: Sources,
    pub(crate) reporter: Reporter,
    /// A byte comes when the id maps are written.
    pub(crate) gate: std::io::PipeReader,
    /// Descriptors of all of these.
    pub(crate) keep: Vec<RawFd>,
}

/// The sentry. Never returns to the code of the command that forked it.
pub(crate) fn sentry(birth: Birth) -> ! {
    let Birth { plan, endowment, mode, sources, reporter, gate, keep } = birth;
    let result = prepare(&plan, mode, sources, gate, keep);
    let code = match result {
        Ok(_trees) => 0,
        Err(failure) => {
            reporter.report(&Event::Failed(failure.clone()));
            failure.code()
        }
    };
    drop((plan, endowment));
    raw::exit_now(code.into())
}

/// Confines this process up to its filter. Gives the trees of the container, and the directory of single files.
fn prepare(
    plan: &Plan,
    mode: Mode,
    sources: Sources,
    mut gate: std::io::PipeReader,
    mut keep: Vec<RawFd>,
) -> Result<(Vec<Tree>, Option<OwnedFd>)> {
    if gate.read(&mut [0]).unwrap_or(0) == 0 {
        return Err(Failure::new("the command that started the sandbox is gone"));
    }
    drop(gate);
    confine::identity(&plan.maps)?;
    if mode.attached {
        let signal = Some(rustix::process::Signal::KILL);
        rustix::process::set_parent_process_death_signal(signal)
            .context(|| "cannot be bound to the command")?;
    }
    let null = confine::root::open_null()?;
    let mut root = EmptyRoot::new()?;
    let trees = sources.finish(&mut root)?;
    let files = root.enter()?;
    replace_standard_descriptors(&null).context(|| "cannot replace the standard descriptors")?;
    keep.extend(0..3);
    keep.extend(trees.iter().filter_map(Tree::descriptor));
    keep.extend(files.as_ref().map(|fd| fd.as_raw_fd()));
    confine::descriptors::keep_only(keep).context(|| "cannot close descriptors")?;
    confine::descriptors::make_room(&std::io::stdin())
        .context(|| "cannot raise the limit on descriptors")?;
    confine::capabilities::reduce().context(|| "cannot drop capabilities")?;
    // Modes of files are the business of the kernel inside.
    rustix::process::umask(rustix::fs::Mode::empty());
    Ok((trees, files))
}

fn replace_standard_descriptors(null: &std::fs::File) -> rustix::io::Result<()> {
    rustix::stdio::dup2_stdin(null)?;
    rustix::stdio::dup2_stdout(null)?;
    rustix::stdio::dup2_stderr(null)
}
