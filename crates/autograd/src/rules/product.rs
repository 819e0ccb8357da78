//! Matrix products and the fully connected layer. g is the gradient of the output.

use thalweg_tensor::functions::RELU_GRAD;
use thalweg_tensor::{DType, Summand, Tensor};

use crate::forward::{Push, sum};
use crate::walk::Pull;
use crate::{Error, Result, Var};

impl<'t> Var<'t> {
    /// Returns the matrix product, or that of each pair of matrices in a batch; see [`Tensor::matmul`].
    ///
    /// # Shapes
    /// `[…, m, k]` and `[…, k, n]` → `[…, m, n]`; a vector `[k]` is a row on the left, a column on the right, and its axis is
    /// not in the result.
    ///
    /// # Errors
    /// If the inner dimensions differ, the batches do not broadcast, an operand has no dimension, the elements are not f32,
    /// or the devices or the tapes differ.
    pub fn matmul(self, other: Self) -> Result<Self> {
        let [this, other] = self.tape().cast([self, other])?;
        this.matmul_as_is(other)
    }

    fn matmul_as_is(self, other: Self) -> Result<Self> {
        let (left, right) = (self.shape(), other.shape());
        if left.len() == 1 && !right.is_empty() {
            return self.unsqueeze(0)?.matmul(other)?.squeeze(if right.len() == 1 { -1 } else { -2 });
        }
        if right.len() == 1 && !left.is_empty() {
            return self.matmul(other.unsqueeze(1)?)?.squeeze(-1);
        }
        if right.len() == 2 && left.len() > 2 {
            return self.fold_rows()?.matmul(other)?.reshape(&[&left[..left.len() - 1], &right[1..]].concat());
        }
        let y = self.tape().record("matmul", self.value().matmul(&other.value())?, &[self, other], |pull| {
            let (a, b, g) = (pull.input(0), pull.input(1), pull.cotangent()?);
            if pull.needs(0) {
                give_product(pull, 0, g, b.transpose(-2, -1)?)?;
            }
            if pull.needs(1) {
                give_product(pull, 1, a.transpose(-2, -1)?, g)?;
            }
            Ok(())
        })?;
        Ok(y.with_pushforward(|push| bilinear(push, Var::matmul)))
    }

    /// The rows of all matrices as those of one.
    fn fold_rows(self) -> Result<Self> {
        let shape = self.shape();
        let (&columns, outer) = shape.split_last().unwrap_or((&1, &[]));
        self.reshape(&[outer.iter().product(), columns])
    }

    /// Returns a fully connected layer, x Wᵀ + bias, with an optional ReLU; see [`Tensor::linear`].
    ///
    /// # Shapes
    /// x `[…, in]`, weight `[out, in]`, bias `[out]` → `[…, out]`.
    ///
    /// # Errors
    /// If the shapes do not match, the elements are not f32, or the devices or the tapes differ.
    pub fn linear(self, weight: Self, bias: Self, relu: bool) -> Result<Self> {
        let [this, weight, bias] = self.tape().cast([self, weight, bias])?;
        this.linear_as_is(weight, bias, relu)
    }

    fn linear_as_is(self, weight: Self, bias: Self, relu: bool) -> Result<Self> {
        let shape = self.shape();
        if shape.len() != 2 && !shape.is_empty() {
            let y = self.fold_rows()?.linear_as_is(weight, bias, relu)?;
            return y.reshape(&[&shape[..shape.len() - 1], &y.shape()[1..]].concat());
        }
        let y = self.value().linear(&weight.value(), &bias.value(), relu)?;
        let y = self.tape().record_node("linear", y, &[self, weight, bias], relu, move |pull| {
            let (x, weight) = (pull.input(0), pull.input(1));
            let mut g = pull.cotangent()?;
            if relu && !pull.is_masked() {
                g = pull.output().apply_with(&RELU_GRAD, &[g], &[])?;
            }
            if pull.needs(0) {
                if pull.may_mask(0) {
                    let masked = g.value().linear_input_grad(&weight.value(), &x.value())?;
                    pull.give_masked(0, pull.constant(&masked))?;
                } else {
                    give_product(pull, 0, g, weight)?;
                }
            }
            if pull.needs(1) && pull.needs(2) && pull.is_plain() {
                return weight_and_bias(pull, &g.value(), &x.value());
            }
            if pull.needs(1) {
                give_product(pull, 1, g.t()?, x)?;
            }
            if pull.needs(2) {
                pull.give(2, g.sum_along(0, true)?.squeeze(0)?)?;
            }
            Ok(())
        })?;
        Ok(y.with_pushforward(move |push| {
            let tangent = sum(bilinear(push, |x, weight| x.matmul(weight.t()?))?, push.tangent(2))?;
            let Some(tangent) = tangent else { return Ok(None) };
            let output = push.output();
            let tangent = tangent.broadcast_to(&output.shape())?;
            Ok(Some(if relu { output.apply_with(&RELU_GRAD, &[tangent], &[])? } else { tangent }))
        }))
    }
}

impl Var<'_> {
    /// Returns Einstein's sum of some variables; see [`Tensor::einsum`].
    ///
    /// # Errors
    /// If the subscripts do not fit the operands, the elements are not f32, or the devices or the tapes differ.
    pub fn einsum(subscripts: &str, operands: &[Self]) -> Result<Self> {
        thalweg_tensor::einsum(subscripts, operands)
    }
}

impl Summand for Var<'_> {
    type Error = Error;

    fn extents(&self) -> Vec<usize> {
        self.shape()
    }

    fn with_order(&self, order: &[usize]) -> Result<Self> {
        self.permute(order)
    }

    fn with_shape(&self, shape: &[usize]) -> Result<Self> {
        self.reshape(shape)
    }

    fn summed(&self, axes: &[usize]) -> Result<Self> {
        self.sum_along(axes, false)
    }

    fn on_diagonal(&self, first: usize, second: usize) -> Result<Self> {
        self.diagonal(0, first, second)
    }

    fn product(&self, other: &Self) -> Result<Self> {
        self.matmul(*other)
    }
}

/// Computes both gradients of a layer's parameters in one launch, directly into the parameters' memory if possible.
fn weight_and_bias(pull: &Pull<'_, '_>, g: &Tensor, x: &Tensor) -> Result<()> {
    if let Some(([weight_grad, bias_grad], accumulate)) = pull.claim([1, 2])? {
        g.linear_weight_grad_into(x, &weight_grad, &bias_grad, accumulate)?;
        return Ok(());
    }
    let weight_grad = Tensor::zeros(g.device(), DType::F32, &pull.input(1).shape())?;
    let bias_grad = Tensor::zeros(g.device(), DType::F32, &pull.input(2).shape())?;
    g.linear_weight_grad_into(x, &weight_grad, &bias_grad, false)?;
    pull.give(1, pull.constant(&weight_grad))?;
    pull.give(2, pull.constant(&bias_grad))
}

/// Returns the tangent of an operation that is linear in each of its first two inputs.
pub(super) fn bilinear<'t>(
    push: &Push<'t, '_>,
    operation: impl Fn(Var<'t>, Var<'t>) -> Result<Var<'t>>,
) -> Result<Option<Var<'t>>> {
    let left = push.tangent(0).map(|tangent| operation(tangent, push.input(1))).transpose()?;
    let right = push.tangent(1).map(|tangent| operation(push.input(0), tangent)).transpose()?;
    sum(left, right)
}

/// Passes the product a b as the gradient of input number `i`, directly into its memory if it is a parameter.
fn give_product<'t>(pull: &Pull<'t, '_>, i: usize, a: Var<'t>, b: Var<'t>) -> Result<()> {
    let is_batch = a.value().rank() > 2 || b.value().rank() > 2;
    if !is_batch && let Some(([target], accumulate)) = pull.claim([i])? {
        return Ok(a.value().matmul_into(&b.value(), &target, accumulate)?);
    }
    pull.give(i, a.matmul(b)?.sum_to(&pull.input(i).shape())?)
}
