//! The schedule that depends on a metric and therefore has state.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::setting::{check, not_negative};

/// A learning rate that falls if a metric has not improved for a while.
///
/// It has state: it depends on all metrics that it has observed. It is therefore no [`Schedule`](super::Schedule);
/// [`observe`](Self::observe) returns the learning rate to set, and [`state`](Self::state) and
/// [`from_state`](Self::from_state) save and restore it.
///
/// PyTorch's `ReduceLROnPlateau`: a metric is better if it is below `best − threshold |best|` or `best − threshold`,
/// above `best + threshold |best|` or `best + threshold`, by mode and threshold mode. Every other metric is bad, NaN
/// too. More than `patience` bad metrics in a row lower the learning rate to `max(lr · factor, min_lr)`, if the change
/// is more than `eps`. None of the `cooldown` metrics that follow counts as bad.
///
/// Two things differ from PyTorch. A relative threshold is a fraction of the size of the best metric, so that it works
/// for negative metrics too; PyTorch's has the wrong sign there. An infinite metric, which PyTorch takes as the best,
/// is bad, so that the state can be written as JSON.
///
/// ```
/// use thalweg_nn::schedule::{PlateauSettings, ReduceOnPlateau};
/// # fn main() -> thalweg_nn::Result<()> {
/// let settings = PlateauSettings { patience: 1, factor: 0.5, ..PlateauSettings::new(0.1) };
/// let mut schedule = ReduceOnPlateau::new(settings)?;
/// let rates = [3.0, 2.0, 2.0, 2.0, 1.0].map(|loss| schedule.observe(loss));
/// assert_eq!(rates, [0.1, 0.1, 0.1, 0.05, 0.05]); // for `optimizer.set_rate`
/// let restored = ReduceOnPlateau::from_state(settings, schedule.state())?;
/// assert_eq!(restored, schedule);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReduceOnPlateau {
    settings: PlateauSettings,
    state: PlateauState,
}

/// The settings of [`ReduceOnPlateau`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PlateauSettings {
    /// The first learning rate.
    pub lr: f64,
    /// Which metrics are better.
    pub mode: PlateauMode,
    /// The factor of each fall; at least 0 and less than 1.
    pub factor: f64,
    /// The number of bad metrics in a row without a fall.
    pub patience: u64,
    /// The difference by which a metric must be better to count.
    pub threshold: f64,
    /// The unit of the threshold.
    pub threshold_mode: ThresholdMode,
    /// The number of metrics after a fall that do not count as bad.
    pub cooldown: u64,
    /// The lower bound of the learning rate.
    pub min_lr: f64,
    /// Falls of at most this size are left out.
    pub eps: f64,
}

/// Which metrics are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlateauMode {
    /// Lower ones, such as losses.
    Min,
    /// Higher ones, such as accuracies.
    Max,
}

/// The unit of a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThresholdMode {
    /// A fraction of the best metric's size.
    Rel,
    /// The unit of the metric.
    Abs,
}

/// The state of a [`ReduceOnPlateau`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PlateauState {
    /// The learning rate.
    pub lr: f64,
    /// The best metric so far; none before the first finite one.
    pub best: Option<f64>,
    /// The number of bad metrics in a row.
    pub bad_metrics: u64,
    /// The number of coming metrics that do not count as bad.
    pub cooldown_left: u64,
}

impl PlateauSettings {
    /// Returns PyTorch's defaults: the rate falls to a tenth after more than 10 losses that are not lower than the
    /// lowest by 1e-4 of it; no cooldown, no lower bound, `eps` 1e-8.
    #[must_use]
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            mode: PlateauMode::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if one is out of range, with the field and the range.
    pub fn validate(&self) -> Result<()> {
        super::check_fall(self.lr, self.min_lr)?;
        crate::setting::fraction("factor", self.factor)?;
        not_negative("threshold", self.threshold)?;
        not_negative("eps", self.eps)
    }
}

impl ReduceOnPlateau {
    /// Begins at the first learning rate, with no metric observed.
    ///
    /// # Errors
    /// Same as [`PlateauSettings::validate`].
    pub fn new(settings: PlateauSettings) -> Result<Self> {
        settings.validate()?;
        let state = PlateauState { lr: settings.lr, best: None, bad_metrics: 0, cooldown_left: 0 };
        Ok(Self { settings, state })
    }

    /// Continues from a saved state.
    ///
    /// # Errors
    /// Same as [`PlateauSettings::validate`], and if these settings cannot lead to the state.
    pub fn from_state(settings: PlateauSettings, state: PlateauState) -> Result<Self> {
        settings.validate()?;
        not_negative("lr", state.lr)?;
        check("lr", state.lr, state.lr <= settings.lr, "at most the first learning rate")?;
        let best = state.best.unwrap_or(0.0);
        check("best", best, best.is_finite(), "finite")?;
        check("bad_metrics", state.bad_metrics, state.bad_metrics <= settings.patience, "at most patience")?;
        check("cooldown_left", state.cooldown_left, state.cooldown_left <= settings.cooldown, "at most cooldown")?;
        Ok(Self { settings, state })
    }

    /// Takes a metric, as after an epoch, and returns the learning rate of the following steps.
    pub fn observe(&mut self, metric: f64) -> f64 {
        let Self { settings, state } = self;
        if settings.is_better(metric, state.best) {
            state.best = Some(metric);
            state.bad_metrics = 0;
        } else {
            state.bad_metrics += 1;
        }
        if state.cooldown_left > 0 {
            state.cooldown_left -= 1;
            state.bad_metrics = 0;
        }
        if state.bad_metrics > settings.patience {
            let lower = (state.lr * settings.factor).max(settings.min_lr);
            if state.lr - lower > settings.eps {
                state.lr = lower;
            }
            state.cooldown_left = settings.cooldown;
            state.bad_metrics = 0;
        }
        state.lr
    }

    /// Returns the current learning rate.
    #[must_use]
    pub fn lr(&self) -> f64 {
        self.state.lr
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> PlateauSettings {
        self.settings
    }

    /// Returns the state, for saving.
    #[must_use]
    pub fn state(&self) -> PlateauState {
        self.state
    }
}

impl PlateauSettings {
    fn is_better(&self, metric: f64, best: Option<f64>) -> bool {
        let Some(best) = best else {
            return metric.is_finite();
        };
        let threshold = self.threshold;
        // With the sign of the best metric; written as products of sums, so that positive metrics give PyTorch's bits.
        let share = threshold.copysign(best);
        metric.is_finite()
            && match (self.mode, self.threshold_mode) {
                (PlateauMode::Min, ThresholdMode::Rel) => metric < best * (1.0 - share),
                (PlateauMode::Min, ThresholdMode::Abs) => metric < best - threshold,
                (PlateauMode::Max, ThresholdMode::Rel) => metric > best * (1.0 + share),
                (PlateauMode::Max, ThresholdMode::Abs) => metric > best + threshold,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns losses that fall, stop and jump, some of them not finite.
    fn metrics() -> Vec<f64> {
        let loss = |i: u32| match i % 41 {
            40 => f64::NAN,
            39 => f64::NEG_INFINITY,
            _ => 1.0 / f64::from(1 + i / 7) + 0.1 * f64::from(i * 37 % 11),
        };
        (0..300).map(loss).collect()
    }

    #[test]
    fn a_restored_one_goes_on_exactly() {
        let settings = PlateauSettings {
            factor: 0.7,
            patience: 3,
            cooldown: 5,
            threshold_mode: ThresholdMode::Abs,
            min_lr: 1e-6,
            ..PlateauSettings::new(0.3)
        };
        let mut whole = ReduceOnPlateau::new(settings).unwrap();
        let rates: Vec<f64> = metrics().into_iter().map(|metric| whole.observe(metric)).collect();
        assert!(rates.windows(2).filter(|pair| pair[0] > pair[1]).count() > 10 && rates.iter().all(|lr| *lr >= 1e-6));
        for stop in 0..metrics().len() {
            let mut schedule = ReduceOnPlateau::new(settings).unwrap();
            metrics()[..stop].iter().for_each(|&metric| _ = schedule.observe(metric));
            // Through text, as in a checkpoint.
            let text = serde_json::to_string(&(schedule.settings(), schedule.state())).unwrap();
            let (settings, state) = serde_json::from_str(&text).unwrap();
            let mut restored = ReduceOnPlateau::from_state(settings, state).unwrap();
            assert_eq!(restored, schedule, "{text}");
            let rest: Vec<f64> = metrics()[stop..].iter().map(|&metric| restored.observe(metric)).collect();
            assert_eq!(rest, rates[stop..], "stopped after {stop}");
            assert_eq!(restored, whole);
        }
    }

    #[test]
    fn metrics_that_are_not_finite_are_bad() {
        let settings = PlateauSettings { patience: 0, factor: 0.5, ..PlateauSettings::new(1.0) };
        let mut schedule = ReduceOnPlateau::new(settings).unwrap();
        let rates = [f64::NAN, f64::INFINITY, 1.0, f64::NEG_INFINITY, 0.5].map(|metric| schedule.observe(metric));
        assert_eq!(rates, [0.5, 0.25, 0.25, 0.125, 0.125]);
    }

    #[test]
    fn a_metric_that_stays_is_bad_whatever_its_sign() {
        for (mode, metric) in [
            (PlateauMode::Min, -1.0),
            (PlateauMode::Min, 1.0),
            (PlateauMode::Max, -1.0),
            (PlateauMode::Max, 1.0),
            (PlateauMode::Min, 0.0),
        ] {
            let settings = PlateauSettings { mode, patience: 2, factor: 0.5, ..PlateauSettings::new(1.0) };
            let mut schedule = ReduceOnPlateau::new(settings).unwrap();
            let falls = (0..12).filter(|_| schedule.lr() > schedule.observe(metric)).count();
            assert_eq!(falls, 3, "{mode:?} of {metric}");
        }
    }

    /// With a threshold of 0.1, a metric must be better by a tenth of the best one's size.
    #[test]
    fn a_relative_threshold_is_a_share_of_the_size() {
        for (mode, metrics, better) in [
            (PlateauMode::Min, [-1.0, -0.95, -1.05, -1.2], [true, false, false, true]),
            (PlateauMode::Min, [1.0, 0.95, 0.85, -0.1], [true, false, true, true]),
            (PlateauMode::Max, [-1.0, -0.95, -0.85, 0.1], [true, false, true, true]),
            (PlateauMode::Max, [1.0, 1.05, 1.2, 1.3], [true, false, true, false]),
        ] {
            let settings = PlateauSettings { mode, threshold: 0.1, ..PlateauSettings::new(1.0) };
            let mut schedule = ReduceOnPlateau::new(settings).unwrap();
            for (metric, better) in metrics.into_iter().zip(better) {
                schedule.observe(metric);
                assert_eq!(schedule.state().best == Some(metric), better, "{mode:?}, {metric}");
            }
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        let good = PlateauSettings::new(0.1);
        let message = |settings| ReduceOnPlateau::new(settings).unwrap_err().to_string();
        assert!(message(PlateauSettings { lr: -0.1, ..good }).starts_with("lr = -0.1"));
        assert!(message(PlateauSettings { factor: 1.0, ..good }).starts_with("factor = 1, but it must be at least 0"));
        assert!(message(PlateauSettings { threshold: f64::NAN, ..good }).starts_with("threshold = NaN"));
        assert!(
            message(PlateauSettings { min_lr: 0.2, ..good }).starts_with("min_lr = 0.2, but it must be at most lr")
        );
        assert!(message(PlateauSettings { eps: -1.0, ..good }).starts_with("eps = -1"));
        let state = ReduceOnPlateau::new(good).unwrap().state();
        let message = |state| ReduceOnPlateau::from_state(good, state).unwrap_err().to_string();
        assert!(message(PlateauState { lr: 0.2, ..state }).starts_with("lr = 0.2, but it must be at most the first"));
        assert!(message(PlateauState { best: Some(f64::NAN), ..state }).starts_with("best = NaN"));
        assert!(message(PlateauState { bad_metrics: 11, ..state }).starts_with("bad_metrics = 11"));
        assert!(message(PlateauState { cooldown_left: 1, ..state }).starts_with("cooldown_left = 1"));
    }
}
