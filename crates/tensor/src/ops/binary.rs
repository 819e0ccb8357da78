//! Element-wise functions of two arguments, with broadcasting.

use crate::buffer::ALIGNMENT;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math;
use crate::parallel::for_each_chunk;
use crate::tensor::expect_dtype;
use crate::{DType, Error, Result, Tensor, shape};

/// An element-wise function of two arguments. Comparisons give 1 or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BinaryOp {
    /// x + y.
    Add,
    /// x - y.
    Sub,
    /// x y.
    Mul,
    /// x / y.
    Div,
    /// The larger one; NaN wins.
    Maximum,
    /// The smaller one; NaN wins.
    Minimum,
    /// x to the power y, as C's `pow`.
    Pow,
    /// 1 where x = y.
    Eq,
    /// 1 where x < y.
    Lt,
    /// 1 where x <= y.
    Le,
    /// 1 where x > y.
    Gt,
    /// 1 where x >= y.
    Ge,
    /// The cotangent y where x, the input or output of a ReLU, is positive.
    ReluGrad,
    /// The cotangent y times 1 - x², x the output of a tanh.
    TanhGrad,
    /// The cotangent y times x (1 - x), x the output of a sigmoid.
    SigmoidGrad,
    /// The cotangent y times the derivative of [`UnaryOp::Gelu`](crate::UnaryOp::Gelu) at x.
    GeluGrad,
    /// The cotangent y times the derivative of [`UnaryOp::Silu`](crate::UnaryOp::Silu) at x.
    SiluGrad,
}

impl BinaryOp {
    /// All of them, each at the index that is its number in `shaders/shared/binary_ops.wgsl`.
    const ALL: [Self; 17] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Maximum,
        Self::Minimum,
        Self::Pow,
        Self::Eq,
        Self::Lt,
        Self::Le,
        Self::Gt,
        Self::Ge,
        Self::ReluGrad,
        Self::TanhGrad,
        Self::SigmoidGrad,
        Self::GeluGrad,
        Self::SiluGrad,
    ];

    /// What errors and generated kernels call it: the function of [`Tensor`] where there is one.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
            Self::Maximum => "maximum",
            Self::Minimum => "minimum",
            Self::Pow => "pow",
            Self::Eq => "eq",
            Self::Lt => "lt",
            Self::Le => "le",
            Self::Gt => "gt",
            Self::Ge => "ge",
            Self::ReluGrad => "relu_grad",
            Self::TanhGrad => "tanh_grad",
            Self::SigmoidGrad => "sigmoid_grad",
            Self::GeluGrad => "gelu_grad",
            Self::SiluGrad => "silu_grad",
        }
    }

    /// The function itself, of two numbers.
    #[must_use]
    pub fn apply(self, x: f32, y: f32) -> f32 {
        let truth = |condition: bool| f32::from(u8::from(condition));
        match self {
            Self::Add => x + y,
            Self::Sub => x - y,
            Self::Mul => x * y,
            Self::Div => x / y,
            Self::Maximum => math::maximum(x, y),
            Self::Minimum => math::minimum(x, y),
            Self::Pow => x.powf(y),
            Self::Eq => truth(x == y),
            Self::Lt => truth(x < y),
            Self::Le => truth(x <= y),
            Self::Gt => truth(x > y),
            Self::Ge => truth(x >= y),
            Self::ReluGrad => relu_grad(x, y),
            Self::TanhGrad => y * (1.0 - x * x),
            Self::SigmoidGrad => y * (x * (1.0 - x)),
            Self::GeluGrad => y * (math::normal_cdf(x) + x * math::normal_density(x)),
            Self::SiluGrad => {
                let s = math::sigmoid(x);
                y * (s * (1.0 + x * (1.0 - s)))
            }
        }
    }

    /// z[i] = f(x[i], y[i]).
    #[inline(always)]
    pub(crate) fn apply_each(self, x: &[f32], y: &[f32], z: &mut [f32]) {
        match self {
            // The cheap ones get loops of their own, which vectorise.
            Self::Add => map(x, y, z, |x, y| x + y),
            Self::Sub => map(x, y, z, |x, y| x - y),
            Self::Mul => map(x, y, z, |x, y| x * y),
            Self::Div => map(x, y, z, |x, y| x / y),
            Self::ReluGrad => map(x, y, z, relu_grad),
            _ => map(x, y, z, |x, y| self.apply(x, y)),
        }
    }
}

/// Where the elements of an operand of a broadcasting launch stand, counted from the start of its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Element i at offset + i.
    Plain { offset: u32 },
    /// All at one place.
    Single { offset: u32 },
    /// Element i at offset + stride ((i / divisor) mod modulus): a row, a column, or a plain one that is not aligned.
    Repeated { offset: u32, divisor: u32, modulus: u32, stride: u32 },
}

impl Place {
    fn new(shape: &[u32], strides: &[u32], offset: u32) -> Option<Self> {
        let stretched = |d: &usize| strides[*d] == 0 || shape[*d] == 1;
        let kept: Vec<usize> = (0..shape.len()).filter(|d| !stretched(d)).collect();
        let (Some(&first), Some(&last)) = (kept.first(), kept.last()) else { return Some(Self::Single { offset }) };
        // Dimensions that are kept must be neighbours without gaps, so that one quotient and one remainder find the place.
        let dense = (first..last).all(|d| strides[d] == strides[d + 1] * shape[d + 1]);
        let divisor = shape[last + 1..].iter().product();
        let modulus = shape[first..=last].iter().product();
        let stride = strides[last];
        let plain = divisor == 1 && stride == 1 && modulus == shape.iter().product::<u32>();
        match (dense, plain && offset.is_multiple_of(ALIGNMENT as u32)) {
            (false, _) => None,
            (true, true) => Some(Self::Plain { offset }),
            (true, false) => Some(Self::Repeated { offset, divisor, modulus, stride }),
        }
    }
}

/// The function that a launch applies and the places of its operands, where it is one of these kernels, and the places
/// are simple.
pub(crate) fn function_of(launch: &Launch) -> Option<(BinaryOp, [Place; 2])> {
    let op = || Some(BinaryOp::ALL[launch.constants.iter().find(|(name, _)| *name == "OP")?.1 as usize]);
    if std::ptr::eq(launch.kernel, &BINARY) {
        return Some((op()?, [0, 1].map(|i| Place::Plain { offset: launch.views[i].offset as u32 })));
    }
    if !std::ptr::eq(launch.kernel, &BINARY_BROADCAST) {
        return None;
    }
    let params: BroadcastParams = bytemuck::pod_read_unaligned(&launch.params);
    let rank = params.rank as usize;
    let place = |strides: &[[u32; 4]; 2], offset| {
        Place::new(&params.shape.as_flattened()[..rank], &strides.as_flattened()[..rank], offset)
    };
    Some((op()?, [place(&params.x_strides, params.x_offset)?, place(&params.y_strides, params.y_offset)?]))
}

/// The cotangent where the activation is positive. NaN lets it through, as in PyTorch.
pub(crate) fn relu_grad(activation: f32, cotangent: f32) -> f32 {
    if activation <= 0.0 { 0.0 } else { cotangent }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    length: u32,
}

/// z[i] = f(x[i], y[i]).
fn twin(call: Call<'_>) {
    let op = BinaryOp::ALL[call.constant("OP") as usize];
    let [x, y, z] = call.bindings();
    let (x, y, z) = (x.read::<f32>(), y.read::<f32>(), z.write::<f32>());
    for_each_chunk(
        z,
        #[inline(always)]
        |start, z| op.apply_each(&x[start..start + z.len()], &y[start..start + z.len()], z),
    );
}

#[inline(always)]
fn map(x: &[f32], y: &[f32], z: &mut [f32], f: impl Fn(f32, f32) -> f32) {
    for ((z, &x), &y) in z.iter_mut().zip(x).zip(y) {
        *z = f(x, y);
    }
}

const VARIANTS: &[&[(&str, f64)]] = &[
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
];

pub(super) static BINARY: Kernel = Kernel {
    shader: &thalweg_shaders::BINARY,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: VARIANTS,
    twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct BroadcastParams {
    shape: [[u32; 4]; 2],
    x_strides: [[u32; 4]; 2],
    y_strides: [[u32; 4]; 2],
    length: u32,
    rank: u32,
    x_offset: u32,
    y_offset: u32,
}

/// z[i] = f(x[…], y[…]), the places by coordinates and strides.
fn broadcast_twin(call: Call<'_>) {
    let params: BroadcastParams = call.params();
    let op = BinaryOp::ALL[call.constant("OP") as usize];
    let [x, y, z] = call.bindings();
    let (x, y, z) = (x.read::<f32>(), y.read::<f32>(), z.write::<f32>());
    for_each_chunk(
        z,
        #[inline(always)]
        |start, z| {
            for (i, z) in (start..).zip(z) {
                let (mut x_index, mut y_index, mut rest) = (params.x_offset, params.y_offset, i as u32);
                for d in (0..params.rank as usize).rev() {
                    let extent = params.shape[d / 4][d % 4];
                    let coordinate = rest % extent;
                    rest /= extent;
                    x_index += coordinate * params.x_strides[d / 4][d % 4];
                    y_index += coordinate * params.y_strides[d / 4][d % 4];
                }
                *z = op.apply(x[x_index as usize], y[y_index as usize]);
            }
        },
    );
}

pub(super) static BINARY_BROADCAST: Kernel = Kernel {
    shader: &thalweg_shaders::BINARY_BROADCAST,
    uniform: size_of::<BroadcastParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: VARIANTS,
    twin: broadcast_twin,
};

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident $op:expr;)*) => {
        impl Tensor {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// Where the shapes do not broadcast, the elements are not f32, or the devices differ.
                pub fn $name(&self, other: &Self) -> Result<Self> {
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
    /// The larger one, element by element; NaN wins.
    maximum BinaryOp::Maximum;
    /// The smaller one, element by element; NaN wins.
    minimum BinaryOp::Minimum;
    /// x to the power y, element by element, as C's `pow`.
    pow BinaryOp::Pow;
    /// 1 where x = y, else 0, element by element.
    eq BinaryOp::Eq;
    /// 1 where x < y, else 0, element by element.
    lt BinaryOp::Lt;
    /// 1 where x <= y, else 0, element by element.
    le BinaryOp::Le;
    /// 1 where x > y, else 0, element by element.
    gt BinaryOp::Gt;
    /// 1 where x >= y, else 0, element by element.
    ge BinaryOp::Ge;
}

impl Tensor {
    /// An element-wise function of two arguments, in one launch.
    ///
    /// # Shapes
    /// Broadcast by NumPy's rule: aligned at the last dimension, an extent of 1 stretches.
    ///
    /// # Errors
    /// Where the shapes do not broadcast, the elements are not f32, or the devices differ.
    pub fn binary(&self, op: BinaryOp, other: &Self) -> Result<Self> {
        let name = op.name();
        expect_dtype(name, self, DType::F32)?;
        expect_dtype(name, other, DType::F32)?;
        self.same_device(name, other)?;
        let shape = shape::broadcast(name, self.shape(), other.shape())?;
        let z = Self::uninitialized(self.device(), DType::F32, &shape)?;
        let length = z.len() as u32;
        let plain = |t: &Self| t.shape() == shape && t.is_bindable();
        if plain(self) && plain(other) {
            Launch::new(&BINARY, Params { length })
                .constant("OP", op as u32)
                .bind(self)
                .bind(other)
                .bind(&z)
                .workgroups(z.len().div_ceil(256))
                .run(self.device())?;
            return Ok(z);
        }
        let strides = |t: &Self| shape::broadcast_strides(t.shape(), t.strides(), &shape);
        let (Some(x_strides), Some(y_strides)) = (strides(self), strides(other)) else {
            return Err(Error::Shape {
                op: name,
                rule: "the shapes do not broadcast",
                left: self.shape().to_vec(),
                right: other.shape().to_vec(),
            });
        };
        let (extents, [x_strides, y_strides]) = shape::collapse(&shape, [&x_strides, &y_strides]);
        let params = BroadcastParams {
            shape: shape::pack(&extents),
            x_strides: shape::pack(&x_strides),
            y_strides: shape::pack(&y_strides),
            length,
            rank: extents.len() as u32,
            x_offset: self.offset() as u32,
            y_offset: other.offset() as u32,
        };
        Launch::new(&BINARY_BROADCAST, params)
            .constant("OP", op as u32)
            .bind_whole(self)
            .bind_whole(other)
            .bind(&z)
            .workgroups(z.len().div_ceil(64))
            .run(self.device())?;
        Ok(z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn numbers_are_places_in_the_table() {
        for (i, op) in BinaryOp::ALL.into_iter().enumerate() {
            assert_eq!(op as usize, i);
        }
    }

    #[test]
    fn rows_and_columns_broadcast() {
        let device = Device::cpu();
        let row = Tensor::from_slice(&device, &[1.0f32, 2.0, 3.0], &[3]).unwrap();
        let column = Tensor::from_slice(&device, &[10.0f32, 20.0], &[2, 1]).unwrap();
        let sum = column.add(&row).unwrap();
        assert_eq!(sum.shape(), [2, 3]);
        assert_eq!(sum.to_vec::<f32>().unwrap(), [11.0, 12.0, 13.0, 21.0, 22.0, 23.0]);
    }

    #[test]
    fn errors_name_the_operation_that_was_called() {
        let numbers = |count| Tensor::full(&Device::cpu(), 1.0f32, &[count]).unwrap();
        let error = numbers(3).sub(&numbers(2)).unwrap_err();
        assert_eq!(error.to_string(), "sub: the shapes do not broadcast, [3] × [2]");
    }

    #[test]
    fn nan_wins_on_either_side() {
        for (x, y) in [(f32::NAN, 1.0), (1.0, f32::NAN)] {
            assert!(BinaryOp::Maximum.apply(x, y).is_nan() && BinaryOp::Minimum.apply(x, y).is_nan());
        }
    }
}
