//! The executor of GPUs, on wgpu: nothing outside of this folder knows it, but for [`Device::from_wgpu`].
//!
//! [`Device::from_wgpu`]: crate::Device::from_wgpu

mod adapter;
mod pipeline;
mod stream;
mod timing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use adapter::Opened;
pub(crate) use adapter::list;

use crate::buffer::{ALIGNMENT, GpuBuffer};
use crate::info::DeviceInfo;
use crate::kernel::{Launch, Work};
use crate::profile::{TimeSource, Times};
use crate::{Error, Result};
use pipeline::{Pipeline, Pipelines};
use stream::{Command, Stream, UNIFORM_SLOT};
use timing::Timing;

/// An opened GPU.
pub(crate) struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: DeviceInfo,
    pipelines: Pipelines,
    stream: Mutex<Stream>,
    failure: Failure,
}

/// Commands of one submission of a replay at most, so that no driver takes it for a program that hangs.
const MOST_REPLAYED: usize = 1024;

/// A recording as a GPU replays it.
#[derive(Debug)]
pub(crate) struct GpuRecording {
    commands: Vec<Command>,
}

/// A read-back under way.
#[derive(Debug)]
pub(crate) struct GpuRead {
    staging: wgpu::Buffer,
    answer: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

/// The first thing that went wrong in work that was handed over; every later call answers with it.
#[derive(Debug, Clone, Default)]
struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    fn set(&self, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn check(&self) -> Result<()> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }
}

impl Gpu {
    /// Opens the adapter at an index of [`list`].
    pub(crate) fn open(index: usize) -> Result<Self> {
        Ok(Self::watched(adapter::open(index)?))
    }

    /// Opens the adapter that does nothing.
    pub(crate) fn open_noop() -> Result<Self> {
        Ok(Self::watched(adapter::open_noop()?))
    }

    /// A device of our own, whose errors are kept.
    fn watched(opened: Opened) -> Self {
        let gpu = Self::new(opened);
        let failure = gpu.failure.clone();
        gpu.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            tracing::error!(%error, "uncaptured error of the GPU");
            failure.set(Error::DeviceLost { reason: error.to_string() });
        }));
        let failure = gpu.failure.clone();
        gpu.device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                failure.set(Error::DeviceLost { reason: message });
            }
        });
        gpu
    }

    /// A device of somebody else's, of which is not known what cooperative matrices it has.
    pub(crate) fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self::new(Opened { device, queue, cooperative_matrix_side: None })
    }

    fn new(Opened { device, queue, cooperative_matrix_side: cooperative }: Opened) -> Self {
        let info = adapter::describe(&device.adapter_info(), &device.limits(), device.features(), cooperative);
        let stream = Mutex::new(Stream::new(&device));
        Self { info, pipelines: Pipelines::default(), stream, failure: Failure::default(), device, queue }
    }

    pub(crate) fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest buffer that a kernel can bind whole.
    pub(crate) fn max_buffer_bytes(&self) -> u64 {
        let limits = self.device.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    /// A fresh buffer. Where a kernel could not bind it whole, it is refused here rather than at the launch.
    pub(crate) fn allocate(&self, words: usize) -> Result<GpuBuffer> {
        let bytes = 4 * words as u64;
        let limits = self.device.limits();
        for (limit, allowed) in [
            ("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size),
            ("max_buffer_size", limits.max_buffer_size),
        ] {
            if bytes > allowed {
                return Err(Error::Limit { op: "allocate", limit, asked: bytes, allowed });
            }
        }
        let out_of_memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("tensor"),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        match pollster::block_on(out_of_memory.pop()) {
            Some(_) => Err(Error::OutOfMemory { bytes }),
            None => Ok(GpuBuffer { buffer, last_batch: AtomicU64::new(0) }),
        }
    }

    /// Collects a launch. Returns the number of submissions that it caused.
    pub(crate) fn run(&self, launch: &Launch) -> Result<u64> {
        self.failure.check()?;
        let groups = fold(launch, self.info.max_workgroups_per_dimension)?;
        let pipeline = self.pipelines.get(&self.device, launch)?;
        let mut stream = self.stream();
        let bind_group = self.bind(&pipeline, launch, stream.uniform_ring());
        for view in &launch.views {
            view.buffer.gpu().last_batch.store(stream.batch(), Ordering::Relaxed);
        }
        stream.push_dispatch(pipeline, bind_group, &launch.params, groups, launch.cost());
        if stream.is_full() { self.submit(&mut stream) } else { Ok(0) }
    }

    /// The bind group of a launch, its parameters in a slot of `uniforms`.
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
            // An empty view may stand at the very end of its buffer, where there is nothing to bind.
            let end = view.buffer.words();
            let offset = view.offset.min(end - ALIGNMENT);
            let words = view.length.max(1).next_multiple_of(ALIGNMENT).min(end - offset);
            bind(i as u32 + 1, &view.buffer.gpu().buffer, 4 * offset as u64, 4 * words as u64);
        }
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(launch.kernel.name()),
            layout: &pipeline.layout,
            entries: &entries,
        })
    }

    /// Makes all that a recording needs to be replayed: bind groups, and a buffer with the parameters of its launches.
    pub(crate) fn prepare(&self, work: &[Work]) -> Result<GpuRecording> {
        self.failure.check()?;
        let mut uniforms = Vec::new();
        let offsets: Vec<u32> = work
            .iter()
            .map(|work| match work {
                Work::Launch(launch) if launch.kernel.uniform > 0 => {
                    stream::push_uniform(&mut uniforms, &launch.params)
                }
                _ => 0,
            })
            .collect();
        let uniform_buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters of a recording"),
            size: uniforms.len().max(UNIFORM_SLOT) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue.write_buffer(&uniform_buffer, 0, &uniforms);
        let command = |(work, uniform_offset): (&Work, u32)| {
            Ok(match work {
                Work::Launch(launch) => {
                    let pipeline = self.pipelines.get(&self.device, launch)?;
                    Command::Dispatch {
                        bind_group: self.bind(&pipeline, launch, &uniform_buffer),
                        groups: fold(launch, self.info.max_workgroups_per_dimension)?,
                        cost: launch.cost(),
                        uniform_offset,
                        pipeline,
                    }
                }
                Work::Copy { source, source_offset, target, target_offset, length } => Command::Copy {
                    source: source.gpu().buffer.clone(),
                    source_offset: 4 * *source_offset as u64,
                    target: target.gpu().buffer.clone(),
                    target_offset: 4 * *target_offset as u64,
                    bytes: 4 * *length as u64,
                },
                Work::Clear { buffer, offset, length } => Command::Clear {
                    target: buffer.gpu().buffer.clone(),
                    offset: 4 * *offset as u64,
                    bytes: 4 * *length as u64,
                },
            })
        };
        Ok(GpuRecording { commands: work.iter().zip(offsets).map(command).collect::<Result<Vec<_>>>()? })
    }

    /// Replays a recording some times, behind all that is collected. Returns the number of submissions.
    pub(crate) fn replay(&self, recording: &GpuRecording, times: usize) -> Result<u64> {
        self.failure.check()?;
        let mut stream = self.stream();
        let mut submissions = self.submit(&mut stream)?;
        let at_once = (MOST_REPLAYED / recording.commands.len().max(1)).max(1);
        let mut left = times;
        while left > 0 {
            let now = left.min(at_once);
            let commands = std::iter::repeat_n(&recording.commands, now).flatten();
            stream::hand_over(&self.device, &self.queue, stream.timing.as_mut(), commands);
            submissions += 1;
            left -= now;
        }
        // Takes back what finished work has left; does not wait. What it may report reaches the failure handler.
        let _ = self.device.poll(wgpu::PollType::Poll);
        self.failure.check()?;
        Ok(submissions)
    }

    /// Writes words from the host. Writes of a queue run ahead of the submission that follows them, so work that is
    /// collected and uses the buffer goes out first.
    pub(crate) fn write(&self, target: &GpuBuffer, offset: usize, words: &[u32]) -> Result<u64> {
        self.failure.check()?;
        let mut stream = self.stream();
        let mut submitted = 0;
        if target.last_batch.load(Ordering::Relaxed) == stream.batch() {
            submitted = self.submit(&mut stream)?;
        }
        self.queue.write_buffer(&target.buffer, 4 * offset as u64, bytemuck::cast_slice(words));
        Ok(submitted)
    }

    pub(crate) fn copy(
        &self,
        source: &GpuBuffer,
        source_offset: usize,
        target: &GpuBuffer,
        target_offset: usize,
        length: usize,
    ) -> Result<u64> {
        self.failure.check()?;
        let mut stream = self.stream();
        for buffer in [source, target] {
            buffer.last_batch.store(stream.batch(), Ordering::Relaxed);
        }
        stream.push(Command::Copy {
            source: source.buffer.clone(),
            source_offset: 4 * source_offset as u64,
            target: target.buffer.clone(),
            target_offset: 4 * target_offset as u64,
            bytes: 4 * length as u64,
        });
        if stream.is_full() { self.submit(&mut stream) } else { Ok(0) }
    }

    pub(crate) fn clear(&self, target: &GpuBuffer, offset: usize, length: usize) -> Result<u64> {
        self.failure.check()?;
        let mut stream = self.stream();
        target.last_batch.store(stream.batch(), Ordering::Relaxed);
        stream.push(Command::Clear {
            target: target.buffer.clone(),
            offset: 4 * offset as u64,
            bytes: 4 * length as u64,
        });
        if stream.is_full() { self.submit(&mut stream) } else { Ok(0) }
    }

    /// Has words read back behind all work that was handed over, without waiting. Returns the read with the number of
    /// submissions.
    pub(crate) fn start_read(&self, source: &GpuBuffer, offset: usize, length: usize) -> Result<(GpuRead, u64)> {
        self.failure.check()?;
        let bytes = 4 * length as u64;
        let _span = tracing::debug_span!("read_back", bytes).entered();
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read-back"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let submitted = {
            let mut stream = self.stream();
            stream.push(Command::Copy {
                source: source.buffer.clone(),
                source_offset: 4 * offset as u64,
                target: staging.clone(),
                target_offset: 0,
                bytes,
            });
            self.submit(&mut stream)?
        };
        let (sender, answer) = mpsc::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver is gone only where nobody wants the answer any more.
            let _ = sender.send(result);
        });
        Ok((GpuRead { staging, answer }, submitted))
    }

    /// The words of a read; `None` where they are not there yet, which does not happen where `wait` is set.
    pub(crate) fn finish_read(&self, read: &GpuRead, wait: bool) -> Result<Option<Vec<u32>>> {
        let lost = |reason: String| Error::DeviceLost { reason };
        let answer = loop {
            if wait {
                self.wait()?;
            } else {
                // What it may report reaches the failure handler.
                let _ = self.device.poll(wgpu::PollType::Poll);
                self.failure.check()?;
            }
            // Where several threads wait, the answer may be one that another thread has fetched and is about to send.
            let patience = Duration::from_millis(if wait { 10 } else { 0 });
            match read.answer.recv_timeout(patience) {
                Ok(answer) => break answer,
                Err(mpsc::RecvTimeoutError::Timeout) if wait => {}
                Err(mpsc::RecvTimeoutError::Timeout) => return Ok(None),
                Err(error) => return Err(lost(error.to_string())),
            }
        };
        answer.map_err(|error| lost(error.to_string()))?;
        let mapped = read.staging.slice(..).get_mapped_range().map_err(|error| lost(error.to_string()))?;
        Ok(Some(bytemuck::pod_collect_to_vec(&mapped)))
    }

    /// Hands over what is collected. Returns the number of submissions, 0 or 1.
    pub(crate) fn flush(&self) -> Result<u64> {
        self.submit(&mut self.stream())
    }

    fn submit(&self, stream: &mut Stream) -> Result<u64> {
        let submitted = stream.submit(&self.device, &self.queue);
        self.failure.check()?;
        Ok(u64::from(submitted))
    }

    /// Takes the time of every dispatch from here on. Nothing may be collected.
    pub(crate) fn start_timing(&self, began: Instant) -> Result<TimeSource> {
        let mut stream = self.stream();
        if stream.timing.is_some() {
            return Err(Error::Profile);
        }
        Ok(stream.timing.insert(Timing::new(&self.device, began)).source())
    }

    /// Ends it, with what it came to. The work must be done.
    pub(crate) fn finish_timing(&self) -> Result<Times> {
        let timing = self.stream().timing.take();
        timing.map_or_else(|| Ok(Times::default()), |timing| timing.finish(&self.device, &self.queue))
    }

    /// Ends it, whatever it came to.
    pub(crate) fn stop_timing(&self) {
        self.stream().timing = None;
    }

    /// Waits for all work that was handed over.
    pub(crate) fn wait(&self) -> Result<()> {
        let _span = tracing::debug_span!("wait").entered();
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        self.failure.check()?;
        polled.map(|_| ()).map_err(|error| Error::DeviceLost { reason: error.to_string() })
    }
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
