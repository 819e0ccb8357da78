//! Elements by their indices along an axis: gathers, and scatters in which the last element wins.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::memory::View;
use crate::tensor::{expect_dtype, expect_words};
use crate::threads::for_each_chunk;
use crate::{Axis, DType, Device, Error, Result, Tensor, note_fault};

/// Parameters of kernels that append `shaders/shared/index.wgsl`: a tensor [outer, extent, inner], and indices along its
/// middle dimension for [outer, count, inner].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Lines {
    /// The distances of neighbouring indices along the three dimensions, and the number of the operation for faults.
    index_strides: [u32; 4],
    pub(super) outer: u32,
    pub(super) extent: u32,
    pub(super) count: u32,
    pub(super) inner: u32,
}

impl Lines {
    /// Each element has its own index.
    pub(super) fn new(shape: &[usize], axis: usize, count: usize) -> Self {
        let product = |extents: &[usize]| extents.iter().product::<usize>() as u32;
        let (outer, inner) = (product(&shape[..axis]), product(&shape[axis + 1..]));
        let count = count as u32;
        // An empty tensor may have the other extents as large as it likes.
        let outer_stride = count.wrapping_mul(inner);
        Self { index_strides: [outer_stride, inner, 1, 0], outer, extent: shape[axis] as u32, count, inner }
    }

    /// All elements with one place along the axis share an index.
    pub(super) fn shared(shape: &[usize], axis: usize, count: usize) -> Self {
        Self { index_strides: [0, 1, 0, 0], ..Self::new(shape, axis, count) }
    }

    /// The number of indexed elements.
    pub(super) fn len(&self) -> usize {
        self.outer as usize * self.count as usize * self.inner as usize
    }

    /// Returns the index of an element of [outer, count, inner].
    #[inline(always)]
    fn index(&self, indices: &[u32], place: usize) -> u32 {
        let [inner, count] = [self.inner as usize, self.count as usize];
        let (line, inner_place) = (place / inner, place % inner);
        let strides = self.index_strides.map(|stride| stride as usize);
        indices[line / count * strides[0] + line % count * strides[1] + inner_place * strides[2]]
    }

    /// Returns the element of [outer, extent, inner] that an element of [outer, count, inner] names.
    #[inline(always)]
    pub(super) fn place(&self, indices: &[u32], place: usize) -> Option<usize> {
        let [inner, count, extent] = [self.inner as usize, self.count as usize, self.extent as usize];
        let index = self.index(indices, place) as usize;
        (index < extent).then_some((place / inner / count * extent + index) * inner + place % inner)
    }

    /// Notes the first of the elements whose index is out of range, if there is one.
    pub(super) fn note(&self, indices: &[u32], bad: &FirstBad, faults: &mut [u32]) {
        if let Some(place) = bad.get() {
            note_fault(faults, self.index(indices, place), self.extent, self.index_strides[3]);
        }
    }

    /// Returns the parameters for an operation, and the memory in which its kernel notes faults.
    pub(super) fn noting(mut self, op: &'static str, device: &Device) -> Result<(Self, View)> {
        let (faults, operation) = device.faults(op)?;
        self.index_strides[3] = operation;
        Ok((self, faults))
    }
}

/// The first element with a bad index, found by several threads.
pub(super) struct FirstBad(AtomicUsize);

impl FirstBad {
    pub(super) const fn new() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }

    #[inline(always)]
    pub(super) fn add(&self, place: usize) {
        self.0.fetch_min(place, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|&place| place < usize::MAX)
    }
}

/// y[o, i, j] = x[o, indices[o, i, j], j].
fn gather_twin(call: Call<'_>) {
    let lines: Lines = call.params();
    let is_last = call.constant("LAST") != 0.0;
    let [x, indices, winners, y, faults] = call.bindings();
    let bad = FirstBad::new();
    let (x, indices, winners) = (x.read::<u32>(), indices.read::<u32>(), winners.read::<u32>());
    let invalid = if is_last { 0 } else { f32::NAN.to_bits() };
    for_each_chunk(
        y.write::<u32>(),
        #[inline(always)]
        |start, y| {
            for (i, y) in (start..).zip(y) {
                *y = match lines.place(indices, i) {
                    Some(place) if is_last && winners[place] as usize != i + 1 => 0,
                    Some(place) => x[place],
                    None => {
                        bad.add(i);
                        invalid
                    }
                };
            }
        },
    );
    lines.note(indices, &bad, faults.write());
}

pub(super) static GATHER: Kernel = Kernel {
    shader: &thalweg_shaders::GATHER_ELEMENTS,
    uniform: size_of::<Lines>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[("LAST", 0.0)], &[("LAST", 1.0)]],
    twin: gather_twin,
};

/// winners[o, e, j] = 1 + the number of the last index that names it.
fn winners_twin(call: Call<'_>) {
    let lines: Lines = call.params();
    let [indices, winners, faults] = call.bindings();
    let (indices, winners) = (indices.read::<u32>(), winners.write::<u32>());
    let bad = FirstBad::new();
    for i in 0..lines.len() {
        match lines.place(indices, i) {
            Some(place) => winners[place] = winners[place].max(i as u32 + 1),
            None => bad.add(i),
        }
    }
    lines.note(indices, &bad, faults.write());
}

pub(super) static SCATTER_WINNERS: Kernel = Kernel {
    shader: &thalweg_shaders::SCATTER_WINNERS,
    uniform: size_of::<Lines>(),
    access: &[Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: winners_twin,
};

/// y[i] = source[winners[i] - 1], or x[i].
fn scatter_twin(call: Call<'_>) {
    let [x, source, winners, y] = call.bindings();
    let (x, source, winners) = (x.read::<u32>(), source.read::<u32>(), winners.read::<u32>());
    for_each_chunk(
        y.write::<u32>(),
        #[inline(always)]
        |start, y| {
            for (i, y) in (start..).zip(y) {
                *y = if winners[i] > 0 { source[winners[i] as usize - 1] } else { x[i] };
            }
        },
    );
}

pub(super) static SCATTER: Kernel = Kernel {
    shader: &thalweg_shaders::SCATTER,
    uniform: size_of::<u32>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: scatter_twin,
};

/// Checks indices of one element each, and returns the number of the axis.
fn expect_indices(op: &'static str, x: &Tensor, axis: impl Axis, indices: &Tensor) -> Result<usize> {
    expect_words(op, x)?;
    expect_dtype(op, indices, DType::U32)?;
    x.same_device(op, indices)?;
    let axis = axis.of(op, x.shape())?;
    let fits = |d: usize| d == axis || indices.shape()[d] <= x.shape()[d];
    if indices.rank() == x.rank() && (0..x.rank()).all(fits) {
        return Ok(axis);
    }
    Err(Error::Shape {
        op,
        rule: "the indices have another rank, or are larger along an axis that they do not count",
        left: x.shape().to_vec(),
        right: indices.shape().to_vec(),
    })
}

/// Checks a list of indices along an axis, and returns its number.
pub(super) fn expect_list(op: &'static str, x: &Tensor, axis: impl Axis, indices: &Tensor) -> Result<usize> {
    expect_words(op, x)?;
    expect_dtype(op, indices, DType::U32)?;
    x.same_device(op, indices)?;
    if indices.rank() != 1 {
        return Err(Error::Rank { op, expected: "a list of indices", shape: indices.shape().to_vec() });
    }
    axis.of(op, x.shape())
}

/// Checks the indices and the source of a scatter, and returns the number of the axis.
pub(super) fn expect_source(
    op: &'static str,
    x: &Tensor,
    axis: impl Axis,
    indices: &Tensor,
    source: &Tensor,
) -> Result<usize> {
    let axis = expect_indices(op, x, axis, indices)?;
    expect_dtype(op, source, x.dtype())?;
    x.same_device(op, source)?;
    if source.shape() == indices.shape() {
        return Ok(axis);
    }
    Err(Error::Shape {
        op,
        rule: "needs one index per element of the source",
        left: source.shape().to_vec(),
        right: indices.shape().to_vec(),
    })
}

/// Calls `body` with the part of `x` that has the extents of the indices but for the axis, and returns `x` with its
/// result in place of that part.
pub(super) fn on_part(
    x: &Tensor,
    axis: usize,
    extents: &[usize],
    body: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let Some(d) = (0..x.rank()).find(|&d| d != axis && extents[d] < x.shape()[d]) else { return body(x) };
    let part = on_part(&x.slice(d, 0, extents[d])?, axis, extents, body)?;
    let rest = x.slice(d, extents[d], x.shape()[d])?;
    Tensor::concatenate(&[part, rest], d)
}

impl Tensor {
    /// Returns the elements with these indices along an axis, each from its own line:
    /// `y[i, j] = self[indices[i, j], j]` for axis 0 of two. It is PyTorch's `gather` and NumPy's `take_along_axis`.
    ///
    /// # Shapes
    /// `[a, n, b]` and u32 indices `[c, m, d]` along axis 1 → `[c, m, d]`, where c ≤ a and d ≤ b.
    ///
    /// # Numerics
    /// An index out of range gives NaN (for u32 0x7fc00000, the same bits), and the next read-back from the device returns
    /// [`Error::Index`].
    ///
    /// # Errors
    /// If the elements have 16 bits, the shapes do not fit, the indices are not u32, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::from_slice(&device, &[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let indices = Tensor::from_slice(&device, &[1u32, 0, 0, 0], &[2, 2])?;
    /// assert_eq!(x.gather(1, &indices)?.to_vec::<f32>()?, [2.0, 1.0, 3.0, 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "take_along_axis")]
    pub fn gather(&self, axis: impl Axis, indices: &Self) -> Result<Self> {
        let axis = expect_indices("gather", self, axis, indices)?;
        let mut part = self.clone();
        for d in (0..self.rank()).filter(|&d| d != axis) {
            part = part.slice(d, 0, indices.shape()[d])?;
        }
        let lines = Lines::new(part.shape(), axis, indices.shape()[axis]);
        part.contiguous()?.gather_lines("gather", lines, indices, None, indices.shape())
    }

    /// Returns the elements with these indices, as [`gather`](Self::gather), but 0 where a later index names the same
    /// element, and for invalid indices: the gradient of the source of [`scatter`](Self::scatter).
    ///
    /// # Errors
    /// As of [`gather`](Self::gather).
    pub fn gather_last(&self, axis: impl Axis, indices: &Self) -> Result<Self> {
        let axis = expect_indices("gather_last", self, axis, indices)?;
        let mut part = self.clone();
        for d in (0..self.rank()).filter(|&d| d != axis) {
            part = part.slice(d, 0, indices.shape()[d])?;
        }
        let lines = Lines::new(part.shape(), axis, indices.shape()[axis]);
        let winners = winners("gather_last", &part, lines, indices)?;
        part.contiguous()?.gather_lines("gather_last", lines, indices, Some(&winners), indices.shape())
    }

    /// Returns the parts with these indices along an axis, in this order; a part may occur several times.
    ///
    /// # Shapes
    /// `[a, n, b]` and u32 indices `[m]` along axis 1 → `[a, m, b]`.
    ///
    /// # Numerics
    /// As of [`gather`](Self::gather).
    ///
    /// # Errors
    /// If the elements have 16 bits, the axis is none of the tensor's, the indices are not a list of u32, or the devices
    /// differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::from_slice(&device, &[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let indices = Tensor::from_slice(&device, &[1u32, 0, 1], &[3])?;
    /// assert_eq!(x.index_select(1, &indices)?.to_vec::<f32>()?, [2.0, 1.0, 2.0, 4.0, 3.0, 4.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn index_select(&self, axis: impl Axis, indices: &Self) -> Result<Self> {
        let axis = expect_list("index_select", self, axis, indices)?;
        if axis == 0 {
            return self.gather_rows(indices);
        }
        let mut shape = self.shape().to_vec();
        shape[axis] = indices.len();
        let lines = Lines::shared(self.shape(), axis, indices.len());
        self.contiguous()?.gather_lines("index_select", lines, indices, None, &shape)
    }

    /// Gathers elements of a contiguous tensor.
    fn gather_lines(
        &self,
        op: &'static str,
        lines: Lines,
        indices: &Self,
        winners: Option<&Self>,
        shape: &[usize],
    ) -> Result<Self> {
        let y = Self::uninitialized(self.device(), self.dtype(), shape)?;
        let indices = indices.contiguous()?;
        let (lines, faults) = lines.noting(op, self.device())?;
        let launch = Launch::new(&GATHER, lines).constant("LAST", winners.is_some()).bind(self).bind(&indices);
        let launch = match winners {
            Some(winners) => launch.bind(winners).uses(2, y.len()),
            None => launch.bind(&indices).uses(2, 0),
        };
        launch
            .bind(&y)
            .bind(&faults)
            .uses(0, y.len())
            .uses(4, 0)
            .workgroups(y.len().div_ceil(64))
            .run(self.device())?;
        Ok(y)
    }

    /// Returns the tensor with elements of `source` at these indices along an axis:
    /// `y[indices[i, j], j] = source[i, j]` for axis 0 of two, and the tensor's own elements elsewhere.
    ///
    /// If several indices name one place, the last one in row-major order wins. PyTorch leaves open which one does, and
    /// gives all of them the gradient; here only the one that wins has a gradient. Invalid indices are
    /// skipped, and the next read-back returns [`Error::Index`].
    ///
    /// # Shapes
    /// `[a, n, b]`, u32 indices `[c, m, d]` and source `[c, m, d]` along axis 1 → `[a, n, b]`, where c ≤ a and d ≤ b.
    ///
    /// # Errors
    /// If the elements have 16 bits or two types, the shapes do not fit, the indices are not u32, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::full(&device, 0f32, &[4])?;
    /// let indices = Tensor::from_slice(&device, &[3u32, 1, 3], &[3])?;
    /// let source = Tensor::from_slice(&device, &[1.0, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.scatter(0, &indices, &source)?.to_vec::<f32>()?, [0.0, 2.0, 0.0, 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn scatter(&self, axis: impl Axis, indices: &Self, source: &Self) -> Result<Self> {
        let axis = expect_source("scatter", self, axis, indices, source)?;
        on_part(self, axis, indices.shape(), &|part| {
            let lines = Lines::new(part.shape(), axis, indices.shape()[axis]);
            let winners = winners("scatter", part, lines, indices)?;
            let y = Self::uninitialized(part.device(), part.dtype(), part.shape())?;
            Launch::new(&SCATTER, y.len() as u32)
                .bind(&part.contiguous()?)
                .bind(&source.contiguous()?)
                .bind(&winners)
                .bind(&y)
                .workgroups(y.len().div_ceil(64))
                .run(part.device())?;
            Ok(y)
        })
    }
}

/// For each element of `x`, 1 + the number of the last index that names it, or 0.
fn winners(op: &'static str, x: &Tensor, lines: Lines, indices: &Tensor) -> Result<Tensor> {
    let winners = Tensor::zeros(x.device(), DType::U32, x.shape())?;
    let (lines, faults) = lines.noting(op, x.device())?;
    Launch::new(&SCATTER_WINNERS, lines)
        .bind(&indices.contiguous()?)
        .bind(&winners)
        .bind(&faults)
        .uses(2, 0)
        .workgroups(lines.len().div_ceil(64))
        .run(x.device())?;
    Ok(winners)
}
