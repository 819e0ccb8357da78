//! Losses with PyTorch's names, settings and means.

mod binary;
mod classes;
mod functions;
mod numbers;
mod pairs;

use thalweg_tensor::functions::Elementwise;
use thalweg_tensor::{DType, Error as TensorError, Tensor};

use crate::{Result, Var};

pub use classes::CrossEntropyOptions;

/// Returns the element-wise functions of the losses, for tests of all functions.
#[doc(hidden)]
#[must_use]
pub fn loss_functions() -> &'static [&'static Elementwise] {
    functions::ALL
}

/// What becomes of the losses of elements or rows.
///
/// ```
/// use thalweg_autograd::{Reduction, Tape};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_autograd::Result<()> {
/// let tape = Tape::new();
/// let x = tape.input(&Tensor::from_slice(&Device::cpu(), &[1.0, 5.0], &[2, 1])?);
/// let zeros = tape.constant(&Tensor::full(&Device::cpu(), 0f32, &[2, 1])?);
/// assert_eq!(x.l1_loss(zeros, Reduction::Mean)?.item()?, 3.0);
/// assert_eq!(x.l1_loss(zeros, Reduction::Sum)?.item()?, 6.0);
/// assert_eq!(x.l1_loss(zeros, Reduction::None)?.shape(), [2, 1]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reduction {
    /// The losses themselves.
    None,
    /// Their mean. It is weighted if classes have weights, and rows that are ignored do not count.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Their sum divided by the first extent. It is PyTorch's `batchmean`, which only `kl_div` has there.
    BatchMean,
}

impl Reduction {
    fn of(self, losses: Var<'_>) -> Result<Var<'_>> {
        match self {
            Self::None => Ok(losses),
            Self::Mean => losses.mean(),
            Self::Sum => losses.sum(),
            Self::BatchMean => {
                let rows = losses.shape().first().copied().unwrap_or(1);
                losses.sum()?.affine(1.0 / rows as f32, 0.0)
            }
        }
    }
}

/// Checks that two operands have one shape, and returns them as f32: element-wise losses would broadcast silently.
fn of_one_shape<'t>(op: &'static str, x: Var<'t>, target: Var<'t>) -> Result<[Var<'t>; 2]> {
    let (left, right) = (x.shape(), target.shape());
    if left == right {
        return Ok([wide(x)?, wide(target)?]);
    }
    Err(TensorError::Shape { op, rule: "the input and the target must have one shape", left, right }.into())
}

/// Returns elements of 16 bits as f32: losses are sums of many.
fn wide(x: Var<'_>) -> Result<Var<'_>> {
    if x.dtype().is_half() { x.to_dtype(DType::F32) } else { Ok(x) }
}

/// Multiplies losses by weights that are given. They broadcast to the losses, and not the other way.
fn weighted<'t>(op: &'static str, losses: Var<'t>, weight: Option<&Tensor>) -> Result<Var<'t>> {
    let Some(weight) = weight else { return Ok(losses) };
    let shape = losses.shape();
    let product = losses.mul(losses.tape().constant(weight))?;
    if product.shape() == shape {
        return Ok(product);
    }
    let (rule, right) = ("the weight must broadcast to the input", weight.shape().to_vec());
    Err(TensorError::Shape { op, rule, left: shape, right }.into())
}

/// Checks a number among the arguments.
fn check(op: &'static str, name: &'static str, value: f32, is_good: bool, rule: &'static str) -> Result<()> {
    if is_good { Ok(()) } else { Err(TensorError::Argument { op, name, value: value.to_string(), rule }.into()) }
}
