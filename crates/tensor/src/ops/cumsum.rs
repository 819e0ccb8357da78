//! Running sums along a dimension, from its start or from its end.
//!
//! A long dimension is cut into segments. The reductions add up each segment, the running sums of these sums are computed
//! in the same way, and the kernels then go through the segments, each from the sum of those before it.

use super::reduce::ReduceOp;
use super::short_rows::{SHORT_VARIANTS, over_rows};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::LANES;
use crate::tensor::expect_dtype;
use crate::threads::{CHUNK, for_each_chunk_of, for_each_row};
use crate::{Axis, DType, Result, Tensor};

/// Neighbours that a lane of a workgroup adds up.
const RUN: usize = 16;
/// Elements that one workgroup, or one lane in a column, takes.
const SEGMENT: usize = LANES * RUN;
const COLUMN_SEGMENT: usize = 256;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct RowParams {
    rows: u32,
    row_length: u32,
    segments: u32,
    segment_length: u32,
    is_reversed: u32,
}

/// y[row, i] = Σ x[row, j] over j ≤ i, or over j ≥ i, segment by segment.
fn rows_twin(call: Call<'_>) {
    let params: RowParams = call.params();
    let [x, carries, y] = call.bindings();
    let (x, carries, y) = (x.read::<f32>(), carries.read::<f32>(), y.write::<f32>());
    let (row_length, segments) = (params.row_length as usize, params.segments as usize);
    let (segment_length, is_reversed) = (params.segment_length as usize, params.is_reversed != 0);
    for_each_segment(
        y,
        row_length,
        segment_length,
        #[inline(always)]
        |row, segment, y| {
            let x = &x[row * row_length + segment * segment_length..][..y.len()];
            let before = segment_before(segment, segments, is_reversed);
            let carry = before.map_or(0.0, |before| carries[row * segments + before]);
            scan(x, carry, is_reversed, y);
        },
    );
}

/// The running sums of one segment in a workgroup's order: the sums of runs are joined first.
#[inline(always)]
fn scan(x: &[f32], carry: f32, is_reversed: bool, y: &mut [f32]) {
    let place = |i: usize| if is_reversed { x.len() - 1 - i } else { i };
    let runs = x.len().div_ceil(RUN);
    let run = |lane: usize| lane * RUN..x.len().min((lane + 1) * RUN);
    let mut sums = [0.0; LANES];
    for (lane, sum) in sums[..runs].iter_mut().enumerate() {
        *sum = run(lane).fold(0.0, |sum, i| sum + x[place(i)]);
    }
    let mut step = 1;
    while step < runs {
        for lane in (step..runs).rev() {
            sums[lane] += sums[lane - step];
        }
        step *= 2;
    }
    for lane in 0..runs {
        let before = carry + if lane == 0 { 0.0 } else { sums[lane - 1] };
        let mut sum = 0.0;
        for i in run(lane) {
            sum += x[place(i)];
            y[place(i)] = before + sum;
        }
    }
}

/// Calls `body` with the number of each row, that of each segment in it, and the segment's elements of `y`.
#[inline(always)]
fn for_each_segment(
    y: &mut [f32],
    row_length: usize,
    segment_length: usize,
    body: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    if row_length <= CHUNK {
        return for_each_row(
            y,
            row_length,
            #[inline(always)]
            |row, y| y.chunks_mut(segment_length).enumerate().for_each(|(segment, y)| body(row, segment, y)),
        );
    }
    let together = (CHUNK / segment_length).max(1);
    for (row, y) in y.chunks_mut(row_length).enumerate() {
        for_each_chunk_of(
            together * segment_length,
            y,
            #[inline(always)]
            |start, y| {
                let first = start / segment_length;
                y.chunks_mut(segment_length).enumerate().for_each(|(i, y)| body(row, first + i, y));
            },
        );
    }
}

/// The segment whose running sum goes before another one, if there is one.
fn segment_before(segment: usize, segments: usize, is_reversed: bool) -> Option<usize> {
    if is_reversed { Some(segment + 1).filter(|&after| after < segments) } else { segment.checked_sub(1) }
}

pub(super) static CUMSUM_ROWS: Kernel = Kernel {
    shader: &thalweg_shaders::CUMSUM_ROWS,
    uniform: size_of::<RowParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: SHORT_VARIANTS,
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
    is_reversed: u32,
}

/// y[outer, i, inner] = Σ x[outer, j, inner] over j ≤ i, or over j ≥ i, segment by segment.
fn columns_twin(call: Call<'_>) {
    let params: ColumnParams = call.params();
    let [x, carries, y] = call.bindings();
    let (x, carries, y) = (x.read::<f32>(), carries.read::<f32>(), y.write::<f32>());
    let (extent, inner, segments) = (params.extent as usize, params.inner as usize, params.segments as usize);
    let (segment_length, is_reversed) = (params.segment_length as usize, params.is_reversed != 0);
    for_each_segment(
        y,
        extent * inner,
        segment_length * inner,
        #[inline(always)]
        |slab, segment, y| {
            let x = &x[(slab * extent + segment * segment_length) * inner..][..y.len()];
            add_lines(x, inner, is_reversed, y);
            if let Some(before) = segment_before(segment, segments, is_reversed) {
                let carry = &carries[(slab * segments + before) * inner..][..inner];
                for line in y.chunks_mut(inner) {
                    line.iter_mut().zip(carry).for_each(|(y, &carry)| *y += carry);
                }
            }
        },
    );
}

/// Each line of `y` is that of `x` and the line of `y` before it, or after it.
#[inline(always)]
fn add_lines(x: &[f32], inner: usize, is_reversed: bool, y: &mut [f32]) {
    let lines = x.len() / inner;
    for i in 0..lines {
        let at = inner * if is_reversed { lines - 1 - i } else { i };
        let x = &x[at..at + inner];
        if i == 0 {
            y[at..at + inner].copy_from_slice(x);
            continue;
        }
        let (line, sums) = if is_reversed {
            let (line, sums) = y[at..].split_at_mut(inner);
            (line, &sums[..inner])
        } else {
            let (sums, line) = y[at - inner..at + inner].split_at_mut(inner);
            (line, &*sums)
        };
        for ((y, &x), &sum) in line.iter_mut().zip(x).zip(sums) {
            *y = sum + x;
        }
    }
}

pub(super) static CUMSUM_COLUMNS: Kernel = Kernel {
    shader: &thalweg_shaders::CUMSUM_COLUMNS,
    uniform: size_of::<ColumnParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: columns_twin,
};

impl Tensor {
    /// Returns the running sums along an axis: each element and all before it. A tensor without axes has the axis 0, as in
    /// PyTorch.
    ///
    /// # Shapes
    /// `[…]` → `[…]`.
    ///
    /// # Numerics
    /// f32, in a fixed order: running sums of 16 elements, or of 256 where the axis is not the last, are added to the sum
    /// of all before them.
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the tensor's.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.cumsum(-1)?.to_vec::<f32>()?, [1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
    /// assert_eq!(x.cumsum(0)?.to_vec::<f32>()?, [1.0, 2.0, 3.0, 5.0, 7.0, 9.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cumsum(&self, axis: impl Axis) -> Result<Self> {
        self.cumsum_launches("cumsum", axis, false)
    }

    /// Returns the running sums from the end of an axis: each element and all after it. It is the gradient of
    /// [`cumsum`](Self::cumsum).
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the tensor's.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.cumsum_reversed(0)?.to_vec::<f32>()?, [6.0, 5.0, 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cumsum_reversed(&self, axis: impl Axis) -> Result<Self> {
        self.cumsum_launches("cumsum_reversed", axis, true)
    }

    fn cumsum_launches(&self, op: &'static str, axis: impl Axis, is_reversed: bool) -> Result<Self> {
        if let Some(result) = self.through_f32(|x| x.cumsum_launches(op, axis, is_reversed)) {
            return result;
        }
        expect_dtype(op, self, DType::F32)?;
        let shape = if self.rank() == 0 { &[1] } else { self.shape() };
        let dimension = axis.of(op, shape)?;
        let (outer, inner) = (shape[..dimension].iter().product(), shape[dimension + 1..].iter().product());
        if self.is_empty() {
            return Self::uninitialized(self.device(), DType::F32, self.shape());
        }
        let x = self.contiguous()?;
        if inner == 1 {
            x.cumsum_rows(outer, shape[dimension], is_reversed)
        } else {
            x.cumsum_columns(outer, shape[dimension], inner, is_reversed)
        }
    }

    /// Rows of a contiguous tensor.
    fn cumsum_rows(&self, rows: usize, row_length: usize, is_reversed: bool) -> Result<Self> {
        let segments = row_length.div_ceil(SEGMENT);
        let y = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        let params = RowParams {
            rows: rows as u32,
            row_length: row_length as u32,
            segments: segments as u32,
            segment_length: SEGMENT as u32,
            is_reversed: is_reversed.into(),
        };
        // A short row is one segment.
        let launch = over_rows(Launch::new(&CUMSUM_ROWS, params), rows * segments, row_length).bind(self);
        let launch = if segments == 1 {
            launch.bind(self).uses(1, 0)
        } else {
            let sums = self.reduce_row_segments(ReduceOp::Sum, rows, row_length, SEGMENT, 1.0)?;
            launch.bind(&sums.cumsum_rows(rows, segments, is_reversed)?)
        };
        launch.bind(&y).run(self.device())?;
        Ok(y)
    }

    /// The middle dimension of a contiguous tensor.
    fn cumsum_columns(&self, outer: usize, extent: usize, inner: usize, is_reversed: bool) -> Result<Self> {
        let segments = extent.div_ceil(COLUMN_SEGMENT);
        let y = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        let params = ColumnParams {
            outer: outer as u32,
            extent: extent as u32,
            inner: inner as u32,
            segments: segments as u32,
            segment_length: COLUMN_SEGMENT as u32,
            is_reversed: is_reversed.into(),
        };
        let launch = Launch::new(&CUMSUM_COLUMNS, params).bind(self);
        let launch = if segments == 1 {
            launch.bind(self).uses(1, 0)
        } else {
            let sums = self.reduce_column_segments(ReduceOp::Sum, outer, extent, inner, COLUMN_SEGMENT, 1.0)?;
            launch.bind(&sums.cumsum_columns(outer, segments, inner, is_reversed)?)
        };
        launch.bind(&y).workgroups((outer * segments * inner).div_ceil(64)).run(self.device())?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn numbers(shape: &[usize]) -> Tensor {
        let elements: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| (i % 7) as f32 - 2.0).collect();
        Tensor::from_slice(&Device::cpu(), &elements, shape).unwrap()
    }

    /// The running sums by coordinates. The numbers are small and whole, so every order has the same sums.
    fn expected(x: &Tensor, dimension: usize, is_reversed: bool) -> Vec<f32> {
        let (shape, elements) = (x.shape(), x.to_vec::<f32>().unwrap());
        let inner: usize = shape[dimension + 1..].iter().product();
        let extent = shape[dimension];
        let of = |i: usize| {
            let (k, start) = (i / inner % extent, i - i / inner % extent * inner);
            let range = if is_reversed { k..extent } else { 0..k + 1 };
            range.map(|k| elements[start + k * inner]).sum()
        };
        (0..elements.len()).map(of).collect()
    }

    fn hold(x: &Tensor) {
        for dimension in 0..x.rank() {
            for axis in [dimension as isize, dimension as isize - x.rank() as isize] {
                let what = format!("{:?} along {axis}", x.shape());
                let (y, reversed) = (x.cumsum(axis).unwrap(), x.cumsum_reversed(axis).unwrap());
                assert_eq!((y.shape(), reversed.shape()), (x.shape(), x.shape()), "{what}");
                assert_eq!(y.to_vec::<f32>().unwrap(), expected(x, dimension, false), "{what}");
                assert_eq!(reversed.to_vec::<f32>().unwrap(), expected(x, dimension, true), "{what}, reversed");
            }
        }
    }

    #[test]
    fn every_axis_of_every_rank() {
        for rank in 1..=6 {
            hold(&numbers(&[2, 3, 1, 4, 5, 3][..rank]));
        }
    }

    #[test]
    fn a_number_is_its_own_sum() {
        let x = Tensor::scalar(&Device::cpu(), 3.0f32).unwrap();
        for axis in [0, -1] {
            let y = x.cumsum(axis).unwrap();
            assert_eq!((y.shape(), y.item::<f32>().unwrap()), (&[][..], 3.0));
        }
        assert!(x.cumsum(1).is_err() && x.cumsum(-2).is_err());
    }

    #[test]
    fn segments_are_joined() {
        for extent in [1, 15, 16, 17, 32, 33, 255, 256, 257, 1023, 1024, 1025, 3001] {
            hold(&numbers(&[extent]));
            hold(&numbers(&[2, extent, 3]));
        }
        // Above 16,384 elements several threads share a row; above 65,536 lines of a column take three stages.
        let ones = |shape: &[usize]| Tensor::full(&Device::cpu(), 1f32, shape).unwrap();
        let counted = |count: usize| (1..=count).map(|i| i as f32).collect::<Vec<_>>();
        assert_eq!(ones(&[1 << 20]).cumsum(0).unwrap().to_vec::<f32>().unwrap(), counted(1 << 20));
        let columns = ones(&[70_000, 2]).cumsum(0).unwrap();
        assert_eq!(columns.slice(1, 1, 2).unwrap().to_vec::<f32>().unwrap(), counted(70_000));
    }

    #[test]
    fn views_without_elements_and_with_strides() {
        for shape in [&[0][..], &[0, 3], &[3, 0], &[2, 0, 4]] {
            hold(&numbers(shape));
        }
        let x = numbers(&[4, 5, 6]);
        hold(&x.permute(&[2, 0, 1]).unwrap());
        hold(&x.slice(2, 1, 4).unwrap().transpose(0, 2).unwrap());
        hold(&numbers(&[3, 1]).broadcast_to(&[2, 3, 4]).unwrap());
    }

    #[test]
    fn misuse_is_an_error_that_says_what() {
        let x = numbers(&[2, 3]);
        let error = x.cumsum(-3).unwrap_err().to_string();
        assert!(error.contains("cumsum") && error.contains("-3 of shape [2, 3]"), "{error}");
        assert!(x.cumsum(2).is_err() && x.cumsum(isize::MIN).is_err());
        let words = Tensor::from_slice(&Device::cpu(), &[1u32, 2], &[2]).unwrap();
        assert!(words.cumsum(0).is_err() && words.cumsum_reversed(0).is_err());
    }
}
