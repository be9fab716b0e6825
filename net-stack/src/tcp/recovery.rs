//! How losses are noticed and repaired: RACK-TLP (RFC 8985), proportional rate reduction (RFC 6937), and duplicate
//! acknowledgements where the peer has no selective ones (RFC 5681, RFC 6582).

use super::rtt::Rtt;
use super::sent::{Delivered, Sent};
use super::seq::Seq;

/// So many duplicate acknowledgements mean a loss.
pub(crate) const DUPLICATES: usize = 3;

/// The segment that was sent last of those that are delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rack {
    newest: Option<(u64, Seq)>,
    rtt: u64,
    /// The network changes the order.
    reorders: bool,
}

impl Rack {
    /// Something has been delivered.
    pub(crate) fn update(&mut self, delivered: &Delivered, rtt: &Rtt, now: u64) {
        self.reorders |= delivered.reordered;
        let Some(Sent { at, end, again, .. }) = delivered.newest else { return };
        let took = now.saturating_sub(at);
        // Sooner than can be: that was the answer to the first transmission.
        if again && rtt.smallest().is_some_and(|smallest| took < smallest) {
            return;
        }
        let is_newer = |known: (u64, Seq)| known.0 < at || (known.0 == at && known.1.before(end));
        if self.newest.is_none_or(is_newer) {
            self.newest = Some((at, end));
            self.rtt = took;
        }
    }

    /// The newest delivered segment, and how long what was sent before it may take.
    pub(crate) fn patience(&self, impatient: bool, rtt: &Rtt) -> Option<((u64, Seq), u64)> {
        let reordering = match rtt.smallest() {
            _ if impatient && !self.reorders => 0,
            Some(smallest) => (smallest / 4).min(rtt.smoothed().unwrap_or(u64::MAX)),
            None => 0,
        };
        Some((self.newest?, self.rtt.saturating_add(reordering)))
    }
}

/// Which loss is being repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Repair {
    /// None.
    #[default]
    None,
    /// What the peer's acknowledgements have told of, until it has everything before this.
    Fast(Seq),
    /// A timeout, until then.
    Timeout(Seq),
}

/// Proportional rate reduction: sends in proportion to what is delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reduction {
    /// Bytes under way when the loss was noticed.
    flight: usize,
    delivered: usize,
    /// Sent since then.
    pub(crate) sent: usize,
}

impl Reduction {
    pub(crate) fn begin(flight: usize) -> Self {
        Self { flight: flight.max(1), delivered: 0, sent: 0 }
    }

    /// How much may be sent now that so much has been delivered; `progress` where the peer's acknowledgement has moved
    /// on and nothing more was lost.
    pub(crate) fn allows(
        &mut self,
        delivered: usize,
        pipe: usize,
        threshold: usize,
        mss: usize,
        progress: bool,
    ) -> usize {
        self.delivered += delivered;
        let allowed = if pipe > threshold {
            let share = (self.delivered as u128 * threshold as u128).div_ceil(self.flight as u128);
            (share as usize).saturating_sub(self.sent)
        } else {
            let mut limit = self.delivered.saturating_sub(self.sent).max(delivered);
            if progress {
                limit += mss;
            }
            limit.min(threshold - pipe)
        };
        // The first segment goes at once.
        if self.sent == 0 { allowed.max(mss) } else { allowed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduction_sends_in_proportion() {
        let mut reduction = Reduction::begin(20_000);
        assert_eq!(reduction.allows(1000, 18_000, 10_000, 1000, false), 1000);
        reduction.sent += 1000;
        let mut total = 1000;
        let mut pipe = 18_000;
        for _ in 0..8 {
            pipe -= 1000;
            let allowed = reduction.allows(1000, pipe, 10_000, 1000, false);
            reduction.sent += allowed;
            total += allowed;
            pipe += allowed;
        }
        assert_eq!(total, 4500, "half of what was delivered");
        assert!(reduction.allows(1000, 5000, 10_000, 1000, true) <= 5000);
    }
}
