//! [`PendingRead`]: an asynchronous read-back of elements.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;

use super::work::WordRange;
use super::{Device, Reading};
use crate::memory::Buffer;
use crate::{Element, Error, Result};

/// Elements on their way from the device, returned by [`Device::read_later`].
#[derive(Debug)]
pub struct PendingRead<T> {
    device: Device,
    /// `None` after the elements have been taken.
    reading: Option<Reading>,
    range: WordRange,
    element: PhantomData<T>,
}

impl<T: Element> PendingRead<T> {
    /// Returns the elements, in row-major order, if they have arrived. Does not wait. The elements are returned once;
    /// later calls return `None`.
    ///
    /// # Errors
    /// If work on the device has failed; later calls return the same error again.
    pub fn poll(&mut self) -> Result<Option<Vec<T>>> {
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let words = self.device.finish_read(reading, false)?;
        if words.is_some() {
            self.reading = None;
        }
        Ok(words.map(|words| self.range.elements(words)))
    }
}

/// Awaiting it returns the elements: the task is woken when they arrive. In a browser this is the only way to wait.
///
/// Errors: the device's error if work on it has failed; [`Error::Timeout`] if the device does not finish the work
/// within the [time limit](Device::set_wait_timeout); [`Error::Taken`] if [`poll`](PendingRead::poll) has already
/// returned the elements.
///
/// ```
/// use thalweg_runtime::Device;
/// # fn main() -> thalweg_runtime::Result<()> {
/// # pollster::block_on(async {
/// let device = Device::best();
/// let x = device.allocate(3)?;
/// device.write(&x, 0, &[1, 2, 3])?;
/// let elements = device.read_later::<u32>(&x, 0, 3)?.await?;
/// assert_eq!(elements, [1, 2, 3]);
/// # Ok(())
/// # })
/// # }
/// ```
impl<T: Element> IntoFuture for PendingRead<T> {
    type Output = Result<Vec<T>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Vec<T>>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { device, reading, range, .. } = self;
        Box::pin(async move {
            let mut reading = reading.ok_or(Error::Taken)?;
            let words = poll_fn(|context| device.poll_read(&mut reading, context)).await?;
            Ok(range.elements(words))
        })
    }
}

impl Device {
    /// Starts reading elements of a buffer, from element `offset` on, as they are after all work so far. Does not
    /// wait.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn read_later<T: Element>(&self, buffer: &Buffer, offset: usize, length: usize) -> Result<PendingRead<T>> {
        let range = WordRange::of::<T>(offset, length);
        let reading = self.start_read(buffer, range)?;
        Ok(PendingRead { device: self.clone(), reading: Some(reading), range, element: PhantomData })
    }
}
