//! Programs and the areas that they are of.

use clap::ValueEnum;
use proptest::prelude::{Just, Strategy, prop};
use proptest::strategy::BoxedStrategy;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde::{Deserialize, Serialize};

use super::{files, memory, readiness, signals, sockets};
use crate::suite::Kernel;

/// Operations of a program at most.
const LONGEST: usize = 30;

/// What a program is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Area {
    /// Names, content, attributes and locks of files.
    Files,
    /// The same on an overlay whose lower layer has files.
    Overlay,
    /// Mappings.
    Memory,
    /// Pipes, sockets and event counters, `poll` and `epoll`.
    Readiness,
    /// Signals and children.
    Signals,
    /// Unix sockets.
    Sockets,
}

impl Area {
    /// All areas.
    pub const ALL: [Self; 6] =
        [Self::Files, Self::Overlay, Self::Memory, Self::Readiness, Self::Signals, Self::Sockets];

    /// Programs of this area.
    pub fn strategy(self) -> BoxedStrategy<Program> {
        fn list<T: core::fmt::Debug + 'static>(
            one: impl Strategy<Value = T> + 'static,
        ) -> impl Strategy<Value = Vec<T>> {
            prop::collection::vec(one, 1..LONGEST)
        }
        match self {
            Self::Files => list(files::operations()).prop_map(Program::Files).boxed(),
            Self::Overlay => (list(files::operations()), list(files::operations()))
                .prop_map(|(below, above)| Program::Overlay { below, above })
                .boxed(),
            Self::Memory => list(memory::operations()).prop_map(Program::Memory).boxed(),
            Self::Readiness => list(readiness::operations()).prop_map(Program::Readiness).boxed(),
            Self::Signals => list(signals::operations()).prop_map(Program::Signals).boxed(),
            Self::Sockets => list(sockets::operations()).prop_map(Program::Sockets).boxed(),
        }
    }

    /// The source of programs for a seed: the same seed gives the same program wherever it runs.
    pub fn runner(seed: u64) -> TestRunner {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, random)
    }

    /// The strategy of nothing but this program; for replays.
    pub fn only(program: Program) -> BoxedStrategy<Program> {
        Just(program).boxed()
    }
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// Of [`Area::Files`].
    Files(Vec<files::Operation>),
    /// Of [`Area::Overlay`].
    Overlay {
        /// What makes the lower layer.
        below: Vec<files::Operation>,
        /// What happens on the overlay.
        above: Vec<files::Operation>,
    },
    /// Of [`Area::Memory`].
    Memory(Vec<memory::Operation>),
    /// Of [`Area::Readiness`].
    Readiness(Vec<readiness::Operation>),
    /// Of [`Area::Signals`].
    Signals(Vec<signals::Operation>),
    /// Of [`Area::Sockets`].
    Sockets(Vec<sockets::Operation>),
}

impl Program {
    /// Runs it in the current directory; the transcript.
    pub fn run(&self, k: &dyn Kernel) -> Vec<String> {
        match self {
            Self::Files(operations) => files::run(k, operations),
            Self::Overlay { below, above } => files::run_overlay(k, below, above),
            Self::Memory(operations) => memory::run(k, operations),
            Self::Readiness(operations) => readiness::run(k, operations),
            Self::Signals(operations) => signals::run(k, operations),
            Self::Sockets(operations) => sockets::run(k, operations),
        }
    }

    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Program::to_json`] wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}
