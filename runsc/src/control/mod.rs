//! The control connection: what commands ask of a running sandbox.
//!
//! Frames in both directions: a length (4 bytes, little-endian, at most 64 KiB) and a JSON value; descriptors
//! ride with the first byte. One answer per request, in order. A connection that waits for a process asks for
//! nothing else meanwhile.

mod frame;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use self::frame::{receive, send};
use crate::error::{Context as _, Failure, Result};
use crate::fail;
use crate::state::Home;

/// What a command asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// Start the program of a created container.
    Start,
    /// Run another program. Its standard descriptors, or its console, come along.
    Exec(Box<ExecRequest>),
    /// Send a signal.
    Signal { signal: i32, target: Target },
    /// Wait for the end of a process; of the container when there is no pid.
    Wait { pid: Option<i32> },
    /// List the processes.
    Ps,
    /// Stop everything.
    Pause,
    /// Let it go on.
    Resume,
    /// `created`, `running` or `paused`.
    State,
    /// Set the size of a terminal: of the container, or of a program that `exec` started.
    Resize { pid: Option<i32>, rows: u16, columns: u16 },
    /// Write a list of what was changed in the root to the descriptor that comes along.
    Diff,
    /// The same as an archive.
    Export,
}

/// Who is meant by [`Request::Signal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Target {
    /// The first process.
    Init,
    /// Every process.
    All,
    /// One process, by its id inside.
    Process(i32),
}

/// [`Request::Exec`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExecRequest {
    /// As in `config.json`.
    pub(crate) process: oci_spec::runtime::Process,
    /// What the descriptors that come along are, in order.
    pub(crate) descriptors: Vec<Descriptor>,
}

/// What a descriptor that comes with [`Request::Exec`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Descriptor {
    /// The program's descriptor of this number.
    Number(i32),
    /// The other side of its terminal, as a stream.
    Stream,
    /// The other side of its terminal, as a terminal of the host.
    Terminal,
}

/// What the sandbox answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Response {
    /// It is done.
    Done,
    /// It failed.
    Failed(Failure),
    /// The process, as it is called inside.
    Started { pid: i32 },
    /// The exit code.
    Exited { code: u8 },
    /// The processes.
    Processes(Vec<ProcessInfo>),
    /// See [`Request::State`].
    State { status: String },
}

/// A line of `ps`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ProcessInfo {
    /// Its id inside.
    pub(crate) pid: i32,
    /// Its parent's.
    pub(crate) parent: i32,
    /// Its user.
    pub(crate) uid: u32,
    /// Its name.
    pub(crate) command: String,
}

/// A connection to a sandbox.
#[derive(Debug)]
pub(crate) struct Client(UnixStream);

impl Client {
    /// Connects to the sandbox of a container.
    pub(crate) fn connect(home: &Home) -> Result<Self> {
        let record = home.load()?;
        if !record.alive() {
            return fail!("container {:?} is stopped", home.id());
        }
        connect_in(home)
            .map(Self)
            .context(|| format!("cannot reach the sandbox of container {:?}", home.id()))
    }

    /// A connection that exists.
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// The connection itself.
    pub(crate) fn into_stream(self) -> UnixStream {
        self.0
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&self, request: &Request, descriptors: &[&OwnedFd]) -> Result<Response> {
        let lost = || "the sandbox did not answer".to_owned();
        send(&self.0, request, descriptors).context(lost)?;
        match receive(&self.0).context(lost)? {
            Some((Response::Failed(failure), _)) => Err(failure),
            Some((response, _)) => Ok(response),
            None => fail!("the sandbox ended before it could answer"),
        }
    }

    /// Asks for something that has no answer but that it is done.
    pub(crate) fn order(&self, request: &Request) -> Result<()> {
        self.ask(request, &[]).map(drop)
    }
}

/// Connects by a short name, because paths of sockets have at most 107 bytes.
fn connect_in(home: &Home) -> io::Result<UnixStream> {
    let directory = std::fs::File::open(home.directory())?;
    UnixStream::connect(short(&directory))
}

/// Listens in the directory of a container.
pub(crate) fn listen(home: &Home) -> Result<std::os::unix::net::UnixListener> {
    let bind = || {
        let directory = std::fs::File::open(home.directory())?;
        std::os::unix::net::UnixListener::bind(short(&directory))
    };
    bind().context(|| format!("cannot listen on {}", home.socket().display()))
}

fn short(directory: &std::fs::File) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/self/fd/{}/control.sock", directory.as_raw_fd()))
}
