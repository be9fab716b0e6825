//! CUBIC (RFC 9438): the window follows a cubic function of the time since the last loss, whose plateau is where that
//! loss happened; never below what Reno would do.

/// C: how steep the function is, segments per second cubed.
const STEEPNESS: f64 = 0.4;
/// What is left of the window after a loss.
const BETA: f64 = 0.7;
const SECOND: f64 = 1e9;

/// The state of the algorithm; windows in segments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cubic {
    /// Where the window was when something was lost.
    plateau: f64,
    /// When growth began, and from where; `None` before.
    epoch: Option<Epoch>,
    /// Fractions of a segment that growth has left over.
    credit: f64,
}

#[derive(Clone, Copy, Debug)]
struct Epoch {
    start: u64,
    /// Seconds from there to the plateau.
    distance: f64,
    origin: f64,
    /// What Reno's window would be.
    reno: f64,
}

impl Cubic {
    fn begin(&mut self, window: f64, now: u64) -> Epoch {
        let gap = (self.plateau - window).max(0.0);
        let origin = self.plateau.max(window);
        let epoch =
            Epoch { start: now, distance: cube_root(gap / STEEPNESS), origin, reno: window };
        self.credit = 0.0;
        self.epoch = Some(epoch);
        epoch
    }

    /// The window after so much has been acknowledged.
    pub(crate) fn grow(
        &mut self,
        window: usize,
        acknowledged: usize,
        mss: usize,
        rtt: u64,
        now: u64,
    ) -> usize {
        let unit = mss.max(1) as f64;
        let (segments, acknowledged) = (window as f64 / unit, acknowledged as f64 / unit);
        let mut epoch = match self.epoch {
            Some(epoch) => epoch,
            None => self.begin(segments, now),
        };
        let seconds = now.saturating_sub(epoch.start).saturating_add(rtt) as f64 / SECOND;
        let away = seconds - epoch.distance;
        let target =
            (epoch.origin + STEEPNESS * away * away * away).clamp(segments, segments * 1.5);
        // RFC 9438 §4.3, where alpha becomes 1 once the old window is reached.
        let alpha = if epoch.reno < self.plateau { 3.0 * (1.0 - BETA) / (1.0 + BETA) } else { 1.0 };
        epoch.reno += alpha * acknowledged / segments;
        self.epoch = Some(epoch);
        let by_cubic = (target - segments) / segments * acknowledged;
        let by_reno = (epoch.reno - segments).max(0.0);
        self.credit += by_cubic.max(by_reno);
        let whole = self.credit as usize;
        self.credit -= whole as f64;
        window.saturating_add(whole * mss)
    }

    /// Where the window is to fall.
    pub(crate) fn lose(&mut self, window: usize, mss: usize) -> usize {
        let segments = window as f64 / mss.max(1) as f64;
        // Fast convergence (§4.7): others need the room.
        self.plateau =
            if segments < self.plateau { segments * (1.0 + BETA) / 2.0 } else { segments };
        self.epoch = None;
        (window as f64 * BETA) as usize
    }

    /// Nothing was sent for a while.
    pub(crate) fn restart(&mut self) {
        self.epoch = None;
    }
}

/// By Newton's method: `core` has no cube root.
fn cube_root(value: f64) -> f64 {
    if value <= 0.0 {
        return 0.0;
    }
    let mut root = if value > 1.0 { value / 3.0 + 1.0 } else { 1.0 };
    for _ in 0..60 {
        let next = (2.0 * root + value / (root * root)) / 3.0;
        if (next - root).abs() <= 1e-9 * root {
            return next;
        }
        root = next;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cube_roots() {
        for root in [0.01, 0.5, 1.0, 3.0, 100.0, 4000.0] {
            assert!((cube_root(root * root * root) - root).abs() < 1e-6 * root);
        }
        assert!(cube_root(-1.0) == 0.0);
    }

    #[test]
    fn the_window_comes_back_to_the_plateau_and_leaves_it() {
        let (mut cubic, mss, rtt) = (Cubic::default(), 1000, 50_000_000);
        let lost_at = 1_000_000;
        let mut window = cubic.lose(lost_at, mss);
        assert_eq!(window, 700_000);
        let mut reached = None;
        for round in 1..400_u64 {
            let now = round * rtt;
            window = cubic.grow(window, window, mss, rtt, now);
            if window >= lost_at && reached.is_none() {
                reached = Some(now as f64 / SECOND);
            }
        }
        // K is the cube root of 300 / 0.4.
        let reached = reached.unwrap();
        assert!((7.0..11.0).contains(&reached), "after {reached} s");
        assert!(window > lost_at * 14 / 10, "{window}");
    }
}
