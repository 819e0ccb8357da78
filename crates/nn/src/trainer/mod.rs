//! [`Trainer`]: a ready-made training loop.

mod arriving;
mod beside;
mod check;
mod evaluate;
mod events;
mod fit;
mod record;
mod state;
mod step;

use std::fmt;
use std::path::{Path, PathBuf};

use thalweg_autograd::Var;
use thalweg_tensor::{Averaging, DType, ScheduleTable};

use crate::data::Batch;
use crate::optim::Stepper;
use crate::schedule::ReduceOnPlateau;
use crate::{Error, Loss, Module, Optimizer, Parts, Result, WeightAverage};

use beside::Plateau;
use check::check_parts;
use state::Place;
use step::{Custom, Supervised, Task};

pub use evaluate::Evaluation;
pub use events::{EpochReport, Event, FitOptions, Flow, History};
pub use step::Context;

/// A model, its optimizer and its loss, with a ready-made training loop.
///
/// A step gathers a batch on the device, runs the model forward and backward on a fresh tape, updates all parameters
/// and keeps the loss on the device.
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
/// let optimizer = Optimizer::new(&params, Adam::new(), 0.03)?;
/// let mut trainer = Trainer::new(model, optimizer, Mse);
/// let history = trainer.fit(&data, None, &FitOptions { epochs: 100, batch_size: 32, seed: 0 }, |_| ())?;
/// assert!(history.train.r2.unwrap() > 0.8);
/// # Ok(())
/// # }
/// ```
///
/// The second type takes the steps: an [`Optimizer`], or a wrapper around one, such as [`Sam`](crate::Sam),
/// [`Lookahead`](crate::Lookahead) or [`GradientAccumulation`](crate::GradientAccumulation), which you pass instead of
/// the optimizer.
pub struct Trainer<M, S = Optimizer> {
    model: M,
    pub(crate) stepper: S,
    task: Box<dyn Task<M> + Send>,
    pub(crate) average: Option<WeightAverage>,
    plateau: Option<Plateau>,
    recording: bool,
    /// Whether tapes search for the first value that is not finite.
    detects_anomalies: bool,
    autocast: Option<DType>,
    /// The largest class of the current data.
    largest_class: Option<u32>,
    /// The file, and the number of epochs between checkpoints.
    checkpoints: Option<(PathBuf, u64)>,
    resumed: Option<Resumed>,
    note: Option<serde_json::Value>,
}

/// The content of the file of a run.
#[derive(Debug)]
struct Resumed {
    path: PathBuf,
    place: Place,
    history: Vec<EpochReport>,
    /// The optimizer's own schedule and the one of the file, if they differ.
    schedules: Option<Box<[ScheduleTable; 2]>>,
}

impl<M: Module, S: Stepper> Trainer<M, S> {
    /// Makes a trainer that minimises a loss between the module's output and the targets. The optimizer must hold the
    /// parameters of the model, which [`fit`](Self::fit) checks.
    #[must_use]
    pub fn new(model: M, optimizer: S, loss: impl Loss + 'static) -> Self {
        Self::with_forward(model, optimizer, loss, |context, inputs| match inputs {
            [input] => context.model().forward(*input),
            _ => Err(Error::Inputs { expected: 1, found: inputs.len() }.into()),
        })
    }
}

impl<M: Parts, S: Stepper> Trainer<M, S> {
    /// Makes a trainer as [`new`](Self::new), for a model with its own forward pass: a closure that computes the output
    /// from the inputs of the data set, as variables. It may call anything; see [`with_step`](Self::with_step) for the
    /// rules of a recorded step.
    ///
    /// ```
    /// use thalweg_autograd::{Result, Var};
    /// use thalweg_nn::{Error, Linear, Module, Mse, Optimizer, ParamsBuilder, Sgd, Trainer, parts};
    /// use thalweg_tensor::Device;
    ///
    /// /// Compares two inputs by one layer.
    /// struct Twin {
    ///     layer: Linear,
    /// }
    ///
    /// parts!(Twin { layer });
    ///
    /// impl Twin {
    ///     fn forward<'t>(&self, left: Var<'t>, right: Var<'t>) -> Result<Var<'t>> {
    ///         self.layer.forward(left)?.sub(self.layer.forward(right)?)
    ///     }
    /// }
    ///
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let mut builder = ParamsBuilder::new(0);
    /// let model = Twin { layer: Linear::new(&mut builder, "layer", 2, 1)? };
    /// let optimizer = Optimizer::new(&builder.build(&Device::cpu())?, Sgd::new(), 0.01)?;
    /// let trainer = Trainer::with_forward(model, optimizer, Mse, |context, inputs| match inputs {
    ///     [left, right] => context.model().forward(*left, *right),
    ///     _ => Err(Error::Inputs { expected: 2, found: inputs.len() }.into()),
    /// });
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_forward<F>(model: M, optimizer: S, loss: impl Loss + 'static, forward: F) -> Self
    where
        F: for<'t> Fn(&Context<'t, M>, &[Var<'t>]) -> thalweg_autograd::Result<Var<'t>> + Send + 'static,
    {
        Self::of(model, optimizer, Box::new(Supervised { forward, loss: Box::new(loss) }))
    }

    /// Makes a trainer with a custom step: a closure that computes the loss of a batch, a variable with one element.
    /// Its [`Context`] has the tape and the model.
    ///
    /// The closure is recorded and replayed, so it must do the same work every time: it can neither read back nor
    /// depend on a counter of the host. [`evaluate`](Self::evaluate) calls it too, with portions of the data and a tape
    /// of inference, and takes the mean of their losses, weighted by the rows. A step needs one more launch than with
    /// [`new`](Self::new), to keep the loss.
    ///
    /// ```
    /// use thalweg_nn::data::Dataset;
    /// use thalweg_nn::{AdamW, FitOptions, Linear, Loss, Module, Mse, Optimizer, ParamsBuilder, Trainer};
    /// use thalweg_tensor::Device;
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let data = Dataset::regression(&Device::cpu(), &[1.0, 2.0, 3.0], 1, &[2.0, 4.0, 6.0])?;
    /// let mut builder = ParamsBuilder::new(0);
    /// let line = Linear::new(&mut builder, "line", 1, 1)?;
    /// let optimizer = Optimizer::new(&builder.build(&Device::cpu())?, AdamW::new(), 1e-3)?;
    ///
    /// // A squared error, and a penalty on the weight.
    /// let mut trainer = Trainer::with_step(line, optimizer, |context, batch| {
    ///     let line = context.model();
    ///     let error = Mse.of(line.forward(context.constant(&batch.inputs[0]))?, &batch.targets)?;
    ///     let penalty = context.tape().parameter(line.weight())?.square()?.sum()?;
    ///     error.add(penalty.affine(1e-3, 0.0)?)
    /// });
    /// trainer.fit(&data, None, &FitOptions { epochs: 10, batch_size: 3, seed: 0 }, |_| ())?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_step<F>(model: M, optimizer: S, step: F) -> Self
    where
        F: for<'t> Fn(&Context<'t, M>, &Batch) -> thalweg_autograd::Result<Var<'t>> + Send + 'static,
    {
        Self::of(model, optimizer, Box::new(Custom(step)))
    }

    fn of(model: M, stepper: S, task: Box<dyn Task<M> + Send>) -> Self {
        let (average, plateau, largest_class) = (None, None, None);
        let (checkpoints, resumed, note) = (None, None, None);
        let (recording, detects_anomalies, autocast) = (true, false, None);
        Self {
            model,
            stepper,
            task,
            average,
            plateau,
            recording,
            detects_anomalies,
            autocast,
            largest_class,
            checkpoints,
            resumed,
            note,
        }
    }

    /// Sets whether [`fit`](Self::fit) records a step and replays it, which it does by default. The bits are the same
    /// either way. Use `false` if the forward pass depends on the host: if it reads back, or draws random numbers
    /// there. Debug builds compare two steps before they replay one, and fail with [`Error::HostState`] if they differ;
    /// release builds do not.
    #[must_use]
    pub fn with_recording(mut self, recording: bool) -> Self {
        self.recording = recording;
        self
    }

    /// Sets whether [`fit`](Self::fit) searches for the first operation whose output or gradient is not finite. It then
    /// fails with the name of the operation and of its module: see
    /// [`Tape::detect_anomaly`](thalweg_autograd::Tape::detect_anomaly).
    ///
    /// Use it for runs that have diverged. Steps are not recorded, and each waits for the device after every operation;
    /// the bits are the same. Default false.
    ///
    /// ```
    /// use thalweg_nn::data::Dataset;
    /// use thalweg_nn::{FitOptions, Linear, Mse, Optimizer, ParamsBuilder, Sgd, Trainer};
    /// use thalweg_tensor::Device;
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let data = Dataset::regression(&Device::cpu(), &[1.0, 2.0], 1, &[2.0, 4.0])?;
    /// let mut builder = ParamsBuilder::new(0);
    /// let line = Linear::new(&mut builder, "line", 1, 1)?;
    /// let optimizer = Optimizer::new(&builder.build(&Device::cpu())?, Sgd::new(), 1e30)?;
    /// let mut trainer = Trainer::new(line, optimizer, Mse).with_anomaly_detection(true);
    /// let error = trainer.fit(&data, None, &FitOptions { epochs: 9, batch_size: 2, seed: 0 }, |_| ()).unwrap_err();
    /// assert!(error.to_string().contains(" is not finite: "));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_anomaly_detection(mut self, on: bool) -> Self {
        self.detects_anomalies = on;
        self
    }

    /// Sets the type, f16 or bf16, in which the matrix products, linear layers and convolutions of training steps store their
    /// operands and results: see [`Tape::autocast`](thalweg_autograd::Tape::autocast). The parameters stay f32, and so do
    /// their gradients, the loss, the state of the optimizer and evaluations. For f16 scale the loss
    /// ([`Optimizer::with_loss_scale`]). Default `None`: f32.
    ///
    /// # Errors
    /// [`fit`](Self::fit) returns an error for another type.
    #[must_use]
    pub fn with_autocast(mut self, dtype: Option<DType>) -> Self {
        self.autocast = dtype;
        self
    }

    /// Keeps a running average of the weights, updated after every step: see [`WeightAverage`]. Evaluations use the
    /// average, a run ends with it in place of the parameters, and checkpoints contain it. It takes one launch per
    /// step.
    ///
    /// # Errors
    /// [`Error::Setting`] if the decay is not in [0, 1); if the device has no room.
    pub fn with_average(mut self, averaging: Averaging) -> Result<Self> {
        self.average = Some(WeightAverage::new(self.optimizer().params(), averaging)?);
        Ok(self)
    }

    /// Makes the learning rate follow a metric of the epochs' reports, such as
    /// `|report| report.test.map_or(report.train_loss, |test| test.loss)`. It begins with the rate of this schedule,
    /// which replaces any other. Checkpoints contain its state.
    ///
    /// # Errors
    /// Same as [`Optimizer::set_rate`].
    pub fn with_plateau(
        mut self,
        schedule: ReduceOnPlateau,
        metric: impl Fn(&EpochReport) -> f64 + Send + 'static,
    ) -> Result<Self> {
        self.optimizer_mut().set_rate(schedule.lr())?;
        self.plateau = Some(Plateau::new(schedule, metric));
        Ok(self)
    }

    /// Makes [`fit`](Self::fit) write a checkpoint after every `every_epochs` epochs and after the last one. Each
    /// replaces the one before, whole or not at all. It has everything that [`resume`](Self::resume) needs to continue
    /// to the bit.
    ///
    /// The file is a [`Checkpoint`](crate::Checkpoint). It has the parameters under their own names, the state of the
    /// optimizer as in [`Optimizer::state_dict`], and the reports so far as lists (`history.train_loss`,
    /// `history.test_loss`, …, F64 `[epochs]`). The object `training` in the metadata has the epochs done, the options,
    /// the loss, [`Parts::settings`](crate::Parts::settings), a checksum of the training rows, and the counters of
    /// random numbers.
    ///
    /// # Errors
    /// [`Error::Setting`] if the number of epochs is 0. Otherwise the same as
    /// [`check_writable`](crate::check_writable).
    pub fn set_checkpoints(&mut self, path: impl Into<PathBuf>, every_epochs: u64) -> Result<()> {
        let path = path.into();
        if every_epochs == 0 {
            return Err(Error::Setting { field: "checkpoint_every", value: "0".to_string(), rule: "at least 1" });
        }
        crate::check_writable(&path)?;
        self.checkpoints = Some((path, every_epochs));
        Ok(())
    }

    /// Sets a note that each checkpoint keeps and [`Checkpoint::note`](crate::Checkpoint::note) returns, such as the
    /// settings of a program.
    pub fn set_note(&mut self, note: serde_json::Value) {
        self.note = Some(note);
    }

    /// Restores parameters, optimizer and random numbers from a checkpoint. The next [`fit`](Self::fit) continues after
    /// its last epoch, to the bits of an uninterrupted run. Model, optimizer, data and options must be those of that
    /// run; only the number of epochs may differ. Returns the number of epochs done.
    ///
    /// # Other numbers of epochs
    /// [`fit`](Self::fit) may make the run longer than planned, or shorter. From the current step on, the schedule is
    /// then the one that the optimizer had before this call, unless the optimizer gets another one before `fit`. Plan
    /// it for the new length. Completed steps do not change, so the rate jumps where the two curves differ. A schedule
    /// that does not depend on the length gives the bits of a run that was planned with the new length.
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
    ///     let optimizer = Optimizer::new(&builder.build(&Device::cpu())?, AdamW::new(), 1e-3)?;
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
    /// [`Error::Io`] if the file cannot be read; [`Error::Model`] if it is no checkpoint of such a run, with the name of the
    /// tensor or the setting; [`Error::State`] as in [`fit`](Self::fit). Nothing is changed then.
    pub fn resume(&mut self, path: impl AsRef<Path>) -> Result<u64> {
        check_parts(&self.model, self.optimizer().params())?;
        let path = path.as_ref().to_path_buf();
        let own = self.optimizer().schedule().clone();
        let (place, history) = self.load(&path)?;
        let epochs = place.epochs_done;
        let saved = self.optimizer().schedule();
        let schedules = (own != *saved).then(|| Box::new([own, saved.clone()]));
        self.resumed = Some(Resumed { path, place, history, schedules });
        Ok(epochs)
    }

    /// Returns the settings that a resumed run must share, besides the parameters.
    fn settings(&self) -> String {
        let mut text = self.task.settings(&self.model);
        let wrapper = self.stepper.wrapper();
        if !wrapper.is_empty() {
            text += &format!(", {wrapper}");
        }
        if let Some(average) = &self.average {
            text += &format!(", average {:?}", average.averaging());
        }
        if self.plateau.is_some() {
            text += ", reduce on plateau";
        }
        if let Some(dtype) = self.autocast {
            text += &format!(", autocast {dtype}");
        }
        text
    }
}

impl<M, S: Stepper> Trainer<M, S> {
    /// Returns the model.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Returns the optimizer.
    #[must_use]
    pub fn optimizer(&self) -> &Optimizer {
        self.stepper.optimizer()
    }

    /// Returns the optimizer, to change its settings between runs.
    pub fn optimizer_mut(&mut self) -> &mut Optimizer {
        self.stepper.optimizer_mut()
    }

    /// Returns the running average of the weights, if [`with_average`](Self::with_average) has set one.
    #[must_use]
    pub fn average(&self) -> Option<&WeightAverage> {
        self.average.as_ref()
    }

    /// Returns the schedule of [`with_plateau`](Self::with_plateau), if there is one.
    #[must_use]
    pub fn plateau(&self) -> Option<&ReduceOnPlateau> {
        self.plateau.as_ref().map(Plateau::schedule)
    }

    /// Returns the model and the optimizer or wrapper.
    #[must_use]
    pub fn into_parts(self) -> (M, S) {
        (self.model, self.stepper)
    }

    /// Returns the number of steps from this one, counted from 0, to the next estimate of the Hessian's diagonal; 0 if
    /// this step estimates it.
    pub(crate) fn until_estimate(&self, step: u64) -> u64 {
        self.optimizer().hessian_interval().map_or(u64::MAX, |interval| (interval - step % interval) % interval)
    }
}

impl<M: fmt::Debug, S: fmt::Debug> fmt::Debug for Trainer<M, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { model, stepper, average, plateau, recording, .. } = self;
        let mut text = f.debug_struct("Trainer");
        text.field("model", model).field("optimizer", stepper).field("average", average).field("plateau", plateau);
        text.field("recording", recording).finish_non_exhaustive()
    }
}
