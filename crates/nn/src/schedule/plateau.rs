//! The schedule that follows a metric and so has state.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::setting::{check, not_negative};

/// A learning rate that falls when a metric has not become better for a while.
///
/// It has state: what it does depends on all metrics that it was told. It is therefore no [`Schedule`](super::Schedule);
/// [`observe`](Self::observe) gives the learning rate to set, and [`state`](Self::state) and
/// [`from_state`](Self::from_state) save and restore it.
///
/// PyTorch's `ReduceLROnPlateau`: a metric is better if it is below `best − threshold |best|` or `best − threshold`, above
/// `best + threshold |best|` or `best + threshold`, by mode and threshold mode. Each other one is bad, NaN too; one bad
/// metric more than `patience` in a row lowers the learning rate to `max(lr · factor, min_lr)`, if that is more than `eps`
/// away. Of the `cooldown` metrics that follow none counts as bad.
///
/// Two things differ from PyTorch. A relative threshold is a share of the size of the best metric, so that it works for
/// negative metrics too; PyTorch's has the wrong sign there. An infinite metric, which PyTorch takes as the best, is bad,
/// so that the state goes through JSON.
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
    /// How many bad metrics in a row are borne.
    pub patience: u64,
    /// By how much a metric must be better to count.
    pub threshold: f64,
    /// What the threshold is measured by.
    pub threshold_mode: ThresholdMode,
    /// How many metrics after a fall do not count as bad.
    pub cooldown: u64,
    /// The learning rate below which it does not fall.
    pub min_lr: f64,
    /// Falls of not more than this are left out.
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

/// What a threshold is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThresholdMode {
    /// A share of the best metric's size.
    Rel,
    /// The unit of the metric.
    Abs,
}

/// What [`ReduceOnPlateau`] remembers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PlateauState {
    /// The learning rate.
    pub lr: f64,
    /// The best metric so far; none before the first one that is finite.
    pub best: Option<f64>,
    /// Bad metrics in a row.
    pub bad_metrics: u64,
    /// Metrics that are still left out of the count.
    pub cooldown_left: u64,
}

impl PlateauSettings {
    /// PyTorch's defaults: a tenth after more than 10 losses that are not lower by at least 1e-4 of the lowest; no
    /// cooldown, no lowest learning rate, `eps` 1e-8.
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
    /// [`Error::Setting`](crate::Error::Setting) with the field and its range.
    pub fn validate(&self) -> Result<()> {
        super::check_fall(self.lr, self.min_lr)?;
        crate::setting::fraction("factor", self.factor)?;
        not_negative("threshold", self.threshold)?;
        not_negative("eps", self.eps)
    }
}

impl ReduceOnPlateau {
    /// At the first learning rate, with no metric seen.
    ///
    /// # Errors
    /// Those of [`PlateauSettings::validate`].
    pub fn new(settings: PlateauSettings) -> Result<Self> {
        settings.validate()?;
        let state = PlateauState { lr: settings.lr, best: None, bad_metrics: 0, cooldown_left: 0 };
        Ok(Self { settings, state })
    }

    /// Goes on from a state that was saved.
    ///
    /// # Errors
    /// Those of [`PlateauSettings::validate`], and if the state is none that these settings lead to.
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

    /// Takes a metric, as after an epoch, and gives the learning rate for the steps that follow.
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

    /// The learning rate as it stands.
    #[must_use]
    pub fn lr(&self) -> f64 {
        self.state.lr
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> PlateauSettings {
        self.settings
    }

    /// What it remembers, to be saved.
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
        // With the sign of the best metric; products of sums, so that positive metrics have PyTorch's bits.
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

    /// Losses that fall, stop and jump about, of no finite value now and then.
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
