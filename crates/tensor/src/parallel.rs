//! Loops over large slices on several threads, in chunks of a fixed size: the bits do not depend on their number.

use rayon::prelude::*;

/// Elements of a chunk: large enough that a thread's wake-up is small against it.
pub(crate) const CHUNK: usize = 32 * 1024;

/// Calls `body` with the index of the first element of each chunk of `y`, and the chunk.
pub(crate) fn for_each_chunk(y: &mut [f32], body: impl Fn(usize, &mut [f32]) + Sync) {
    if y.len() <= CHUNK {
        body(0, y);
    } else {
        y.par_chunks_mut(CHUNK).enumerate().for_each(|(i, chunk)| body(i * CHUNK, chunk));
    }
}

/// Calls `body` with the number of each row of `y`; several rows make a task.
pub(crate) fn for_each_row(y: &mut [f32], row_length: usize, body: impl Fn(usize, &mut [f32]) + Sync) {
    if row_length == 0 {
        return;
    }
    if y.len() <= CHUNK {
        y.chunks_mut(row_length).enumerate().for_each(|(row, values)| body(row, values));
    } else {
        let rows = (CHUNK / row_length).max(1);
        y.par_chunks_mut(rows * row_length).enumerate().for_each(|(task, chunk)| {
            chunk.chunks_mut(row_length).enumerate().for_each(|(i, values)| body(task * rows + i, values));
        });
    }
}
