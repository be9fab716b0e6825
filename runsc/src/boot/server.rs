//! The sentry's side of the control connection.
//!
//! One thread accepts, one thread serves each connection (at most [`MOST`]): requests are rare, and waiting is one
//! of them. Peers are checked: the user who made the sandbox, or root.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};

use crate::control::{Request, Response, receive, send};
use crate::error::{Context as _, Failure, Result};
use crate::log;
use crate::sandbox::attached::SOON;

/// Connections at a time.
const MOST: usize = 64;
const STACK: usize = 256 << 10;

/// What requests are carried out by.
pub(crate) trait Machine: Send + Sync + 'static {
    /// Carries out a request; may take as long as it takes.
    fn carry_out(&self, request: Request, descriptors: Vec<OwnedFd>) -> Result<Response>;
}

/// Requests that were read and not answered yet.
///
/// A request can bring about the end of the sandbox (`kill`), and others wait for it: the process goes on until they
/// have their answers.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    requests: Mutex<usize>,
    fewer: Condvar,
}

impl Pending {
    /// Waits until everything is answered, but no longer than this.
    pub(crate) fn settle(&self, limit: Duration) {
        let mut requests = self.requests.lock();
        self.fewer.wait_while_for(&mut requests, |requests| *requests > 0, limit);
    }

    fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        *self.requests.lock() += 1;
        let result = work();
        *self.requests.lock() -= 1;
        self.fewer.notify_all();
        result
    }
}

/// Who may connect, as the sentry's user namespace calls them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peers {
    maker: u32,
}

impl Peers {
    /// The maker is at the other end of this connection.
    pub(crate) fn of(control: &UnixStream) -> Result<Self> {
        let cred = getsockopt(control, PeerCredentials)
            .context(|| "cannot find out who made the sandbox")?;
        Ok(Self { maker: cred.uid() })
    }

    fn admit(self, stream: &UnixStream) -> bool {
        getsockopt(stream, PeerCredentials)
            .is_ok_and(|cred| cred.uid() == self.maker || cred.uid() == 0)
    }
}

/// Serves everybody who connects, from threads of their own.
pub(crate) fn serve_all(
    listener: UnixListener,
    peers: Peers,
    machine: &Arc<impl Machine>,
    pending: &Arc<Pending>,
) -> Result<()> {
    let (machine, pending) = (Arc::clone(machine), Arc::clone(pending));
    let accept = move || {
        let open = Arc::new(AtomicUsize::new(0));
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of descriptors, most likely: not worth a busy loop.
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            if !peers.admit(&stream) || open.load(Ordering::Relaxed) >= MOST {
                continue;
            }
            open.fetch_add(1, Ordering::Relaxed);
            let (machine, open) = (Arc::clone(&machine), Arc::clone(&open));
            let pending = Arc::clone(&pending);
            let serve = move || {
                converse(&stream, &*machine, &pending);
                open.fetch_sub(1, Ordering::Relaxed);
            };
            // Without a thread the connection is closed, which the peer notices.
            drop(spawn("connection", serve));
        }
    };
    spawn("control", accept)
}

/// Serves the connection to the command that made the sandbox.
pub(crate) fn serve_one(
    stream: UnixStream,
    machine: &Arc<impl Machine>,
    pending: &Arc<Pending>,
) -> Result<()> {
    let (machine, pending) = (Arc::clone(machine), Arc::clone(pending));
    spawn("maker", move || {
        let mut entries = [PollFd::new(&stream, PollFlags::IN)];
        if matches!(poll(&mut entries, Some(&SOON)), Ok(0)) {
            crate::raw::release_code();
        }
        converse(&stream, &*machine, &pending);
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(body);
    thread.map(drop).context(|| "cannot start a thread")
}

fn converse(stream: &UnixStream, machine: &impl Machine, pending: &Pending) {
    loop {
        let (request, descriptors) = match receive::<Request>(stream) {
            Ok(Some(received)) => received,
            Ok(None) => return,
            Err(error) => {
                let failure = Failure::new(format!("the request cannot be read: {error}"));
                let _ = send(stream, &Response::Failed(failure), &[]);
                return;
            }
        };
        log::debug(|| format!("request: {request:?}"));
        let sent = pending.during(|| {
            let response = machine.carry_out(request, descriptors).unwrap_or_else(Response::Failed);
            send(stream, &response, &[])
        });
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Client;

    struct Echo;

    impl Machine for Echo {
        fn carry_out(&self, request: Request, _descriptors: Vec<OwnedFd>) -> Result<Response> {
            match request {
                Request::Wait { pid } => {
                    Ok(Response::Exited { code: pid.map_or(0, |pid| pid as u8) })
                }
                Request::Start => Ok(Response::Done),
                _ => Err(Failure::new("no")),
            }
        }
    }

    #[test]
    fn requests_are_answered_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (a, _b) = UnixStream::pair().unwrap();
        let (listener, peers) = (UnixListener::bind(&path).unwrap(), Peers::of(&a).unwrap());
        serve_all(listener, peers, &Arc::new(Echo), &Arc::default()).unwrap();
        let client = Client::new(UnixStream::connect(&path).unwrap());
        client.order(&Request::Start).unwrap();
        assert!(matches!(
            client.ask(&Request::Wait { pid: Some(7) }, &[]),
            Ok(Response::Exited { code: 7 })
        ));
        assert_eq!(client.order(&Request::Pause).unwrap_err().to_string(), "no");
    }

    #[test]
    fn the_end_waits_for_answers() {
        let pending = Arc::new(Pending::default());
        let (begun, wait) = std::sync::mpsc::channel();
        let answered = Arc::new(AtomicUsize::new(0));
        let (own, count) = (Arc::clone(&pending), Arc::clone(&answered));
        let server = thread::spawn(move || {
            own.during(|| {
                begun.send(()).unwrap();
                thread::sleep(Duration::from_millis(20));
                count.fetch_add(1, Ordering::SeqCst);
            });
        });
        wait.recv().unwrap();
        pending.settle(Duration::from_secs(60));
        assert_eq!(answered.load(Ordering::SeqCst), 1);
        server.join().unwrap();
    }
}
