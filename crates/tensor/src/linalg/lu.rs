//! LU decomposition, and what follows from it: linear systems, inverses and determinants.

use super::triangular::broadcast;
use super::{MOST_SIDE, launches, squares, turns, with_batch};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::threads::for_each_block;
use crate::{DType, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    batch: u32,
    n: u32,
    first: u32,
    end: u32,
}

/// Some columns of the decomposition, in place, with row exchanges.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [y, order, sign] = call.bindings();
    let n = params.n as usize;
    for_each_block(
        n * n,
        [n, 1],
        y.write::<f32>(),
        [order.write::<u32>(), sign.write::<u32>()],
        #[inline(always)]
        |index, y, [order, sign]| {
            if params.first == 0 {
                (index * n..).zip(&mut *order).for_each(|(row, order)| *order = row as u32);
                sign[0] = 1f32.to_bits();
            }
            for j in params.first as usize..params.end as usize {
                let (mut largest, mut p) = (-1.0, j);
                for i in j..n {
                    let size = y[i * n + j].abs();
                    if size > largest {
                        (largest, p) = (size, i);
                    }
                }
                let (above, below) = y.split_at_mut((j + 1) * n);
                let row = &mut above[j * n..];
                if p != j {
                    row.swap_with_slice(&mut below[(p - j - 1) * n..][..n]);
                    order.swap(j, p);
                    sign[0] = (-f32::from_bits(sign[0])).to_bits();
                }
                for other in below.chunks_mut(n) {
                    if row[j] != 0.0 {
                        other[j] /= row[j];
                    }
                    let factor = other[j];
                    other[j + 1..].iter_mut().zip(&row[j + 1..]).for_each(|(y, x)| *y -= factor * x);
                }
            }
        },
    );
}

pub(super) static LU: Kernel = Kernel {
    shader: &thalweg_shaders::LU,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Write, Access::Write],
    variants: &[&[]],
    twin,
};

/// L and U in one matrix each, the rows in their new order, counted through the batch, and the sign of the permutation.
struct Factors {
    both: Tensor,
    order: Tensor,
    sign: Tensor,
}

impl Factors {
    fn of(op: &'static str, a: &Tensor) -> Result<Self> {
        let [batch, n] = squares(op, a, MOST_SIDE)?;
        let device = a.device();
        let order = Tensor::uninitialized(device, DType::U32, &with_batch(a, &[n]))?;
        if n == 0 {
            return Ok(Self { both: a.copy()?, order, sign: Tensor::full(device, 1f32, &with_batch(a, &[]))? });
        }
        let (both, sign) = (a.copy()?, Tensor::uninitialized(device, DType::F32, &with_batch(a, &[]))?);
        if batch > 0 {
            for steps in launches(n, |j| 3 * turns(n) + 16 + turns((n - j - 1).pow(2))) {
                let params =
                    Params { batch: batch as u32, n: n as u32, first: steps.start as u32, end: steps.end as u32 };
                Launch::new(&LU, params).bind(&both).bind(&order).bind(&sign).workgroups(batch).run(device)?;
            }
        }
        Ok(Self { both, order, sign })
    }

    /// The right sides, with the rows in the new order, in new memory.
    fn ordered(&self, b: &Tensor) -> Result<Tensor> {
        let columns = b.shape()[b.rank() - 1];
        if b.is_empty() {
            return b.copy();
        }
        let rows = b.reshape(&[b.len() / columns, columns])?;
        rows.gather_rows(&self.order.reshape(&[self.order.len()])?)?.reshape(b.shape())
    }

    /// The solution for right sides of the same batch.
    fn solve(&self, b: &Tensor) -> Result<Tensor> {
        let x = self.ordered(b)?;
        self.both.solve_into(&x, false, true)?;
        self.both.solve_into(&x, true, false)?;
        Ok(x)
    }
}

/// Returns whether the right side of a system is a vector, or a batch of them: PyTorch's rule.
fn is_vector(a: &Tensor, b: &Tensor) -> bool {
    b.rank() == 1 || b.rank() + 1 == a.rank() && b.shape() == &a.shape()[..b.rank()]
}

impl Tensor {
    /// Returns the LU decomposition of square matrices with row exchanges, A = P L U: a permutation, a lower triangle with
    /// ones on the diagonal, and an upper triangle.
    ///
    /// # Shapes
    /// `[…, n, n]` → three of `[…, n, n]`.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 1,024.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let (p, l, u) = Tensor::from_slice(&Device::cpu(), &[1f32, 2.0, 2.0, 8.0], &[2, 2])?.lu()?;
    /// assert_eq!(p.to_vec::<f32>()?, [0.0, 1.0, 1.0, 0.0]);
    /// assert_eq!(l.to_vec::<f32>()?, [1.0, 0.0, 0.5, 1.0]);
    /// assert_eq!(u.to_vec::<f32>()?, [2.0, 8.0, 0.0, -2.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn lu(&self) -> Result<(Self, Self, Self)> {
        let factors = Factors::of("lu", self)?;
        let n = self.shape()[self.rank() - 1];
        let unit = Self::eye(self.device(), n, n)?;
        let permuted = factors.ordered(&unit.broadcast_to(self.shape())?)?;
        Ok((permuted.transpose(-2, -1)?, factors.both.tril(-1)?.add(&unit)?, factors.both.triu(0)?))
    }

    /// Returns the solution X of A X = B by an LU decomposition with row exchanges. Batches broadcast.
    ///
    /// A singular matrix gives infinities or NaN, where PyTorch fails.
    ///
    /// # Shapes
    /// A `[…, n, n]` and B `[…, n, k]` → `[…, n, k]`. B may be a vector `[n]`, or have the shape of A without its last axis;
    /// then the result has the batch of A and one number for each row.
    ///
    /// # Numerics
    /// The relative error is some n ε times the condition of A.
    ///
    /// # Errors
    /// If the elements are not f32, A is not square, B has another number of rows, the batches do not broadcast, n is above
    /// 1,024, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let a = Tensor::from_slice(&Device::cpu(), &[0f32, 2.0, 4.0, 1.0], &[2, 2])?;
    /// let b = Tensor::from_slice(&Device::cpu(), &[2f32, 9.0], &[2])?;
    /// assert_eq!(a.solve(&b)?.to_vec::<f32>()?, [2.0, 1.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn solve(&self, b: &Self) -> Result<Self> {
        let op = "solve";
        let [_, n] = squares(op, self, MOST_SIDE)?;
        expect_dtype(op, b, DType::F32)?;
        if is_vector(self, b) {
            return self.solve(&b.unsqueeze(-1)?)?.squeeze(-1);
        }
        let (a, b) = broadcast(op, self, b, n)?;
        Factors::of(op, &a)?.solve(&b)
    }

    /// Returns the inverses of square matrices. A singular one gives infinities or NaN, where PyTorch fails. For systems
    /// [`solve`](Self::solve) is faster and more accurate.
    ///
    /// # Shapes
    /// `[…, n, n]` → `[…, n, n]`.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 1,024.
    pub fn inv(&self) -> Result<Self> {
        let factors = Factors::of("inv", self)?;
        let n = self.shape()[self.rank() - 1];
        factors.solve(&Self::eye(self.device(), n, n)?.broadcast_to(self.shape())?)
    }

    /// Returns the determinants of square matrices. That of a matrix without rows is 1.
    ///
    /// # Shapes
    /// `[…, n, n]` → `[…]`.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 1,024.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let a = Tensor::from_slice(&Device::cpu(), &[1f32, 2.0, 4.0, 2.0], &[2, 2])?;
    /// assert_eq!(a.det()?.item::<f32>()?, -6.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn det(&self) -> Result<Self> {
        let factors = Factors::of("det", self)?;
        factors.both.diagonal(0, -2, -1)?.prod_along(-1, false)?.mul(&factors.sign)
    }

    /// Returns the signs of the determinants of square matrices, and the logarithms of their magnitudes. A singular matrix
    /// has the sign 0 and the logarithm -∞.
    ///
    /// # Shapes
    /// `[…, n, n]` → `[…]` and `[…]`.
    ///
    /// # Errors
    /// If the elements are not f32, the matrices are not square, or n is above 1,024.
    pub fn slogdet(&self) -> Result<(Self, Self)> {
        let factors = Factors::of("slogdet", self)?;
        let diagonal = factors.both.diagonal(0, -2, -1)?;
        let sign = diagonal.sign()?.prod_along(-1, false)?.mul(&factors.sign)?;
        Ok((sign, diagonal.abs()?.log()?.sum_along(-1, false)?))
    }
}
