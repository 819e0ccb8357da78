//! Read-backs that the host can poll without waiting.

use std::task::{Context, Poll};
use std::time::Duration;

use super::signal::Signal;
use super::stream::Command;
use super::{Gpu, create_buffer};
use crate::memory::GpuBuffer;
use crate::{Error, Result};

/// A read-back in progress.
#[derive(Debug)]
pub(crate) struct GpuRead {
    staging: wgpu::Buffer,
    /// The number of words before those of faults.
    words: usize,
    /// The number of the submission that fills the buffer.
    submission: u64,
    answer: Signal<Result<(), wgpu::BufferAsyncError>>,
}

impl Gpu {
    /// Starts reading bytes back after all submitted work, without waiting. Offset and length are multiples of four.
    /// The bytes of faults, if there are any, come after them.
    pub(crate) fn start_read(
        &self,
        source: &GpuBuffer,
        offset: usize,
        bytes: usize,
        faults: Option<(&GpuBuffer, usize)>,
    ) -> Result<GpuRead> {
        self.failure.check()?;
        let words = bytes / 4;
        let fault_bytes = faults.map_or(0, |(_, bytes)| bytes as u64);
        let bytes = bytes as u64;
        let _span = tracing::debug_span!("read_back", bytes).entered();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = create_buffer(&self.device, &self.failure, "read-back", bytes + fault_bytes, usage)?;
        let submission = {
            let mut stream = self.stream();
            stream.push(Command::Copy {
                source: source.buffer.clone(),
                source_offset: offset as u64,
                target: staging.clone(),
                target_offset: 0,
                bytes,
            });
            if let Some((faults, _)) = faults {
                stream.push(Command::Copy {
                    source: faults.buffer.clone(),
                    source_offset: 0,
                    target: staging.clone(),
                    target_offset: bytes,
                    bytes: fault_bytes,
                });
            }
            self.submit(&mut stream)?;
            self.flight.last()
        };
        let answer = Signal::new();
        let sender = answer.clone();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| sender.set(result));
        Ok(GpuRead { staging, words, submission, answer })
    }

    /// Returns the words of a read and those of faults, or `None` if they have not arrived. With `wait` it waits for them.
    pub(crate) fn finish_read(&self, read: &GpuRead, wait: bool) -> Result<Option<(Vec<u32>, Vec<u32>)>> {
        let answer = loop {
            if wait {
                self.flight.wait_for(read.submission)?;
            }
            self.flight.look();
            self.failure.check()?;
            // If several threads wait, another thread may have fetched the answer, and be about to send it.
            let answer = if wait { read.answer.take_within(Duration::from_millis(10)) } else { read.answer.take() };
            match answer {
                Some(answer) => break answer,
                None if wait => {}
                None => return Ok(None),
            }
        };
        self.mapped(read, answer).map(Some)
    }

    /// Returns the words of a read and those of faults, or registers the task to be woken when they arrive.
    pub(crate) fn poll_read(&self, read: &GpuRead, context: &mut Context<'_>) -> Poll<Result<(Vec<u32>, Vec<u32>)>> {
        self.flight.poll_signal(&read.answer, context).map(|answer| self.mapped(read, answer?))
    }

    fn mapped(&self, read: &GpuRead, answer: Result<(), wgpu::BufferAsyncError>) -> Result<(Vec<u32>, Vec<u32>)> {
        let refused = |reason: String| Error::Driver { reason };
        answer.map_err(|error| refused(error.to_string()))?;
        let mapped = read.staging.slice(..).get_mapped_range().map_err(|error| refused(error.to_string()))?;
        let mut words: Vec<u32> = bytemuck::pod_collect_to_vec(&mapped);
        let faults = words.split_off(read.words);
        Ok((words, faults))
    }
}
