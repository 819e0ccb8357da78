//! Squared errors, fused with their gradient.

use super::product::expect_target;
use crate::kernel::{Access, Call, Kernel, Launch, expect_dtype};
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

impl Tensor {
    /// The squared error of each element, and the gradient of `scale` times their sum with respect to `self`, in one
    /// launch. With `scale` = 1 / count it is the gradient of the mean squared error.
    ///
    /// # Shapes
    /// `self` and `targets` of one shape → losses and gradient of that shape.
    ///
    /// # Errors
    /// Where the shapes or the devices differ, or the elements are not f32.
    pub fn squared_error(&self, targets: &Self, scale: f32) -> Result<(Self, Self)> {
        expect_dtype("squared_error", self, DType::F32)?;
        self.same_device("squared_error", targets)?;
        let targets = targets.contiguous()?;
        expect_target("squared_error", &targets, self.shape())?;
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
