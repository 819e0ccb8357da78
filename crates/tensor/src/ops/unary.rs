//! Element-wise functions of one argument.

use crate::elementwise::{Application, Function};
use crate::functions;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::threads::for_each_chunk;
use crate::{DType, Result, Tensor};

/// An element-wise function of one argument. Numbers in a variant are the function's own.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum UnaryOp {
    /// -x.
    Neg,
    /// |x|.
    Abs,
    /// -1, 0 or 1; NaN stays, as in NumPy (PyTorch: 0).
    Sign,
    /// e^x.
    Exp,
    /// The natural logarithm; -∞ at 0, NaN below.
    Log,
    /// The square root.
    Sqrt,
    /// 1 / x.
    Reciprocal,
    /// x².
    Square,
    /// max(x, 0); NaN stays.
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// x Φ(x), the exact form of the Gaussian error linear unit.
    Gelu,
    /// x / (1 + e^-x), also called swish.
    Silu,
    /// ln(1 + e^x).
    Softplus,
    /// The sine, x in radians.
    Sin,
    /// The cosine, x in radians.
    Cos,
    /// e^x - 1, accurate near 0.
    Expm1,
    /// ln(1 + x), accurate near 0.
    Log1p,
    /// The error function.
    Erf,
    /// a x + b.
    Affine(f32, f32),
    /// x to a constant power, as C's `pow`.
    Pow(f32),
    /// x held between two bounds; NaN stays.
    Clamp(f32, f32),
    /// x, or a constant slope times x where x is negative.
    LeakyRelu(f32),
}

impl UnaryOp {
    /// The function's number in `shaders/shared/unary_ops.wgsl`, and its own numbers.
    pub(crate) fn code(self) -> (u32, f32, f32) {
        match self {
            Self::Neg => (0, 0.0, 0.0),
            Self::Abs => (1, 0.0, 0.0),
            Self::Sign => (2, 0.0, 0.0),
            Self::Exp => (3, 0.0, 0.0),
            Self::Log => (4, 0.0, 0.0),
            Self::Sqrt => (5, 0.0, 0.0),
            Self::Reciprocal => (6, 0.0, 0.0),
            Self::Square => (7, 0.0, 0.0),
            Self::Relu => (8, 0.0, 0.0),
            Self::Tanh => (9, 0.0, 0.0),
            Self::Sigmoid => (10, 0.0, 0.0),
            Self::Gelu => (11, 0.0, 0.0),
            Self::Silu => (12, 0.0, 0.0),
            Self::Softplus => (13, 0.0, 0.0),
            Self::Sin => (14, 0.0, 0.0),
            Self::Cos => (15, 0.0, 0.0),
            Self::Expm1 => (16, 0.0, 0.0),
            Self::Log1p => (17, 0.0, 0.0),
            Self::Erf => (18, 0.0, 0.0),
            Self::Affine(factor, summand) => (19, factor, summand),
            Self::Pow(exponent) => (20, exponent, 0.0),
            Self::Clamp(low, high) => (21, low, high),
            Self::LeakyRelu(slope) => (22, slope, 0.0),
        }
    }

    /// The function in the table.
    fn function(self) -> &'static Function {
        match self {
            Self::Neg => &functions::NEG,
            Self::Abs => &functions::ABS,
            Self::Sign => &functions::SIGN,
            Self::Exp => &functions::EXP,
            Self::Log => &functions::LOG,
            Self::Sqrt => &functions::SQRT,
            Self::Reciprocal => &functions::RECIPROCAL,
            Self::Square => &functions::SQUARE,
            Self::Relu => &functions::RELU,
            Self::Tanh => &functions::TANH,
            Self::Sigmoid => &functions::SIGMOID,
            Self::Gelu => &functions::GELU,
            Self::Silu => &functions::SILU,
            Self::Softplus => &functions::SOFTPLUS,
            Self::Sin => &functions::SIN,
            Self::Cos => &functions::COS,
            Self::Expm1 => &functions::EXPM1,
            Self::Log1p => &functions::LOG1P,
            Self::Erf => &functions::ERF,
            Self::Affine(..) => &functions::AFFINE,
            Self::Pow(_) => &functions::POWF,
            Self::Clamp(..) => &functions::CLAMP,
            Self::LeakyRelu(_) => &functions::LEAKY_RELU,
        }
    }

    /// The function itself, of one number.
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        let (_, a, b) = self.code();
        self.function().of(&[x], &[a, b])
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    length: u32,
    a: f32,
    b: f32,
}

/// y[i] = f(x[i]).
fn twin(call: Call<'_>) {
    let Some(application) = call.application() else { unreachable!("a launch of this kernel carries its function") };
    let [x, y] = call.bindings();
    let (x, y) = (x.read::<f32>(), y.write::<f32>());
    for_each_chunk(
        y,
        #[inline(always)]
        |start, y| (application.function.twin)(&[&x[start..start + y.len()]], application.numbers(), y),
    );
}

pub(super) static UNARY: Kernel = Kernel {
    shader: &thalweg_shaders::UNARY,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write],
    variants: &[
        &[("OP", 0.0)],
        &[("OP", 1.0)],
        &[("OP", 2.0)],
        &[("OP", 3.0)],
        &[("OP", 4.0)],
        &[("OP", 5.0)],
        &[("OP", 6.0)],
        &[("OP", 7.0)],
        &[("OP", 8.0)],
        &[("OP", 9.0)],
        &[("OP", 10.0)],
        &[("OP", 11.0)],
        &[("OP", 12.0)],
        &[("OP", 13.0)],
        &[("OP", 14.0)],
        &[("OP", 15.0)],
        &[("OP", 16.0)],
        &[("OP", 17.0)],
        &[("OP", 18.0)],
        &[("OP", 19.0)],
        &[("OP", 20.0)],
        &[("OP", 21.0)],
        &[("OP", 22.0)],
    ],
    twin,
};

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $name:ident($($argument:ident),*) $op:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Where the elements are not f32.
                pub fn $name(&self $(, $argument: f32)*) -> Result<Self> {
                    self.unary($op)
                }
            )*
        }
    };
}

unary_methods! {
    /// -x, element by element.
    neg() UnaryOp::Neg;
    /// |x|, element by element.
    abs() UnaryOp::Abs;
    /// -1, 0 or 1, element by element; NaN stays, as in NumPy (PyTorch: 0).
    sign() UnaryOp::Sign;
    /// e^x, element by element.
    exp() UnaryOp::Exp;
    /// The natural logarithm, element by element; -∞ at 0, NaN below.
    log() UnaryOp::Log;
    /// The square root, element by element.
    sqrt() UnaryOp::Sqrt;
    /// 1 / x, element by element.
    reciprocal() UnaryOp::Reciprocal;
    /// x², element by element.
    square() UnaryOp::Square;
    /// max(x, 0), element by element; NaN stays.
    relu() UnaryOp::Relu;
    /// The hyperbolic tangent, element by element.
    tanh() UnaryOp::Tanh;
    /// 1 / (1 + e^-x), element by element.
    sigmoid() UnaryOp::Sigmoid;
    /// x Φ(x), element by element: the Gaussian error linear unit in its exact form (Hendrycks, Gimpel 2016). At -∞ it
    /// is its limit, 0 (PyTorch: NaN).
    gelu() UnaryOp::Gelu;
    /// x / (1 + e^-x), element by element: the sigmoid linear unit, also called swish.
    silu() UnaryOp::Silu;
    /// ln(1 + e^x), element by element, without overflow.
    softplus() UnaryOp::Softplus;
    /// The sine, element by element.
    sin() UnaryOp::Sin;
    /// The cosine, element by element.
    cos() UnaryOp::Cos;
    /// e^x - 1, element by element, accurate near 0.
    expm1() UnaryOp::Expm1;
    /// ln(1 + x), element by element, accurate near 0.
    log1p() UnaryOp::Log1p;
    /// The error function, element by element.
    erf() UnaryOp::Erf;
    /// factor x + summand, element by element.
    affine(factor, summand) UnaryOp::Affine(factor, summand);
    /// x to a constant power, element by element, as C's `pow`: 0⁰ is 1, a negative base takes whole exponents only.
    powf(exponent) UnaryOp::Pow(exponent);
    /// x held between two bounds, element by element; NaN stays.
    clamp(low, high) UnaryOp::Clamp(low, high);
    /// x, or `slope` x where x is negative, element by element.
    leaky_relu(slope) UnaryOp::LeakyRelu(slope);
}

impl Tensor {
    /// An element-wise function of one argument, in one launch.
    ///
    /// # Shapes
    /// Any shape; the result has the same.
    ///
    /// # Errors
    /// Where the elements are not f32.
    pub fn unary(&self, op: UnaryOp) -> Result<Self> {
        expect_dtype("unary", self, DType::F32)?;
        let x = self.contiguous()?;
        let y = Self::uninitialized(self.device(), DType::F32, self.shape())?;
        let (code, a, b) = op.code();
        Launch::new(&UNARY, Params { length: x.len() as u32, a, b })
            .constant("OP", code)
            .bind(&x)
            .bind(&y)
            .workgroups(x.len().div_ceil(256))
            .applies(Application::new(op.function(), &[a, b][..op.function().numbers.len()]))
            .run(self.device())?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn special_values_follow_pytorch() {
        let x = Tensor::from_slice(&Device::cpu(), &[f32::NAN, -f32::INFINITY, -0.0], &[3]).unwrap();
        let relu = x.relu().unwrap().to_vec::<f32>().unwrap();
        assert!(relu[0].is_nan() && relu[1] == 0.0 && relu[2] == 0.0);
        let clamp = x.clamp(-1.0, 1.0).unwrap().to_vec::<f32>().unwrap();
        assert!(clamp[0].is_nan() && clamp[1] == -1.0);
        assert!(x.sign().unwrap().to_vec::<f32>().unwrap()[0].is_nan());
    }
}
