//! What the matrix products share: operands as kernels read them, and the product of the CPU.

use crate::kernel::expect_dtype;
use crate::{DType, Error, Result, Tensor};

/// Rows and columns of the tile that one workgroup of `shaders/shared/product.wgsl` computes.
const TILE_ROWS: usize = 64;
const TILE_COLUMNS: usize = 32;

/// Extents, offsets and strides of a product c[m, n] = a[m, k] b[k, n].
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Product {
    pub(super) m: u32,
    pub(super) n: u32,
    pub(super) k: u32,
    a_offset: u32,
    a_row: u32,
    a_column: u32,
    b_offset: u32,
    b_row: u32,
    b_column: u32,
    padding: [u32; 3],
}

impl Product {
    /// The product of two matrices, checked.
    pub(super) fn new(op: &'static str, a: &Tensor, b: &Tensor) -> Result<Self> {
        for matrix in [a, b] {
            expect_dtype(op, matrix, DType::F32)?;
            if matrix.rank() != 2 {
                return Err(Error::Rank { op, expected: "a matrix", shape: matrix.shape().to_vec() });
            }
        }
        a.same_device(op, b)?;
        if a.shape()[1] != b.shape()[0] {
            return Err(Error::Shape {
                op,
                rule: "inner dimensions differ",
                left: a.shape().to_vec(),
                right: b.shape().to_vec(),
            });
        }
        Ok(Self {
            m: a.shape()[0] as u32,
            n: b.shape()[1] as u32,
            k: a.shape()[1] as u32,
            a_offset: a.offset() as u32,
            a_row: a.strides()[0] as u32,
            a_column: a.strides()[1] as u32,
            b_offset: b.offset() as u32,
            b_row: b.strides()[0] as u32,
            b_column: b.strides()[1] as u32,
            padding: [0; 3],
        })
    }

    /// The sum over k of each row of `a`, in order of k.
    pub(super) fn row_sums_of_a(&self, a: &[f32]) -> Vec<f32> {
        let mut sums = vec![0.0; self.m as usize];
        for k in 0..self.k as usize {
            let column = &a[self.a_offset as usize + k * self.a_column as usize..];
            if self.a_row == 1 {
                sums.iter_mut().zip(column).for_each(|(sum, &x)| *sum += x);
            } else {
                // The stride is 0 where one number stands for all rows.
                sums.iter_mut().enumerate().for_each(|(row, sum)| *sum += column[row * self.a_row as usize]);
            }
        }
        sums
    }

    /// Arithmetic operations: 2 m n k.
    pub(super) fn operations(&self) -> u64 {
        2 * u64::from(self.m) * u64::from(self.n) * u64::from(self.k)
    }

    pub(super) fn workgroups(&self) -> usize {
        (self.m as usize).div_ceil(TILE_ROWS) * (self.n as usize).div_ceil(TILE_COLUMNS)
    }

    /// c = a b, or c += a b, on the CPU; c is contiguous.
    pub(super) fn compute(&self, a: &[f32], b: &[f32], c: &mut [f32], accumulate: bool) {
        let matrix = |slice: &[f32], offset: u32, rows: u32, columns: u32, row: u32, column: u32| {
            let last = offset as usize + (rows as usize - 1) * row as usize + (columns as usize - 1) * column as usize;
            assert!(last < slice.len(), "an operand of a product reaches past its buffer");
        };
        if self.m == 0 || self.n == 0 {
            return;
        }
        let c = &mut c[..self.m as usize * self.n as usize];
        if self.k == 0 {
            if !accumulate {
                c.fill(0.0);
            }
            return;
        }
        matrix(a, self.a_offset, self.m, self.k, self.a_row, self.a_column);
        matrix(b, self.b_offset, self.k, self.n, self.b_row, self.b_column);
        let parallelism =
            if self.operations() < PARALLEL_OPERATIONS { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(0) };
        #[allow(unsafe_code, reason = "the library takes pointers; the slices were just held against the strides")]
        // SAFETY: `a` and `b` hold every element that extents, offset and strides reach, as asserted above, and `c`
        // holds m n elements, exclusively.
        unsafe {
            gemm::gemm(
                self.m as usize,
                self.n as usize,
                self.k as usize,
                c.as_mut_ptr(),
                1,
                self.n as isize,
                accumulate,
                a.as_ptr().add(self.a_offset as usize),
                self.a_column as isize,
                self.a_row as isize,
                b.as_ptr().add(self.b_offset as usize),
                self.b_column as isize,
                self.b_row as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
    }
}

/// Below this many operations a second thread costs more than it brings.
const PARALLEL_OPERATIONS: u64 = 4_000_000;

/// Checks the tensor that an operation writes.
pub(super) fn expect_target(op: &'static str, target: &Tensor, shape: &[usize]) -> Result<()> {
    expect_dtype(op, target, DType::F32)?;
    if target.shape() == shape && target.is_bindable() {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        rule: "the target has another shape, or gaps",
        left: target.shape().to_vec(),
        right: shape.to_vec(),
    })
}
