//! The matrix product.

use super::generated::form::Epilogue;
use super::product::Product;
use crate::kernel::{Access, Call, Kernel};
use crate::tensor::expect_target;
use crate::{DType, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    product: Product,
    accumulate: u32,
}

/// c = a b, or c += a b.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [a, b, c] = call.bindings();
    params.product.compute(a.read(), b.read(), c.write(), params.accumulate != 0, |_, _, _| ());
}

pub(crate) static MATMUL: Kernel = Kernel {
    shader: &thalweg_shaders::MATMUL,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin,
};

impl Tensor {
    /// Returns the matrix product. Transposed views are valid operands: `a.t()?.matmul(&b)` copies nothing.
    ///
    /// # Shapes
    /// `[m, k]` × `[k, n]` → `[m, n]`.
    ///
    /// # Numerics
    /// Accumulates in f32. A GPU adds in the order of k; on hardware, if the result is small and k long, in slices of
    /// k that are added in order.
    ///
    /// # Errors
    /// If the inner dimensions differ, an operand is not a matrix of f32, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let a = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(a.t()?.matmul(&a)?.to_vec::<f32>()?, [10.0, 14.0, 14.0, 20.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn matmul(&self, other: &Self) -> Result<Self> {
        let product = Product::new("matmul", self, other)?;
        let c = Self::uninitialized(self.device(), DType::F32, &[product.m as usize, product.n as usize])?;
        launch(product, self, other, &c, false)?;
        Ok(c)
    }

    /// Writes the matrix product over `target`, or adds it.
    ///
    /// # Shapes
    /// `[m, k]` × `[k, n]` → `target [m, n]`.
    ///
    /// # Errors
    /// See [`matmul`](Self::matmul); also if `target` has another shape, gaps, or shares a buffer with an operand.
    pub fn matmul_into(&self, other: &Self, target: &Self, accumulate: bool) -> Result<()> {
        let product = Product::new("matmul", self, other)?;
        expect_target("matmul", target, &[product.m as usize, product.n as usize])?;
        self.same_device("matmul", target)?;
        launch(product, self, other, target, accumulate)
    }

    /// Returns the transposed view of a matrix.
    ///
    /// # Errors
    /// If the tensor is not a matrix.
    pub fn t(&self) -> Result<Self> {
        if self.rank() != 2 {
            return Err(crate::Error::Rank { op: "t", expected: "a matrix", shape: self.shape().to_vec() });
        }
        self.transpose(0, 1)
    }
}

fn launch(product: Product, a: &Tensor, b: &Tensor, c: &Tensor, accumulate: bool) -> Result<()> {
    let params = Params { product, accumulate: accumulate.into() };
    product.plan(c.device(), Epilogue::Matmul { accumulate }).run(params, a, b, &[c])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn all_transpositions_and_views_agree_with_the_sum() {
        let device = Device::cpu();
        let a = Tensor::uniform(&device, 1, 0, -1.0, 1.0, &[5, 7]).unwrap();
        let b = Tensor::uniform(&device, 2, 0, -1.0, 1.0, &[7, 3]).unwrap();
        let (x, y) = (a.to_vec::<f32>().unwrap(), b.to_vec::<f32>().unwrap());
        let stored_transposed = |t: &Tensor| t.t().unwrap().copy().unwrap().t().unwrap();
        let (at, bt) = (stored_transposed(&a), stored_transposed(&b));
        for (a, b) in [(&a, &b), (&at, &b), (&a, &bt), (&at, &bt)] {
            let c = a.matmul(b).unwrap().to_vec::<f32>().unwrap();
            for i in 0..5 {
                for j in 0..3 {
                    let sum: f32 = (0..7).map(|k| x[i * 7 + k] * y[k * 3 + j]).sum();
                    approx::assert_relative_eq!(c[i * 3 + j], sum, epsilon = 1e-6);
                }
            }
        }
    }

    #[test]
    fn products_accumulate_and_mismatches_say_the_shapes() {
        let device = Device::cpu();
        let a = Tensor::full(&device, 2.0f32, &[2, 2]).unwrap();
        let target = Tensor::full(&device, 1.0f32, &[2, 2]).unwrap();
        a.matmul_into(&a, &target, true).unwrap();
        assert_eq!(target.to_vec::<f32>().unwrap(), [9.0; 4]);
        let b = Tensor::zeros(&device, DType::F32, &[12, 4]).unwrap();
        assert_eq!(a.matmul(&b).unwrap_err().to_string(), "matmul: inner dimensions differ, [2, 2] × [12, 4]");
        let empty = Tensor::zeros(&device, DType::F32, &[2, 0]).unwrap();
        assert_eq!(empty.matmul(&empty.t().unwrap()).unwrap().to_vec::<f32>().unwrap(), [0.0; 4]);
    }
}
