//! A log of numbers on the device.

use std::ops::Range;

use crate::kernel::{Access, Call, Kernel, Launch, Slice};
use crate::math::{self, LANES};
use crate::tensor::expect_dtype;
use crate::{DType, Device, Error, PendingRead, Result, Tensor};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    length: u32,
}

/// log[cursor mod length] = value; cursor += 1.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let [value, log, cursor] = call.bindings();
    let (value, log, cursor) = (value.read::<f32>(), log.write::<f32>(), cursor.write::<u32>());
    log[(cursor[0] % params.length) as usize] = value[0];
    cursor[0] = cursor[0].wrapping_add(1);
}

pub(super) static RECORD_VALUE: Kernel = Kernel {
    shader: &thalweg_shaders::RECORD_VALUE,
    uniform: size_of::<Params>(),
    access: &[Access::Read, Access::Write, Access::Write],
    variants: &[&[]],
    twin,
};

/// A log of numbers on the device, one per step, which is read occasionally, so that losses do not delay the steps.
/// When it is full it wraps around.
#[derive(Debug, Clone)]
pub struct ValueLog {
    values: Tensor,
    cursor: Tensor,
}

/// The output of a kernel that computes a mean: a separate number and, optionally, an entry in a log.
pub(super) struct MeanOutput {
    /// The mean, of shape `[]`.
    pub(super) mean: Tensor,
    values: Tensor,
    cursor: Tensor,
    logged: bool,
}

/// The most elements whose mean one workgroup computes; for more, several are faster.
pub(super) const MOST_IN_ONE_WORKGROUP: usize = 16 << 10;

impl MeanOutput {
    pub(super) fn new(device: &Device, log: Option<&ValueLog>) -> Result<Self> {
        if let Some(log) = log {
            let mean = Tensor::uninitialized(device, DType::F32, &[])?;
            mean.same_device("record_value", &log.values)?;
            return Ok(Self { mean, values: log.values.clone(), cursor: log.cursor.clone(), logged: true });
        }
        // A kernel binds all its bindings, so separate memory replaces the log.
        let [mean, values, cursor] = {
            const APART: usize = DType::F32.alignment();
            let memory = Tensor::uninitialized(device, DType::F32, &[2 * APART + 1])?;
            let at = |place: usize| memory.slice(0, place * APART, place * APART + 1);
            [at(0)?, at(1)?, at(2)?]
        };
        Ok(Self { mean: mean.reshape(&[])?, values, cursor, logged: false })
    }

    pub(super) fn log_length(&self) -> u32 {
        self.values.len() as u32
    }

    /// Binds mean, log and cursor, the last three bindings of the kernel.
    pub(super) fn bind(&self, launch: Launch) -> Launch {
        launch.constant("LOGGED", self.logged).bind(&self.mean).bind(&self.values).bind(&self.cursor)
    }

    /// Computes the common end of such kernels from the lanes' sums. Twin of `shaders/shared/mean.wgsl`.
    pub(super) fn finish(lanes: [f32; LANES], scale: f32, logged: bool, [mean, log, cursor]: [Slice<'_>; 3]) {
        let value = math::tree(lanes, |x, y| x + y) * scale;
        mean.write::<f32>()[0] = value;
        if logged {
            let (log, cursor) = (log.write::<f32>(), cursor.write::<u32>());
            log[cursor[0] as usize % log.len()] = value;
            cursor[0] = cursor[0].wrapping_add(1);
        }
    }
}

/// The variants of kernels that end with a mean.
pub(super) const MEAN_VARIANTS: &[&[(&str, f64)]] = &[&[("LOGGED", 0.0)], &[("LOGGED", 1.0)]];

impl ValueLog {
    /// Creates an empty log with room for `length` numbers, at least one.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(device: &Device, length: usize) -> Result<Self> {
        crate::check_state("value log")?;
        Ok(Self {
            values: Tensor::zeros(device, DType::F32, &[length.max(1)])?,
            cursor: Tensor::zeros(device, DType::U32, &[1])?,
        })
    }

    /// Appends the one element of a tensor, in one launch and without waiting.
    ///
    /// # Errors
    /// If the tensor has more than one element or is not f32, or the devices differ.
    pub fn push(&self, value: &Tensor) -> Result<()> {
        expect_dtype("record_value", value, DType::F32)?;
        value.same_device("record_value", &self.values)?;
        if value.len() != 1 {
            return Err(Error::Rank { op: "record_value", expected: "one element", shape: value.shape().to_vec() });
        }
        Launch::new(&RECORD_VALUE, Params { length: self.values.len() as u32 })
            .bind(&value.contiguous()?)
            .bind(&self.values)
            .bind(&self.cursor)
            .run(value.device())
    }

    /// Starts reading the numbers at some positions, as they are after all work so far, without waiting. Position 0
    /// is the first number since the log was empty.
    ///
    /// # Errors
    /// If the positions are out of range, or work on the device has failed.
    pub fn read_later(&self, places: Range<usize>) -> Result<PendingRead<f32>> {
        self.values.slice(0, places.start, places.end)?.read_later()
    }

    /// Returns the numbers, in order, and empties the log. Waits for the device.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn take(&self) -> Result<Vec<f32>> {
        let count = self.cursor.item::<u32>()? as usize;
        let mut values = self.values.to_vec::<f32>()?;
        if count > values.len() {
            let start = count % values.len();
            values.rotate_left(start);
        } else {
            values.truncate(count);
        }
        self.cursor.write(&[0u32])?;
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_keeps_the_latest_in_order() {
        let device = Device::cpu();
        let log = ValueLog::new(&device, 3).unwrap();
        for i in 0..5 {
            log.push(&Tensor::scalar(&device, i as f32).unwrap()).unwrap();
        }
        assert_eq!(log.take().unwrap(), [2.0, 3.0, 4.0]);
        assert_eq!(log.take().unwrap(), Vec::<f32>::new());
    }
}
