//! Linear algebra of small matrices, batched over the leading axes: decompositions, systems, determinants.
//!
//! A workgroup has one matrix, in place in storage, and goes through its columns with barriers between them. Some software
//! drivers end the loops of a lane after 65,535 turns in all, without an error. So the steps of a decomposition are divided
//! among launches, each with few enough turns; what a step needs from those before it is in the buffers.

mod cholesky;
mod eigh;
mod jacobi;
mod lu;
mod qr;
mod svd;
#[cfg(test)]
mod tests;
mod triangular;

use std::ops::Range;

pub use jacobi::{rotate_pairs, rounds};

use crate::kernel::Kernel;
use crate::tensor::expect_dtype;
use crate::{DType, Error, Result, Tensor};

/// The kernels of linear algebra.
pub(crate) static KERNELS: &[&Kernel] =
    &[&cholesky::CHOLESKY, &eigh::EIGH, &lu::LU, &qr::QR, &triangular::SOLVE_TRIANGULAR, &svd::SVD];

/// The most rows and columns of a matrix. A step has at most 32,768 turns of a lane then.
const MOST_SIDE: usize = 1024;

/// The most turns of a lane in a launch, unless one step has more.
const MOST_TURNS: usize = 32_768;

/// Divides steps among launches by the turns that each of them takes.
fn launches(steps: usize, turns: impl Fn(usize) -> usize) -> impl Iterator<Item = Range<usize>> {
    let mut first = 0;
    std::iter::from_fn(move || {
        if first == steps {
            return None;
        }
        let (mut end, mut sum) = (first, 0);
        while end < steps && (end == first || sum + turns(end) <= MOST_TURNS) {
            sum += turns(end);
            end += 1;
        }
        Some(std::mem::replace(&mut first, end)..end)
    })
}

/// The turns of each lane of a workgroup for this many elements.
fn turns(elements: usize) -> usize {
    elements.div_ceil(64)
}

/// The power of two at or below a number, in the middle of the range of exponents; 1 for zero, NaN and infinity.
fn power_below(x: f32) -> f32 {
    match x.to_bits() & 0x7f80_0000 {
        0 | 0x7f80_0000 => 1.0,
        exponent => f32::from_bits(exponent.clamp(2 << 23, 252 << 23)),
    }
}

/// The reciprocal of such a power, exactly.
fn reciprocal_power(power: f32) -> f32 {
    f32::from_bits((254 << 23) - power.to_bits())
}

/// Returns the number of matrices, their rows and their columns.
fn matrices(op: &'static str, x: &Tensor, most: usize) -> Result<[usize; 3]> {
    expect_dtype(op, x, DType::F32)?;
    let &[ref batch @ .., m, n] = x.shape() else {
        return Err(Error::Rank { op, expected: "at least 2 dimensions", shape: x.shape().to_vec() });
    };
    if m > most || n > most {
        let rule = if most == MOST_SIDE { "at most 1,024 rows and columns" } else { "at most 512 rows and columns" };
        return Err(Error::Argument { op, name: "shape", value: format!("{:?}", x.shape()), rule });
    }
    Ok([batch.iter().product(), m, n])
}

/// Returns the number of square matrices and their side.
fn squares(op: &'static str, x: &Tensor, most: usize) -> Result<[usize; 2]> {
    let [batch, m, n] = matrices(op, x, most)?;
    if m != n {
        let rule = "as many rows as columns in the last two axes";
        return Err(Error::Argument { op, name: "shape", value: format!("{:?}", x.shape()), rule });
    }
    Ok([batch, n])
}

/// Returns the extents of the batch, followed by these.
fn with_batch(x: &Tensor, own: &[usize]) -> Vec<usize> {
    [&x.shape()[..x.rank() - 2], own].concat()
}
