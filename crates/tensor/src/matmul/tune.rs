//! The tuner: measures the fastest kernel for each product. A program may store the choices and set them again.
//!
//! The tuner runs only on request, because a candidate's first launch compiles it, which takes a tenth of a second or
//! more on some drivers. Without a choice for a class of products the profile decides. All candidates give the same
//! bits on a driver that does not contract products and sums. If k is split the order of the sum changes, so only the
//! profile decides.

use std::sync::PoisonError;
use std::time::Duration;

use super::batch::Batch;
use super::candidates::{Candidate, Extents};
use super::choices::{Choices, Class, ProductChoice, name};
use super::generated::form::Epilogue;
use super::plan::{Forced, Products, forced, loads, products};
use super::product::Product;
use crate::time::Instant;
use crate::{DType, Device, Result, Tensor};

/// A matrix product to tune for, `[m, k]` × `[k, n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductShape {
    /// The number of rows of the result.
    pub m: usize,
    /// The number of columns of the result.
    pub n: usize,
    /// The inner dimension.
    pub k: usize,
    /// Whether the left operand is stored `[k, m]`.
    pub transpose_a: bool,
    /// Whether the right operand is stored `[n, k]`.
    pub transpose_b: bool,
}

impl ProductShape {
    /// Returns the three products of a fully connected layer: forward, the input's gradient and the weight's.
    #[must_use]
    pub fn layer(batch: usize, inputs: usize, outputs: usize) -> [Self; 3] {
        let shape = |m, n, k, transpose_a, transpose_b| Self { m, n, k, transpose_a, transpose_b };
        [
            shape(batch, outputs, inputs, false, true),
            shape(batch, inputs, outputs, false, false),
            shape(outputs, inputs, batch, true, false),
        ]
    }
}

/// The result of [`DeviceProducts::tune_products`](super::DeviceProducts::tune_products).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProductTuning {
    /// The fastest kernel of each class of shapes.
    pub choices: Vec<ProductChoice>,
    /// A row for each class of shapes.
    pub rows: Vec<TunedProduct>,
}

/// The measured candidates of a class of shapes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TunedProduct {
    /// The measured shape; the choice applies to all shapes whose extents round up to the same powers of two.
    pub shape: ProductShape,
    /// The names of the kernels, with the rate of each in GFLOP/s.
    pub candidates: Vec<(String, f64)>,
    /// The name of the fastest.
    pub choice: String,
    /// The name of the profile's choice.
    pub default: String,
}

/// See [`DeviceProducts::tune_products`](super::DeviceProducts::tune_products).
pub(super) fn tune_products(device: &Device, shapes: &[ProductShape]) -> Result<ProductTuning> {
    let mut tuning = ProductTuning { choices: Vec::new(), rows: Vec::new() };
    let Some(products) = products(device) else { return Ok(tuning) };
    let mut choices = Choices::new();
    for &shape in shapes {
        let Some((class, choice, row)) = tune(device, products, shape, &choices)? else { continue };
        choices.insert(class, choice);
        tuning.choices.push(ProductChoice { class, kernel: name(choice) });
        tuning.rows.push(row);
    }
    products.tuned.write().unwrap_or_else(PoisonError::into_inner).extend(choices);
    Ok(tuning)
}

/// The shortest time of one measurement, and the number of measurements per candidate.
const BATCH: Duration = Duration::from_millis(4);
const TURNS: usize = 5;

/// Measures all candidates for a shape, unless its class already has a choice or its sum is split.
fn tune(
    device: &Device,
    products: &Products,
    shape: ProductShape,
    known: &Choices,
) -> Result<Option<(Class, Option<Candidate>, TunedProduct)>> {
    let ProductShape { m, n, k, transpose_a, transpose_b } = shape;
    let operand = |seed, rows, columns, transposed| {
        let shape = if transposed { [columns, rows] } else { [rows, columns] };
        let x = Tensor::uniform(device, seed, 0, -1.0, 1.0, &shape)?;
        if transposed { x.t() } else { Ok(x) }
    };
    let (a, b) = (operand(1, m, k, transpose_a)?, operand(2, k, n, transpose_b)?);
    let c = Tensor::zeros(device, DType::F32, &[m, n])?;
    let extents = Extents { m, n, k };
    let class = Class::of(extents, loads(&Product::new("tune", &a, &b)?, &Batch::ONE));
    let default = products.profile.choose(extents, 1, Epilogue::Matmul { accumulate: false }, |_| false);
    let split = default.and_then(|candidate| products.profile.slice(extents, candidate)).is_some();
    if split || m * n * k == 0 || known.contains_key(&class) {
        return Ok(None);
    }
    let all = products.profile.candidates().into_iter();
    let choices: Vec<Option<Candidate>> = std::iter::once(None).chain(all.map(Some)).collect();
    let time = |choice: Option<Candidate>, calls: u32| -> Result<Duration> {
        let start = Instant::now();
        forced(choice.map_or(Forced::Strided, Forced::Candidate), || {
            (0..calls).try_for_each(|_| a.matmul_into(&b, &c, false))
        })?;
        device.synchronize()?;
        Ok(start.elapsed())
    };
    let mut seconds = vec![f64::INFINITY; choices.len()];
    let mut calls = Vec::new();
    for &choice in &choices {
        // The first call compiles.
        time(choice, 1)?;
        let once = time(choice, 2)?.max(Duration::from_micros(1)) / 2;
        calls.push((BATCH.as_secs_f64() / once.as_secs_f64()).ceil().clamp(1.0, 1000.0) as u32);
    }
    for _ in 0..TURNS {
        for ((&choice, &calls), seconds) in choices.iter().zip(&calls).zip(&mut seconds) {
            *seconds = seconds.min(time(choice, calls)?.as_secs_f64() / f64::from(calls));
        }
    }
    let fastest = (0..choices.len()).min_by(|&x, &y| seconds[x].total_cmp(&seconds[y])).unwrap_or(0);
    let row = TunedProduct {
        shape,
        candidates: choices.iter().zip(&seconds).map(|(c, s)| (name(*c), extents.operations() / s / 1e9)).collect(),
        choice: name(choices[fastest]),
        default: name(default),
    };
    Ok(Some((class, choices[fastest], row)))
}
