//! Reno (RFC 5681): one segment more per round trip, half of it after a loss.

/// The state of the algorithm.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reno {
    counted: usize,
}

impl Reno {
    /// The window after so much has been acknowledged.
    pub(crate) fn grow(&mut self, window: usize, acknowledged: usize, mss: usize) -> usize {
        self.counted = self.counted.saturating_add(acknowledged);
        if self.counted < window {
            return window;
        }
        self.counted -= window;
        window.saturating_add(mss)
    }

    /// Where the window is to fall.
    pub(crate) fn lose(&mut self, window: usize) -> usize {
        self.counted = 0;
        window / 2
    }
}
