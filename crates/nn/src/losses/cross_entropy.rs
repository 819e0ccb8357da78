//! [`CrossEntropy`], and [`CrossEntropyWith`] settings.

use thalweg_autograd::{CrossEntropyOptions, Reduction, Var};
use thalweg_tensor::{DType, Tensor, ValueLog};

use super::{Loss, Sampler};
use crate::{Error, Result};

/// The cross-entropy of classes: `1/n Σ -ln softmax(logits)[target]`, in nats. A target out of range gives NaN.
///
/// # Shapes
/// Logits f32 `[n, classes]`, targets u32 `[n]` → `[]`. The loss and its gradient are one launch.
///
/// PyTorch's `CrossEntropyLoss`.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{CrossEntropy, Loss};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let tape = Tape::new();
/// let logits = tape.input(&Tensor::from_slice(&device, &[0.0, 0.0], &[1, 2])?);
/// let loss = CrossEntropy.of(logits, &Tensor::from_slice(&device, &[1u32], &[1])?)?;
/// assert!((loss.item()? - 2f32.ln()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CrossEntropy;

impl CrossEntropy {
    /// Returns the loss with label smoothing: see [`CrossEntropyWith::label_smoothing`].
    #[must_use]
    pub fn label_smoothing(self, share: f32) -> CrossEntropyWith {
        CrossEntropyWith::default().label_smoothing(share)
    }

    /// Returns the loss with weights of classes: see [`CrossEntropyWith::class_weights`].
    #[must_use]
    pub fn class_weights(self, weights: &Tensor) -> CrossEntropyWith {
        CrossEntropyWith::default().class_weights(weights)
    }

    /// Returns the loss that ignores a target: see [`CrossEntropyWith::ignore_index`].
    #[must_use]
    pub fn ignore_index(self, class: u32) -> CrossEntropyWith {
        CrossEntropyWith::default().ignore_index(class)
    }
}

impl Loss for CrossEntropy {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        output.cross_entropy_per_row(&targets.value())
    }

    fn target_type(&self) -> DType {
        DType::U32
    }

    fn of_logged<'t>(
        &self,
        output: Var<'t>,
        targets: &Tensor,
        log: Option<&ValueLog>,
    ) -> thalweg_autograd::Result<Var<'t>> {
        output.cross_entropy_logged(targets, log)
    }

    fn check_classes(&self, output: &[usize], largest_class: Option<u32>) -> Result<()> {
        match (output, largest_class) {
            (&[_, outputs], Some(class)) if class as usize >= outputs => Err(Error::Class { class, outputs }),
            _ => Ok(()),
        }
    }

    fn sample_targets(&self, output: &Tensor, sampler: &Sampler<'_>) -> Result<(Tensor, f64)> {
        let classes = sampler.classes(output)?;
        let terms = classes.len() as f64;
        Ok((classes, terms))
    }
}

/// [`CrossEntropy`] with settings: label smoothing, weights of classes, a target to ignore.
///
/// The loss of a batch is divided by the sum of the weights of its targets, as in PyTorch. The losses of rows are scaled so
/// that their mean is the loss of the batch.
///
/// # Shapes
/// Logits f32 `[n, classes, …]`, targets u32 `[n, …]` → `[]`.
///
/// PyTorch's `CrossEntropyLoss`.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{CrossEntropy, Loss};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let tape = Tape::new();
/// let logits = tape.input(&Tensor::from_slice(&device, &[0.0, 0.0, 9.0, 0.0], &[2, 2])?);
/// let weights = Tensor::from_slice(&device, &[1.0, 3.0], &[2])?;
/// let loss = CrossEntropy.class_weights(&weights).label_smoothing(0.1).ignore_index(255);
/// let value = loss.of(logits, &Tensor::from_slice(&device, &[1u32, 255], &[2])?)?.item()?;
/// assert!((value - (0.9 + 0.2 / 3.0) * 2f32.ln()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct CrossEntropyWith {
    options: CrossEntropyOptions,
}

impl CrossEntropyWith {
    /// Sets the share of the target that all classes get in equal parts, from 0 to 1. Default 0.
    #[must_use]
    pub fn label_smoothing(mut self, share: f32) -> Self {
        self.options.label_smoothing = share;
        self
    }

    /// Sets a weight for each class: f32 `[classes]` on the device of the model. Default none.
    #[must_use]
    pub fn class_weights(mut self, weights: &Tensor) -> Self {
        self.options.weight = Some(weights.clone());
        self
    }

    /// Sets a target whose rows do not count. Default none.
    #[must_use]
    pub fn ignore_index(mut self, class: u32) -> Self {
        self.options.ignore_index = Some(class);
        self
    }
}

impl Loss for CrossEntropyWith {
    fn per_row<'t>(&self, output: Var<'t>, targets: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let options = CrossEntropyOptions { reduction: Reduction::None, ..self.options.clone() };
        let targets = targets.value();
        let losses = output.cross_entropy_with(&targets, &options)?;
        if options.weight.is_none() && options.ignore_index.is_none() {
            return Ok(losses);
        }
        let classes = output.shape().get(1).copied().unwrap_or(0);
        let list = targets.reshape(&[targets.len()])?;
        let (_, weights) = list.class_weights(classes, options.weight.as_ref(), options.ignore_index, 0)?;
        losses.div(output.tape().constant(&weights.mean()?))
    }

    fn target_type(&self) -> DType {
        DType::U32
    }

    fn of_logged<'t>(
        &self,
        output: Var<'t>,
        targets: &Tensor,
        log: Option<&ValueLog>,
    ) -> thalweg_autograd::Result<Var<'t>> {
        let mean = output.cross_entropy_with(targets, &self.options)?;
        log.map_or(Ok(()), |log| log.push(&mean.value()))?;
        Ok(mean)
    }

    fn check_classes(&self, output: &[usize], largest_class: Option<u32>) -> Result<()> {
        if largest_class.is_some() && largest_class == self.options.ignore_index {
            return Ok(());
        }
        CrossEntropy.check_classes(output, largest_class)
    }

    fn sample_targets(&self, output: &Tensor, sampler: &Sampler<'_>) -> Result<(Tensor, f64)> {
        CrossEntropy.sample_targets(output, sampler)
    }
}

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;

    use super::*;
    use crate::testing::devices;

    #[test]
    fn the_mean_of_the_rows_is_the_loss_of_the_batch() {
        for device in devices() {
            let tape = Tape::new();
            let logits = tape.input(&Tensor::uniform(&device, 1, 0, -2.0, 2.0, &[5, 3]).unwrap());
            let targets = Tensor::from_slice(&device, &[0u32, 2, 1, 1, 7], &[5]).unwrap();
            let weights = Tensor::from_slice(&device, &[0.5, 2.0, 1.0], &[3]).unwrap();
            let loss = CrossEntropy.class_weights(&weights).ignore_index(7).label_smoothing(0.2);
            let rows = loss.per_row(logits, tape.constant(&targets)).unwrap();
            let (mean, expected) = (rows.mean().unwrap().item().unwrap(), loss.of(logits, &targets).unwrap());
            assert!((mean - expected.item().unwrap()).abs() < 1e-6, "{device}: {mean}");
            assert_eq!(rows.value().to_vec::<f32>().unwrap()[4], 0.0);
            assert!(loss.check_classes(&[5, 3], Some(7)).is_ok() && loss.check_classes(&[5, 3], Some(3)).is_err());
            assert!(CrossEntropy.label_smoothing(1.5).of(logits, &targets).is_err());
        }
    }
}
