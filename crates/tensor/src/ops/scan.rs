//! Running products, logarithms of sums of exponentials, and extremes along an axis.
//!
//! A long axis is cut into segments. The results of the segments are scanned in the same way, and each segment then starts
//! from the result of those before it. Running sums have kernels of their own.

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::threads::{for_each_block, for_each_row};
use crate::{Axis, DType, Result, Tensor};

/// The elements of a column that one lane takes.
const SEGMENT: usize = 256;

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    outer: u32,
    extent: u32,
    inner: u32,
    segments: u32,
    segment_length: u32,
    is_reversed: u32,
}

/// A tensor as [outer, extent, inner], and the way of a scan along the middle.
#[derive(Clone, Copy)]
struct Columns {
    outer: usize,
    extent: usize,
    inner: usize,
    is_reversed: bool,
}

impl Columns {
    fn of(shape: &[usize], axis: usize, is_reversed: bool) -> Self {
        let (outer, inner) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
        Self { outer, extent: shape[axis], inner, is_reversed }
    }

    fn segments(self) -> usize {
        self.extent.div_ceil(SEGMENT)
    }

    fn params(self) -> Params {
        Params {
            outer: self.outer as u32,
            extent: self.extent as u32,
            inner: self.inner as u32,
            segments: self.segments() as u32,
            segment_length: SEGMENT as u32,
            is_reversed: self.is_reversed.into(),
        }
    }

    /// The results of the segments.
    fn of_segments(self) -> Self {
        Self { extent: self.segments(), ..self }
    }

    fn workgroups(self) -> usize {
        (self.outer * self.segments() * self.inner).div_ceil(64)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Product,
    LogSumExp,
}

#[inline(always)]
fn combine(op: u32, a: f32, b: f32) -> f32 {
    if op == Op::Product as u32 {
        return a * b;
    }
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() { a } else { b };
    }
    let (low, high) = if a > b { (b, a) } else { (a, b) };
    if !high.is_finite() || low == f32::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// y = x ∘ … ∘ x along the middle, segment by segment, or the results of the segments.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let (op, is_total) = (call.constant("OP") as u32, call.constant("TOTALS") != 0.0);
    let [x, carries, y] = call.bindings();
    let (x, carries, y) = (x.read::<f32>(), carries.read::<f32>(), y.write::<f32>());
    let (extent, inner, segments) = (params.extent as usize, params.inner as usize, params.segments as usize);
    let segment_length = params.segment_length as usize;
    let is_reversed = params.is_reversed != 0;
    for_each_row(y, if is_total { segments } else { extent } * inner, |slab, y| {
        for segment in 0..segments {
            let start = segment * segment_length;
            let length = segment_length.min(extent - start);
            let before = if is_reversed { Some(segment + 1).filter(|&s| s < segments) } else { segment.checked_sub(1) };
            for column in 0..inner {
                let carry = before.filter(|_| !is_total).map(|s| carries[(slab * segments + s) * inner + column]);
                let mut result = 0.0;
                for i in 0..length {
                    let at = start + if is_reversed { length - 1 - i } else { i };
                    let value = x[(slab * extent + at) * inner + column];
                    result = if i == 0 { value } else { combine(op, result, value) };
                    if !is_total {
                        y[at * inner + column] = carry.map_or(result, |carry| combine(op, carry, result));
                    }
                }
                if is_total {
                    y[segment * inner + column] = result;
                }
            }
        }
    });
}

pub(super) static SCAN: Kernel = Kernel {
    shader: &thalweg_shaders::SCAN,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[
        &[("OP", 0.0), ("TOTALS", 0.0)],
        &[("OP", 0.0), ("TOTALS", 1.0)],
        &[("OP", 1.0), ("TOTALS", 0.0)],
        &[("OP", 1.0), ("TOTALS", 1.0)],
    ],
    twin,
};

/// The running extremes and their places, segment by segment, or those of the segments.
fn extremes_twin(call: Call<'_>) {
    let params: Params = call.params();
    let is_minimum = call.constant("MINIMUM") != 0.0;
    let (is_total, is_placed) = (call.constant("TOTALS") != 0.0, call.constant("PLACED") != 0.0);
    let [x, places, carries, carried_places, y, y_places] = call.bindings();
    let (x, places, carries) = (x.read::<f32>(), places.read::<u32>(), carries.read::<f32>());
    let (carried_places, y, y_places) = (carried_places.read::<u32>(), y.write::<f32>(), y_places.write::<u32>());
    let (extent, inner, segments) = (params.extent as usize, params.inner as usize, params.segments as usize);
    let segment_length = params.segment_length as usize;
    let wins = |later: f32, best: f32| {
        later.is_nan() || (!best.is_nan() && if is_minimum { later <= best } else { later >= best })
    };
    let block = if is_total { segments } else { extent } * inner;
    for_each_block(block, [block], y, [y_places], |slab, y, [y_places]| {
        for segment in 0..segments {
            let start = segment * segment_length;
            for column in 0..inner {
                let element = |line: usize| {
                    let at = (slab * extent + line) * inner + column;
                    (x[at], if is_placed { places[at] } else { line as u32 })
                };
                let mut best = element(start);
                if !is_total && segment > 0 {
                    let at = (slab * segments + segment - 1) * inner + column;
                    if !wins(best.0, carries[at]) {
                        best = (carries[at], carried_places[at]);
                    }
                }
                for line in start..extent.min(start + segment_length) {
                    let later = element(line);
                    if line > start && wins(later.0, best.0) {
                        best = later;
                    }
                    let at = if is_total { segment } else { line } * inner + column;
                    (y[at], y_places[at]) = best;
                }
            }
        }
    });
}

pub(super) static SCAN_EXTREMES: Kernel = Kernel {
    shader: &thalweg_shaders::SCAN_EXTREMES,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[
        &[("MINIMUM", 0.0), ("TOTALS", 0.0), ("PLACED", 0.0)],
        &[("MINIMUM", 0.0), ("TOTALS", 0.0), ("PLACED", 1.0)],
        &[("MINIMUM", 0.0), ("TOTALS", 1.0), ("PLACED", 0.0)],
        &[("MINIMUM", 0.0), ("TOTALS", 1.0), ("PLACED", 1.0)],
        &[("MINIMUM", 1.0), ("TOTALS", 0.0), ("PLACED", 0.0)],
        &[("MINIMUM", 1.0), ("TOTALS", 0.0), ("PLACED", 1.0)],
        &[("MINIMUM", 1.0), ("TOTALS", 1.0), ("PLACED", 0.0)],
        &[("MINIMUM", 1.0), ("TOTALS", 1.0), ("PLACED", 1.0)],
    ],
    twin: extremes_twin,
};

impl Tensor {
    /// Returns the running products along an axis: each element times all before it. A tensor without axes has the axis
    /// 0, as in PyTorch.
    ///
    /// # Shapes
    /// `[…]` → `[…]`.
    ///
    /// # Numerics
    /// f32, in a fixed order: the products of segments of 256 elements are multiplied by that of all segments before them.
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the tensor's.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0, 4.0], &[4])?;
    /// assert_eq!(x.cumprod(0)?.to_vec::<f32>()?, [1.0, 2.0, 6.0, 24.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cumprod(&self, axis: impl Axis) -> Result<Self> {
        self.scan("cumprod", Op::Product, axis, false)
    }

    /// Returns the logarithms of the running sums of exponentials along an axis, without overflow. A tensor without axes
    /// has the axis 0, as in PyTorch.
    ///
    /// # Shapes
    /// `[…]` → `[…]`.
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the tensor's.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[100.0, 100.0, -100.0], &[3])?;
    /// let y = x.logcumsumexp(0)?.to_vec::<f32>()?;
    /// assert!(y[0] == 100.0 && (y[1] - 100.693_15).abs() < 1e-4 && y[2] == y[1]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn logcumsumexp(&self, axis: impl Axis) -> Result<Self> {
        self.scan("logcumsumexp", Op::LogSumExp, axis, false)
    }

    /// Returns the same as [`logcumsumexp`](Self::logcumsumexp) from the end of an axis.
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the tensor's.
    pub fn logcumsumexp_reversed(&self, axis: impl Axis) -> Result<Self> {
        self.scan("logcumsumexp_reversed", Op::LogSumExp, axis, true)
    }

    /// Returns the running largest elements along an axis, and their indices along it. The last one of equal elements
    /// wins, and NaN is larger than every number, as in PyTorch. A tensor without axes has the axis 0.
    ///
    /// # Shapes
    /// `[…]` → `[…]` and u32 `[…]`.
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the tensor's.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[1.0, 3.0, 2.0, 3.0], &[4])?;
    /// let (values, indices) = x.cummax(0)?;
    /// assert_eq!(values.to_vec::<f32>()?, [1.0, 3.0, 3.0, 3.0]);
    /// assert_eq!(indices.to_vec::<u32>()?, [0, 1, 1, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn cummax(&self, axis: impl Axis) -> Result<(Self, Self)> {
        self.scan_extremes("cummax", axis, false)
    }

    /// Returns the running smallest elements along an axis, and their indices along it. The last one of equal elements
    /// wins, and NaN is smaller than every number, as in PyTorch. A tensor without axes has the axis 0.
    ///
    /// # Shapes
    /// `[…]` → `[…]` and u32 `[…]`.
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the tensor's.
    pub fn cummin(&self, axis: impl Axis) -> Result<(Self, Self)> {
        self.scan_extremes("cummin", axis, true)
    }

    fn scan(&self, name: &'static str, op: Op, axis: impl Axis, is_reversed: bool) -> Result<Self> {
        let (x, columns) = self.columns(name, axis, is_reversed)?;
        x.scan_columns(op, columns)?.reshape(self.shape())
    }

    /// Returns the contiguous tensor, and its dimensions around an axis.
    fn columns(&self, op: &'static str, axis: impl Axis, is_reversed: bool) -> Result<(Self, Columns)> {
        expect_dtype(op, self, DType::F32)?;
        let shape = if self.rank() == 0 { &[1] } else { self.shape() };
        let columns = Columns::of(shape, axis.of(op, shape)?, is_reversed);
        Ok((self.contiguous()?, columns))
    }

    /// Scans the middle of a contiguous tensor.
    fn scan_columns(&self, op: Op, columns: Columns) -> Result<Self> {
        let carries = if columns.segments() > 1 {
            let totals = self.scan_launch(op, columns, true, None)?;
            Some(totals.scan_columns(op, columns.of_segments())?)
        } else {
            None
        };
        self.scan_launch(op, columns, false, carries.as_ref())
    }

    fn scan_launch(&self, op: Op, columns: Columns, is_total: bool, carries: Option<&Self>) -> Result<Self> {
        let lines = if is_total { columns.segments() } else { columns.extent };
        let y = Self::uninitialized(self.device(), DType::F32, &[columns.outer * lines * columns.inner])?;
        let launch =
            Launch::new(&SCAN, columns.params()).constant("OP", op as u32).constant("TOTALS", is_total).bind(self);
        let launch = match carries {
            Some(carries) => launch.bind(carries),
            None => launch.bind(self).uses(1, 0),
        };
        launch.bind(&y).workgroups(columns.workgroups()).run(self.device())?;
        Ok(y)
    }

    fn scan_extremes(&self, op: &'static str, axis: impl Axis, is_minimum: bool) -> Result<(Self, Self)> {
        let (x, columns) = self.columns(op, axis, false)?;
        let (values, places) = x.extremes_of_columns(is_minimum, columns, None)?;
        Ok((values.reshape(self.shape())?, places.reshape(self.shape())?))
    }

    /// Scans the middle of a contiguous tensor, whose elements may have places.
    fn extremes_of_columns(&self, is_minimum: bool, columns: Columns, places: Option<&Self>) -> Result<(Self, Self)> {
        let carries = if columns.segments() > 1 {
            let (totals, own) = self.extremes_launch(is_minimum, columns, true, places, None)?;
            Some(totals.extremes_of_columns(is_minimum, columns.of_segments(), Some(&own))?)
        } else {
            None
        };
        self.extremes_launch(is_minimum, columns, false, places, carries.as_ref())
    }

    fn extremes_launch(
        &self,
        is_minimum: bool,
        columns: Columns,
        is_total: bool,
        places: Option<&Self>,
        carries: Option<&(Self, Self)>,
    ) -> Result<(Self, Self)> {
        let lines = if is_total { columns.segments() } else { columns.extent };
        let new = |dtype| Self::uninitialized(self.device(), dtype, &[columns.outer * lines * columns.inner]);
        let (y, y_places) = (new(DType::F32)?, new(DType::U32)?);
        let launch = Launch::new(&SCAN_EXTREMES, columns.params())
            .constant("MINIMUM", is_minimum)
            .constant("TOTALS", is_total)
            .constant("PLACED", places.is_some())
            .bind(self);
        let launch = match places {
            Some(places) => launch.bind(places),
            None => launch.bind(self).uses(1, 0),
        };
        let launch = match carries {
            Some((values, places)) => launch.bind(values).bind(places),
            None => launch.bind(self).bind(self).uses(2, 0).uses(3, 0),
        };
        launch.bind(&y).bind(&y_places).workgroups(columns.workgroups()).run(self.device())?;
        Ok((y, y_places))
    }
}
