//! The child's side: from the fork to a running container.
//!
//! Everything that can fail before the first process runs is reported over the status pipe in one sentence.

use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

use crate::confine;
use crate::error::{Context as _, Failure, Result};
use crate::raw;
use crate::sandbox::launch::Mode;
use crate::sandbox::sources::Sources;
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

/// Confines this process up to its filter. Gives the trees of the container.
fn prepare(
    plan: &Plan,
    mode: Mode,
    sources: Sources,
    mut gate: std::io::PipeReader,
    mut keep: Vec<RawFd>,
) -> Result<Vec<OwnedFd>> {
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
    let trees = sources.finish()?;
    keep.extend(trees.iter().map(|tree| tree.as_raw_fd()));
    confine::empty_root()?;
    confine::descriptors::keep_only(keep).context(|| "cannot close descriptors")?;
    if let Some(tree) = trees.first() {
        confine::descriptors::make_room(tree)
            .context(|| "cannot raise the limit on descriptors")?;
    }
    confine::capabilities::reduce().context(|| "cannot drop capabilities")?;
    Ok(trees)
}
