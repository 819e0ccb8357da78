//! Work on a device: launches, replays, copies, writes and reads, dispatched to the device's executor.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

use super::faults::WORDS;
use super::{Device, Executor, Reading, observer};
use crate::cpu::CpuRecording;
use crate::gpu::GpuRecording;
use crate::kernel::{Launch, Work};
use crate::memory::{Buffer, View};
use crate::profile::{self, TimeSource, Times};
use crate::time::Instant;
use crate::{Element, Error, Result};

impl Launch {
    /// Runs the launch on the device of its tensors.
    ///
    /// # Errors
    /// If the device rejects the launch: bindings or parameters do not match the kernel, a buffer is both read and
    /// written, the shader does not compile, or a limit is exceeded.
    pub fn run(self, device: &Device) -> Result<()> {
        device.run(&self)
    }
}

/// A recording, prepared for replays on its device.
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

    /// Replays recorded work.
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

    /// Starts timing every launch. No collected work may be pending.
    pub(crate) fn start_timing(&self, began: Instant) -> Result<TimeSource> {
        match &self.inner.executor {
            Executor::Cpu => profile::start_twins(began).map(|()| TimeSource::Twins),
            Executor::Gpu(gpu) => gpu.start_timing(began),
        }
    }

    /// Stops timing and returns the times. The work must be done.
    pub(crate) fn finish_timing(&self) -> Result<Times> {
        match &self.inner.executor {
            Executor::Cpu => Ok(profile::take_twins()),
            Executor::Gpu(gpu) => gpu.finish_timing(),
        }
    }

    /// Stops timing and discards the times.
    pub(crate) fn stop_timing(&self) {
        match &self.inner.executor {
            Executor::Cpu => drop(profile::take_twins()),
            Executor::Gpu(gpu) => gpu.stop_timing(),
        }
    }

    /// Uploads elements to new memory.
    ///
    /// # Errors
    /// If the device has no room or has failed.
    pub fn upload<T: Element>(&self, elements: &[T]) -> Result<View> {
        let buffer = self.allocate(size_of_val(elements))?;
        if size_of_val(elements).is_multiple_of(4) {
            self.write(&buffer, 0, elements)?;
        } else {
            // Pads the last word; its second half is unused.
            let mut whole = elements.to_vec();
            whole.push(T::zeroed());
            self.write(&buffer, 0, &whole)?;
        }
        Ok(View::new(buffer, T::DTYPE, 0, elements.len()))
    }

    /// Returns the elements of a view. Waits for the device.
    ///
    /// # Errors
    /// If `T` is not the type of the elements, work on the device has failed, or a recording is being made.
    pub fn download<T: Element>(&self, view: &View) -> Result<Vec<T>> {
        if view.dtype != T::DTYPE {
            return Err(Error::DType { op: "download", expected: T::DTYPE, found: view.dtype });
        }
        self.read(&view.buffer, view.offset, view.length)
    }

    /// Writes elements from the host into a buffer, starting at element `offset`.
    ///
    /// Two-byte elements that begin or end in the middle of a four-byte word cost a wait on a GPU, since the other
    /// half of that word is read first.
    ///
    /// # Errors
    /// If work on the device has failed, or the recording in progress cannot contain the write.
    pub fn write<T: Element>(&self, buffer: &Buffer, offset: usize, elements: &[T]) -> Result<()> {
        observer::check_device(self, "write")?;
        observer::check_write(buffer)?;
        if elements.is_empty() {
            return Ok(());
        }
        let (start, bytes): (usize, &[u8]) = (offset * size_of::<T>(), bytemuck::cast_slice(elements));
        match &self.inner.executor {
            Executor::Gpu(gpu) if start.is_multiple_of(4) && bytes.len().is_multiple_of(4) => {
                gpu.write(buffer.gpu(), start, bytes)?;
            }
            Executor::Gpu(gpu) => {
                let (first, end) = (start / 4 * 4, (start + bytes.len()).next_multiple_of(4));
                let mut whole: Vec<u8> = vec![0; end - first];
                let is_partial = |word: &usize| *word < start || word + 4 > start + bytes.len();
                let last = Some(end - 4).filter(|&last| last > first);
                for word in std::iter::once(first).chain(last).filter(is_partial) {
                    let kept: Vec<u32> = self.read(buffer, word / 4, 1)?;
                    whole[word - first..][..4].copy_from_slice(bytemuck::cast_slice(&kept));
                }
                whole[start - first..][..bytes.len()].copy_from_slice(bytes);
                gpu.write(buffer.gpu(), first, &whole)?;
            }
            Executor::Cpu => {
                let mut memory = buffer.cpu().write().unwrap_or_else(PoisonError::into_inner);
                let memory: &mut [u8] = bytemuck::cast_slice_mut(&mut memory);
                memory[start..start + bytes.len()].copy_from_slice(bytes);
            }
        }
        buffer.note_host_write();
        Ok(())
    }

    /// Returns elements of a buffer, starting at element `offset`. Waits for the device.
    ///
    /// # Errors
    /// If work on the device has failed, or a recording is being made.
    pub fn read<T: Element>(&self, buffer: &Buffer, offset: usize, length: usize) -> Result<Vec<T>> {
        let range = WordRange::of::<T>(offset, length);
        let mut reading = self.start_read(buffer, range)?;
        if length > 0 {
            self.inner.host_syncs.fetch_add(1, Ordering::Relaxed);
        }
        let words = self.finish_read(&mut reading, true)?;
        Ok(range.elements(words.unwrap_or_else(|| unreachable!("a read that waits has its words"))))
    }

    /// Starts reading words back after all work so far, without waiting; the CPU reads at once.
    pub(crate) fn start_read(&self, buffer: &Buffer, range: WordRange) -> Result<Reading> {
        let WordRange { start, end, .. } = range;
        observer::check("read-back")?;
        match &self.inner.executor {
            _ if start == end => Ok(Reading::Done(Vec::new())),
            Executor::Gpu(gpu) => {
                let (pool, bytes) = (&self.inner.pool, 4 * (end - start));
                let faults = self.fault_memory().map(|faults| (faults.gpu(), 4 * WORDS));
                Ok(Reading::Gpu(pool.with_room(self, || gpu.start_read(buffer.gpu(), 4 * start, bytes, faults))?))
            }
            Executor::Cpu => {
                let words = |buffer: &Buffer, start: usize, end: usize| {
                    buffer.cpu().read().unwrap_or_else(PoisonError::into_inner)[start..end].to_vec()
                };
                let mut reading = Reading::Done(words(buffer, start, end));
                if let Some(faults) = self.fault_memory() {
                    self.check_faults(&words(faults, 0, WORDS), &mut reading)?;
                }
                Ok(reading)
            }
        }
    }

    /// Returns the words of a read, once, or registers the task to be woken when they arrive.
    pub(crate) fn poll_read(&self, reading: &mut Reading, context: &mut Context<'_>) -> Poll<Result<Vec<u32>>> {
        match (&self.inner.executor, reading) {
            (_, Reading::Done(words)) => Poll::Ready(Ok(std::mem::take(words))),
            (_, Reading::Refused(error)) => Poll::Ready(Err(error.clone())),
            (Executor::Gpu(gpu), reading @ Reading::Gpu(_)) => {
                let Reading::Gpu(read) = reading else { unreachable!("it is one of a GPU") };
                gpu.poll_read(read, context).map(|answer| {
                    let (words, faults) = answer?;
                    self.check_faults(&faults, reading)?;
                    Ok(words)
                })
            }
            (Executor::Cpu, Reading::Gpu(_)) => unreachable!("a read of a GPU is asked of the CPU"),
        }
    }

    /// Returns the words of a read, once, or `None` if they have not arrived. With `wait` it waits for them.
    pub(crate) fn finish_read(&self, reading: &mut Reading, wait: bool) -> Result<Option<Vec<u32>>> {
        match (&self.inner.executor, reading) {
            (_, Reading::Done(words)) => Ok(Some(std::mem::take(words))),
            (_, Reading::Refused(error)) => Err(error.clone()),
            (Executor::Gpu(gpu), reading @ Reading::Gpu(_)) => {
                let Reading::Gpu(read) = reading else { unreachable!("it is one of a GPU") };
                let Some((words, faults)) = gpu.finish_read(read, wait)? else { return Ok(None) };
                self.check_faults(&faults, reading)?;
                Ok(Some(words))
            }
            (Executor::Cpu, Reading::Gpu(_)) => unreachable!("a read of a GPU is asked of the CPU"),
        }
    }

    /// Copies bytes between two buffers. It uses the driver's copy, which is several times faster than a kernel.
    ///
    /// # Errors
    /// [`Error::Argument`] if an offset or the number of bytes is not a multiple of four; [`Error::Aliasing`] if both
    /// buffers are the same. Otherwise, if work on the device has failed.
    pub fn copy(
        &self,
        source: &Arc<Buffer>,
        source_offset: usize,
        target: &Arc<Buffer>,
        target_offset: usize,
        bytes: usize,
    ) -> Result<()> {
        check_words("copy", [source_offset, target_offset, bytes])?;
        if bytes == 0 {
            return Ok(());
        }
        if source.id() == target.id() {
            return Err(Error::Aliasing { op: "copy" });
        }
        observer::check_device(self, "copy")?;
        match &self.inner.executor {
            Executor::Gpu(gpu) => {
                gpu.copy(source.gpu(), source_offset, target.gpu(), target_offset, bytes)?;
            }
            Executor::Cpu => crate::cpu::copy(source, source_offset, target, target_offset, bytes),
        }
        observer::note(|| {
            let (source, target) = (source.clone(), target.clone());
            Work::Copy { source, source_offset, target, target_offset, bytes }
        });
        Ok(())
    }

    /// Sets bytes to zero, starting at byte `offset`. It uses the driver's clear as well.
    ///
    /// # Errors
    /// [`Error::Argument`] if the offset or the number of bytes is not a multiple of four. Otherwise, if work on the
    /// device has failed.
    pub fn clear(&self, buffer: &Arc<Buffer>, offset: usize, bytes: usize) -> Result<()> {
        check_words("clear", [offset, bytes])?;
        if bytes == 0 {
            return Ok(());
        }
        observer::check_device(self, "clear")?;
        match &self.inner.executor {
            Executor::Gpu(gpu) => {
                gpu.clear(buffer.gpu(), offset, bytes)?;
            }
            Executor::Cpu => crate::cpu::clear(buffer, offset, bytes),
        }
        observer::note(|| Work::Clear { buffer: buffer.clone(), offset, bytes });
        Ok(())
    }
}

/// The words that contain elements, and the position of the first element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WordRange {
    start: usize,
    end: usize,
    /// The number of elements in the first word before the first one.
    skip: usize,
    length: usize,
}

impl WordRange {
    /// Returns the range of `length` elements from element `offset` on.
    pub(crate) fn of<T: Element>(offset: usize, length: usize) -> Self {
        let of_word = 4 / size_of::<T>();
        let start = offset / of_word;
        let end = if length == 0 { start } else { (offset + length).div_ceil(of_word) };
        Self { start, end, skip: offset % of_word, length }
    }

    /// Extracts the elements from its words.
    pub(crate) fn elements<T: Element>(self, words: Vec<u32>) -> Vec<T> {
        match size_of::<T>() {
            4 => bytemuck::cast_vec(words),
            _ if self.length == 0 => Vec::new(),
            _ => bytemuck::cast_slice::<u32, T>(&words)[self.skip..][..self.length].to_vec(),
        }
    }
}

/// Checks that offsets and lengths in bytes are multiples of four, as WebGPU requires.
fn check_words<const N: usize>(op: &'static str, bytes: [usize; N]) -> Result<()> {
    match bytes.into_iter().find(|bytes| !bytes.is_multiple_of(4)) {
        None => Ok(()),
        Some(bytes) => Err(Error::Argument { op, name: "bytes", value: bytes.to_string(), rule: "a multiple of four" }),
    }
}
