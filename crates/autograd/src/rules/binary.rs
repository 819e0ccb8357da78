//! Element-wise functions of two arguments. With x and y the inputs, z the output and g the gradient of z; what was
//! stretched is summed back.

use thalweg_tensor::{BinaryOp, Tensor};

use crate::walk::Pull;
use crate::{Result, Var};

fn pullback(op: BinaryOp, pull: &Pull<'_, '_>) -> Result<()> {
    let (x, y, z, g) = (pull.input(0), pull.input(1), pull.output(), pull.cotangent()?);
    if pull.needs(0) {
        let gradient = match op {
            BinaryOp::Add | BinaryOp::Sub => Some(g),
            BinaryOp::Mul => Some(g.mul(y)?),
            BinaryOp::Div => Some(g.div(y)?),
            BinaryOp::Maximum => Some(g.mul(pull.constant(&share(&x.value(), &y.value(), BinaryOp::Gt)?))?),
            BinaryOp::Minimum => Some(g.mul(pull.constant(&share(&x.value(), &y.value(), BinaryOp::Lt)?))?),
            BinaryOp::Pow => {
                // Where y = 0 the exponent is made 0: the factor y stands for the whole.
                let is_zero = pull.constant(&y.value().eq(&zero(pull)?)?);
                let power = x.pow(y.affine(1.0, -1.0)?.add(is_zero)?)?;
                Some(g.mul(y.mul(power)?)?)
            }
            BinaryOp::TanhGrad => Some(g.mul(y.mul(x)?)?.affine(-2.0, 0.0)?),
            BinaryOp::SigmoidGrad => Some(g.mul(y.mul(x.affine(-2.0, 1.0)?)?)?),
            BinaryOp::GeluGrad => {
                // d/dx of Φ(x) + x φ(x) is φ(x) (2 - x²).
                let density = x.square()?.affine(-0.5, 0.0)?.exp()?.affine(0.398_942_3, 0.0)?;
                Some(g.mul(y.mul(density.mul(x.square()?.affine(-1.0, 2.0)?)?)?)?)
            }
            BinaryOp::SiluGrad => {
                // d/dx of s (1 + x (1 - s)) is s (1 - s) (2 + x (1 - 2 s)).
                let s = x.sigmoid()?;
                let slope = s.mul(s.affine(-1.0, 1.0)?)?;
                let factor = x.mul(s.affine(-2.0, 1.0)?)?.affine(1.0, 2.0)?;
                Some(g.mul(y.mul(slope.mul(factor)?)?)?)
            }
            // Flat in x: comparisons and the mask of a ReLU.
            _ => None,
        };
        if let Some(gradient) = gradient {
            pull.give(0, gradient.sum_to(&x.shape())?)?;
        }
    }
    if pull.needs(1) {
        let gradient = match op {
            BinaryOp::Add => Some(g),
            BinaryOp::Sub => Some(g.neg()?),
            BinaryOp::Mul => Some(g.mul(x)?),
            BinaryOp::Div => Some(g.mul(z)?.div(y)?.neg()?),
            BinaryOp::Maximum => Some(g.mul(pull.constant(&share(&y.value(), &x.value(), BinaryOp::Gt)?))?),
            BinaryOp::Minimum => Some(g.mul(pull.constant(&share(&y.value(), &x.value(), BinaryOp::Lt)?))?),
            BinaryOp::Pow => {
                // Where x = 0 and y is not negative the power does not change with y: the logarithm is made 0.
                let zero = zero(pull)?;
                let is_flat = pull.constant(&x.value().eq(&zero)?.mul(&y.value().ge(&zero)?)?);
                Some(g.mul(z.mul(x.add(is_flat)?.log()?)?)?)
            }
            // Linear in the cotangent.
            BinaryOp::ReluGrad
            | BinaryOp::TanhGrad
            | BinaryOp::SigmoidGrad
            | BinaryOp::GeluGrad
            | BinaryOp::SiluGrad => Some(x.binary(op, g)?),
            _ => None,
        };
        if let Some(gradient) = gradient {
            pull.give(1, gradient.sum_to(&y.shape())?)?;
        }
    }
    Ok(())
}

/// What of the gradient goes to x: all where it wins, half where both are equal.
fn share(x: &Tensor, y: &Tensor, wins: BinaryOp) -> Result<Tensor> {
    Ok(x.binary(wins, y)?.add(&x.eq(y)?.affine(0.5, 0.0)?)?)
}

fn zero(pull: &Pull<'_, '_>) -> Result<Tensor> {
    Ok(Tensor::scalar(&pull.device(), 0f32)?)
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident $op:expr;)*) => {
        impl<'t> Var<'t> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Where the shapes do not broadcast, the elements are not f32, or the devices or the tapes differ.
                pub fn $name(self, other: Self) -> Result<Self> {
                    self.binary($op, other)
                }
            )*
        }
    };
}

binary_methods! {
    /// x + y, element by element.
    add BinaryOp::Add;
    /// x - y, element by element.
    sub BinaryOp::Sub;
    /// x y, element by element.
    mul BinaryOp::Mul;
    /// x / y, element by element.
    div BinaryOp::Div;
    /// The larger one, element by element; equal ones share the gradient.
    maximum BinaryOp::Maximum;
    /// The smaller one, element by element; equal ones share the gradient.
    minimum BinaryOp::Minimum;
    /// x to the power y, element by element.
    pow BinaryOp::Pow;
    /// 1 where x = y, else 0; the derivative is 0.
    eq BinaryOp::Eq;
    /// 1 where x < y, else 0; the derivative is 0.
    lt BinaryOp::Lt;
    /// 1 where x <= y, else 0; the derivative is 0.
    le BinaryOp::Le;
    /// 1 where x > y, else 0; the derivative is 0.
    gt BinaryOp::Gt;
    /// 1 where x >= y, else 0; the derivative is 0.
    ge BinaryOp::Ge;
}

impl<'t> Var<'t> {
    /// An element-wise function of two arguments, broadcast by NumPy's rule.
    ///
    /// # Errors
    /// Where the shapes do not broadcast, the elements are not f32, or the devices or the tapes differ.
    pub fn binary(self, op: BinaryOp, other: Self) -> Result<Self> {
        let z = self.value().binary(op, &other.value())?;
        self.tape().record("binary", z, &[self, other], move |pull| pullback(op, pull))
    }
}
