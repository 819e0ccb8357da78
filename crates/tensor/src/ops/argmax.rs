//! The places of the largest and the smallest elements.

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::threads::{CHUNK, for_each_chunk_of};
use crate::{Axis, DType, Error, Result, Tensor};

use super::short_rows::{of_columns, over_rows};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    extent: u32,
    inner: u32,
    length: u32,
    segments: u32,
    segment_length: u32,
    sign: f32,
}

const VARIANTS: &[&[(&str, f64)]] = &[
    &[("SHORT", 0.0), ("CANDIDATES", 0.0)],
    &[("SHORT", 1.0), ("CANDIDATES", 0.0)],
    &[("SHORT", 0.0), ("CANDIDATES", 1.0)],
    &[("SHORT", 1.0), ("CANDIDATES", 1.0)],
];

/// Elements that one workgroup looks at, at most; a longer row is cut into segments.
const SEGMENT: usize = 4096;

/// y[row, segment] = the first j of the segment with the largest sign × x[outer, j, inner]; NaN counts as the largest.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let of_candidates = call.constant("CANDIDATES") != 0.0;
    let [x, candidates, y] = call.bindings();
    let (x, y) = (x.read::<f32>(), y.write::<u32>());
    let candidates = if of_candidates { candidates.read::<u32>() } else { &[] };
    let [extent, inner, length] = [params.extent, params.inner, params.length].map(|number| number as usize);
    let [segments, segment_length] = [params.segments, params.segment_length].map(|number| number as usize);
    for_each_chunk_of(
        (CHUNK / segment_length.max(1)).max(1),
        y,
        #[inline(always)]
        |first, y| {
            for (i, y) in (first..).zip(y) {
                let (row, start) = (i / segments, i % segments * segment_length);
                let base = row / inner * extent * inner + row % inner;
                let place = |i: usize| if of_candidates { candidates[row * length + i] as usize } else { i };
                let value = |place: usize| params.sign * x[base + place * inner];
                let (mut best, mut largest) = (place(start), value(place(start)));
                for i in start + 1..(start + segment_length).min(length) {
                    let here = value(place(i));
                    if !largest.is_nan() && (here.is_nan() || here > largest) {
                        (best, largest) = (place(i), here);
                    }
                }
                *y = best as u32;
            }
        },
    );
}

pub(super) static ARGMAX: Kernel = Kernel {
    shader: &thalweg_shaders::ARGMAX,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: VARIANTS,
    twin,
};

impl Tensor {
    /// Returns the indices of the largest elements along an axis; of equal ones the first, and NaN counts as the largest,
    /// as in PyTorch. A tensor without axes has the axis 0.
    ///
    /// # Shapes
    /// `[a, d, b]` along axis 1 → u32 `[a, b]`, or `[a, 1, b]` with `keepdim`.
    ///
    /// # Errors
    /// If it is no axis of the tensor, it has no elements, or the elements are not f32.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[1.0, 5.0, 2.0, 4.0, 3.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.argmax(-1, false)?.to_vec::<u32>()?, [1, 2]);
    /// assert_eq!(x.argmax(0, false)?.to_vec::<u32>()?, [1, 0, 1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn argmax(&self, axis: impl Axis, keepdim: bool) -> Result<Self> {
        self.extreme_place("argmax", axis, keepdim, 1.0)
    }

    /// Returns the indices of the smallest elements along an axis; of equal ones the first, and NaN counts as the smallest,
    /// as in PyTorch.
    ///
    /// # Shapes
    /// As of [`argmax`](Self::argmax).
    ///
    /// # Errors
    /// As of [`argmax`](Self::argmax).
    pub fn argmin(&self, axis: impl Axis, keepdim: bool) -> Result<Self> {
        self.extreme_place("argmin", axis, keepdim, -1.0)
    }

    /// Returns the index of the largest of all elements, in row-major order. It is PyTorch's `argmax` without a dimension.
    ///
    /// # Shapes
    /// `[…]` → u32 `[]`.
    ///
    /// # Errors
    /// If there are no elements, or they are not f32.
    pub fn argmax_all(&self) -> Result<Self> {
        self.reshape(&[self.len()])?.extreme_place("argmax_all", 0, false, 1.0)
    }

    /// Returns the index of the smallest of all elements, in row-major order. It is PyTorch's `argmin` without a dimension.
    ///
    /// # Shapes
    /// `[…]` → u32 `[]`.
    ///
    /// # Errors
    /// If there are no elements, or they are not f32.
    pub fn argmin_all(&self) -> Result<Self> {
        self.reshape(&[self.len()])?.extreme_place("argmin_all", 0, false, -1.0)
    }

    fn extreme_place(&self, op: &'static str, axis: impl Axis, keepdim: bool, sign: f32) -> Result<Self> {
        expect_dtype(op, self, DType::F32)?;
        if self.rank() == 0 {
            return self.reshape(&[1])?.extreme_place(op, axis, keepdim, sign)?.reshape(&[]);
        }
        let axis = axis.of(op, self.shape())?;
        let extent = self.shape()[axis];
        if extent == 0 {
            return Err(Error::Rank { op, expected: "an axis with elements", shape: self.shape().to_vec() });
        }
        let mut shape = self.shape().to_vec();
        if keepdim {
            shape[axis] = 1;
        } else {
            shape.remove(axis);
        }
        let rows = shape.iter().product();
        let inner: usize = self.shape()[axis + 1..].iter().product();
        let (x, inner) = if inner == 1 || of_columns(extent) {
            (self.contiguous()?, inner.max(1))
        } else {
            // The axis follows the others.
            let order: Vec<usize> = (0..self.rank()).filter(|&d| d != axis).chain([axis]).collect();
            (self.permute(&order)?.contiguous()?, 1)
        };
        let mut candidates: Option<Self> = None;
        loop {
            let length = candidates.as_ref().map_or(extent, |candidates| candidates.shape()[1]);
            let segments = if inner == 1 { length.div_ceil(SEGMENT) } else { 1 };
            let y = Self::uninitialized(self.device(), DType::U32, &[rows, segments])?;
            let params = Params {
                rows: rows as u32,
                extent: extent as u32,
                inner: inner as u32,
                length: length as u32,
                segments: segments as u32,
                segment_length: length.min(SEGMENT) as u32,
                sign,
            };
            let launch = if inner == 1 {
                over_rows(Launch::new(&ARGMAX, params), rows * segments, length)
            } else {
                Launch::new(&ARGMAX, params).constant("SHORT", true).workgroups(rows.div_ceil(crate::math::LANES))
            };
            let launch = launch.constant("CANDIDATES", candidates.is_some()).bind(&x);
            let launch = match &candidates {
                Some(candidates) => launch.bind(candidates),
                // Not read.
                None => launch.bind(&x).uses(1, 0),
            };
            launch.bind(&y).run(self.device())?;
            if segments == 1 {
                return y.reshape(&shape);
            }
            candidates = Some(y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn tensor(elements: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(&Device::cpu(), elements, shape).unwrap()
    }

    fn words(result: Result<Tensor>) -> Vec<u32> {
        result.unwrap().to_vec().unwrap()
    }

    #[test]
    fn the_first_of_equals_wins_and_nan_beats_all() {
        let x = tensor(&[1.0, 3.0, 3.0, f32::INFINITY, f32::NAN, f32::NAN, -1.0, -2.0, -1.0], &[3, 3]);
        assert_eq!(words(x.argmax(1, false)), [1, 1, 0]);
        assert_eq!(words(x.argmin(1, false)), [0, 1, 1]);
        assert_eq!(words(x.argmax(0, true)), [1, 1, 1]);
        assert_eq!(words(x.argmin(0, true)), [2, 1, 1]);
        assert_eq!((words(x.argmax_all()), words(x.argmin_all())), (vec![4], vec![4]));
    }

    #[test]
    fn any_axis_of_any_view() {
        let elements: Vec<f32> = (0..24).map(|i| ((i * 7) % 24) as f32).collect();
        let x = tensor(&elements, &[2, 3, 4]);
        let middle = x.argmax(-2, true).unwrap();
        assert_eq!((middle.shape(), words(Ok(middle.clone()))), (&[2, 1, 4][..], vec![2, 2, 2, 0, 2, 1, 2, 2]));
        let moved = x.permute(&[1, 0, 2]).unwrap();
        assert_eq!(words(moved.argmax(0, false)), words(x.argmax(1, false)));
        let number = tensor(&[2.0], &[]);
        assert_eq!((words(number.argmax_all()), words(number.argmin(-1, true))), (vec![0], vec![0]));
        assert!(number.argmax(1, false).is_err());
        let nothing = tensor(&[], &[0, 3]);
        assert_eq!(nothing.argmax(1, false).unwrap().shape(), [0]);
        assert!(nothing.argmax(0, false).is_err() && nothing.argmin_all().is_err() && x.argmax(3, false).is_err());
    }

    #[test]
    fn long_rows_take_several_launches() {
        let mut elements = vec![0.5f32; 3 * 10_000];
        (elements[10_000 + 4097], elements[10_000 + 9999], elements[29_999]) = (2.0, 2.0, -1.0);
        let x = tensor(&elements, &[3, 10_000]);
        assert_eq!(words(x.argmax(1, false)), [0, 4097, 0]);
        assert_eq!(words(x.argmin(1, false)), [0, 0, 9999]);
        assert_eq!(words(x.t().unwrap().argmax(0, false)), [0, 4097, 0]);
        assert_eq!(words(x.t().unwrap().copy().unwrap().argmin(0, false)), [0, 0, 9999]);
        assert_eq!(words(x.argmax_all()), [14_097]);
    }
}
