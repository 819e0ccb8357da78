//! The GPU executor in a build without wgpu: there is none, so its types have no values.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::info::DeviceInfo;
use crate::kernel::{Launch, Work};
use crate::memory::GpuBuffer;
use crate::profile::{TimeSource, Times};
use crate::time::Instant;
use crate::{Error, Result};

/// The most submissions in flight: none.
pub(crate) const MOST_IN_FLIGHT: usize = 0;

/// A GPU, which does not exist.
pub(crate) enum Gpu {}

/// A read-back, which does not exist.
#[derive(Debug)]
pub(crate) enum GpuRead {}

/// A recording, which does not exist.
#[derive(Debug)]
pub(crate) enum GpuRecording {}

/// A signal, which does not exist.
pub(crate) enum GpuSignal {}

/// An adapter, which does not exist.
pub(crate) struct Found {
    pub(crate) info: DeviceInfo,
    pub(crate) id: String,
    never: Never,
}

enum Never {}

/// Returns an empty list.
pub(crate) fn find() -> Vec<Found> {
    Vec::new()
}

/// Returns an empty list.
#[allow(clippy::unused_async, reason = "as with wgpu")]
pub(crate) async fn find_async() -> Vec<Found> {
    Vec::new()
}

/// Is never called, since there is no adapter.
pub(crate) fn open(found: &Found) -> Result<Gpu> {
    match found.never {}
}

impl Gpu {
    #[allow(clippy::unused_async, reason = "as with wgpu")]
    pub(crate) async fn open(found: &Found) -> Result<Self> {
        match found.never {}
    }

    pub(crate) fn open_noop() -> Result<Self> {
        let reason = "this program was built without a GPU backend; enable the feature `gpu`".to_string();
        Err(Error::Adapter { adapter: "noop".to_string(), reason })
    }

    pub(crate) fn info(&self) -> &DeviceInfo {
        match *self {}
    }

    pub(crate) fn max_buffer_bytes(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn allocate(&self, _bytes: usize) -> Result<GpuBuffer> {
        match *self {}
    }

    pub(crate) fn run(&self, _launch: &Launch) -> Result<()> {
        match *self {}
    }

    pub(crate) fn write(&self, _target: &GpuBuffer, _offset: usize, _bytes: &[u8]) -> Result<()> {
        match *self {}
    }

    pub(crate) fn copy(
        &self,
        _source: &GpuBuffer,
        _source_offset: usize,
        _target: &GpuBuffer,
        _target_offset: usize,
        _bytes: usize,
    ) -> Result<()> {
        match *self {}
    }

    pub(crate) fn clear(&self, _target: &GpuBuffer, _offset: usize, _bytes: usize) -> Result<()> {
        match *self {}
    }

    pub(crate) fn flush(&self) -> Result<()> {
        match *self {}
    }

    pub(crate) fn wait(&self) -> Result<()> {
        match *self {}
    }

    pub(crate) fn finished(&self) -> GpuSignal {
        match *self {}
    }

    pub(crate) fn poll_finished(&self, _signal: &GpuSignal, _context: &mut Context<'_>) -> Poll<Result<()>> {
        match *self {}
    }

    pub(crate) fn start_read(
        &self,
        _source: &GpuBuffer,
        _offset: usize,
        _bytes: usize,
        _faults: Option<(&GpuBuffer, usize)>,
    ) -> Result<GpuRead> {
        match *self {}
    }

    pub(crate) fn finish_read(&self, _read: &GpuRead, _wait: bool) -> Result<Option<(Vec<u32>, Vec<u32>)>> {
        match *self {}
    }

    pub(crate) fn poll_read(&self, _read: &GpuRead, _context: &mut Context<'_>) -> Poll<Result<(Vec<u32>, Vec<u32>)>> {
        match *self {}
    }

    pub(crate) fn prepare(&self, _work: &[Work]) -> Result<GpuRecording> {
        match *self {}
    }

    pub(crate) fn replay(&self, _recording: &GpuRecording, _times: usize) -> Result<()> {
        match *self {}
    }

    pub(crate) fn start_timing(&self, _began: Instant) -> Result<TimeSource> {
        match *self {}
    }

    pub(crate) fn finish_timing(&self) -> Result<Times> {
        match *self {}
    }

    pub(crate) fn stop_timing(&self) {
        match *self {}
    }

    pub(crate) fn set_patience(&self, _patience: Duration) {
        match *self {}
    }

    pub(crate) fn in_flight(&self) -> (usize, usize) {
        match *self {}
    }

    pub(crate) fn submissions(&self) -> (u64, u64) {
        match *self {}
    }

    pub(crate) fn close(&self) {
        match *self {}
    }

    pub(crate) fn has_failed(&self) -> bool {
        match *self {}
    }
}
