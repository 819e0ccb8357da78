//! A step of training: the tasks of a trainer, and the arguments of their closures.

use thalweg_autograd::{Tape, Var};
use thalweg_tensor::{DType, Tensor, ValueLog};

use super::Trainer;
use super::evaluate::Portion;
use crate::data::{Batch, Batches};
use crate::optim::{GradientPass, Stepper};
use crate::{Error, Loss, Optimizer, Parts, Result};

/// The argument of a step's closure besides the batch: the tape and the model. See [`Trainer::with_step`].
pub struct Context<'t, M> {
    tape: &'t Tape,
    model: &'t M,
    largest_class: Option<u32>,
}

impl<'t, M> Context<'t, M> {
    pub(super) fn new(tape: &'t Tape, model: &'t M, largest_class: Option<u32>) -> Self {
        Self { tape, model, largest_class }
    }

    /// Returns the tape of the step; in an evaluation it tracks nothing.
    #[must_use]
    pub fn tape(&self) -> &'t Tape {
        self.tape
    }

    /// Returns the model.
    #[must_use]
    pub fn model(&self) -> &'t M {
        self.model
    }

    /// Returns a tensor, such as an input of the batch, as a variable of the tape without a gradient.
    #[must_use]
    pub fn constant(&self, value: &Tensor) -> Var<'t> {
        self.tape.constant(value)
    }
}

/// The computation for a batch.
pub(super) trait Task<M> {
    /// Returns the mean loss of a batch, and whether it is in the log.
    fn loss<'t>(&self, context: &Context<'t, M>, batch: &Batch, log: Option<&ValueLog>) -> Result<(Var<'t>, bool)>;

    /// Returns the losses of some rows, in an evaluation.
    fn portion(&self, context: &Context<'_, M>, batch: &Batch) -> Result<Portion>;

    /// Returns the type that targets must have, or `None` for any.
    fn target_type(&self) -> Option<DType>;

    /// Updates the optimizer's estimate of the Hessian's diagonal.
    fn estimate_hessian(&self, context: &Context<'_, M>, batch: &Batch, optimizer: &mut Optimizer) -> Result<()>;

    /// Returns the settings that a resumed run must share, besides the parameters.
    fn settings(&self, model: &M) -> String;
}

/// A loss between targets and an output, which a closure computes from the inputs.
pub(super) struct Supervised<F> {
    pub(super) forward: F,
    pub(super) loss: Box<dyn Loss>,
}

impl<F> Supervised<F> {
    fn output<'t, M>(&self, context: &Context<'t, M>, batch: &Batch) -> Result<Var<'t>>
    where
        F: Fn(&Context<'t, M>, &[Var<'t>]) -> thalweg_autograd::Result<Var<'t>>,
    {
        let inputs: Vec<Var<'t>> = batch.inputs.iter().map(|input| context.constant(input)).collect();
        let mut output = (self.forward)(context, &inputs)?;
        // Losses are computed in f32.
        if output.dtype().is_half() {
            output = output.to_dtype(DType::F32)?;
        }
        self.loss.check_classes(&output.shape(), context.largest_class)?;
        Ok(output)
    }
}

impl<M: Parts, F> Task<M> for Supervised<F>
where
    F: for<'t> Fn(&Context<'t, M>, &[Var<'t>]) -> thalweg_autograd::Result<Var<'t>>,
{
    fn loss<'t>(&self, context: &Context<'t, M>, batch: &Batch, log: Option<&ValueLog>) -> Result<(Var<'t>, bool)> {
        Ok((self.loss.of_logged(self.output(context, batch)?, &batch.targets, log)?, log.is_some()))
    }

    fn portion(&self, context: &Context<'_, M>, batch: &Batch) -> Result<Portion> {
        let output = self.output(context, batch)?;
        let losses = self.loss.per_row(output, context.constant(&batch.targets))?.value();
        Ok(Portion { losses, output: Some(output.value()) })
    }

    fn target_type(&self) -> Option<DType> {
        Some(self.loss.target_type())
    }

    fn estimate_hessian(&self, context: &Context<'_, M>, batch: &Batch, optimizer: &mut Optimizer) -> Result<()> {
        optimizer.estimate_hessian(self.output(context, batch)?, &*self.loss)
    }

    fn settings(&self, model: &M) -> String {
        format!("{:?}, {}", self.loss, model.settings())
    }
}

/// A loss that a closure computes.
pub(super) struct Custom<F>(pub(super) F);

impl<M: Parts, F> Task<M> for Custom<F>
where
    F: for<'t> Fn(&Context<'t, M>, &Batch) -> thalweg_autograd::Result<Var<'t>>,
{
    fn loss<'t>(&self, context: &Context<'t, M>, batch: &Batch, _: Option<&ValueLog>) -> Result<(Var<'t>, bool)> {
        Ok((self.0(context, batch)?, false))
    }

    fn portion(&self, context: &Context<'_, M>, batch: &Batch) -> Result<Portion> {
        Ok(Portion { losses: self.0(context, batch)?.value(), output: None })
    }

    fn target_type(&self) -> Option<DType> {
        None
    }

    fn estimate_hessian(&self, _: &Context<'_, M>, _: &Batch, optimizer: &mut Optimizer) -> Result<()> {
        Err(Error::Setting {
            field: "optimizer",
            value: optimizer.method().name().to_string(),
            rule: "one that estimates no Hessian, for a trainer with its own step",
        })
    }

    fn settings(&self, model: &M) -> String {
        format!("a step of its own, {}", model.settings())
    }
}

impl<M, S: Stepper> Trainer<M, S> {
    /// Takes one step: gather, forward, backward, update; and, if it estimates the Hessian's diagonal, another forward
    /// and backward pass. It submits all work to the device and waits for none of it.
    pub(crate) fn step(
        &mut self,
        batches: &mut Batches,
        rows: usize,
        losses: &ValueLog,
        estimates: bool,
    ) -> Result<()> {
        let Self { model, stepper, task, average, largest_class, detects_anomalies, autocast, .. } = self;
        let scaler = stepper.optimizer().loss_scaler()?;
        let mut batch: Option<Batch> = None;
        let mut total: Option<Tensor> = None;
        stepper.step_with(&mut |pass| {
            let part = rows_of(pass, rows);
            if part == 0 {
                return Ok(());
            }
            if !pass.is_repeated {
                batch = Some(batches.next_batch(part)?);
            }
            let Some(batch) = &batch else { return Ok(()) };
            let tape = Tape::new();
            tape.detect_anomaly(*detects_anomalies);
            tape.autocast(*autocast)?;
            let context = Context::new(&tape, &*model, *largest_class);
            let log = (pass == GradientPass::WHOLE).then_some(losses);
            let (loss, is_logged) = task.loss(&context, batch, log)?;
            if !pass.is_repeated && !is_logged {
                let value = loss.value();
                total = Some(match &total {
                    _ if pass.parts == 1 => value,
                    None => value.affine(part as f32 / rows as f32, 0.0)?,
                    Some(total) => total.add(&value.affine(part as f32 / rows as f32, 0.0)?)?,
                });
            }
            // The sum over the parts is divided by their number, for any lengths.
            let weight = (part * pass.parts as usize) as f32 / rows as f32;
            let loss = if weight == 1.0 { loss } else { loss.affine(weight, 0.0)? };
            tape.backward_and_free(scaler.scale(loss)?)?;
            Ok(())
        })?;
        total.map_or(Ok(()), |total| losses.push(&total))?;
        if let Some(average) = average {
            average.update()?;
        }
        if estimates && let Some(batch) = &batch {
            let tape = Tape::new();
            tape.detect_anomaly(*detects_anomalies);
            tape.autocast(*autocast)?;
            task.estimate_hessian(&Context::new(&tape, &*model, None), batch, stepper.optimizer_mut())?;
        }
        Ok(())
    }
}

/// Returns the rows of a part of a batch: the first parts have one more if the rows cannot be split evenly.
fn rows_of(pass: GradientPass, rows: usize) -> usize {
    let (part, parts) = (pass.part as usize, pass.parts as usize);
    rows / parts + usize::from(part < rows % parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_batch_add_up_to_it() {
        for (rows, parts) in [(64, 1), (64, 4), (7, 3), (2, 5)] {
            let of = |part| rows_of(GradientPass { part, parts, is_repeated: false }, rows);
            assert_eq!((0..parts).map(of).sum::<usize>(), rows);
            assert!((0..parts).all(|part| of(part).abs_diff(rows / parts as usize) <= 1));
        }
    }
}
