//! Filling with one value.

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::{DType, Device, Element, Error, Result, Tensor, f16};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    length: u32,
    value: u32,
}

/// y[i] = value.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [y] = call.bindings();
    crate::threads::for_each_chunk(
        y.write::<u32>(),
        #[inline(always)]
        |_, y| y.fill(params.value),
    );
}

pub(super) static FILL: Kernel = Kernel {
    shader: &thalweg_shaders::FILL,
    uniform: size_of::<Params>(),
    access: &[Access::Write],
    variants: &[&[]],
    twin,
};

/// y[i] = value, for 16-bit elements.
fn halves_twin(call: Call<'_>) {
    let params: Params = call.params();
    let [y] = call.bindings();
    crate::threads::for_each_chunk(
        y.write::<f16>(),
        #[inline(always)]
        |_, y| y.fill(f16::from_bits(params.value as u16)),
    );
}

pub(super) static FILL_HALVES: Kernel = Kernel {
    shader: &thalweg_shaders::FILL_HALVES,
    uniform: size_of::<Params>(),
    access: &[Access::WriteAs(DType::F16)],
    variants: &[&[]],
    twin: halves_twin,
};

impl Tensor {
    /// Returns a tensor filled with one value.
    ///
    /// # Errors
    /// If the shape is too large, or the device has no room.
    pub fn full<T: Element>(device: &Device, value: T, shape: &[usize]) -> Result<Self> {
        let y = Self::uninitialized(device, T::DTYPE, shape)?;
        y.fill(value)?;
        Ok(y)
    }

    /// Overwrites all elements with one value. Other views of the buffer change too.
    ///
    /// # Errors
    /// If `T` is not the element type, or the tensor has gaps.
    pub fn fill<T: Element>(&self, value: T) -> Result<()> {
        crate::tensor::expect_dtype("fill", self, T::DTYPE)?;
        if !self.is_bindable() {
            return Err(Error::Shape {
                op: "fill",
                rule: "the tensor has gaps",
                left: self.shape().to_vec(),
                right: self.strides().to_vec(),
            });
        }
        let (bits, bytes) = (bytemuck::bytes_of(&value), T::DTYPE.size() * self.len());
        if bits.iter().all(|&byte| byte == 0) && bytes.is_multiple_of(4) {
            return self.device().clear(self.buffer(), T::DTYPE.size() * self.offset(), bytes);
        }
        if T::DTYPE.size() == 2 {
            let half: u16 = bytemuck::pod_read_unaligned(bits);
            let value = u32::from(half) << 16 | u32::from(half);
            return Launch::new(&FILL_HALVES, Params { length: self.len() as u32, value })
                .bind(&self.bits_as(DType::F16))
                .workgroups(self.len().div_ceil(2).div_ceil(64))
                .run(self.device());
        }
        let value: u32 = bytemuck::pod_read_unaligned(bits);
        Launch::new(&FILL, Params { length: self.len() as u32, value })
            .bind(self)
            .workgroups(self.len().div_ceil(64))
            .run(self.device())
    }
}
