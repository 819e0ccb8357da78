//! [`Pace`]: estimates the time of work from its cost, corrected by measurements.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::kernel::Cost;

/// The target time of one submission. Systems end a job that keeps a GPU busy for too long, Windows after two
/// seconds. A guess may be wrong by a factor of ten or more.
pub(super) const TARGET: Duration = Duration::from_millis(100);

/// The part of a measured time that may be due to the submission itself: the wake-up of the host and of the device.
const LATENCY: Duration = Duration::from_micros(200);

/// Returns a pessimistic guess of the nanoseconds of a command, at 2 GB/s and 10 GFLOP/s: the slowest measured
/// devices are software drivers, at about these rates.
pub(super) fn guess(cost: Cost) -> f64 {
    const START: f64 = 2e3;
    let bytes = (cost.bytes_read + cost.bytes_written) as f64;
    START + 0.5 * bytes + 0.1 * cost.operations as f64
}

/// The ratio of measured to guessed time.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(1f64.to_bits()))
    }
}

impl Pace {
    fn factor(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    /// Returns whether work fits into a submission.
    pub(super) fn fits(&self, guessed: f64) -> bool {
        guessed * self.factor() <= TARGET.as_nanos() as f64
    }

    /// Returns how many times some work fits into a submission; 0 if it does not.
    pub(super) fn times(&self, guessed: f64) -> usize {
        (TARGET.as_nanos() as f64 / (guessed * self.factor())) as usize
    }

    /// Records that work took `took`, or, unless `exact`, at most that.
    ///
    /// A slower pace is used at once. A faster pace is approached by quarters, since the next work may be different,
    /// and is at least a 64th of the guess.
    pub(super) fn learn(&self, guessed: f64, took: Duration, exact: bool) {
        let (old, measured) = (self.factor(), took.saturating_sub(LATENCY).as_nanos() as f64 / guessed);
        let new = match measured > old {
            true if exact => measured,
            true => return,
            false => old + (measured - old) / 4.0,
        };
        self.0.store(new.max(1.0 / 64.0).to_bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn large_work_is_guessed_to_take_long() {
        let product = Cost { bytes_read: 2 << 26, bytes_written: 1 << 26, operations: 2 * (4096 * 4096 * 4096) };
        assert!(!Pace::default().fits(guess(product)));
        // A layer of 256 × 784 for 64 rows.
        let layer =
            Cost { bytes_read: 4 * (256 + 64) * 784, bytes_written: 4 * 64 * 256, operations: 2 * 64 * 256 * 784 };
        assert!((10..100).contains(&Pace::default().times(guess(layer))), "{}", guess(layer));
    }

    #[test]
    fn a_slow_measurement_counts_at_once_and_a_fast_one_by_and_by() {
        let pace = Pace::default();
        // A tenth of a second as guessed, a second as measured.
        pace.learn(1e8, SECOND, true);
        assert_eq!((pace.times(1e7), pace.fits(1e8)), (1, false));
        assert!((4..9).all(|_| pace.times(1e6) < 10 || {
            pace.learn(1e8, SECOND / 100, true);
            true
        }));
        let mut last = 0;
        for _ in 0..40 {
            pace.learn(1e8, SECOND / 100, true);
            assert!(pace.times(1e6) >= last);
            last = pace.times(1e6);
        }
        // A hundredth of a second less the latency for 1e8 is 0.098 of the guess, so 1,020 of 1e6 fit into the
        // target.
        assert!((1000..=1020).contains(&last), "{last}");
    }

    #[test]
    fn an_upper_bound_never_slows_work_down() {
        let pace = Pace::default();
        pace.learn(1e6, 100 * SECOND, false);
        assert_eq!(pace.times(1e7), 10);
        pace.learn(1e7, SECOND / 1000, false);
        assert!(pace.times(1e7) > 10);
    }

    #[test]
    fn no_measurement_makes_work_free() {
        let pace = Pace::default();
        (0..1000).for_each(|_| pace.learn(1e9, Duration::ZERO, true));
        assert_eq!(pace.times(1e9), 6);
    }
}
