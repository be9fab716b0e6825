//! How connections begin: SYNs, their answers and repetitions (RFC 9293 §3.5), and cookies (RFC 4987 §3.6) where too many
//! begin at once.

use core::hash::Hasher;
use core::net::{IpAddr, SocketAddr};

use siphasher::sip::SipHasher13;

use super::connection::{Choices, Opening, Path};
use super::seq::Seq;
use super::{Role, TcpSocket};
use crate::settings::Settings;
use crate::wire::tcp::Repr;

/// Before a SYN is sent again the first time.
const FIRST_WAIT: u64 = 1_000_000_000;
/// The segment size of a peer that does not say one.
const DEFAULT_MSS: u16 = 536;
/// Segment sizes that a cookie can tell.
const COOKIE_MSS: [u16; 4] = [536, 1300, 1440, 1460];
/// How long a cookie is good.
const COOKIE_PERIOD: u64 = 64_000_000_000;

/// A SYN, or its answer, that is repeated until the peer reacts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repetition {
    pub(crate) at: u64,
    tries: u32,
    most: u32,
}

impl Repetition {
    pub(crate) fn new(most: u32, now: u64) -> Self {
        Self { at: now.saturating_add(FIRST_WAIT), tries: 0, most }
    }

    /// Whether it is to be tried once more.
    fn again(&mut self, now: u64) -> bool {
        self.tries += 1;
        self.at = now.saturating_add(FIRST_WAIT << self.tries.min(7));
        self.tries <= self.most
    }
}

/// What a handshake's timer calls for.
pub(crate) enum Next {
    Send((SocketAddr, SocketAddr), Repr),
    GiveUp { passive: bool },
}

/// The timer of a handshake has expired.
pub(crate) fn on_time(socket: &mut TcpSocket, now: u64) -> Next {
    match &mut socket.role {
        Role::SynSent(state) => {
            if state.repetition.again(now) {
                return Next::Send((state.local, state.remote), state.syn);
            }
            Next::GiveUp { passive: false }
        }
        Role::SynReceived(state) => {
            if state.repetition.again(now) {
                return Next::Send((state.opening.local, state.opening.remote), state.reply);
            }
            Next::GiveUp { passive: state.listener.is_some() }
        }
        _ => Next::GiveUp { passive: true },
    }
}

/// What our SYN, or its answer, offers.
pub(crate) struct Offer {
    pub(crate) mss: u16,
    pub(crate) shift: u8,
    pub(crate) sack: bool,
    pub(crate) timestamps: bool,
    pub(crate) clock: u32,
    pub(crate) window: u16,
}

impl Offer {
    pub(crate) fn syn(&self, local: SocketAddr, remote: SocketAddr, iss: Seq) -> Repr {
        Repr {
            from: local.port(),
            to: remote.port(),
            seq: iss,
            syn: true,
            window: self.window,
            mss: Some(self.mss),
            scale: (self.shift > 0).then_some(self.shift),
            sack_permitted: self.sack,
            timestamps: self.timestamps.then_some((self.clock, 0)),
            ..Repr::default()
        }
    }

    /// The answer to a peer's SYN: what both have.
    pub(crate) fn answer(&self, opening: &Opening, syn: &Repr, iss: Seq) -> Repr {
        let mut reply = self.syn(opening.local, opening.remote, iss);
        reply.ack = Some(opening.rcv_nxt);
        reply.scale = reply.scale.filter(|_| syn.scale.is_some());
        reply.sack_permitted &= syn.sack_permitted;
        reply.timestamps = match (reply.timestamps, syn.timestamps) {
            (Some((clock, _)), Some((theirs, _))) => Some((clock, theirs)),
            _ => None,
        };
        reply
    }

    /// What a peer's SYN, or its answer to ours, makes of the connection.
    pub(crate) fn accept(
        &self,
        (local, remote): (SocketAddr, SocketAddr),
        iss: Seq,
        syn: &Repr,
        choices: Choices,
        (lossless, clock_offset): (bool, u32),
    ) -> Opening {
        let scales = self.shift > 0 && syn.scale.is_some();
        let theirs = syn.timestamps.map(|(value, _)| value);
        let path = Path {
            mss: usize::from(syn.mss.unwrap_or(DEFAULT_MSS).min(self.mss)).max(1),
            snd_shift: if scales { syn.scale.unwrap_or(0) } else { 0 },
            rcv_shift: if scales { self.shift } else { 0 },
            sack: self.sack && syn.sack_permitted,
            timestamps: theirs.filter(|_| self.timestamps),
            clock_offset,
            lossless,
        };
        Opening {
            local,
            remote,
            snd_nxt: iss.add(1),
            rcv_nxt: syn.seq.add(1),
            snd_wnd: syn.window.into(),
            path,
            choices,
        }
    }
}

/// How far windows of a buffer that may become so large are shifted.
pub(crate) fn shift_for(settings: &Settings, receive_limit: usize) -> u8 {
    if !settings.window_scaling {
        return 0;
    }
    let mut space = settings.largest_receive.max(receive_limit);
    let mut shift = 0;
    while space > usize::from(u16::MAX) && shift < 14 {
        space >>= 1;
        shift += 1;
    }
    shift
}

/// Secrets that sequence numbers, clocks and cookies come from (RFC 6528).
#[derive(Clone, Copy)]
pub(crate) struct Secret(pub(crate) u64, pub(crate) u64);

impl Secret {
    fn hash(self, local: SocketAddr, remote: SocketAddr, extra: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        for end in [local, remote] {
            match end.ip() {
                IpAddr::V4(ip) => hasher.write(&ip.octets()),
                IpAddr::V6(ip) => hasher.write(&ip.octets()),
            }
            hasher.write_u16(end.port());
        }
        hasher.write_u64(extra);
        hasher.finish()
    }

    /// First sequence number of a connection: grows with time for the same ends, so that old segments are old.
    pub(crate) fn first_seq(self, local: SocketAddr, remote: SocketAddr, now: u64) -> Seq {
        Seq((self.hash(local, remote, 0) as u32).wrapping_add((now >> 6) as u32))
    }

    /// What a connection's clock is ahead of the stack's.
    pub(crate) fn clock_offset(self, local: SocketAddr, remote: SocketAddr) -> u32 {
        self.hash(local, remote, 1) as u32
    }

    /// A first sequence number that says by itself what the SYN said.
    pub(crate) fn cookie(self, local: SocketAddr, remote: SocketAddr, syn: &Repr, now: u64) -> Seq {
        let mss = syn.mss.unwrap_or(DEFAULT_MSS);
        let index = COOKIE_MSS.iter().rposition(|known| *known <= mss).unwrap_or(0) as u32;
        Seq(self.cookie_bits(local, remote, syn.seq, now / COOKIE_PERIOD) & !3 | index)
    }

    fn cookie_bits(self, local: SocketAddr, remote: SocketAddr, theirs: Seq, period: u64) -> u32 {
        let extra = u64::from(theirs.0) << 32 | (period & 0x3fff_ffff) << 2 | 2;
        self.hash(local, remote, extra) as u32
    }

    /// The SYN that a cookie was the answer to, if it was ours and is not old.
    pub(crate) fn open_cookie(
        self,
        local: SocketAddr,
        remote: SocketAddr,
        acknowledged: Seq,
        theirs: Seq,
        now: u64,
    ) -> Option<Repr> {
        let cookie = acknowledged.0.wrapping_sub(1);
        let seq = theirs.add(u32::MAX);
        let period = now / COOKIE_PERIOD;
        let is_ours = [Some(period), period.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|period| self.cookie_bits(local, remote, seq, period) & !3 == cookie & !3);
        let mss = *COOKIE_MSS.get((cookie & 3) as usize)?;
        is_ours.then(|| Repr { seq, syn: true, mss: Some(mss), ..Repr::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_opened_by_who_made_them() {
        let secret = Secret(1, 2);
        let (local, remote) = ("10.0.0.1:80".parse().unwrap(), "10.0.0.2:9".parse().unwrap());
        let syn = Repr { seq: Seq(1000), mss: Some(1450), ..Repr::default() };
        let now = 10 * COOKIE_PERIOD;
        let cookie = secret.cookie(local, remote, &syn, now);
        let open = |ack: Seq, now: u64| {
            secret.open_cookie(local, remote, ack, Seq(1001), now).map(|syn| syn.mss)
        };
        assert_eq!(open(cookie.add(1), now + COOKIE_PERIOD), Some(Some(1440)));
        assert_eq!(open(cookie.add(1), now + 2 * COOKIE_PERIOD), None, "too old");
        assert_eq!(open(cookie.add(5), now), None);
        assert_eq!(secret.open_cookie(remote, local, cookie.add(1), Seq(1001), now), None);
    }

    #[test]
    fn windows_are_shifted_as_far_as_buffers_may_grow() {
        let settings = Settings::default();
        assert_eq!(shift_for(&settings, 1000), 10);
        let small = Settings { largest_receive: 65535, ..settings };
        assert_eq!((shift_for(&small, 0), shift_for(&small, 65536)), (0, 1));
    }
}
