//! QR decomposition.

use super::{MOST_SIDE, launches, matrices, power_below, reciprocal_power, turns, with_batch};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::{LANES, maximum, tree};
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
}

/// Some steps: reflections of columns, or their products.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [w, q, factors] = call.bindings();
    let (m, n) = (params.m as usize, params.n as usize);
    let k = m.min(n);
    for_each_block(
        m * n,
        [m * k, k],
        w.write::<f32>(),
        [q.write::<u32>(), factors.write::<u32>()],
        #[inline(always)]
        |_, w, [q, factors]| {
            let (q, factors) = (bytemuck::cast_slice_mut(q), bytemuck::cast_slice_mut(factors));
            for step in params.first as usize..params.end as usize {
                if step < k {
                    factors[step] = reflect(w, n, step);
                    continue;
                }
                if step == k {
                    q.iter_mut().enumerate().for_each(|(i, q)| *q = if i / k == i % k { 1.0 } else { 0.0 });
                }
                let j = 2 * k - 1 - step;
                apply(w, n, j, factors[j], q, k, j);
            }
        },
    );
}

/// Reflects column j of matrices with n columns, and then the columns after it. Returns the factor of the reflection.
#[inline(always)]
fn reflect(w: &mut [f32], n: usize, j: usize) -> f32 {
    let column = |w: &[f32], first: usize, join: fn(f32, f32, f32) -> f32, scale: f32| {
        let mut lanes = [0.0; LANES];
        w.iter().skip(first * n + j).step_by(n).enumerate().for_each(|(i, &x)| {
            lanes[i % LANES] = join(lanes[i % LANES], x, scale);
        });
        lanes
    };
    let largest = tree(column(w, j, |largest, x, _| maximum(largest, x.abs()), 1.0), maximum);
    let scale = power_below(largest);
    let inverse = reciprocal_power(scale);
    let sum = tree(column(w, j + 1, |sum, x, inverse| sum + (x * inverse) * (x * inverse), inverse), |x, y| x + y);
    let head = w[j * n + j];
    if sum == 0.0 {
        return 0.0;
    }
    let norm = scale * (sum + (head * inverse) * (head * inverse)).sqrt();
    let new_head = if head < 0.0 { norm } else { -norm };
    let factor = (new_head - head) / new_head;
    w.iter_mut().skip((j + 1) * n + j).step_by(n).for_each(|x| *x /= head - new_head);
    w[j * n + j] = new_head;
    // The columns after it are in the same rows as the reflection.
    let mut dots = [0.0; MOST_SIDE];
    let dots = &mut dots[j + 1..n];
    dots.copy_from_slice(&w[j * n + j + 1..][..n - j - 1]);
    for row in w.chunks(n).skip(j + 1) {
        dots.iter_mut().zip(&row[j + 1..]).for_each(|(dot, x)| *dot += row[j] * x);
    }
    dots.iter_mut().for_each(|dot| *dot *= factor);
    w[j * n + j + 1..][..n - j - 1].iter_mut().zip(&*dots).for_each(|(x, dot)| *x -= dot);
    for row in w.chunks_mut(n).skip(j + 1) {
        let own = row[j];
        row[j + 1..].iter_mut().zip(&*dots).for_each(|(x, dot)| *x -= own * dot);
    }
    factor
}

/// Applies the reflection in column j of w to the columns from `first` on of q, which has k.
#[inline(always)]
fn apply(w: &[f32], n: usize, j: usize, factor: f32, q: &mut [f32], k: usize, first: usize) {
    let mut dots = [0.0; MOST_SIDE];
    let dots = &mut dots[first..k];
    dots.copy_from_slice(&q[j * k + first..][..k - first]);
    for (row, q) in w.chunks(n).zip(q.chunks(k)).skip(j + 1) {
        dots.iter_mut().zip(&q[first..]).for_each(|(dot, x)| *dot += row[j] * x);
    }
    dots.iter_mut().for_each(|dot| *dot *= factor);
    q[j * k + first..][..k - first].iter_mut().zip(&*dots).for_each(|(x, dot)| *x -= dot);
    for (row, q) in w.chunks(n).zip(q.chunks_mut(k)).skip(j + 1) {
        q[first..].iter_mut().zip(&*dots).for_each(|(x, dot)| *x -= row[j] * dot);
    }
}

pub(super) static QR: Kernel = Kernel {
    shader: &thalweg_shaders::QR,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Write, Access::Write],
    variants: &[&[]],
    twin,
};

impl Tensor {
    /// Returns the reduced QR decomposition of matrices, A = Q R: Q has orthonormal columns, R is an upper triangle.
    ///
    /// The signs are those of LAPACK, and so of PyTorch: the diagonal of R has negative and positive elements.
    ///
    /// # Shapes
    /// `[…, m, n]` → `[…, m, k]` and `[…, k, n]` with k = min(m, n).
    ///
    /// # Numerics
    /// Householder reflections: ‖QᵀQ - 1‖ is some ε times m, and ‖Q R - A‖ that times ‖A‖. Columns are divided by powers of
    /// two, so their norms neither overflow nor vanish.
    ///
    /// # Errors
    /// If the elements are not f32, there are fewer than two axes, or m or n is above 1,024.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let (q, r) = Tensor::from_slice(&Device::cpu(), &[3f32, 4.0], &[2, 1])?.qr()?;
    /// assert_eq!((q.shape(), r.to_vec::<f32>()?), (&[2, 1][..], vec![-5.0]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn qr(&self) -> Result<(Self, Self)> {
        let [batch, m, n] = matrices("qr", self, MOST_SIDE)?;
        let (k, device) = (m.min(n), self.device());
        let w = self.copy()?;
        let q = Self::uninitialized(device, DType::F32, &with_batch(self, &[m, k]))?;
        if !w.is_empty() {
            let factors = Self::uninitialized(device, DType::F32, &with_batch(self, &[k]))?;
            let of_step = |step: usize| {
                let (j, columns) = if step < k { (step, n) } else { (2 * k - 1 - step, k) };
                let start = if step == k { turns(m * k) } else { 0 };
                start + turns(columns - j) * 2 * (m - j) + 3 * turns(m) + 16
            };
            for steps in launches(2 * k, of_step) {
                let params = Params {
                    batch: batch as u32,
                    m: m as u32,
                    n: n as u32,
                    first: steps.start as u32,
                    end: steps.end as u32,
                };
                Launch::new(&QR, params).bind(&w).bind(&q).bind(&factors).workgroups(batch).run(device)?;
            }
        }
        Ok((q, w.slice(-2, 0, k)?.triu(0)?))
    }
}
