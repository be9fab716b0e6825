//! [`Session`]: a connection with a server, and the round trips on it.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use chitin_abi::{Errno, Result};
use chitin_gofer_proto::client::{Answer, Client, ClientError, Fids};
use chitin_gofer_proto::donate::Received;
use chitin_gofer_proto::message::{
    Attr, GETATTR_ALL, List, MAX_LIST, NO_FID, Reply, Request, ShortList, Text, Walked,
};
use chitin_gofer_proto::name::Name;
use parking_lot::Mutex;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags, recvmsg,
    sendmsg,
};

/// Bytes that are received at once.
const BUFFER: usize = 64 << 10;
/// Descriptors that may come with the answers to one exchange.
const DESCRIPTORS: usize = 4;
/// Fids that wait to be clunked before they are sent along.
const CLUNKS: usize = 32;

/// Parts that a session's patience is cut into: the socket's own timeout is one of them, and after each it is looked
/// whether all of the patience is gone. So a wait is one host call unless the server is slow, and a server that sends a
/// byte now and then is waited for no longer than a silent one.
const SLICES: u32 = 8;

/// What is used by one caller at a time.
struct Line {
    client: Client,
    socket: OwnedFd,
    patience: Duration,
    /// When the exchange that is going on has taken too long.
    deadline: Instant,
    out: Vec<u8>,
    buffer: Box<[u8]>,
    received: Received<OwnedFd>,
}

/// A connection with a server.
pub struct Session {
    line: Mutex<Line>,
    fids: Mutex<Fids>,
    /// Fids that nobody needs any more.
    dropped: Mutex<Vec<u32>>,
    lost: AtomicBool,
    extended: bool,
    io_size: u32,
}

/// A server's handle of a file; clunked some time after it is dropped.
pub(super) struct Fid {
    session: Arc<Session>,
    number: u32,
}

impl Fid {
    /// Its number on the wire.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Takes back a fid that the server has never heard of.
    pub fn never_made(self) {
        self.session.fids.lock().give_back(self.number);
        let mut this = self;
        this.number = NO_FID;
    }
}

impl Drop for Fid {
    fn drop(&mut self) {
        if self.number != NO_FID {
            self.session.dropped.lock().push(self.number);
        }
    }
}

/// Answers, and the descriptors that came with them.
pub(super) struct Answers {
    pub list: Vec<Answer>,
    pub descriptors: Received<OwnedFd>,
}

impl Session {
    /// Talks to the server behind a stream socket; `patience` bounds every wait for it.
    ///
    /// # Errors
    /// EPROTO where it speaks something else; ETIMEDOUT, ECONNRESET and what the host says.
    pub fn connect(socket: OwnedFd, patience: Duration) -> Result<Arc<Self>> {
        // No timeout at all is what zero would mean to the host.
        let slice = (patience / SLICES).max(Duration::from_millis(1));
        for direction in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, direction, Some(slice))
                .map_err(crate::host_errno::from_host)?;
        }
        let mut line = Line {
            client: Client::new(),
            socket,
            patience,
            deadline: Instant::now() + patience,
            out: Vec::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            received: Received::new(DESCRIPTORS),
        };
        line.client.begin(&mut line.out);
        if line.agree()? == Agreement::Refused {
            line.client.begin_plain(&mut line.out);
            if line.agree()? == Agreement::Refused {
                return Err(Errno::EPROTO);
            }
        }
        let (extended, io_size) = (line.client.is_extended(), line.client.io_size());
        Ok(Arc::new(Self {
            line: Mutex::new(line),
            fids: Mutex::default(),
            dropped: Mutex::default(),
            lost: AtomicBool::new(false),
            extended,
            io_size,
        }))
    }

    /// Whether the server knows the extension, and with it donates descriptors.
    pub fn is_extended(&self) -> bool {
        self.extended
    }

    /// Whether the connection is of no use any more.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Most bytes of one read or write.
    pub(super) fn io_size(&self) -> u32 {
        self.io_size
    }

    /// A fid that a request may make.
    pub(super) fn new_fid(self: &Arc<Self>) -> Result<Fid> {
        let number = self.fids.lock().take().ok_or(Errno::ENFILE)?;
        Ok(Fid { session: Arc::clone(self), number })
    }

    /// Sends requests and waits for all of their answers: at once where the server answers in order, else one
    /// after the other, until one fails.
    pub(super) fn exchange(&self, requests: &[Request<'_>]) -> Result<Answers> {
        let mut answers = Answers { list: Vec::new(), descriptors: Received::new(DESCRIPTORS) };
        let mut line = self.line.lock();
        // Under the lock, where it is set too: who waited for the line while it was lost would send on it and wait again.
        if self.is_lost() {
            return Err(Errno::EIO);
        }
        line.deadline = Instant::now() + line.patience;
        let result = if self.extended {
            self.round_trip(&mut line, requests, &mut answers)
        } else {
            requests.iter().try_for_each(|request| {
                self.round_trip(&mut line, core::slice::from_ref(request), &mut answers)
            })
        };
        while let Some(descriptor) = line.received.claim() {
            // One too many is closed.
            let _ = answers.descriptors.push(descriptor);
        }
        if matches!(result, Err(Lost::Session)) {
            self.lost.store(true, Ordering::Relaxed);
        }
        drop(line);
        match result {
            Ok(()) => Ok(answers),
            Err(Lost::Request) => Err(Errno::E2BIG),
            Err(Lost::Session) => Err(Errno::EIO),
        }
    }

    /// One request and its answer.
    pub(super) fn ask(&self, request: &Request<'_>) -> Result<Answer> {
        let mut answers = self.exchange(core::slice::from_ref(request))?;
        answers.list.pop().ok_or(Errno::EIO)
    }

    /// One request whose success says nothing more.
    pub(super) fn order(&self, request: &Request<'_>) -> Result<()> {
        self.ask(request)?.reply().map(|_| ())
    }

    fn round_trip(
        &self,
        line: &mut Line,
        requests: &[Request<'_>],
        answers: &mut Answers,
    ) -> core::result::Result<(), Lost> {
        line.out.clear();
        let mut tags = Vec::with_capacity(requests.len());
        for request in requests {
            match line.client.request(request, &mut line.out) {
                Ok(tag) => tags.push(tag),
                Err(_) if tags.is_empty() => return Err(Lost::Request),
                Err(_) => return Err(Lost::Session),
            }
        }
        let clunked = self.add_clunks(line);
        line.send().map_err(|_| Lost::Session)?;
        while line.client.outstanding() > 0 {
            match line.client.next_answer().map_err(|_| Lost::Session)? {
                Some(answer) if tags.contains(&answer.tag) => answers.list.push(answer),
                Some(_) => {}
                None => line.fill().map_err(|_| Lost::Session)?,
            }
        }
        let mut fids = self.fids.lock();
        clunked.into_iter().for_each(|fid| fids.give_back(fid));
        Ok(())
    }

    /// Lets the server forget fids, if there are many.
    fn add_clunks(&self, line: &mut Line) -> Vec<u32> {
        let mut dropped = self.dropped.lock();
        if dropped.len() < CLUNKS {
            return Vec::new();
        }
        let kept = dropped.len().saturating_sub(MAX_LIST);
        let mut fids = dropped.split_off(kept);
        drop(dropped);
        if self.extended {
            let list = List(core::mem::take(&mut fids));
            let request = Request::ClunkMany { fids: list };
            let sent = line.client.request(&request, &mut line.out).is_ok();
            let Request::ClunkMany { fids } = request else { return Vec::new() };
            return if sent { fids.0 } else { Vec::new() };
        }
        fids.retain(|fid| {
            line.client.request(&Request::Clunk { fid: *fid }, &mut line.out).is_ok()
        });
        fids
    }

    /// A fid of the root of a tree.
    pub(super) fn attach(self: &Arc<Self>, tree: &[u8]) -> Result<Fid> {
        let fid = self.new_fid()?;
        let attach = Request::Attach {
            fid: fid.number(),
            afid: NO_FID,
            user: Text(b"root"),
            name: Text(tree),
            uid: 0,
        };
        match self.order(&attach) {
            Ok(()) => Ok(fid),
            Err(error) => {
                fid.never_made();
                Err(error)
            }
        }
    }

    /// Attributes.
    pub(super) fn get_attr(&self, fid: u32) -> Result<Attr> {
        match self.ask(&Request::GetAttr { fid, mask: GETATTR_ALL })?.reply()? {
            Reply::GetAttr { attr } => Ok(attr),
            _ => Err(Errno::EIO),
        }
    }

    /// A fid and the attributes of an entry of a directory.
    pub(super) fn walk(self: &Arc<Self>, dir: u32, name: Name<'_>) -> Result<(Fid, Attr)> {
        let fid = self.new_fid()?;
        match self.walk_to(dir, &fid, name) {
            Ok(attr) => Ok((fid, attr)),
            Err(error) => {
                fid.never_made();
                Err(error)
            }
        }
    }

    fn walk_to(&self, dir: u32, fid: &Fid, name: Name<'_>) -> Result<Attr> {
        let new_fid = fid.number();
        if self.extended {
            let request = Request::WalkAttr { fid: dir, new_fid, names: List(vec![name]) };
            return walked(&self.ask(&request)?);
        }
        self.order(&Request::Walk { fid: dir, new_fid, names: ShortList(vec![name]) })?;
        let attr = self.get_attr(new_fid);
        if attr.is_err() {
            self.order(&Request::Clunk { fid: new_fid })?;
        }
        attr
    }

    /// Another fid of the same file.
    pub(super) fn duplicate(self: &Arc<Self>, fid: u32) -> Result<Fid> {
        let new = self.new_fid()?;
        let names = ShortList(Vec::new());
        match self.order(&Request::Walk { fid, new_fid: new.number(), names }) {
            Ok(()) => Ok(new),
            Err(error) => {
                new.never_made();
                Err(error)
            }
        }
    }
}

/// The attributes that a walk by one name found.
pub(super) fn walked(answer: &Answer) -> Result<Attr> {
    let Reply::WalkAttr { number, steps } = answer.reply()? else { return Err(Errno::EIO) };
    match (steps.0.first(), number) {
        (Some(Walked { attr, .. }), 0) => Ok(*attr),
        _ => Err(server_error(number)),
    }
}

/// The error of this number; EIO for what is none.
pub(super) fn server_error(number: u32) -> Errno {
    match i32::try_from(number) {
        Ok(number @ 1..4096) => Errno::from_raw(number),
        _ => Errno::EIO,
    }
}

/// What an exchange can lose.
enum Lost {
    /// The request was impossible.
    Request,
    /// The server has gone, is too slow or makes no sense.
    Session,
}

/// What became of a proposed version.
#[derive(PartialEq, Eq)]
enum Agreement {
    Reached,
    /// The server does not know it.
    Refused,
}

impl Line {
    /// Proposes the version that has been begun with.
    fn agree(&mut self) -> Result<Agreement> {
        self.send()?;
        loop {
            match self.client.next_answer() {
                Ok(Some(_)) if self.client.is_ready() => return Ok(Agreement::Reached),
                Ok(Some(_)) => return Err(Errno::EPROTO),
                Ok(None) => self.fill()?,
                Err(ClientError::Version) => return Ok(Agreement::Refused),
                Err(_) => return Err(Errno::EPROTO),
            }
        }
    }

    /// ETIMEDOUT once the exchange has taken too long.
    fn check_time(&self) -> Result<()> {
        if Instant::now() < self.deadline { Ok(()) } else { Err(Errno::ETIMEDOUT) }
    }

    fn send(&mut self) -> Result<()> {
        let mut rest = self.out.as_slice();
        while !rest.is_empty() {
            self.check_time()?;
            let mut nothing = SendAncillaryBuffer::default();
            match sendmsg(&self.socket, &[IoSlice::new(rest)], &mut nothing, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(crate::host_errno::from_host(error)),
            }
        }
        self.out.clear();
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let count = loop {
            self.check_time()?;
            let mut buffers = [IoSliceMut::new(&mut self.buffer)];
            match recvmsg(&self.socket, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received.bytes,
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(crate::host_errno::from_host(error)),
            }
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                for descriptor in descriptors {
                    // One too many is closed.
                    let _ = self.received.push(descriptor);
                }
            }
        }
        if count == 0 {
            return Err(Errno::ECONNRESET);
        }
        self.client.receive(self.buffer.get(..count).unwrap_or_default());
        Ok(())
    }
}
