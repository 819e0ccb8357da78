//! The fully connected layer in fused kernels: forward with bias and a ReLU epilogue, and the two backward products.

use super::generated::form::Epilogue;
use super::product::Product;
use crate::kernel::{Access, Call, Kernel};
use crate::math::{relu, relu_grad};
use crate::tensor::{expect_dtype, expect_target};
use crate::{DType, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    product: Product,
    relu: u32,
}

/// y = x Wᵀ + bias, with an optional ReLU.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, weight, bias, y] = call.bindings();
    let (bias, y) = (bias.read::<f32>(), y.write::<f32>());
    let with_relu = params.relu != 0;
    params.product.compute(
        x.read(),
        weight.read(),
        y,
        false,
        #[inline(always)]
        |_, column, y| {
            for (y, &bias) in y.iter_mut().zip(&bias[column..]) {
                let value = *y + bias;
                *y = if with_relu { relu(value) } else { value };
            }
        },
    );
}

pub(crate) static LINEAR: Kernel = Kernel {
    shader: &thalweg_shaders::LINEAR,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct InputGradParams {
    product: Product,
}

/// dx = dy W where the activation is positive, else 0.
fn input_grad_twin(call: Call<'_>) {
    let params: InputGradParams = call.params();
    let [dy, weight, activation, dx] = call.bindings();
    let (activation, dx) = (activation.read::<f32>(), dx.write::<f32>());
    let columns = params.product.n as usize;
    params.product.compute(
        dy.read(),
        weight.read(),
        dx,
        false,
        #[inline(always)]
        |row, column, dx| {
            for (dx, &activation) in dx.iter_mut().zip(&activation[row * columns + column..]) {
                *dx = relu_grad(activation, *dx);
            }
        },
    );
}

pub(crate) static LINEAR_INPUT_GRAD: Kernel = Kernel {
    shader: &thalweg_shaders::LINEAR_INPUT_GRAD,
    uniform: size_of::<InputGradParams>(),
    access: &[Access::Read, Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: input_grad_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct WeightGradParams {
    product: Product,
    accumulate: u32,
}

/// dW = dyᵀ x and dbias = the column sums of dy, or both added to the existing values.
fn weight_grad_twin(call: Call<'_>) {
    let params: WeightGradParams = call.params();
    let accumulate = params.accumulate != 0;
    let [dy, x, weight_grad, bias_grad] = call.bindings();
    let (dy, bias_grad) = (dy.read::<f32>(), bias_grad.write::<f32>());
    params.product.compute(dy, x.read(), weight_grad.write(), accumulate, |_, _, _| ());
    params.product.row_sums_of_a(dy, bias_grad, accumulate);
}

pub(crate) static LINEAR_WEIGHT_GRAD: Kernel = Kernel {
    shader: &thalweg_shaders::LINEAR_WEIGHT_GRAD,
    uniform: size_of::<WeightGradParams>(),
    access: &[Access::Read, Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin: weight_grad_twin,
};

impl Tensor {
    /// Returns a fully connected layer, y = x Wᵀ + bias, with an optional ReLU epilogue: one launch, or two if a
    /// device splits the sum.
    ///
    /// # Shapes
    /// x `[…, in]`, weight `[out, in]`, bias `[out]` → `[…, out]`.
    ///
    /// # Numerics
    /// Accumulates in f32. The ReLU propagates NaN.
    ///
    /// # Errors
    /// If the shapes do not match, the elements are not f32, or the devices differ.
    pub fn linear(&self, weight: &Self, bias: &Self, relu: bool) -> Result<Self> {
        if self.dtype().is_half() && [weight, bias].iter().all(|operand| operand.dtype() == self.dtype()) {
            return self.in_f32()?.linear(&weight.in_f32()?, &bias.in_f32()?, relu)?.to_dtype(self.dtype());
        }
        if let Some((&columns, outer)) = self.shape().split_last().filter(|(_, outer)| outer.len() != 1) {
            let y = self.reshape(&[outer.iter().product(), columns])?.linear(weight, bias, relu)?;
            return y.reshape(&[outer, &y.shape()[1..]].concat());
        }
        let product = Product::new("linear", self, &weight.t()?)?;
        expect_dtype("linear", bias, DType::F32)?;
        self.same_device("linear", bias)?;
        if bias.shape() != [product.n as usize] {
            return Err(Error::Shape {
                op: "linear",
                rule: "weight and bias do not fit",
                left: weight.shape().to_vec(),
                right: bias.shape().to_vec(),
            });
        }
        let y = Self::uninitialized(self.device(), DType::F32, &[product.m as usize, product.n as usize])?;
        let params = Params { product, relu: relu.into() };
        let plan = product.plan(self.device(), Epilogue::Linear { relu });
        plan.run(params, self, weight, &[&bias.contiguous()?, &y])?;
        Ok(y)
    }

    /// Returns the gradient of a layer's input, through the ReLU that produced this input: dy W where `activation` is
    /// positive, else 0. `self` is dy.
    ///
    /// # Shapes
    /// dy `[n, out]`, weight `[out, in]`, activation `[n, in]` → `[n, in]`.
    ///
    /// # Errors
    /// If the shapes do not match, the elements are not f32, or the devices differ.
    pub fn linear_input_grad(&self, weight: &Self, activation: &Self) -> Result<Self> {
        if self.dtype().is_half() && [weight, activation].iter().all(|operand| operand.dtype() == self.dtype()) {
            return self.in_f32()?.linear_input_grad(&weight.in_f32()?, &activation.in_f32()?)?.to_dtype(self.dtype());
        }
        let product = Product::new("linear_input_grad", self, weight)?;
        let activation = activation.contiguous()?;
        let shape = [product.m as usize, product.n as usize];
        expect_target("linear_input_grad", &activation, &shape)?;
        self.same_device("linear_input_grad", &activation)?;
        let dx = Self::uninitialized(self.device(), DType::F32, &shape)?;
        let plan = product.plan(self.device(), Epilogue::InputGrad);
        plan.run(InputGradParams { product }, self, weight, &[&activation, &dx])?;
        Ok(dx)
    }

    /// Writes the gradients of a layer's weight and bias, dyᵀ x and the column sums of dy, over the targets or adds
    /// them: one launch, or two if a device splits the sum. `self` is dy.
    ///
    /// # Shapes
    /// dy `[n, out]`, x `[n, in]` → `weight_grad [out, in]`, `bias_grad [out]`.
    ///
    /// # Errors
    /// If the shapes do not match, the elements are not f32, the devices differ, or the targets share a buffer with
    /// each other or with an operand.
    pub fn linear_weight_grad_into(
        &self,
        x: &Self,
        weight_grad: &Self,
        bias_grad: &Self,
        accumulate: bool,
    ) -> Result<()> {
        let op = "linear_weight_grad";
        if self.dtype().is_half() && x.dtype() == self.dtype() {
            return self.in_f32()?.linear_weight_grad_into(&x.in_f32()?, weight_grad, bias_grad, accumulate);
        }
        let product = Product::new(op, &self.t()?, x)?;
        expect_target(op, weight_grad, &[product.m as usize, product.n as usize])?;
        expect_target(op, bias_grad, &[product.m as usize])?;
        self.same_device(op, weight_grad)?;
        self.same_device(op, bias_grad)?;
        // Without a column of tiles no lane would write the bias.
        if product.n == 0 {
            let sum = self.sum_along(0, true)?.reshape(bias_grad.shape())?;
            return if accumulate { bias_grad.add(&sum)?.copy_into(bias_grad) } else { sum.copy_into(bias_grad) };
        }
        let params = WeightGradParams { product, accumulate: accumulate.into() };
        let plan = product.plan(self.device(), Epilogue::WeightGrad { accumulate });
        plan.run(params, self, x, &[weight_grad, bias_grad])
    }
}
