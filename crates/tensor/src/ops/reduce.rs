//! Sums, means, extremes and products, over all axes or some.

use super::short_rows::over_rows;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math;
use crate::tensor::expect_dtype;
use crate::threads::{CHUNK, for_each_chunk_of};
use crate::{Axes, DType, Error, Result, Tensor};

/// The kind of reduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReduceOp {
    /// The sum; 0 of nothing.
    Sum,
    /// The largest; NaN propagates, -∞ for no elements.
    Max,
    /// The smallest; NaN propagates, ∞ for no elements.
    Min,
    /// The product; 1 of nothing.
    Prod,
}

impl ReduceOp {
    fn from_code(code: f64) -> Self {
        match code as u32 {
            0 => Self::Sum,
            1 => Self::Max,
            2 => Self::Min,
            _ => Self::Prod,
        }
    }
}

const COLUMN_VARIANTS: &[&[(&str, f64)]] = &[&[("OP", 0.0)], &[("OP", 1.0)], &[("OP", 2.0)], &[("OP", 3.0)]];
const ROW_VARIANTS: &[&[(&str, f64)]] = &[
    &[("OP", 0.0), ("SHORT", 0.0)],
    &[("OP", 1.0), ("SHORT", 0.0)],
    &[("OP", 2.0), ("SHORT", 0.0)],
    &[("OP", 3.0), ("SHORT", 0.0)],
    &[("OP", 0.0), ("SHORT", 1.0)],
    &[("OP", 1.0), ("SHORT", 1.0)],
    &[("OP", 2.0), ("SHORT", 1.0)],
    &[("OP", 3.0), ("SHORT", 1.0)],
];

/// The most elements that one workgroup, or one lane in a column, reduces; longer rows are cut into segments.
const SEGMENT: usize = 4096;
const COLUMN_SEGMENT: usize = 256;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct RowParams {
    rows: u32,
    row_length: u32,
    segments: u32,
    segment_length: u32,
    scale: f32,
}

/// y[row, segment] = scale × the reduction of the segment, in a workgroup's order.
fn rows_twin(call: Call<'_>) {
    let params: RowParams = call.params();
    let op = ReduceOp::from_code(call.constant("OP"));
    let [x, y] = call.bindings();
    let (x, y) = (x.read::<f32>(), y.write::<f32>());
    let (row_length, segments) = (params.row_length as usize, params.segments as usize);
    let segment_length = params.segment_length as usize;
    for_each_chunk_of(
        (CHUNK / segment_length.max(1)).max(1),
        y,
        #[inline(always)]
        |first, y| {
            for (i, y) in (first..).zip(y) {
                let row = &x[i / segments * row_length..][..row_length];
                let start = i % segments * segment_length;
                let segment = &row[start..(start + segment_length).min(row_length)];
                *y = params.scale
                    * match op {
                        ReduceOp::Sum => math::tree_sum(segment, |x| x),
                        ReduceOp::Max => math::row_maximum(segment),
                        ReduceOp::Min => {
                            -segment.iter().fold(f32::NEG_INFINITY, |largest, &x| math::maximum(largest, -x))
                        }
                        ReduceOp::Prod => tree_product(segment),
                    };
            }
        },
    );
}

/// Returns the product of a row in the order of a workgroup.
#[inline(always)]
fn tree_product(row: &[f32]) -> f32 {
    let mut lanes = [1.0; math::LANES];
    for chunk in row.chunks(math::LANES) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane *= x);
    }
    math::tree(lanes, |x, y| x * y)
}

pub(super) static REDUCE_ROWS: Kernel = Kernel {
    shader: &thalweg_shaders::REDUCE_ROWS,
    uniform: size_of::<RowParams>(),
    access: &[Access::Read, Access::Write],
    variants: ROW_VARIANTS,
    twin: rows_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ColumnParams {
    outer: u32,
    extent: u32,
    inner: u32,
    segments: u32,
    segment_length: u32,
    scale: f32,
}

/// y[outer, segment, inner] = scale × the reduction down the segment, in order.
fn columns_twin(call: Call<'_>) {
    let params: ColumnParams = call.params();
    let op = ReduceOp::from_code(call.constant("OP"));
    let [x, y] = call.bindings();
    let (x, y) = (x.read::<f32>(), y.write::<f32>());
    let (extent, inner, segments) = (params.extent as usize, params.inner as usize, params.segments as usize);
    let length = params.segment_length as usize;
    let lines = (CHUNK / (length * inner).max(1)).max(1);
    for_each_chunk_of(
        lines * inner,
        y,
        #[inline(always)]
        |first, y| {
            for (i, line) in (first / inner..).zip(y.chunks_mut(inner)) {
                let (slab, start) = (i / segments, i % segments * length);
                line.fill(match op {
                    ReduceOp::Sum => 0.0,
                    ReduceOp::Max | ReduceOp::Min => f32::NEG_INFINITY,
                    ReduceOp::Prod => 1.0,
                });
                for k in start..(start + length).min(extent) {
                    let row = &x[(slab * extent + k) * inner..][..inner];
                    for (y, &x) in line.iter_mut().zip(row) {
                        *y = match op {
                            ReduceOp::Sum => *y + x,
                            ReduceOp::Max => math::maximum(*y, x),
                            ReduceOp::Min => math::maximum(*y, -x),
                            ReduceOp::Prod => *y * x,
                        };
                    }
                }
                let scale = if op == ReduceOp::Min { -params.scale } else { params.scale };
                line.iter_mut().for_each(|y| *y *= scale);
            }
        },
    );
}

pub(super) static REDUCE_COLUMNS: Kernel = Kernel {
    shader: &thalweg_shaders::REDUCE_COLUMNS,
    uniform: size_of::<ColumnParams>(),
    access: &[Access::Read, Access::Write],
    variants: COLUMN_VARIANTS,
    twin: columns_twin,
};

impl Tensor {
    /// Returns the sum of all elements.
    ///
    /// # Shapes
    /// `[…]` → `[]`.
    ///
    /// # Numerics
    /// Sums in f32, in a fixed tree order: 64 interleaved partial sums per 4,096 elements.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn sum(&self) -> Result<Self> {
        self.reduce_all(ReduceOp::Sum, 1.0)
    }

    /// Returns the mean of all elements; NaN for no elements.
    ///
    /// # Shapes
    /// `[…]` → `[]`.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn mean(&self) -> Result<Self> {
        self.reduce_all(ReduceOp::Sum, 1.0 / self.len() as f32)
    }

    /// Returns the largest of all elements; NaN propagates.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn max(&self) -> Result<Self> {
        self.reduce_all(ReduceOp::Max, 1.0)
    }

    /// Returns the smallest of all elements; NaN propagates.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn min(&self) -> Result<Self> {
        self.reduce_all(ReduceOp::Min, 1.0)
    }

    /// Returns the product of all elements; 1 of nothing.
    ///
    /// # Shapes
    /// `[…]` → `[]`.
    ///
    /// # Numerics
    /// f32, in the order of [`sum`](Self::sum). A partial product may overflow or vanish where the whole does not.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn prod(&self) -> Result<Self> {
        self.reduce_all(ReduceOp::Prod, 1.0)
    }

    /// Returns the sums over some axes.
    ///
    /// # Shapes
    /// `[a, d, b]` over axis 1 → `[a, b]`, or `[a, 1, b]` with `keepdim`. Over no axis the tensor stays as it is.
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the tensor's.
    pub fn sum_along(&self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        self.reduce_over("sum_along", ReduceOp::Sum, axes, keepdim, false)
    }

    /// Returns the means over some axes; NaN of nothing.
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Errors
    /// As of [`sum_along`](Self::sum_along).
    pub fn mean_along(&self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        self.reduce_over("mean_along", ReduceOp::Sum, axes, keepdim, true)
    }

    /// Returns the largest elements over some axes; NaN wins, and the largest of nothing is -∞. It is PyTorch's `amax`.
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Errors
    /// As of [`sum_along`](Self::sum_along).
    pub fn max_along(&self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        self.reduce_over("max_along", ReduceOp::Max, axes, keepdim, false)
    }

    /// Returns the smallest elements over some axes; NaN wins, and the smallest of nothing is ∞. It is PyTorch's `amin`.
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Errors
    /// As of [`sum_along`](Self::sum_along).
    pub fn min_along(&self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        self.reduce_over("min_along", ReduceOp::Min, axes, keepdim, false)
    }

    /// Returns the products over some axes; 1 of nothing.
    ///
    /// # Shapes
    /// As of [`sum_along`](Self::sum_along).
    ///
    /// # Numerics
    /// As of [`prod`](Self::prod).
    ///
    /// # Errors
    /// As of [`sum_along`](Self::sum_along).
    pub fn prod_along(&self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        self.reduce_over("prod_along", ReduceOp::Prod, axes, keepdim, false)
    }

    fn reduce_all(&self, op: ReduceOp, scale: f32) -> Result<Self> {
        if let Some(result) = self.through_f32(|x| x.reduce_all(op, scale)) {
            return result;
        }
        expect_dtype("reduce", self, DType::F32)?;
        let x = self.contiguous()?;
        x.reduce_rows(op, 1, self.len(), scale)?.reshape(&[])
    }

    fn reduce_over(
        &self,
        op: &'static str,
        reduce: ReduceOp,
        axes: impl Axes,
        keepdim: bool,
        mean: bool,
    ) -> Result<Self> {
        let axes = axes.of(op, self.shape())?;
        if let Some(result) = self.through_f32(|x| x.reduce_over(op, reduce, &axes, keepdim, mean)) {
            return result;
        }
        expect_dtype(op, self, DType::F32)?;
        let is_reduced = |d: &usize| axes.contains(d);
        let extent: usize = axes.iter().map(|&d| self.shape()[d]).product();
        let scale = if mean { 1.0 / extent as f32 } else { 1.0 };
        let kept: Vec<usize> = (0..self.rank()).filter(|d| !is_reduced(d)).collect();
        let shape: Vec<usize> = if keepdim {
            (0..self.rank()).map(|d| if is_reduced(&d) { 1 } else { self.shape()[d] }).collect()
        } else {
            kept.iter().map(|&d| self.shape()[d]).collect()
        };
        let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else { return Ok(self.clone()) };
        let (x, inner) = if (first..=last).all(|d| is_reduced(&d) || self.shape()[d] == 1) {
            (self.contiguous()?, self.shape()[last + 1..].iter().product())
        } else {
            // The axes that are reduced follow the others.
            (self.permute(&[kept, axes].concat())?.contiguous()?, 1)
        };
        let outer = shape.iter().product::<usize>().checked_div(inner).unwrap_or(0);
        let y = if inner == 1 {
            x.reduce_rows(reduce, outer, extent, scale)?
        } else {
            x.reduce_columns(reduce, outer, extent, inner, scale)?
        };
        y.reshape(&shape)
    }

    /// Reduces the rows of a contiguous tensor, in as many stages as their length requires.
    fn reduce_rows(&self, op: ReduceOp, rows: usize, row_length: usize, scale: f32) -> Result<Self> {
        let segments = row_length.div_ceil(SEGMENT).max(1);
        if segments == 1 {
            return self.reduce_row_segments(op, rows, row_length, SEGMENT, scale);
        }
        let y = self.reduce_row_segments(op, rows, row_length, SEGMENT, 1.0)?;
        y.reduce_rows(op, rows, segments, scale)
    }

    /// Each segment of each row of a contiguous tensor.
    pub(super) fn reduce_row_segments(
        &self,
        op: ReduceOp,
        rows: usize,
        row_length: usize,
        segment_length: usize,
        scale: f32,
    ) -> Result<Self> {
        let segments = row_length.div_ceil(segment_length).max(1);
        let y = Self::uninitialized(self.device(), DType::F32, &[rows * segments])?;
        let params = RowParams {
            rows: rows as u32,
            row_length: row_length as u32,
            segments: segments as u32,
            segment_length: row_length.min(segment_length) as u32,
            scale,
        };
        // A short row is one segment.
        over_rows(Launch::new(&REDUCE_ROWS, params), rows * segments, row_length)
            .constant("OP", op as u32)
            .bind(self)
            .bind(&y)
            .run(self.device())?;
        Ok(y)
    }

    /// Reduces the middle dimension of a contiguous tensor, in as many stages as its extent requires.
    fn reduce_columns(&self, op: ReduceOp, outer: usize, extent: usize, inner: usize, scale: f32) -> Result<Self> {
        let segments = extent.div_ceil(COLUMN_SEGMENT).max(1);
        if segments == 1 {
            return self.reduce_column_segments(op, outer, extent, inner, COLUMN_SEGMENT, scale);
        }
        let y = self.reduce_column_segments(op, outer, extent, inner, COLUMN_SEGMENT, 1.0)?;
        y.reduce_columns(op, outer, segments, inner, scale)
    }

    /// Each segment of the middle dimension of a contiguous tensor.
    pub(super) fn reduce_column_segments(
        &self,
        op: ReduceOp,
        outer: usize,
        extent: usize,
        inner: usize,
        segment_length: usize,
        scale: f32,
    ) -> Result<Self> {
        let segments = extent.div_ceil(segment_length).max(1);
        let y = Self::uninitialized(self.device(), DType::F32, &[outer * segments * inner])?;
        let params = ColumnParams {
            outer: outer as u32,
            extent: extent as u32,
            inner: inner as u32,
            segments: segments as u32,
            segment_length: extent.min(segment_length) as u32,
            scale,
        };
        Launch::new(&REDUCE_COLUMNS, params)
            .constant("OP", op as u32)
            .bind(self)
            .bind(&y)
            .workgroups(y.len().div_ceil(64))
            .run(self.device())?;
        Ok(y)
    }

    /// Sums over the dimensions in which `shape` was broadcast to this tensor's: the gradient of a broadcast.
    ///
    /// # Errors
    /// If `shape` does not broadcast to this tensor's, or the elements are not f32.
    pub fn sum_to(&self, shape: &[usize]) -> Result<Self> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        if let Some(result) = self.through_f32(|x| x.sum_to(shape)) {
            return result;
        }
        expect_dtype("sum_to", self, DType::F32)?;
        let missing = self.rank().checked_sub(shape.len());
        let fits = |missing: usize| {
            shape.iter().zip(&self.shape()[missing..]).all(|(&extent, &stretched)| extent == stretched || extent == 1)
        };
        let Some(missing) = missing.filter(|&missing| fits(missing)) else {
            return Err(Error::Shape {
                op: "sum_to",
                rule: "the second shape does not broadcast to the first",
                left: self.shape().to_vec(),
                right: shape.to_vec(),
            });
        };
        // Extents of 1 that were stretched stay, the added outer axes do not.
        let mut sum = self.clone();
        if missing > 0 {
            let outer: Vec<usize> = (0..missing).collect();
            sum = sum.sum_along(&outer, false)?;
        }
        for (d, &extent) in shape.iter().enumerate() {
            if extent == 1 && sum.shape()[d] != 1 {
                sum = sum.sum_along(d, true)?;
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn numbers(shape: &[usize]) -> Tensor {
        let elements: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        Tensor::from_slice(&Device::cpu(), &elements, shape).unwrap()
    }

    #[test]
    fn sums_over_every_dimension() {
        let x = numbers(&[2, 3, 4]);
        assert_eq!(x.sum().unwrap().item::<f32>().unwrap(), 276.0);
        assert_eq!(x.sum_along(0, true).unwrap().to_vec::<f32>().unwrap()[..3], [12.0, 14.0, 16.0]);
        assert_eq!(x.sum_along(1, true).unwrap().to_vec::<f32>().unwrap()[..4], [12.0, 15.0, 18.0, 21.0]);
        let last = x.sum_along(2, true).unwrap();
        assert_eq!((last.shape(), last.to_vec::<f32>().unwrap()[5]), (&[2, 3, 1][..], 86.0));
        assert_eq!(x.mean().unwrap().item::<f32>().unwrap(), 11.5);
        assert_eq!(x.min_along(1, true).unwrap().to_vec::<f32>().unwrap()[4..], [12.0, 13.0, 14.0, 15.0]);
    }

    #[test]
    fn products_over_every_axis() {
        let x = numbers(&[2, 3, 2]).affine(1.0, 1.0).unwrap();
        assert_eq!(x.prod().unwrap().item::<f32>().unwrap(), 479_001_600.0);
        assert_eq!(x.prod_along(1, false).unwrap().to_vec::<f32>().unwrap(), [15.0, 48.0, 693.0, 960.0]);
        assert_eq!(x.prod_along([1, 2], false).unwrap().to_vec::<f32>().unwrap(), [720.0, 665_280.0]);
        assert_eq!(x.prod_along(0, true).unwrap().shape(), [1, 3, 2]);
        let nothing = numbers(&[0, 3]);
        assert_eq!(nothing.prod().unwrap().item::<f32>().unwrap(), 1.0);
        assert_eq!(nothing.prod_along(0, false).unwrap().to_vec::<f32>().unwrap(), [1.0; 3]);
    }

    #[test]
    fn any_set_of_axes_is_reduced() {
        let x = numbers(&[2, 3, 4]);
        let sums = |axes: &[i32], keepdim| x.sum_along(axes, keepdim).unwrap();
        assert_eq!(sums(&[0, 2], false).to_vec::<f32>().unwrap(), [60.0, 92.0, 124.0]);
        assert_eq!((sums(&[-1, 0], true).shape(), sums(&[0, 1], false).shape()), (&[1, 3, 1][..], &[4][..]));
        assert_eq!(sums(&[1, -1], false).to_vec::<f32>().unwrap(), [66.0, 210.0]);
        assert_eq!(sums(&[], false).to_vec::<f32>().unwrap(), x.to_vec::<f32>().unwrap());
        assert_eq!(x.max_along([0, 2], false).unwrap().to_vec::<f32>().unwrap(), [15.0, 19.0, 23.0]);
        assert_eq!(
            x.permute(&[2, 0, 1]).unwrap().mean_along([0, 2], false).unwrap().to_vec::<f32>().unwrap(),
            [5.5, 17.5]
        );
        let nothing = numbers(&[2, 0, 3]);
        assert_eq!(nothing.sum_along(1, false).unwrap().to_vec::<f32>().unwrap(), [0.0; 6]);
        assert_eq!(nothing.sum_along([0, 2], false).unwrap().shape(), [0]);
        assert_eq!(nothing.max_along([0, 1], true).unwrap().to_vec::<f32>().unwrap(), [f32::NEG_INFINITY; 3]);
        assert!(x.sum_along([0, -3], false).is_err() && x.sum_along(3, false).is_err());
    }

    #[test]
    fn long_rows_and_columns_take_several_stages() {
        let x = Tensor::full(&Device::cpu(), 0.5f32, &[100_001]).unwrap();
        assert_eq!(x.sum().unwrap().item::<f32>().unwrap(), 50_000.5);
        let y = Tensor::full(&Device::cpu(), 0.5f32, &[1001, 3]).unwrap();
        assert_eq!(y.sum_along(0, true).unwrap().to_vec::<f32>().unwrap(), [500.5; 3]);
    }

    #[test]
    fn a_broadcast_is_undone_by_summing() {
        let x = numbers(&[2, 3, 4]);
        assert_eq!(x.sum_to(&[3, 1]).unwrap().to_vec::<f32>().unwrap(), [60.0, 92.0, 124.0]);
        assert_eq!(x.sum_to(&[]).unwrap().item::<f32>().unwrap(), 276.0);
        assert!(x.sum_to(&[2]).is_err());
    }
}
