//! The twins of the attention kernels: blocks of rows of a head, each of which goes through tiles of the other side.
//!
//! Sums run in the kernels' order: products along the vectors, tiles of eight rows, or of four where vectors are longer
//! than 64. Blocks are larger than a workgroup's, which changes no sum.

#![allow(unsafe_code, reason = "blocks of different heads write rows that lie between each other")]

use super::{NARROW, Operand, Params};
use crate::kernel::{Call, Slice};
use crate::threads::{Pieces, for_each_piece, vectorized};

/// The rows of a block and of a tile, and the longest vectors.
const OWN: usize = 16;
const TILE: usize = 8;
const MOST: usize = super::MOST_WIDTH;

type Block = [f32; OWN * MOST];
type Tile = [f32; TILE * MOST];
/// A number for each row of a block and of a tile.
type Pairs = [[f32; TILE]; OWN];

/// The vectors of an operand: its elements, its places and its number of rows.
#[derive(Clone, Copy)]
struct Vectors<'a> {
    data: &'a [f32],
    operand: Operand,
    rows: usize,
}

impl Vectors<'_> {
    /// Copies rows of a head, each with zeros up to `padded` numbers. Rows after the last one are zeros.
    #[inline(always)]
    fn copy(&self, [batch, head, first]: [usize; 3], width: usize, padded: usize, to: &mut [f32]) {
        let column = self.operand.strides[3] as usize;
        for (row, to) in (first..).zip(to.chunks_exact_mut(padded)) {
            to.fill(0.0);
            if row >= self.rows || width == 0 {
                continue;
            }
            let from = &self.data[self.operand.place(batch, head, row)..];
            if column == 1 {
                to[..width].copy_from_slice(&from[..width]);
            } else {
                to[..width].iter_mut().enumerate().for_each(|(i, to)| *to = from[i * column]);
            }
        }
    }
}

/// Writes the columns of a matrix, `N` numbers each, one after the other.
#[inline(always)]
fn transpose<const N: usize>(from: &[f32], padded: usize, to: &mut [f32]) {
    for (column, to) in to.chunks_exact_mut(N).take(padded).enumerate() {
        to.iter_mut().enumerate().for_each(|(row, to)| *to = from[row * padded + column]);
    }
}

/// The products of all vectors of a block with all of a tile, both transposed.
#[inline(always)]
fn products(own: &[f32], tile: &[f32], width: usize, result: &mut Pairs) {
    for (half, result) in result.chunks_exact_mut(8).enumerate() {
        let mut sums = [[0f32; TILE]; 8];
        for (own, tile) in own.chunks_exact(OWN).zip(tile.chunks_exact(TILE)).take(width) {
            let own = &own[8 * half..8 * half + 8];
            for (sums, &x) in sums.iter_mut().zip(own) {
                sums.iter_mut().zip(tile).for_each(|(sum, &y)| *sum += x * y);
            }
        }
        result.copy_from_slice(&sums);
    }
}

/// Adds the `N` rows of a tile from `start` on, each times its factor, to a row of a block.
#[inline(always)]
fn accumulate_part<const N: usize>(factors: &[f32], tile: &[f32], padded: usize, start: usize, to: &mut [f32]) {
    let factors: [f32; N] = std::array::from_fn(|i| factors[start + i]);
    for (place, to) in to[..padded].chunks_exact_mut(8).enumerate() {
        let mut sums = [0f32; 8];
        sums.copy_from_slice(to);
        for (i, factor) in factors.iter().enumerate() {
            let from = &tile[(start + i) * padded + 8 * place..][..8];
            sums.iter_mut().zip(from).for_each(|(sum, &x)| *sum += factor * x);
        }
        to.copy_from_slice(&sums);
    }
}

/// e^x of a number that is not positive. Below -87 the result is 0.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // As `safe_exp` of the kernels. Adding 1.5 2^23 rounds to a whole number, which is then in the last bits.
    const ROUNDS: f32 = 12_582_912.0;
    let clamped = if x < -87.0 { -87.0 } else { x };
    let rounded = clamped * std::f32::consts::LOG2_E + ROUNDS;
    let n = rounded - ROUNDS;
    let r = (clamped - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let tail =
        0.5 + r * (0.166_666_65 + r * (0.041_665_796 + r * (0.008_333_452 + r * (0.001_398_2 + r * 0.000_198_756_91))));
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    let result = (1.0 + (r + r * r * tail)) * power;
    if x < -87.0 { 0.0 } else { result }
}

/// e^(score - largest), 0 if the key does not count.
#[inline(always)]
fn weight(score: f32, largest: f32) -> f32 {
    if score == f32::NEG_INFINITY { 0.0 } else { exp(score - largest) }
}

/// Everything that a block needs besides its results.
struct Inputs<'a> {
    params: Params,
    q: Vectors<'a>,
    k: Vectors<'a>,
    v: Vectors<'a>,
    mask: &'a [f32],
    width: usize,
    padded: usize,
    /// The rows of a tile of the kernel.
    tile: usize,
}

impl<'a> Inputs<'a> {
    fn new(params: Params, [q, k, v, mask]: [Slice<'a>; 4]) -> Self {
        let vectors = |data: Slice<'a>, operand, rows: u32| Vectors { data: data.read(), operand, rows: rows as usize };
        let width = params.width as usize;
        Self {
            q: vectors(q, params.q, params.rows),
            k: vectors(k, params.k, params.keys),
            v: vectors(v, params.v, params.keys),
            mask: mask.read(),
            params,
            width,
            padded: width.next_multiple_of(8),
            tile: if width > NARROW { TILE / 2 } else { TILE },
        }
    }

    /// The score of a key; -∞ if it does not count.
    #[inline(always)]
    fn score(&self, [batch, head, row, key]: [usize; 4], product: f32) -> f32 {
        let params = &self.params;
        let is_hidden = params.is_causal != 0 && key > row;
        if is_hidden || row >= params.rows as usize || key >= params.keys as usize {
            return f32::NEG_INFINITY;
        }
        let scaled = product * params.scale;
        if params.has_mask == 0 {
            return scaled;
        }
        let masked = self.mask[params.mask.place(batch, head, row) + key * params.mask.strides[3] as usize];
        if masked == f32::NEG_INFINITY && !scaled.is_nan() { masked } else { scaled + masked }
    }

    /// The row among those of all heads in `[batches, rows, heads]`.
    fn row_place(&self, batch: usize, head: usize, row: usize) -> usize {
        (batch * self.params.rows as usize + row) * self.params.heads as usize + head
    }

    /// The rows of the other side of this launch, of `rows` rows: from a multiple of eight on.
    fn range(&self, rows: usize) -> std::ops::Range<usize> {
        self.params.first as usize * self.tile..rows.min(self.params.end as usize * self.tile)
    }

    /// Calls `body` with batch, head and first row of each block.
    fn each_block(&self, heads: u32, rows: u32, body: impl Fn([usize; 3]) + Sync) {
        let (heads, blocks) = (heads as usize, (rows as usize).div_ceil(OWN));
        for_each_piece(self.params.batches as usize * heads * blocks, |i| {
            vectorized(
                #[inline(always)]
                || body([i / blocks / heads, i / blocks % heads, i % blocks * OWN]),
            );
        });
    }
}

/// Row number `place` of the results, which have `length` numbers each. A block asks for its own rows only.
#[inline(always)]
fn row_of<'a>(of: &Pieces<'a, f32>, place: usize, length: usize) -> &'a mut [f32] {
    // SAFETY: every row of every head belongs to one block, and a block uses one row of a result at a time.
    unsafe { of.at(place * length, length) }
}

/// y = softmax(scale q kᵀ + mask) v.
pub(super) fn forward(call: Call<'_>) {
    let params: Params = call.params();
    let [q, k, v, mask, y, state] = call.bindings();
    let inputs = Inputs::new(params, [q, k, v, mask]);
    let (y, state) = (Pieces::new(y.write::<f32>()), Pieces::new(state.write::<f32>()));
    inputs.each_block(
        params.heads,
        params.rows,
        #[inline(always)]
        |block| forward_block(&inputs, block, &y, &state),
    );
}

#[inline(always)]
fn forward_block(inputs: &Inputs<'_>, block: [usize; 3], y: &Pieces<'_, f32>, state: &Pieces<'_, f32>) {
    let [batch, head, first_row] = block;
    let Inputs { params, width, padded, tile: rows_of_tile, .. } = *inputs;
    let rows = OWN.min(params.rows as usize - first_row);
    let key_head = head / (params.heads / params.key_heads) as usize;
    let (mut own, mut own_columns, mut values): (Block, Block, Block) =
        ([0.0; OWN * MOST], [0.0; OWN * MOST], [0.0; OWN * MOST]);
    let (mut tile, mut tile_columns): (Tile, Tile) = ([0.0; TILE * MOST], [0.0; TILE * MOST]);
    let (mut scores, mut weights): (Pairs, Pairs) = ([[0.0; TILE]; OWN], [[0.0; TILE]; OWN]);
    let (mut largest, mut sums) = ([f32::NEG_INFINITY; OWN], [0f32; OWN]);
    let place = |r: usize| inputs.row_place(batch, head, first_row + r);
    if params.first > 0 {
        for r in 0..rows {
            let state = row_of(state, place(r), 3);
            (largest[r], sums[r]) = (state[0], state[1]);
            values[r * padded..][..width].copy_from_slice(row_of(y, place(r), width));
        }
    }
    inputs.q.copy([batch, head, first_row], width, padded, &mut own[..OWN * padded]);
    transpose::<OWN>(&own, padded, &mut own_columns);
    let range = inputs.range(params.keys as usize);
    let end = if params.is_causal != 0 { range.end.min(first_row + rows) } else { range.end };
    for first_key in (range.start..end).step_by(TILE) {
        inputs.k.copy([batch, key_head, first_key], width, padded, &mut tile[..TILE * padded]);
        transpose::<TILE>(&tile, padded, &mut tile_columns);
        inputs.v.copy([batch, key_head, first_key], width, padded, &mut tile[..TILE * padded]);
        products(&own_columns, &tile_columns, width, &mut scores);
        for r in 0..rows {
            for (j, score) in scores[r].iter_mut().enumerate() {
                *score = inputs.score([batch, head, first_row + r, first_key + j], *score);
            }
            let values = &mut values[r * padded..(r + 1) * padded];
            for start in (0..TILE).step_by(rows_of_tile) {
                let part = start..start + rows_of_tile;
                let before = largest[r];
                largest[r] = scores[r][part.clone()].iter().fold(before, |x, &y| crate::math::maximum(x, y));
                for (weight_of, &score) in weights[r][part.clone()].iter_mut().zip(&scores[r][part.clone()]) {
                    *weight_of = weight(score, largest[r]);
                }
                if before != largest[r] {
                    let factor = weight(before, largest[r]);
                    sums[r] *= factor;
                    values.iter_mut().for_each(|value| *value *= factor);
                }
                weights[r][part].iter().for_each(|weight| sums[r] += weight);
                if rows_of_tile == TILE {
                    accumulate_part::<TILE>(&weights[r], &tile, padded, start, values);
                } else {
                    accumulate_part::<{ TILE / 2 }>(&weights[r], &tile, padded, start, values);
                }
            }
        }
    }
    for r in 0..rows {
        row_of(state, place(r), 3)[..2].copy_from_slice(&[largest[r], sums[r]]);
        let divisor = if params.end == params.tiles && sums[r] != 0.0 { sums[r] } else { 1.0 };
        for (y, value) in row_of(y, place(r), width).iter_mut().zip(&values[r * padded..]) {
            *y = value / divisor;
        }
    }
}

/// dq = Σ scale p (g · v - g · y) k, and g · y.
pub(super) fn query_grad(call: Call<'_>) {
    let params: Params = call.params();
    let [q, k, v, mask, g, y, state, dq] = call.bindings();
    let inputs = Inputs::new(params, [q, k, v, mask]);
    let g = Vectors { data: g.read(), operand: params.g, rows: params.rows as usize };
    let (y, state, dq) = (y.read::<f32>(), Pieces::new(state.write::<f32>()), Pieces::new(dq.write::<f32>()));
    inputs.each_block(
        params.heads,
        params.rows,
        #[inline(always)]
        |block| query_grad_block(&inputs, g, block, y, &state, &dq),
    );
}

#[inline(always)]
fn query_grad_block(
    inputs: &Inputs<'_>,
    g: Vectors<'_>,
    block: [usize; 3],
    y: &[f32],
    state: &Pieces<'_, f32>,
    dq: &Pieces<'_, f32>,
) {
    let [batch, head, first_row] = block;
    let Inputs { params, width, padded, .. } = *inputs;
    let rows = OWN.min(params.rows as usize - first_row);
    let key_head = head / (params.heads / params.key_heads) as usize;
    let (mut own, mut q_columns, mut g_columns): (Block, Block, Block) =
        ([0.0; OWN * MOST], [0.0; OWN * MOST], [0.0; OWN * MOST]);
    let mut gradient: Block = [0.0; OWN * MOST];
    let (mut tile, mut k_columns, mut v_columns): (Tile, Tile, Tile) =
        ([0.0; TILE * MOST], [0.0; TILE * MOST], [0.0; TILE * MOST]);
    let (mut scores, mut of_values): (Pairs, Pairs) = ([[0.0; TILE]; OWN], [[0.0; TILE]; OWN]);
    let mut rows_of_state = [[0f32; 3]; OWN];
    inputs.q.copy([batch, head, first_row], width, padded, &mut own[..OWN * padded]);
    transpose::<OWN>(&own, padded, &mut q_columns);
    g.copy([batch, head, first_row], width, padded, &mut own[..OWN * padded]);
    transpose::<OWN>(&own, padded, &mut g_columns);
    let place = |r: usize| inputs.row_place(batch, head, first_row + r);
    for r in 0..rows {
        let y = &y[place(r) * width..][..width];
        let state = row_of(state, place(r), 3);
        state[2] = own[r * padded..].iter().zip(y).fold(0.0, |sum, (g, y)| sum + g * y);
        rows_of_state[r].copy_from_slice(state);
        if params.first > 0 {
            gradient[r * padded..][..width].copy_from_slice(row_of(dq, place(r), width));
        }
    }
    let range = inputs.range(params.keys as usize);
    let end = if params.is_causal != 0 { range.end.min(first_row + rows) } else { range.end };
    for first_key in (range.start..end).step_by(TILE) {
        inputs.v.copy([batch, key_head, first_key], width, padded, &mut tile[..TILE * padded]);
        transpose::<TILE>(&tile, padded, &mut v_columns);
        inputs.k.copy([batch, key_head, first_key], width, padded, &mut tile[..TILE * padded]);
        transpose::<TILE>(&tile, padded, &mut k_columns);
        products(&q_columns, &k_columns, width, &mut scores);
        products(&g_columns, &v_columns, width, &mut of_values);
        for r in 0..rows {
            let [largest, sum, own_product] = rows_of_state[r];
            let mut slopes = [0f32; TILE];
            for (j, slope) in slopes.iter_mut().enumerate() {
                let score = inputs.score([batch, head, first_row + r, first_key + j], scores[r][j]);
                *slope = share(score, largest, sum) * (of_values[r][j] - own_product) * params.scale;
            }
            accumulate_part::<TILE>(&slopes, &tile, padded, 0, &mut gradient[r * padded..(r + 1) * padded]);
        }
    }
    for r in 0..rows {
        row_of(dq, place(r), width).copy_from_slice(&gradient[r * padded..][..width]);
    }
}

/// The share of a key in its row.
#[inline(always)]
fn share(score: f32, largest: f32, sum: f32) -> f32 {
    if score == f32::NEG_INFINITY { 0.0 } else { exp(score - largest) / sum }
}

/// dv = Σ p g and dk = Σ scale p (g · v - g · y) q.
pub(super) fn key_grad(call: Call<'_>) {
    let params: Params = call.params();
    let [q, k, v, mask, g, state, dk, dv] = call.bindings();
    let inputs = Inputs::new(params, [q, k, v, mask]);
    let g = Vectors { data: g.read(), operand: params.g, rows: params.rows as usize };
    let (state, dk, dv) = (state.read::<f32>(), Pieces::new(dk.write::<f32>()), Pieces::new(dv.write::<f32>()));
    inputs.each_block(
        params.key_heads,
        params.keys,
        #[inline(always)]
        |block| key_grad_block(&inputs, g, block, state, [&dk, &dv]),
    );
}

#[inline(always)]
fn key_grad_block(
    inputs: &Inputs<'_>,
    g: Vectors<'_>,
    block: [usize; 3],
    state: &[f32],
    [dk, dv]: [&Pieces<'_, f32>; 2],
) {
    let [batch, key_head, first_key] = block;
    let Inputs { params, width, padded, tile: rows_of_tile, .. } = *inputs;
    let keys = OWN.min(params.keys as usize - first_key);
    let group = (params.heads / params.key_heads) as usize;
    let rows = params.rows as usize;
    let (mut own, mut k_columns, mut v_columns): (Block, Block, Block) =
        ([0.0; OWN * MOST], [0.0; OWN * MOST], [0.0; OWN * MOST]);
    let (mut of_key, mut of_value): (Block, Block) = ([0.0; OWN * MOST], [0.0; OWN * MOST]);
    let (mut q_tile, mut g_tile, mut columns): (Tile, Tile, Tile) =
        ([0.0; TILE * MOST], [0.0; TILE * MOST], [0.0; TILE * MOST]);
    let (mut scores, mut with_values): (Pairs, Pairs) = ([[0.0; TILE]; OWN], [[0.0; TILE]; OWN]);
    inputs.k.copy([batch, key_head, first_key], width, padded, &mut own[..OWN * padded]);
    transpose::<OWN>(&own, padded, &mut k_columns);
    inputs.v.copy([batch, key_head, first_key], width, padded, &mut own[..OWN * padded]);
    transpose::<OWN>(&own, padded, &mut v_columns);
    let place = |j: usize| (batch * params.keys as usize + first_key + j) * params.key_heads as usize + key_head;
    if params.first > 0 {
        for j in 0..keys {
            of_key[j * padded..][..width].copy_from_slice(row_of(dk, place(j), width));
            of_value[j * padded..][..width].copy_from_slice(row_of(dv, place(j), width));
        }
    }
    let tiles_of_head = rows.div_ceil(rows_of_tile);
    for head_of_group in 0..group {
        // The tiles of this head that belong to the launch.
        let tile_of = |tile: u32| (tile as usize).saturating_sub(head_of_group * tiles_of_head).min(tiles_of_head);
        let range = tile_of(params.first) * rows_of_tile..rows.min(tile_of(params.end) * rows_of_tile);
        let head = key_head * group + head_of_group;
        let mut first_row = range.start;
        if params.is_causal != 0 {
            first_row = first_row.max(first_key / TILE * TILE);
        }
        while first_row < range.end {
            let count = TILE.min(range.end - first_row);
            inputs.q.copy([batch, head, first_row], width, padded, &mut q_tile[..TILE * padded]);
            g.copy([batch, head, first_row], width, padded, &mut g_tile[..TILE * padded]);
            transpose::<TILE>(&q_tile, padded, &mut columns);
            products(&k_columns, &columns, width, &mut scores);
            transpose::<TILE>(&g_tile, padded, &mut columns);
            products(&v_columns, &columns, width, &mut with_values);
            for j in 0..keys {
                let (mut shares, mut slopes) = ([0f32; TILE], [0f32; TILE]);
                for i in 0..count {
                    let row = first_row + i;
                    let at = 3 * inputs.row_place(batch, head, row);
                    let score = inputs.score([batch, head, row, first_key + j], scores[j][i]);
                    shares[i] = share(score, state[at], state[at + 1]);
                    slopes[i] = shares[i] * (with_values[j][i] - state[at + 2]) * params.scale;
                }
                let row = j * padded..(j + 1) * padded;
                accumulate_part::<TILE>(&shares, &g_tile, padded, 0, &mut of_value[row.clone()]);
                accumulate_part::<TILE>(&slopes, &q_tile, padded, 0, &mut of_key[row]);
            }
            first_row += TILE;
        }
    }
    for j in 0..keys {
        row_of(dk, place(j), width).copy_from_slice(&of_key[j * padded..][..width]);
        row_of(dv, place(j), width).copy_from_slice(&of_value[j * padded..][..width]);
    }
}
