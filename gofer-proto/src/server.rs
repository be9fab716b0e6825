//! The server's half: fids, their states, and the calls of a [`Handler`].

mod batched;
mod dispatch;
mod fids;

use alloc::vec::Vec;

use chitin_abi::Errno;

use crate::donate::Outgoing;
use crate::handler::Handler;
use crate::message::{
    ERROR_TYPE, Reply, Request, Text, VERSION_EXTENDED, VERSION_PLAIN, VERSION_UNKNOWN,
};
use crate::wire::{DecodeError, Frame, IO_HEADER, Inbox, MAX_MESSAGE, MIN_MESSAGE, put_frame};

use fids::Fids;

/// Fids that a client may have unless told otherwise.
const DEFAULT_FIDS: usize = 1 << 16;

/// A connection with one client.
pub struct Server<H: Handler> {
    handler: H,
    inbox: Inbox,
    fids: Fids<H::Node, H::File>,
    /// Agreed message size; 0 before.
    message_size: u32,
    extended: bool,
    plain_only: bool,
}

impl<H: Handler> Server<H> {
    /// A server for a client that has not said anything yet.
    pub fn new(handler: H) -> Self {
        Self::with_limit(handler, DEFAULT_FIDS)
    }

    /// The same with a limit of fids.
    pub fn with_limit(handler: H, fids: usize) -> Self {
        Self {
            handler,
            inbox: Inbox::new(MAX_MESSAGE),
            fids: Fids::new(fids),
            message_size: 0,
            extended: false,
            plain_only: false,
        }
    }

    /// The same server, which has never heard of the extension.
    #[must_use]
    pub fn plain_only(mut self) -> Self {
        self.plain_only = true;
        self
    }

    /// The handler.
    pub const fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Fids in use.
    pub fn fid_count(&self) -> usize {
        self.fids.len()
    }

    /// Takes bytes from the client. Nothing happens to them before [`Server::next_outgoing`]: who gives no more
    /// bytes before it has none left bounds the memory of a connection by a message of each kind.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.inbox.push(bytes);
    }

    /// Answers the next whole request. `None` when there is none.
    ///
    /// # Errors
    /// A frame that makes no sense, after which the connection is to be closed.
    pub fn next_outgoing(&mut self) -> Result<Option<Outgoing<H::Descriptor>>, DecodeError> {
        let Some(frame) = self.inbox.next_frame()? else { return Ok(None) };
        Ok(Some(self.answer(&frame)))
    }

    fn answer(&mut self, frame: &Frame) -> Outgoing<H::Descriptor> {
        let request = match Request::decode(frame, self.extended) {
            Ok(Request::Version { message_size, version }) => {
                return self.negotiate(frame.tag, message_size, version.0);
            }
            Ok(request) if self.message_size != 0 => request,
            Ok(_) => return fail(frame.tag, Errno::EPROTO),
            Err(DecodeError::BadName | DecodeError::BadValue) => {
                return fail(frame.tag, Errno::EINVAL);
            }
            Err(DecodeError::UnknownType(_)) => return fail(frame.tag, Errno::EOPNOTSUPP),
            Err(_) => return fail(frame.tag, Errno::EPROTO),
        };
        let mut bytes = Vec::new();
        let mut descriptor = None;
        let io_size = self.message_size.saturating_sub(IO_HEADER);
        let result = {
            let mut call = dispatch::Call {
                handler: &mut self.handler,
                fids: &mut self.fids,
                io_size,
                tag: frame.tag,
                out: &mut bytes,
                descriptor: &mut descriptor,
            };
            call.run(request)
        };
        match result {
            Ok(()) => Outgoing { bytes, descriptor },
            Err(errno) => fail(frame.tag, errno),
        }
    }

    /// `Tversion` begins a session anew.
    fn negotiate(
        &mut self,
        tag: u16,
        message_size: u32,
        version: &[u8],
    ) -> Outgoing<H::Descriptor> {
        self.fids.clear();
        self.extended = false;
        self.message_size = 0;
        let mut agreed = VERSION_UNKNOWN;
        if message_size >= MIN_MESSAGE {
            agreed = match version {
                VERSION_EXTENDED if !self.plain_only => VERSION_EXTENDED,
                // A server may answer with a prefix that it knows.
                other if other.starts_with(VERSION_PLAIN) => VERSION_PLAIN,
                _ => VERSION_UNKNOWN,
            };
        }
        let size = message_size.min(MAX_MESSAGE);
        if agreed != VERSION_UNKNOWN {
            self.message_size = size;
            self.inbox.set_limit(size);
            self.extended = agreed == VERSION_EXTENDED;
        }
        let mut bytes = Vec::new();
        Reply::Version { message_size: size, version: Text(agreed) }.encode(tag, &mut bytes);
        Outgoing { bytes, descriptor: None }
    }
}

fn fail<D>(tag: u16, errno: Errno) -> Outgoing<D> {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, ERROR_TYPE, tag, |to| to.put_u32(errno.raw().unsigned_abs()));
    Outgoing { bytes, descriptor: None }
}
