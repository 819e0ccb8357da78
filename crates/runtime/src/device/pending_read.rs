//! [`PendingRead`]: elements on their way from the device.

use std::marker::PhantomData;

use super::{Device, Reading};
use crate::memory::Buffer;
use crate::{Element, Result};

/// Elements that are on their way from the device: [`Device::read_later`] asks for them.
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
    /// The device's error if work on it has failed; later calls return it again.
    pub fn poll(&mut self) -> Result<Option<Vec<T>>> {
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let words = self.device.finish_read(reading, false)?;
        if words.is_some() {
            self.reading = None;
        }
        Ok(words.map(bytemuck::cast_vec))
    }
}

impl Device {
    /// Has elements of a buffer read, as they are after all work so far, without waiting.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn read_later<T: Element>(&self, buffer: &Buffer, offset: usize, length: usize) -> Result<PendingRead<T>> {
        let reading = self.start_read(buffer, offset, length)?;
        Ok(PendingRead { device: self.clone(), reading: Some(reading), element: PhantomData })
    }
}
