//! Eigenvalues and eigenvectors of symmetric matrices.

use super::jacobi::{MOST_COLUMNS, MOST_SWEEPS, State, rotate_pairs, rounds};
use super::{launches, power_below, reciprocal_power, squares, turns, with_batch};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::maximum;
use crate::threads::for_each_block;
use crate::{DType, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    batch: u32,
    n: u32,
    first: u32,
    end: u32,
    total: u32,
}

/// Some rounds of rotations, and at the end the values and vectors in order.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, work, basis, values, state] = call.bindings();
    let (x, n) = (x.read::<f32>(), params.n as usize);
    for_each_block(
        n * n,
        [n * n, n, 3],
        work.write::<f32>(),
        [basis.write::<u32>(), values.write::<u32>(), state.write::<u32>()],
        #[inline(always)]
        |index, work, [basis, values, state]| {
            let (basis, values): (&mut [f32], &mut [f32]) =
                (bytemuck::cast_slice_mut(basis), bytemuck::cast_slice_mut(values));
            let mut state = State(state);
            if params.first == 0 {
                start(&x[index * n * n..][..n * n], work, basis, &mut state, n);
            }
            state.run(params.first..params.end, rounds(n), |round| {
                rotate_pairs::<{ MOST_COLUMNS / 2 }>(work, basis, n, round)
            });
            if params.end == params.total {
                finish(work, basis, values, state.scale(), n);
            }
        },
    );
}

#[inline(always)]
fn start(x: &[f32], work: &mut [f32], basis: &mut [f32], state: &mut State<'_>, n: usize) {
    let rows = x.chunks(n).enumerate();
    let largest = rows.flat_map(|(i, row)| &row[..=i]).fold(0.0, |largest, x| maximum(largest, x.abs()));
    let scale = power_below(largest);
    let inverse = reciprocal_power(scale);
    for i in 0..n {
        for j in 0..n {
            work[i * n + j] = x[i.max(j) * n + i.min(j)] * inverse;
            basis[i * n + j] = if i == j { 1.0 } else { 0.0 };
        }
    }
    state.start(largest, scale);
}

#[inline(always)]
fn finish(work: &mut [f32], basis: &[f32], values: &mut [f32], scale: f32, n: usize) {
    if scale.is_nan() {
        work.fill(f32::NAN);
        values.fill(f32::NAN);
        return;
    }
    let mut own = [0.0; MOST_COLUMNS];
    own.iter_mut().zip(work.iter().step_by(n + 1)).for_each(|(own, x)| *own = *x);
    for j in 0..n {
        let is_before = |i: &usize| own[*i] < own[j] || own[*i] == own[j] && *i < j;
        let rank = (0..n).filter(is_before).count();
        values[rank] = own[j] * scale;
        (0..n).for_each(|i| work[i * n + rank] = basis[i * n + j]);
    }
}

pub(super) static EIGH: Kernel = Kernel {
    shader: &thalweg_shaders::EIGH,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write, Access::Write, Access::Write, Access::Write],
    variants: &[&[]],
    twin,
};

impl Tensor {
    /// Returns the eigenvalues of symmetric matrices in ascending order, and the eigenvectors as columns, A = V diag(w) Vᵀ.
    /// Only the lower triangles of A are read.
    ///
    /// The signs of the vectors, and the vectors of equal values, are arbitrary, as in PyTorch. A matrix with an element
    /// that is not finite gives NaN.
    ///
    /// # Shapes
    /// `[…, n, n]` → `[…, n]` and `[…, n, n]`.
    ///
    /// # Numerics
    /// Cyclic Jacobi rotations: the values have an error of some ε ‖A‖ or less, and so has A - V diag(w) Vᵀ.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 512.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let a = Tensor::from_slice(&Device::cpu(), &[2f32, 0.0, 0.0, 1.0], &[2, 2])?;
    /// let (values, vectors) = a.eigh()?;
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 2.0]);
    /// assert_eq!(vectors.to_vec::<f32>()?, [0.0, 1.0, 1.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn eigh(&self) -> Result<(Self, Self)> {
        let [batch, n] = squares("eigh", self, MOST_COLUMNS)?;
        let device = self.device();
        let fresh = |shape: &[usize]| Self::uninitialized(device, DType::F32, &with_batch(self, shape));
        let (work, values) = (fresh(&[n, n])?, fresh(&[n])?);
        if !self.is_empty() {
            let (x, basis, state) = (self.contiguous()?, fresh(&[n, n])?, fresh(&[3])?);
            let half = n.div_ceil(2);
            let of_round = turns(half) + turns(half * half) + turns(half * n) + 1;
            let total = MOST_SWEEPS * rounds(n);
            let of_step = |step: usize| match step {
                0 => of_round + 2 * turns(n * n),
                _ if step + 1 == total => of_round + turns(n) * (n + 2) + turns(n * n),
                _ => of_round,
            };
            for steps in launches(total, of_step) {
                let params = Params {
                    batch: batch as u32,
                    n: n as u32,
                    first: steps.start as u32,
                    end: steps.end as u32,
                    total: total as u32,
                };
                let launch = Launch::new(&EIGH, params).bind(&x).bind(&work).bind(&basis).bind(&values).bind(&state);
                launch.workgroups(batch).run(device)?;
            }
        }
        Ok((values, work))
    }
}
