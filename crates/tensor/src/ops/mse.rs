//! Squared errors, fused with their gradient.

use super::record_value::{MEAN_VARIANTS, MOST_IN_ONE_WORKGROUP, MeanOutput, ValueLog};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::LANES;
use crate::tensor::{expect_dtype, expect_target};
use crate::{DType, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    length: u32,
    scale: f32,
}

/// losses[i] = (x[i] - target[i])²; grad[i] = 2 scale (x[i] - target[i]).
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, targets, losses, grad] = call.bindings();
    let (x, targets) = (x.read::<f32>(), targets.read::<f32>());
    let (losses, grad) = (losses.write::<f32>(), grad.write::<f32>());
    for i in 0..params.length as usize {
        let difference = x[i] - targets[i];
        losses[i] = difference * difference;
        grad[i] = 2.0 * params.scale * difference;
    }
}

pub(super) static MSE: Kernel = Kernel {
    shader: &thalweg_shaders::MSE,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct MeanParams {
    length: u32,
    scale: f32,
    log_length: u32,
}

/// mean = scale Σ (x[i] - target[i])², and the gradient as above; lane i takes the elements i, i + 64, …
fn mean_twin(call: Call<'_>) {
    let params: MeanParams = call.params();
    let logged = call.constant("LOGGED") != 0.0;
    let [x, targets, grad, mean, log, cursor] = call.bindings();
    let (x, targets, grad) = (x.read::<f32>(), targets.read::<f32>(), grad.write::<f32>());
    let mut lanes = [0f32; LANES];
    for ((x, targets), grad) in x.chunks(LANES).zip(targets.chunks(LANES)).zip(grad.chunks_mut(LANES)) {
        for (((lane, x), target), grad) in lanes.iter_mut().zip(x).zip(targets).zip(grad) {
            let difference = x - target;
            *grad = 2.0 * params.scale * difference;
            *lane += difference * difference;
        }
    }
    MeanOutput::finish(lanes, params.scale, logged, [mean, log, cursor]);
}

pub(super) static MSE_MEAN: Kernel = Kernel {
    shader: &thalweg_shaders::MSE_MEAN,
    uniform: size_of::<MeanParams>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Write, Access::Write, Access::Write],
    variants: MEAN_VARIANTS,
    twin: mean_twin,
};

impl Tensor {
    /// Returns the mean squared error over all N elements, and its gradient with respect to `self`. The mean is also
    /// appended to `log`, if given. One launch for up to 16,384 elements, else two or more, and one more for the log.
    ///
    /// # Shapes
    /// `self` and `targets` of one shape → mean `[]`, gradient of that shape.
    ///
    /// # Numerics
    /// The mean of no elements is NaN.
    ///
    /// # Errors
    /// If the shapes or the devices differ, or the elements are not f32.
    pub fn squared_error_mean(&self, targets: &Self, log: Option<&ValueLog>) -> Result<(Self, Self)> {
        let scale = 1.0 / self.len() as f32;
        if self.len() > MOST_IN_ONE_WORKGROUP {
            let (losses, grad) = self.squared_error(targets, scale)?;
            let mean = losses.mean()?;
            log.map_or(Ok(()), |log| log.push(&mean))?;
            return Ok((mean, grad));
        }
        let targets = self.targets_like(targets)?;
        let output = MeanOutput::new(self.device(), log)?;
        let grad = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        let params = MeanParams { length: self.len() as u32, scale, log_length: output.log_length() };
        let launch = Launch::new(&MSE_MEAN, params).bind(&self.contiguous()?).bind(&targets).bind(&grad);
        output.bind(launch).run(self.device())?;
        Ok((output.mean, grad))
    }

    /// Checks the targets of a squared error, and makes them contiguous.
    fn targets_like(&self, targets: &Self) -> Result<Self> {
        expect_dtype("squared_error", self, DType::F32)?;
        self.same_device("squared_error", targets)?;
        let targets = targets.contiguous()?;
        expect_target("squared_error", &targets, self.shape())?;
        Ok(targets)
    }

    /// Returns the squared error of each element, and the gradient of `scale` times their sum with respect to `self`,
    /// in one launch. With `scale` = 1 / count it is the gradient of the mean squared error.
    ///
    /// # Shapes
    /// `self` and `targets` of one shape → losses and gradient of that shape.
    ///
    /// # Errors
    /// If the shapes or the devices differ, or the elements are not f32.
    pub fn squared_error(&self, targets: &Self, scale: f32) -> Result<(Self, Self)> {
        let targets = self.targets_like(targets)?;
        let losses = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        let grad = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        Launch::new(&MSE, Params { length: self.len() as u32, scale })
            .bind(&self.contiguous()?)
            .bind(&targets)
            .bind(&losses)
            .bind(&grad)
            .workgroups(self.len().div_ceil(64))
            .run(self.device())?;
        Ok((losses, grad))
    }
}
