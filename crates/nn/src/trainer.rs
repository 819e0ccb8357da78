//! [`Trainer`]: the loop.

use std::path::{Path, PathBuf};
use std::time::Instant;

use thalweg_autograd::Tape;
use thalweg_tensor::{Counters, DType, PendingClock, PendingRead, Recording, Tensor, ValueLog};

use crate::data::{Batches, Dataset};
use crate::portions::rows_at_once;
use crate::training_state::{self, Place};
use crate::{CheckpointTensor, Error, Loss, Module, Optimizer, Result};

/// Steps that a replay does at once, so that they share one submission.
const STEPS_AT_ONCE: u64 = 8;

/// Steps between two looks at the losses, or at the clock, at least.
const STEPS_BETWEEN_READS: u64 = 64;

/// How long and in what portions to train. There is no default: what is enough depends on the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FitOptions {
    /// Times through the data; at least 1.
    pub epochs: u64,
    /// Rows of a step, at least 1; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// The seed of the order of rows, which is shuffled anew every epoch.
    pub seed: u64,
}

impl FitOptions {
    /// Steps of one epoch over so many rows.
    #[must_use]
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        rows.div_ceil(self.batch_size.max(1)) as u64
    }

    fn validate(&self) -> Result<()> {
        for (field, value) in [("epochs", self.epochs), ("batch_size", self.batch_size as u64)] {
            if value == 0 {
                return Err(Error::Setting { field, value: "0".to_string(), rule: "at least 1" });
            }
        }
        Ok(())
    }
}

/// What [`Trainer::fit`] tells on its way.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step, or several, have been handed to the device.
    Step {
        /// Steps so far.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
    },
    /// Losses of some steps have arrived from the device, each once and in order: during an epoch some steps late, since
    /// nothing waits for them, and the last ones at its end.
    Losses {
        /// The first of the steps, counted from 1.
        first_step: u64,
        /// The loss of each.
        losses: &'a [f32],
    },
    /// An epoch has ended.
    Epoch(&'a EpochReport),
}

/// What an epoch came to.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct EpochReport {
    /// Counted from 1.
    pub epoch: u64,
    /// The mean loss over the rows of the epoch, each as its step saw it: under dropout, and before the update.
    pub train_loss: f64,
    /// The test rows after the epoch; `None` where there are none.
    pub test: Option<Evaluation>,
    /// The mean over the steps of the gradients' norm before clipping: of the one that they are clipped by, else of the global
    /// 2-norm; 0 where none is taken.
    pub gradient_norm: f64,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// Steps skipped so far, because the norm of the gradients was not finite.
    pub skipped: u32,
    /// Steps so far whose gradients were clipped.
    pub clipped: u32,
}

/// How well a model does on some data.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The mean loss: in nats for a cross-entropy, in the square of the targets' unit for a squared error.
    pub loss: f64,
    /// The share, from 0 to 1, of rows whose largest logit is their class's; of a classification.
    pub accuracy: Option<f64>,
    /// 1 - Σ (y - ŷ)² / Σ (y - ȳ)², the coefficient of determination, averaged over the targets; of a regression whose
    /// targets vary. It does not change when targets are standardised.
    pub r2: Option<f64>,
}

/// A whole run. Of one that was [resumed](Trainer::resume), `epochs` has those before, too; the rest is of what was done
/// since.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// All epochs.
    pub epochs: Vec<EpochReport>,
    /// The training rows after the last epoch.
    pub train: Evaluation,
    /// Steps that were run.
    pub steps: u64,
    /// What the steps asked of the device, reports between epochs left out: of no other work at the same time.
    pub counters: Counters,
    /// Seconds from the first step to the last report.
    pub seconds: f64,
}

/// A model, its optimizer and its loss: the loop ready-made.
///
/// A step gathers a batch on the device, runs the model forward and back on a fresh tape, updates all parameters and
/// keeps the loss on the device.
///
/// ```
/// use thalweg_nn::data::{Dataset, friedman1};
/// use thalweg_nn::{Activation, Adam, FitOptions, Mlp, MlpConfig, Mse, Optimizer, ParamsBuilder, Trainer};
/// use thalweg_tensor::Device;
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let (features, mut targets) = friedman1(200, 1.0, 0);
/// targets.iter_mut().for_each(|y| *y = (*y - 14.0) / 5.0);
/// let data = Dataset::regression(&device, &features, 10, &targets)?;
///
/// let mut builder = ParamsBuilder::new(0);
/// let config = MlpConfig { inputs: 10, hidden: vec![32], outputs: 1, activation: Activation::Tanh, ..Default::default() };
/// let model = Mlp::new(&mut builder, &config)?;
/// let params = builder.build(&device)?;
/// let optimizer = Optimizer::new(&params, Adam { lr: 0.03, ..Adam::default() })?;
/// let mut trainer = Trainer::new(model, optimizer, Mse);
/// let history = trainer.fit(&data, None, &FitOptions { epochs: 100, batch_size: 32, seed: 0 }, |_| ())?;
/// assert!(history.train.r2.unwrap() > 0.8);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Trainer<M> {
    model: M,
    optimizer: Optimizer,
    loss: Box<dyn Loss>,
    recording: bool,
    /// The file, and the epochs from one writing of it to the next.
    checkpoints: Option<(PathBuf, u64)>,
    resumed: Option<Resumed>,
    note: Option<serde_json::Value>,
}

/// What a file has said of a run.
#[derive(Debug)]
struct Resumed {
    path: PathBuf,
    place: Place,
    history: Vec<EpochReport>,
}

impl<M: Module> Trainer<M> {
    /// Puts the parts together. The optimizer must hold the model's parameters.
    #[must_use]
    pub fn new(model: M, optimizer: Optimizer, loss: impl Loss + 'static) -> Self {
        let loss = Box::new(loss);
        Self { model, optimizer, loss, recording: true, checkpoints: None, resumed: None, note: None }
    }

    /// Whether [`fit`](Self::fit) records a step once and replays it, which it does unless told otherwise. The bits are
    /// the same either way. A model whose forward pass depends on the host (it reads back, or draws random numbers there)
    /// needs every step done anew.
    #[must_use]
    pub fn with_recording(mut self, recording: bool) -> Self {
        self.recording = recording;
        self
    }

    /// Lets [`fit`](Self::fit) write a checkpoint after every so many epochs, and after the last one, each time over the
    /// one before, whole or not at all: all that [`resume`](Self::resume) needs to go on to the bit.
    ///
    /// The file is a [`Checkpoint`](crate::Checkpoint): the parameters under their own names, the state of the optimizer as
    /// [`Optimizer::state_dict`] has it, the reports so far as lists (`history.train_loss`, `history.test_loss`, …, F64
    /// `[epochs]`), and in the metadata the object `training`: epochs done, the options, the loss and [`Module::settings`], a checksum of the training rows,
    /// the counters of random numbers.
    ///
    /// # Errors
    /// [`Error::Setting`] where the number of epochs is 0; what [`check_writable`](crate::check_writable) says of the file.
    pub fn set_checkpoints(&mut self, path: impl Into<PathBuf>, every_epochs: u64) -> Result<()> {
        let path = path.into();
        if every_epochs == 0 {
            return Err(Error::Setting { field: "checkpoint_every", value: "0".to_string(), rule: "at least 1" });
        }
        crate::check_writable(&path)?;
        self.checkpoints = Some((path, every_epochs));
        Ok(())
    }

    /// Sets a note that each checkpoint keeps and [`Checkpoint::note`](crate::Checkpoint::note) returns, such as the settings
    /// that a program was started with.
    pub fn set_note(&mut self, note: serde_json::Value) {
        self.note = Some(note);
    }

    /// Puts a checkpoint in the place of parameters, optimizer and random numbers; the next [`fit`](Self::fit) goes on
    /// behind its last epoch, to the bits of a run that was never stopped. Model, optimizer, data and options must be those of
    /// that run. Returns how many epochs it has done.
    ///
    /// ```
    /// use thalweg_nn::data::Dataset;
    /// use thalweg_nn::{AdamW, FitOptions, Linear, Mse, Optimizer, ParamsBuilder, Trainer};
    /// use thalweg_tensor::Device;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("run.safetensors");
    /// let data = Dataset::regression(&Device::cpu(), &[1.0, 2.0, 3.0], 1, &[2.0, 4.0, 6.0])?;
    /// let options = FitOptions { epochs: 4, batch_size: 2, seed: 0 };
    /// let trainer = || -> thalweg_nn::Result<_> {
    ///     let mut builder = ParamsBuilder::new(0);
    ///     let model = Linear::new(&mut builder, "line", 1, 1)?;
    ///     let optimizer = Optimizer::new(&builder.build(&Device::cpu())?, AdamW::default())?;
    ///     Ok(Trainer::new(model, optimizer, Mse))
    /// };
    /// let mut first = trainer()?;
    /// first.set_checkpoints(&path, 2)?;
    /// first.fit(&data, None, &options, |_| ())?;
    ///
    /// let mut again = trainer()?;
    /// assert_eq!(again.resume(&path)?, 4);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read; [`Error::Model`] where it is no checkpoint of such a run, with the name of
    /// the tensor or the setting. Nothing is changed then.
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<u64> {
        let path = path.as_ref().to_path_buf();
        let (place, history) = training_state::load(&path, &self.settings(), &mut self.optimizer)?;
        let epochs = place.epochs_done;
        self.resumed = Some(Resumed { path, place, history });
        Ok(epochs)
    }

    /// What a run must be the same by, beside its parameters.
    fn settings(&self) -> String {
        format!("{:?}, {}", self.loss, self.model.settings())
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The optimizer.
    #[must_use]
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The optimizer, to change its settings between runs.
    pub fn optimizer_mut(&mut self) -> &mut Optimizer {
        &mut self.optimizer
    }

    /// Gives the parts back.
    #[must_use]
    pub fn into_parts(self) -> (M, Optimizer) {
        (self.model, self.optimizer)
    }

    /// Trains for some epochs. Rows come in an order that is shuffled anew every epoch; nothing waits for the device
    /// between two reports, at the end of each epoch. `observe` hears of the steps, some at a time, and of every epoch.
    ///
    /// Called again it goes on with the weights, the state of the optimizer and its clock, and so with what is left of
    /// its schedule; orders of rows and reports begin anew.
    ///
    /// Test rows are evaluated with the parameters that [`Optimizer::eval`] puts in place, and these stand there when the run
    /// has ended: save the model as it is. Another run goes on from those that are trained.
    ///
    /// The second step is recorded and then replayed, several times in one submission; the last batch of an epoch, where
    /// it is shorter, is done anew. Where the method goes by the Hessian's diagonal, the steps that estimate it are a
    /// recording of their own.
    ///
    /// # Errors
    /// [`Error::Setting`] where an option is 0; [`Error::Tensor`] where the data do not fit the model or the loss, lie on
    /// another device, or the device fails, or a gradient is not finite and that is to be an error
    /// ([`NonFinite::Error`](crate::NonFinite::Error)); [`Error::Diverged`] where no loss of an epoch is finite, or at the end the
    /// parameters or the losses of most rows are not, or most steps were skipped; [`Error::Model`] where a resumed run was of other data or options;
    /// [`Error::Io`] where a checkpoint cannot be written.
    pub fn fit(
        &mut self,
        train: &Dataset,
        test: Option<&Dataset>,
        options: &FitOptions,
        mut observe: impl FnMut(Event<'_>),
    ) -> Result<History> {
        options.validate()?;
        let device = train.device().clone();
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
        let (mut history, first_epoch) =
            self.resumed.take().map_or((Vec::new(), 0), |resumed| (resumed.history, resumed.place.epochs_done));
        self.optimizer.train()?;
        let losses = ValueLog::new(&device, steps_per_epoch as usize)?;
        let mut batches = Batches::new(train.clone(), options.seed)?;
        let full_steps = (train.len() / options.batch_size) as u64;
        // A step by itself, and one with an estimate of the Hessian's diagonal behind it.
        let mut recorded: [Option<Recording>; 2] = [None, None];
        let mut is_first_step = true;
        let mut counters = Counters::default();
        let mut clock = self.optimizer.read_clock()?;
        let first_step = u64::from(clock.step) + u64::from(clock.skipped);
        let skipped_before = clock.skipped;
        let start = Instant::now();
        for epoch in first_epoch..options.epochs {
            let _span = tracing::debug_span!("epoch", epoch = epoch + 1).entered();
            batches.start_epoch(epoch)?;
            self.optimizer.restart_gradient_norm_sum()?;
            let before = device.counters();
            let mut arriving = Arriving::default();
            let mut watch = self.optimizer.refuses_non_finite().then(Watch::default);
            let mut step = 0;
            while step < steps_per_epoch {
                let rows = batch_length(train.len(), options.batch_size, step);
                let full_left = full_steps - step.min(full_steps);
                let until_estimate = self.until_estimate(first_step + (epoch - first_epoch) * steps_per_epoch + step);
                let estimates = until_estimate == 0;
                let done = match &recorded[usize::from(estimates)] {
                    // A batch of another length is another work.
                    _ if rows < options.batch_size => {
                        self.step(&mut batches, rows, &losses, estimates)?;
                        1
                    }
                    Some(recording) => {
                        let times = full_left.min(STEPS_AT_ONCE).min(until_estimate.max(1));
                        recording.replay(times as usize)?;
                        times
                    }
                    // The first step makes what steps keep: kernels, state.
                    None if self.recording && !is_first_step => {
                        let (recording, ()) = device.record(|| self.step(&mut batches, rows, &losses, estimates))?;
                        recorded[usize::from(estimates)] = Some(recording);
                        1
                    }
                    None => {
                        self.step(&mut batches, rows, &losses, estimates)?;
                        1
                    }
                };
                step += done;
                is_first_step = false;
                observe(Event::Step { step: epoch * steps_per_epoch + step, steps });
                if let Some(arrived) = arriving.next(&losses, step)? {
                    let first_step = epoch * steps_per_epoch + arriving.seen - arrived.len() as u64 + 1;
                    observe(Event::Losses { first_step, losses: &arrived });
                }
                if let Some(watch) = &mut watch {
                    watch.look(&self.optimizer, step)?;
                }
            }
            device.flush()?;
            counters = counters + (device.counters() - before);

            let losses = losses.take()?;
            let rest = &losses[arriving.seen as usize..];
            if !rest.is_empty() {
                observe(Event::Losses { first_step: epoch * steps_per_epoch + arriving.seen + 1, losses: rest });
            }
            // Such parameters do not recover, so that further epochs would be in vain.
            if !losses.iter().any(|loss| loss.is_finite()) {
                return Err(Error::Diverged { epoch: epoch + 1 });
            }
            let lengths = (0..steps_per_epoch).map(|step| batch_length(train.len(), options.batch_size, step));
            let sum: f64 = losses.iter().zip(lengths).map(|(&loss, rows)| f64::from(loss) * rows as f64).sum();
            let now = self.optimizer.read_clock()?;
            let updates = f64::from(now.step - clock.step).max(1.0);
            let report = EpochReport {
                epoch: epoch + 1,
                train_loss: sum / train.len() as f64,
                test: test.map(|test| self.evaluate_averages(test)).transpose()?,
                gradient_norm: f64::from(now.gradient_norm_sum) / updates,
                lr: f64::from(now.learning_rate),
                skipped: now.skipped,
                clipped: now.clipped,
            };
            clock = now;
            observe(Event::Epoch(&report));
            history.push(report);
            if let (Some((path, every)), Some(place)) = (&self.checkpoints, &place)
                && ((epoch + 1).is_multiple_of(*every) || epoch + 1 == options.epochs)
            {
                training_state::save(path, &place.after(epoch + 1), self.note.as_ref(), &self.optimizer, &history)?;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        self.optimizer.eval()?;
        let (train, finite_rows) = self.evaluate_rows(train)?;
        // A ReLU may turn NaN into 0, so losses alone do not tell; nor do single rows that hold NaN themselves.
        let finite = self.optimizer.params().to_host()?.iter().all(CheckpointTensor::is_finite);
        let skipped = u64::from(clock.skipped - skipped_before);
        let steps = steps - first_epoch * steps_per_epoch;
        // Skipped steps are also how the scale of a loss is found.
        let is_search = clock.loss_scale.is_some() && skipped < steps;
        if !finite || finite_rows < 0.5 || (2 * skipped > steps && !is_search) {
            return Err(Error::Diverged { epoch: options.epochs });
        }
        Ok(History { epochs: history, train, steps, counters, seconds })
    }

    /// Steps from this one, counted from 0, to the next behind which the Hessian's diagonal is estimated; 0 where it is this.
    pub(crate) fn until_estimate(&self, step: u64) -> u64 {
        self.optimizer.hessian_interval().map_or(u64::MAX, |interval| (interval - step % interval) % interval)
    }

    /// One step: gather, forward, backward, update; and where it estimates the Hessian's diagonal, forward and backward
    /// once more. All of it is handed to the device and none of it waited for.
    pub(crate) fn step(
        &mut self,
        batches: &mut Batches,
        rows: usize,
        losses: &ValueLog,
        estimates: bool,
    ) -> Result<()> {
        let (features, targets) = batches.next(rows)?;
        let tape = Tape::new();
        let output = self.model.forward(tape.constant(&features))?;
        let loss = self.loss.of_logged(output, &targets, Some(losses))?;
        self.optimizer.params().zero_grad();
        tape.backward_and_free(self.optimizer.scale_loss(loss)?)?;
        self.optimizer.step()?;
        if estimates {
            let tape = Tape::new();
            self.optimizer.estimate_hessian(self.model.forward(tape.constant(&features))?, &*self.loss)?;
        }
        Ok(())
    }

    /// Holds the model against some data, as at prediction (no dropout). Waits for the device.
    ///
    /// # Errors
    /// [`Error::Tensor`] where the data do not fit the model or the loss, or the device fails.
    pub fn evaluate(&self, data: &Dataset) -> Result<Evaluation> {
        Ok(self.evaluate_rows(data)?.0)
    }

    /// As [`evaluate`](Self::evaluate), in the midst of training: with the parameters that are evaluated in the place of
    /// those that are trained.
    fn evaluate_averages(&mut self, data: &Dataset) -> Result<Evaluation> {
        self.optimizer.eval()?;
        let evaluation = self.evaluate(data)?;
        self.optimizer.train()?;
        Ok(evaluation)
    }

    /// As [`evaluate`](Self::evaluate), with the share of the losses that are finite.
    fn evaluate_rows(&self, data: &Dataset) -> Result<(Evaluation, f64)> {
        let parameters = self.model.parameters();
        let widths = parameters.iter().flat_map(|parameter| parameter.shape().iter().copied());
        let at_once = rows_at_once(data.device(), widths.chain([data.feature_count()]));
        let (mut losses, mut predictions) = (Vec::new(), Vec::new());
        for start in (0..data.len()).step_by(at_once) {
            let end = (start + at_once).min(data.len());
            let tape = Tape::inference();
            let output = self.model.forward(tape.constant(&data.features().slice(0, start, end)?))?;
            let targets = tape.constant(&data.targets().slice(0, start, end)?);
            let of_rows = self.loss.per_row(output, targets)?.value();
            losses.push(of_rows.reshape(&[of_rows.len()])?);
            // What is kept is no larger than the targets.
            let output = output.value();
            predictions.push(if data.targets().dtype() == DType::U32 { output.argmax()? } else { output });
        }
        let losses = Tensor::concatenate(&losses)?.to_vec::<f32>()?;
        let loss = mean(&losses);
        let finite = losses.iter().filter(|loss| loss.is_finite()).count() as f64 / losses.len() as f64;
        let predicted = Tensor::concatenate(&predictions)?;
        let evaluation = match data.targets().dtype() {
            DType::U32 => {
                let (predicted, expected) = (predicted.to_vec::<u32>()?, data.targets().to_vec::<u32>()?);
                let right = predicted.iter().zip(&expected).filter(|(p, e)| p == e).count();
                Evaluation { loss, accuracy: Some(right as f64 / expected.len() as f64), r2: None }
            }
            DType::F32 => {
                let columns = predicted.shape()[1];
                let (predicted, expected) = (predicted.to_vec::<f32>()?, data.targets().to_vec::<f32>()?);
                Evaluation { loss, accuracy: None, r2: r2(&predicted, &expected, columns) }
            }
        };
        Ok((evaluation, finite))
    }
}

/// The losses of an epoch on their way to the host, of which it has seen some.
#[derive(Debug, Default)]
struct Arriving {
    seen: u64,
    pending: Option<PendingRead<f32>>,
}

impl Arriving {
    /// Losses that have arrived. Asks for those of the steps so far where none are on their way.
    fn next(&mut self, log: &ValueLog, step: u64) -> Result<Option<Vec<f32>>> {
        if let Some(pending) = &mut self.pending {
            let arrived = pending.poll()?;
            if let Some(losses) = &arrived {
                self.seen += losses.len() as u64;
                self.pending = None;
            }
            return Ok(arrived);
        }
        if step >= self.seen + STEPS_BETWEEN_READS {
            self.pending = Some(log.read_later(self.seen as usize..step as usize)?);
        }
        Ok(None)
    }
}

/// Looks for steps that were skipped, where they are to be an error, without waiting for the device.
#[derive(Debug, Default)]
struct Watch {
    /// The step that was asked for last.
    asked: u64,
    pending: Option<PendingClock>,
}

impl Watch {
    fn look(&mut self, optimizer: &Optimizer, step: u64) -> Result<()> {
        if let Some(pending) = &mut self.pending {
            if pending.poll()?.is_some() {
                self.pending = None;
            }
        } else if step >= self.asked + STEPS_BETWEEN_READS {
            self.asked = step;
            self.pending = Some(optimizer.read_clock_later()?);
        }
        Ok(())
    }
}

/// Rows of a step of an epoch: the last one takes what is left.
fn batch_length(rows: usize, batch_size: usize, step: u64) -> usize {
    batch_size.min(rows - step as usize * batch_size)
}

fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64
}

/// The coefficient of determination, averaged over the columns; none where a column of targets is constant.
fn r2(predicted: &[f32], expected: &[f32], columns: usize) -> Option<f64> {
    let of_column = |column: usize| {
        let pairs = || predicted.iter().zip(expected).skip(column).step_by(columns);
        let mean = pairs().map(|(_, &y)| f64::from(y)).sum::<f64>() / pairs().count() as f64;
        let residual: f64 = pairs().map(|(&p, &y)| (f64::from(y) - f64::from(p)).powi(2)).sum();
        let total: f64 = pairs().map(|(_, &y)| (f64::from(y) - mean).powi(2)).sum();
        (total > 0.0).then(|| 1.0 - residual / total)
    };
    let each = (0..columns).map(of_column).collect::<Option<Vec<f64>>>()?;
    Some(each.iter().sum::<f64>() / columns as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_batch_takes_what_is_left() {
        let options = FitOptions { epochs: 1, batch_size: 64, seed: 0 };
        let lengths: Vec<usize> =
            (0..options.steps_per_epoch(150)).map(|step| batch_length(150, options.batch_size, step)).collect();
        assert_eq!(lengths, [64, 64, 22]);
        assert!(FitOptions { batch_size: 0, ..options }.validate().is_err());
    }

    #[test]
    fn training_that_diverges_is_an_error() {
        use crate::{Mlp, MlpConfig, Mse, ParamsBuilder, Sgd};
        use thalweg_tensor::Device;

        let device = Device::cpu();
        let data = Dataset::regression(&device, &[1.0, 2.0, 3.0, 4.0], 1, &[1.0, -1.0, 2.0, 5.0]).unwrap();
        let fit = |lr: f64, epochs: u64| {
            let mut builder = ParamsBuilder::new(0);
            let hidden = vec![4];
            let config = MlpConfig { inputs: 1, hidden, outputs: 1, activation: crate::Activation::Relu, dropout: 0.0 };
            let model = Mlp::new(&mut builder, &config).unwrap();
            let params = builder.build(&device).unwrap();
            let optimizer = Optimizer::new(&params, Sgd { lr, ..Sgd::default() }).unwrap();
            let options = FitOptions { epochs, batch_size: 4, seed: 0 };
            Trainer::new(model, optimizer, Mse).fit(&data, None, &options, |_| ())
        };
        assert!(fit(1e-3, 3).is_ok());
        // The first loss is finite, and what comes of its update is not.
        for epochs in [1, 9] {
            assert!(matches!(fit(1e30, epochs), Err(Error::Diverged { epoch: 1 | 2 })));
        }
    }

    #[test]
    fn r2_is_one_for_the_truth_and_zero_for_the_mean() {
        assert_eq!(r2(&[1.0, 2.0, 6.0], &[1.0, 2.0, 6.0], 1), Some(1.0));
        assert_eq!(r2(&[3.0; 3], &[1.0, 2.0, 6.0], 1), Some(0.0));
        assert_eq!(r2(&[3.0], &[1.0], 1), None);
    }
}
