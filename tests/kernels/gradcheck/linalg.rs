//! Rows of linear algebra. Matrices have a small condition, and values that are apart from each other; of vectors, whose
//! signs are arbitrary, there are squares.

use thalweg::autograd::{Result, Var};
use thalweg::tensor::Tensor;

use super::Row;

/// x plus a diagonal matrix.
fn plus<'t>(x: Var<'t>, diagonal: &[f32]) -> Result<Var<'t>> {
    let diagonal = Tensor::from_slice(x.value().device(), diagonal, &[diagonal.len()])?.diag(0)?;
    x.add(x.tape().constant(&diagonal))
}

/// x times fixed numbers, because the sum of squares of some factors does not depend on the matrix, or not on its details.
fn weighted(x: Var<'_>) -> Result<Var<'_>> {
    let value = x.value();
    let weights = Tensor::linspace(value.device(), 0.5, 1.5, value.len())?.reshape(value.shape())?;
    x.mul(x.tape().constant(&weights))
}

fn symmetric(x: Var<'_>) -> Result<Var<'_>> {
    x.add(x.transpose(-2, -1)?)
}

fn squares_and_values<'t>(vectors: &[Var<'t>], values: Var<'t>) -> Result<Var<'t>> {
    let flat = |x: Var<'t>| x.flatten(0, -1);
    let mut parts = vec![flat(values)?];
    for vectors in vectors {
        parts.push(flat(vectors.square()?)?);
    }
    weighted(Var::concatenate(&parts, 0)?)
}

pub(super) const TABLE: &[Row] = &[
    ("cholesky", |_, x| weighted(plus(x[0].matmul(x[0].t()?)?, &[2.0; 3])?.cholesky()?), (-1.0, 1.0), &[&[3, 3]]),
    (
        "cholesky of a batch",
        |_, x| weighted(plus(symmetric(x[0])?, &[4.0; 2])?.cholesky()?),
        (-1.0, 1.0),
        &[&[2, 2, 2]],
    ),
    (
        "solve_triangular",
        |_, x| plus(x[0], &[2.0, -2.0, 2.0])?.solve_triangular(x[1], false, true, false),
        (-1.0, 1.0),
        &[&[3, 3], &[3, 2]],
    ),
    (
        "solve_triangular, upper, a stretched batch",
        |_, x| plus(x[0], &[2.0, -2.0])?.solve_triangular(x[1], true, true, false),
        (-1.0, 1.0),
        &[&[2, 2], &[2, 2, 1]],
    ),
    (
        "solve_triangular, on the right",
        |_, x| plus(x[0], &[2.0, -2.0, 2.0])?.solve_triangular(x[1], true, false, false),
        (-1.0, 1.0),
        &[&[3, 3], &[2, 3]],
    ),
    (
        "solve_triangular, with ones",
        |_, x| x[0].solve_triangular(x[1], false, true, true),
        (-1.0, 1.0),
        &[&[3, 3], &[3, 2]],
    ),
    (
        "lu",
        |_, x| {
            let (p, l, u) = plus(x[0], &[3.0; 3])?.flip(0)?.lu()?;
            weighted(p.matmul(l)?.add(u.square()?)?)
        },
        (-1.0, 1.0),
        &[&[3, 3]],
    ),
    ("solve", |_, x| plus(x[0], &[2.0, -2.0, 2.0])?.solve(x[1]), (-1.0, 1.0), &[&[3, 3], &[3, 2]]),
    ("solve of vectors", |_, x| plus(x[0], &[2.0, -2.0])?.flip(1)?.solve(x[1]), (-1.0, 1.0), &[&[3, 2, 2], &[3, 2]]),
    ("solve of a stretched batch", |_, x| plus(x[0], &[2.0; 2])?.solve(x[1]), (-1.0, 1.0), &[&[2, 2], &[3, 2, 1]]),
    ("inv", |_, x| plus(x[0], &[2.0, -2.0, 2.0])?.inv(), (-1.0, 1.0), &[&[3, 3]]),
    ("det", |_, x| plus(x[0], &[2.0, -2.0, 2.0])?.det(), (-1.0, 1.0), &[&[2, 3, 3]]),
    ("slogdet", |_, x| Ok(plus(x[0], &[2.0, -2.0, 2.0])?.slogdet()?.1), (-1.0, 1.0), &[&[2, 3, 3]]),
    (
        "qr",
        |_, x| {
            let (q, r) = plus(x[0], &[2.0, -2.0, 2.0])?.qr()?;
            weighted(Var::concatenate(&[q, r], 0)?)
        },
        (-1.0, 1.0),
        &[&[3, 3]],
    ),
    (
        "qr of a tall matrix",
        |_, x| {
            let (q, r) = x[0].qr()?;
            weighted(Var::concatenate(&[q, r], -2)?)
        },
        (0.5, 2.0),
        &[&[4, 2]],
    ),
    (
        "qr of a wide matrix",
        |_, x| {
            let (q, r) = x[0].qr()?;
            weighted(Var::concatenate(&[q, r], 1)?)
        },
        (-2.0, 2.0),
        &[&[2, 4]],
    ),
    (
        "eigh",
        |_, x| {
            let (values, vectors) = plus(symmetric(x[0])?, &[0.0, 5.0, -5.0])?.eigh()?;
            squares_and_values(&[vectors], values)
        },
        (-1.0, 1.0),
        &[&[3, 3]],
    ),
    ("eigh, values of a batch", |_, x| weighted(symmetric(x[0])?.eigh()?.0), (-1.0, 1.0), &[&[2, 2, 2]]),
    (
        "svd",
        |_, x| {
            let (u, s, vh) = plus(x[0], &[6.0, 3.0, -1.5])?.svd()?;
            squares_and_values(&[u, vh], s)
        },
        (-0.5, 0.5),
        &[&[3, 3]],
    ),
    (
        "svd of a tall matrix",
        |_, x| {
            let (u, s, vh) = x[0].svd()?;
            squares_and_values(&[u, vh], s)
        },
        (-2.0, 2.0),
        &[&[4, 2]],
    ),
    (
        "svd of wide matrices",
        |_, x| {
            let (u, s, vh) = x[0].svd()?;
            squares_and_values(&[u, vh], s)
        },
        (-2.0, 2.0),
        &[&[2, 1, 3]],
    ),
    ("svdvals", |_, x| weighted(x[0].svdvals()?), (-2.0, 2.0), &[&[2, 3]]),
];
