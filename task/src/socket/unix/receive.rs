//! Receiving.

use core::sync::atomic::Ordering;

use chitin_abi::net::{MSG_DONTWAIT, MSG_OOB, MSG_PEEK, MSG_TRUNC};
use chitin_abi::{Errno, Result};
use chitin_vfs::io::Sink;
use smallvec::SmallVec;

use super::queue::{Mark, Message};
use super::{Kind, State, UnixSocket, address};
use crate::socket::{Identity, Received};

/// Messages that are done with; dropped when no lock is held.
type Done = SmallVec<[Message; 4]>;

/// What reading a stream does with a message.
enum AtMark {
    Stop,
    Skip,
    Read,
}

impl UnixSocket {
    pub(super) fn receive_message(&self, to: &mut dyn Sink, flags: u32) -> Result<Received> {
        if flags & MSG_OOB != 0 {
            return self.receive_urgent(to, flags);
        }
        let mut done = Done::new();
        let (result, waiting) = {
            let mut state = self.state.lock();
            let result = match self.kind {
                Kind::Stream => self.receive_stream(&mut state, to, flags, &mut done),
                Kind::Datagram | Kind::SeqPacket => {
                    self.receive_datagram(&mut state, to, flags, &mut done)
                }
            };
            let made_room = self.kind != Kind::Stream && !done.is_empty();
            (result, if made_room { core::mem::take(&mut state.waiting) } else { Vec::new() })
        };
        drop(done);
        Self::wake_waiting(waiting);
        let mut received = result?;
        if self.kind == Kind::Stream && received.count > 0 {
            let peer = self.peer();
            received.from = peer.and_then(|peer| {
                peer.state.lock().address.as_ref().map(|from| address::emit(Some(from)))
            });
        }
        Ok(received)
    }

    /// Takes the byte that was sent out of band.
    fn receive_urgent(&self, to: &mut dyn Sink, flags: u32) -> Result<Received> {
        if self.kind != Kind::Stream {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        let inline = self.common.oob_inline.load(Ordering::Relaxed);
        let message = state.urgent().filter(|_| !inline).ok_or(Errno::EINVAL)?;
        let count = to.put(&message.data)?;
        if flags & MSG_PEEK == 0 {
            (message.mark, message.read) = (Mark::Taken, message.data.len());
        }
        Ok(Received { count, flags: MSG_OOB, stop: true, ..Received::default() })
    }

    /// What reading does at a mark: whether it stops there, or goes on with the message or behind it.
    fn at_mark(&self, state: &State, index: usize, something: bool) -> AtMark {
        let Some(message) = state.inbox.get(index) else { return AtMark::Stop };
        match message.mark {
            Mark::None => AtMark::Read,
            Mark::Taken => {
                let newer = state.inbox.iter().any(|other| other.mark == Mark::Urgent);
                if something && !newer { AtMark::Stop } else { AtMark::Skip }
            }
            Mark::Urgent if something => AtMark::Stop,
            Mark::Urgent if self.common.oob_inline.load(Ordering::Relaxed) => AtMark::Read,
            Mark::Urgent => AtMark::Skip,
        }
    }

    fn receive_stream(
        &self,
        state: &mut State,
        to: &mut dyn Sink,
        flags: u32,
        done: &mut Done,
    ) -> Result<Received> {
        if !state.is_connected() {
            return Err(Errno::EINVAL);
        }
        let peek = flags & MSG_PEEK != 0;
        let passing = self.wants_identity();
        let mut received = Received::default();
        let mut identity: Option<Option<Identity>> = None;
        let mut skip = self.common.peek_start(peek);
        let mut index = 0;
        while to.remaining() > 0 {
            match self.at_mark(state, index, received.count > 0) {
                AtMark::Stop => break,
                AtMark::Skip if peek => {
                    index += 1;
                    continue;
                }
                AtMark::Skip => {
                    done.extend(state.inbox.remove(index));
                    continue;
                }
                AtMark::Read => {}
            }
            let Some(message) = state.inbox.get_mut(index) else { break };
            let rest = message.rest();
            if skip > 0 && skip >= rest.len() {
                skip -= rest.len();
                index += 1;
                continue;
            }
            if passing && identity.as_ref().is_some_and(|known| *known != message.identity) {
                break;
            }
            match to.put(rest.get(skip..).unwrap_or_default()) {
                Ok(count) => {
                    received.count += count;
                    if !peek {
                        message.read += count;
                    }
                }
                Err(errno) if received.count == 0 => return Err(errno),
                Err(_) => break,
            }
            skip = 0;
            identity.get_or_insert_with(|| message.identity.clone());
            received.stop = message.rights.is_some();
            received.control.rights =
                if peek { message.rights.clone() } else { self.land(message) };
            let finished = message.rest().is_empty();
            if !peek && finished {
                done.extend(state.inbox.pop_front());
            } else {
                index += 1;
            }
            if received.stop || (!peek && !finished) {
                break;
            }
        }
        self.common.move_peek_offset(peek, received.count);
        if received.count == 0 && state.inbox.is_empty() {
            return self.nothing(state, true);
        }
        if received.count == 0 && to.remaining() > 0 {
            // Everything was looked at already.
            return self.nothing(state, true);
        }
        self.attach_identity(&mut received, identity.flatten());
        Ok(received)
    }

    fn receive_datagram(
        &self,
        state: &mut State,
        to: &mut dyn Sink,
        flags: u32,
        done: &mut Done,
    ) -> Result<Received> {
        if self.kind == Kind::SeqPacket && !state.is_connected() {
            return Err(Errno::ENOTCONN);
        }
        let peek = flags & MSG_PEEK != 0;
        let mut skip = self.common.peek_start(peek);
        let index = self.peeked_message(state, peek, &mut skip);
        if let Some(errno) = state.error.take() {
            return Err(errno);
        }
        if index >= state.inbox.len() {
            let ends = self.kind == Kind::SeqPacket || flags & MSG_DONTWAIT == 0;
            return self.nothing(state, ends);
        }
        let mut received = Received::default();
        let identity = {
            let Some(message) = state.inbox.get_mut(index) else { return Err(Errno::EAGAIN) };
            received.from = message.from.as_ref().map(|from| address::emit(Some(from)));
            received.control.rights =
                if peek { message.rights.clone() } else { self.land(message) };
            let rest = message.data.get(skip..).unwrap_or_default();
            let stored = if rest.is_empty() || to.remaining() == 0 { Ok(0) } else { to.put(rest) };
            let (length, identity) = (rest.len(), message.identity.clone());
            if !peek {
                done.extend(state.inbox.remove(index));
            }
            let stored = stored?;
            if stored < length {
                if to.remaining() > 0 {
                    return Err(Errno::EFAULT);
                }
                received.flags |= MSG_TRUNC;
            }
            received.count = if flags & MSG_TRUNC != 0 { length } else { stored };
            self.common.move_peek_offset(peek, stored);
            identity
        };
        received.stop = true;
        self.attach_identity(&mut received, identity);
        Ok(received)
    }

    /// The result where there is no message.
    fn nothing(&self, state: &mut State, end_counts: bool) -> Result<Received> {
        if let Some(errno) = state.error.take() {
            return Err(errno);
        }
        if state.no_receive && end_counts {
            return Ok(Received { stop: true, ..Received::default() });
        }
        Err(Errno::EAGAIN)
    }

    /// Takes the files out of a message, in sight of the collector.
    fn land(&self, message: &mut Message) -> Option<crate::socket::control::Rights> {
        if message.rights.is_some() {
            self.net.unix.flight.landed();
        }
        message.rights.take()
    }

    fn wants_identity(&self) -> bool {
        self.common.pass_cred.load(Ordering::Relaxed)
            || self.common.pass_pidfd.load(Ordering::Relaxed)
    }

    fn attach_identity(&self, received: &mut Received, identity: Option<Identity>) {
        if self.common.pass_cred.load(Ordering::Relaxed) {
            received.control.identity = Some(identity.clone().unwrap_or_else(Identity::unknown));
        }
        if self.common.pass_pidfd.load(Ordering::Relaxed) {
            received.control.pidfd = Some(identity.unwrap_or_else(Identity::unknown));
        }
    }

    /// The message that a peek with an offset looks at, and where in it.
    fn peeked_message(&self, state: &State, peek: bool, skip: &mut usize) -> usize {
        if !peek || *skip == 0 {
            return 0;
        }
        let mut index = 0;
        while let Some(message) = state.inbox.get(index)
            && !message.data.is_empty()
            && *skip >= message.data.len()
        {
            *skip -= message.data.len();
            index += 1;
        }
        index
    }
}
