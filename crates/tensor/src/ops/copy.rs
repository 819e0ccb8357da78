//! Copies: of strided views into contiguous tensors, and plain ones.

use crate::kernel::{Access, Call, Kernel, Launch};
use crate::threads::for_each_row;
use crate::{DType, Element, Error, Result, Tensor, f16, shape};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    shape: [[u32; 4]; 2],
    strides: [[u32; 4]; 2],
    length: u32,
    rank: u32,
    offset: u32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct HalvesParams {
    view: Params,
    /// The first element of the target.
    start: u32,
}

/// y[i] = x[…], with indices from coordinates and strides.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [x, y] = call.bindings();
    copy_view(params, x.read::<u32>(), y.write::<u32>());
}

/// y[start + i] = x[…], for 16-bit elements.
fn halves_twin(call: Call<'_>) {
    let HalvesParams { view, start } = call.params();
    let [x, y] = call.bindings();
    copy_view(view, x.read::<f16>(), &mut y.write::<f16>()[start as usize..][..view.length as usize]);
}

#[inline(always)]
fn copy_view<T: Element>(params: Params, x: &[T], y: &mut [T]) {
    let outer = (params.rank as usize).saturating_sub(1);
    let last = |words: [[u32; 4]; 2]| words[outer / 4][outer % 4] as usize;
    let (inner, stride) = if params.rank == 0 { (1, 0) } else { (last(params.shape), last(params.strides)) };
    for_each_row(
        y,
        inner,
        #[inline(always)]
        |row, y| {
            let (mut index, mut rest) = (params.offset, row as u32);
            for d in (0..outer).rev() {
                let extent = params.shape[d / 4][d % 4];
                index += rest % extent * params.strides[d / 4][d % 4];
                rest /= extent;
            }
            for (i, y) in y.iter_mut().enumerate() {
                *y = x[index as usize + i * stride];
            }
        },
    );
}

pub(super) static COPY: Kernel = Kernel {
    shader: &thalweg_shaders::COPY,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write],
    variants: &[&[]],
    twin,
};

pub(super) static COPY_HALVES: Kernel = Kernel {
    shader: &thalweg_shaders::COPY_HALVES,
    uniform: size_of::<HalvesParams>(),
    access: &[Access::ReadAs(DType::F16), Access::WriteAs(DType::F16)],
    variants: &[&[]],
    twin: halves_twin,
};

impl Tensor {
    /// Returns the same elements without gaps: this tensor if it has none, else a copy.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn contiguous(&self) -> Result<Self> {
        if self.is_bindable() { Ok(self.clone()) } else { self.copy() }
    }

    /// Returns a contiguous copy of the elements in new memory.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn copy(&self) -> Result<Self> {
        let y = Self::uninitialized(self.device(), self.dtype(), self.shape())?;
        self.copy_into(&y)?;
        Ok(y)
    }

    /// Copies the elements to those of `target`.
    ///
    /// # Errors
    /// If shapes, types or devices differ, `target` is not contiguous, or both share a buffer.
    pub fn copy_into(&self, target: &Self) -> Result<()> {
        self.same_device("copy", target)?;
        if self.dtype() != target.dtype() {
            return Err(Error::DType { op: "copy", expected: target.dtype(), found: self.dtype() });
        }
        if self.shape() != target.shape() || !target.is_bindable() {
            return Err(Error::Shape {
                op: "copy",
                rule: "the shapes differ, or the target has gaps",
                left: self.shape().to_vec(),
                right: target.shape().to_vec(),
            });
        }
        self.copy_to(target, target.offset())
    }

    /// Copies the elements to those of `target`'s buffer from element `start` on: by the driver if nothing but whole words
    /// are copied, else by a kernel. Elements of 32 bits that are not contiguous go to a bindable target.
    pub(super) fn copy_to(&self, target: &Self, start: usize) -> Result<()> {
        let size = self.dtype().size();
        let is_whole = [self.offset(), start, self.len()].iter().all(|elements| (size * elements).is_multiple_of(4));
        if self.is_contiguous() && is_whole {
            let (from, to) = (size * self.offset(), size * start);
            return self.device().copy(self.buffer(), from, target.buffer(), to, size * self.len());
        }
        let (extents, [strides]) = shape::collapse(self.shape(), [self.strides()]);
        let params = Params {
            shape: shape::pack(&extents),
            strides: shape::pack(&strides),
            length: self.len() as u32,
            rank: extents.len() as u32,
            offset: self.offset() as u32,
        };
        if size == 2 {
            let words = (start % 2 + self.len()).div_ceil(2);
            return Launch::new(&COPY_HALVES, HalvesParams { view: params, start: start as u32 })
                .bind_whole(&self.bits_as(DType::F16))
                .bind_whole(&target.bits_as(DType::F16))
                .uses(1, self.len())
                .workgroups(words.div_ceil(64))
                .run(self.device());
        }
        Launch::new(&COPY, params).bind_whole(self).bind(target).workgroups(self.len().div_ceil(64)).run(self.device())
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct RoofParams {
    vectors: u32,
}

/// y = x.
fn roof_twin(call: Call<'_>) {
    let [x, y] = call.bindings();
    let (x, y) = (x.read::<f32>(), y.write::<f32>());
    crate::threads::for_each_chunk(
        y,
        #[inline(always)]
        |start, y| y.copy_from_slice(&x[start..start + y.len()]),
    );
}

pub(super) static COPY_ROOF: Kernel = Kernel {
    shader: &thalweg_shaders::COPY_ROOF,
    uniform: size_of::<RoofParams>(),
    access: &[Access::Read, Access::Write],
    variants: &[
        &[("VECTORS_PER_LANE", 1.0), ("WHOLE", 0.0)],
        &[("VECTORS_PER_LANE", 2.0), ("WHOLE", 0.0)],
        &[("VECTORS_PER_LANE", 4.0), ("WHOLE", 0.0)],
        &[("VECTORS_PER_LANE", 1.0), ("WHOLE", 1.0)],
        &[("VECTORS_PER_LANE", 2.0), ("WHOLE", 1.0)],
        &[("VECTORS_PER_LANE", 4.0), ("WHOLE", 1.0)],
    ],
    twin: roof_twin,
};

/// Copies with a kernel, to measure its memory bandwidth: each lane moves `vectors_per_lane` vectors of four floats.
/// For copies use [`Tensor::copy_into`], which is faster.
///
/// # Errors
/// If the tensors are not contiguous f32 of one shape, with a length that is a multiple of four.
pub fn copy_by_kernel(x: &Tensor, y: &Tensor, vectors_per_lane: u32) -> Result<()> {
    crate::tensor::expect_dtype("copy_by_kernel", x, DType::F32)?;
    crate::tensor::expect_dtype("copy_by_kernel", y, DType::F32)?;
    if x.shape() != y.shape()
        || !x.len().is_multiple_of(4)
        || !x.is_bindable()
        || !y.is_bindable()
        || vectors_per_lane == 0
    {
        return Err(Error::Shape {
            op: "copy_by_kernel",
            rule: "the tensors must be contiguous, of one shape and a multiple of four in length",
            left: x.shape().to_vec(),
            right: y.shape().to_vec(),
        });
    }
    let vectors = x.len() / 4;
    let of_workgroup = 64 * vectors_per_lane as usize;
    let workgroups = vectors.div_ceil(of_workgroup);
    let is_whole = matches!(vectors_per_lane, 1 | 2 | 4)
        && vectors.is_multiple_of(of_workgroup)
        && workgroups <= x.device().max_workgroups_per_dimension();
    Launch::new(&COPY_ROOF, RoofParams { vectors: vectors as u32 })
        .constant("VECTORS_PER_LANE", vectors_per_lane)
        .constant("WHOLE", is_whole)
        .bind(x)
        .bind(y)
        .workgroups(workgroups)
        .run(x.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn a_tensor_does_not_copy_onto_itself() {
        let x = Tensor::zeros(&Device::cpu(), DType::F32, &[4]).unwrap();
        assert!(matches!(x.copy_into(&x), Err(Error::Aliasing { .. })));
    }
}
