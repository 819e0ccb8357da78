//! The executor of GPUs, on wgpu: nothing outside of this folder knows it, but for [`Device::from_wgpu`].
//!
//! [`Device::from_wgpu`]: crate::Device::from_wgpu

mod adapter;
mod flight;
mod once_map;
mod pace;
mod pipeline;
mod stream;
mod timing;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use adapter::Opened;
pub(crate) use adapter::{Found, find};

use crate::info::DeviceInfo;
use crate::kernel::{Cost, Launch, Work};
use crate::memory::{ALIGNMENT, GpuBuffer};
use crate::profile::{TimeSource, Times};
use crate::{Error, Result};
use flight::Flight;
pub(crate) use flight::MOST_IN_FLIGHT;
use pace::Pace;
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
    /// The pace of work that is not recorded.
    pace: Arc<Pace>,
    flight: Flight,
    failure: Failure,
}

/// Commands of one submission of replays at most.
const MOST_REPLAYED: usize = 1024;

/// A recording as a GPU replays it.
#[derive(Debug)]
pub(crate) struct GpuRecording {
    commands: Vec<Command>,
    /// The guessed time of one replay, and how far it is off.
    guessed: f64,
    pace: Arc<Pace>,
}

/// A read-back under way.
#[derive(Debug)]
pub(crate) struct GpuRead {
    staging: wgpu::Buffer,
    /// The number of the submission that fills it.
    submission: u64,
    answer: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

/// The first thing that went wrong in work that was handed over; every later call answers with it.
#[derive(Debug, Clone, Default)]
struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    fn set(&self, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// As [`set`](Self::set), in the place of whatever failed before because of it.
    fn lose(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn check(&self) -> Result<()> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }
}

impl Gpu {
    /// Opens an adapter.
    pub(crate) fn open(found: &Found) -> Result<Self> {
        Self::watched(adapter::open(found)?)
    }

    /// Opens the adapter that does nothing.
    pub(crate) fn open_noop() -> Result<Self> {
        Self::watched(adapter::open_noop()?)
    }

    /// A device of our own, whose errors are kept.
    fn watched(opened: Opened) -> Result<Self> {
        let gpu = Self::new(opened)?;
        let failure = gpu.failure.clone();
        gpu.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            tracing::error!(%error, "uncaptured error of the GPU");
            failure.set(Error::Driver { reason: error.to_string() });
        }));
        let failure = gpu.failure.clone();
        gpu.device.set_device_lost_callback(move |reason, message| {
            // Where it was destroyed, which happens on purpose alone, that is known already.
            if reason == wgpu::DeviceLostReason::Unknown {
                failure.lose(Error::DeviceLost { reason: message });
            }
        });
        Ok(gpu)
    }

    /// Takes a device of the host program, of which it is not known which cooperative matrices it has.
    pub(crate) fn from_wgpu(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        Self::new(Opened { device, queue, cooperative_matrix_side: None })
    }

    fn new(Opened { device, queue, cooperative_matrix_side: cooperative }: Opened) -> Result<Self> {
        let info = adapter::describe(&device.adapter_info(), &device.limits(), device.features(), cooperative);
        let stream = Mutex::new(Stream::new(&device)?);
        let failure = Failure::default();
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
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = create_buffer(&self.device, "tensor", bytes, usage)?;
        Ok(GpuBuffer { buffer, last_batch: AtomicU64::new(0) })
    }

    /// Collects a launch.
    pub(crate) fn run(&self, launch: &Launch) -> Result<()> {
        self.failure.check()?;
        let groups = fold(launch, self.info.max_workgroups_per_dimension)?;
        let pipeline = self.pipelines.get(&self.device, launch)?;
        let cost = launch.cost();
        let mut stream = self.stream();
        self.make_room(&mut stream, cost)?;
        let bind_group = self.bind(&pipeline, launch, stream.uniform_ring());
        for view in &launch.views {
            view.buffer.gpu().last_batch.store(stream.batch(), Ordering::Relaxed);
        }
        stream.push_dispatch(pipeline, bind_group, &launch.params, groups, cost);
        Ok(())
    }

    /// Submits what is collected where a command of this cost has no room beside it.
    fn make_room(&self, stream: &mut Stream, cost: Cost) -> Result<()> {
        let has_room = !stream.is_full() && self.pace.fits(stream.guessed() + pace::guess(cost));
        if has_room { Ok(()) } else { self.submit(stream) }
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
        let size = uniforms.len().max(UNIFORM_SLOT) as u64;
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniform_buffer = create_buffer(&self.device, "parameters of a recording", size, usage)?;
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
        let commands = work.iter().zip(offsets).map(command).collect::<Result<Vec<_>>>()?;
        let guessed = commands.iter().map(|command| pace::guess(command.cost())).sum();
        Ok(GpuRecording { commands, guessed, pace: Arc::default() })
    }

    /// Replays a recording `times` times, after all that is collected.
    ///
    /// A submission has as many replays as the target of its time allows, or as few commands of one. Other threads may
    /// have work done between replays, never within one.
    pub(crate) fn replay(&self, recording: &GpuRecording, times: usize) -> Result<()> {
        let GpuRecording { commands, guessed, pace } = recording;
        let mut left = times;
        while left > 0 {
            self.failure.check()?;
            let mut stream = self.stream();
            self.submit(&mut stream)?;
            let at_once = pace.times(*guessed).min(MOST_REPLAYED / commands.len().max(1)).clamp(1, left);
            if at_once > 1 || pace.fits(*guessed) {
                let all = std::iter::repeat_n(commands, at_once).flatten();
                let guessed = at_once as f64 * guessed;
                self.hand_over(&mut stream, all, guessed, pace)?;
            } else {
                let mut rest = &commands[..];
                while !rest.is_empty() {
                    let (count, guessed) = first_of(rest, pace);
                    let (first, after) = rest.split_at(count);
                    self.hand_over(&mut stream, first.iter(), guessed, pace)?;
                    rest = after;
                }
            }
            left -= at_once;
        }
        self.flight.look();
        self.failure.check()
    }

    /// Encodes commands and submits them; timed, while a profile is made.
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

    /// Writes words from the host. Writes of a queue run ahead of the submission that follows them, so work that is
    /// collected and uses the buffer goes out first.
    pub(crate) fn write(&self, target: &GpuBuffer, offset: usize, words: &[u32]) -> Result<()> {
        self.failure.check()?;
        let mut stream = self.stream();
        if target.last_batch.load(Ordering::Relaxed) == stream.batch() {
            self.submit(&mut stream)?;
        }
        self.queue.write_buffer(&target.buffer, 4 * offset as u64, bytemuck::cast_slice(words));
        Ok(())
    }

    pub(crate) fn copy(
        &self,
        source: &GpuBuffer,
        source_offset: usize,
        target: &GpuBuffer,
        target_offset: usize,
        length: usize,
    ) -> Result<()> {
        self.failure.check()?;
        let command = Command::Copy {
            source: source.buffer.clone(),
            source_offset: 4 * source_offset as u64,
            target: target.buffer.clone(),
            target_offset: 4 * target_offset as u64,
            bytes: 4 * length as u64,
        };
        let mut stream = self.stream();
        self.make_room(&mut stream, command.cost())?;
        for buffer in [source, target] {
            buffer.last_batch.store(stream.batch(), Ordering::Relaxed);
        }
        stream.push(command);
        Ok(())
    }

    pub(crate) fn clear(&self, target: &GpuBuffer, offset: usize, length: usize) -> Result<()> {
        self.failure.check()?;
        let command =
            Command::Clear { target: target.buffer.clone(), offset: 4 * offset as u64, bytes: 4 * length as u64 };
        let mut stream = self.stream();
        self.make_room(&mut stream, command.cost())?;
        target.last_batch.store(stream.batch(), Ordering::Relaxed);
        stream.push(command);
        Ok(())
    }

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

    /// Hands over what is collected.
    pub(crate) fn flush(&self) -> Result<()> {
        self.submit(&mut self.stream())
    }

    /// Hands over what is collected. The uniform ring is written from its start each
    /// time: the queue runs this write after the submission before it and ahead of the one that follows.
    fn submit(&self, stream: &mut Stream) -> Result<()> {
        if stream.is_empty() {
            return self.failure.check();
        }
        // What is collected stays where there is no room for it.
        self.flight.make_room()?;
        stream.write_uniforms(&self.queue);
        let (commands, guessed) = stream.take();
        self.hand_over(stream, commands.iter(), guessed, &self.pace)?;
        stream.give_back(commands);
        self.failure.check()
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
        timing.map_or_else(|| Ok(Times::default()), |timing| timing.finish(&self.flight))
    }

    /// Ends it, whatever it came to.
    pub(crate) fn stop_timing(&self) {
        self.stream().timing = None;
    }

    /// Waits for all work that was handed over.
    pub(crate) fn wait(&self) -> Result<()> {
        self.flight.wait()
    }

    /// Sets how long to wait for one submission.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.flight.set_patience(patience);
    }

    /// The submissions in flight, and the most that there have been.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        self.flight.in_flight()
    }

    /// The number of submissions, and of those that had to wait for an earlier one.
    pub(crate) fn submissions(&self) -> (u64, u64) {
        self.flight.submissions()
    }

    /// Frees all that lies on the device, after the work under way. Every later call fails.
    pub(crate) fn close(&self) {
        self.failure.lose(Error::DeviceLost { reason: "it was closed".to_string() });
        self.device.destroy();
        self.flight.drain();
    }

    /// Whether the device has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.check().is_err()
    }
}

/// Creates a buffer. Where there is no memory for it nothing else is lost.
fn create_buffer(
    device: &wgpu::Device,
    label: &'static str,
    size: u64,
    usage: wgpu::BufferUsages,
) -> Result<wgpu::Buffer> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
    let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: false };
    let buffer = device.create_buffer(&descriptor);
    match pollster::block_on(scope.pop()) {
        Some(_) => Err(Error::OutOfMemory { bytes: size }),
        None => Ok(buffer),
    }
}

/// As many of the commands as fit into one submission, at least one, and their guessed time.
fn first_of(commands: &[Command], pace: &Pace) -> (usize, f64) {
    let mut guessed = 0.0;
    let fits = |command: &&Command| {
        let with_it = guessed + pace::guess(command.cost());
        let fits = guessed == 0.0 || pace.fits(with_it);
        guessed = if fits { with_it } else { guessed };
        fits
    };
    let count = commands.iter().take_while(fits).count();
    (count, guessed)
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
