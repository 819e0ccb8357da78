//! The index of the largest element.

use super::short_rows::{SHORT_VARIANTS, over_rows};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_dtype;
use crate::threads::{CHUNK, for_each_chunk_of};
use crate::{DType, Error, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    row_length: u32,
}

/// y[i] = the first j with the largest x[i, j]; NaN counts as the largest.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, y] = call.bindings();
    let (x, y) = (x.read::<f32>(), y.write::<u32>());
    let row_length = params.row_length as usize;
    for_each_chunk_of(
        (CHUNK / row_length).max(1),
        y,
        #[inline(always)]
        |first, y| {
            for (row, y) in x[first * row_length..].chunks(row_length).zip(y) {
                let mut best = 0;
                for (j, &value) in row.iter().enumerate() {
                    if !row[best].is_nan() && (value.is_nan() || value > row[best]) {
                        best = j;
                    }
                }
                *y = best as u32;
            }
        },
    );
}

pub(super) static ARGMAX: Kernel = Kernel {
    shader: &thalweg_shaders::ARGMAX,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write],
    variants: SHORT_VARIANTS,
    twin,
};

impl Tensor {
    /// Returns the index of the largest element along the last dimension, which is removed. The first of equal
    /// elements wins, and NaN counts as the largest, as in PyTorch.
    ///
    /// # Shapes
    /// `[…, n]` → u32 `[…]`.
    ///
    /// # Errors
    /// If the last dimension is missing or empty, or the elements are not f32.
    pub fn argmax(&self) -> Result<Self> {
        expect_dtype("argmax", self, DType::F32)?;
        let Some((&row_length, outer)) = self.shape().split_last().filter(|(n, _)| **n > 0) else {
            return Err(Error::Rank {
                op: "argmax",
                expected: "a last dimension with elements",
                shape: self.shape().to_vec(),
            });
        };
        let y = Self::uninitialized(self.device(), DType::U32, outer)?;
        let params = Params { rows: y.len() as u32, row_length: row_length as u32 };
        over_rows(Launch::new(&ARGMAX, params), y.len(), row_length)
            .bind(&self.contiguous()?)
            .bind(&y)
            .run(self.device())?;
        Ok(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn the_first_of_equals_wins_and_nan_beats_all() {
        let x = [1.0, 3.0, 3.0, f32::INFINITY, f32::NAN, f32::NAN, -1.0, -2.0, -1.0];
        let x = Tensor::from_slice(&Device::cpu(), &x, &[3, 3]).unwrap();
        assert_eq!(x.argmax().unwrap().to_vec::<u32>().unwrap(), [1, 1, 0]);
    }
}
