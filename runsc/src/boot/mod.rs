//! The child's side: from the fork to a running container.
//!
//! Everything that can fail before the first process runs is reported over the status pipe in one sentence.

mod files;
mod server;

use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::sync::Arc;

use chitin_platform_systrap::{Systrap, SystrapConfig};

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

/// What is left when the doors are shut.
struct Confined {
    /// The container's trees.
    trees: Vec<Tree>,
    /// The directory of single files.
    files: Option<OwnedFd>,
    /// Runs guest code.
    platform: Arc<Systrap>,
    /// How many workers it was made for.
    workers: usize,
}

/// More workers than this do not help one sandbox.
const MOST_WORKERS: usize = 64;

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

/// Confines this process up to its filter.
fn prepare(
    plan: &Plan,
    mode: Mode,
    sources: Sources,
    mut gate: std::io::PipeReader,
    mut keep: Vec<RawFd>,
) -> Result<Confined> {
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
    root.attach_proc()?;
    let files = root.enter()?;
    replace_standard_descriptors(&null).context(|| "cannot replace the standard descriptors")?;
    keep.extend(0..3);
    keep.extend(trees.iter().filter_map(Tree::descriptor));
    keep.extend(files.as_ref().map(|fd| fd.as_raw_fd()));
    confine::descriptors::keep_only(keep).context(|| "cannot close descriptors")?;
    confine::descriptors::make_room(&std::io::stdin())
        .context(|| "cannot raise the limit on descriptors")?;
    let workers =
        std::thread::available_parallelism().map_or(1, core::num::NonZero::get).min(MOST_WORKERS);
    let platform =
        Systrap::new(SystrapConfig { workers }).context(|| "cannot start the platform systrap")?;
    confine::root::hide_proc()?;
    confine::capabilities::reduce().context(|| "cannot drop capabilities")?;
    // Modes of files are the business of the kernel inside.
    rustix::process::umask(rustix::fs::Mode::empty());
    confine::filter::install(chitin_platform_systrap::sentry_host_calls())?;
    Ok(Confined { trees, files, platform, workers })
}

fn replace_standard_descriptors(null: &std::fs::File) -> rustix::io::Result<()> {
    rustix::stdio::dup2_stdin(null)?;
    rustix::stdio::dup2_stdout(null)?;
    rustix::stdio::dup2_stderr(null)
}
