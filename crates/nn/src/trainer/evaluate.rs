//! Evaluation of a model on some data, portion by portion.

use thalweg_autograd::Tape;
use thalweg_tensor::{DType, Tensor};

use super::step::{Context, Task};
use crate::data::Dataset;
use crate::portions::rows_at_once;
use crate::{Parts, Result, metrics};

/// The quality of a model on some data.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Evaluation {
    /// The mean loss: in nats for a cross-entropy, in the square of the targets' unit for a squared error.
    pub loss: f64,
    /// The share, from 0 to 1, of rows whose largest logit is that of their class; for a classification.
    pub accuracy: Option<f64>,
    /// The coefficient of determination, averaged over the targets; for a regression whose targets vary. Standardised
    /// targets have the same value.
    pub r2: Option<f64>,
}

/// The losses of some rows, and the model's output.
pub(super) struct Portion {
    /// The losses, of any shape.
    pub(super) losses: Tensor,
    /// The output, if the task has one that can be compared with the targets.
    pub(super) output: Option<Tensor>,
}

/// Returns the evaluation, and the share of the losses that are finite. Waits for the device.
pub(super) fn evaluate<M: Parts>(task: &dyn Task<M>, model: &M, data: &Dataset) -> Result<(Evaluation, f64)> {
    let parameters = model.parameters();
    let widths = parameters.iter().flat_map(|parameter| parameter.shape().iter().copied());
    let inputs = data.inputs().iter().map(|input| input.len() / data.len());
    let at_once = rows_at_once(data.device(), widths.chain(inputs));
    let is_of_classes = data.targets().dtype() == DType::U32;
    let (mut losses, mut weights, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
    for start in (0..data.len()).step_by(at_once) {
        let end = (start + at_once).min(data.len());
        let tape = Tape::inference();
        let context = Context::new(&tape, model, data.largest_class());
        let portion = task.portion(&context, &data.slice(start, end)?)?;
        let count = portion.losses.len();
        // A loss may belong to an element, a row, or all rows of the portion.
        weights.extend(std::iter::repeat_n((end - start) as f64 / count as f64, count));
        losses.push(portion.losses.reshape(&[count])?);
        // The kept output is no larger than the targets.
        let output = portion.output.map(|output| match output.shape() {
            [_, _] if is_of_classes => output.argmax(1, false),
            _ => Ok(output),
        });
        outputs.push(output.transpose()?);
    }
    let losses = Tensor::concatenate(&losses, 0)?.to_vec::<f32>()?;
    let total: f64 = weights.iter().sum();
    let loss = losses.iter().zip(&weights).map(|(&loss, weight)| f64::from(loss) * weight).sum::<f64>() / total;
    let finite: f64 = losses.iter().zip(&weights).filter(|(loss, _)| loss.is_finite()).map(|(_, weight)| weight).sum();
    let mut evaluation = Evaluation { loss, accuracy: None, r2: None };
    if let Some(outputs) = outputs.into_iter().collect::<Option<Vec<_>>>() {
        measure(&mut evaluation, &Tensor::concatenate(&outputs, 0)?, data.targets())?;
    }
    Ok((evaluation, finite / total))
}

/// Adds the metrics that the shapes of predictions and targets allow.
fn measure(evaluation: &mut Evaluation, predicted: &Tensor, targets: &Tensor) -> Result<()> {
    if predicted.shape() != targets.shape() || predicted.dtype() != targets.dtype() {
        return Ok(());
    }
    match targets.dtype() {
        DType::U32 => {
            let (predicted, expected) = (predicted.to_vec::<u32>()?, targets.to_vec::<u32>()?);
            evaluation.accuracy = Some(metrics::accuracy(&predicted, &expected));
        }
        DType::F32 | DType::F16 | DType::BF16 => {
            let values = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.to_vec::<f32>();
            let (predicted, expected) = (values(predicted)?, values(targets)?);
            evaluation.r2 = metrics::r2(&predicted, &expected, expected.len() / targets.shape()[0]);
        }
    }
    Ok(())
}
