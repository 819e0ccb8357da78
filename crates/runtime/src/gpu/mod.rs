//! The executor of GPUs, on wgpu. Nothing outside this folder depends on wgpu, except [`Device::from_wgpu`].
//!
//! [`Device::from_wgpu`]: crate::Device::from_wgpu

mod adapter;
mod failure;
mod flight;
mod once_map;
mod pace;
mod pipeline;
mod quiet;
mod read;
mod ready;
mod replay;
mod signal;
mod stream;
mod timing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use adapter::Opened;
pub(crate) use adapter::{Found, find, find_async};
pub(crate) use read::GpuRead;
pub(crate) use replay::GpuRecording;

use crate::info::DeviceInfo;
use crate::kernel::{Cost, Launch};
use crate::memory::{ALIGNMENT, GpuBuffer};
use crate::profile::{TimeSource, Times};
use crate::time::Instant;
use crate::{Error, Result};
use failure::Failure;
use flight::Flight;
pub(crate) use flight::MOST_IN_FLIGHT;
use pace::Pace;
use pipeline::{Pipeline, Pipelines};
use signal::Signal;
use stream::{Command, Stream, UNIFORM_SLOT};
use timing::Stopwatch;

/// Signals the end of all previously submitted work.
pub(crate) struct GpuSignal(Signal<()>);

/// An opened GPU.
pub(crate) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: DeviceInfo,
    pipelines: Pipelines,
    stream: Mutex<Stream>,
    /// The pace of work that is not part of a recording.
    pace: Arc<Pace>,
    flight: Flight,
    failure: Failure,
}

impl Gpu {
    /// Opens an adapter.
    pub(crate) async fn open(found: &Found) -> Result<Self> {
        Self::watched(adapter::open(found).await?)
    }

    /// Opens the `noop` adapter.
    pub(crate) fn open_noop() -> Result<Self> {
        Self::watched(adapter::open_noop()?)
    }

    /// Creates a device that this crate owns and whose errors are stored.
    fn watched(opened: Opened) -> Result<Self> {
        let gpu = Self::new(opened)?;
        let failure = gpu.failure.clone();
        gpu.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            tracing::error!(%error, "uncaptured error of the GPU");
            failure.set(Error::Driver { reason: error.to_string() });
        }));
        let failure = gpu.failure.clone();
        gpu.device.set_device_lost_callback(move |reason, message| {
            // A destroyed device was destroyed on purpose, so its error is already known.
            if reason == wgpu::DeviceLostReason::Unknown {
                failure.lose(Error::DeviceLost { reason: message });
            }
        });
        Ok(gpu)
    }

    /// Wraps a device of the host program, whose cooperative matrices are unknown.
    pub(crate) fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        Self::new(Opened { device, queue, cooperative_matrix_side: None })
    }

    fn new(Opened { device, queue, cooperative_matrix_side: cooperative }: Opened) -> Result<Self> {
        let info = adapter::describe(&device.adapter_info(), &device.limits(), device.features(), cooperative);
        let failure = Failure::default();
        let stream = Mutex::new(Stream::new(&device, &failure)?);
        let flight = Flight::new(device.clone(), queue.clone(), failure.clone());
        let (pipelines, pace) = (Pipelines::default(), Arc::default());
        Ok(Self { info, pipelines, stream, pace, flight, failure, device, queue })
    }

    pub(crate) fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the size of the largest buffer that a kernel can bind whole.
    pub(crate) fn max_buffer_bytes(&self) -> u64 {
        let limits = self.device.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    /// Creates a buffer. Returns an error here rather than at the launch if a kernel could not bind it whole.
    pub(crate) fn allocate(&self, bytes: usize) -> Result<GpuBuffer> {
        let bytes = bytes as u64;
        let limits = self.device.limits();
        for (limit, allowed) in [
            ("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size),
            ("max_buffer_size", limits.max_buffer_size),
        ] {
            if bytes > allowed {
                return Err(Error::Limit { op: "allocate", limit, asked: bytes, allowed });
            }
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = create_buffer(&self.device, &self.failure, "tensor", bytes, usage)?;
        Ok(GpuBuffer { buffer, last_batch: AtomicU64::new(0) })
    }

    /// Collects a launch.
    pub(crate) fn run(&self, launch: &Launch) -> Result<()> {
        self.failure.check()?;
        let groups = fold(launch, self.info.max_workgroups_per_dimension)?;
        let pipeline = self.pipelines.get(&self.device, &self.failure, launch)?;
        let cost = launch.cost();
        let mut stream = self.stream();
        self.make_room(&mut stream, cost)?;
        let bind_group = self.bind(&pipeline, launch, stream.uniform_ring());
        for view in &launch.views {
            view.buffer.gpu().last_batch.store(stream.batch(), Ordering::Relaxed);
        }
        stream.push_dispatch(pipeline, bind_group, launch, groups, cost);
        Ok(())
    }

    /// Submits the collected work if a command of this cost does not fit beside it.
    fn make_room(&self, stream: &mut Stream, cost: Cost) -> Result<()> {
        let has_room = !stream.is_full() && self.pace.fits(stream.guessed() + pace::guess(cost));
        if has_room { Ok(()) } else { self.submit(stream) }
    }

    /// Creates the bind group of a launch, with its parameters in a slot of `uniforms`.
    fn bind(&self, pipeline: &Pipeline, launch: &Launch, uniforms: &wgpu::Buffer) -> wgpu::BindGroup {
        let mut entries = Vec::with_capacity(launch.views.len() + 1);
        let mut bind = |binding, buffer, offset, size| {
            let buffer = wgpu::BufferBinding { buffer, offset, size: wgpu::BufferSize::new(size) };
            entries.push(wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(buffer) });
        };
        if pipeline.has_uniform {
            bind(0, uniforms, 0, pipeline::uniform_bytes(launch.kernel.uniform));
        }
        for (i, view) in launch.views.iter().enumerate() {
            // Slices start at multiples of the alignment, so rounding up never reaches the next one, and kernels may
            // take the last elements as a whole vector.
            // An empty view may be at the very end of its buffer, where there is nothing to bind.
            let end = view.buffer.bytes();
            let offset = view.byte_offset().min(end - ALIGNMENT);
            let bytes = view.byte_length().max(1).next_multiple_of(ALIGNMENT).min(end - offset);
            bind(i as u32 + 1, &view.buffer.gpu().buffer, offset as u64, bytes as u64);
        }
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(launch.kernel.name()),
            layout: &pipeline.layout,
            entries: &entries,
        })
    }

    /// Encodes commands and submits them; times them while a profile is made.
    fn hand_over<'a>(
        &self,
        stream: &mut Stream,
        commands: impl Iterator<Item = &'a Command>,
        guessed: f64,
        pace: &Arc<Pace>,
    ) -> Result<()> {
        self.flight.make_room()?;
        if let Some(timing) = &mut stream.timing {
            return timing.submit(&self.flight, commands, guessed, pace);
        }
        let span = tracing::debug_span!("encode").entered();
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("stream") });
        stream::encode(&mut encoder, commands);
        let encoded = encoder.finish();
        drop(span);
        self.flight.submit(encoded, guessed, pace);
        Ok(())
    }

    /// Writes bytes from the host; the offset and the length are multiples of four. A queue runs its writes before
    /// the next submission, so collected work that uses the buffer is submitted first.
    pub(crate) fn write(&self, target: &GpuBuffer, offset: usize, bytes: &[u8]) -> Result<()> {
        self.failure.check()?;
        let mut stream = self.stream();
        if target.last_batch.load(Ordering::Relaxed) == stream.batch() {
            self.submit(&mut stream)?;
        }
        self.queue.write_buffer(&target.buffer, offset as u64, bytes);
        Ok(())
    }

    pub(crate) fn copy(
        &self,
        source: &GpuBuffer,
        source_offset: usize,
        target: &GpuBuffer,
        target_offset: usize,
        bytes: usize,
    ) -> Result<()> {
        self.failure.check()?;
        let command = Command::Copy {
            source: source.buffer.clone(),
            source_offset: source_offset as u64,
            target: target.buffer.clone(),
            target_offset: target_offset as u64,
            bytes: bytes as u64,
        };
        let mut stream = self.stream();
        self.make_room(&mut stream, command.cost())?;
        for buffer in [source, target] {
            buffer.last_batch.store(stream.batch(), Ordering::Relaxed);
        }
        stream.push(command);
        Ok(())
    }

    pub(crate) fn clear(&self, target: &GpuBuffer, offset: usize, bytes: usize) -> Result<()> {
        self.failure.check()?;
        let command = Command::Clear { target: target.buffer.clone(), offset: offset as u64, bytes: bytes as u64 };
        let mut stream = self.stream();
        self.make_room(&mut stream, command.cost())?;
        target.last_batch.store(stream.batch(), Ordering::Relaxed);
        stream.push(command);
        Ok(())
    }

    /// Submits the collected work.
    pub(crate) fn flush(&self) -> Result<()> {
        self.submit(&mut self.stream())
    }

    /// Submits the collected work. The uniform ring is written from its start each time: the queue runs this write
    /// between the previous and the next submission.
    fn submit(&self, stream: &mut Stream) -> Result<()> {
        if stream.is_empty() {
            return self.failure.check();
        }
        // If there is no room, the collected work is kept.
        self.flight.make_room()?;
        stream.write_uniforms(&self.queue);
        let (commands, guessed) = stream.take();
        self.hand_over(stream, commands.iter(), guessed, &self.pace)?;
        stream.give_back(commands);
        self.failure.check()
    }

    /// Starts timing every dispatch. No collected work may be pending.
    pub(crate) fn start_timing(&self, began: Instant) -> Result<TimeSource> {
        let mut stream = self.stream();
        if stream.timing.is_some() {
            return Err(Error::Profile);
        }
        Ok(stream.timing.insert(Stopwatch::new(&self.device, began)).source())
    }

    /// Stops timing and returns the times. The work must be done.
    pub(crate) fn finish_timing(&self) -> Result<Times> {
        let timing = self.stream().timing.take();
        timing.map_or_else(|| Ok(Times::default()), |timing| timing.finish(&self.flight))
    }

    /// Stops timing and discards the times.
    pub(crate) fn stop_timing(&self) {
        self.stream().timing = None;
    }

    /// Waits for all submitted work.
    pub(crate) fn wait(&self) -> Result<()> {
        self.flight.wait()
    }

    /// Returns a signal for the end of all submitted work.
    pub(crate) fn finished(&self) -> GpuSignal {
        let signal = Signal::new();
        let sender = signal.clone();
        self.queue.on_submitted_work_done(move || sender.set(()));
        GpuSignal(signal)
    }

    /// Returns whether the work is done, or registers the task to be woken when it is.
    pub(crate) fn poll_finished(&self, signal: &GpuSignal, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.flight.poll_signal(&signal.0, context)
    }

    /// Sets the time limit for one submission.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.flight.set_patience(patience);
    }

    /// Returns the number of submissions in flight, and its maximum so far.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        self.flight.in_flight()
    }

    /// Returns the number of submissions, and of those that had to wait for an earlier one.
    pub(crate) fn submissions(&self) -> (u64, u64) {
        self.flight.submissions()
    }

    /// Frees all memory on the device, after the work in progress. Every later call fails.
    pub(crate) fn close(&self) {
        self.failure.lose(Error::DeviceLost { reason: "it was closed".to_string() });
        self.device.destroy();
        self.flight.drain();
    }

    /// Returns whether the device has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.check().is_err()
    }
}

/// Creates a buffer. If there is no memory for it, the device is not lost.
fn create_buffer(
    device: &wgpu::Device,
    failure: &Failure,
    label: &'static str,
    size: u64,
    usage: wgpu::BufferUsages,
) -> Result<wgpu::Buffer> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
    let buffer = device.create_buffer(&descriptor);
    failure.close_scope(scope, move |_| Error::OutOfMemory { bytes: size })?;
    Ok(buffer)
}

/// Opens an adapter synchronously, as native backends allow.
///
/// # Errors
/// [`Error::Adapter`] if the driver rejects it, or if the adapter opens asynchronously, as in a browser.
pub(crate) fn open(found: &Found) -> Result<Gpu> {
    ready::poll_once(Gpu::open(found)).unwrap_or_else(|| {
        let reason = "a browser opens it later; use Device::open_async".to_string();
        Err(Error::Adapter { adapter: found.info.name.clone(), reason })
    })
}

/// Folds a number of workgroups over x and y, with as few past the end as possible.
fn fold(launch: &Launch, most: u32) -> Result<[u32; 3]> {
    let (groups, most) = (launch.workgroups as u64, u64::from(most));
    let rows = groups.div_ceil(most);
    if rows > most {
        return Err(Error::Limit {
            op: launch.kernel.name(),
            limit: "max_compute_workgroups_per_dimension, squared",
            asked: groups,
            allowed: most * most,
        });
    }
    Ok([groups.div_ceil(rows) as u32, rows as u32, 1])
}

const _: () = assert!(UNIFORM_SLOT == 256, "the portable alignment of dynamic offsets");
