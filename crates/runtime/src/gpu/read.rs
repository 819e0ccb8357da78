//! Read-backs, of which the host may ask without waiting.

use std::task::{Context, Poll};
use std::time::Duration;

use super::signal::Signal;
use super::stream::Command;
use super::{Gpu, create_buffer};
use crate::memory::GpuBuffer;
use crate::{Error, Result};

/// A read-back under way.
#[derive(Debug)]
pub(crate) struct GpuRead {
    staging: wgpu::Buffer,
    /// The number of the submission that fills it.
    submission: u64,
    answer: Signal<Result<(), wgpu::BufferAsyncError>>,
}

impl Gpu {
    /// Has bytes read back after all submitted work, without waiting: from a multiple of four on, and as many.
    pub(crate) fn start_read(&self, source: &GpuBuffer, offset: usize, bytes: usize) -> Result<GpuRead> {
        self.failure.check()?;
        let bytes = bytes as u64;
        let _span = tracing::debug_span!("read_back", bytes).entered();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = create_buffer(&self.device, &self.failure, "read-back", bytes, usage)?;
        let submission = {
            let mut stream = self.stream();
            stream.push(Command::Copy {
                source: source.buffer.clone(),
                source_offset: offset as u64,
                target: staging.clone(),
                target_offset: 0,
                bytes,
            });
            self.submit(&mut stream)?;
            self.flight.last()
        };
        let answer = Signal::new();
        let sender = answer.clone();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| sender.set(result));
        Ok(GpuRead { staging, submission, answer })
    }

    /// The words of a read; `None` where they are not there yet, which does not happen where `wait` is set.
    pub(crate) fn finish_read(&self, read: &GpuRead, wait: bool) -> Result<Option<Vec<u32>>> {
        let answer = loop {
            if wait {
                self.flight.wait_for(read.submission)?;
            }
            self.flight.look();
            self.failure.check()?;
            // Where several threads wait, the answer may be one that another thread has fetched and is about to send.
            let answer = if wait { read.answer.take_within(Duration::from_millis(10)) } else { read.answer.take() };
            match answer {
                Some(answer) => break answer,
                None if wait => {}
                None => return Ok(None),
            }
        };
        self.mapped(read, answer).map(Some)
    }

    /// Returns the words of a read, or has the task woken when they arrive.
    pub(crate) fn poll_read(&self, read: &GpuRead, context: &mut Context<'_>) -> Poll<Result<Vec<u32>>> {
        self.flight.poll_signal(&read.answer, context).map(|answer| self.mapped(read, answer?))
    }

    fn mapped(&self, read: &GpuRead, answer: Result<(), wgpu::BufferAsyncError>) -> Result<Vec<u32>> {
        let refused = |reason: String| Error::Driver { reason };
        answer.map_err(|error| refused(error.to_string()))?;
        let mapped = read.staging.slice(..).get_mapped_range().map_err(|error| refused(error.to_string()))?;
        Ok(bytemuck::pod_collect_to_vec(&mapped))
    }
}
