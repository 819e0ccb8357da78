//! Singular values and vectors.

use super::jacobi::{MOST_COLUMNS, MOST_SWEEPS, Rotation, State, pairs, rounds};
use super::{launches, matrices, power_below, reciprocal_power, turns, with_batch};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::maximum;
use crate::threads::for_each_block;
use crate::{DType, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    batch: u32,
    m: u32,
    n: u32,
    first: u32,
    end: u32,
    total: u32,
    bound: f32,
}

/// Some rounds of rotations, and at the end the values and vectors in order.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [w, v, values, state, u, vh] = call.bindings();
    let (m, n) = (params.m as usize, params.n as usize);
    let others = [v.write::<u32>(), values.write::<u32>(), state.write::<u32>(), u.write::<u32>(), vh.write::<u32>()];
    for_each_block(
        m * n,
        [n * n, n, 3, m * n, n * n],
        w.write::<f32>(),
        others,
        #[inline(always)]
        |_, w, [v, values, state, u, vh]| {
            let mut state = State(state);
            let [v, values, u, vh] = [v, values, u, vh].map(bytemuck::cast_slice_mut::<u32, f32>);
            if params.first == 0 {
                let largest = w.iter().fold(0.0, |largest, x| maximum(largest, x.abs()));
                let scale = power_below(largest);
                let inverse = reciprocal_power(scale);
                w.iter_mut().for_each(|x| *x *= inverse);
                v.iter_mut().enumerate().for_each(|(i, v)| *v = if i / n == i % n { 1.0 } else { 0.0 });
                state.start(largest, scale);
            }
            state.run(params.first..params.end, rounds(n), |round| rotate(w, v, n, round, params.bound));
            if params.end == params.total {
                if state.scale().is_nan() {
                    [values, u, vh].into_iter().for_each(|results| results.fill(f32::NAN));
                } else {
                    finish(w, v, [values, u, vh], state.scale(), n);
                }
            }
        },
    );
}

/// Makes the columns of each pair of a round orthogonal. Returns whether some were not.
#[inline(always)]
fn rotate(w: &mut [f32], v: &mut [f32], n: usize, round: usize, bound: f32) -> bool {
    let mut sums = [[0.0f32; 3]; MOST_COLUMNS / 2];
    for row in w.chunks(n) {
        for (sums, (p, q)) in sums.iter_mut().zip(pairs(n, round)) {
            let (p, q) = (row[p], row[q]);
            *sums = [sums[0] + p * p, sums[1] + q * q, sums[2] + p * q];
        }
    }
    let mut rotations = [((0, 0), Rotation::default()); MOST_COLUMNS / 2];
    let mut count = 0;
    for ([pp, qq, pq], pair) in sums.into_iter().zip(pairs(n, round)) {
        if pq.abs() > bound * pp.sqrt() * qq.sqrt() {
            rotations[count] = (pair, Rotation::new(pp, qq, pq));
            count += 1;
        }
    }
    for row in w.chunks_mut(n).chain(v.chunks_mut(n)) {
        for &((p, q), rotation) in &rotations[..count] {
            (row[p], row[q]) = rotation.of(row[p], row[q]);
        }
    }
    count > 0
}

#[inline(always)]
fn finish(w: &[f32], v: &[f32], [values, u, vh]: [&mut [f32]; 3], scale: f32, n: usize) {
    let mut own = [0.0f32; MOST_COLUMNS];
    for row in w.chunks(n) {
        own.iter_mut().zip(row).for_each(|(own, x)| *own += x * x);
    }
    own.iter_mut().for_each(|own| *own = own.sqrt());
    for j in 0..n {
        let is_before = |i: &usize| own[*i] > own[j] || own[*i] == own[j] && *i < j;
        let rank = (0..n).filter(is_before).count();
        values[rank] = own[j] * scale;
        u.iter_mut().skip(rank).step_by(n).zip(w.iter().skip(j).step_by(n)).for_each(|(u, w)| *u = *w);
        vh[rank * n..][..n].iter_mut().zip(v.iter().skip(j).step_by(n)).for_each(|(vh, v)| *vh = *v);
    }
}

pub(super) static SVD: Kernel = Kernel {
    shader: &thalweg_shaders::SVD,
    uniform: size_of::<Params>(),
    access: &[Access::Write; 6],
    variants: &[&[]],
    twin,
};

impl Tensor {
    /// Returns the reduced singular value decomposition of matrices, A = U diag(s) Vh: U has orthonormal columns, Vh
    /// orthonormal rows, and the values are in descending order. It is PyTorch's `svd` with `full_matrices=False`.
    ///
    /// The signs of the vectors, and the vectors of equal values, are arbitrary, as in PyTorch. A matrix with an element
    /// that is not finite gives NaN.
    ///
    /// # Shapes
    /// `[…, m, n]` → `[…, m, k]`, `[…, k]` and `[…, k, n]` with k = min(m, n).
    ///
    /// # Numerics
    /// One-sided Jacobi rotations: the error of the values and of the product is some ε m ‖A‖ or less.
    ///
    /// # Errors
    /// If the elements are not f32, there are fewer than two axes, or m or n is above 512.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let a = Tensor::from_slice(&Device::cpu(), &[0f32, 2.0, 3.0, 0.0], &[2, 2])?;
    /// let (u, s, vh) = a.svd()?;
    /// assert_eq!(s.to_vec::<f32>()?, [3.0, 2.0]);
    /// assert_eq!(u.mul(&s)?.matmul(&vh)?.to_vec::<f32>()?, [0.0, 2.0, 3.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn svd(&self) -> Result<(Self, Self, Self)> {
        let [_, m, n] = matrices("svd", self, MOST_COLUMNS)?;
        if m < n {
            let (u, s, vh) = self.transpose(-2, -1)?.svd()?;
            return Ok((vh.transpose(-2, -1)?, s, u.transpose(-2, -1)?));
        }
        let [u, s, vh] = self.rotated_columns()?;
        // The columns are orthogonal, but some may be zero. Their decomposition fills these, and may turn others around.
        let (q, r) = u.qr()?;
        let diagonal = r.diagonal(0, -2, -1)?;
        let sign = diagonal.ge(&Self::scalar(self.device(), 0f32)?)?.affine(2.0, -1.0)?;
        Ok((q.mul(&sign.unsqueeze(-2)?)?, s, vh))
    }

    /// Returns the singular values of matrices in descending order.
    ///
    /// # Shapes
    /// `[…, m, n]` → `[…, min(m, n)]`.
    ///
    /// # Errors
    /// If the elements are not f32, there are fewer than two axes, or m or n is above 512.
    pub fn svdvals(&self) -> Result<Self> {
        let [_, m, n] = matrices("svdvals", self, MOST_COLUMNS)?;
        let [_, s, _] = if m < n { self.transpose(-2, -1)? } else { self.clone() }.rotated_columns()?;
        Ok(s)
    }

    /// Returns the left vectors times their values, divided by a power of two, the values, and the right vectors as rows, of
    /// matrices with at least as many rows as columns.
    fn rotated_columns(&self) -> Result<[Self; 3]> {
        let [batch, m, n] = matrices("svd", self, MOST_COLUMNS)?;
        let device = self.device();
        let fresh = |shape: &[usize]| Self::uninitialized(device, DType::F32, &with_batch(self, shape));
        let (values, u, vh) = (fresh(&[n])?, fresh(&[m, n])?, fresh(&[n, n])?);
        if self.is_empty() {
            return Ok([u, values, vh]);
        }
        let (w, v, state) = (self.copy()?, fresh(&[n, n])?, fresh(&[3])?);
        let of_round = turns(n.div_ceil(2)) * (2 * m + n) + 1;
        let total = MOST_SWEEPS * rounds(n);
        let of_step = |step: usize| match step {
            0 => of_round + 2 * turns(m * n) + turns(n * n),
            _ if step + 1 == total => of_round + turns(n) * (m + n) + turns(m * n) + turns(n * n),
            _ => of_round,
        };
        for steps in launches(total, of_step) {
            let params = Params {
                batch: batch as u32,
                m: m as u32,
                n: n as u32,
                first: steps.start as u32,
                end: steps.end as u32,
                total: total as u32,
                // LAPACK's: the rounding of a sum of m products.
                bound: 0.5 * f32::EPSILON * (m as f32).sqrt(),
            };
            let launch = Launch::new(&SVD, params).bind(&w).bind(&v).bind(&values).bind(&state).bind(&u).bind(&vh);
            launch.workgroups(batch).run(device)?;
        }
        Ok([u, values, vh])
    }
}
