//! Element-wise functions of two arguments, with broadcasting.

use crate::elementwise::{Addressing, Application, Function};
use crate::functions;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::memory::ALIGNMENT;
use crate::tensor::expect_dtype;
use crate::threads::for_each_chunk;
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
    /// The function in the table.
    fn function(self) -> &'static Function {
        match self {
            Self::Add => &functions::ADD,
            Self::Sub => &functions::SUB,
            Self::Mul => &functions::MUL,
            Self::Div => &functions::DIV,
            Self::Maximum => &functions::MAXIMUM,
            Self::Minimum => &functions::MINIMUM,
            Self::Pow => &functions::POW,
            Self::Eq => &functions::EQ,
            Self::Lt => &functions::LT,
            Self::Le => &functions::LE,
            Self::Gt => &functions::GT,
            Self::Ge => &functions::GE,
            Self::ReluGrad => &functions::RELU_GRAD,
            Self::TanhGrad => &functions::TANH_GRAD,
            Self::SigmoidGrad => &functions::SIGMOID_GRAD,
            Self::GeluGrad => &functions::GELU_GRAD,
            Self::SiluGrad => &functions::SILU_GRAD,
        }
    }

    /// The function itself, of two numbers.
    #[must_use]
    pub fn apply(self, x: f32, y: f32) -> f32 {
        self.function().of(&[x, y], &[])
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    length: u32,
}

/// z[i] = f(x[i], y[i]).
fn twin(call: Call<'_>) {
    let Some(application) = call.application() else { unreachable!("a launch of this kernel carries its function") };
    let [x, y, z] = call.bindings();
    let (x, y, z) = (x.read::<f32>(), y.read::<f32>(), z.write::<f32>());
    for_each_chunk(
        z,
        #[inline(always)]
        |start, z| {
            let end = start + z.len();
            (application.function.twin)(&[&x[start..end], &y[start..end]], application.numbers(), z);
        },
    );
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

/// Elements that the twin gathers before it applies the function to them.
const BLOCK: usize = 256;

/// z[i] = f(x[…], y[…]), the places by coordinates and strides.
fn broadcast_twin(call: Call<'_>) {
    let params: BroadcastParams = call.params();
    let Some(application) = call.application() else { unreachable!("a launch of this kernel carries its function") };
    let [x, y, z] = call.bindings();
    let (x, y, z) = (x.read::<f32>(), y.read::<f32>(), z.write::<f32>());
    for_each_chunk(
        z,
        #[inline(always)]
        |start, z| {
            let (mut left, mut right) = ([0.0; BLOCK], [0.0; BLOCK]);
            for (block, z) in z.chunks_mut(BLOCK).enumerate() {
                let count = z.len();
                for (i, (left, right)) in left.iter_mut().zip(&mut right).take(count).enumerate() {
                    let (mut x_index, mut y_index) = (params.x_offset, params.y_offset);
                    let mut rest = (start + block * BLOCK + i) as u32;
                    for d in (0..params.rank as usize).rev() {
                        let extent = params.shape[d / 4][d % 4];
                        let coordinate = rest % extent;
                        rest /= extent;
                        x_index += coordinate * params.x_strides[d / 4][d % 4];
                        y_index += coordinate * params.y_strides[d / 4][d % 4];
                    }
                    (*left, *right) = (x[x_index as usize], y[y_index as usize]);
                }
                (application.function.twin)(&[&left[..count], &right[..count]], application.numbers(), z);
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
        let name = op.function().name;
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
                .applies(Application::new(op.function(), &[]))
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
        let packed = |list: &[usize]| list.iter().map(|&number| number as u32).collect::<Vec<u32>>();
        let (extents, x_strides, y_strides) = (packed(&extents), packed(&x_strides), packed(&y_strides));
        let places = [
            Addressing::new(&extents, &x_strides, params.x_offset, ALIGNMENT as u32),
            Addressing::new(&extents, &y_strides, params.y_offset, ALIGNMENT as u32),
        ];
        Launch::new(&BINARY_BROADCAST, params)
            .constant("OP", op as u32)
            .bind_whole(self)
            .bind_whole(other)
            .bind(&z)
            .workgroups(z.len().div_ceil(64))
            .applies(Application::at(op.function(), &[], &places))
            .run(self.device())?;
        Ok(z)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

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
