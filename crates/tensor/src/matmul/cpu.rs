//! The matrix product on the CPU: the inner loops of the `gemm` crate, with our own blocking, packing and threads.
//!
//! The crate's own driver allocates on the heap at each call and packs a transposed operand on one thread. This one
//! reuses its memory, packs on several threads, and chooses the operand along the vectors so that the larger one need
//! not be transposed. Each element is a sum over k in order, in blocks whose length depends only on k, so the bits do
//! not depend on the number of threads.

#![allow(unsafe_code, reason = "the inner loops take pointers")]

#[cfg(test)]
mod tests;

use std::cell::RefCell;

use gemm_common::microkernel::MicroKernelFn;

use crate::threads::{Pieces, for_each_piece, vectorized};

/// The longest block of the inner dimension.
const DEPTH: usize = 1024;

/// The number of packed elements that a piece of work processes for each tile of columns. They stay in the
/// second-level cache.
const STRIPE: usize = 128 * 1024;

/// The target number of operations of a piece of work, where a multiplication and an addition count as two.
const PIECE_OPERATIONS: usize = 2 << 20;

/// The fewest elements of an operand that are packed as one piece of work.
const PIECE_PACKED: usize = 8 * 1024;

/// A matrix to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) places: Places<'a>,
}

/// The places of the elements of a matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Places<'a> {
    /// The element at row i and column j is at `i row + j column`.
    Strides { row: usize, column: usize },
    /// The element at row i and column j is at `rows[i] + columns[j]`.
    Tables { rows: &'a [u32], columns: &'a [u32] },
}

impl<'a> Operand<'a> {
    fn transposed(self) -> Self {
        let places = match self.places {
            Places::Strides { row, column } => Places::Strides { row: column, column: row },
            Places::Tables { rows, columns } => Places::Tables { rows: columns, columns: rows },
        };
        Self { places, ..self }
    }

    /// Returns whether the data hold a strided matrix. Places in tables are checked when they are packed.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        let is_within = |(row, column)| (rows - 1) * row + (columns - 1) * column < self.data.len();
        self.strides().is_none_or(is_within)
    }

    /// Returns the strides; `None` if there are tables.
    fn strides(&self) -> Option<(usize, usize)> {
        match self.places {
            Places::Strides { row, column } => Some((row, column)),
            Places::Tables { .. } => None,
        }
    }

    /// Returns whether rows are contiguous along the columns.
    fn is_plain(&self) -> bool {
        self.strides().is_some_and(|(_, column)| column == 1)
    }
}

/// Computes c = a b, or c += a b, for a `[m, k]`, b `[k, n]`, and contiguous c `[m, n]`. It calls `finish` with the
/// rows, columns and elements of finished parts of rows, each element once.
pub(crate) fn multiply(
    [m, n, k]: [usize; 3],
    a: Operand<'_>,
    b: Operand<'_>,
    c: &mut [f32],
    accumulate: bool,
    finish: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    let c = &mut c[..m * n];
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            c.fill(0.0);
        }
    } else {
        assert!(a.holds(m, k) && b.holds(k, n), "an operand of a product reaches past its buffer");
        let strides = a.strides().zip(b.strides());
        if (m > 1 && n > 1 && k > 2) || strides.is_none() {
            // The operand along the vectors must have unit stride there, or is packed. At most the smaller one is
            // packed.
            let packing_b = if b.is_plain() { 0 } else { k * n };
            let packing_a = if a.transposed().is_plain() { 0 } else { m * k };
            // A result stored across the rows of c is a cost too.
            if packing_b <= packing_a + m * n {
                let plan = Blocking { rows: n, columns: m, depth: k, row: 1, column: n, accumulate };
                return plan.run(b.transposed(), a.transposed(), c, |rows, columns, c| {
                    finish_rows(n, columns, rows, c, &finish);
                });
            }
            let plan = Blocking { rows: m, columns: n, depth: k, row: n, column: 1, accumulate };
            return plan.run(a, b, c, |rows, columns, c| finish_rows(n, rows, columns, c, &finish));
        }
        if let Some((a_strides, b_strides)) = strides {
            vectors([m, n, k], (a.data, a_strides), (b.data, b_strides), c, accumulate);
        }
    }
    vectorized(
        #[inline(always)]
        || c.chunks_mut(n).enumerate().for_each(|(row, c)| finish(row, 0, c)),
    );
}

type Range = std::ops::Range<usize>;

fn finish_rows(n: usize, rows: Range, columns: Range, c: &Pieces<'_, f32>, finish: &impl Fn(usize, usize, &mut [f32])) {
    vectorized(
        #[inline(always)]
        || {
            for row in rows {
                // SAFETY: the ranges of the pieces of a product do not overlap.
                let c = unsafe { c.at(row * n + columns.start, columns.len()) };
                finish(row, columns.start, c);
            }
        },
    );
}

/// Computes products with a vector, or with a very small inner extent: the crate's own routines, which need no
/// memory.
fn vectors(
    [m, n, k]: [usize; 3],
    (a, a_strides): (&[f32], (usize, usize)),
    (b, b_strides): (&[f32], (usize, usize)),
    c: &mut [f32],
    accumulate: bool,
) {
    // SAFETY: `multiply` has checked the operands against extents and strides, and c has m n elements.
    unsafe {
        gemm_f32::gemm::f32::get_gemm_fn()(
            n,
            m,
            k,
            c.as_mut_ptr(),
            n as isize,
            1,
            accumulate,
            b.as_ptr(),
            b_strides.0 as isize,
            b_strides.1 as isize,
            a.as_ptr(),
            a_strides.0 as isize,
            a_strides.1 as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
        );
    }
}

/// A product as seen by the inner loops: rows run along the vectors.
struct Blocking {
    rows: usize,
    columns: usize,
    depth: usize,
    /// The strides of the result.
    row: usize,
    column: usize,
    accumulate: bool,
}

impl Blocking {
    fn run(
        &self,
        left: Operand<'_>,
        right: Operand<'_>,
        c: &mut [f32],
        finish: impl Fn(Range, Range, &Pieces<'_, f32>) + Sync,
    ) {
        let kernels = Kernels::get();
        let lanes = kernels.lanes;
        let units = self.rows.div_ceil(lanes);
        // Panels and tiles have similar sizes: a narrow last one would be slow.
        let panels = units.div_ceil(kernels.vectors);
        let panel = |p: usize| (p * units / panels * lanes).min(self.rows);
        let tiles = self.columns.div_ceil(kernels.columns);
        let tile = |t: usize| t * self.columns / tiles;

        let blocks = self.depth.div_ceil(DEPTH);
        let block = |b: usize| b * self.depth / blocks;
        let longest = self.depth.div_ceil(blocks);

        // Vectors are read whole, so the rows must be a multiple of them. What tables address is packed.
        let (left_row, left_column) = left.strides().unwrap_or_default();
        let (right_row, right_column) = right.strides().unwrap_or_default();
        let pack_left = left_row != 1 || !self.rows.is_multiple_of(lanes) || tiles > 16;
        let pack_right = cfg!(target_arch = "aarch64") || right.strides().is_none_or(|(row, _)| row != 1 && panels > 2);
        let left_lines = if pack_left { (units * lanes * longest).div_ceil(LINE) } else { 0 };
        let right_lines = if pack_right { (self.columns * longest).div_ceil(LINE) } else { 0 };

        let mut scratch = SCRATCH.take();
        if scratch.len() < left_lines + right_lines {
            scratch.resize(left_lines + right_lines, Line([0.0; LINE]));
        }
        let (packed_left, packed_right) = scratch[..left_lines + right_lines].split_at_mut(left_lines);
        let packed_left: &mut [f32] = bytemuck::cast_slice_mut(packed_left);
        let packed_right: &mut [f32] = bytemuck::cast_slice_mut(packed_right);

        let c = Pieces::new(c);
        for b in 0..blocks {
            let (start, depth) = (block(b), block(b + 1) - block(b));
            if pack_left {
                let destination = Pieces::new(packed_left);
                // There may be only one panel, so the steps of each are divided too.
                let steps = (PIECE_PACKED / (kernels.vectors * lanes)).next_multiple_of(STEPS);
                let parts = depth.div_ceil(steps);
                for_each_piece(panels * parts, |piece| {
                    let (p, part) = (piece / parts, piece % parts);
                    let (first, last) = (panel(p), panel(p + 1));
                    let width = (last - first).next_multiple_of(lanes);
                    let (begin, end) = (part * steps, ((part + 1) * steps).min(depth));
                    // SAFETY: parts of panels do not overlap.
                    let target = unsafe { destination.at(first * depth + begin * width, width * (end - begin)) };
                    vectorized(
                        #[inline(always)]
                        || pack(&left, first..last, start + begin, width, target),
                    );
                });
            }
            if pack_right {
                let columns = right.transposed();
                let destination = Pieces::new(packed_right);
                let together = PIECE_PACKED.div_ceil(kernels.columns * depth);
                for_each_piece(tiles.div_ceil(together), |piece| {
                    for t in piece * together..((piece + 1) * together).min(tiles) {
                        let (first, last) = (tile(t), tile(t + 1));
                        // SAFETY: tiles do not overlap.
                        let tile = unsafe { destination.at(first * depth, (last - first) * depth) };
                        vectorized(
                            #[inline(always)]
                            || pack(&columns, first..last, start, last - first, tile),
                        );
                    }
                });
            }

            let (packed_left, packed_right) = (&*packed_left, &*packed_right);
            let stripes = (units * lanes * depth).div_ceil(STRIPE).min(panels);
            let operations = 2 * self.rows * self.columns * depth;
            let groups = operations.div_ceil(PIECE_OPERATIONS * stripes).clamp(1, tiles);
            let alpha_status = u8::from(self.accumulate || b > 0);
            for_each_piece(stripes * groups, |piece| {
                let (stripe, group) = (piece % stripes, piece / stripes);
                let in_stripe = stripe * panels / stripes..(stripe + 1) * panels / stripes;
                let in_group = group * tiles / groups..(group + 1) * tiles / groups;
                for t in in_group.clone() {
                    let (first_column, width) = (tile(t), tile(t + 1) - tile(t));
                    let (right_pointer, row_step, column_step) = if pack_right {
                        (packed_right[first_column * depth..].as_ptr(), width, 1)
                    } else {
                        let first = start * right_row + first_column * right_column;
                        (right.data[first..].as_ptr(), right_row, right_column)
                    };
                    for p in in_stripe.clone() {
                        let (first_row, height) = (panel(p), panel(p + 1) - panel(p));
                        let (left_pointer, left_step) = if pack_left {
                            (packed_left[first_row * depth..].as_ptr(), height.next_multiple_of(lanes))
                        } else {
                            (left.data[first_row + start * left_column..].as_ptr(), left_column)
                        };
                        // SAFETY: the pointers are valid for `height` rows (whole vectors if packed; otherwise rows
                        // fill vectors), `width` columns and `depth` steps of operands, which were checked against
                        // extents and strides. Only this piece uses the tile of the result. The processor supports
                        // the kernel.
                        unsafe {
                            (kernels.table)(height.div_ceil(lanes) - 1, width - 1)(
                                height,
                                width,
                                depth,
                                c.pointer(first_row * self.row + first_column * self.column),
                                left_pointer,
                                right_pointer,
                                self.column as isize,
                                self.row as isize,
                                left_step as isize,
                                row_step as isize,
                                column_step as isize,
                                1.0,
                                1.0,
                                alpha_status,
                                false,
                                false,
                                false,
                                std::ptr::null(),
                            );
                        }
                    }
                }
                if b + 1 == blocks {
                    let rows = panel(in_stripe.start)..panel(in_stripe.end);
                    finish(rows, tile(in_group.start)..tile(in_group.end), &c);
                }
            });
        }
        SCRATCH.set(scratch);
    }
}

/// The number of steps of the inner dimension packed at a time if the source must be transposed. Its cache lines are
/// read whole, and the target stays in the cache.
const STEPS: usize = 16;

/// Packs the rows `rows` of a matrix, step by step of the inner dimension, which are its columns from `first` on. Each step
/// is `width` elements wide, with zeros after the last row.
#[inline(always)]
fn pack(matrix: &Operand<'_>, rows: Range, first: usize, width: usize, target: &mut [f32]) {
    match matrix.places {
        Places::Strides { row, column } => {
            pack_strided(&matrix.data[first * column..], rows, row, column, width, target);
        }
        Places::Tables { rows: places, columns } => {
            let places = &places[rows];
            for (target, &step) in target.chunks_exact_mut(width).zip(&columns[first..]) {
                let (filled, rest) = target.split_at_mut(places.len());
                let source = &matrix.data[step as usize..];
                filled.iter_mut().zip(places).for_each(|(target, &place)| *target = source[place as usize]);
                rest.fill(0.0);
            }
        }
    }
}

/// Packs the rows of a strided matrix.
#[inline(always)]
fn pack_strided(source: &[f32], rows: Range, row: usize, step: usize, width: usize, target: &mut [f32]) {
    let count = rows.len();
    if row == 1 {
        for (k, target) in target.chunks_exact_mut(width).enumerate() {
            let (filled, rest) = target.split_at_mut(count);
            filled.copy_from_slice(&source[rows.start + k * step..][..count]);
            rest.fill(0.0);
        }
        return;
    }
    let depth = target.len() / width;
    for (block, target) in target.chunks_mut(STEPS * width).enumerate() {
        let steps = STEPS.min(depth - block * STEPS);
        for (i, r) in rows.clone().enumerate() {
            let line = &source[r * row + block * STEPS * step..];
            if steps == STEPS && step == 1 {
                let line: &[f32; STEPS] = line.first_chunk().unwrap_or_else(|| unreachable!("a row has its steps"));
                let target = &mut target[i..(STEPS - 1) * width + i + 1];
                for (k, &x) in line.iter().enumerate() {
                    target[k * width] = x;
                }
            } else {
                for k in 0..steps {
                    target[k * width + i] = line[k * step];
                }
            }
        }
        if count < width {
            for step in target.chunks_mut(width) {
                step[count..].fill(0.0);
            }
        }
    }
}

/// The number of elements in a cache line.
const LINE: usize = 16;

#[repr(C, align(64))]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Line([f32; LINE]);

thread_local! {
    /// Memory for packed operands, which grows to the size of the largest product and is kept.
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// The inner loops of a processor: the one at [vectors - 1][columns - 1] computes that many vectors and columns.
#[derive(Clone, Copy)]
struct Kernels {
    lanes: usize,
    vectors: usize,
    columns: usize,
    table: fn(usize, usize) -> MicroKernelFn<f32>,
}

macro_rules! kernels {
    ($module:ident, $lanes:literal) => {{
        use gemm_f32::microkernel::$module::f32::{MR_DIV_N, NR, UKR};
        static TABLE: [[MicroKernelFn<f32>; NR]; MR_DIV_N] = UKR;
        Kernels { lanes: $lanes, vectors: MR_DIV_N, columns: NR, table: |v, c| TABLE[v][c] }
    }};
}

#[cfg(test)]
thread_local! {
    static TEST_KERNELS: std::cell::Cell<Option<Kernels>> = const { std::cell::Cell::new(None) };
}

impl Kernels {
    /// Returns the fastest inner loops.
    fn get() -> Self {
        #[cfg(test)]
        if let Some(kernels) = TEST_KERNELS.get() {
            return kernels;
        }
        Self::available().next().unwrap_or_else(|| unreachable!("the last ones run everywhere"))
    }

    /// Returns all inner loops that this processor supports, the fastest first.
    fn available() -> impl Iterator<Item = Self> {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        let vectors = [
            is_x86_feature_detected!("avx512f").then(|| kernels!(avx512f, 16)),
            is_x86_feature_detected!("fma").then(|| kernels!(fma, 8)),
        ];
        #[cfg(target_arch = "aarch64")]
        let vectors = [std::arch::is_aarch64_feature_detected!("neon").then(|| kernels!(neon, 4))];
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
        let vectors: [Option<Self>; 0] = [];
        vectors.into_iter().flatten().chain([kernels!(scalar, 1)])
    }
}
