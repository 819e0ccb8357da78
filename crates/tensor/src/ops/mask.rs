//! Masks: tensors whose elements are true where they are not 0.

use super::sort::{Keys, Sorted};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::tensor::expect_words;
use crate::threads::for_each_chunk;
use crate::{DType, Error, Result, Tensor, shape};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    extents: [[u32; 4]; 2],
    strides: [[u32; 4]; 2],
    count: u32,
    rank: u32,
}

/// y[i, d] = coordinate d of place i.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [places, y] = call.bindings();
    let (places, rank) = (places.read::<u32>(), params.rank as usize);
    for_each_chunk(
        y.write::<u32>(),
        #[inline(always)]
        |start, y| {
            for (i, y) in (start..).zip(y) {
                let of = |words: [[u32; 4]; 2]| words[i % rank / 4][i % rank % 4];
                *y = places[i / rank] / of(params.strides) % of(params.extents);
            }
        },
    );
}

pub(super) static UNRAVEL: Kernel = Kernel {
    shader: &thalweg_shaders::UNRAVEL,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write],
    variants: &[&[]],
    twin,
};

impl Tensor {
    /// Returns the tensor with `value` where the mask is not 0. The mask broadcasts to the tensor's shape.
    ///
    /// # Shapes
    /// `[…]` → `[…]`.
    ///
    /// # Errors
    /// If the mask does not broadcast to the tensor's shape, the types differ or are no floating-point numbers, or the
    /// devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::from_slice(&device, &[1.0, 2.0, 3.0], &[3])?;
    /// let mask = Tensor::from_slice(&device, &[0.0, 1.0, 0.0], &[3])?;
    /// assert_eq!(x.masked_fill(&mask, -1.0)?.to_vec::<f32>()?, [1.0, -1.0, 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn masked_fill(&self, mask: &Self, value: f32) -> Result<Self> {
        let mask = mask.broadcast_to(self.shape())?;
        let value = Self::scalar(self.device(), value)?.to_dtype(self.dtype())?;
        mask.where_cond(&value, self)
    }

    /// Returns the elements where the mask is not 0, in row-major order. The shapes of both broadcast.
    ///
    /// Their number is read from the device, so this waits for it.
    ///
    /// # Shapes
    /// `[…]` and mask `[…]` → `[n]`.
    ///
    /// # Errors
    /// If the shapes do not broadcast, elements have 16 bits, the devices differ, or a recording is being made.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::from_slice(&device, &[1.0, 2.0, 3.0], &[3])?;
    /// let mask = Tensor::from_slice(&device, &[1.0, 0.0, 1.0], &[3])?;
    /// assert_eq!(x.masked_select(&mask)?.to_vec::<f32>()?, [1.0, 3.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn masked_select(&self, mask: &Self) -> Result<Self> {
        let (shape, places) = self.selected_places(mask)?;
        self.broadcast_to(&shape)?.reshape(&[shape.iter().product()])?.gather_rows(&places)
    }

    /// Returns the shape that this tensor and a mask broadcast to, and the numbers of the elements where the mask is not
    /// 0, in row-major order: what [`masked_select`](Self::masked_select) selects.
    ///
    /// # Errors
    /// As of [`masked_select`](Self::masked_select).
    pub fn selected_places(&self, mask: &Self) -> Result<(Vec<usize>, Self)> {
        let op = "masked_select";
        expect_words(op, self)?;
        self.same_device(op, mask)?;
        let shape = shape::broadcast(op, self.shape(), mask.shape())?;
        let places = mask.broadcast_to(&shape)?.true_places(op)?;
        Ok((shape, places))
    }

    /// Returns the indices of the elements that are not 0, one row each, in row-major order.
    ///
    /// Their number is read from the device, so this waits for it.
    ///
    /// # Shapes
    /// `[…]` of r axes → u32 `[n, r]`.
    ///
    /// # Errors
    /// If the elements have 16 bits, or a recording is being made.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let x = Tensor::from_slice(&Device::cpu(), &[0.0, 2.0, 3.0, 0.0], &[2, 2])?;
    /// assert_eq!(x.nonzero()?.to_vec::<u32>()?, [0, 1, 1, 0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn nonzero(&self) -> Result<Self> {
        let places = self.true_places("nonzero")?;
        let y = Self::uninitialized(self.device(), DType::U32, &[places.len(), self.rank()])?;
        let params = Params {
            extents: shape::pack(self.shape()),
            strides: shape::pack(&shape::contiguous_strides(self.shape())),
            count: places.len() as u32,
            rank: self.rank() as u32,
        };
        Launch::new(&UNRAVEL, params).bind(&places).bind(&y).workgroups(y.len().div_ceil(64)).run(self.device())?;
        Ok(y)
    }

    /// Returns the numbers of the elements that are not 0, in row-major order.
    fn true_places(&self, op: &'static str) -> Result<Self> {
        expect_words(op, self)?;
        if crate::is_recording(self.device()) {
            return Err(Error::Recording { op, rule: "the number of elements is read from the device" });
        }
        let sorted = Sorted::of(self, 1, self.len(), Keys::of_mask(self.dtype()), false)?;
        let count = sorted.count_below(1)?.item::<u32>()?;
        sorted.places.reshape(&[self.len()])?.slice(0, 0, count as usize)
    }
}
