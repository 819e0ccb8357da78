//! Sums of elements with equal indices, in a fixed order without atomics.
//!
//! For a short list each column adds its elements in order. A long one is sorted, so that equal indices are neighbours:
//! chunks of 32 add up their runs, and what lies at the ends of chunks is the input of the next stage.

use super::gather::{FirstBad, Lines, expect_list, expect_source, on_part};
use super::sort::{Keys, Sorted};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::{Axis, DType, Error, Result, Tensor, note_fault};

/// The most indices along an axis that a lane adds in order.
const MOST_IN_ORDER: usize = 256;

/// The keys of a chunk.
const CHUNK: usize = 32;

/// The columns that the twin adds up together.
const TILE: usize = 64;

/// table[o, indices[o, i, j], j] += x[o, i, j] for i in order.
fn add_twin(call: Call<'_>) {
    let lines: Lines = call.params();
    let [x, indices, table, faults] = call.bindings();
    let bad = FirstBad::new();
    let (x, indices, table) = (x.read::<f32>(), indices.read::<u32>(), table.write::<f32>());
    for (i, x) in x[..lines.len()].iter().enumerate() {
        match lines.place(indices, i) {
            Some(place) => table[place] += x,
            None => bad.add(i),
        }
    }
    lines.note(indices, &bad, faults.write());
}

pub(super) static SCATTER_ADD: Kernel = Kernel {
    shader: &thalweg_shaders::SCATTER_ADD,
    uniform: size_of::<Lines>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: add_twin,
};

/// keys[i] = the element that index i names, or `u32::MAX`.
fn keys_twin(call: Call<'_>) {
    let lines: Lines = call.params();
    let [indices, keys, faults] = call.bindings();
    let bad = FirstBad::new();
    let indices = indices.read::<u32>();
    crate::threads::for_each_chunk(
        keys.write::<u32>(),
        #[inline(always)]
        |start, keys| {
            for (i, key) in (start..).zip(keys) {
                *key = lines.place(indices, i).map_or(u32::MAX, |place| place as u32);
                if *key == u32::MAX {
                    bad.add(i);
                }
            }
        },
    );
    lines.note(indices, &bad, faults.write());
}

pub(super) static SCATTER_KEYS: Kernel = Kernel {
    shader: &thalweg_shaders::SCATTER_KEYS,
    uniform: size_of::<Lines>(),
    access: &[Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: keys_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct SumParams {
    count: u32,
    rows: u32,
    columns: u32,
    operation: u32,
}

/// One stage of table[key, j] += the sum of the rows with this key.
fn sums_twin(call: Call<'_>) {
    let params: SumParams = call.params();
    let is_ordered = call.constant("ORDERED") != 0.0;
    let [keys, order, x, table, end_keys, ends, faults] = call.bindings();
    let (keys, order, x) = (keys.read::<u32>(), order.read::<u32>(), x.read::<f32>());
    let (table, end_keys, ends) = (table.write::<f32>(), end_keys.write::<u32>(), ends.write::<f32>());
    let (count, columns) = (params.count as usize, params.columns as usize);
    // Keys are sorted, so bad ones are the last.
    let last = keys[count - 1];
    if is_ordered && last >= params.rows {
        note_fault(faults.write(), last, params.rows, params.operation);
    }
    let chunks = count.div_ceil(CHUNK);
    for chunk in 0..chunks {
        let chunk_keys = &keys[chunk * CHUNK..count.min((chunk + 1) * CHUNK)];
        for start in (0..columns).step_by(TILE) {
            let width = TILE.min(columns - start);
            let mut tile = [0.0; TILE];
            let sums = &mut tile[..width];
            let row = |i: usize| {
                let i = chunk * CHUNK + i;
                &x[if is_ordered { order[i] as usize } else { i } * columns + start..][..width]
            };
            let (mut is_first, mut i) = (chunks > 1, 0);
            while i < chunk_keys.len() {
                let key = chunk_keys[i];
                sums.copy_from_slice(row(i));
                i += 1;
                while i < chunk_keys.len() && chunk_keys[i] == key {
                    sums.iter_mut().zip(row(i)).for_each(|(sum, x)| *sum += x);
                    i += 1;
                }
                let is_last = chunks > 1 && i == chunk_keys.len();
                if is_first || is_last {
                    let end = 2 * chunk + usize::from(!is_first);
                    end_keys[end] = key;
                    ends[end * columns + start..][..width].copy_from_slice(sums);
                } else if key < params.rows {
                    let table = &mut table[key as usize * columns + start..][..width];
                    table.iter_mut().zip(&*sums).for_each(|(table, sum)| *table += sum);
                }
                if is_first && is_last {
                    end_keys[2 * chunk + 1] = key;
                    ends[(2 * chunk + 1) * columns + start..][..width].fill(-0.0);
                }
                is_first = false;
            }
        }
    }
}

pub(super) static SEGMENT_SUMS: Kernel = Kernel {
    shader: &thalweg_shaders::SEGMENT_SUMS,
    uniform: size_of::<SumParams>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Write, Access::Write, Access::Write, Access::Write],
    variants: &[&[("ORDERED", 0.0)], &[("ORDERED", 1.0)]],
    twin: sums_twin,
};

/// Adds row i of `x` to row `indices[i]` of `table`; all are contiguous.
pub(super) fn add_rows(op: &'static str, x: &Tensor, indices: &Tensor, table: &Tensor, columns: usize) -> Result<()> {
    let lines = Lines::shared(&[table.shape()[0], columns], 0, indices.len());
    if indices.len() <= MOST_IN_ORDER {
        return add_in_order(op, x, lines, indices, table);
    }
    add_sorted(op, x, indices, table, columns)
}

fn add_in_order(op: &'static str, x: &Tensor, lines: Lines, indices: &Tensor, table: &Tensor) -> Result<()> {
    if lines.len() == 0 {
        return Ok(());
    }
    let (lines, faults) = lines.noting(op, x.device())?;
    Launch::new(&SCATTER_ADD, lines)
        .bind(x)
        .bind(indices)
        .bind(table)
        .bind(&faults)
        .uses(2, lines.len())
        .uses(3, 0)
        .workgroups((lines.outer as usize * lines.inner as usize).div_ceil(64))
        .run(x.device())
}

/// Sorts the keys of rows, and adds the rows of each key to that of the table.
fn add_sorted(op: &'static str, x: &Tensor, keys: &Tensor, table: &Tensor, columns: usize) -> Result<()> {
    if columns == 0 || keys.is_empty() {
        return Ok(());
    }
    let (rows, (faults, operation)) = (table.len() / columns, x.device().faults(op)?);
    let sorted = Sorted::of(keys, 1, keys.len(), Keys::Words, false)?;
    let (mut keys, mut x, mut order) = (sorted.keys, x.clone(), Some(sorted.places));
    loop {
        let (count, chunks) = (keys.len(), keys.len().div_ceil(CHUNK));
        let end_keys = Tensor::uninitialized(x.device(), DType::U32, &[2 * chunks])?;
        let ends = Tensor::uninitialized(x.device(), DType::F32, &[2 * chunks, columns])?;
        let params = SumParams { count: count as u32, rows: rows as u32, columns: columns as u32, operation };
        let launch = Launch::new(&SEGMENT_SUMS, params).constant("ORDERED", order.is_some()).bind(&keys);
        let launch = match &order {
            Some(order) => launch.bind(order),
            None => launch.bind(&keys).uses(1, 0),
        };
        launch
            .bind(&x)
            .bind(table)
            .bind(&end_keys)
            .bind(&ends)
            .bind(&faults)
            .uses(6, 0)
            .workgroups((chunks * columns).div_ceil(64))
            .run(x.device())?;
        if chunks <= 1 {
            return Ok(());
        }
        (keys, x, order) = (end_keys, ends, None);
    }
}

impl Tensor {
    /// Returns the tensor with elements of `source` added at these indices along an axis:
    /// `y[indices[i, j], j] += source[i, j]` for axis 0 of two. Invalid indices are
    /// skipped, and the next read-back returns [`Error::Index`].
    ///
    /// # Shapes
    /// As of [`scatter`](Self::scatter).
    ///
    /// # Numerics
    /// The bits are the same in every run. Up to 256 indices along the axis are added in their order. Longer lists are
    /// sorted, and elements of one place are added in stages of 32.
    ///
    /// # Errors
    /// If the elements are not f32, the shapes do not fit, the indices are not u32, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::full(&device, 1f32, &[4])?;
    /// let indices = Tensor::from_slice(&device, &[3u32, 1, 3], &[3])?;
    /// let source = Tensor::from_slice(&device, &[1.0, 2.0, 3.0], &[3])?;
    /// assert_eq!(x.scatter_add(0, &indices, &source)?.to_vec::<f32>()?, [1.0, 3.0, 1.0, 5.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn scatter_add(&self, axis: impl Axis, indices: &Self, source: &Self) -> Result<Self> {
        let op = "scatter_add";
        expect_dtype(op, self, DType::F32)?;
        let axis = expect_source(op, self, axis, indices, source)?;
        let (source, indices) = (source.contiguous()?, indices.contiguous()?);
        on_part(self, axis, indices.shape(), &|part| {
            let y = part.copy()?;
            let lines = Lines::new(part.shape(), axis, indices.shape()[axis]);
            if lines.count as usize <= MOST_IN_ORDER {
                add_in_order(op, &source, lines, &indices, &y)?;
            } else {
                let keys = Self::uninitialized(y.device(), DType::U32, &[indices.len()])?;
                let (lines, faults) = lines.noting(op, y.device())?;
                Launch::new(&SCATTER_KEYS, lines)
                    .bind(&indices)
                    .bind(&keys)
                    .bind(&faults)
                    .uses(2, 0)
                    .workgroups(keys.len().div_ceil(64))
                    .run(y.device())?;
                add_sorted(op, &source, &keys, &y, 1)?;
            }
            Ok(y)
        })
    }

    /// Returns the tensor with part i of `source` along an axis added to its part `indices[i]`. Invalid indices are
    /// skipped, and the next read-back returns [`Error::Index`].
    ///
    /// # Shapes
    /// `[a, n, b]`, u32 indices `[m]` and source `[a, m, b]` along axis 1 → `[a, n, b]`.
    ///
    /// # Numerics
    /// As of [`scatter_add`](Self::scatter_add).
    ///
    /// # Errors
    /// If the elements are not f32, the shapes do not fit, the indices are not a list of u32, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::full(&device, 0f32, &[2, 2])?;
    /// let indices = Tensor::from_slice(&device, &[1u32, 1], &[2])?;
    /// let source = Tensor::from_slice(&device, &[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(x.index_add(1, &indices, &source)?.to_vec::<f32>()?, [0.0, 3.0, 0.0, 7.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn index_add(&self, axis: impl Axis, indices: &Self, source: &Self) -> Result<Self> {
        let op = "index_add";
        expect_dtype(op, self, DType::F32)?;
        expect_dtype(op, source, DType::F32)?;
        let axis = expect_list(op, self, axis, indices)?;
        self.same_device(op, source)?;
        let mut expected = self.shape().to_vec();
        expected[axis] = indices.len();
        if source.shape() != expected {
            return Err(Error::Shape {
                op,
                rule: "needs one index per part of the source, and parts of the tensor's shape",
                left: source.shape().to_vec(),
                right: self.shape().to_vec(),
            });
        }
        let indices = indices.contiguous()?;
        if indices.len() <= MOST_IN_ORDER {
            let y = self.copy()?;
            let lines = Lines::shared(self.shape(), axis, indices.len());
            add_in_order(op, &source.contiguous()?, lines, &indices, &y)?;
            return Ok(y);
        }
        let y = self.transpose(0, axis)?.copy()?;
        let source = source.transpose(0, axis)?.contiguous()?;
        add_rows(op, &source, &indices, &y, y.shape()[1..].iter().product())?;
        y.transpose(0, axis)
    }
}
