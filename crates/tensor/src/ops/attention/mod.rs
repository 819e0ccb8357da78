//! Attention: weighted means of values, with weights by products of queries and keys.

mod cpu;

use crate::kernel::{Access, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::{DType, Error, Result, Tensor};

/// The longest vectors of a head.
const MOST_WIDTH: usize = 128;
/// The longest vectors whose tiles have eight rows.
const NARROW: usize = 64;
/// The rows of a workgroup's own.
const ROWS: usize = 8;
/// The most tiles of a launch: some drivers end loops after 65,535 turns, those inside of them included.
const MOST_TILES: usize = 512;

/// The settings of [`Tensor::scaled_dot_product_attention`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Attention {
    /// The factor of the products of queries and keys. Default 1 / √width.
    pub scale: Option<f32>,
    /// Whether query i attends to the keys up to i only, counted from the first ones. Default false.
    pub causal: bool,
}

impl Attention {
    /// Returns the factor of the products for vectors of this width.
    #[doc(hidden)]
    #[must_use]
    pub fn scale_of(&self, width: usize) -> f32 {
        self.scale.unwrap_or_else(|| (1.0 / (width as f64).sqrt()) as f32)
    }
}

/// The places of the elements of an operand.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
struct Operand {
    /// Distances between neighbours: batch, head, row, column.
    strides: [u32; 4],
    offset: u32,
    padding: [u32; 3],
}

impl Operand {
    /// The places of a tensor of four axes.
    fn of(tensor: &Tensor) -> Self {
        let strides = std::array::from_fn(|d| tensor.strides()[d] as u32);
        Self { strides, offset: tensor.offset() as u32, padding: [0; 3] }
    }

    /// The place of the first element of a row.
    #[inline(always)]
    fn place(&self, batch: usize, head: usize, row: usize) -> usize {
        let [of_batch, of_head, of_row, _] = self.strides.map(|stride| stride as usize);
        self.offset as usize + batch * of_batch + head * of_head + row * of_row
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    q: Operand,
    k: Operand,
    v: Operand,
    mask: Operand,
    g: Operand,
    batches: u32,
    heads: u32,
    key_heads: u32,
    rows: u32,
    keys: u32,
    width: u32,
    first: u32,
    end: u32,
    tiles: u32,
    is_causal: u32,
    has_mask: u32,
    scale: f32,
}

pub(super) static ATTENTION: Kernel = Kernel {
    shader: &thalweg_shaders::ATTENTION,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: cpu::forward,
};

pub(super) static QUERY_GRAD: Kernel = Kernel {
    shader: &thalweg_shaders::ATTENTION_QUERY_GRAD,
    uniform: size_of::<Params>(),
    access: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
    ],
    variants: &[&[]],
    twin: cpu::query_grad,
};

pub(super) static KEY_GRAD: Kernel = Kernel {
    shader: &thalweg_shaders::ATTENTION_KEY_GRAD,
    uniform: size_of::<Params>(),
    access: &[
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
    ],
    variants: &[&[]],
    twin: cpu::key_grad,
};

const OP: &str = "scaled_dot_product_attention";

/// The operands as tensors of four axes, and the parameters.
struct Problem {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Option<Tensor>,
    params: Params,
}

impl Problem {
    fn new(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, settings: &Attention) -> Result<Self> {
        for tensor in [q, k, v].into_iter().chain(mask) {
            expect_dtype(OP, tensor, DType::F32)?;
            q.same_device(OP, tensor)?;
        }
        let group = check_shapes(q.shape(), k.shape(), v.shape())?;
        let (rank, shape) = (q.rank(), q.shape());
        let keys = k.shape()[rank - 2];
        // Three axes are a batch without heads, unless heads share keys.
        let is_batch = rank == 3 && group == 1;
        let spread = |tensor: &Tensor| four_axes(tensor, is_batch);
        let stretched = |mask: &Tensor| mask.broadcast_to(&[&shape[..rank - 1], &[keys]].concat());
        let mask = mask.map(|mask| spread(&stretched(mask)?)).transpose()?;
        let (q, k, v) = (spread(q)?, spread(k)?, spread(v)?);
        let [batches, heads, rows, width] = std::array::from_fn(|d| q.shape()[d] as u32);
        let params = Params {
            q: Operand::of(&q),
            k: Operand::of(&k),
            v: Operand::of(&v),
            mask: mask.as_ref().map_or(Operand::default(), Operand::of),
            g: Operand::default(),
            batches,
            heads,
            key_heads: k.shape()[1] as u32,
            rows,
            keys: keys as u32,
            width,
            first: 0,
            end: 0,
            tiles: 0,
            is_causal: settings.causal.into(),
            has_mask: mask.is_some().into(),
            scale: settings.scale_of(width as usize),
        };
        Ok(Self { q, k, v, mask, params })
    }

    /// Whether there is nothing to compute: results are empty or zero.
    fn is_empty(&self) -> bool {
        self.q.is_empty() || self.k.is_empty()
    }

    /// Runs a kernel over `rows` rows of the other side of each of `heads` heads, in as many launches as it takes.
    fn run(
        &self,
        kernel: &'static Kernel,
        params: Params,
        [rows, heads]: [u32; 2],
        blocks: usize,
        products: u64,
        bind: impl Fn(Launch) -> Launch,
    ) -> Result<()> {
        let tile = if params.width as usize > NARROW { ROWS / 2 } else { ROWS };
        let tiles = heads as usize * (rows as usize).div_ceil(tile);
        let Params { batches, heads, rows, keys, width, .. } = params;
        let operations = 2 * products * [batches, heads, rows, keys, width].map(u64::from).iter().product::<u64>();
        for first in (0..tiles).step_by(MOST_TILES) {
            let end = tiles.min(first + MOST_TILES);
            let params = Params { first: first as u32, end: end as u32, tiles: tiles as u32, ..params };
            let launch = Launch::new(kernel, params).bind_whole(&self.q).bind_whole(&self.k).bind_whole(&self.v);
            let launch = launch.bind_whole(self.mask.as_ref().unwrap_or(&self.q));
            let operations = operations * (end - first) as u64 / tiles as u64;
            bind(launch).operations(operations).workgroups(blocks).run(self.q.device())?;
        }
        Ok(())
    }

    /// Allocates a result of rows of vectors, of the shape `[batches, rows, heads, width]`.
    fn result(&self, heads: u32, rows: u32) -> Result<Tensor> {
        let shape = [self.params.batches, rows, heads, self.params.width].map(|extent| extent as usize);
        Tensor::uninitialized(self.q.device(), DType::F32, &shape)
    }
}

/// Checks the shapes, and returns how many heads share one of keys.
fn check_shapes(q: &[usize], k: &[usize], v: &[usize]) -> Result<usize> {
    let shapes = |rule: &'static str, left: &[usize], right: &[usize]| {
        Err(Error::Shape { op: OP, rule, left: left.to_vec(), right: right.to_vec() })
    };
    let rank = q.len();
    if rank < 2 {
        return Err(Error::Rank { op: OP, expected: "at least 2 dimensions", shape: q.to_vec() });
    }
    if k != v {
        return shapes("keys and values must have one shape", k, v);
    }
    if k.len() != rank || k[rank - 1] != q[rank - 1] || k[..rank.saturating_sub(3)] != q[..rank.saturating_sub(3)] {
        return shapes("queries and keys must have the same batches and the same width", q, k);
    }
    if q[rank - 1] > MOST_WIDTH {
        let value = q[rank - 1].to_string();
        return Err(Error::Argument { op: OP, name: "width of a head", value, rule: "at most 128" });
    }
    if rank == 2 {
        return Ok(1);
    }
    let (heads, key_heads) = (q[rank - 3], k[rank - 3]);
    if heads != key_heads && (key_heads == 0 || heads % key_heads != 0) {
        return shapes("the heads of queries must be a multiple of those of keys", q, k);
    }
    Ok(heads.checked_div(key_heads).unwrap_or(1))
}

/// Returns the view with four axes: batch, head, row, column.
fn four_axes(tensor: &Tensor, is_batch: bool) -> Result<Tensor> {
    match tensor.rank() {
        2 => tensor.unsqueeze(0)?.unsqueeze(0),
        3 => tensor.unsqueeze(if is_batch { 1 } else { 0 }),
        4 => Ok(tensor.clone()),
        rank => {
            let (batch, last) = tensor.shape().split_at(rank - 3);
            tensor.reshape(&[&[batch.iter().product()], last].concat())
        }
    }
}

/// Returns a result `[batches, rows, heads, width]` as a tensor of this shape, in which heads come before rows.
fn with_shape(result: &Tensor, shape: &[usize]) -> Result<Tensor> {
    result.transpose(1, 2)?.reshape_view(shape)
}

impl Tensor {
    /// Returns the same elements with another shape, without a copy if only axes of extent 1 are dropped.
    fn reshape_view(&self, shape: &[usize]) -> Result<Self> {
        let mut view = self.clone();
        while view.rank() > shape.len() && view.shape() != shape {
            match view.shape()[..2].iter().position(|&extent| extent == 1) {
                // Of a batch without heads the second axis goes, else the first.
                Some(_) if view.rank() == 4 && view.shape()[1] == 1 => view = view.squeeze(1)?,
                Some(axis) => view = view.squeeze(axis)?,
                None => break,
            }
        }
        if view.shape() == shape { Ok(view) } else { self.reshape(shape) }
    }

    /// Returns the attention of queries, this tensor, to keys and values: softmax(scale q kᵀ + mask) v. PyTorch's
    /// function of this name.
    ///
    /// The mask is added to the scores: 0 where a key counts, and -∞ where it does not. With
    /// [`causal`](Attention::causal) query i sees the keys up to i. Unlike in PyTorch both can be used together. If there
    /// are fewer heads of keys than of queries, neighbouring heads of queries share one.
    ///
    /// # Shapes
    /// q `[…, h, l, d]`, k and v `[…, h / n, s, d]`, a mask that broadcasts to `[…, h, l, s]` → `[…, h, l, d]`. Two axes
    /// are one head, three a batch of heads. d is at most 128.
    ///
    /// # Numerics
    /// Scores are never stored: they are computed tile by tile with the maximum and the sum so far, in a fixed order, so
    /// memory is linear in the lengths (FlashAttention). A query for which no key counts has zeros, as in PyTorch. The
    /// result is laid out as `[…, l, h, d]`, so that joining the heads again copies nothing.
    ///
    /// # Errors
    /// If the shapes do not fit, d is above 128, the elements are not f32, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Attention, Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let q = Tensor::from_slice(&device, &[1.0, 0.0, 0.0, 1.0], &[2, 2])?;
    /// let v = Tensor::from_slice(&device, &[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// let causal = Attention { causal: true, ..Attention::default() };
    /// let y = q.scaled_dot_product_attention(&q, &v, None, &causal)?.to_vec::<f32>()?;
    /// // The first query sees the first key alone.
    /// assert_eq!(y[..2], [1.0, 2.0]);
    /// assert!(y[2] > 2.0 && y[2] < 3.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn scaled_dot_product_attention(
        &self,
        key: &Self,
        value: &Self,
        mask: Option<&Self>,
        settings: &Attention,
    ) -> Result<Self> {
        Ok(self.attention_forward(key, value, mask, settings)?.0)
    }

    /// Checks the arguments of [`scaled_dot_product_attention`](Self::scaled_dot_product_attention).
    #[doc(hidden)]
    pub fn check_attention(&self, key: &Self, value: &Self, mask: Option<&Self>) -> Result<()> {
        Problem::new(self, key, value, mask, &Attention::default()).map(|_| ())
    }

    /// Returns the result of attention, and the state of the rows for [`attention_backward`](Self::attention_backward).
    #[doc(hidden)]
    pub fn attention_forward(
        &self,
        key: &Self,
        value: &Self,
        mask: Option<&Self>,
        settings: &Attention,
    ) -> Result<(Self, Self)> {
        let problem = Problem::new(self, key, value, mask, settings)?;
        let params = problem.params;
        if problem.is_empty() {
            let y = Self::zeros(self.device(), DType::F32, self.shape())?;
            return Ok((y.clone(), y));
        }
        let y = problem.result(params.heads, params.rows)?;
        let state = [params.batches, params.rows, params.heads, 3].map(|extent| extent as usize);
        let state = Self::uninitialized(self.device(), DType::F32, &state)?;
        let blocks = (params.batches * params.heads) as usize * (params.rows as usize).div_ceil(ROWS);
        problem.run(&ATTENTION, params, [params.keys, 1], blocks, 2, |launch| launch.bind(&y).bind(&state))?;
        Ok((with_shape(&y, self.shape())?, state))
    }

    /// Returns the gradients of queries, keys and values of attention, from the result, the state of its rows and the
    /// gradient of the result. The state changes in its third column.
    #[doc(hidden)]
    #[allow(clippy::too_many_arguments, reason = "what the forward pass had, and what it returned")]
    pub fn attention_backward(
        &self,
        key: &Self,
        value: &Self,
        mask: Option<&Self>,
        settings: &Attention,
        output: &Self,
        state: &Self,
        cotangent: &Self,
    ) -> Result<[Self; 3]> {
        let problem = Problem::new(self, key, value, mask, settings)?;
        if problem.is_empty() {
            let zeros = |like: &Self| Self::zeros(self.device(), DType::F32, like.shape());
            return Ok([zeros(self)?, zeros(key)?, zeros(value)?]);
        }
        let is_batch = self.rank() == 3 && key.shape()[0] == self.shape()[0];
        let g = four_axes(cotangent, is_batch)?;
        let y = four_axes(output, is_batch)?.transpose(1, 2)?.contiguous()?;
        let params = Params { g: Operand::of(&g), ..problem.params };
        let dq = problem.result(params.heads, params.rows)?;
        let (dk, dv) = (problem.result(params.key_heads, params.keys)?, problem.result(params.key_heads, params.keys)?);
        let blocks = (params.batches * params.heads) as usize * (params.rows as usize).div_ceil(ROWS);
        problem.run(&QUERY_GRAD, params, [params.keys, 1], blocks, 3, |launch| {
            launch.bind_whole(&g).bind(&y).bind(state).bind(&dq)
        })?;
        let blocks = (params.batches * params.key_heads) as usize * (params.keys as usize).div_ceil(ROWS);
        let heads = params.heads / params.key_heads;
        problem.run(&KEY_GRAD, params, [params.rows, heads], blocks, 4, |launch| {
            launch.bind_whole(&g).bind(state).bind(&dk).bind(&dv)
        })?;
        Ok([with_shape(&dq, self.shape())?, with_shape(&dk, key.shape())?, with_shape(&dv, value.shape())?])
    }
}

#[cfg(test)]
mod tests;
