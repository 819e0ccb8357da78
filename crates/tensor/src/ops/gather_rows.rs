//! Gathers rows of a table by their numbers, and adds rows back into a table.

use super::scatter_add::add_rows;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::{expect_dtype, expect_target, expect_words};
use crate::threads::for_each_row;
use crate::{Axis, DType, Device, Error, Result, Tensor, note_fault};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    columns: u32,
    count: u32,
    lanes: u32,
    operation: u32,
}

/// The number of vectors of four per lane in a row: one turn on hardware, several in software, where a workgroup
/// itself costs microseconds.
const VECTORS_PER_LANE: usize = 4;
const VECTORS_PER_LANE_IN_SOFTWARE: usize = 64;

/// The fewest lanes of a row, if it has as many vectors: on hardware, neighbouring lanes should take neighbouring
/// vectors.
const LEAST_LANES: usize = 16;

/// How workgroups divide gathered rows. Shared by the kernels `gather_rows` and `batch`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    /// Whether the length of a row is a multiple of four, and lanes take whole vectors of one row.
    pub(super) by_four: bool,
    /// The lanes of a row, if `by_four`.
    pub(super) lanes: usize,
    pub(super) workgroups: usize,
}

impl Shares {
    pub(super) fn new(device: &Device, count: usize, columns: usize) -> Self {
        if !columns.is_multiple_of(4) || columns == 0 {
            return Self { by_four: false, lanes: 0, workgroups: (count * columns).div_ceil(4).div_ceil(64) };
        }
        let vectors = columns / 4;
        let lanes = if device.is_software() {
            vectors.div_ceil(VECTORS_PER_LANE_IN_SOFTWARE)
        } else {
            vectors.div_ceil(VECTORS_PER_LANE).max(LEAST_LANES.min(vectors))
        };
        Self { by_four: true, lanes, workgroups: (count * lanes).div_ceil(64) }
    }
}

/// The override constants of kernels that gather rows.
pub(super) const GATHER_VARIANTS: &[&[(&str, f64)]] = &[&[("BY_FOUR", 0.0)], &[("BY_FOUR", 1.0)]];

/// target[i, j] = source[row_of(i), j], or NaN for an invalid row. Twin of `shaders/shared/gather.wgsl`.
pub(super) fn gather(
    source: &[u32],
    rows: u32,
    columns: usize,
    target: &mut [u32],
    row_of: impl Fn(usize) -> u32 + Sync,
) {
    for_each_row(
        target,
        columns,
        #[inline(always)]
        |i, target| {
            let row = row_of(i);
            if row < rows {
                target.copy_from_slice(&source[row as usize * columns..][..columns]);
            } else {
                target.fill(f32::NAN.to_bits());
            }
        },
    );
}

/// gathered[i, j] = source[indices[i], j].
fn gather_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [source, indices, gathered, faults] = call.bindings();
    let indices = indices.read::<u32>();
    gather(source.read(), params.rows, params.columns as usize, gathered.write(), |i| indices[i]);
    if let Some(&index) = indices[..params.count as usize].iter().find(|index| **index >= params.rows) {
        note_fault(faults.write(), index, params.rows, params.operation);
    }
}

pub(super) static GATHER_ROWS: Kernel = Kernel {
    shader: &thalweg_shaders::GATHER_ROWS,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Write],
    variants: GATHER_VARIANTS,
    twin: gather_twin,
};

impl Tensor {
    /// Returns the rows with these numbers, in this order; a row may occur several times.
    ///
    /// # Shapes
    /// table `[rows, …]`, indices u32 `[n]` → `[n, …]`.
    ///
    /// # Numerics
    /// An invalid number gives a row of NaN (for u32 0x7fc00000, the same bits), and the next read-back from the device
    /// returns [`Error::Index`].
    ///
    /// # Errors
    /// If the table has no dimension or 16-bit elements, the indices are not a list of u32, or the devices differ.
    pub fn gather_rows(&self, indices: &Self) -> Result<Self> {
        let op = "gather_rows";
        expect_words(op, self)?;
        expect_dtype(op, indices, DType::U32)?;
        self.same_device(op, indices)?;
        0.of(op, self.shape())?;
        if indices.rank() != 1 {
            return Err(Error::Rank { op, expected: "a list of indices", shape: indices.shape().to_vec() });
        }
        let mut shape = self.shape().to_vec();
        shape[0] = indices.len();
        let y = Self::uninitialized(self.device(), self.dtype(), &shape)?;
        let columns: usize = self.shape()[1..].iter().product();
        let shares = Shares::new(self.device(), indices.len(), columns);
        let (faults, operation) = self.device().faults(op)?;
        let params = Params {
            rows: self.shape()[0] as u32,
            columns: columns as u32,
            count: indices.len() as u32,
            lanes: shares.lanes as u32,
            operation,
        };
        Launch::new(&GATHER_ROWS, params)
            .constant("BY_FOUR", shares.by_four)
            .bind(&self.contiguous()?)
            .bind(&indices.contiguous()?)
            .bind(&y)
            .bind(&faults)
            .uses(0, y.len())
            .uses(3, 0)
            .workgroups(shares.workgroups)
            .run(self.device())?;
        Ok(y)
    }

    /// Returns the rows with these numbers, in the shape of the indices: PyTorch's `embedding`, with the table as `self`.
    ///
    /// # Shapes
    /// table `[rows, …]`, indices u32 of any shape → that shape, then `[…]`.
    ///
    /// # Errors
    /// As of [`gather_rows`](Self::gather_rows), but for the shape of the indices.
    pub fn embedding(&self, indices: &Self) -> Result<Self> {
        expect_dtype("embedding", indices, DType::U32)?;
        0.of("embedding", self.shape())?;
        let shape = [indices.shape(), &self.shape()[1..]].concat();
        self.gather_rows(&indices.reshape(&[indices.len()])?)?.reshape(&shape)
    }

    /// Adds row i of this tensor to row `indices[i]` of `target`: the gradient of [`gather_rows`](Self::gather_rows).
    /// Invalid numbers are skipped, and the next read-back returns [`Error::Index`].
    ///
    /// # Shapes
    /// `self [n, …]`, indices u32 `[n]`, target `[rows, …]`.
    ///
    /// # Numerics
    /// As of [`scatter_add`](Self::scatter_add).
    ///
    /// # Errors
    /// If shapes or types do not match, the devices differ, or the target shares a buffer with an operand.
    pub fn scatter_add_rows_into(&self, indices: &Self, target: &Self) -> Result<()> {
        let op = "scatter_add_rows";
        expect_dtype(op, self, DType::F32)?;
        expect_dtype(op, indices, DType::U32)?;
        self.same_device(op, indices)?;
        self.same_device(op, target)?;
        expect_target(op, target, target.shape())?;
        let fits = target.rank() > 0 && target.shape().get(1..) == self.shape().get(1..);
        if !fits || indices.shape() != &self.shape()[..1] {
            return Err(Error::Shape {
                op,
                rule: "needs one index per row, and rows of the target's shape",
                left: self.shape().to_vec(),
                right: target.shape().to_vec(),
            });
        }
        let columns: usize = self.shape()[1..].iter().product();
        add_rows(op, &self.contiguous()?, &indices.contiguous()?, target, columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_the_order_of_the_indices() {
        let device = Device::open_new("cpu").unwrap();
        let table = Tensor::from_slice(&device, &[1.0f32, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
        let indices = Tensor::from_slice(&device, &[1u32, 0, 1, 5], &[4]).unwrap();
        let y = table.gather_rows(&indices).unwrap();
        assert!(matches!(y.to_vec::<f32>(), Err(Error::Index { op: "gather_rows", index: 5, bound: 2 })));
        let y = y.to_vec::<f32>().unwrap();
        assert_eq!(y[..6], [3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
        assert!(y[6].is_nan() && y[7].is_nan());
        let sums = Tensor::zeros(&device, DType::F32, &[2, 2]).unwrap();
        let ones = Tensor::full(&device, 1.0f32, &[4, 2]).unwrap();
        ones.scatter_add_rows_into(&indices, &sums).unwrap();
        assert!(sums.to_vec::<f32>().is_err());
        assert_eq!(sums.to_vec::<f32>().unwrap(), [1.0, 1.0, 2.0, 2.0]);
    }
}
