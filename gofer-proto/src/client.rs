//! The client's half: tags, fids, and which reply belongs to which request.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

use chitin_abi::Errno;

use crate::message::{ERROR_TYPE, NO_TAG, Reply, Request, Text, VERSION_EXTENDED, VERSION_PLAIN};
use crate::wire::{DecodeError, Frame, IO_HEADER, Inbox, MAX_MESSAGE, MIN_MESSAGE};

/// Most requests on their way at once.
const MAX_TAGS: usize = 1024;

/// What ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The server's bytes make no sense.
    Decode(DecodeError),
    /// A reply to something that was not asked, or of another type.
    UnexpectedReply {
        /// The reply's tag.
        tag: u16,
        /// The reply's type.
        kind: u8,
    },
    /// The server speaks no version that this client does, or an impossible message size.
    Version,
    /// Too many requests are on their way, or a message is larger than agreed.
    TooMuch,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => write!(f, "the server's message is wrong: {error}"),
            Self::UnexpectedReply { tag, kind } => {
                write!(
                    f,
                    "the server sent a reply of type {kind} to request {tag}, which did not ask for it"
                )
            }
            Self::Version => f.write_str("the server speaks another protocol"),
            Self::TooMuch => f.write_str("too many requests, or too large a one"),
        }
    }
}

impl core::error::Error for ClientError {}

impl From<DecodeError> for ClientError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

/// A reply that has been matched with its request.
#[derive(Debug)]
pub struct Answer {
    /// The tag that [`Client::request`] returned.
    pub tag: u16,
    frame: Frame,
    extended: bool,
}

impl Answer {
    /// The reply; an error reply is an error.
    ///
    /// # Errors
    /// The server's error number; EPROTO for a body that makes no sense.
    pub fn reply(&self) -> Result<Reply<'_>, Errno> {
        match Reply::decode(&self.frame, self.extended) {
            Ok(Reply::Error { number }) => Err(Errno::from_raw(i32::try_from(number).unwrap_or(0))),
            Ok(reply) => Ok(reply),
            Err(_) => Err(Errno::EPROTO),
        }
    }
}

/// Hands out fids.
#[derive(Debug, Default)]
pub struct Fids {
    next: u32,
    free: BTreeSet<u32>,
}

impl Fids {
    /// A fid that is not in use.
    pub fn take(&mut self) -> Option<u32> {
        if let Some(fid) = self.free.pop_first() {
            return Some(fid);
        }
        let fid = self.next;
        self.next = self.next.checked_add(1)?;
        (fid != crate::message::NO_FID).then_some(fid)
    }

    /// A fid that has been clunked.
    pub fn give_back(&mut self, fid: u32) {
        if fid < self.next {
            self.free.insert(fid);
        }
    }
}

/// The client.
#[derive(Debug)]
pub struct Client {
    inbox: Inbox,
    message_size: u32,
    extended: bool,
    ready: bool,
    /// The reply's type for each request that waits.
    waiting: BTreeMap<u16, u8>,
    next_tag: u16,
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

impl Client {
    /// A client that has not said anything yet.
    pub fn new() -> Self {
        Self {
            inbox: Inbox::new(MAX_MESSAGE),
            message_size: MAX_MESSAGE,
            extended: false,
            ready: false,
            waiting: BTreeMap::new(),
            next_tag: 0,
        }
    }

    /// Begins to talk: asks for the extended version. A server that has never heard of it should answer with the
    /// plain one; of one that does not, [`Client::next_answer`] says [`ClientError::Version`], and
    /// [`Client::begin_plain`] may be tried.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        self.ask_version(VERSION_EXTENDED, out);
    }

    /// Begins to talk: asks for plain 9P2000.L.
    pub fn begin_plain(&mut self, out: &mut Vec<u8>) {
        self.ask_version(VERSION_PLAIN, out);
    }

    fn ask_version(&mut self, version: &[u8], out: &mut Vec<u8>) {
        let version = Text(version);
        let request = Request::Version { message_size: MAX_MESSAGE, version };
        self.waiting.clear();
        self.waiting.insert(NO_TAG, request.reply_kind());
        request.encode(NO_TAG, out);
    }

    /// Whether the peers have agreed on a version.
    pub const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether the server knows the messages of the extension.
    pub const fn is_extended(&self) -> bool {
        self.extended
    }

    /// Most bytes of one read or write.
    pub const fn io_size(&self) -> u32 {
        self.message_size.saturating_sub(IO_HEADER)
    }

    /// Requests that have no answer yet.
    pub fn outstanding(&self) -> usize {
        self.waiting.len()
    }

    /// Appends a request to `out`, which is to be sent; the answer will have the tag returned.
    ///
    /// # Errors
    /// [`ClientError::TooMuch`]; [`ClientError::Version`] before the peers have agreed or for a message of the
    /// extension that the server does not know.
    pub fn request(
        &mut self,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<u16, ClientError> {
        if !self.ready || (request.kind() >= 200 && !self.extended) {
            return Err(ClientError::Version);
        }
        let tag = self.free_tag()?;
        let start = out.len();
        request.encode(tag, out);
        if out.len().saturating_sub(start) > self.message_size as usize {
            out.truncate(start);
            return Err(ClientError::TooMuch);
        }
        self.waiting.insert(tag, request.reply_kind());
        Ok(tag)
    }

    fn free_tag(&mut self) -> Result<u16, ClientError> {
        if self.waiting.len() >= MAX_TAGS {
            return Err(ClientError::TooMuch);
        }
        loop {
            let tag = self.next_tag;
            self.next_tag = if tag >= NO_TAG.saturating_sub(1) { 0 } else { tag.saturating_add(1) };
            if !self.waiting.contains_key(&tag) {
                return Ok(tag);
            }
        }
    }

    /// Takes bytes from the server.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.inbox.push(bytes);
    }

    /// The next answer.
    ///
    /// # Errors
    /// What ends the connection.
    pub fn next_answer(&mut self) -> Result<Option<Answer>, ClientError> {
        let Some(frame) = self.inbox.next_frame()? else { return Ok(None) };
        let unexpected = ClientError::UnexpectedReply { tag: frame.tag, kind: frame.kind };
        let expected = self.waiting.remove(&frame.tag).ok_or(unexpected)?;
        if frame.kind != expected && frame.kind != ERROR_TYPE {
            return Err(unexpected);
        }
        if frame.tag == NO_TAG {
            self.agree(&frame)?;
        }
        Ok(Some(Answer { tag: frame.tag, frame, extended: self.extended }))
    }

    fn agree(&mut self, frame: &Frame) -> Result<(), ClientError> {
        let Reply::Version { message_size, version } = Reply::decode(frame, false)? else {
            return Err(ClientError::Version);
        };
        self.extended = match version.0 {
            VERSION_EXTENDED => true,
            VERSION_PLAIN => false,
            _ => return Err(ClientError::Version),
        };
        if !(MIN_MESSAGE..=MAX_MESSAGE).contains(&message_size) {
            return Err(ClientError::Version);
        }
        self.message_size = message_size;
        self.inbox.set_limit(message_size);
        self.ready = true;
        Ok(())
    }
}
