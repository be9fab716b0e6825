//! What has been sent and not acknowledged: when, how often, and what the peer has said of it (RFC 2018, RFC 6675).

use alloc::collections::VecDeque;

use super::seq::Seq;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// On its way, as far as is known.
    Flying,
    /// To be sent again.
    Lost,
    /// Delivered, but not what precedes it.
    Sacked,
}

/// A segment; SYN and FIN count as a byte.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) start: Seq,
    pub(crate) end: Seq,
    /// When it was sent last.
    pub(crate) at: u64,
    pub(crate) state: State,
    /// Sent more than once.
    pub(crate) again: bool,
}

impl Sent {
    fn len(&self) -> usize {
        self.end.since(self.start) as usize
    }
}

/// What an acknowledgement has said is delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered {
    /// Bytes.
    pub(crate) bytes: usize,
    /// When something that was sent once was sent, the latest.
    pub(crate) sample: Option<u64>,
    /// The segment that was sent last of those.
    pub(crate) newest: Option<Sent>,
    /// Something came after what was sent behind it.
    pub(crate) reordered: bool,
}

impl Delivered {
    fn note(&mut self, sent: &Sent, bytes: usize, highest: Option<Seq>) {
        self.bytes += bytes;
        if !sent.again {
            self.sample = self.sample.max(Some(sent.at));
            self.reordered |= highest.is_some_and(|highest| sent.end.before(highest));
        }
        let is_newer = |newest: Sent| {
            newest.at < sent.at || (newest.at == sent.at && newest.end.before(sent.end))
        };
        if self.newest.is_none_or(is_newer) {
            self.newest = Some(*sent);
        }
    }
}

/// Segments in order of their sequence numbers.
#[derive(Default)]
pub(crate) struct Scoreboard {
    segments: VecDeque<Sent>,
    flying: usize,
    sacked: usize,
    sacked_segments: usize,
    lost: usize,
    /// Behind the last byte that is known to be delivered.
    highest: Option<Seq>,
}

impl Scoreboard {
    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes on their way ("pipe").
    pub(crate) const fn flying(&self) -> usize {
        self.flying
    }

    /// Bytes that are delivered out of order.
    pub(crate) const fn sacked(&self) -> usize {
        self.sacked
    }

    pub(crate) const fn sacked_segments(&self) -> usize {
        self.sacked_segments
    }

    /// Bytes to be sent again.
    pub(crate) const fn lost(&self) -> usize {
        self.lost
    }

    fn set_state(&mut self, index: usize, state: State) {
        let Some(sent) = self.segments.get_mut(index) else { return };
        let (before, len) = (sent.state, sent.len());
        sent.state = state;
        self.count(before, len, false);
        self.count(state, len, true);
    }

    fn count(&mut self, state: State, len: usize, adds: bool) {
        let total = match state {
            State::Flying => &mut self.flying,
            State::Lost => &mut self.lost,
            State::Sacked => &mut self.sacked,
        };
        *total = if adds { *total + len } else { total.saturating_sub(len) };
        if state == State::Sacked {
            let one = &mut self.sacked_segments;
            *one = if adds { *one + 1 } else { one.saturating_sub(1) };
        }
    }

    /// Something new has been sent.
    pub(crate) fn push(&mut self, start: Seq, end: Seq, now: u64) {
        let sent = Sent { start, end, at: now, state: State::Flying, again: false };
        self.flying += sent.len();
        self.segments.push_back(sent);
    }

    /// The first segment that is to be sent again.
    pub(crate) fn first_lost(&self) -> Option<(usize, Sent)> {
        if self.lost == 0 {
            return None;
        }
        let lost = |(_, sent): &(usize, &Sent)| sent.state == State::Lost;
        self.segments.iter().enumerate().find(lost).map(|(index, sent)| (index, *sent))
    }

    /// The last segment, for a probe.
    pub(crate) fn last(&self) -> Option<(usize, Sent)> {
        let (index, sent) = (self.segments.len().checked_sub(1)?, self.segments.back()?);
        (sent.state != State::Sacked).then_some((index, *sent))
    }

    /// At most `most` bytes of a segment have been sent again; the rest of it stays as it is.
    pub(crate) fn resent(&mut self, index: usize, most: usize, now: u64) {
        self.split(index, most);
        self.set_state(index, State::Flying);
        if let Some(sent) = self.segments.get_mut(index) {
            (sent.at, sent.again) = (now, true);
        }
    }

    /// Makes two of a segment where it is longer than `at`.
    fn split(&mut self, index: usize, at: usize) {
        let Some(sent) = self.segments.get_mut(index).filter(|sent| sent.len() > at) else {
            return;
        };
        let mut rest = *sent;
        sent.end = sent.start.add(at as u32);
        rest.start = sent.end;
        if rest.state == State::Sacked {
            self.sacked_segments += 1;
        }
        self.segments.insert(index + 1, rest);
    }

    /// The peer has everything before `next`.
    pub(crate) fn acknowledge(&mut self, next: Seq, delivered: &mut Delivered) {
        while let Some(front) = self.segments.front_mut() {
            if next.at_or_before(front.start) {
                return;
            }
            let part =
                Sent { end: if next.before(front.end) { next } else { front.end }, ..*front };
            let whole = part.end == front.end;
            front.start = part.end;
            if whole {
                self.segments.pop_front();
            }
            if part.state == State::Sacked {
                self.sacked = self.sacked.saturating_sub(part.len());
                self.sacked_segments = self.sacked_segments.saturating_sub(usize::from(whole));
            } else {
                self.count(part.state, part.len(), false);
                delivered.note(&part, part.len(), self.highest);
            }
            self.raise(part.end);
        }
    }

    fn raise(&mut self, end: Seq) {
        if self.highest.is_none_or(|highest| highest.before(end)) {
            self.highest = Some(end);
        }
    }

    /// The peer has a range out of order.
    pub(crate) fn sack(&mut self, start: Seq, end: Seq, delivered: &mut Delivered) {
        let mut index = self.segments.partition_point(|sent| sent.end.at_or_before(start));
        if let Some(sent) = self.segments.get(index)
            && sent.start.before(start)
        {
            self.split(index, start.since(sent.start) as usize);
            index += 1;
        }
        let highest = self.highest;
        while let Some(sent) = self.segments.get(index).copied() {
            if end.at_or_before(sent.start) {
                break;
            }
            if end.before(sent.end) {
                self.split(index, end.since(sent.start) as usize);
            }
            if sent.state != State::Sacked {
                self.set_state(index, State::Sacked);
                if let Some(sent) = self.segments.get(index).copied() {
                    delivered.note(&sent, sent.len(), highest);
                    self.raise(sent.end);
                }
            }
            index += 1;
        }
    }

    /// Marks what is on its way and was sent before `(at, end)`, and at least `after` before `now`, as lost. Says when
    /// the next of them will have been.
    pub(crate) fn mark_lost(&mut self, newest: (u64, Seq), after: u64, now: u64) -> Option<u64> {
        let mut next = None;
        for index in 0..self.segments.len() {
            let Some(sent) = self.segments.get(index).copied() else { break };
            if !sent.again && sent.at > newest.0 {
                break; // first transmissions are in order of time
            }
            let is_older = sent.at < newest.0 || (sent.at == newest.0 && sent.end.before(newest.1));
            if sent.state != State::Flying || !is_older {
                continue;
            }
            let due = sent.at.saturating_add(after);
            if due <= now {
                self.set_state(index, State::Lost);
            } else {
                next = Some(next.map_or(due, |next: u64| next.min(due)));
            }
        }
        next
    }

    /// Marks the first segment that is on its way as lost.
    pub(crate) fn mark_first_lost(&mut self) {
        if self.segments.front().is_some_and(|sent| sent.state == State::Flying) {
            self.set_state(0, State::Lost);
        }
    }

    /// Marks everything that is not known to be delivered as lost. A peer may have dropped what it has out of order:
    /// if `forget`, that counts as lost too (RFC 2018 §8).
    pub(crate) fn mark_all_lost(&mut self, forget: bool) {
        for index in 0..self.segments.len() {
            let state = self.segments.get(index).map(|sent| sent.state);
            if state == Some(State::Flying) || (forget && state == Some(State::Sacked)) {
                self.set_state(index, State::Lost);
            }
        }
    }

    #[cfg(test)]
    fn check(&self) {
        let sum = |state| {
            let of = self.segments.iter().filter(|sent| sent.state == state);
            of.map(Sent::len).sum::<usize>()
        };
        assert_eq!(
            (self.flying, self.lost, self.sacked),
            (sum(State::Flying), sum(State::Lost), sum(State::Sacked))
        );
        let sacked = self.segments.iter().filter(|sent| sent.state == State::Sacked).count();
        assert_eq!(self.sacked_segments, sacked);
        for (one, two) in self.segments.iter().zip(self.segments.iter().skip(1)) {
            assert_eq!(one.end, two.start);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn board(count: u32) -> Scoreboard {
        let mut board = Scoreboard::default();
        for index in 0..count {
            board.push(Seq(index * 10), Seq(index * 10 + 10), index.into());
        }
        board
    }

    #[test]
    fn what_is_behind_a_gap_makes_it_lost() {
        let mut board = board(5);
        let mut delivered = Delivered::default();
        board.sack(Seq(15), Seq(40), &mut delivered);
        board.check();
        assert_eq!((delivered.bytes, board.flying(), board.sacked_segments()), (25, 25, 3));
        let newest = delivered.newest.unwrap();
        assert_eq!((newest.at, newest.end), (3, Seq(40)));
        assert_eq!(board.mark_lost((3, Seq(40)), 2, 2), Some(3));
        assert_eq!(board.first_lost().map(|(index, sent)| (index, sent.end)), Some((0, Seq(10))));
        board.resent(0, 4, 9);
        board.check();
        assert_eq!(board.first_lost().map(|(index, sent)| (index, sent.start)), Some((1, Seq(4))));
        let mut delivered = Delivered::default();
        board.acknowledge(Seq(45), &mut delivered);
        board.check();
        assert_eq!((delivered.bytes, board.flying(), board.lost()), (20, 5, 0));
        assert!(delivered.reordered, "the rest of what was sent once came late");
    }

    proptest! {
        #[test]
        fn sums_hold(steps in proptest::collection::vec((0_u8..6, 0_u32..120, 1_u32..40), 1..80)) {
            let mut board = board(8);
            let (mut acked, mut now) = (0, 100);
            for (kind, at, len) in steps {
                now += 1;
                let mut delivered = Delivered::default();
                match kind {
                    0 => {
                        acked = acked.max(at.min(80));
                        board.acknowledge(Seq(acked), &mut delivered);
                    }
                    1 | 2 => board.sack(Seq(at.max(acked)), Seq(at.max(acked) + len), &mut delivered),
                    3 => drop(board.mark_lost((now, Seq(at)), u64::from(len), now)),
                    4 => board.mark_all_lost(len > 30),
                    _ => {
                        if let Some((index, _)) = board.first_lost() {
                            board.resent(index, len as usize, now);
                        }
                    }
                }
                board.check();
            }
            let all: Vec<_> = board.segments.iter().copied().collect();
            prop_assert_eq!(all.last().map_or(80, |last| last.end.0), 80);
        }
    }
}
