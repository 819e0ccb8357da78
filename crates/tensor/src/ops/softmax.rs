//! Softmax and its logarithm.

use super::short_rows::{SHORT_VARIANTS, of_columns, over_rows};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math;
use crate::tensor::expect_dtype;
use crate::threads::for_each_row;
use crate::{Axis, DType, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    row_length: u32,
    inner: u32,
    logarithm: u32,
}

/// y[i, j] = exp(x[i, j] - max) / Σ exp(x[i, k] - max), or its logarithm.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, y] = call.bindings();
    let (x, y) = (x.read::<f32>(), y.write::<f32>());
    let (row_length, inner) = (params.row_length as usize, params.inner as usize);
    let logarithm = params.logarithm != 0;
    for_each_row(
        y,
        row_length * inner,
        #[inline(always)]
        |slab, y| {
            let x = &x[slab * row_length * inner..][..row_length * inner];
            if inner == 1 { row(x, y, logarithm) } else { columns(x, y, inner, logarithm) }
        },
    );
}

#[inline(always)]
fn row(x: &[f32], y: &mut [f32], logarithm: bool) {
    let largest = math::row_maximum(x);
    let sum = math::tree_sum(x, |x| (x - largest).exp());
    let log_sum = sum.ln();
    for (y, &x) in y.iter_mut().zip(x) {
        *y = if logarithm { x - largest - log_sum } else { (x - largest).exp() / sum };
    }
}

/// As [`row`] along the columns of `inner` elements a line. Each sum is of 16 partial ones.
#[inline(always)]
fn columns(x: &[f32], y: &mut [f32], inner: usize, logarithm: bool) {
    const WIDTH: usize = 16;
    for start in (0..inner).step_by(WIDTH) {
        let width = WIDTH.min(inner - start);
        let lines = || x.chunks(inner).map(|line| &line[start..start + width]);
        let mut largest = [f32::NEG_INFINITY; WIDTH];
        for line in lines() {
            largest.iter_mut().zip(line).for_each(|(largest, &x)| *largest = math::maximum(*largest, x));
        }
        let mut partial = [[0f32; 16]; WIDTH];
        for (i, line) in lines().enumerate() {
            for ((partial, largest), &x) in partial.iter_mut().zip(&largest).zip(line) {
                partial[i % 16] += (x - largest).exp();
            }
        }
        let sums = partial.map(|partial| {
            let mut lanes = [0.0; math::LANES];
            lanes[..16].copy_from_slice(&partial);
            math::tree(lanes, |x, y| x + y)
        });
        for (i, line) in lines().enumerate() {
            let y = &mut y[i * inner + start..][..width];
            for (((y, &x), largest), sum) in y.iter_mut().zip(line).zip(&largest).zip(&sums) {
                *y = if logarithm { x - largest - sum.ln() } else { (x - largest).exp() / sum };
            }
        }
    }
}

pub(super) static SOFTMAX: Kernel = Kernel {
    shader: &thalweg_shaders::SOFTMAX,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write],
    variants: SHORT_VARIANTS,
    twin,
};

impl Tensor {
    /// Returns the softmax along an axis: exp(x - max) / Σ exp(x - max). A tensor without axes has the axis 0, as in
    /// PyTorch.
    ///
    /// # Shapes
    /// `[a, n, b]` along axis 1 → `[a, n, b]`.
    ///
    /// # Numerics
    /// NaN where all elements along the axis are -∞, as in PyTorch.
    ///
    /// # Errors
    /// If it is no axis of the tensor, or the elements are not f32.
    pub fn softmax(&self, axis: impl Axis) -> Result<Self> {
        self.softmax_launch("softmax", axis, false)
    }

    /// Returns the logarithm of the softmax along an axis: x - max - ln Σ exp(x - max).
    ///
    /// # Shapes
    /// `[a, n, b]` along axis 1 → `[a, n, b]`.
    ///
    /// # Numerics
    /// As of [`softmax`](Self::softmax).
    ///
    /// # Errors
    /// As of [`softmax`](Self::softmax).
    pub fn log_softmax(&self, axis: impl Axis) -> Result<Self> {
        self.softmax_launch("log_softmax", axis, true)
    }

    fn softmax_launch(&self, op: &'static str, axis: impl Axis, logarithm: bool) -> Result<Self> {
        if let Some(result) = self.through_f32(|x| x.softmax_launch(op, axis, logarithm)) {
            return result;
        }
        expect_dtype(op, self, DType::F32)?;
        if self.rank() == 0 {
            return self.reshape(&[1])?.softmax_launch(op, axis, logarithm)?.reshape(&[]);
        }
        let axis = axis.of(op, self.shape())?;
        let row_length = self.shape()[axis];
        let inner: usize = self.shape()[axis + 1..].iter().product();
        if inner > 1 && !of_columns(row_length) {
            let last = self.rank() - 1;
            return self.transpose(axis, last)?.softmax_launch(op, last, logarithm)?.transpose(axis, last);
        }
        let x = self.contiguous()?;
        let y = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        let rows = x.len().checked_div(row_length).unwrap_or(0);
        let params = Params {
            rows: rows as u32,
            row_length: row_length as u32,
            inner: inner as u32,
            logarithm: logarithm.into(),
        };
        let launch = Launch::new(&SOFTMAX, params);
        let launch = if inner > 1 {
            launch.constant("SHORT", true).workgroups(rows.div_ceil(math::LANES))
        } else {
            over_rows(launch, rows, row_length)
        };
        launch.bind(&x).bind(&y).run(self.device())?;
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
        assert_eq!(x.softmax(-1).unwrap().to_vec::<f32>().unwrap(), [0.5, 0.5, 0.0]);
        let log = x.log_softmax(-1).unwrap().to_vec::<f32>().unwrap();
        approx::assert_relative_eq!(log[0], -std::f32::consts::LN_2, max_relative = 1e-6);
    }

    #[test]
    fn every_axis_is_as_the_last_one() {
        // Up to 1,024 elements a lane takes a column, and longer ones are copied.
        for shape in [[3, 5, 20], [2, 40, 17], [1, 1030, 3], [0, 4, 2], [2, 0, 3], [2, 3, 0]] {
            let x = Tensor::uniform(&Device::cpu(), 5, 0, -4.0, 4.0, &shape).unwrap();
            for axis in 0..2 {
                let moved = x.transpose(axis, 2).unwrap();
                for (own, last) in [(x.softmax(axis), moved.softmax(2)), (x.log_softmax(axis), moved.log_softmax(-1))] {
                    let (own, last) = (own.unwrap(), last.unwrap().transpose(axis, 2).unwrap());
                    assert_eq!(own.shape(), shape);
                    let (own, last) = (own.to_vec::<f32>().unwrap(), last.to_vec::<f32>().unwrap());
                    assert!(own.iter().zip(&last).all(|(own, last)| (own - last).abs() <= 1e-6), "{shape:?}");
                }
            }
        }
        let number = Tensor::scalar(&Device::cpu(), 3f32).unwrap();
        assert_eq!(number.softmax(-1).unwrap().item::<f32>().unwrap(), 1.0);
        assert!(number.log_softmax(1).is_err());
    }
}
