//! Triangular systems.

use super::{MOST_SIDE, launches, squares};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::threads::for_each_chunk_of;
use crate::{DType, Error, Result, Tensor, shape};

/// The right sides of a workgroup.
const TILE: usize = 16;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    batch: u32,
    n: u32,
    columns: u32,
    tiles: u32,
    first: u32,
    end: u32,
    is_upper: u32,
    is_unit: u32,
}

/// Divides a row of x by the diagonal and subtracts it from those that are left, as often as there are steps.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [a, x] = call.bindings();
    let (a, n, columns) = (a.read::<f32>(), params.n as usize, params.columns as usize);
    for_each_chunk_of(
        n * columns,
        x.write::<f32>(),
        #[inline(always)]
        |start, x| {
            let a = &a[start / columns * n..][..n * n];
            for step in params.first as usize..params.end as usize {
                let j = if params.is_upper != 0 { n - 1 - step } else { step };
                let (above, below) = x.split_at_mut(j * columns);
                let (row, below) = below.split_at_mut(columns);
                if params.is_unit == 0 {
                    row.iter_mut().for_each(|x| *x /= a[j * n + j]);
                }
                let (first, others) = if params.is_upper != 0 { (0, above) } else { (j + 1, below) };
                for (i, other) in others.chunks_mut(columns).enumerate() {
                    let factor = a[(first + i) * n + j];
                    other.iter_mut().zip(&*row).for_each(|(y, x)| *y -= factor * x);
                }
            }
        },
    );
}

pub(super) static SOLVE_TRIANGULAR: Kernel = Kernel {
    shader: &thalweg_shaders::SOLVE_TRIANGULAR,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write],
    variants: &[&[]],
    twin,
};

impl Tensor {
    /// Returns the solution X of A X = B, or of X A = B if A is not on the left, for triangular A. `upper` says which
    /// triangle of A is read. If A is `unitriangular`, its diagonal counts as ones and is not read. Batches broadcast.
    ///
    /// A zero on the diagonal gives infinities or NaN, as in PyTorch.
    ///
    /// # Shapes
    /// A `[…, n, n]` and B `[…, n, k]` → `[…, n, k]`; if A is on the right, B `[…, k, n]` → `[…, k, n]`.
    ///
    /// # Errors
    /// If the elements are not f32, A is not square, B has another number of rows, the batches do not broadcast, n is above
    /// 1,024, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let a = Tensor::from_slice(&Device::cpu(), &[2f32, 0.0, 1.0, 4.0], &[2, 2])?;
    /// let b = Tensor::from_slice(&Device::cpu(), &[2f32, 9.0], &[2, 1])?;
    /// assert_eq!(a.solve_triangular(&b, false, true, false)?.to_vec::<f32>()?, [1.0, 2.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn solve_triangular(&self, b: &Self, upper: bool, left: bool, unitriangular: bool) -> Result<Self> {
        let op = "solve_triangular";
        let [_, n] = squares(op, self, MOST_SIDE)?;
        expect_dtype(op, b, DType::F32)?;
        if !left {
            if b.rank() < 2 {
                return Err(Error::Rank { op, expected: "at least 2 dimensions", shape: b.shape().to_vec() });
            }
            let transposed = self.transpose(-2, -1)?;
            return transposed.solve_triangular(&b.transpose(-2, -1)?, !upper, true, unitriangular)?.transpose(-2, -1);
        }
        let (a, b) = broadcast(op, self, b, n)?;
        let x = b.copy()?;
        a.contiguous()?.solve_into(&x, upper, unitriangular)?;
        Ok(x)
    }

    /// Solves in place. The matrix is contiguous and has the batch of x.
    pub(super) fn solve_into(&self, x: &Self, upper: bool, unitriangular: bool) -> Result<()> {
        if x.is_empty() {
            return Ok(());
        }
        let (n, columns) = (x.shape()[x.rank() - 2], x.shape()[x.rank() - 1]);
        let (batch, tiles) = (x.len() / (n * columns), columns.div_ceil(TILE));
        for steps in launches(n, |step| 1 + (n - 1 - step).div_ceil(64 / TILE)) {
            let params = Params {
                batch: batch as u32,
                n: n as u32,
                columns: columns as u32,
                tiles: tiles as u32,
                first: steps.start as u32,
                end: steps.end as u32,
                is_upper: upper.into(),
                is_unit: unitriangular.into(),
            };
            Launch::new(&SOLVE_TRIANGULAR, params).bind(self).bind(x).workgroups(batch * tiles).run(self.device())?;
        }
        Ok(())
    }
}

/// Broadcasts the batches of a matrix of side `n` and of right sides.
pub(super) fn broadcast(op: &'static str, a: &Tensor, b: &Tensor, n: usize) -> Result<(Tensor, Tensor)> {
    a.same_device(op, b)?;
    let &[ref batch @ .., rows, columns] = b.shape() else {
        return Err(Error::Rank { op, expected: "at least 2 dimensions", shape: b.shape().to_vec() });
    };
    if rows != n {
        let rule = "the matrix has as many columns as the right sides have rows";
        return Err(Error::Shape { op, rule, left: a.shape().to_vec(), right: b.shape().to_vec() });
    }
    let batch = shape::broadcast(op, &a.shape()[..a.rank() - 2], batch)?;
    Ok((a.broadcast_to(&[&batch[..], &[n, n]].concat())?, b.broadcast_to(&[&batch[..], &[n, columns]].concat())?))
}
