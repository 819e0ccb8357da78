//! Shared parts of the matrix products: operands as kernel parameters, and the product on the CPU.

use super::batch::Batch;
use super::cpu::{Operand, Places, multiply};
use super::generated::form::Epilogue;
use super::plan::{self, ProductPlan};
use crate::tensor::expect_dtype;
use crate::threads::vectorized;
use crate::{DType, Device, Error, Result, Tensor};

/// The rows and columns of the tile that one workgroup of `shaders/shared/product.wgsl` computes.
const TILE_ROWS: usize = 64;
const TILE_COLUMNS: usize = 32;

/// The extents, offsets and strides of a product c[m, n] = a[m, k] b[k, n].
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Product {
    pub(crate) m: u32,
    pub(crate) n: u32,
    pub(crate) k: u32,
    pub(crate) a_offset: u32,
    pub(crate) a_row: u32,
    pub(crate) a_column: u32,
    pub(crate) b_offset: u32,
    pub(crate) b_row: u32,
    pub(crate) b_column: u32,
    /// The length of a slice, if the sum over k is split.
    pub(crate) slice: u32,
    pub(crate) padding: [u32; 2],
}

impl Product {
    /// Creates the product of two matrices, and checks it.
    pub(crate) fn new(op: &'static str, a: &Tensor, b: &Tensor) -> Result<Self> {
        for matrix in [a, b] {
            expect_dtype(op, matrix, DType::F32)?;
            if matrix.rank() != 2 {
                return Err(Error::Rank { op, expected: "a matrix", shape: matrix.shape().to_vec() });
            }
        }
        Self::of_last_axes(op, a, b)
    }

    /// Creates the product of the matrices in the last two axes of tensors, the first ones of a batch, and checks it.
    pub(crate) fn of_last_axes(op: &'static str, a: &Tensor, b: &Tensor) -> Result<Self> {
        a.same_device(op, b)?;
        let [(a_shape, a_strides), (b_shape, b_strides)] =
            [a, b].map(|x| (&x.shape()[x.rank() - 2..], &x.strides()[x.rank() - 2..]));
        if a_shape[1] != b_shape[0] {
            return Err(Error::Shape {
                op,
                rule: "inner dimensions differ",
                left: a.shape().to_vec(),
                right: b.shape().to_vec(),
            });
        }
        Ok(Self {
            m: a_shape[0] as u32,
            n: b_shape[1] as u32,
            k: a_shape[1] as u32,
            a_offset: a.offset() as u32,
            a_row: a_strides[0] as u32,
            a_column: a_strides[1] as u32,
            b_offset: b.offset() as u32,
            b_row: b_strides[0] as u32,
            b_column: b_strides[1] as u32,
            slice: 0,
            padding: [0; 2],
        })
    }

    /// Sums each row of `a` over k, in order of k, and writes the sums to `sums` or adds them.
    pub(crate) fn row_sums_of_a(&self, a: &[f32], sums: &mut [f32], accumulate: bool) {
        let sums = &mut sums[..self.m as usize];
        // Processes some rows at a time, so that their sums stay in registers.
        const ROWS: usize = 64;
        vectorized(
            #[inline(always)]
            || {
                for (block, sums) in sums.chunks_mut(ROWS).enumerate() {
                    let first = self.a_offset as usize + block * ROWS * self.a_row as usize;
                    let mut partial = [0f32; ROWS];
                    for k in 0..self.k as usize {
                        let column = &a[first + k * self.a_column as usize..];
                        if self.a_row == 1 && sums.len() == ROWS {
                            partial.iter_mut().zip(&column[..ROWS]).for_each(|(sum, &x)| *sum += x);
                        } else {
                            // The stride is 0 if one number is used for all rows.
                            let rows = partial[..sums.len()].iter_mut().enumerate();
                            rows.for_each(|(row, sum)| *sum += column[row * self.a_row as usize]);
                        }
                    }
                    for (sum, partial) in sums.iter_mut().zip(partial) {
                        *sum = if accumulate { *sum + partial } else { partial };
                    }
                }
            },
        );
    }

    /// Returns the number of arithmetic operations: 2 m n k.
    pub(crate) fn operations(&self) -> u64 {
        2 * u64::from(self.m) * u64::from(self.n) * u64::from(self.k)
    }

    /// Returns the number of workgroups of kernels with `shaders/shared/product.wgsl`.
    pub(crate) fn workgroups(&self) -> usize {
        (self.m as usize).div_ceil(TILE_ROWS) * (self.n as usize).div_ceil(TILE_COLUMNS)
    }

    /// Returns the kernels that compute this product on a device, with the operation's epilogue.
    pub(super) fn plan(&self, device: &Device, epilogue: Epilogue) -> ProductPlan {
        plan::plan(plan::products(device), self, &Batch::ONE, epilogue)
    }

    /// Computes c = a b, or c += a b, on the CPU; c is contiguous. `finish` receives finished parts of rows, with the
    /// row and the column where they start.
    pub(crate) fn compute(
        &self,
        a: &[f32],
        b: &[f32],
        c: &mut [f32],
        accumulate: bool,
        finish: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) {
        let operand = |data, offset: u32, row: u32, column: u32| {
            let data: &[f32] = data;
            let places = Places::Strides { row: row as usize, column: column as usize };
            Operand { data: &data[offset as usize..], places }
        };
        let a = operand(a, self.a_offset, self.a_row, self.a_column);
        let b = operand(b, self.b_offset, self.b_row, self.b_column);
        multiply([self.m as usize, self.n as usize, self.k as usize], a, b, c, accumulate, finish);
    }
}
