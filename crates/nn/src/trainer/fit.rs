//! [`Trainer::fit`]: the loop.

use thalweg_tensor::time::Instant;
use thalweg_tensor::{ClockState, Counters, Device, ValueLog};

use super::arriving::{Arriving, Watch};
use super::check::check_parts;
use super::evaluate::{Evaluation, evaluate};
use super::events::{EpochReport, Event, FitOptions, Flow, History, batch_length};
use super::record::{Kind, Recordings};
use super::state::Place;
use super::{Resumed, Trainer};
use crate::data::{Batches, Dataset};
use crate::optim::Stepper;
use crate::{CheckpointTensor, Error, Parts, Result};

/// The number of steps per replay, which share one submission.
const STEPS_AT_ONCE: u64 = 8;

/// The current run.
struct Run<'a> {
    device: Device,
    train: &'a Dataset,
    test: Option<&'a Dataset>,
    /// The options, with a batch size of at most the number of rows.
    options: FitOptions,
    steps_per_epoch: u64,
    batches: Batches,
    losses: ValueLog,
    recordings: Recordings,
    /// The number of steps of this run.
    steps: u64,
    /// The number of steps of the optimizer before it, including skipped ones.
    steps_before: u64,
    skipped_before: u32,
    clock: ClockState,
    counters: Counters,
    history: Vec<EpochReport>,
    /// Whether an observer has stopped it.
    stopped: bool,
}

/// Calls an observer, and notes whether it stops the run.
macro_rules! tell {
    ($run:ident, $observe:ident, $event:expr) => {
        if !$run.stopped {
            $run.stopped = !$observe($event);
        }
    };
}

impl<M: Parts, S: Stepper> Trainer<M, S> {
    /// Trains for some epochs. Every epoch shuffles the rows anew. Nothing waits for the device between two reports,
    /// which come at the end of each epoch. `observe` receives the steps, several at a time, and every epoch. It
    /// returns nothing, or a [`ControlFlow`](std::ops::ControlFlow), whose `Break` ends the run.
    ///
    /// A second call continues with the weights, the state of the optimizer and its clock, and so with the rest of its
    /// schedule. Orders of rows and reports begin again.
    ///
    /// Test rows are evaluated with the parameters of [`Stepper::eval`], or with the average of
    /// [`with_average`](Self::with_average). These are in place at the end of the run: save the model as it is. The
    /// next run continues from the trained ones.
    ///
    /// The first step of each kind, except the very first step of all, is recorded. Replays follow, several per submission.
    /// Debug builds run the second step of a kind anew and compare it with the recording. Kinds differ by the length of the
    /// batch, which is shorter at the end of an epoch, and by whether the Hessian's diagonal is estimated. A batch has at
    /// most as many rows as the data.
    ///
    /// # Errors
    /// Before anything is trained:
    /// - [`Error::Setting`] if an option is 0;
    /// - [`Error::State`] if the model's parts are not those that were built with the optimizer's parameters;
    /// - [`Error::Targets`] if the loss takes targets of another type;
    /// - [`Error::Class`] if a class of the data has no output;
    /// - [`Error::Model`] if a resumed run was of other data or options.
    ///
    /// Later:
    /// - [`Error::Tensor`] if the data do not fit the model or the loss, or are on another device, if the device fails, or
    ///   if a gradient is not finite with [`NonFinite::Error`](crate::NonFinite::Error);
    /// - [`Error::Diverged`] if no loss of an epoch is finite, or if at the end the parameters or the losses of most rows
    ///   are not finite, or most steps were skipped;
    /// - [`Error::Autograd`] if [anomaly detection](Self::with_anomaly_detection) finds an operation;
    /// - [`Error::HostState`] in debug builds, if two steps differ by a value of the host, which a replay would repeat;
    /// - [`Error::Io`] if a checkpoint cannot be written.
    pub fn fit<F: Flow>(
        &mut self,
        train: &Dataset,
        test: Option<&Dataset>,
        options: &FitOptions,
        mut observe: impl FnMut(Event<'_>) -> F,
    ) -> Result<History> {
        self.run(train, test, options, &mut |event| observe(event).goes_on())
    }

    fn run(
        &mut self,
        train: &Dataset,
        test: Option<&Dataset>,
        options: &FitOptions,
        observe: &mut dyn FnMut(Event<'_>) -> bool,
    ) -> Result<History> {
        options.validate()?;
        let steps_per_epoch = options.steps_per_epoch(train.len());
        let steps = steps_per_epoch.checked_mul(options.epochs).ok_or_else(|| Error::Setting {
            field: "epochs",
            value: options.epochs.to_string(),
            rule: "so many that steps can be counted",
        })?;
        let place = match (&self.checkpoints, &self.resumed) {
            (None, None) => None,
            _ => Some(Place::new(self.settings(), train, options)?),
        };
        if let (Some(resumed), Some(place)) = (&self.resumed, &place) {
            resumed.place.check(place).map_err(|error| Error::model(&resumed.path, error.to_string()))?;
        }
        let (mut history, mut first_epoch) = (Vec::new(), 0);
        if let Some(resumed) = self.resumed.take() {
            self.plan_anew(&resumed, options.epochs)?;
            (history, first_epoch) = (resumed.history, resumed.place.epochs_done);
        }
        self.begin(train, test)?;
        let clock = self.optimizer().read_clock()?;
        let mut run = Run {
            device: train.device().clone(),
            train,
            test,
            options: FitOptions { batch_size: options.batch_size.min(train.len()), ..*options },
            steps_per_epoch,
            batches: Batches::new(train.clone(), options.seed)?,
            losses: ValueLog::new(train.device(), steps_per_epoch as usize)?,
            recordings: Recordings::default(),
            steps: 0,
            steps_before: u64::from(clock.step) + u64::from(clock.skipped),
            skipped_before: clock.skipped,
            clock,
            counters: Counters::default(),
            history,
            stopped: false,
        };
        let start = Instant::now();
        for epoch in first_epoch..options.epochs {
            if !self.epoch(&mut run, epoch, steps, observe)? {
                break;
            }
            if let (Some((path, every)), Some(place)) = (&self.checkpoints, &place)
                && ((epoch + 1).is_multiple_of(*every) || epoch + 1 == options.epochs || run.stopped)
            {
                self.save(path, &place.after(epoch + 1), &run.history)?;
            }
            if run.stopped {
                break;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        self.finish(run, options.epochs, seconds)
    }

    /// Restores the optimizer's own schedule if a resumed run has another number of epochs than planned. A schedule
    /// that was set since, or that follows a metric, stays.
    fn plan_anew(&mut self, resumed: &Resumed, epochs: u64) -> Result<()> {
        match resumed.schedules.as_deref() {
            Some([own, saved])
                if resumed.place.epochs() != epochs
                    && self.plateau.is_none()
                    && self.optimizer().schedule() == saved =>
            {
                self.optimizer_mut().set_table(own.clone())
            }
            _ => Ok(()),
        }
    }

    /// Checks the model and the data, and puts the trained parameters in place.
    pub(crate) fn begin(&mut self, train: &Dataset, test: Option<&Dataset>) -> Result<()> {
        check_parts(&self.model, self.optimizer().params())?;
        self.check_targets(train)?;
        test.map_or(Ok(()), |test| self.check_targets(test))?;
        self.largest_class = train.largest_class().max(test.and_then(Dataset::largest_class));
        self.train_mode()
    }

    /// Trains for an epoch, and returns whether it was completed.
    fn epoch(
        &mut self,
        run: &mut Run<'_>,
        epoch: u64,
        steps: u64,
        observe: &mut dyn FnMut(Event<'_>) -> bool,
    ) -> Result<bool> {
        let _span = tracing::debug_span!("epoch", epoch = epoch + 1).entered();
        run.batches.start_epoch(epoch)?;
        self.optimizer_mut().restart_gradient_norm_sum()?;
        let before = run.device.counters();
        let mut arriving = Arriving::default();
        let mut watch = self.optimizer().refuses_non_finite().then(Watch::default);
        let steps_before = epoch * run.steps_per_epoch;
        let mut step = 0;
        while step < run.steps_per_epoch && !run.stopped {
            let done = self.take_steps(run, step)?;
            step += done;
            run.steps += done;
            tell!(run, observe, Event::Step { step: steps_before + step, steps });
            if let Some(arrived) = arriving.next(&run.losses, step)? {
                let first_step = steps_before + arriving.seen - arrived.len() as u64 + 1;
                tell!(run, observe, Event::Losses { first_step, losses: &arrived });
            }
            if let Some(watch) = &mut watch {
                watch.look(self.optimizer(), step)?;
            }
        }
        run.device.flush()?;
        run.counters = run.counters + (run.device.counters() - before);

        let losses = run.losses.take()?;
        let rest = &losses[arriving.seen as usize..];
        if !rest.is_empty() {
            tell!(run, observe, Event::Losses { first_step: steps_before + arriving.seen + 1, losses: rest });
        }
        // Such parameters do not recover, so more epochs would not help.
        if !losses.iter().any(|loss| loss.is_finite()) {
            return Err(Error::Diverged { epoch: epoch + 1 });
        }
        if step < run.steps_per_epoch {
            return Ok(false);
        }
        let report = self.report(run, epoch, &losses)?;
        if let Some(plateau) = &mut self.plateau {
            plateau.observe(&report, self.stepper.optimizer_mut())?;
        }
        tell!(run, observe, Event::Epoch(&report));
        run.history.push(report);
        Ok(true)
    }

    /// Takes the step with this number in its epoch, or several starting with it, and returns how many.
    fn take_steps(&mut self, run: &mut Run<'_>, step: u64) -> Result<u64> {
        let (rows_of_all, batch_size) = (run.train.len(), run.options.batch_size);
        let rows = batch_length(rows_of_all, batch_size, step);
        let full_steps = (rows_of_all / batch_size) as u64;
        let of_this_length = if rows == batch_size { full_steps - step } else { 1 };
        let until_estimate = self.until_estimate(run.steps_before + run.steps);
        let kind = Kind { rows, estimates: until_estimate == 0 };
        // The first step creates what all steps share: kernels and state.
        let is_recorded = self.recording && !self.detects_anomalies && run.steps > 0;
        let Run { device, batches, losses, recordings, .. } = run;
        let mut take = || self.step(batches, rows, losses, kind.estimates);
        if !is_recorded {
            take()?;
            return Ok(1);
        }
        let most = of_this_length.min(STEPS_AT_ONCE).min(until_estimate.max(1));
        recordings.run(device, kind, most, take)
    }

    /// Returns the results of an epoch; waits for the device.
    fn report(&mut self, run: &mut Run<'_>, epoch: u64, losses: &[f32]) -> Result<EpochReport> {
        let rows = run.train.len();
        let lengths = (0..run.steps_per_epoch).map(|step| batch_length(rows, run.options.batch_size, step));
        let sum: f64 = losses.iter().zip(lengths).map(|(&loss, rows)| f64::from(loss) * rows as f64).sum();
        let now = self.optimizer().read_clock()?;
        let updates = f64::from(now.step - run.clock.step).max(1.0);
        let report = EpochReport {
            epoch: epoch + 1,
            train_loss: sum / rows as f64,
            test: run.test.map(|test| self.evaluate_averages(test)).transpose()?,
            gradient_norm: f64::from(now.gradient_norm_sum) / updates,
            lr: f64::from(now.learning_rate),
            skipped: now.skipped,
            clipped: now.clipped,
        };
        run.clock = now;
        Ok(report)
    }

    /// Puts the parameters for evaluation in place, and checks whether the run has diverged.
    fn finish(&mut self, run: Run<'_>, epochs: u64, seconds: f64) -> Result<History> {
        self.eval_mode()?;
        let (train, finite_rows) = evaluate(&*self.task, &self.model, run.train)?;
        // A ReLU may turn NaN into 0, so losses alone are not enough; nor are single rows that contain NaN themselves.
        let finite = self.optimizer().params().to_host()?.iter().all(CheckpointTensor::is_finite);
        let skipped = u64::from(run.clock.skipped - run.skipped_before);
        // Skipped steps are also how the scale of a loss is found.
        let is_search = run.clock.loss_scale.is_some() && skipped < run.steps;
        if !finite || finite_rows < 0.5 || (2 * skipped > run.steps && !is_search) {
            return Err(Error::Diverged { epoch: (run.history.len() as u64).clamp(1, epochs) });
        }
        let Run { history, steps, stopped, counters, .. } = run;
        Ok(History { epochs: history, train, steps, stopped, counters, seconds })
    }

    /// Evaluates the model on some data, as at prediction (no dropout). Waits for the device.
    ///
    /// # Errors
    /// [`Error::Targets`] if the loss takes targets of another type; [`Error::Tensor`] if the data do not fit the model or
    /// the loss, or the device fails; [`Error::Class`] if a class has no output.
    pub fn evaluate(&self, data: &Dataset) -> Result<Evaluation> {
        self.check_targets(data)?;
        Ok(evaluate(&*self.task, &self.model, data)?.0)
    }

    /// Checks that the targets have the type that the loss takes.
    fn check_targets(&self, data: &Dataset) -> Result<()> {
        let (expected, found) = (self.task.target_type(), data.targets().dtype());
        match expected.filter(|expected| *expected != found) {
            Some(expected) => Err(Error::Targets { expected, found }),
            None => Ok(()),
        }
    }

    /// Evaluates as [`evaluate`](Self::evaluate) does, during training: with the parameters for evaluation in place of
    /// the trained ones.
    fn evaluate_averages(&mut self, data: &Dataset) -> Result<Evaluation> {
        self.eval_mode()?;
        let evaluation = self.evaluate(data)?;
        self.train_mode()?;
        Ok(evaluation)
    }

    pub(crate) fn eval_mode(&mut self) -> Result<()> {
        match &mut self.average {
            Some(average) => average.swap_in(),
            None => self.stepper.eval(),
        }
    }

    fn train_mode(&mut self) -> Result<()> {
        self.average.as_mut().map_or(Ok(()), |average| average.swap_out())?;
        self.stepper.train()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mlp, MlpConfig, Mse, Optimizer, ParamsBuilder, Sgd};

    #[test]
    fn training_that_diverges_is_an_error() {
        let device = Device::cpu();
        let data = Dataset::regression(&device, &[1.0, 2.0, 3.0, 4.0], 1, &[1.0, -1.0, 2.0, 5.0]).unwrap();
        let fit = |lr: f64, epochs: u64| {
            let mut builder = ParamsBuilder::new(0);
            let hidden = vec![4];
            let config = MlpConfig { inputs: 1, hidden, outputs: 1, activation: crate::Activation::Relu, dropout: 0.0 };
            let model = Mlp::new(&mut builder, &config).unwrap();
            let params = builder.build(&device).unwrap();
            let optimizer = Optimizer::new(&params, Sgd::new(), lr).unwrap();
            let options = FitOptions { epochs, batch_size: 4, seed: 0 };
            Trainer::new(model, optimizer, Mse).fit(&data, None, &options, |_| ())
        };
        assert!(fit(1e-3, 3).is_ok());
        // The first loss is finite, and the result of its update is not.
        for epochs in [1, 9] {
            assert!(matches!(fit(1e30, epochs), Err(Error::Diverged { epoch: 1 | 2 })));
        }
    }
}
