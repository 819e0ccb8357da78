//! [`Recording`]: work that was done once, to be done again without the cost of finding out what it is.

use std::cell::RefCell;
use std::sync::Arc;

use crate::buffer::Buffer;
use crate::gpu::GpuRecording;
use crate::kernel::Launch;
use crate::{Device, Error, Result};

/// A piece of work of a device.
#[derive(Debug)]
pub(crate) enum Work {
    Launch(Launch),
    Copy { source: Arc<Buffer>, source_offset: usize, target: Arc<Buffer>, target_offset: usize, length: usize },
    Clear { buffer: Arc<Buffer>, offset: usize, length: usize },
}

/// What is being recorded on this thread.
struct Recorder {
    device: Device,
    /// Buffers with smaller numbers were there before.
    first_buffer: u64,
    work: Vec<Work>,
}

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// The work of a closure on one device, in order, with every buffer that it touches: [`Device::record`] makes it.
///
/// [`replay`](Self::replay) does the same work on the same memory again: what is saved is everything on the host, from
/// shape checks and memory to parameters and bind groups. Whatever is to differ from time to time must lie on the device
/// and be advanced by the work itself, as the clock of an optimizer, the cursor of a batch and the state of dropout do;
/// or be written by [`Tensor::write`](crate::Tensor::write) between replays.
///
/// ```
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_tensor::Result<()> {
/// let device = Device::cpu();
/// let x = Tensor::full(&device, 1.0f32, &[2])?;
/// let (recording, ()) = device.record(|| x.affine(2.0, 0.0)?.copy_into(&x))?;
/// recording.replay(3)?;
/// assert_eq!(x.to_vec::<f32>()?, [16.0; 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Recording {
    device: Device,
    work: Vec<Work>,
    prepared: Option<GpuRecording>,
}

impl Device {
    /// Runs a closure and records what it does on this device. The work is done this once as well.
    ///
    /// Only this thread's work is recorded. The memory that the closure takes stays with the recording.
    ///
    /// # Errors
    /// Whatever the closure fails with; [`Error::Recording`] where it reads back or waits, writes from the host to a
    /// tensor that was there before, or records within a recording.
    pub fn record<T, E: From<Error>>(&self, body: impl FnOnce() -> Result<T, E>) -> Result<(Recording, T), E> {
        struct Stop;
        impl Drop for Stop {
            fn drop(&mut self) {
                RECORDER.take();
            }
        }
        if RECORDER.with_borrow(Option::is_some) {
            return Err(Error::Recording { op: "record", rule: "recordings do not nest" }.into());
        }
        let recorder = Recorder { device: self.clone(), first_buffer: self.next_buffer(), work: Vec::new() };
        RECORDER.set(Some(recorder));
        let stop = Stop;
        let value = body()?;
        let work = RECORDER.take().map_or_else(Vec::new, |recorder| recorder.work);
        drop(stop);
        let prepared = self.prepare(&work)?;
        Ok((Recording { device: self.clone(), work, prepared }, value))
    }
}

impl Recording {
    /// Does the recorded work again, some times, behind all work that was handed to the device before. On a GPU many
    /// times go into one submission, and nothing is waited for.
    ///
    /// # Errors
    /// Where the device fails, or another recording is being made on this thread.
    pub fn replay(&self, times: usize) -> Result<()> {
        check("replay")?;
        self.device.replay(&self.work, self.prepared.as_ref(), times)
    }

    /// The number of launches of one replay.
    #[must_use]
    pub fn launches(&self) -> usize {
        count_launches(&self.work)
    }

    /// The device it runs on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}

pub(crate) fn count_launches(work: &[Work]) -> usize {
    work.iter().filter(|work| matches!(work, Work::Launch(_))).count()
}

/// Notes a piece of work where this thread records on its device.
pub(crate) fn note(device: &Device, work: impl FnOnce() -> Work) {
    RECORDER.with_borrow_mut(|recorder| {
        if let Some(recorder) = recorder.as_mut().filter(|recorder| recorder.device == *device) {
            recorder.work.push(work());
        }
    });
}

/// Refuses what a recording cannot hold.
pub(crate) fn check(op: &'static str) -> Result<()> {
    if RECORDER.with_borrow(Option::is_some) {
        return Err(Error::Recording { op, rule: "a recording cannot wait for the device, nor hold a replay" });
    }
    Ok(())
}

/// Refuses writes from the host to memory that was there before the recording: a replay would not do them again. What
/// was made inside is a constant of the recording.
pub(crate) fn check_write(buffer: &Buffer) -> Result<()> {
    let refused = RECORDER.with_borrow(|recorder| {
        recorder.as_ref().is_some_and(|recorder| recorder.device.owns(buffer) && buffer.id() < recorder.first_buffer)
    });
    if refused {
        return Err(Error::Recording { op: "write", rule: "a recording cannot hold writes from the host" });
    }
    Ok(())
}
