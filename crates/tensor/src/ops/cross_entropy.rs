//! Cross-entropy of logits with classes, fused with its gradient.

use super::record_value::{MEAN_VARIANTS, MOST_IN_ONE_WORKGROUP, MeanOutput, ValueLog};
use super::short_rows::{SHORT_VARIANTS, over_rows};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::{self, LANES};
use crate::tensor::expect_dtype;
use crate::{DType, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    classes: u32,
    scale: f32,
}

/// losses[i] = ln Σ exp(logits[i, j]) - logits[i, target]; grad[i, j] = scale (softmax(logits[i])[j] - [j = target]).
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [logits, targets, losses, grad] = call.bindings();
    let (logits, targets) = (logits.read::<f32>(), targets.read::<u32>());
    let (losses, grad) = (losses.write::<f32>(), grad.write::<f32>());
    let classes = params.classes as usize;
    for (i, loss) in losses.iter_mut().enumerate() {
        let (logits, grad) = (&logits[i * classes..][..classes], &mut grad[i * classes..][..classes]);
        let target = targets[i] as usize;
        if target >= classes {
            *loss = f32::NAN;
            grad.fill(f32::NAN);
            continue;
        }
        let largest = math::row_maximum(logits);
        let sum = math::tree_sum(logits, |x| (x - largest).exp());
        *loss = sum.ln() - (logits[target] - largest);
        for (j, (grad, &logit)) in grad.iter_mut().zip(logits).enumerate() {
            let probability = (logit - largest).exp() / sum;
            *grad = params.scale * (probability - if j == target { 1.0 } else { 0.0 });
        }
    }
}

pub(super) static CROSS_ENTROPY: Kernel = Kernel {
    shader: &thalweg_shaders::CROSS_ENTROPY,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Write],
    variants: SHORT_VARIANTS,
    twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct MeanParams {
    rows: u32,
    classes: u32,
    scale: f32,
    log_length: u32,
}

/// mean = scale Σ losses, with losses and gradient as above; lane i takes the rows i, i + 64, …
fn mean_twin(call: Call<'_>) {
    let params: MeanParams = call.params();
    let logged = call.constant("LOGGED") != 0.0;
    let [logits, targets, grad, mean, log, cursor] = call.bindings();
    let (logits, targets, grad) = (logits.read::<f32>(), targets.read::<u32>(), grad.write::<f32>());
    let classes = params.classes as usize;
    let mut lanes = [0f32; LANES];
    for (i, &target) in targets.iter().enumerate() {
        let (logits, grad) = (&logits[i * classes..][..classes], &mut grad[i * classes..][..classes]);
        let target = target as usize;
        if target >= classes {
            lanes[i % LANES] = f32::NAN;
            grad.fill(f32::NAN);
            continue;
        }
        let largest = math::row_maximum(logits);
        let mut sum = 0.0;
        for (grad, &logit) in grad.iter_mut().zip(logits) {
            *grad = (logit - largest).exp();
            sum += *grad;
        }
        for (j, grad) in grad.iter_mut().enumerate() {
            *grad = params.scale * (*grad / sum - if j == target { 1.0 } else { 0.0 });
        }
        lanes[i % LANES] += sum.ln() - (logits[target] - largest);
    }
    MeanOutput::finish(lanes, params.scale, logged, [mean, log, cursor]);
}

pub(super) static CROSS_ENTROPY_MEAN: Kernel = Kernel {
    shader: &thalweg_shaders::CROSS_ENTROPY_MEAN,
    uniform: size_of::<MeanParams>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Write, Access::Write, Access::Write],
    variants: MEAN_VARIANTS,
    twin: mean_twin,
};

/// The most classes for which a lane takes a whole row.
const MOST_CLASSES_A_LANE: usize = 64;

impl Tensor {
    /// Returns the mean cross-entropy of rows of logits with their classes, and its gradient with respect to the
    /// logits. The mean is also appended to `log`, if given. One launch for up to 64 classes and 16,384 logits, else
    /// two, and one more for the log.
    ///
    /// # Shapes
    /// logits `[n, classes]`, targets u32 `[n]` → mean `[]`, gradient `[n, classes]`.
    ///
    /// # Numerics
    /// See [`cross_entropy`](Self::cross_entropy); the mean of no rows is NaN.
    ///
    /// # Errors
    /// If shapes or types do not match, or the devices differ.
    pub fn cross_entropy_mean(&self, targets: &Self, log: Option<&ValueLog>) -> Result<(Self, Self)> {
        let (rows, classes) = self.rows_of_logits(targets)?;
        let scale = 1.0 / rows as f32;
        if classes > MOST_CLASSES_A_LANE || rows * classes > MOST_IN_ONE_WORKGROUP {
            let (losses, grad) = self.cross_entropy(targets, scale)?;
            let mean = losses.mean()?;
            log.map_or(Ok(()), |log| log.push(&mean))?;
            return Ok((mean, grad));
        }
        let output = MeanOutput::new(self.device(), log)?;
        let grad = Self::uninitialized(self.device(), DType::F32, &[rows, classes])?;
        let params = MeanParams { rows: rows as u32, classes: classes as u32, scale, log_length: output.log_length() };
        let launch =
            Launch::new(&CROSS_ENTROPY_MEAN, params).bind(&self.contiguous()?).bind(&targets.contiguous()?).bind(&grad);
        output.bind(launch).run(self.device())?;
        Ok((output.mean, grad))
    }

    /// Checks logits and classes. Returns the number of rows and classes.
    fn rows_of_logits(&self, targets: &Self) -> Result<(usize, usize)> {
        let op = "cross_entropy";
        expect_dtype(op, self, DType::F32)?;
        expect_dtype(op, targets, DType::U32)?;
        self.same_device(op, targets)?;
        if self.rank() != 2 || targets.shape() != &self.shape()[..1] {
            return Err(Error::Shape {
                op,
                rule: "needs logits [n, classes] and targets [n]",
                left: self.shape().to_vec(),
                right: targets.shape().to_vec(),
            });
        }
        Ok((self.shape()[0], self.shape()[1]))
    }

    /// Returns the cross-entropy of each row of logits with its class, and the gradient of `scale` times their sum
    /// with respect to the logits, in one launch. With `scale` = 1 / n it is the gradient of the mean.
    ///
    /// # Shapes
    /// logits `[n, classes]`, targets u32 `[n]` → losses `[n]`, gradient `[n, classes]`.
    ///
    /// # Numerics
    /// The row's maximum is subtracted first. An invalid target gives NaN in the loss and the gradient of its row.
    ///
    /// # Errors
    /// If shapes or types do not match, or the devices differ.
    pub fn cross_entropy(&self, targets: &Self, scale: f32) -> Result<(Self, Self)> {
        let (rows, classes) = self.rows_of_logits(targets)?;
        let losses = Self::uninitialized(self.device(), DType::F32, &[rows])?;
        let grad = Self::uninitialized(self.device(), DType::F32, &[rows, classes])?;
        let params = Params { rows: rows as u32, classes: classes as u32, scale };
        over_rows(Launch::new(&CROSS_ENTROPY, params), rows, classes)
            .bind(&self.contiguous()?)
            .bind(&targets.contiguous()?)
            .bind(&losses)
            .bind(&grad)
            .run(self.device())?;
        Ok((losses, grad))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn a_target_that_is_no_class_is_nan_in_its_row_only() {
        let logits = Tensor::zeros(&Device::cpu(), DType::F32, &[2, 3]).unwrap();
        let targets = Tensor::from_slice(&Device::cpu(), &[7u32, 2], &[2]).unwrap();
        let (losses, grad) = logits.cross_entropy(&targets, 0.5).unwrap();
        let (losses, grad) = (losses.to_vec::<f32>().unwrap(), grad.to_vec::<f32>().unwrap());
        assert!(losses[0].is_nan() && grad[..3].iter().all(|g| g.is_nan()));
        approx::assert_relative_eq!(losses[1], 3f32.ln(), max_relative = 1e-6);
        approx::assert_relative_eq!(grad[5], -1.0 / 3.0, max_relative = 1e-6);
    }
}
