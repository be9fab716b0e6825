//! Who has which hardware address: the states of RFC 4861 §7.3.2, for ARP as well.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};

use hashbrown::HashMap;

use super::Frame;
use crate::wire::ethernet::Mac;

/// How long an answer counts (`base_reachable_time`).
const REACHABLE: u64 = 30_000_000_000;
/// How long to wait for a sign from above before asking (`delay_first_probe_time`).
const DELAY: u64 = 5_000_000_000;
/// Between questions (`retrans_time`).
const RETRY: u64 = 1_000_000_000;
/// Questions before giving up.
const TRIES: u32 = 3;
/// Packets that wait for an answer, and bytes of all that wait on a link.
const MAX_WAITING: usize = 64;
const MAX_WAITING_BYTES: usize = 4 << 20;
/// Most neighbours.
const MAX_NEIGHBOURS: usize = 1024;

/// The state of an entry, as `ip neigh` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// Asked for.
    Incomplete,
    /// Known to be there.
    Reachable,
    /// Was there once.
    Stale,
    /// In use, to be asked soon.
    Delay,
    /// Asked whether it is still there.
    Probe,
    /// Does not answer.
    Failed,
    /// Set by an administrator.
    Permanent,
}

struct Entry {
    state: NeighbourState,
    mac: Mac,
    /// When the state ends.
    until: u64,
    tries: u32,
    waiting: VecDeque<Frame>,
    used: u64,
}

impl Entry {
    /// Keeps a packet until there is an answer; the oldest goes, or the packet itself where the link holds too much.
    fn wait(&mut self, frame: Frame, total: &mut usize) {
        if self.waiting.len() >= MAX_WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            *total = total.saturating_sub(oldest.packet.len());
        }
        if *total + frame.packet.len() <= MAX_WAITING_BYTES {
            *total += frame.packet.len();
            self.waiting.push_back(frame);
        }
    }

    fn drain(&mut self, total: &mut usize) -> Vec<Frame> {
        let bytes: usize = self.waiting.iter().map(|frame| frame.packet.len()).sum();
        *total = total.saturating_sub(bytes);
        self.waiting.drain(..).collect()
    }
}

/// Something is to be done at this time, too.
fn note(earliest: &mut Option<u64>, at: u64) {
    *earliest = Some(earliest.map_or(at, |known| known.min(at)));
}

/// What is to be done about a neighbour.
pub(crate) enum Step {
    /// Send the packet there.
    Send(Frame, Mac),
    /// Ask; at a known address, or everybody.
    Ask(IpAddr, Option<Mac>),
    /// It does not answer: what waited for it is lost.
    Lost(Vec<Frame>),
}

/// The neighbours on a link.
#[derive(Default)]
pub(crate) struct Neighbours {
    entries: HashMap<IpAddr, Entry>,
    /// Bytes of the packets that wait.
    waiting: usize,
    /// No state ends before this; `None` where none does by itself.
    earliest: Option<u64>,
}

impl Neighbours {
    /// A packet is to go to `next`: the steps that follow.
    pub(crate) fn resolve(&mut self, next: IpAddr, frame: Frame, now: u64) -> Vec<Step> {
        if !self.entries.contains_key(&next) {
            self.make_room();
        }
        let entry = self.entries.entry(next).or_insert_with(|| Entry {
            state: NeighbourState::Failed,
            mac: Mac::default(),
            until: 0,
            tries: 0,
            waiting: VecDeque::new(),
            used: now,
        });
        entry.used = now;
        if entry.state == NeighbourState::Reachable && entry.until <= now {
            (entry.state, entry.until) = (NeighbourState::Stale, u64::MAX);
        }
        match entry.state {
            NeighbourState::Reachable
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent => alloc::vec![Step::Send(frame, entry.mac)],
            NeighbourState::Stale => {
                (entry.state, entry.until) = (NeighbourState::Delay, now + DELAY);
                note(&mut self.earliest, entry.until);
                alloc::vec![Step::Send(frame, entry.mac)]
            }
            NeighbourState::Incomplete => {
                entry.wait(frame, &mut self.waiting);
                Vec::new()
            }
            NeighbourState::Failed => {
                entry.wait(frame, &mut self.waiting);
                (entry.state, entry.tries) = (NeighbourState::Incomplete, 1);
                entry.until = now + RETRY;
                note(&mut self.earliest, entry.until);
                alloc::vec![Step::Ask(next, None)]
            }
        }
    }

    fn make_room(&mut self) {
        if self.entries.len() < MAX_NEIGHBOURS {
            return;
        }
        let oldest = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.state != NeighbourState::Permanent)
            .min_by_key(|(_, entry)| entry.used)
            .map(|(ip, _)| *ip);
        if let Some(mut oldest) = oldest.and_then(|oldest| self.entries.remove(&oldest)) {
            oldest.drain(&mut self.waiting);
        }
    }

    /// Somebody has said where a neighbour is. `confirms` where we had asked, `overrides` where it replaces what is
    /// known, `creates` where it may be new. What waited for it can go.
    pub(crate) fn learn(
        &mut self,
        ip: IpAddr,
        mac: Mac,
        (confirms, overrides, creates): (bool, bool, bool),
        now: u64,
    ) -> Vec<Step> {
        if mac.is_multicast() {
            return Vec::new();
        }
        if !self.entries.contains_key(&ip) {
            if !creates {
                return Vec::new();
            }
            self.make_room();
        }
        let entry = self.entries.entry(ip).or_insert_with(|| Entry {
            state: NeighbourState::Incomplete,
            mac,
            until: 0,
            tries: 0,
            waiting: VecDeque::new(),
            used: now,
        });
        if entry.state == NeighbourState::Permanent {
            return Vec::new();
        }
        let is_known = !matches!(entry.state, NeighbourState::Incomplete | NeighbourState::Failed);
        if is_known && entry.mac != mac && !overrides {
            return Vec::new();
        }
        let is_same = is_known && entry.mac == mac;
        entry.mac = mac;
        if confirms {
            (entry.state, entry.until) = (NeighbourState::Reachable, now + REACHABLE);
        } else if !is_same {
            (entry.state, entry.until) = (NeighbourState::Stale, u64::MAX);
        }
        let frames = entry.drain(&mut self.waiting);
        frames.into_iter().map(|frame| Step::Send(frame, mac)).collect()
    }

    /// Sets an entry for good, or removes it.
    pub(crate) fn set(&mut self, ip: IpAddr, mac: Option<Mac>) {
        if let Some(mut old) = self.entries.remove(&ip) {
            old.drain(&mut self.waiting);
        }
        if let Some(mac) = mac {
            let entry = Entry {
                state: NeighbourState::Permanent,
                mac,
                until: u64::MAX,
                tries: 0,
                waiting: VecDeque::new(),
                used: 0,
            };
            self.entries.insert(ip, entry);
        }
    }

    /// When [`Neighbours::on_time`] is to be called next.
    pub(crate) const fn deadline(&self) -> Option<u64> {
        self.earliest
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, now: u64) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return steps;
        }
        for (ip, entry) in &mut self.entries {
            if entry.until > now {
                continue;
            }
            match entry.state {
                NeighbourState::Reachable => {
                    (entry.state, entry.until) = (NeighbourState::Stale, u64::MAX);
                }
                NeighbourState::Delay => {
                    (entry.state, entry.tries) = (NeighbourState::Probe, 1);
                    entry.until = now + RETRY;
                    steps.push(Step::Ask(*ip, Some(entry.mac)));
                }
                NeighbourState::Incomplete | NeighbourState::Probe if entry.tries < TRIES => {
                    entry.tries += 1;
                    entry.until = now + RETRY;
                    let known = (entry.state == NeighbourState::Probe).then_some(entry.mac);
                    steps.push(Step::Ask(*ip, known));
                }
                NeighbourState::Incomplete | NeighbourState::Probe => {
                    (entry.state, entry.until) = (NeighbourState::Failed, u64::MAX);
                    steps.push(Step::Lost(entry.drain(&mut self.waiting)));
                }
                NeighbourState::Stale | NeighbourState::Failed | NeighbourState::Permanent => {}
            }
        }
        let waits = |entry: &&Entry| {
            matches!(
                entry.state,
                NeighbourState::Incomplete | NeighbourState::Delay | NeighbourState::Probe
            )
        };
        self.earliest = self.entries.values().filter(waits).map(|entry| entry.until).min();
        steps
    }

    /// All entries.
    pub(crate) fn list(&self, now: u64) -> impl Iterator<Item = (IpAddr, Mac, NeighbourState)> {
        self.entries.iter().map(move |(ip, entry)| {
            let is_over = entry.state == NeighbourState::Reachable && entry.until <= now;
            (*ip, entry.mac, if is_over { NeighbourState::Stale } else { entry.state })
        })
    }
}

/// The group in which an address is asked for (RFC 4291 §2.7.1).
pub(crate) fn solicited_group(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., x, y, z] = ip.octets();
    let mut octets = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    octets[13..].copy_from_slice(&[x, y, z]);
    octets.into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use smallvec::SmallVec;

    use super::*;
    use crate::wire::Packet;

    const PEER: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2));
    const MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);
    const SECOND: u64 = 1_000_000_000;

    fn frame() -> Frame {
        let packet = Packet { header: SmallVec::new(), payload: Bytes::new() };
        Frame { packet, segment: 0, checksum: None }
    }

    fn state(neighbours: &Neighbours) -> NeighbourState {
        neighbours.list(0).next().unwrap().2
    }

    #[test]
    fn a_neighbour_is_asked_for_used_and_asked_again() {
        let mut neighbours = Neighbours::default();
        let steps = neighbours.resolve(PEER, frame(), 0);
        assert!(matches!(steps[..], [Step::Ask(PEER, None)]));
        assert!(neighbours.resolve(PEER, frame(), 0).is_empty());
        let steps = neighbours.learn(PEER, MAC, (true, true, false), SECOND);
        assert!(matches!(steps[..], [Step::Send(_, MAC), Step::Send(_, MAC)]));
        assert_eq!(state(&neighbours), NeighbourState::Reachable);
        assert_eq!(neighbours.waiting, 0);
        let later = 40 * SECOND;
        assert!(neighbours.on_time(later).is_empty() && neighbours.deadline().is_none());
        assert!(matches!(neighbours.resolve(PEER, frame(), later)[..], [Step::Send(..)]));
        assert_eq!(state(&neighbours), NeighbourState::Delay);
        let mut now = later + 5 * SECOND;
        for _ in 0..3 {
            assert!(matches!(neighbours.on_time(now)[..], [Step::Ask(PEER, Some(MAC))]));
            now += SECOND;
        }
        assert!(matches!(&neighbours.on_time(now)[..], [Step::Lost(frames)] if frames.is_empty()));
        assert_eq!(state(&neighbours), NeighbourState::Failed);
    }

    #[test]
    fn strangers_are_bounded_and_do_not_replace_what_is_known() {
        let mut neighbours = Neighbours::default();
        let other = Mac([2, 0, 0, 0, 0, 3]);
        let _ = neighbours.learn(PEER, MAC, (false, false, true), 0);
        let _ = neighbours.learn(PEER, other, (false, false, true), 0);
        assert_eq!(neighbours.list(0).next(), Some((PEER, MAC, NeighbourState::Stale)));
        for number in 0..3000_u32 {
            let ip = IpAddr::V4(core::net::Ipv4Addr::from(number));
            let _ = neighbours.learn(ip, other, (false, false, true), number.into());
        }
        assert!(neighbours.list(0).count() <= MAX_NEIGHBOURS);
    }
}
