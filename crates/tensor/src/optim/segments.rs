//! Sums over each tensor of an arena, in two launches for any number of tensors.
//!
//! The first launch processes **chunks**: a workgroup takes up to 4,096 elements of one tensor and stores two sums of
//! squares. It may update state at the same time ([`StepArguments::run_chunks`](super::StepArguments::run_chunks)).
//! The second processes **segments**: a workgroup adds the sums of one tensor and computes a number from them, such
//! as a trust ratio ([`TensorSums::finish`]). It writes that number into the tensor's rows of the clock's table,
//! where the next launch reads it as [`Now::own_factor`]. The order of all sums depends on the sizes only.
//!
//! The tables of chunks follow from the arena's layout. [`Clock::lay_out`](super::Clock::lay_out) creates them once.
//! Twin of `shaders/shared/chunks.wgsl` and `shaders/shared/segments.wgsl`.

use bytemuck::{Pod, Zeroable};

use super::elements::{Parts, runs};
use super::table::Row;
use super::time::Now;
use super::update::Head;
use crate::arena::Arena;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::{self, LANES};
use crate::threads::{for_each_chunk_of, for_each_range};
use crate::{DType, Result, Tensor};

/// The most elements of a chunk: each lane takes 16 vectors of four.
pub(super) const CHUNK_ELEMENTS: usize = 4096;

/// The number of elements that a workgroup processes in one turn.
const TURN: usize = 4 * LANES;

/// A chunk: its first vector of four in its page, and its number of vectors.
pub(super) type Chunk = [u32; 2];

/// The two sums of squares of a chunk or of a tensor.
pub type Sums = [f32; 2];

/// A tensor: its chunks, its rows in the table, its elements. Twin of `Segment` in WGSL.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct Segment {
    first_chunk: u32,
    chunks: u32,
    pub(super) first_row: u32,
    pub(super) rows: u32,
    pub(super) elements: u32,
}

impl Segment {
    /// Returns the number of elements.
    #[must_use]
    pub fn elements(&self) -> u32 {
        self.elements
    }
}

const SEGMENT_WORDS: usize = size_of::<Segment>() / 4;

/// The chunks and segments of an arena, with the memory for their sums. See [`Clock::laid_out`](super::Clock::laid_out).
#[derive(Debug)]
pub struct TensorSums {
    /// The position of each tensor, and the number of elements of each page, which arenas of the same layout have in
    /// common.
    layout: Vec<[usize; 3]>,
    count: usize,
    /// The first chunk of each page, followed by the number of all chunks.
    page_chunks: Vec<u32>,
    chunks: Tensor,
    table: Tensor,
    partials: Tensor,
    /// The sum of squares of each tensor, and its clip factor.
    pub(super) norms: Tensor,
}

fn layout(arena: &Arena) -> Vec<[usize; 3]> {
    arena.places().map(|place| [place.page, place.offset, place.len]).collect()
}

impl TensorSums {
    /// Creates the chunks and segments of an arena, whose pages have their rows in the clock's table from `page_rows`
    /// on.
    pub(super) fn new(arena: &Arena, page_rows: &[u32]) -> Result<Self> {
        let (mut chunks, mut segments, mut page_chunks) = (Vec::<Chunk>::new(), Vec::<Segment>::new(), vec![0]);
        for place in arena.places() {
            while page_chunks.len() <= place.page {
                page_chunks.push(chunks.len() as u32);
            }
            let first_chunk = chunks.len();
            for start in (0..place.len).step_by(CHUNK_ELEMENTS) {
                let elements = CHUNK_ELEMENTS.min(place.len - start);
                chunks.push([((place.offset + start) / 4) as u32, elements.div_ceil(4) as u32]);
            }
            segments.push(Segment {
                first_chunk: first_chunk as u32,
                chunks: (chunks.len() - first_chunk) as u32,
                first_row: page_rows[place.page] + (place.offset / super::table::ROW_ELEMENTS) as u32,
                rows: place.len.div_ceil(super::table::ROW_ELEMENTS) as u32,
                elements: place.len as u32,
            });
        }
        page_chunks.resize(arena.pages().len() + 1, chunks.len() as u32);
        let device = arena.device();
        let uploaded = |words: &[u32]| {
            let tensor = Tensor::zeros(device, DType::U32, &[words.len().max(1)])?;
            if !words.is_empty() {
                tensor.write(words)?;
            }
            Ok(tensor)
        };
        Ok(Self {
            layout: layout(arena),
            count: segments.len(),
            page_chunks,
            chunks: uploaded(chunks.as_flattened())?,
            table: uploaded(bytemuck::cast_slice(&segments))?,
            partials: Tensor::zeros(device, DType::F32, &[2 * chunks.len().max(1)])?,
            norms: Tensor::zeros(device, DType::F32, &[2 * segments.len().max(1)])?,
        })
    }

    /// Returns whether they belong to an arena of this layout.
    pub(super) fn are_of(&self, arena: &Arena) -> bool {
        arena.places().map(|place| [place.page, place.offset, place.len]).eq(self.layout.iter().copied())
    }

    /// Returns the number of tensors.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the first chunk of a page, and its number of chunks.
    pub(super) fn of_page(&self, page: usize) -> (u32, u32) {
        let first = self.page_chunks[page];
        (first, self.page_chunks[page + 1] - first)
    }

    /// Binds the chunks, and their sums as outputs.
    pub(super) fn bind_chunks(&self, launch: Launch) -> Launch {
        launch.bind(&self.chunks).bind(&self.partials)
    }

    /// Launches the second stage, a workgroup for each tensor. The kernel binds the segments, the sums of their chunks, the
    /// clock's table, and then `others`.
    ///
    /// # Errors
    /// If the launch fails.
    pub fn finish<P: Pod>(&self, kernel: &'static Kernel, params: P, table: &Tensor, others: &[&Tensor]) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let launch = Launch::new(kernel, params).bind(&self.table).bind(&self.partials).bind(table);
        others.iter().fold(launch, |launch, tensor| launch.bind(tensor)).workgroups(self.count).run(self.table.device())
    }
}

/// Returns two sums over a chunk, such as sums of squares. `add` adds the terms of one turn of the lanes, which
/// begins at an element, to the sums of each component.
#[inline(always)]
pub(super) fn chunk_sums(elements: usize, mut add: impl FnMut(usize, usize, &mut [[f32; TURN]; 2])) -> Sums {
    let mut sums = [[0f32; TURN]; 2];
    for start in (0..elements).step_by(TURN) {
        add(start, TURN.min(elements - start), &mut sums);
    }
    sums.map(|sums| {
        let lanes = std::array::from_fn(|lane| {
            let [x, y, z, w] = [0, 1, 2, 3].map(|i| sums[4 * lane + i]);
            (x + y) + (z + w)
        });
        math::tree(lanes, |x, y| x + y)
    })
}

/// Runs the twin of a second stage: calls `finish` with each tensor's number, segment, sums and rows of the table.
pub fn finish_segments(
    segments: &[u32],
    partials: &[f32],
    table: &mut [f32],
    mut finish: impl FnMut(usize, &Segment, Sums, &mut [Row]),
) {
    let segments: &[Segment] = bytemuck::cast_slice(&segments[..segments.len() / SEGMENT_WORDS * SEGMENT_WORDS]);
    let (partials, table): (&[Sums], &mut [Row]) = (partials.as_chunks().0, bytemuck::cast_slice_mut(table));
    for (number, segment) in segments.iter().enumerate() {
        let chunks = &partials[segment.first_chunk as usize..][..segment.chunks as usize];
        let mut lanes = [[0f32; LANES]; 2];
        for turn in chunks.chunks(LANES) {
            for (lane, sums) in turn.iter().enumerate() {
                lanes[0][lane] += sums[0];
                lanes[1][lane] += sums[1];
            }
        }
        let sums = lanes.map(|lanes| math::tree(lanes, |x, y| x + y));
        let rows = &mut table[segment.first_row as usize..][..segment.rows as usize];
        finish(number, segment, sums, rows);
    }
}

/// A launch over chunks, for its twin.
#[derive(Debug)]
pub struct ChunkElements<'a> {
    /// The common part of the call.
    pub parts: Parts<'a>,
    /// The chunks.
    pub chunks: &'a [u32],
    /// The sums of the chunks.
    pub partials: &'a mut [f32],
}

impl ChunkElements<'_> {
    /// Calls `rule` with each parameter of the chunks `first..first + count`, its gradient as in updates, and its
    /// state. Sums the squares of both results. Skipped steps and frozen parameters change nothing.
    #[inline(always)]
    pub fn each<const N: usize, F: Copy + Sync>(
        self,
        (first_chunk, chunk_count): (u32, u32),
        state: [&mut [f32]; N],
        factors: impl Fn(&Now) -> F + Sync,
        rule: impl Fn(F, f32, f32, [&mut f32; N]) -> Sums + Copy + Sync,
    ) {
        let Self { parts, chunks, partials } = self;
        let Parts { now, head, rows, clip_value, clock, values, grads } = parts;
        let values = &*values;
        // This comparison is also true for a NaN.
        if now.clip_factor >= 0.0 || now.clip_factor.is_nan() {
            let chunks: &[Chunk] = &chunks.as_chunks().0[first_chunk as usize..][..chunk_count as usize];
            let partials = &mut partials.as_chunks_mut::<2>().0[first_chunk as usize..][..chunk_count as usize];
            for_each_range(
                chunks,
                4,
                partials,
                state,
                #[inline(always)]
                |[start, vectors], partial, mut state| {
                    let (start, elements) = (4 * start as usize, 4 * vectors as usize);
                    let row = rows.map(|rows| &rows[start / super::table::ROW_ELEMENTS..][..1]);
                    let Some((_, Some(own))) = runs(row, elements, &now).next() else { return };
                    let factors = factors(&own);
                    let gradient = head.gradient(&own, clip_value);
                    let (values, grads) = (&values[start..][..elements], &grads[start..][..elements]);
                    *partial = chunk_sums(
                        elements,
                        #[inline(always)]
                        |start, count, [a, b]| {
                            let values = &values[start..][..count];
                            let grads = &grads[start..][..count];
                            let mut state = state.each_mut().map(|state| &mut state[start..][..count]);
                            for i in 0..count {
                                let grad = gradient(grads[i], values[i]);
                                let terms = rule(factors, values[i], grad, state.each_mut().map(|state| &mut state[i]));
                                a[i] += terms[0] * terms[0];
                                b[i] += terms[1] * terms[1];
                            }
                        },
                    );
                },
            );
        }
        *clock.0 = clock.1;
    }
}

/// The parameters of a launch over chunks without settings of its own.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct ChunkParams {
    head: Head,
    pub(super) chunks: [u32; 2],
}

impl ChunkParams {
    /// Returns the parameters for a page: its head, its first chunk and the number of its chunks.
    #[must_use]
    pub fn new(head: Head, chunks: (u32, u32)) -> Self {
        Self { head, chunks: chunks.into() }
    }
}

/// Computes sums of squares of parameters and of gradients as in an update.
fn parameter_norms_twin(call: Call<'_>) {
    let ChunkParams { chunks: range, .. } = call.params();
    let (parts, [chunks, partials, ..]) = Parts::of(call);
    let elements = ChunkElements { parts, chunks: chunks.read(), partials: partials.write() };
    elements.each(
        range.into(),
        [],
        #[inline(always)]
        |_| (),
        #[inline(always)]
        |(), param, grad, []| [param, grad],
    );
}

/// The [`variants`](Kernel::variants) of launches over chunks.
pub const CHUNK_VARIANTS: &[&[(&str, f64)]] = &[
    &[("SELF_CLOCKED", 0.0), ("SEGMENTED", 1.0), ("CLIP_VALUE", 0.0)],
    &[("SELF_CLOCKED", 1.0), ("SEGMENTED", 1.0), ("CLIP_VALUE", 0.0)],
    &[("SELF_CLOCKED", 0.0), ("SEGMENTED", 1.0), ("CLIP_VALUE", 1.0)],
    &[("SELF_CLOCKED", 1.0), ("SEGMENTED", 1.0), ("CLIP_VALUE", 1.0)],
];

/// The access list of launches over chunks that keep two arenas of state, before their chunks and partial sums.
pub const CHUNK_ACCESS: &[Access] = &[
    Access::Write,
    Access::Read,
    Access::Read,
    Access::Write,
    Access::Write,
    Access::Write,
    Access::Read,
    Access::Write,
];

/// Stores the sums of squares of parameters and of gradients, for each chunk. Its parameters are [`ChunkParams`].
pub static PARAMETER_NORMS: Kernel = Kernel {
    shader: &thalweg_shaders::PARAMETER_NORMS,
    uniform: size_of::<ChunkParams>(),
    access: &[Access::Write, Access::Read, Access::Read, Access::Write, Access::Read, Access::Write],
    variants: CHUNK_VARIANTS,
    twin: parameter_norms_twin,
};

/// The parameters of [`TRUST_RATIO`].
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
pub struct TrustRatio {
    /// The number of tensors.
    pub count: u32,
    /// The factor of the ratio.
    pub coefficient: f32,
    /// The number that is added to the second norm.
    pub eps: f32,
}

/// coefficient ‖a‖ / (‖b‖ + eps), 1 if a norm is 0.
fn trust_ratio_twin(call: Call<'_>) {
    let TrustRatio { coefficient, eps, .. } = call.params();
    let [segments, partials, table] = call.bindings();
    finish_segments(segments.read(), partials.read(), table.write(), |_, _, [a, b], rows| {
        let ratio = if a != 0.0 && b != 0.0 { coefficient * a.sqrt() / (b.sqrt() + eps) } else { 1.0 };
        rows.iter_mut().for_each(|row| row.0[3] = ratio);
    });
}

/// Writes coefficient ‖a‖ / (‖b‖ + eps) from the sums of each tensor into its rows, or 1 if a norm is 0. Its
/// parameters are [`TrustRatio`].
pub static TRUST_RATIO: Kernel = Kernel {
    shader: &thalweg_shaders::TRUST_RATIO,
    uniform: size_of::<TrustRatio>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: trust_ratio_twin,
};

/// The number of chunks that a thread takes at a time.
pub(super) const CHUNKS_OF_PIECE: usize = 8;

/// Runs the twin of a sum of squares of one arena alone, over chunks.
pub(super) fn sum_squares(grads: &[f32], chunks: &[Chunk], partials: &mut [Sums]) {
    for_each_chunk_of(
        CHUNKS_OF_PIECE,
        partials,
        #[inline(always)]
        |first, partials| {
            for ([start, vectors], partial) in chunks[first..].iter().zip(partials) {
                let grads = &grads[4 * *start as usize..][..4 * *vectors as usize];
                *partial = chunk_sums(
                    grads.len(),
                    #[inline(always)]
                    |start, count, [a, _]| {
                        for (a, grad) in a.iter_mut().zip(&grads[start..][..count]) {
                            *a += grad * grad;
                        }
                    },
                );
            }
        },
    );
}
