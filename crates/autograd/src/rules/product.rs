//! Matrix products and the fully connected layer. g is the gradient of the output.

use thalweg_tensor::functions::RELU_GRAD;
use thalweg_tensor::{DType, Tensor};

use crate::walk::Pull;
use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the matrix product; see [`Tensor::matmul`].
    ///
    /// # Shapes
    /// `[n, k]` and `[k, m]` → `[n, m]`.
    ///
    /// # Errors
    /// If the inner dimensions differ, an operand is not a matrix of f32, or the devices or the tapes differ.
    pub fn matmul(self, other: Self) -> Result<Self> {
        self.tape().record("matmul", self.value().matmul(&other.value())?, &[self, other], |pull| {
            let (a, b, g) = (pull.input(0), pull.input(1), pull.cotangent()?);
            if pull.needs(0) {
                give_product(pull, 0, g, b.t()?)?;
            }
            if pull.needs(1) {
                give_product(pull, 1, a.t()?, g)?;
            }
            Ok(())
        })
    }

    /// Returns a fully connected layer, x Wᵀ + bias, with an optional ReLU; see [`Tensor::linear`].
    ///
    /// # Shapes
    /// x `[n, in]`, weight `[out, in]`, bias `[out]` → `[n, out]`.
    ///
    /// # Errors
    /// If the shapes do not match, the elements are not f32, or the devices or the tapes differ.
    pub fn linear(self, weight: Self, bias: Self, relu: bool) -> Result<Self> {
        let y = self.value().linear(&weight.value(), &bias.value(), relu)?;
        self.tape().record_node("linear", y, &[self, weight, bias], relu, move |pull| {
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
        })
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

/// Passes the product a b as the gradient of input number `i`, directly into its memory if it is a parameter.
fn give_product<'t>(pull: &Pull<'t, '_>, i: usize, a: Var<'t>, b: Var<'t>) -> Result<()> {
    if let Some(([target], accumulate)) = pull.claim([i])? {
        return Ok(a.value().matmul_into(&b.value(), &target, accumulate)?);
    }
    pull.give(i, a.matmul(b)?)
}
