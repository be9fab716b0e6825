//! Supervisors of system calls (`seccomp_unotify(2)`): a filter's listener, and the calls that wait for its answer.
//!
//! Model: a call for which a filter says `SECCOMP_RET_USER_NOTIF` becomes a [`Request`]. It is *new* until the
//! supervisor has received it, *received* until it is answered, and gone when the caller has its answer or has been
//! interrupted. The listener ends when its last descriptor is closed: what waits then fails with `ENOSYS`.
//!
//! Locks: a listener's state is a leaf; observers are notified without it.

use core::any::Any;
use std::sync::{Arc, Weak};

use chitin_abi::fs::OpenFlags;
use chitin_abi::poll::PollEvents;
use chitin_abi::process::SeccompData;
use chitin_abi::{Errno, Result};
use chitin_vfs::anon::AnonInode;
use chitin_vfs::attr::Attr;
use chitin_vfs::cred::Cred;
use chitin_vfs::file::{File, OpenFile};
use chitin_vfs::wait::WaitQueue;
use parking_lot::Mutex;

use crate::context::Ctx;
use crate::error::{Restart, SysResult};
use crate::scheduler::wait::Completion;
use crate::task::Task;

/// What a supervisor decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The call is made.
    Continue,
    /// It returns this, an error as a negative number.
    Value(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    New,
    Received,
    Answered(Answer),
}

/// A call that waits for its supervisor.
pub struct Request {
    /// Its cookie.
    pub id: u64,
    /// Who makes it.
    pub task: Weak<Task>,
    /// What it asks for.
    pub data: SeccompData,
    done: Arc<Completion>,
}

#[derive(Default)]
struct State {
    requests: Vec<(Arc<Request>, Progress)>,
    last_id: u64,
    /// The last descriptor has been closed.
    closed: bool,
    /// No thread has the filter any more.
    orphaned: bool,
}

impl State {
    fn progress(&mut self, id: u64) -> Result<&mut Progress> {
        let found = self.requests.iter_mut().find(|(request, _)| request.id == id);
        found.map(|(_, progress)| progress).ok_or(Errno::ENOENT)
    }

    /// The same for one that has been received and not answered.
    ///
    /// # Errors
    /// ENOENT for none of this id, EINPROGRESS for one in another state.
    fn received(&mut self, id: u64) -> Result<&mut Progress> {
        let progress = self.progress(id)?;
        if *progress == Progress::Received { Ok(progress) } else { Err(Errno::EINPROGRESS) }
    }
}

/// Where the calls of one filter wait.
pub struct Listener {
    state: Mutex<State>,
    queue: Arc<WaitQueue>,
    /// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV`: a received call is interrupted by fatal signals alone.
    killable: bool,
}

impl Listener {
    /// One without calls.
    pub fn new(killable: bool) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), queue: Arc::default(), killable })
    }

    /// Its threads are gone: the supervisor sees a hang-up.
    pub fn orphan(&self) {
        self.state.lock().orphaned = true;
        self.queue.notify(PollEvents::POLLHUP | PollEvents::POLLIN);
    }

    /// What its descriptor notifies.
    pub fn queue(&self) -> &Arc<WaitQueue> {
        &self.queue
    }

    fn submit(&self, task: &Arc<Task>, data: SeccompData) -> Option<Arc<Request>> {
        let request = {
            let mut state = self.state.lock();
            if state.closed {
                return None;
            }
            state.last_id = state.last_id.wrapping_add(1);
            let (id, task, done) = (state.last_id, Arc::downgrade(task), Completion::new());
            let request = Arc::new(Request { id, task, data, done });
            state.requests.push((Arc::clone(&request), Progress::New));
            request
        };
        self.queue.notify(PollEvents::POLLIN);
        Some(request)
    }

    /// Takes a call off the list; its answer if it has one.
    fn withdraw(&self, request: &Request) -> Option<Answer> {
        let mut state = self.state.lock();
        let at = state.requests.iter().position(|(known, _)| known.id == request.id)?;
        match state.requests.remove(at).1 {
            Progress::Answered(answer) => Some(answer),
            _ => None,
        }
    }

    fn is_received(&self, request: &Request) -> bool {
        self.state.lock().received(request.id).is_ok()
    }

    /// The oldest new call, which is received by this.
    ///
    /// # Errors
    /// EAGAIN when there is none, ENOENT when there can be none.
    pub fn receive(&self) -> Result<Arc<Request>> {
        let found = {
            let mut state = self.state.lock();
            let orphaned = state.orphaned;
            let new = state.requests.iter_mut().find(|(_, at)| *at == Progress::New);
            match new {
                Some((request, progress)) => {
                    *progress = Progress::Received;
                    Arc::clone(request)
                }
                None if orphaned => return Err(Errno::ENOENT),
                None => return Err(Errno::EAGAIN),
            }
        };
        self.queue.notify(PollEvents::POLLOUT);
        Ok(found)
    }

    /// The supervisor could not be told of it: it is new again.
    pub fn put_back(&self, id: u64) {
        if let Ok(progress) = self.state.lock().received(id) {
            *progress = Progress::New;
        }
        self.queue.notify(PollEvents::POLLIN);
    }

    /// Answers a call.
    ///
    /// # Errors
    /// ENOENT, EINPROGRESS.
    pub fn answer(&self, id: u64, answer: Answer) -> Result<()> {
        let done = {
            let mut state = self.state.lock();
            *state.received(id)? = Progress::Answered(answer);
            let request = state.requests.iter().find(|(request, _)| request.id == id);
            request.map(|(request, _)| Arc::clone(&request.done))
        };
        if let Some(done) = done {
            done.complete();
        }
        Ok(())
    }

    /// The call of this id, if it has been received and waits.
    ///
    /// # Errors
    /// ENOENT, EINPROGRESS.
    pub fn waiting(&self, id: u64) -> Result<Arc<Request>> {
        let mut state = self.state.lock();
        state.received(id)?;
        let found = state.requests.iter().find(|(request, _)| request.id == id);
        found.map(|(request, _)| Arc::clone(request)).ok_or(Errno::ENOENT)
    }

    fn close(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.closed = true;
            state.requests.iter_mut().for_each(|(_, progress)| {
                if !matches!(progress, Progress::Answered(_)) {
                    *progress = Progress::Answered(Answer::Value(-i64::from(Errno::ENOSYS.raw())));
                }
            });
            state.requests.iter().map(|(request, _)| Arc::clone(&request.done)).collect::<Vec<_>>()
        };
        for done in waiting {
            done.complete();
        }
    }

    fn events(&self) -> PollEvents {
        let state = self.state.lock();
        let mut events = PollEvents::empty();
        let has = |wanted| state.requests.iter().any(|(_, progress)| *progress == wanted);
        if has(Progress::New) {
            events |= PollEvents::POLLIN | PollEvents::POLLRDNORM;
        }
        if has(Progress::Received) {
            events |= PollEvents::POLLOUT | PollEvents::POLLWRNORM;
        }
        if state.orphaned {
            events |= PollEvents::POLLHUP;
        }
        events
    }
}

/// Has the supervisor decide on the caller's call; `None` lets it be made.
pub async fn ask(cx: &Ctx<'_>, listener: &Listener, data: SeccompData) -> Option<SysResult> {
    let Some(request) = listener.submit(cx.task, data) else {
        return Some(Err(Errno::ENOSYS.into()));
    };
    let mut outcome = cx.wait(Restart::Sys, request.done.wait()).await;
    if outcome.is_err() && listener.killable && listener.is_received(&request) {
        // The call has begun: only the end of the process takes it back.
        let ended = cx.wait_killable(request.done.wait()).await.is_none();
        outcome = if ended { outcome } else { Ok(()) };
    }
    match (listener.withdraw(&request), outcome) {
        (Some(Answer::Continue), _) => None,
        (Some(Answer::Value(value)), _) => Some(Ok(value.cast_unsigned())),
        (None, Ok(())) => Some(Err(Errno::ENOSYS.into())),
        (None, Err(interrupted)) => Some(Err(interrupted)),
    }
}

/// The supervisor's descriptor of a listener.
pub struct ListenerFile {
    listener: Arc<Listener>,
}

impl ListenerFile {
    /// An open file of a listener.
    pub fn open(listener: Arc<Listener>) -> Arc<OpenFile> {
        let file = Arc::new(Self { listener });
        OpenFile::new(file, None, OpenFlags::O_RDWR, Cred::root())
    }

    /// What it is of.
    pub fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }
}

impl Drop for ListenerFile {
    fn drop(&mut self) {
        self.listener.close();
    }
}

impl File for ListenerFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn poll(&self) -> PollEvents {
        self.listener.events()
    }

    fn wait_queue(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.listener.queue)
    }

    fn attr(&self) -> Result<Option<Attr>> {
        Ok(Some(AnonInode::anonymous().attr()))
    }

    fn link_text(&self) -> Option<Vec<u8>> {
        Some(b"anon_inode:seccomp notify".to_vec())
    }
}
