//! Softmax and its logarithm.

use super::short_rows::{SHORT_VARIANTS, over_rows};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math;
use crate::tensor::expect_dtype;
use crate::threads::for_each_row;
use crate::{DType, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    row_length: u32,
    logarithm: u32,
}

/// y[i, j] = exp(x[i, j] - max) / Σ exp(x[i, k] - max), or its logarithm.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, y] = call.bindings();
    let (x, y) = (x.read::<f32>(), y.write::<f32>());
    let row_length = params.row_length as usize;
    for_each_row(
        y,
        row_length,
        #[inline(always)]
        |row, y| {
            let x = &x[row * row_length..][..row_length];
            let largest = math::row_maximum(x);
            let sum = math::tree_sum(x, |x| (x - largest).exp());
            let log_sum = sum.ln();
            for (y, &x) in y.iter_mut().zip(x) {
                *y = if params.logarithm != 0 { x - largest - log_sum } else { (x - largest).exp() / sum };
            }
        },
    );
}

pub(super) static SOFTMAX: Kernel = Kernel {
    shader: &thalweg_shaders::SOFTMAX,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write],
    variants: SHORT_VARIANTS,
    twin,
};

impl Tensor {
    /// Returns softmax along the last dimension: exp(x - max) / Σ exp(x - max).
    ///
    /// # Shapes
    /// `[…, n]` → `[…, n]`.
    ///
    /// # Errors
    /// If the tensor has no dimension, or the elements are not f32.
    pub fn softmax(&self) -> Result<Self> {
        self.softmax_launch(false)
    }

    /// Returns the logarithm of softmax along the last dimension: x - max - ln Σ exp(x - max).
    ///
    /// # Shapes
    /// `[…, n]` → `[…, n]`.
    ///
    /// # Errors
    /// If the tensor has no dimension, or the elements are not f32.
    pub fn log_softmax(&self) -> Result<Self> {
        self.softmax_launch(true)
    }

    fn softmax_launch(&self, logarithm: bool) -> Result<Self> {
        expect_dtype("softmax", self, DType::F32)?;
        let Some(&row_length) = self.shape().last() else {
            return Err(Error::Rank { op: "softmax", expected: "at least one dimension", shape: Vec::new() });
        };
        let x = self.contiguous()?;
        let y = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        let rows = x.len().checked_div(row_length).unwrap_or(0);
        let params = Params { rows: rows as u32, row_length: row_length as u32, logarithm: logarithm.into() };
        over_rows(Launch::new(&SOFTMAX, params), rows, row_length).bind(&x).bind(&y).run(self.device())?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn huge_logits_do_not_overflow() {
        let x = Tensor::from_slice(&Device::cpu(), &[1000.0f32, 1000.0, f32::NEG_INFINITY], &[1, 3]).unwrap();
        assert_eq!(x.softmax().unwrap().to_vec::<f32>().unwrap(), [0.5, 0.5, 0.0]);
        let log = x.log_softmax().unwrap().to_vec::<f32>().unwrap();
        approx::assert_relative_eq!(log[0], -std::f32::consts::LN_2, max_relative = 1e-6);
    }
}
