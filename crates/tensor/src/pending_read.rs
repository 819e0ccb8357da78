//! [`PendingRead`]: elements on their way from the device.

use std::marker::PhantomData;

use crate::device::Reading;
use crate::{Device, Element, Result, Tensor};

/// Elements that are on their way from the device: [`Tensor::read_later`] asks for them.
#[derive(Debug)]
pub struct PendingRead<T> {
    device: Device,
    /// `None` once they have been given out.
    reading: Option<Reading>,
    element: PhantomData<T>,
}

impl<T: Element> PendingRead<T> {
    /// The elements, in row-major order, if they are there; does not wait. They are given out once; later calls give
    /// `None`.
    ///
    /// # Errors
    /// Where work on the device has failed.
    pub fn poll(&mut self) -> Result<Option<Vec<T>>> {
        let Some(reading) = self.reading.take() else { return Ok(None) };
        match self.device.finish_read(reading, false)? {
            Ok(words) => Ok(Some(bytemuck::cast_vec(words))),
            Err(reading) => {
                self.reading = Some(reading);
                Ok(None)
            }
        }
    }
}

impl Tensor {
    /// Has the elements read, as they are behind all work so far, without waiting: [`PendingRead`] gives them when they
    /// are there. What is done to the tensor afterwards does not change them.
    ///
    /// # Errors
    /// Where `T` is not the element type, or work on the device has failed.
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
        crate::kernel::expect_dtype("read_later", self, T::DTYPE)?;
        let source = if self.is_contiguous() { self.clone() } else { self.contiguous()? };
        let reading = source.device().start_read(source.buffer(), source.offset(), source.len())?;
        Ok(PendingRead { device: source.device().clone(), reading: Some(reading), element: PhantomData })
    }
}
