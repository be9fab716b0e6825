//! Round-trip times and the retransmission timeout (RFC 6298). Nanoseconds.

/// Before the first measurement.
const INITIAL: u64 = 1_000_000_000;
/// Shortest timeout (`TCP_RTO_MIN`).
const MINIMUM: u64 = 200_000_000;
/// Longest (`TCP_RTO_MAX`).
pub(crate) const MAXIMUM: u64 = 120_000_000_000;
/// For how long the smallest measurement counts (`net.ipv4.tcp_min_rtt_wlen`).
const MINIMUM_COUNTS: u64 = 300_000_000_000;

/// What is known of a path's round-trip time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtt {
    smoothed: Option<u64>,
    variation: u64,
    smallest: (u64, u64),
    /// How often the timeout has been doubled.
    backoff: u32,
}

impl Default for Rtt {
    fn default() -> Self {
        Self { smoothed: None, variation: INITIAL / 2, smallest: (u64::MAX, 0), backoff: 0 }
    }
}

impl Rtt {
    /// A segment that was sent once was acknowledged after so long.
    pub(crate) fn measure(&mut self, sample: u64, now: u64) {
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variation = sample / 2;
            }
            Some(smoothed) => {
                self.variation = (3 * self.variation + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((7 * smoothed + sample) / 8);
            }
        }
        if sample <= self.smallest.0 || now.saturating_sub(self.smallest.1) > MINIMUM_COUNTS {
            self.smallest = (sample, now);
        }
        self.backoff = 0;
    }

    /// Smoothed round-trip time, if there has been a measurement.
    pub(crate) const fn smoothed(&self) -> Option<u64> {
        self.smoothed
    }

    /// Mean deviation.
    pub(crate) const fn variation(&self) -> u64 {
        self.variation
    }

    /// Smallest measurement of late, if there has been one.
    pub(crate) fn smallest(&self) -> Option<u64> {
        (self.smallest.0 != u64::MAX).then_some(self.smallest.0)
    }

    /// The timeout now.
    pub(crate) fn timeout(&self) -> u64 {
        let base = match self.smoothed {
            Some(smoothed) => smoothed + (4 * self.variation).max(MINIMUM),
            None => INITIAL,
        };
        base.saturating_mul(1 << self.backoff.min(16)).min(MAXIMUM)
    }

    /// It has expired.
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// Something new has been acknowledged.
    pub(crate) fn forgive(&mut self) {
        self.backoff = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn timeouts_follow_measurements_and_double() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), 1000 * MS);
        rtt.measure(100 * MS, 0);
        assert_eq!((rtt.smoothed(), rtt.timeout()), (Some(100 * MS), 300 * MS));
        rtt.back_off();
        rtt.back_off();
        assert_eq!(rtt.timeout(), 1200 * MS);
        for _ in 0..20 {
            rtt.back_off();
        }
        assert_eq!(rtt.timeout(), MAXIMUM);
        rtt.measure(20 * MS, 0);
        assert_eq!((rtt.smallest(), rtt.smoothed()), (Some(20 * MS), Some(90 * MS)));
        rtt.measure(30 * MS, MINIMUM_COUNTS + 1);
        assert_eq!(rtt.smallest(), Some(30 * MS));
    }
}
