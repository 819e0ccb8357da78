//! Clipping tensor by tensor: the clip factor of each is stored in its rows of the clock's table.

use bytemuck::{Pod, Zeroable};

use super::segments::{TensorSums, finish_segments, sum_squares};
use super::table::{ROW_ELEMENTS, Row};
use super::time::ClockWords;
use crate::arena::Arena;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::LANES;
use crate::threads::for_each_chunk;
use crate::{Result, Tensor};

/// Launches the computation of the clip factors of all tensors, on every page and then once, and returns the norms of
/// the tensors.
pub(super) fn launch_tensor_clip<'a>(
    grads: &Arena,
    segments: &'a TensorSums,
    table: &Tensor,
    (limit, root_mean_square): (f32, bool),
) -> Result<&'a Tensor> {
    for (number, page) in grads.pages().iter().enumerate() {
        let (first_chunk, chunk_count) = segments.of_page(number);
        if chunk_count > 0 {
            let launch = Launch::new(&TENSOR_NORMS, NormParams { first_chunk, chunk_count }).bind(page);
            segments.bind_chunks(launch).workgroups(chunk_count as usize).run(page.device())?;
        }
    }
    let params = ClipParams { count: segments.count() as u32, limit, root_mean_square: root_mean_square.into() };
    segments.finish(&TENSOR_CLIP, params, table, &[&segments.norms])?;
    Ok(&segments.norms)
}

/// Scales gradients in place by the clip factors of their tensors, and resets these to 1; one launch per page.
pub(super) fn launch_scale_rows(grads: &Arena, first_rows: &[u32], table: &Tensor, clock: &Tensor) -> Result<()> {
    for (page, &first_row) in grads.pages().iter().zip(first_rows) {
        let vectors = page.len() / 4;
        Launch::new(&SCALE_ROWS, ScaleParams { vectors: vectors as u32, first_row })
            .bind(page)
            .bind(table)
            .bind(clock)
            .workgroups(vectors.div_ceil(LANES))
            .run(page.device())?;
    }
    Ok(())
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormParams {
    first_chunk: u32,
    chunk_count: u32,
}

fn norms_twin(call: Call<'_>) {
    let NormParams { first_chunk, chunk_count } = call.params();
    let [grads, chunks, partials] = call.bindings();
    let range = first_chunk as usize..(first_chunk + chunk_count) as usize;
    let chunks = &chunks.read::<u32>().as_chunks().0[range.clone()];
    let partials = &mut partials.write::<f32>().as_chunks_mut().0[range];
    sum_squares(grads.read(), chunks, partials);
}

pub(crate) static TENSOR_NORMS: Kernel = Kernel {
    shader: &thalweg_shaders::TENSOR_NORMS,
    uniform: size_of::<NormParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: norms_twin,
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ClipParams {
    count: u32,
    limit: f32,
    root_mean_square: u32,
}

impl ClipParams {
    fn factor(self, square: f32, elements: u32) -> f32 {
        if square.is_nan() {
            return square;
        }
        if self.root_mean_square != 0 {
            let ratio = (square / elements.max(1) as f32).sqrt() / self.limit;
            return if ratio > 1.0 { 1.0 / ratio } else { 1.0 };
        }
        (self.limit / (square.sqrt() + 1e-6)).min(1.0)
    }
}

/// min(1, limit / (‖g‖ + 1e-6)), or 1 / max(1, ‖g‖ / √n / limit).
fn clip_twin(call: Call<'_>) {
    let params: ClipParams = call.params();
    let [segments, partials, table, norms] = call.bindings();
    let norms: &mut [[f32; 2]] = norms.write::<f32>().as_chunks_mut().0;
    finish_segments(segments.read(), partials.read(), table.write(), |number, segment, [square, _], rows| {
        let factor = params.factor(square, segment.elements);
        rows.iter_mut().for_each(|row| row.0[2] = factor);
        norms[number] = [square, factor];
    });
}

pub(crate) static TENSOR_CLIP: Kernel = Kernel {
    shader: &thalweg_shaders::TENSOR_CLIP,
    uniform: size_of::<ClipParams>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: clip_twin,
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ScaleParams {
    vectors: u32,
    first_row: u32,
}

fn scale_twin(call: Call<'_>) {
    let ScaleParams { first_row, .. } = call.params();
    let [grads, table, clock] = call.bindings();
    let grads = grads.write::<f32>();
    let table: &mut [Row] = bytemuck::cast_slice_mut(table.write::<f32>());
    let rows = &mut table[first_row as usize..][..grads.len() / ROW_ELEMENTS];
    let clock: &ClockWords = bytemuck::from_bytes(bytemuck::cast_slice(clock.read::<u32>()));
    if clock.clip_factor < 0.0 {
        return;
    }
    for_each_chunk(
        grads,
        #[inline(always)]
        |start, grads| {
            for (grads, row) in grads.chunks_mut(ROW_ELEMENTS).zip(&rows[start / ROW_ELEMENTS..]) {
                grads.iter_mut().for_each(|grad| *grad *= row.0[2]);
            }
        },
    );
    rows.iter_mut().for_each(|row| row.0[2] = 1.0);
}

pub(crate) static SCALE_ROWS: Kernel = Kernel {
    shader: &thalweg_shaders::SCALE_ROWS,
    uniform: size_of::<ScaleParams>(),
    access: &[Access::Write, Access::Write, Access::Read],
    variants: &[&[]],
    twin: scale_twin,
};
