//! Losses: the number that training minimises. Each has a file and a row of [`LOSSES`]; [`Loss`] is the interface,
//! which other crates can implement.

mod absolute;
mod cross_entropy;
mod focal;
mod huber;
mod likelihoods;
mod mse;

use std::fmt;

use thalweg_autograd::Var;
use thalweg_tensor::{Clock, DType, Error as TensorError, Tensor, ValueLog};

use crate::{Error, Result};

pub use absolute::{L1, Quantile, SmoothL1};
pub use cross_entropy::{CrossEntropy, CrossEntropyWith};
pub use focal::Focal;
pub use huber::Huber;
pub use likelihoods::{BceWithLogits, GaussianNll, PoissonNll};
pub use mse::Mse;

/// All losses, in the order of the program's help. The first one of each target type is the default.
pub static LOSSES: &[LossEntry] = &[
    row("mse", "The mean squared error of numbers", || Box::new(Mse)),
    row("huber", "Huber's loss of numbers: squared near the target, linear from a distance of 1 on", || {
        Box::new(Huber::new())
    }),
    row("l1", "The mean absolute error of numbers", || Box::new(L1)),
    row("smooth-l1", "The absolute error of numbers, squared up to a distance of 1", || Box::new(SmoothL1::new())),
    row("quantile", "The loss whose smallest mean is at a quantile, the median by default", || {
        Box::new(Quantile::new())
    }),
    row("cross-entropy", "The cross-entropy of classes", || Box::new(CrossEntropy)),
    row("focal", "The cross-entropy of classes, less of those that are nearly certain", || Box::new(Focal::new())),
];

/// A loss with its default settings, by name: a row of [`LOSSES`].
///
/// ```
/// use thalweg_nn::LossEntry;
/// use thalweg_tensor::DType;
/// assert_eq!(LossEntry::find("mse").unwrap().loss().target_type(), DType::F32);
/// assert_eq!(LossEntry::of_targets(DType::U32).name, "cross-entropy");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct LossEntry {
    /// The name on the command line.
    pub name: &'static str,
    /// The line of the program's help.
    pub about: &'static str,
    make: fn() -> Box<dyn Loss>,
}

const fn row(name: &'static str, about: &'static str, make: fn() -> Box<dyn Loss>) -> LossEntry {
    LossEntry { name, about, make }
}

impl LossEntry {
    /// Returns the row of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        LOSSES.iter().find(|entry| entry.name == name)
    }

    /// Returns the default for targets of a type: the mean squared error for f32, the cross-entropy for u32.
    #[must_use]
    pub fn of_targets(dtype: DType) -> &'static Self {
        LOSSES.iter().find(|entry| entry.loss().target_type() == dtype).unwrap_or(&LOSSES[0])
    }

    /// Returns the loss with its default settings.
    #[must_use]
    pub fn loss(&self) -> Box<dyn Loss> {
        (self.make)()
    }
}

/// A loss: compares the output of a model with targets.
///
/// One function defines it: [`per_row`](Self::per_row), the losses of the rows. Training uses their mean,
/// [`of`](Self::of); evaluation uses the losses themselves.
///
/// ```
/// use thalweg_autograd::{Result, Tape, Var};
/// use thalweg_nn::Loss;
/// use thalweg_tensor::{Device, Tensor};
///
/// /// The absolute error, |output - target|.
/// #[derive(Debug)]
/// struct AbsoluteError;
///
/// impl Loss for AbsoluteError {
///     fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> Result<Var<'t>> {
///         output.sub(targets)?.abs()
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let device = Device::cpu();
/// let tape = Tape::new();
/// let output = tape.input(&Tensor::from_slice(&device, &[1.0, 5.0], &[2, 1])?);
/// let loss = AbsoluteError.of(output, &Tensor::from_slice(&device, &[2.0, 2.0], &[2, 1])?)?;
/// assert_eq!(loss.item()?, 2.0);
/// # Ok(())
/// # }
/// ```
pub trait Loss: fmt::Debug + Send + Sync {
    /// Computes the loss of each row, or of each element: a tensor of any shape, whose mean is the loss of the batch.
    ///
    /// # Errors
    /// If shapes or types do not fit, or the devices differ.
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>>;

    /// Returns the type of the targets: f32 for values, which is the default, or u32 for classes. The trainer refuses
    /// data with targets of another type before its first step.
    fn target_type(&self) -> DType {
        DType::F32
    }

    /// Computes the mean loss of a batch, of shape `[]`.
    ///
    /// # Errors
    /// Same as [`per_row`](Self::per_row).
    fn of<'t>(&self, output: Var<'t>, targets: &Tensor) -> thalweg_autograd::Result<Var<'t>> {
        self.of_logged(output, targets, None)
    }

    /// Computes the mean loss of a batch and writes it to a log on the device.
    ///
    /// The default takes the mean of [`per_row`](Self::per_row) and needs one more launch for the log. A loss with a
    /// fused kernel overrides it.
    ///
    /// # Errors
    /// Same as [`per_row`](Self::per_row).
    fn of_logged<'t>(
        &self,
        output: Var<'t>,
        targets: &Tensor,
        log: Option<&ValueLog>,
    ) -> thalweg_autograd::Result<Var<'t>> {
        let mean = self.per_row(output, output.tape().constant(targets))?.mean()?;
        log.map_or(Ok(()), |log| log.push(&mean.value()))?;
        Ok(mean)
    }

    /// Checks the output's shape against the largest class of the data, if the targets are classes.
    ///
    /// The trainer calls it in the first step, before parameters change. The default accepts every shape.
    ///
    /// # Errors
    /// [`Error::Class`] if a class has no output.
    fn check_classes(&self, output: &[usize], largest_class: Option<u32>) -> Result<()> {
        let _ = (output, largest_class);
        Ok(())
    }

    /// Draws targets from the distribution that an output describes. Returns them with the number of terms in the mean.
    ///
    /// Methods that estimate the Hessian's diagonal need it ([`Sophia`](crate::Sophia)). The default returns an error.
    ///
    /// # Errors
    /// [`Error::Setting`] if the loss belongs to no distribution. If work on the device has failed.
    fn sample_targets(&self, output: &Tensor, sampler: &Sampler<'_>) -> Result<(Tensor, f64)> {
        let _ = (output, sampler);
        Err(Error::Setting {
            field: "loss",
            value: format!("{self:?}"),
            rule: "one that targets can be drawn from, such as CrossEntropy or Mse, for a method that estimates Hessians",
        })
    }
}

/// Forwards every method, so that a loss can be chosen at run time.
impl<L: Loss + ?Sized> Loss for Box<L> {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        (**self).per_row(output, targets)
    }

    fn target_type(&self) -> DType {
        (**self).target_type()
    }

    fn of_logged<'t>(
        &self,
        output: Var<'t>,
        targets: &Tensor,
        log: Option<&ValueLog>,
    ) -> thalweg_autograd::Result<Var<'t>> {
        (**self).of_logged(output, targets, log)
    }

    fn check_classes(&self, output: &[usize], largest_class: Option<u32>) -> Result<()> {
        (**self).check_classes(output, largest_class)
    }

    fn sample_targets(&self, output: &Tensor, sampler: &Sampler<'_>) -> Result<(Tensor, f64)> {
        (**self).sample_targets(output, sampler)
    }
}

/// Draws random targets for [`Loss::sample_targets`]. The numbers follow from a seed and the step of the optimizer: a
/// run repeats to the bit, and a replayed step draws new numbers.
#[derive(Debug)]
pub struct Sampler<'a> {
    clock: &'a Clock,
    seed: u64,
    stream: u64,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(clock: &'a Clock, seed: u64, stream: u64) -> Self {
        Self { clock, seed, stream }
    }

    /// Draws a class for each row of logits, `[n, classes]` → u32 `[n]`, with the probabilities of their softmax.
    ///
    /// # Errors
    /// If the logits are no matrix of f32, or work on the device has failed.
    pub fn classes(&self, logits: &Tensor) -> Result<Tensor> {
        Ok(self.clock.sample_classes(logits, self.seed, self.stream)?)
    }

    /// Draws a number for each element of `means`, from a normal distribution around it.
    ///
    /// # Errors
    /// If the means are not f32, or work on the device has failed.
    pub fn normal(&self, means: &Tensor, deviation: f32) -> Result<Tensor> {
        Ok(self.clock.sample_normal(means, deviation, self.seed, self.stream)?)
    }
}

/// Checks that the output and the targets have one shape: element-wise losses would broadcast silently.
fn expect_same_shape(op: &'static str, output: Var<'_>, targets: Var<'_>) -> Result<()> {
    let (left, right) = (output.shape(), targets.shape());
    if left == right {
        return Ok(());
    }
    Err(TensorError::Shape { op, rule: "the output and the targets must have one shape", left, right }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_found_by_its_name_and_each_type_of_targets_has_one() {
        for entry in LOSSES {
            assert!(std::ptr::eq(LossEntry::find(entry.name).unwrap(), entry), "{} is there twice", entry.name);
        }
        assert!(LossEntry::find("none").is_none());
        for dtype in [DType::F32, DType::U32] {
            assert_eq!(LossEntry::of_targets(dtype).loss().target_type(), dtype);
        }
    }
}
