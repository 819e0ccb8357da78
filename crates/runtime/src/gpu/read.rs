//! Read-backs, of which the host may ask without waiting.

use std::sync::mpsc;
use std::time::Duration;

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
    answer: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Gpu {
    /// Has words read back behind all work that was handed over, without waiting.
    pub(crate) fn start_read(&self, source: &GpuBuffer, offset: usize, length: usize) -> Result<GpuRead> {
        self.failure.check()?;
        let bytes = 4 * length as u64;
        let _span = tracing::debug_span!("read_back", bytes).entered();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = create_buffer(&self.device, "read-back", bytes, usage)?;
        let submission = {
            let mut stream = self.stream();
            stream.push(Command::Copy {
                source: source.buffer.clone(),
                source_offset: 4 * offset as u64,
                target: staging.clone(),
                target_offset: 0,
                bytes,
            });
            self.submit(&mut stream)?;
            self.flight.last()
        };
        let (sender, answer) = mpsc::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver is gone only where nobody wants the answer any more.
            let _ = sender.send(result);
        });
        Ok(GpuRead { staging, submission, answer })
    }

    /// The words of a read; `None` where they are not there yet, which does not happen where `wait` is set.
    pub(crate) fn finish_read(&self, read: &GpuRead, wait: bool) -> Result<Option<Vec<u32>>> {
        let refused = |reason: String| Error::Driver { reason };
        let answer = loop {
            if wait {
                self.flight.wait_for(read.submission)?;
            }
            self.flight.look();
            self.failure.check()?;
            // Where several threads wait, the answer may be one that another thread has fetched and is about to send.
            let patience = Duration::from_millis(if wait { 10 } else { 0 });
            match read.answer.recv_timeout(patience) {
                Ok(answer) => break answer,
                Err(mpsc::RecvTimeoutError::Timeout) if wait => {}
                Err(mpsc::RecvTimeoutError::Timeout) => return Ok(None),
                Err(error) => return Err(refused(error.to_string())),
            }
        };
        answer.map_err(|error| refused(error.to_string()))?;
        let mapped = read.staging.slice(..).get_mapped_range().map_err(|error| refused(error.to_string()))?;
        Ok(Some(bytemuck::pod_collect_to_vec(&mapped)))
    }
}
