//! Element-wise functions of one argument. With x the input, y the output and g the gradient of y.

use std::f32::consts::FRAC_2_SQRT_PI;

use thalweg_tensor::{BinaryOp, DropoutState, UnaryOp};

use crate::walk::Pull;
use crate::{Result, Var};

/// The gradient of x.
fn pullback<'t>(op: UnaryOp, pull: &Pull<'t, '_>) -> Result<()> {
    let (x, y, g) = (pull.input(0), pull.output(), pull.cotangent()?);
    let gradient = match op {
        UnaryOp::Neg => g.neg()?,
        UnaryOp::Abs => g.mul(x.sign()?)?,
        UnaryOp::Exp => g.mul(y)?,
        UnaryOp::Log => g.div(x)?,
        UnaryOp::Sqrt => g.div(y)?.affine(0.5, 0.0)?,
        UnaryOp::Reciprocal => g.mul(y.square()?)?.neg()?,
        UnaryOp::Square => g.mul(x)?.affine(2.0, 0.0)?,
        UnaryOp::Relu => {
            if pull.is_masked() {
                g
            } else {
                y.binary(BinaryOp::ReluGrad, g)?
            }
        }
        UnaryOp::Tanh => y.binary(BinaryOp::TanhGrad, g)?,
        UnaryOp::Sigmoid => y.binary(BinaryOp::SigmoidGrad, g)?,
        UnaryOp::Gelu => x.binary(BinaryOp::GeluGrad, g)?,
        UnaryOp::Silu => x.binary(BinaryOp::SiluGrad, g)?,
        UnaryOp::Softplus => g.mul(x.sigmoid()?)?,
        UnaryOp::Sin => g.mul(x.cos()?)?,
        UnaryOp::Cos => g.mul(x.sin()?)?.neg()?,
        UnaryOp::Expm1 => g.mul(y.affine(1.0, 1.0)?)?,
        UnaryOp::Log1p => g.div(x.affine(1.0, 1.0)?)?,
        UnaryOp::Erf => g.mul(x.square()?.neg()?.exp()?.affine(FRAC_2_SQRT_PI, 0.0)?)?,
        UnaryOp::Affine(factor, _) => g.affine(factor, 0.0)?,
        UnaryOp::Pow(exponent) => {
            if exponent == 0.0 {
                return Ok(());
            }
            g.mul(x.powf(exponent - 1.0)?.affine(exponent, 0.0)?)?
        }
        // The bounds themselves let the gradient through.
        UnaryOp::Clamp(low, high) => {
            let (x, device) = (x.value(), pull.device());
            let low = thalweg_tensor::Tensor::scalar(&device, low)?;
            let high = thalweg_tensor::Tensor::scalar(&device, high)?;
            g.mul(pull.constant(&x.ge(&low)?.mul(&x.le(&high)?)?))?
        }
        UnaryOp::LeakyRelu(slope) => {
            let zero = thalweg_tensor::Tensor::scalar(&pull.device(), 0f32)?;
            g.mul(pull.constant(&x.value().gt(&zero)?.affine(1.0 - slope, slope)?))?
        }
        // Flat everywhere: `Sign`.
        _ => return Ok(()),
    };
    pull.give(0, gradient)
}

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $name:ident($($argument:ident),*) $op:expr;)*) => {
        impl<'t> Var<'t> {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Where the elements are not f32.
                pub fn $name(self $(, $argument: f32)*) -> Result<Self> {
                    self.unary($op)
                }
            )*
        }
    };
}

unary_methods! {
    /// -x, element by element.
    neg() UnaryOp::Neg;
    /// |x|, element by element; the derivative at 0 is 0.
    abs() UnaryOp::Abs;
    /// -1, 0 or 1, element by element; the derivative is 0.
    sign() UnaryOp::Sign;
    /// e^x, element by element.
    exp() UnaryOp::Exp;
    /// The natural logarithm, element by element; NaN below 0 and -∞ at 0.
    log() UnaryOp::Log;
    /// The square root, element by element; NaN below 0, and the derivative at 0 is infinite.
    sqrt() UnaryOp::Sqrt;
    /// 1 / x, element by element.
    reciprocal() UnaryOp::Reciprocal;
    /// x², element by element.
    square() UnaryOp::Square;
    /// max(x, 0), element by element; the derivative at 0 is 0.
    relu() UnaryOp::Relu;
    /// The hyperbolic tangent, element by element.
    tanh() UnaryOp::Tanh;
    /// 1 / (1 + e^-x), element by element.
    sigmoid() UnaryOp::Sigmoid;
    /// x Φ(x) with the normal distribution's Φ, in its exact form by erf, element by element (Hendrycks, Gimpel, 2016).
    gelu() UnaryOp::Gelu;
    /// x / (1 + e^-x), element by element (Elfwing, Uchibe, Doya, 2018).
    silu() UnaryOp::Silu;
    /// ln(1 + e^x), element by element.
    softplus() UnaryOp::Softplus;
    /// The sine, element by element.
    sin() UnaryOp::Sin;
    /// The cosine, element by element.
    cos() UnaryOp::Cos;
    /// e^x - 1, element by element.
    expm1() UnaryOp::Expm1;
    /// ln(1 + x), element by element.
    log1p() UnaryOp::Log1p;
    /// The error function, element by element.
    erf() UnaryOp::Erf;
    /// factor x + summand, element by element.
    affine(factor, summand) UnaryOp::Affine(factor, summand);
    /// x to a constant power, element by element.
    powf(exponent) UnaryOp::Pow(exponent);
    /// x held between two bounds, element by element; the bounds let the gradient through.
    clamp(low, high) UnaryOp::Clamp(low, high);
    /// x, or `slope` x where x is negative, element by element; the derivative at 0 is `slope`.
    leaky_relu(slope) UnaryOp::LeakyRelu(slope);
}

impl<'t> Var<'t> {
    /// An element-wise function of one argument.
    ///
    /// # Errors
    /// Where the elements are not f32.
    pub fn unary(self, op: UnaryOp) -> Result<Self> {
        let y = self.value().unary(op)?;
        let relu = op == UnaryOp::Relu;
        self.tape().record_node("unary", y, &[self], relu, move |pull| pullback(op, pull))
    }

    /// Dropout: zero with this probability p, else x / (1 - p); see [`Tensor::dropout`](thalweg_tensor::Tensor::dropout).
    /// The gradient goes through the same mask. Every call advances `state`.
    ///
    /// # Errors
    /// Where the probability is not in [0, 1), the elements are not f32, or the devices differ.
    pub fn dropout(self, probability: f32, state: &DropoutState) -> Result<Self> {
        let (y, mask) = self.value().dropout(probability, state)?;
        self.tape()
            .record("dropout", y, &[self], move |pull| pull.give(0, pull.cotangent()?.mul(pull.constant(&mask))?))
    }
}
