//! A training step written by hand in wgpu and WGSL, without the library: a reference for the recorded step on a GPU.
//!
//! It does the work of [`ByHand`] on the device: the next batch by an order, forward, cross-entropy with a log of losses,
//! backward, clipping by the global norm, AdamW with its bias corrections. The host reads nothing. A step is twelve
//! dispatches of one command buffer, whose bind groups are made once.
//!
//! Every shape is a constant of the texts. Products keep a tile of the result in the registers of a subgroup: a lane
//! loads four elements once, and `subgroupBroadcast` passes them to the others. The last layer has two units of
//! padding, which stay zero, so that all rows are whole vectors.

// Named by their paths, because a test includes this file from another folder.
#[path = "by_hand_gpu/kernels.rs"]
mod kernels;
#[path = "by_hand_gpu/product.rs"]
mod product;

use std::fmt::Write;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use thalweg::tensor::{DeviceInfo, DeviceKind, Error, Result, wgpu};

use super::by_hand::{ByHand, ROWS, WIDTHS};
use kernels::Kernels;

/// The units of the layers, the classes with padding.
const PADDED: [usize; 4] = [WIDTHS[0], WIDTHS[1], WIDTHS[2], WIDTHS[3].next_multiple_of(4)];

/// The number of losses in the log.
const LOG: usize = 1024;

/// The bytes of the clock: the position of the batch, the number of losses, both bias corrections, the clip factor.
const CLOCK_BYTES: u64 = 32;

/// A network in training on a GPU.
pub(crate) struct ByHandGpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    dispatches: Vec<Dispatch>,
    log: wgpu::Buffer,
}

struct Dispatch {
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    groups: [u32; 2],
}

impl ByHandGpu {
    /// Opens the adapter of a device again, with the network, the data and the batch of `from`. Returns `None` if the
    /// adapter has no subgroups of one size.
    ///
    /// # Errors
    /// If the adapter is not found or cannot be opened.
    pub(crate) fn open(info: &DeviceInfo, from: &ByHand) -> Result<Option<Self>> {
        let (lanes, most) = info.subgroup_size;
        if !info.features.subgroups || lanes != most || !matches!(lanes, 4 | 8 | 16 | 32 | 64) {
            return Ok(None);
        }
        let adapter = find(info)?;
        let request = adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("by hand"),
            required_features: wgpu::Features::SUBGROUP,
            required_limits: adapter.limits(),
            ..Default::default()
        });
        let (device, queue) = at_once(request, info)?.map_err(|error| refused(info, &error))?;
        let kernels = Kernels {
            lanes: lanes as usize,
            batch: from.batch(),
            rows: from.batch().next_multiple_of(4),
            software: info.kind == DeviceKind::Software,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let opened = Self::new(device, queue, &kernels, from);
        match at_once(scope.pop(), info)? {
            Some(error) => Err(Error::Driver { reason: error.to_string() }),
            None => Ok(Some(opened)),
        }
    }

    fn new(device: wgpu::Device, queue: wgpu::Queue, kernels: &Kernels, from: &ByHand) -> Self {
        let buffers = Buffers::new(&device, &queue, kernels, from);
        let dispatches = kernels.all().into_iter().map(|kernel| kernel.compile(&device, &buffers)).collect();
        let log = buffers.get("loss_log").clone();
        Self { device, queue, dispatches, log }
    }

    /// Submits `steps` steps at once.
    pub(crate) fn step(&self, steps: usize) {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for Dispatch { pipeline, bind_group, groups: [x, y], .. } in
            std::iter::repeat_n(&self.dispatches, steps).flatten()
        {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(*x, *y, 1);
        }
        drop(pass);
        self.queue.submit([encoder.finish()]);
    }

    /// Waits for all steps.
    pub(crate) fn wait(&self) -> Result<()> {
        let polled = self.device.poll(wgpu::PollType::wait_indefinitely());
        polled.map(|_| ()).map_err(|error| Error::Driver { reason: error.to_string() })
    }

    /// Returns the number of dispatches of a step.
    pub(crate) fn dispatches(&self) -> usize {
        self.dispatches.len()
    }

    /// Returns the first losses of the log.
    pub(crate) fn losses(&self, count: usize) -> Result<Vec<f32>> {
        let size = 4 * count as u64;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: Some("losses"), size, usage, mapped_at_creation: false };
        let staging = self.device.create_buffer(&descriptor);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&self.log, 0, &staging, 0, size);
        self.queue.submit([encoder.finish()]);
        let (sender, answer) = mpsc::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            // The receiver waits below.
            let _ = sender.send(result);
        });
        self.wait()?;
        let driver = |reason: String| Error::Driver { reason };
        let answer = answer.recv().map_err(|error| driver(error.to_string()))?;
        answer.map_err(|error| driver(error.to_string()))?;
        let mapped = staging.slice(..).get_mapped_range().map_err(|error| driver(error.to_string()))?;
        let words = mapped.chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        Ok(words.collect())
    }
}

/// Finds the adapter of a device.
fn find(info: &DeviceInfo) -> Result<wgpu::Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::PRIMARY,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapters = at_once(instance.enumerate_adapters(wgpu::Backends::PRIMARY), info)?;
    let same = |adapter: &wgpu::Adapter| {
        let wgpu::AdapterInfo { name, backend, driver, driver_info, .. } = adapter.get_info();
        let driver = format!("{driver} {driver_info}");
        (name, backend.to_string(), driver.trim()) == (info.name.clone(), info.backend.clone(), info.driver.as_str())
    };
    adapters.into_iter().find(same).ok_or_else(|| refused(info, &"it is not there"))
}

/// Returns the result of a native backend, which needs no wait.
fn at_once<T>(future: impl Future<Output = T>, info: &DeviceInfo) -> Result<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => Err(refused(info, &"it answers later")),
    }
}

fn refused(info: &DeviceInfo, reason: &dyn std::fmt::Display) -> Error {
    Error::Adapter { adapter: info.name.clone(), reason: reason.to_string() }
}

/// Returns the offset of the weight of a layer in the arena of parameters; its bias follows.
const fn offset(layer: usize) -> usize {
    let (mut offset, mut i) = (0, 0);
    while i < layer {
        offset += (PADDED[i] + 1) * PADDED[i + 1];
        i += 1;
    }
    offset
}

/// Returns the offset of the bias of a layer.
const fn bias(layer: usize) -> usize {
    offset(layer) + PADDED[layer] * PADDED[layer + 1]
}

/// The number of parameters, padded to two vectors per lane of a subgroup.
const PARAMETERS: usize = offset(3).next_multiple_of(512);

/// All memory, by name.
struct Buffers(Vec<(&'static str, wgpu::Buffer)>);

impl Buffers {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue, kernels: &Kernels, from: &ByHand) -> Self {
        let rows = kernels.rows;
        let sizes = [
            ("features", ROWS * WIDTHS[0]),
            ("targets", ROWS),
            ("order", ROWS),
            ("clock", CLOCK_BYTES as usize / 4),
            ("x", rows * PADDED[0]),
            ("y", rows),
            ("h1", rows * PADDED[1]),
            ("h2", rows * PADDED[2]),
            ("d3", rows * PADDED[3]),
            ("d2", rows * PADDED[2]),
            ("d1", rows * PADDED[1]),
            ("row_losses", rows),
            ("params", PARAMETERS),
            ("grads", PARAMETERS),
            ("moment1", PARAMETERS),
            ("moment2", PARAMETERS),
            ("partials", kernels.groups()),
            ("loss_log", LOG),
        ];
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let buffers = Self(
            sizes
                .map(|(name, words)| {
                    let size = 4 * words.next_multiple_of(4) as u64;
                    let descriptor =
                        wgpu::BufferDescriptor { label: Some(name), size, usage, mapped_at_creation: false };
                    (name, device.create_buffer(&descriptor))
                })
                .into(),
        );
        let (features, targets, order) = from.data();
        queue.write_buffer(buffers.get("features"), 0, &bytes(features.iter().map(|x| x.to_bits())));
        queue.write_buffer(buffers.get("targets"), 0, &bytes(targets.iter().copied()));
        queue.write_buffer(buffers.get("order"), 0, &bytes(order.iter().copied()));
        queue.write_buffer(buffers.get("params"), 0, &bytes(parameters(from).into_iter().map(f32::to_bits)));
        buffers
    }

    fn get(&self, name: &str) -> &wgpu::Buffer {
        match self.0.iter().find(|(other, _)| *other == name) {
            Some((_, buffer)) => buffer,
            None => unreachable!("no buffer has the name {name}"),
        }
    }
}

/// Returns the arena: weights `[in, out]` of the first two layers, the last as `[out, in]`, each followed by its bias.
fn parameters(from: &ByHand) -> Vec<f32> {
    let mut arena = vec![0.0; PARAMETERS];
    for layer in 0..3 {
        let (inputs, outputs) = (WIDTHS[layer], WIDTHS[layer + 1]);
        let (weight, biases) = from.layer(layer);
        let at = &mut arena[offset(layer)..];
        for (i, &x) in weight.iter().enumerate() {
            let (output, input) = (i / inputs, i % inputs);
            at[if layer == 2 { output * inputs + input } else { input * outputs + output }] = x;
        }
        arena[bias(layer)..][..outputs].copy_from_slice(&biases);
    }
    arena
}

fn bytes(words: impl Iterator<Item = u32>) -> Vec<u8> {
    words.flat_map(u32::to_le_bytes).collect()
}

/// A kernel: its text without bindings, and the buffers that it binds with the type of their elements.
struct Kernel {
    name: &'static str,
    bindings: Vec<(&'static str, Access, &'static str)>,
    text: String,
    groups: [usize; 2],
}

#[derive(Clone, Copy, PartialEq)]
enum Access {
    Read,
    Write,
}

impl Kernel {
    fn compile(self, device: &wgpu::Device, buffers: &Buffers) -> Dispatch {
        let mut text = String::new();
        for (i, (name, access, element)) in self.bindings.iter().enumerate() {
            let access = if *access == Access::Read { "read" } else { "read_write" };
            let element = if *element == "Clock" { "Clock".to_string() } else { format!("array<{element}>") };
            line(&mut text, format!("@group(0) @binding({i}) var<storage, {access}> {name}: {element};"));
        }
        text.push_str(CLOCK);
        text.push_str(&self.text);
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(self.name),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(self.name),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let entry = |(i, (name, ..)): (usize, &(&'static str, Access, &'static str))| wgpu::BindGroupEntry {
            binding: i as u32,
            resource: buffers.get(name).as_entire_binding(),
        };
        let entries: Vec<_> = self.bindings.iter().enumerate().map(entry).collect();
        let layout = pipeline.get_bind_group_layout(0);
        let descriptor = wgpu::BindGroupDescriptor { label: Some(self.name), layout: &layout, entries: &entries };
        let bind_group = device.create_bind_group(&descriptor);
        Dispatch { pipeline, bind_group, groups: self.groups.map(|groups| groups as u32) }
    }
}

const CLOCK: &str = "
struct Clock {
    position: u32,
    logged: u32,
    correction1: f32,
    correction2: f32,
    factor: f32,
}
";

fn line(text: &mut String, line: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
