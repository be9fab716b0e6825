//! Congestion control: how much may be under way. Bytes and nanoseconds.
//!
//! Loss detection and what is sent while a loss is repaired are [`super::recovery`]'s; an algorithm says how the window
//! grows while nothing is lost and how far it falls when something is.

mod cubic;
mod reno;

pub(crate) use self::cubic::Cubic;
pub(crate) use self::reno::Reno;

/// Segments of the first window (RFC 6928).
pub(crate) const INITIAL_WINDOW: usize = 10;
/// Fewest segments after a loss.
const FEWEST: usize = 2;

/// The algorithms, as `TCP_CONGESTION` names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CongestionControl {
    /// CUBIC (RFC 9438).
    #[default]
    Cubic,
    /// Reno (RFC 5681).
    Reno,
}

impl CongestionControl {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Cubic, Self::Reno];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cubic => "cubic",
            Self::Reno => "reno",
        }
    }

    /// That of a name.
    pub fn by_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|control| control.name().as_bytes() == name)
    }
}

enum Algorithm {
    Cubic(Cubic),
    Reno(Reno),
}

/// A connection's congestion window.
pub(crate) struct Congestion {
    /// Bytes that may be under way.
    pub(crate) window: usize,
    /// Below it the window grows by what is acknowledged.
    pub(crate) threshold: usize,
    mss: usize,
    algorithm: Algorithm,
}

impl Congestion {
    pub(crate) fn new(control: CongestionControl, mss: usize) -> Self {
        let mut congestion = Self {
            window: INITIAL_WINDOW * mss,
            threshold: usize::MAX,
            mss,
            algorithm: Algorithm::Reno(Reno::default()),
        };
        congestion.select(control);
        congestion
    }

    /// Changes the algorithm.
    pub(crate) fn select(&mut self, control: CongestionControl) {
        if self.selected() != control || self.threshold == usize::MAX {
            self.algorithm = match control {
                CongestionControl::Cubic => Algorithm::Cubic(Cubic::default()),
                CongestionControl::Reno => Algorithm::Reno(Reno::default()),
            };
        }
    }

    /// Which it is.
    pub(crate) const fn selected(&self) -> CongestionControl {
        match self.algorithm {
            Algorithm::Cubic(_) => CongestionControl::Cubic,
            Algorithm::Reno(_) => CongestionControl::Reno,
        }
    }

    /// The largest segment has changed.
    pub(crate) fn set_mss(&mut self, mss: usize) {
        self.mss = mss;
        self.window = self.window.max(FEWEST * mss);
    }

    pub(crate) const fn is_slow_start(&self) -> bool {
        self.window < self.threshold
    }

    /// So much has been acknowledged while nothing was lost and the window was in use.
    pub(crate) fn acknowledged(&mut self, bytes: usize, rtt: u64, now: u64) {
        let mut left = bytes;
        if self.is_slow_start() {
            let grow = left.min(self.threshold - self.window);
            self.window = self.window.saturating_add(grow);
            left -= grow;
        }
        if left > 0 {
            let (window, mss) = (self.window, self.mss);
            self.window = match &mut self.algorithm {
                Algorithm::Cubic(cubic) => cubic.grow(window, left, mss, rtt, now),
                Algorithm::Reno(reno) => reno.grow(window, left, mss),
            };
        }
    }

    /// Something was lost: where the window is to fall.
    pub(crate) fn lost(&mut self) {
        let (window, mss) = (self.window, self.mss);
        let threshold = match &mut self.algorithm {
            Algorithm::Cubic(cubic) => cubic.lose(window, mss),
            Algorithm::Reno(reno) => reno.lose(window),
        };
        self.threshold = threshold.max(FEWEST * mss);
    }

    /// Nothing has been heard for a whole timeout.
    pub(crate) fn collapse(&mut self) {
        self.window = self.mss;
    }

    /// Nothing was sent for a while: what was known of the path is old (RFC 5681 §4.1).
    pub(crate) fn restart(&mut self) {
        self.window = self.window.min(INITIAL_WINDOW * self.mss);
        if let Algorithm::Cubic(cubic) = &mut self.algorithm {
            cubic.restart();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: usize = 1000;

    #[test]
    fn slow_start_doubles_and_avoidance_does_not() {
        for control in CongestionControl::ALL {
            let mut congestion = Congestion::new(control, MSS);
            assert_eq!((congestion.window, congestion.selected()), (10 * MSS, control));
            congestion.acknowledged(10 * MSS, 1_000_000, 0);
            assert_eq!(congestion.window, 20 * MSS);
            congestion.lost();
            congestion.window = congestion.threshold;
            let before = congestion.window;
            assert!((10 * MSS..20 * MSS).contains(&before));
            congestion.acknowledged(before, 1_000_000, 1_000_000);
            assert!((before..=before + 2 * MSS).contains(&congestion.window));
        }
    }

    #[test]
    fn names_are_found() {
        assert_eq!(CongestionControl::by_name(b"reno"), Some(CongestionControl::Reno));
        assert_eq!(CongestionControl::by_name(b"bbr"), None);
    }
}
