//! Indices as rows with a one.

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::threads::for_each_row;
use crate::{DType, Result, Tensor, shape};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    classes: u32,
    length: u32,
}

/// y[i, indices[i]] = 1, and 0 elsewhere.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [indices, y] = call.bindings();
    let indices = indices.read::<u32>();
    for_each_row(
        y.write::<f32>(),
        params.classes as usize,
        #[inline(always)]
        |row, y| {
            y.fill(0.0);
            y.get_mut(indices[row] as usize).into_iter().for_each(|y| *y = 1.0);
        },
    );
}

pub(super) static ONE_HOT: Kernel = Kernel {
    shader: &thalweg_shaders::ONE_HOT,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write],
    variants: &[&[]],
    twin,
};

impl Tensor {
    /// Returns a row of f32 for each index of u32, with a one at its place and zeros elsewhere. PyTorch's result has
    /// whole numbers.
    ///
    /// An index that is no class gives a row of zeros, where PyTorch fails: the device does not look at the indices
    /// before.
    ///
    /// # Shapes
    /// `[…]` → `[…, classes]`.
    ///
    /// # Errors
    /// If the elements are not u32, or the result is too large.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let labels = Tensor::from_slice(&Device::cpu(), &[2u32, 0], &[2])?;
    /// assert_eq!(labels.one_hot(3)?.to_vec::<f32>()?, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn one_hot(&self, classes: usize) -> Result<Self> {
        crate::tensor::expect_dtype("one_hot", self, DType::U32)?;
        let mut shape = self.shape().to_vec();
        shape.push(classes);
        shape::element_count("one_hot", &shape)?;
        let y = Self::uninitialized(self.device(), DType::F32, &shape)?;
        if y.is_empty() {
            return Ok(y);
        }
        Launch::new(&ONE_HOT, Params { classes: classes as u32, length: y.len() as u32 })
            .bind(&self.contiguous()?)
            .bind(&y)
            .workgroups(y.len().div_ceil(64))
            .run(self.device())?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, Error};

    #[test]
    fn indices_that_are_no_class_give_zeros() {
        let x = Tensor::from_slice(&Device::cpu(), &[1u32, 2, u32::MAX, 0], &[2, 2]).unwrap();
        let y = x.t().unwrap().one_hot(2).unwrap();
        assert_eq!((y.shape(), y.to_vec::<f32>().unwrap()), (&[2, 2, 2][..], vec![0., 1., 0., 0., 0., 0., 1., 0.]));
        assert_eq!(x.one_hot(0).unwrap().shape(), [2, 2, 0]);
        assert!(matches!(y.one_hot(2), Err(Error::DType { op: "one_hot", .. })));
        assert!(x.one_hot(usize::MAX).is_err());
    }
}
