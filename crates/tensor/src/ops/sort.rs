//! Sorting along an axis, and what follows from it: the largest elements and medians.
//!
//! Elements become words of the same order, and each keeps its place. Blocks of 1,024 are sorted in the memory of a
//! workgroup, and neighbouring runs are merged until a row is one run. Equal elements stay in the order of their places,
//! so the result does not depend on the way that it was found.

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::{expect_dtype, expect_words};
use crate::threads::for_each_chunks;
use crate::{Axis, DType, Error, Result, Tensor};

/// The slots of a workgroup: the most elements that it sorts.
const SLOTS: usize = 1024;

/// The key of NaN in ascending order; no number has it.
const NAN_KEY: u32 = u32::MAX;

/// How the elements of a tensor become keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Words are their own keys.
    Words,
    /// Floats in the order of numbers; NaN is the largest.
    Floats,
    /// A mask of floats: 1 for zeros, 0 for all others.
    FloatMask,
    /// A mask of words.
    WordMask,
}

impl Keys {
    fn of(dtype: DType) -> Self {
        if dtype == DType::U32 { Self::Words } else { Self::Floats }
    }

    pub(super) fn of_mask(dtype: DType) -> Self {
        if dtype == DType::U32 { Self::WordMask } else { Self::FloatMask }
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct BlockParams {
    rows: u32,
    row_length: u32,
    blocks: u32,
    slots: u32,
    kind: u32,
    is_descending: u32,
}

#[inline(always)]
fn key_of(word: u32, kind: u32, is_descending: bool) -> u32 {
    let magnitude = word & 0x7fff_ffff;
    let key = match kind {
        1 if magnitude > 0x7f80_0000 => NAN_KEY,
        1 if magnitude == 0 => 1 << 31,
        1 if word >> 31 == 1 => !word,
        1 => word | 1 << 31,
        2 => (magnitude == 0).into(),
        3 => (word == 0).into(),
        _ => word,
    };
    if is_descending { !key } else { key }
}

/// Blocks of `slots` elements of each row, sorted; the order of keys and places is total, so any way gives the same. A
/// block that lies in two chunks is sorted for both.
fn blocks_twin(call: Call<'_>) {
    let params: BlockParams = call.params();
    let [x, keys, places] = call.bindings();
    let x = x.read::<u32>();
    let (row_length, slots) = (params.row_length as usize, params.slots as usize);
    for_each_chunks([keys.write::<u32>(), places.write::<u32>()], |chunk, [keys, places]| {
        let mut pairs = [0u64; SLOTS];
        let mut at = 0;
        while at < keys.len() {
            let (row, place) = ((chunk + at) / row_length, (chunk + at) % row_length);
            let first = place / slots * slots;
            let elements = &x[row * row_length + first..][..slots.min(row_length - first)];
            let pairs = &mut pairs[..elements.len()];
            for (place, (&word, pair)) in (first..).zip(elements.iter().zip(&mut *pairs)) {
                let key = key_of(word, params.kind, params.is_descending != 0);
                *pair = u64::from(key) << 32 | place as u64;
            }
            pairs.sort_unstable();
            let own = &pairs[place - first..];
            let own = &own[..own.len().min(keys.len() - at)];
            for (pair, (key, place)) in own.iter().zip(keys[at..].iter_mut().zip(&mut places[at..])) {
                (*key, *place) = ((pair >> 32) as u32, *pair as u32);
            }
            at += own.len();
        }
    });
}

pub(super) static SORT_BLOCKS: Kernel = Kernel {
    shader: &thalweg_shaders::SORT_BLOCKS,
    uniform: size_of::<BlockParams>(),
    access: &[Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: blocks_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct MergeParams {
    rows: u32,
    row_length: u32,
    width: u32,
}

/// Runs of twice the width; each chunk finds out by a search where its elements begin in both runs.
fn merge_twin(call: Call<'_>) {
    let params: MergeParams = call.params();
    let [keys, places, merged_keys, merged_places] = call.bindings();
    let (keys, places) = (keys.read::<u32>(), places.read::<u32>());
    let (row_length, width) = (params.row_length as usize, params.width as usize);
    for_each_chunks([merged_keys.write::<u32>(), merged_places.write::<u32>()], |first, [own_keys, own_places]| {
        let mut at = 0;
        while at < own_keys.len() {
            let row = (first + at) / row_length * row_length;
            let place = first + at - row;
            let start = place - place % (2 * width);
            let middle = row_length.min(start + width);
            let end = row_length.min(middle + width);
            let (left, right) = (row + start..row + middle, row + middle..row + end);
            let skipped = place - start;
            let mut i = split(&keys[left.clone()], &keys[right.clone()], skipped);
            let mut j = skipped - i;
            let count = (end - place).min(own_keys.len() - at);
            for (key, place) in own_keys[at..at + count].iter_mut().zip(&mut own_places[at..at + count]) {
                let is_left = j == right.len() || (i < left.len() && keys[left.start + i] <= keys[right.start + j]);
                let from = if is_left { left.start + i } else { right.start + j };
                (i, j) = if is_left { (i + 1, j) } else { (i, j + 1) };
                (*key, *place) = (keys[from], places[from]);
            }
            at += count;
        }
    });
}

/// The number of elements of `left` among the first `count` of both runs.
fn split(left: &[u32], right: &[u32], count: usize) -> usize {
    let (mut low, mut high) = (count.saturating_sub(right.len()), count.min(left.len()));
    while low < high {
        let middle = (low + high) / 2;
        // Element `middle` of the left run is among them if it goes before the last one that would be taken of the right.
        if left[middle] <= right[count - middle - 1] { low = middle + 1 } else { high = middle }
    }
    low
}

pub(super) static SORT_MERGE: Kernel = Kernel {
    shader: &thalweg_shaders::SORT_MERGE,
    uniform: size_of::<MergeParams>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: merge_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct PlaceParams {
    rows: u32,
    row_length: u32,
    bound: u32,
}

/// The number of keys below the bound, or the place of the median.
fn place_twin(call: Call<'_>) {
    let params: PlaceParams = call.params();
    let is_median = call.constant("MEDIAN") != 0.0;
    let [keys, places, y] = call.bindings();
    let (keys, places, row_length) = (keys.read::<u32>(), places.read::<u32>(), params.row_length as usize);
    for (row, y) in y.write::<u32>().iter_mut().enumerate() {
        let below = keys[row * row_length..][..row_length].partition_point(|key| *key < params.bound);
        let median = if below < row_length { below } else { (row_length.max(1) - 1) / 2 };
        *y = if is_median { places[row * row_length + median] } else { below as u32 };
    }
}

pub(super) static SORTED_PLACE: Kernel = Kernel {
    shader: &thalweg_shaders::SORTED_PLACE,
    uniform: size_of::<PlaceParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[("MEDIAN", 0.0)], &[("MEDIAN", 1.0)]],
    twin: place_twin,
};

/// Rows of sorted keys, and the places of their elements.
pub(super) struct Sorted {
    pub(super) keys: Tensor,
    pub(super) places: Tensor,
    rows: usize,
    row_length: usize,
}

impl Sorted {
    /// Sorts the rows of a tensor of 32-bit elements.
    pub(super) fn of(x: &Tensor, rows: usize, row_length: usize, kind: Keys, is_descending: bool) -> Result<Self> {
        let new = || {
            let words = || Tensor::uninitialized(x.device(), DType::U32, &[rows, row_length]);
            Ok::<_, Error>(Self { keys: words()?, places: words()?, rows, row_length })
        };
        let mut sorted = new()?;
        let slots = row_length.next_power_of_two().min(SLOTS);
        let blocks = row_length.div_ceil(slots);
        let params = BlockParams {
            rows: rows as u32,
            row_length: row_length as u32,
            blocks: blocks.max(1) as u32,
            slots: slots as u32,
            kind: kind as u32,
            is_descending: is_descending.into(),
        };
        Launch::new(&SORT_BLOCKS, params)
            .bind(&x.contiguous()?)
            .bind(&sorted.keys)
            .bind(&sorted.places)
            .workgroups((rows * blocks).div_ceil(SLOTS / slots))
            .run(x.device())?;
        let mut width = SLOTS;
        while width < row_length {
            let merged = new()?;
            let params = MergeParams { rows: rows as u32, row_length: row_length as u32, width: width as u32 };
            Launch::new(&SORT_MERGE, params)
                .bind(&sorted.keys)
                .bind(&sorted.places)
                .bind(&merged.keys)
                .bind(&merged.places)
                .workgroups((rows * row_length).div_ceil(64))
                .run(x.device())?;
            sorted = merged;
            width *= 2;
        }
        Ok(sorted)
    }

    /// Returns the number of keys below a bound in each row, u32 `[rows]`.
    pub(super) fn count_below(&self, bound: u32) -> Result<Tensor> {
        self.place(bound, false)
    }

    fn place(&self, bound: u32, is_median: bool) -> Result<Tensor> {
        let y = Tensor::uninitialized(self.keys.device(), DType::U32, &[self.rows])?;
        let params = PlaceParams { rows: self.rows as u32, row_length: self.row_length as u32, bound };
        Launch::new(&SORTED_PLACE, params)
            .constant("MEDIAN", is_median)
            .bind(&self.keys)
            .bind(&self.places)
            .bind(&y)
            .workgroups(self.rows.div_ceil(64))
            .run(y.device())?;
        Ok(y)
    }
}

/// A tensor with one of its axes last, as rows.
struct Rows {
    x: Tensor,
    axis: usize,
    rows: usize,
    length: usize,
}

impl Rows {
    /// A tensor without axes has the axis 0.
    fn of(op: &'static str, x: &Tensor, axis: impl Axis) -> Result<Self> {
        expect_words(op, x)?;
        let x = if x.rank() == 0 { x.reshape(&[1])? } else { x.clone() };
        let axis = axis.of(op, x.shape())?;
        let length = x.shape()[axis];
        let x = x.transpose(axis, x.rank() - 1)?.contiguous()?;
        let rows = x.shape()[..x.rank() - 1].iter().product();
        Ok(Self { x, axis, rows, length })
    }

    fn sorted(&self, is_descending: bool) -> Result<Sorted> {
        Sorted::of(&self.x, self.rows, self.length, Keys::of(self.x.dtype()), is_descending)
    }

    /// Returns the first `count` columns of rows as the axis that they were.
    fn columns(&self, rows: &Tensor, count: usize) -> Result<Tensor> {
        let columns = rows.reshape(self.x.shape())?.slice(-1, 0, count)?;
        columns.transpose(self.axis, self.x.rank() - 1)
    }
}

impl Tensor {
    /// Returns the elements sorted along an axis, and their indices along it.
    ///
    /// Equal elements stay in order, as in PyTorch with `stable=True`. NaN is larger than every number. A tensor without
    /// axes has the axis 0.
    ///
    /// # Shapes
    /// `[…]` → `[…]` and u32 `[…]`.
    ///
    /// # Errors
    /// If the elements have 16 bits, or the axis is none of the tensor's.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[2.0, 3.0, 1.0, 3.0], &[4])?;
    /// let (values, indices) = x.sort(0, true)?;
    /// assert_eq!(values.to_vec::<f32>()?, [3.0, 3.0, 2.0, 1.0]);
    /// assert_eq!(indices.to_vec::<u32>()?, [1, 3, 0, 2]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sort(&self, axis: impl Axis, descending: bool) -> Result<(Self, Self)> {
        let indices = self.sorted_indices("sort", axis, descending, None)?;
        Ok((self.at_places(axis, &indices)?, indices))
    }

    /// Returns the indices that sort the elements along an axis; see [`sort`](Self::sort).
    ///
    /// # Errors
    /// As of [`sort`](Self::sort).
    pub fn argsort(&self, axis: impl Axis, descending: bool) -> Result<Self> {
        self.sorted_indices("argsort", axis, descending, None)
    }

    /// Returns the `k` largest or smallest elements along an axis, and their indices along it, the first ones first.
    ///
    /// Of equal elements those with smaller indices come first. NaN is larger than every number.
    ///
    /// # Shapes
    /// `[…, n, …]` → `[…, k, …]` and u32 `[…, k, …]`.
    ///
    /// # Errors
    /// If the elements have 16 bits, the axis is none of the tensor's, or it has fewer than `k` elements.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[2.0, 3.0, 1.0, 3.0], &[4])?;
    /// let (values, indices) = x.topk(2, 0, true)?;
    /// assert_eq!(values.to_vec::<f32>()?, [3.0, 3.0]);
    /// assert_eq!(indices.to_vec::<u32>()?, [1, 3]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn topk(&self, k: usize, axis: impl Axis, largest: bool) -> Result<(Self, Self)> {
        let indices = self.sorted_indices("topk", axis, largest, Some(k))?;
        Ok((self.at_places(axis, &indices)?, indices))
    }

    /// Returns the median along an axis, and its index along it. Of an even number of elements it is the lower one of the
    /// two in the middle, and of elements with NaN the first NaN, as in PyTorch.
    ///
    /// # Shapes
    /// `[a, n, b]` along axis 1 → `[a, b]` and u32 `[a, b]`, or `[a, 1, b]` with `keepdim`.
    ///
    /// # Errors
    /// If the elements are not f32, or the axis is none of the tensor's or has no elements.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[2.0, 4.0, 1.0, 3.0], &[4])?;
    /// let (median, index) = x.median(0, false)?;
    /// assert_eq!((median.item::<f32>()?, index.item::<u32>()?), (2.0, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn median(&self, axis: impl Axis, keepdim: bool) -> Result<(Self, Self)> {
        let op = "median";
        expect_dtype(op, self, DType::F32)?;
        let rows = Rows::of(op, self, axis)?;
        if rows.length == 0 {
            return Err(Error::Rank { op, expected: "an axis with elements", shape: self.shape().to_vec() });
        }
        let mut shape = rows.x.shape().to_vec();
        *shape.last_mut().unwrap_or_else(|| unreachable!("there is an axis")) = 1;
        let indices = rows.sorted(false)?.place(NAN_KEY, true)?.reshape(&shape)?;
        let indices = indices.transpose(rows.axis, shape.len() - 1)?;
        if self.rank() == 0 {
            return Ok((self.clone(), indices.reshape(&[])?));
        }
        let values = self.gather(rows.axis, &indices)?;
        if keepdim { Ok((values, indices)) } else { Ok((values.squeeze(rows.axis)?, indices.squeeze(rows.axis)?)) }
    }

    /// The elements at indices of the same rank; a tensor without axes has the axis 0.
    fn at_places(&self, axis: impl Axis, indices: &Self) -> Result<Self> {
        if self.rank() > 0 {
            return self.gather(axis, indices);
        }
        self.reshape(&[1])?.gather(0, &indices.reshape(&[indices.len()])?)?.reshape(indices.shape())
    }

    fn sorted_indices(
        &self,
        op: &'static str,
        axis: impl Axis,
        is_descending: bool,
        count: Option<usize>,
    ) -> Result<Self> {
        let rows = Rows::of(op, self, axis)?;
        let count = count.unwrap_or(rows.length);
        if count > rows.length {
            let (value, rule) = (count.to_string(), "at most the extent of the axis");
            return Err(Error::Argument { op, name: "k", value, rule });
        }
        let places = rows.sorted(is_descending)?.places;
        let indices = rows.columns(&places, count)?;
        // PyTorch gives a tensor without axes for one, unless there is none of its elements.
        if self.rank() == 0 && count == 1 { indices.reshape(&[]) } else { Ok(indices) }
    }
}
