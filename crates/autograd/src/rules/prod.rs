//! Products over axes. With x the input, y the output and g the gradient of y.

use thalweg_tensor::{Axes, Tensor};

use super::reduce::Kept;
use crate::walk::Pull;
use crate::{Result, Var};

impl<'t> Var<'t> {
    /// Returns the product of all elements, of shape `[]`; see [`Tensor::prod`]. The gradient is right where elements are
    /// zero, too.
    ///
    /// # Errors
    /// If the elements are not f32.
    pub fn prod(self) -> Result<Self> {
        let kept = Kept::of("prod", self, ..)?;
        self.tape().record("prod", self.value().prod()?, &[self], move |pull| kept.product(pull))
    }

    /// Returns the products over some axes; see [`Tensor::prod_along`]. The gradient is right where elements are zero,
    /// too.
    ///
    /// # Errors
    /// If the elements are not f32, or one of the axes is none of the variable's.
    pub fn prod_along(self, axes: impl Axes, keepdim: bool) -> Result<Self> {
        let kept = Kept::of("prod_along", self, axes)?;
        let y = self.value().prod_along(&kept.axes, keepdim)?;
        self.tape().record("prod_along", y, &[self], move |pull| kept.product(pull))
    }
}

impl Kept {
    /// Every element of x gets the gradient of its product, times the product of the others.
    fn product(&self, pull: &Pull<'_, '_>) -> Result<()> {
        let (x, g) = (pull.input(0), pull.cotangent()?.reshape(&self.shape)?);
        if x.value().is_empty() || self.axes.is_empty() {
            return pull.give(0, g.broadcast_to(&x.shape())?);
        }
        let others = if pull.is_plain() { pull.constant(&self.others(&x.value())?) } else { self.others_by_halves(x)? };
        pull.give(0, others.mul(g)?)
    }

    /// The product of the other elements: that of all without the zeros, by the own element, and 0 where there is a zero
    /// among the others.
    fn others(&self, x: &Tensor) -> Result<Tensor> {
        let zero = Tensor::scalar(x.device(), 0f32)?;
        let zeros = x.eq(&zero)?;
        let without_zeros = x.add(&zeros)?;
        let product = without_zeros.prod_along(&self.axes, true)?;
        let has_none = zeros.sum_along(&self.axes, true)?.eq(&zeros)?;
        Ok(product.div(&without_zeros)?.mul(&has_none)?)
    }

    /// The same by products alone, whose derivatives are right at zeros, too: the factors are folded onto each other by
    /// halves, and on the way back each half gets the products of the other one.
    fn others_by_halves<'t>(&self, x: Var<'t>) -> Result<Var<'t>> {
        let shape = x.shape();
        let kept = (0..shape.len()).filter(|d| !self.axes.contains(d));
        let order: Vec<usize> = self.axes.iter().copied().chain(kept).collect();
        let permuted = x.permute(&order)?;
        let count: usize = self.axes.iter().map(|&d| shape[d]).product();
        let rows = x.value().len() / count;
        let mut level = permuted.reshape(&[count, rows])?;
        let mut halves = Vec::new();
        while level.shape()[0] > 1 {
            let extent = level.shape()[0];
            // Of an odd number the last one goes on by itself.
            let (half, is_odd) = (extent / 2, extent % 2 == 1);
            let parts = [level.slice(0, 0, half)?, level.slice(0, half, 2 * half)?];
            let mut next = parts[0].mul(parts[1])?;
            if is_odd {
                next = Var::concatenate(&[next, level.slice(0, extent - 1, extent)?], 0)?;
            }
            halves.push(parts);
            level = next;
        }
        let mut others = x.tape().constant(&Tensor::full(x.value().device(), 1f32, &[1, rows])?);
        for [first, second] in halves.into_iter().rev() {
            let (half, extent) = (first.shape()[0], others.shape()[0]);
            let above = others.slice(0, 0, half)?;
            let mut parts = vec![above.mul(second)?, above.mul(first)?];
            if extent > half {
                parts.push(others.slice(0, half, extent)?);
            }
            others = Var::concatenate(&parts, 0)?;
        }
        let permuted_shape = permuted.shape();
        let mut inverse = vec![0; order.len()];
        order.into_iter().enumerate().for_each(|(to, from)| inverse[from] = to);
        others.reshape(&permuted_shape)?.permute(&inverse)
    }
}
