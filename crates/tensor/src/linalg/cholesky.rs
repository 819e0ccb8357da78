//! Cholesky decomposition.

use super::{MOST_SIDE, launches, squares, turns};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::threads::for_each_chunk_of;
use crate::{Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    batch: u32,
    n: u32,
    first: u32,
    end: u32,
}

/// Some columns of L with L Lᵀ = y, from left to right.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [y] = call.bindings();
    let n = params.n as usize;
    for_each_chunk_of(
        n * n,
        y.write::<f32>(),
        #[inline(always)]
        |_, y| {
            let mut column = [0.0; MOST_SIDE];
            for j in params.first as usize..params.end as usize {
                let pivot = y[j * n + j];
                let is_positive = !y[0].is_nan() && pivot.is_finite() && pivot > 0.0;
                let root = if is_positive { pivot.sqrt() } else { f32::NAN };
                y[j * n + j] = root;
                if !is_positive {
                    y[0] = root;
                }
                for i in j + 1..n {
                    column[i] = y[i * n + j] / root;
                    y[i * n + j] = column[i];
                }
                for (i, row) in y.chunks_mut(n).enumerate().skip(j + 1) {
                    let factor = column[i];
                    row[j + 1..=i].iter_mut().zip(&column[j + 1..=i]).for_each(|(y, x)| *y -= factor * x);
                }
            }
            if params.end == params.n && y[0].is_nan() {
                y.chunks_mut(n).enumerate().for_each(|(i, row)| row[..=i].fill(f32::NAN));
            }
        },
    );
}

pub(super) static CHOLESKY: Kernel = Kernel {
    shader: &thalweg_shaders::CHOLESKY,
    uniform: size_of::<Params>(),
    access: &[Access::Write],
    variants: &[&[]],
    twin,
};

impl Tensor {
    /// Returns the Cholesky decomposition of symmetric positive definite matrices: the lower triangular L with positive
    /// diagonal and L Lᵀ = A. Only the lower triangles of A are read.
    ///
    /// A matrix that is not positive definite, or has an element that is not finite, gives a lower triangle of NaN, where
    /// PyTorch fails. The others of a batch are not affected.
    ///
    /// # Shapes
    /// `[…, n, n]` → `[…, n, n]`.
    ///
    /// # Numerics
    /// ‖L Lᵀ - A‖ is some n ε ‖A‖.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 1,024.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let a = Tensor::from_slice(&Device::cpu(), &[4f32, 2.0, 2.0, 10.0], &[2, 2])?;
    /// assert_eq!(a.cholesky()?.to_vec::<f32>()?, [2.0, 0.0, 1.0, 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cholesky(&self) -> Result<Self> {
        let [batch, n] = squares("cholesky", self, MOST_SIDE)?;
        let y = self.tril(0)?;
        if y.is_empty() {
            return Ok(y);
        }
        let of_step = |j: usize| turns(n) + turns((n - j - 1).pow(2)) + if j + 1 == n { turns(n * n) } else { 0 };
        for steps in launches(n, of_step) {
            let params = Params { batch: batch as u32, n: n as u32, first: steps.start as u32, end: steps.end as u32 };
            Launch::new(&CHOLESKY, params).bind(&y).workgroups(batch).run(self.device())?;
        }
        Ok(y)
    }
}
