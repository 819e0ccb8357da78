//! The matrix product.

use super::batch::{batched, expect_axes};
use super::generated::form::Epilogue;
use super::product::Product;
use crate::kernel::{Access, Call, Kernel};
use crate::tensor::{expect_dtype, expect_target};
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
    /// Returns the matrix product, or that of each pair of matrices in a batch: PyTorch's `matmul`. Transposed and stretched
    /// views are valid operands: `a.t()?.matmul(&b)` copies nothing.
    ///
    /// # Shapes
    /// * `[m, k]` × `[k, n]` → `[m, n]`
    /// * `[…, m, k]` × `[…, k, n]` → `[…, m, n]`, where the axes before the last two broadcast by NumPy's rule
    /// * `[k]` × `[…, k, n]` → `[…, n]` and `[…, m, k]` × `[k]` → `[…, m]`
    /// * `[k]` × `[k]` → `[]`
    ///
    /// # Numerics
    /// Accumulates in f32. Elements of f16 or bf16 are converted, and the results rounded. A GPU adds in the order of k; on hardware, if the result is small and k long, in slices of
    /// k that are added in order.
    ///
    /// # Errors
    /// If the inner dimensions differ, the batches do not broadcast, an operand has no dimension, the elements are not
    /// floating-point numbers of one type, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let a = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
    /// assert_eq!(a.t()?.matmul(&a)?.to_vec::<f32>()?, [10.0, 14.0, 14.0, 20.0]);
    /// let batch = a.broadcast_to(&[3, 2, 2])?;
    /// assert_eq!(batch.matmul(&a)?.shape(), [3, 2, 2]);
    /// assert_eq!(a.matmul(&a.slice(0, 0, 1)?.squeeze(0)?)?.to_vec::<f32>()?, [5.0, 11.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn matmul(&self, other: &Self) -> Result<Self> {
        const OP: &str = "matmul";
        if self.dtype().is_half() && self.dtype() == other.dtype() {
            return self.in_f32()?.matmul(&other.in_f32()?)?.to_dtype(self.dtype());
        }
        for operand in [self, other] {
            expect_dtype(OP, operand, DType::F32)?;
            expect_axes(OP, operand)?;
        }
        if self.rank() == 1 {
            return self.unsqueeze(0)?.matmul(other)?.squeeze(if other.rank() == 1 { -1 } else { -2 });
        }
        if other.rank() == 1 {
            return self.matmul(&other.unsqueeze(1)?)?.squeeze(-1);
        }
        if other.rank() > 2 {
            return batched(self, other);
        }
        // The rows of all matrices are those of one.
        let columns = self.shape()[self.rank() - 1];
        let rows = self.shape()[..self.rank() - 1].iter().product();
        let folded = if self.rank() > 2 { self.reshape(&[rows, columns])? } else { self.clone() };
        let product = Product::new(OP, &folded, other)?;
        let n = product.n as usize;
        let c = Self::uninitialized(self.device(), DType::F32, &[product.m as usize, n])?;
        launch(product, &folded, other, &c, false)?;
        if self.rank() == 2 { Ok(c) } else { c.reshape(&[&self.shape()[..self.rank() - 1], &[n]].concat()) }
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
    fn batches_broadcast_and_vectors_are_matrices() {
        let device = Device::cpu();
        let numbers = |seed, shape: &[usize]| Tensor::uniform(&device, seed, 0, -1.0, 1.0, shape).unwrap();
        let hold = |a: &Tensor, b: &Tensor| {
            let c = a.matmul(b).unwrap();
            let (rank, (m, n)) = (c.rank(), (a.shape()[a.rank() - 2], b.shape()[b.rank() - 1]));
            let batch: Vec<usize> = c.shape()[..rank - 2].to_vec();
            let whole = |x: &Tensor| {
                let shape = [&batch[..], &x.shape()[x.rank() - 2..]].concat();
                let rows = [batch.iter().product(), shape[rank - 2], shape[rank - 1]];
                x.broadcast_to(&shape).unwrap().reshape(&rows).unwrap()
            };
            let (a, b, c) = (whole(a), whole(b), c.reshape(&[batch.iter().product(), m, n]).unwrap());
            for i in 0..c.shape()[0] {
                let matrix = |x: &Tensor| x.slice(0, i, i + 1).unwrap().squeeze(0).unwrap();
                let expected = matrix(&a).matmul(&matrix(&b)).unwrap().to_vec::<f32>().unwrap();
                for (got, expected) in matrix(&c).to_vec::<f32>().unwrap().iter().zip(&expected) {
                    approx::assert_relative_eq!(got, expected, epsilon = 1e-6, max_relative = 1e-6);
                }
            }
        };
        hold(&numbers(1, &[3, 4, 5]), &numbers(2, &[3, 5, 6]));
        hold(&numbers(1, &[3, 4, 5]), &numbers(2, &[5, 6]));
        hold(&numbers(1, &[4, 5]), &numbers(2, &[2, 3, 5, 6]));
        hold(&numbers(1, &[2, 1, 4, 5]), &numbers(2, &[3, 5, 6]));
        hold(&numbers(1, &[40, 2, 9]), &numbers(2, &[40, 9, 1]));
        hold(&numbers(1, &[3, 5, 4]).transpose(1, 2).unwrap(), &numbers(2, &[6, 3, 5]).permute(&[1, 2, 0]).unwrap());
        let irregular = numbers(1, &[2, 1, 2, 1, 2, 3, 4]).matmul(&numbers(2, &[1, 2, 1, 2, 1, 4, 5])).unwrap();
        assert_eq!(irregular.shape(), [2, 2, 2, 2, 2, 3, 5]);
        hold(&numbers(1, &[2, 1, 2, 1, 2, 3, 4]), &numbers(2, &[1, 2, 1, 2, 1, 4, 5]));
        let (a, x) = (numbers(1, &[2, 4, 5]), numbers(2, &[5]));
        assert_eq!(a.matmul(&x).unwrap().shape(), [2, 4]);
        assert_eq!(x.matmul(&a.transpose(1, 2).unwrap()).unwrap().shape(), [2, 4]);
        assert_eq!(x.matmul(&x).unwrap().shape(), [0usize; 0]);
        let empty = Tensor::zeros(&device, DType::F32, &[3, 0, 5]).unwrap();
        assert_eq!(empty.matmul(&numbers(1, &[3, 5, 2])).unwrap().shape(), [3, 0, 2]);
        let flat = empty.transpose(1, 2).unwrap().matmul(&empty).unwrap();
        assert_eq!(flat.to_vec::<f32>().unwrap(), vec![0.0; 75]);
        let error = a.matmul(&numbers(2, &[3, 5, 2])).unwrap_err().to_string();
        assert!(error.contains("do not broadcast"), "{error}");
        assert!(a.matmul(&numbers(2, &[2, 4, 5])).is_err() && a.matmul(&numbers(2, &[])).is_err());
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
