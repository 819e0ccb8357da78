//! Batches of matrix products in one launch: strided operands, and operands that are addressed by tables.

use super::cpu::{Operand, Places, multiply};
use super::generated::form::Epilogue;
use super::plan;
use super::product::Product;
use crate::kernel::{Access, Call, Kernel};
use crate::threads::{for_each_chunk_of, thread_count};
use crate::{DType, Error, Result, Tensor, shape};

/// The most axes of a batch.
const MOST_AXES: usize = 4;

/// The axes of a batch, and the strides of the operands along them.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct Batch {
    pub(crate) extents: [u32; MOST_AXES],
    pub(crate) a_strides: [u32; MOST_AXES],
    pub(crate) b_strides: [u32; MOST_AXES],
    pub(crate) bias_strides: [u32; MOST_AXES],
    pub(crate) count: u32,
    padding: [u32; 3],
}

impl Batch {
    /// The batch of one product.
    pub(crate) const ONE: Self = Self {
        extents: [1; MOST_AXES],
        a_strides: [0; MOST_AXES],
        b_strides: [0; MOST_AXES],
        bias_strides: [0; MOST_AXES],
        count: 1,
        padding: [0; 3],
    };

    /// Creates a batch with the strides of a, b and the bias; `None` if it has too many axes that cannot be joined.
    pub(crate) fn new(extents: &[usize], strides: [&[usize]; 3]) -> Option<Self> {
        let (joined, strides) = shape::collapse(extents, strides);
        let missing = MOST_AXES.checked_sub(joined.len())?;
        let padded = |values: &[usize], value: u32| {
            std::array::from_fn(|d| d.checked_sub(missing).map_or(value, |d| values[d] as u32))
        };
        let [a_strides, b_strides, bias_strides] = strides.map(|strides| padded(&strides, 0));
        let count = extents.iter().product::<usize>() as u32;
        Some(Self { extents: padded(&joined, 1), a_strides, b_strides, bias_strides, count, padding: [0; 3] })
    }

    /// Returns the places of the first elements of a, b and the bias of one product, from those of the first product on.
    fn offsets(&self, index: usize) -> [usize; 3] {
        let mut rest = index;
        let mut offsets = [0; 3];
        for d in (0..MOST_AXES).rev() {
            let extent = self.extents[d] as usize;
            let strides = [self.a_strides[d], self.b_strides[d], self.bias_strides[d]];
            let coordinate = rest % extent;
            rest /= extent;
            offsets.iter_mut().zip(strides).for_each(|(offset, stride)| *offset += coordinate * stride as usize);
        }
        offsets
    }
}

/// Returns the elements from `start` on: none of an operand without elements, which may start after the end.
fn tail(data: &[f32], start: usize) -> &[f32] {
    &data[start.min(data.len())..]
}

/// The fewest operations of a piece of work that is made of whole products.
const LEAST_OPERATIONS: usize = 1 << 18;

impl Product {
    /// Computes c = a b, or c += a b, for each product of a batch on the CPU. `finish` receives the place of the bias,
    /// the row, and finished parts of rows.
    fn compute_batch(
        &self,
        batch: &Batch,
        [a, b]: [&[f32]; 2],
        tables: Option<&[u32]>,
        c: &mut [f32],
        accumulate: bool,
        finish: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) {
        let [m, n, k] = [self.m, self.n, self.k].map(|extent| extent as usize);
        let (size, count) = (m * n, batch.count as usize);
        if size == 0 || count == 0 {
            return;
        }
        let places = |row: u32, rows: usize, column: u32, columns: usize| match tables {
            None => Places::Strides { row: row as usize, column: column as usize },
            Some(tables) => {
                Places::Tables { rows: &tables[row as usize..][..rows], columns: &tables[column as usize..][..columns] }
            }
        };
        let [a_places, b_places] = [places(self.a_row, m, self.a_column, k), places(self.b_row, k, self.b_column, n)];
        let one = |index: usize, c: &mut [f32]| {
            let [a_start, b_start, bias_start] = batch.offsets(index);
            let a = Operand { data: tail(a, self.a_offset as usize + a_start), places: a_places };
            let b = Operand { data: tail(b, self.b_offset as usize + b_start), places: b_places };
            multiply([m, n, k], a, b, c, accumulate, |row, _, part| finish(bias_start, row, part));
        };
        let c = &mut c[..count * size];
        // Few large products are shared out themselves.
        if count < 2 * thread_count() {
            return c.chunks_mut(size).enumerate().for_each(|(index, c)| one(index, c));
        }
        let together = (LEAST_OPERATIONS / (2 * size * k.max(1))).clamp(1, count.div_ceil(2 * thread_count()));
        for_each_chunk_of(together * size, c, |start, chunk| {
            chunk.chunks_mut(size).enumerate().for_each(|(i, c)| one(start / size + i, c));
        });
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct BatchedParams {
    product: Product,
    batch: Batch,
    accumulate: u32,
}

/// c = a b, or c += a b, for each product of a batch.
fn batched_twin(call: Call<'_>) {
    let params: BatchedParams = call.params();
    let [a, b, c] = call.bindings();
    let BatchedParams { product, batch, accumulate } = params;
    product.compute_batch(&batch, [a.read(), b.read()], None, c.write(), accumulate != 0, |_, _, _| ());
}

pub(crate) static BATCHED_MATMUL: Kernel = Kernel {
    shader: &thalweg_shaders::BATCHED_MATMUL,
    uniform: size_of::<BatchedParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: batched_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct GatherParams {
    product: Product,
    batch: Batch,
    has_bias: u32,
    accumulate: u32,
}

/// c = a b + bias, or c += a b, for each product of a batch, with operands addressed by tables.
fn gather_twin(call: Call<'_>) {
    let params: GatherParams = call.params();
    let [a, b, tables, bias, c] = call.bindings();
    let (tables, bias) = (tables.read::<u32>(), bias.read::<f32>());
    let GatherParams { product, batch, has_bias, accumulate } = params;
    let finish = |start: usize, row: usize, part: &mut [f32]| {
        if has_bias != 0 {
            part.iter_mut().for_each(|c| *c += bias[start + row]);
        }
    };
    product.compute_batch(&batch, [a.read(), b.read()], Some(tables), c.write(), accumulate != 0, finish);
}

pub(crate) static GATHER_MATMUL: Kernel = Kernel {
    shader: &thalweg_shaders::GATHER_MATMUL,
    uniform: size_of::<GatherParams>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: gather_twin,
};

/// Returns the products of the matrices in the last two axes of tensors of at least two axes, one of them more.
pub(super) fn batched(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    const OP: &str = "matmul";
    let [(a_batch, a_matrix), (b_batch, b_matrix)] = [a, b].map(|x| x.shape().split_at(x.rank() - 2));
    let extents = shape::broadcast(OP, a_batch, b_batch)?;
    let stretched = |x: &Tensor, axes: usize| {
        shape::broadcast_strides(&x.shape()[..axes], &x.strides()[..axes], &extents).unwrap_or_default()
    };
    let [a_strides, b_strides] = [stretched(a, a_batch.len()), stretched(b, b_batch.len())];
    let Some(batch) = Batch::new(&extents, [&a_strides, &b_strides, &vec![0; extents.len()]]) else {
        // Copies have one axis.
        let whole = |x: &Tensor, matrix: &[usize]| x.broadcast_to(&[&extents, matrix].concat())?.contiguous();
        return batched(&whole(a, a_matrix)?, &whole(b, b_matrix)?);
    };
    let product = Product::of_last_axes(OP, a, b)?;
    let shape = [&extents[..], &[product.m as usize, product.n as usize]].concat();
    let c = Tensor::uninitialized(a.device(), DType::F32, &shape)?;
    if c.is_empty() {
        return Ok(c);
    }
    let epilogue = Epilogue::Batch { accumulate: false };
    let plan = plan::plan(plan::products(a.device()), &product, &batch, epilogue);
    plan.run(BatchedParams { product, batch, accumulate: 0 }, a, b, &[&c])?;
    Ok(c)
}

/// A batch of products c = a b + bias whose operands are addressed by tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gather<'a> {
    /// The extents m, n and k of each product.
    pub(crate) extents: [usize; 3],
    /// The operands, which are contiguous.
    pub(crate) operands: [&'a Tensor; 2],
    /// The places of a's rows, a's columns, b's rows and b's columns, one list after the other, u32 `[m + 2 k + n]`.
    pub(crate) tables: &'a Tensor,
    /// The batch, with the strides of the operands and of the bias.
    pub(crate) batch: Batch,
    /// An element for each row of c.
    pub(crate) bias: Option<&'a Tensor>,
}

impl Gather<'_> {
    /// Writes the products over `c`, contiguous, or adds them to it. Only products without a bias can be added.
    pub(crate) fn run(&self, c: &Tensor, accumulate: bool) -> Result<()> {
        let [m, n, k] = self.extents;
        let [a, b] = self.operands;
        debug_assert!(self.tables.len() == m + 2 * k + n && c.len() == m * n * self.batch.count as usize);
        if c.is_empty() {
            return Ok(());
        }
        let product = Product {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            a_offset: a.offset() as u32,
            a_row: 0,
            a_column: m as u32,
            b_offset: b.offset() as u32,
            b_row: (m + k) as u32,
            b_column: (m + 2 * k) as u32,
            slice: 0,
            padding: [0; 2],
        };
        let epilogue = Epilogue::Gather { bias: self.bias.is_some(), accumulate };
        let plan = plan::plan(plan::products(a.device()), &product, &self.batch, epilogue);
        let params = GatherParams {
            product,
            batch: self.batch,
            has_bias: self.bias.is_some().into(),
            accumulate: accumulate.into(),
        };
        plan.run(params, a, b, &[self.tables, self.bias.unwrap_or(a), c])
    }
}

/// Returns an error for operands without axes.
pub(super) fn expect_axes(op: &'static str, x: &Tensor) -> Result<()> {
    if x.rank() > 0 {
        return Ok(());
    }
    Err(Error::Rank { op, expected: "at least one dimension", shape: Vec::new() })
}
