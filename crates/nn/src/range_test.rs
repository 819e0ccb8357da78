//! The learning-rate range test: finds a learning rate.

use thalweg_tensor::ValueLog;

use crate::data::{Batches, Dataset};
use crate::setting::{check, fraction, positive};
use crate::{Checkpoint, CheckpointTensor, FitOptions, Parts, Result, Schedule, Stepper, Trainer, WeightAverage};

/// The ramp of the learning rate in a [`RangeTest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ramp {
    /// By the same factor at each step.
    #[default]
    Exponential,
    /// By the same amount at each step.
    Linear,
}

/// A learning-rate range test: some steps of training in which the learning rate rises from very small to too large, until
/// the loss rises. The rate at which the loss falls fastest is a good first learning rate.
///
/// With r = i / (steps - 1), step i = 0, 1, … uses `from_lr (to_lr / from_lr)^r`, or on a linear ramp
/// `from_lr + r (to_lr - from_lr)`. Losses are smoothed by an exponential average with bias correction,
/// `a = smoothing a + (1 - smoothing) loss`, `smoothed = a / (1 - smoothing^(i + 1))`. The test ends early if a
/// smoothed loss is greater than `stop_factor` times the smallest one before it, or not finite.
///
/// It waits for the loss of each step before the next one. [`Trainer::range_test`](crate::Trainer::range_test) runs it
/// on a model and restores the model; [`run`](Self::run) takes any step.
///
/// Sources: Smith, Cyclical learning rates for training neural networks (WACV 2017); the smoothing and the factor of 4 are
/// those of fastai's `lr_find`.
///
/// ```
/// use thalweg_nn::RangeTest;
/// # fn main() -> thalweg_nn::Result<()> {
/// // Gradient descent on x², which diverges from a learning rate of 1 on.
/// let mut x = 1.0f64;
/// let test = RangeTest { from_lr: 1e-3, to_lr: 10.0, ..RangeTest::default() };
/// let report = test.run(|lr| {
///     let loss = x * x;
///     x -= lr * 2.0 * x;
///     Ok(loss)
/// })?;
/// let suggested = report.steepest.unwrap();
/// assert!((0.01..1.0).contains(&suggested));
/// assert!(report.stopped_early);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RangeTest {
    /// The learning rate of the first step, greater than 0. Default 1e-7.
    pub from_lr: f64,
    /// The learning rate of the last step, greater than `from_lr`. Default 10.
    pub to_lr: f64,
    /// The number of steps, unless it ends early; at least 2. Default 100.
    pub steps: u64,
    /// The ramp of the learning rate. Default exponential.
    pub ramp: Ramp,
    /// The decay rate of the average of losses; at least 0 and less than 1. Default 0.9: fastai's 0.98 lags behind by
    /// half of the test.
    pub smoothing: f64,
    /// The test ends if the smoothed loss is greater than this factor times the smallest; greater than 1. Default 4.
    pub stop_factor: f64,
}

impl Default for RangeTest {
    fn default() -> Self {
        Self { from_lr: 1e-7, to_lr: 10.0, steps: 100, ramp: Ramp::Exponential, smoothing: 0.9, stop_factor: 4.0 }
    }
}

impl Schedule for RangeTest {
    fn at(&self, step: u64) -> f64 {
        let last = self.steps.saturating_sub(1).max(1);
        if step >= last {
            return self.to_lr;
        }
        let share = step as f64 / last as f64;
        match self.ramp {
            Ramp::Exponential => self.from_lr * (self.to_lr / self.from_lr).powf(share),
            Ramp::Linear => self.from_lr + share * (self.to_lr - self.from_lr),
        }
    }

    fn validate(&self) -> Result<()> {
        positive("from_lr", self.from_lr)?;
        let is_above = self.to_lr > self.from_lr && self.to_lr.is_finite();
        check("to_lr", self.to_lr, is_above, "finite and greater than from_lr")?;
        check("steps", self.steps, self.steps >= 2, "at least 2")?;
        fraction("smoothing", self.smoothing)?;
        check("stop_factor", self.stop_factor, self.stop_factor > 1.0, "greater than 1")
    }
}

impl RangeTest {
    /// Runs the test. `step` gets a learning rate, takes one step of training with it, and returns the loss before the
    /// step.
    ///
    /// # Errors
    /// If a setting is not valid, or with the first error of `step`.
    pub fn run(&self, mut step: impl FnMut(f64) -> Result<f64>) -> Result<RangeReport> {
        self.validate()?;
        let (mut average, mut kept, mut least) = (0.0, 1.0, f64::INFINITY);
        let mut points = Vec::new();
        let mut stopped_early = false;
        for i in 0..self.steps {
            let lr = self.at(i);
            let loss = step(lr)?;
            average = self.smoothing * average + (1.0 - self.smoothing) * loss;
            kept *= self.smoothing;
            let smoothed = average / (1.0 - kept);
            points.push(RangePoint { lr, loss, smoothed });
            if !smoothed.is_finite() || smoothed > self.stop_factor * least {
                stopped_early = true;
                break;
            }
            least = least.min(smoothed);
        }
        // The number of losses that the average covers.
        let window = (1.0 / (1.0 - self.smoothing)).ceil() as usize;
        Ok(RangeReport::of(points, stopped_early, self.ramp, window))
    }
}

impl<M: Parts, S: Stepper> Trainer<M, S> {
    /// Runs a learning-rate range test on the model, with the batches of [`fit`](Self::fit); the number of epochs of
    /// the options is ignored. Parameters, state of the optimizer, schedule and random numbers are restored bit by bit,
    /// even after an error. `fit` then begins with the same order of rows as without the test. Gradients are zero
    /// afterwards.
    ///
    /// ```
    /// use thalweg_nn::data::{Dataset, friedman1};
    /// use thalweg_nn::{AdamW, FitOptions, Linear, Mse, Optimizer, ParamsBuilder, RangeTest, Trainer};
    /// use thalweg_tensor::Device;
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let device = Device::cpu();
    /// let (features, targets) = friedman1(200, 1.0, 0);
    /// let data = Dataset::regression(&device, &features, 10, &targets)?;
    /// let mut builder = ParamsBuilder::new(0);
    /// let model = Linear::new(&mut builder, "line", 10, 1)?;
    /// let optimizer = Optimizer::new(&builder.build(&device)?, AdamW::new(), 1e-3)?;
    /// let mut trainer = Trainer::new(model, optimizer, Mse);
    /// let options = FitOptions { epochs: 50, batch_size: 32, seed: 0 };
    /// let report = trainer.range_test(&data, &RangeTest::default(), &options)?;
    /// if let Some(lr) = report.steepest {
    ///     trainer.optimizer_mut().set_rate(lr)?;
    /// }
    /// trainer.fit(&data, None, &options, |_| ())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if a setting of the test is out of its range or the batch size is 0.
    /// Otherwise the same as [`fit`](Self::fit).
    pub fn range_test(&mut self, data: &Dataset, test: &RangeTest, options: &FitOptions) -> Result<RangeReport> {
        test.validate()?;
        let FitOptions { batch_size, seed, .. } = *options;
        check("batch_size", batch_size, batch_size > 0, "at least 1")?;
        let is_evaluating = self.optimizer().is_evaluating() || self.average.as_ref().is_some_and(WeightAverage::is_in);
        self.begin(data, None)?;
        let (before, average) = (Before::of(&self.stepper)?, self.average.take());
        let report = self.run_range_test(data, test, batch_size, seed);
        let restored = before.restore(&mut self.stepper);
        self.average = average;
        let report = report?;
        restored?;
        if is_evaluating {
            self.eval_mode()?;
        }
        Ok(report)
    }

    fn run_range_test(
        &mut self,
        data: &Dataset,
        test: &RangeTest,
        batch_size: usize,
        seed: u64,
    ) -> Result<RangeReport> {
        let loss = ValueLog::new(data.device(), 1)?;
        let mut batches = Batches::new(data.clone(), seed)?;
        let (mut epoch, mut rows_left, mut step) = (0, 0, 0);
        test.run(|lr| {
            if rows_left == 0 {
                batches.start_epoch(epoch)?;
                (epoch, rows_left) = (epoch + 1, data.len());
            }
            let rows = rows_left.min(batch_size);
            rows_left -= rows;
            self.optimizer_mut().set_rate(lr)?;
            let estimates = self.until_estimate(step) == 0;
            self.step(&mut batches, rows, &loss, estimates)?;
            step += 1;
            // A log of one number, after one write.
            Ok(loss.take()?.first().copied().map_or(f64::NAN, f64::from))
        })
    }
}

/// Everything that a range test changes, as it was before.
struct Before {
    state: Checkpoint,
    parameters: Vec<CheckpointTensor>,
    random_counters: Vec<u32>,
}

impl Before {
    fn of(stepper: &impl Stepper) -> Result<Self> {
        let params = stepper.optimizer().params();
        let (parameters, random_counters) = (params.to_host()?, params.random_counters()?);
        Ok(Self { state: stepper.state_dict()?, parameters, random_counters })
    }

    fn restore(&self, stepper: &mut impl Stepper) -> Result<()> {
        stepper.load_state_dict(&self.state)?;
        let params = stepper.optimizer().params();
        params.load(&self.parameters)?;
        params.set_random_counters(&self.random_counters)?;
        params.zero_grad();
        Ok(())
    }
}

/// A step of a range test.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct RangePoint {
    /// The learning rate.
    pub lr: f64,
    /// The loss before the step with it.
    pub loss: f64,
    /// The smoothed loss.
    pub smoothed: f64,
}

/// The result of a range test.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct RangeReport {
    /// The steps.
    pub points: Vec<RangePoint>,
    /// Whether the loss rose so much that the test ended before its last step.
    pub stopped_early: bool,
    /// The learning rate at which the smoothed loss falls steepest along the ramp: a suggestion. The first steps, as
    /// many as the average covers, do not count. `None` if the loss never falls.
    pub steepest: Option<f64>,
    /// A tenth of the learning rate at which the smoothed loss is smallest: a cautious suggestion. `None` if the loss
    /// never falls.
    pub minimum_over_ten: Option<f64>,
    #[serde(skip)]
    pub(crate) ramp: Ramp,
}

impl RangeReport {
    fn of(points: Vec<RangePoint>, stopped_early: bool, ramp: Ramp, window: usize) -> Self {
        let finite = points.iter().take_while(|point| point.smoothed.is_finite()).count();
        let smoothed = |i: usize| points[i].smoothed;
        let least = (0..finite).min_by(|&a, &b| smoothed(a).total_cmp(&smoothed(b))).filter(|&i| i > 0);
        // Central differences up to the minimum, so that neither the noise of two neighbours nor later steps count. The
        // first ones do not count either: there the average covers few batches, and falls or rises with each.
        let settled = |least: usize| window.min(least / 2).max(1);
        let slope = |i: usize| (smoothed(i + 1) - smoothed(i - 1)) / 2.0;
        let steepest = least.and_then(|least| {
            (settled(least)..least)
                .min_by(|&a, &b| slope(a).total_cmp(&slope(b)))
                .filter(|&i| slope(i) < 0.0)
                .or(Some(least))
        });
        let lr = |i: usize| points[i].lr;
        let (steepest, minimum_over_ten) = (steepest.map(lr), least.map(|i| lr(i) / 10.0));
        Self { points, stopped_early, steepest, minimum_over_ten, ramp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// Runs gradient descent on a x², whose loss falls by (1 - 2 a lr)² per step.
    fn descent(test: &RangeTest, curvature: f64) -> RangeReport {
        let mut x = 1.0f64;
        test.run(|lr| {
            let loss = curvature * x * x;
            x -= lr * 2.0 * curvature * x;
            Ok(loss)
        })
        .unwrap()
    }

    #[test]
    fn ramps_begin_and_end_where_they_should() {
        let test = RangeTest { from_lr: 1e-4, to_lr: 1.0, steps: 5, ..RangeTest::default() };
        for (i, expected) in [1e-4, 1e-3, 1e-2, 1e-1, 1.0].into_iter().enumerate() {
            let lr = test.at(i as u64);
            assert!((lr - expected).abs() <= 1e-12 * expected, "{lr}");
        }
        let linear = RangeTest { from_lr: 1.0, to_lr: 2.0, ramp: Ramp::Linear, ..test };
        assert_eq!([0, 1, 2, 4, 9].map(|i| linear.at(i)), [1.0, 1.25, 1.5, 2.0, 2.0]);
    }

    #[test]
    fn it_ends_at_four_times_the_least_loss_and_suggests_what_descends() {
        for curvature in [0.01, 1.0, 100.0] {
            let test = RangeTest { from_lr: 1e-6, to_lr: 1e3, steps: 200, ..RangeTest::default() };
            let report = descent(&test, curvature);
            assert!(report.stopped_early && report.points.len() < 200);
            let (last, before) = report.points.split_last().unwrap();
            let least = before.iter().map(|point| point.smoothed).fold(f64::INFINITY, f64::min);
            assert!(
                last.smoothed > 4.0 * least
                    && before.iter().all(|point| point.smoothed <= 4.0 * least.max(point.smoothed / 4.0))
            );
            // The step of Newton's method is 1 / (2 curvature); from twice that on it diverges.
            for suggestion in [report.steepest.unwrap(), report.minimum_over_ten.unwrap()] {
                let share = suggestion * 2.0 * curvature;
                assert!((1e-3..2.0).contains(&share), "{suggestion} at a curvature of {curvature}");
            }
        }
    }

    #[test]
    fn smoothing_is_an_average_with_bias_correction() {
        let test = RangeTest { steps: 4, smoothing: 0.5, ..RangeTest::default() };
        let mut losses = [4.0, 2.0, 1.0, 3.0].into_iter();
        let report = test.run(|_| Ok(losses.next().unwrap())).unwrap();
        // (0.5 * 4) / 0.5; (0.25 * 4 + 0.5 * 2) / 0.75; …
        let expected = [4.0, 2.0 / 0.75, (0.5 + 0.5 + 0.5) / 0.875, (0.25 + 0.25 + 0.25 + 1.5) / 0.9375];
        for (point, expected) in report.points.iter().zip(expected) {
            assert!((point.smoothed - expected).abs() <= 1e-12 * expected, "{point:?}");
        }
        assert!(!report.stopped_early);
        assert_eq!(report.minimum_over_ten, Some(report.points[2].lr / 10.0));
    }

    /// A second batch with a smaller loss than the first is no descent.
    #[test]
    fn the_steepest_place_is_not_that_of_an_average_of_two() {
        let test = RangeTest { from_lr: 1e-7, to_lr: 1.0, steps: 80, ..RangeTest::default() };
        let mut i = 0;
        let report = test.run(|_| {
            i += 1;
            Ok(if i == 1 { 2.0 } else { 1.0 - 0.5 * (f64::from(i - 50) / 10.0).clamp(0.0, 1.0) })
        });
        let steepest = report.unwrap().steepest.unwrap();
        assert!(steepest > test.at(49) && steepest < test.at(70), "{steepest:e}");
    }

    #[test]
    fn what_never_falls_has_no_suggestion() {
        for losses in
            [vec![f64::NAN; 5], vec![1.0, 2.0, 3.0, 4.0, 3.9], vec![f64::INFINITY; 5], vec![0.0; 5], vec![-1e308; 5]]
        {
            let mut values = losses.clone().into_iter();
            let test = RangeTest { steps: 5, ..RangeTest::default() };
            let report = test.run(|_| Ok(values.next().unwrap())).unwrap();
            assert_eq!((report.steepest, report.minimum_over_ten), (None, None), "{losses:?}");
        }
    }

    #[test]
    fn wrong_settings_name_the_field() {
        let good = RangeTest::default();
        for (test, field) in [
            (RangeTest { from_lr: 0.0, ..good }, "from_lr"),
            (RangeTest { to_lr: 1e-8, ..good }, "to_lr"),
            (RangeTest { to_lr: f64::INFINITY, ..good }, "to_lr"),
            (RangeTest { steps: 1, ..good }, "steps"),
            (RangeTest { smoothing: 1.0, ..good }, "smoothing"),
            (RangeTest { stop_factor: 1.0, ..good }, "stop_factor"),
        ] {
            let error = test.run(|_| Ok(1.0)).unwrap_err();
            assert!(matches!(error, Error::Setting { field: found, .. } if found == field), "{error}");
        }
    }
}
