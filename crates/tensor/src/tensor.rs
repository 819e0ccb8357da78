//! [`Tensor`]: creation, views, reading back.

use std::sync::Arc;

use crate::memory::{Buffer, ToView, View};
use crate::{Axis, DType, Device, Element, Error, PendingRead, Result, bf16, f16, shape};

/// An array of numbers on a device: a buffer with shape, strides and offset. Clones are cheap.
///
/// Tensors do not change, except through an explicit [`write`](Self::write) and the operations whose names end in
/// `_into`. Views ([`transpose`](Self::transpose), [`slice`](Self::slice), [`broadcast_to`](Self::broadcast_to), …)
/// share the buffer and copy nothing.
///
/// ```
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_tensor::Result<()> {
/// let a = Tensor::from_slice(&Device::cpu(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
/// assert_eq!(a.transpose(0, 1)?.to_vec::<f32>()?, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
/// assert_eq!(a.matmul(&a.transpose(0, 1)?)?.to_vec::<f32>()?, [14.0, 32.0, 32.0, 77.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    buffer: Arc<Buffer>,
    device: Device,
    dtype: DType,
    shape: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl Tensor {
    /// Creates a tensor with these elements, in row-major order.
    ///
    /// # Errors
    /// If the number of elements does not match the shape, or the device has no room.
    pub fn from_slice<T: Element>(device: &Device, elements: &[T], shape: &[usize]) -> Result<Self> {
        let count = shape::element_count("from_slice", shape)?;
        if count != elements.len() {
            return Err(Error::Shape {
                op: "from_slice",
                rule: "the number of elements is not the shape's",
                left: vec![elements.len()],
                right: shape.to_vec(),
            });
        }
        let buffer = device.upload(elements)?.buffer().clone();
        let strides = shape::contiguous_strides(shape);
        Ok(Self::from_parts(buffer, device.clone(), T::DTYPE, shape.to_vec(), strides, 0))
    }

    /// Creates a tensor without dimensions: one number.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn scalar<T: Element>(device: &Device, value: T) -> Result<Self> {
        Self::from_slice(device, &[value], &[])
    }

    /// Creates a tensor of zeros.
    ///
    /// # Errors
    /// If the shape is too large, or the device has no room.
    pub fn zeros(device: &Device, dtype: DType, shape: &[usize]) -> Result<Self> {
        let tensor = Self::uninitialized(device, dtype, shape)?;
        // The padding is zeroed as well. An empty tensor is not cleared, since a clear between launches costs a
        // separate pass.
        if !tensor.is_empty() {
            device.clear(tensor.buffer(), 0, tensor.buffer().bytes())?;
        }
        Ok(tensor)
    }

    /// Creates an uninitialized tensor, for kernels that write all of it.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn uninitialized(device: &Device, dtype: DType, shape: &[usize]) -> Result<Self> {
        let count = shape::element_count("allocate", shape)?;
        let buffer = device.allocate(dtype.size() * count)?;
        let strides = shape::contiguous_strides(shape);
        Ok(Self::from_parts(buffer, device.clone(), dtype, shape.to_vec(), strides, 0))
    }

    fn from_parts(
        buffer: Arc<Buffer>,
        device: Device,
        dtype: DType,
        shape: Vec<usize>,
        strides: Vec<usize>,
        offset: usize,
    ) -> Self {
        Self(Arc::new(Inner { buffer, device, dtype, shape, strides, offset }))
    }

    /// Returns the same bits as elements of another type of the same size.
    pub(crate) fn bits_as(&self, dtype: DType) -> Self {
        debug_assert_eq!(self.dtype().size(), dtype.size(), "places would change their meaning");
        let Inner { buffer, device, shape, strides, offset, .. } = &*self.0;
        Self::from_parts(buffer.clone(), device.clone(), dtype, shape.clone(), strides.clone(), *offset)
    }

    pub(crate) fn view(&self, shape: Vec<usize>, strides: Vec<usize>, offset: usize) -> Self {
        Self::from_parts(self.0.buffer.clone(), self.0.device.clone(), self.0.dtype, shape, strides, offset)
    }

    /// Returns its device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Returns the type of its elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Returns its extents, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// Returns the distances between neighbours along each dimension, in elements; 0 for broadcast dimensions.
    #[must_use]
    pub fn strides(&self) -> &[usize] {
        &self.0.strides
    }

    /// Returns the number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.shape.len()
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.shape.iter().product()
    }

    /// Returns whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.shape.contains(&0)
    }

    /// Returns whether its elements are contiguous in row-major order.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        shape::is_contiguous(&self.0.shape, &self.0.strides)
    }

    pub(crate) fn buffer(&self) -> &Arc<Buffer> {
        &self.0.buffer
    }

    pub(crate) fn offset(&self) -> usize {
        self.0.offset
    }

    /// Returns whether a kernel can bind it directly: contiguous, from an aligned offset.
    pub(crate) fn is_bindable(&self) -> bool {
        self.is_contiguous() && self.0.offset.is_multiple_of(self.dtype().alignment())
    }

    /// Returns the elements, in row-major order. Waits for the device.
    ///
    /// # Errors
    /// If `T` is not the element type, or work on the device has failed; [`Error::Index`] if a kernel has found an index out
    /// of range, once.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        expect_dtype("to_vec", self, T::DTYPE)?;
        let source = if self.is_contiguous() { self.clone() } else { self.contiguous()? };
        source.device().read(source.buffer(), source.offset(), source.len())
    }

    /// Starts reading the elements, as they are after all work so far, without waiting: [`PendingRead`] returns them
    /// when they have arrived. Later changes of the tensor do not affect them.
    ///
    /// # Errors
    /// If `T` is not the element type, or work on the device has failed.
    ///
    /// ```
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::from_slice(&device, &[1.0, 2.0], &[2])?;
    /// let mut pending = x.read_later::<f32>()?;
    /// // … more work …
    /// if let Some(elements) = pending.poll()? {
    ///     assert_eq!(elements, [1.0, 2.0]);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_later<T: Element>(&self) -> Result<PendingRead<T>> {
        expect_dtype("read_later", self, T::DTYPE)?;
        let source = if self.is_contiguous() { self.clone() } else { self.contiguous()? };
        source.device().read_later(source.buffer(), source.offset(), source.len())
    }

    /// Returns the one element of a tensor of one element. Waits for the device.
    ///
    /// # Errors
    /// If it has another number of elements, `T` is not the element type, or work on the device has failed.
    pub fn item<T: Element>(&self) -> Result<T> {
        if self.len() != 1 {
            return Err(Error::Rank { op: "item", expected: "one element", shape: self.shape().to_vec() });
        }
        Ok(self.to_vec()?[0])
    }

    /// Overwrites the elements from the host, in row-major order. Other views of the buffer change too.
    ///
    /// # Errors
    /// If the number or the type of the elements differs, or the tensor is not contiguous.
    pub fn write<T: Element>(&self, elements: &[T]) -> Result<()> {
        expect_dtype("write", self, T::DTYPE)?;
        if elements.len() != self.len() || !self.is_contiguous() {
            return Err(Error::Shape {
                op: "write",
                rule: "the elements must be as many as the tensor's, and the tensor contiguous",
                left: vec![elements.len()],
                right: self.shape().to_vec(),
            });
        }
        self.device().write(self.buffer(), self.offset(), elements)
    }

    /// Returns the same elements on another device; the same tensor if it is already there.
    ///
    /// # Errors
    /// If work on the device has failed, or the other one has no room.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        if self.device() == device {
            return Ok(self.clone());
        }
        match self.dtype() {
            DType::F32 => Self::from_slice(device, &self.to_vec::<f32>()?, self.shape()),
            DType::U32 => Self::from_slice(device, &self.to_vec::<u32>()?, self.shape()),
            DType::F16 => Self::from_slice(device, &self.to_vec::<f16>()?, self.shape()),
            DType::BF16 => Self::from_slice(device, &self.to_vec::<bf16>()?, self.shape()),
        }
    }

    /// Returns the same elements with another shape; a view if the tensor is contiguous, else a copy.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if shape::element_count("reshape", shape)? != self.len() {
            return Err(Error::Shape {
                op: "reshape",
                rule: "the number of elements differs",
                left: self.shape().to_vec(),
                right: shape.to_vec(),
            });
        }
        let source = if self.is_contiguous() { self.clone() } else { self.contiguous()? };
        Ok(source.view(shape.to_vec(), shape::contiguous_strides(shape), source.offset()))
    }

    /// Returns the view with two axes exchanged.
    ///
    /// # Errors
    /// If one of them is no axis of the tensor.
    pub fn transpose(&self, first: impl Axis, second: impl Axis) -> Result<Self> {
        let [first, second] = [first.of("transpose", self.shape())?, second.of("transpose", self.shape())?];
        let (mut shape, mut strides) = (self.shape().to_vec(), self.strides().to_vec());
        shape.swap(first, second);
        strides.swap(first, second);
        Ok(self.view(shape, strides, self.offset()))
    }

    /// Returns the view whose axis `d` is axis `order[d]` of this one.
    ///
    /// # Errors
    /// If `order` does not name each axis once.
    pub fn permute(&self, order: &[impl Axis]) -> Result<Self> {
        let order = order.iter().map(|axis| axis.of("permute", self.shape())).collect::<Result<Vec<_>>>()?;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..self.rank()) {
            return Err(Error::Argument {
                op: "permute",
                name: "order",
                value: format!("{order:?} of shape {:?}", self.shape()),
                rule: "each axis once",
            });
        }
        let shape = order.iter().map(|&d| self.shape()[d]).collect();
        let strides = order.iter().map(|&d| self.strides()[d]).collect();
        Ok(self.view(shape, strides, self.offset()))
    }

    /// Returns the view of the elements `start..end` along an axis.
    ///
    /// # Errors
    /// If it is no axis of the tensor, or the range is not inside of it.
    pub fn slice(&self, axis: impl Axis, start: usize, end: usize) -> Result<Self> {
        let axis = axis.of("slice", self.shape())?;
        if start > end || end > self.shape()[axis] {
            return Err(Error::Argument {
                op: "slice",
                name: "range",
                value: format!("{start}..{end}"),
                rule: "inside of the axis",
            });
        }
        let mut shape = self.shape().to_vec();
        shape[axis] = end - start;
        Ok(self.view(shape, self.strides().to_vec(), self.offset() + start * self.strides()[axis]))
    }

    /// Returns a view broadcast to a larger shape by NumPy's rule: extents of 1 are repeated, missing outer
    /// dimensions are added.
    ///
    /// # Errors
    /// If the shape does not broadcast.
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Self> {
        shape::element_count("broadcast_to", shape)?;
        match shape::broadcast_strides(self.shape(), self.strides(), shape) {
            Some(strides) => Ok(self.view(shape.to_vec(), strides, self.offset())),
            None => Err(Error::Shape {
                op: "broadcast_to",
                rule: "the shapes do not broadcast",
                left: self.shape().to_vec(),
                right: shape.to_vec(),
            }),
        }
    }

    /// Returns the view with an axis of extent 1 added, which has the number `axis` in the result.
    ///
    /// # Errors
    /// If the result would have no axis of this number.
    pub fn unsqueeze(&self, axis: impl Axis) -> Result<Self> {
        let Some(axis) = axis.place(self.rank() + 1) else {
            return Err(axis.of("unsqueeze", self.shape()).expect_err("it is no axis of a larger shape"));
        };
        let (mut shape, mut strides) = (self.shape().to_vec(), self.strides().to_vec());
        shape.insert(axis, 1);
        strides.insert(axis, 1);
        shape::element_count("unsqueeze", &shape)?;
        Ok(self.view(shape, strides, self.offset()))
    }

    /// Returns the view without an axis of extent 1.
    ///
    /// # Errors
    /// If it is no axis of the tensor, or its extent is not 1.
    pub fn squeeze(&self, axis: impl Axis) -> Result<Self> {
        let axis = axis.of("squeeze", self.shape())?;
        if self.shape()[axis] != 1 {
            return Err(Error::Rank { op: "squeeze", expected: "an extent of 1", shape: self.shape().to_vec() });
        }
        let (mut shape, mut strides) = (self.shape().to_vec(), self.strides().to_vec());
        shape.remove(axis);
        strides.remove(axis);
        Ok(self.view(shape, strides, self.offset()))
    }

    /// Checks that two tensors lie on one device.
    pub(crate) fn same_device(&self, op: &'static str, other: &Self) -> Result<()> {
        if self.device() == other.device() {
            Ok(())
        } else {
            Err(Error::Device { op, left: self.device().to_string(), right: other.device().to_string() })
        }
    }
}

/// Checks that a tensor has the type that an operation requires.
pub(crate) fn expect_dtype(op: &'static str, tensor: &Tensor, expected: DType) -> Result<()> {
    if tensor.dtype() == expected { Ok(()) } else { Err(Error::DType { op, expected, found: tensor.dtype() }) }
}

/// Checks that a tensor has 32-bit elements, of any type.
pub(crate) fn expect_words(op: &'static str, tensor: &Tensor) -> Result<()> {
    let (expected, found) = (DType::F32, tensor.dtype());
    if found.size() == 4 { Ok(()) } else { Err(Error::DType { op, expected, found }) }
}

/// Checks the tensor that an operation writes.
pub(crate) fn expect_target(op: &'static str, target: &Tensor, shape: &[usize]) -> Result<()> {
    expect_dtype(op, target, DType::F32)?;
    if target.shape() == shape && target.is_bindable() {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        rule: "the target has another shape, or gaps",
        left: target.shape().to_vec(),
        right: shape.to_vec(),
    })
}

impl ToView for Tensor {
    fn to_view(&self) -> View {
        let view = if self.is_contiguous() { View::new } else { View::with_gaps };
        view(self.buffer().clone(), self.dtype(), self.offset(), self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>();
        let elements: Vec<f32> = (0..count).map(|i| i as f32).collect();
        Tensor::from_slice(&Device::cpu(), &elements, shape).unwrap()
    }

    #[test]
    fn views_share_the_buffer() {
        let x = numbers(&[2, 3]);
        let t = x.transpose(0, 1).unwrap();
        let row = x.slice(0, 1, 2).unwrap();
        x.write(&[9.0f32, 8.0, 7.0, 6.0, 5.0, 4.0]).unwrap();
        assert_eq!(t.to_vec::<f32>().unwrap(), [9.0, 6.0, 8.0, 5.0, 7.0, 4.0]);
        assert_eq!(row.to_vec::<f32>().unwrap(), [6.0, 5.0, 4.0]);
    }

    #[test]
    fn permute_slice_and_broadcast_compose() {
        let x = numbers(&[2, 3, 4]);
        let y = x.permute(&[2, 0, 1]).unwrap().slice(0, 1, 3).unwrap();
        assert_eq!(y.shape(), [2, 2, 3]);
        assert_eq!(y.to_vec::<f32>().unwrap(), [1., 5., 9., 13., 17., 21., 2., 6., 10., 14., 18., 22.]);
        let z = numbers(&[2, 1]).broadcast_to(&[2, 2, 3]).unwrap();
        assert_eq!(z.to_vec::<f32>().unwrap(), [0., 0., 0., 1., 1., 1., 0., 0., 0., 1., 1., 1.]);
    }

    #[test]
    fn reshaping_a_transposed_view_copies() {
        let x = numbers(&[2, 3]).transpose(0, 1).unwrap().reshape(&[6]).unwrap();
        assert_eq!(x.to_vec::<f32>().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    #[test]
    fn empty_tensors_are_tensors() {
        let x = numbers(&[0, 3]);
        assert!(x.is_empty());
        assert_eq!(x.reshape(&[3, 0]).unwrap().to_vec::<f32>().unwrap(), Vec::<f32>::new());
    }

    #[test]
    fn misuse_is_an_error_that_says_what() {
        let x = numbers(&[2, 3]);
        assert_eq!(x.reshape(&[4]).unwrap_err().to_string(), "reshape: the number of elements differs, [2, 3] × [4]");
        assert!(x.to_vec::<u32>().unwrap_err().to_string().contains("needs elements of type u32, got f32"));
        assert!(x.slice(1, 2, 4).is_err() && x.transpose(0, 2).is_err() && x.permute(&[0, 0]).is_err());
        assert!(x.item::<f32>().is_err() && x.squeeze(0).is_err() && x.broadcast_to(&[3]).is_err());
    }
}
