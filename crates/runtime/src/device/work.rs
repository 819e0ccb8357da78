//! Work on a device: launches, replays, copies, writes and reads, each by the executor that the device has.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use super::{Device, Executor, Reading, observer};
use crate::cpu::CpuRecording;
use crate::gpu::GpuRecording;
use crate::kernel::{Launch, Work};
use crate::memory::{Buffer, View};
use crate::profile::{self, TimeSource, Times};
use crate::time::Instant;
use crate::{Element, Error, Result};

impl Launch {
    /// Hands the launch to the device that its tensors lie on.
    ///
    /// # Errors
    /// If the device refuses the launch: bindings or parameters that are not the kernel's, a buffer that is both read and
    /// written, a shader that does not compile, a limit.
    pub fn run(self, device: &Device) -> Result<()> {
        device.run(&self)
    }
}

/// A recording as its device replays it.
#[derive(Debug)]
pub(crate) enum Prepared {
    Cpu(CpuRecording),
    Gpu(GpuRecording),
}

impl Device {
    /// Runs a launch: at once on the CPU, with the next batch on a GPU.
    pub(crate) fn run(&self, launch: &Launch) -> Result<()> {
        launch.check(self, |buffer| self.owns(buffer))?;
        if launch.workgroups == 0 {
            return Ok(());
        }
        observer::check_device(self, launch.kernel.name())?;
        match &self.inner.executor {
            Executor::Cpu => profile::time_twin(launch, || crate::cpu::run(launch)),
            Executor::Gpu(gpu) => {
                gpu.run(launch)?;
            }
        }
        self.inner.launches.fetch_add(1, Ordering::Relaxed);
        observer::note(|| Work::Launch(launch.clone()));
        Ok(())
    }

    /// Prepares work for replays.
    pub(crate) fn prepare(&self, work: &[Work]) -> Result<Prepared> {
        match &self.inner.executor {
            Executor::Cpu => Ok(Prepared::Cpu(CpuRecording::new(work))),
            Executor::Gpu(gpu) => Ok(Prepared::Gpu(self.inner.pool.with_room(self, || gpu.prepare(work))?)),
        }
    }

    /// Does recorded work again.
    pub(crate) fn replay(&self, work: &[Work], launches: u64, prepared: &Prepared, times: usize) -> Result<()> {
        self.inner.launches.fetch_add(launches, Ordering::Relaxed);
        match (&self.inner.executor, prepared) {
            (_, Prepared::Cpu(prepared)) => (0..times).for_each(|_| prepared.replay(work)),
            (Executor::Gpu(gpu), Prepared::Gpu(prepared)) => {
                gpu.replay(prepared, times)?;
            }
            (Executor::Cpu, Prepared::Gpu(_)) => unreachable!("a recording of a GPU is replayed on the CPU"),
        }
        Ok(())
    }

    /// Takes the time of every launch from here on. Nothing may be collected.
    pub(crate) fn start_timing(&self, began: Instant) -> Result<TimeSource> {
        match &self.inner.executor {
            Executor::Cpu => profile::start_twins(began).map(|()| TimeSource::Twins),
            Executor::Gpu(gpu) => gpu.start_timing(began),
        }
    }

    /// Ends it, with what it came to. The work must be done.
    pub(crate) fn finish_timing(&self) -> Result<Times> {
        match &self.inner.executor {
            Executor::Cpu => Ok(profile::take_twins()),
            Executor::Gpu(gpu) => gpu.finish_timing(),
        }
    }

    /// Ends it, whatever it came to.
    pub(crate) fn stop_timing(&self) {
        match &self.inner.executor {
            Executor::Cpu => drop(profile::take_twins()),
            Executor::Gpu(gpu) => gpu.stop_timing(),
        }
    }

    /// Uploads elements to memory of their own.
    ///
    /// # Errors
    /// If the device has no room or has failed.
    pub fn upload<T: Element>(&self, elements: &[T]) -> Result<View> {
        let buffer = self.allocate(elements.len())?;
        self.write(&buffer, 0, bytemuck::cast_slice(elements))?;
        Ok(View::new(buffer, 0, elements.len()))
    }

    /// Returns the elements of a view. Waits for the device.
    ///
    /// # Errors
    /// If work on the device has failed, or a recording is being made.
    pub fn download<T: Element>(&self, view: &View) -> Result<Vec<T>> {
        Ok(bytemuck::cast_vec(self.read(&view.buffer, view.offset, view.length)?))
    }

    /// Writes words from the host into a buffer, from `offset` on.
    ///
    /// # Errors
    /// If work on the device has failed, or a recording that is being made cannot hold the write.
    pub fn write(&self, buffer: &Buffer, offset: usize, words: &[u32]) -> Result<()> {
        observer::check_device(self, "write")?;
        observer::check_write(buffer)?;
        if words.is_empty() {
            return Ok(());
        }
        buffer.note_host_write();
        match &self.inner.executor {
            Executor::Gpu(gpu) => {
                gpu.write(buffer.gpu(), offset, words)?;
            }
            Executor::Cpu => {
                let mut memory = buffer.cpu().write().unwrap_or_else(PoisonError::into_inner);
                memory[offset..offset + words.len()].copy_from_slice(words);
            }
        }
        Ok(())
    }

    /// Returns words of a buffer, from `offset` on. Waits for the device.
    ///
    /// # Errors
    /// If work on the device has failed, or a recording is being made.
    pub fn read(&self, buffer: &Buffer, offset: usize, length: usize) -> Result<Vec<u32>> {
        let mut reading = self.start_read(buffer, offset, length)?;
        if length > 0 {
            self.inner.host_syncs.fetch_add(1, Ordering::Relaxed);
        }
        Ok(self.finish_read(&mut reading, true)?.unwrap_or_else(|| unreachable!("a read that waits has its words")))
    }

    /// Has words read back behind all work so far, without waiting; the CPU does it at once.
    pub(crate) fn start_read(&self, buffer: &Buffer, offset: usize, length: usize) -> Result<Reading> {
        observer::check("read-back")?;
        match &self.inner.executor {
            _ if length == 0 => Ok(Reading::Done(Vec::new())),
            Executor::Gpu(gpu) => {
                let pool = &self.inner.pool;
                Ok(Reading::Gpu(pool.with_room(self, || gpu.start_read(buffer.gpu(), offset, length))?))
            }
            Executor::Cpu => {
                let memory = buffer.cpu().read().unwrap_or_else(PoisonError::into_inner);
                Ok(Reading::Done(memory[offset..offset + length].to_vec()))
            }
        }
    }

    /// Returns the words of a read, once, or has the task woken when they arrive.
    pub(crate) fn poll_read(&self, reading: &mut Reading, context: &mut Context<'_>) -> Poll<Result<Vec<u32>>> {
        match (&self.inner.executor, reading) {
            (_, Reading::Done(words)) => Poll::Ready(Ok(std::mem::take(words))),
            (Executor::Gpu(gpu), Reading::Gpu(read)) => gpu.poll_read(read, context),
            (Executor::Cpu, Reading::Gpu(_)) => unreachable!("a read of a GPU is asked of the CPU"),
        }
    }

    /// Returns the words of a read, once; `None` where they are not there yet, which does not happen if `wait` is set.
    pub(crate) fn finish_read(&self, reading: &mut Reading, wait: bool) -> Result<Option<Vec<u32>>> {
        match (&self.inner.executor, reading) {
            (_, Reading::Done(words)) => Ok(Some(std::mem::take(words))),
            (Executor::Gpu(gpu), Reading::Gpu(read)) => gpu.finish_read(read, wait),
            (Executor::Cpu, Reading::Gpu(_)) => unreachable!("a read of a GPU is asked of the CPU"),
        }
    }

    /// Copies words between two buffers. It is no kernel, since the driver's own copies are several times faster.
    ///
    /// # Errors
    /// [`Error::Aliasing`] if both are one buffer. Otherwise, if work on the device has failed.
    pub fn copy(
        &self,
        source: &Arc<Buffer>,
        source_offset: usize,
        target: &Arc<Buffer>,
        target_offset: usize,
        length: usize,
    ) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        if source.id() == target.id() {
            return Err(Error::Aliasing { op: "copy" });
        }
        observer::check_device(self, "copy")?;
        match &self.inner.executor {
            Executor::Gpu(gpu) => {
                gpu.copy(source.gpu(), source_offset, target.gpu(), target_offset, length)?;
            }
            Executor::Cpu => crate::cpu::copy(source, source_offset, target, target_offset, length),
        }
        observer::note(|| {
            let (source, target) = (source.clone(), target.clone());
            Work::Copy { source, source_offset, target, target_offset, length }
        });
        Ok(())
    }

    /// Sets words to zero. It is no kernel either.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn clear(&self, buffer: &Arc<Buffer>, offset: usize, length: usize) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        observer::check_device(self, "clear")?;
        match &self.inner.executor {
            Executor::Gpu(gpu) => {
                gpu.clear(buffer.gpu(), offset, length)?;
            }
            Executor::Cpu => crate::cpu::clear(buffer, offset, length),
        }
        observer::note(|| Work::Clear { buffer: buffer.clone(), offset, length });
        Ok(())
    }
}
