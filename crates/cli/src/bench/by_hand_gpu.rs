//! A training step written by hand in wgpu and WGSL, without the library: a peer of the recorded step on a GPU.
//!
//! It does the work of [`ByHand`] on the device: the next batch by an order, forward, cross-entropy with a log of losses,
//! backward, clipping by the global norm, AdamW with its bias corrections. Nothing is read by the host. A step is twelve
//! dispatches of one command buffer, whose bind groups are made once.
//!
//! Every shape is a constant of the texts. Products hold a tile of the result in the registers of a subgroup: a lane loads
//! four elements once, and `subgroupBroadcast` carries them to the others. The last layer has two units of padding, which
//! stay zero, so that all rows are whole vectors.

use std::fmt::Write;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use thalweg::tensor::{DeviceInfo, DeviceKind, Error, Result, wgpu};

use super::by_hand::{BETAS, ByHand, EPS, LEARNING_RATE, MAX_NORM, ROWS, WEIGHT_DECAY, WIDTHS};

/// Units of the layers, the classes with padding.
const PADDED: [usize; 4] = [WIDTHS[0], WIDTHS[1], WIDTHS[2], WIDTHS[3].next_multiple_of(4)];

/// The losses that the log keeps.
const LOG: usize = 1024;

/// Bytes of the clock: the position of the batch, the number of losses, both bias corrections, the clip factor.
const CLOCK_BYTES: u64 = 32;

/// Workgroups of the norm and of AdamW: in software few, which cost time by themselves.
const GROUPS_IN_SOFTWARE: usize = 16;
const GROUPS_IN_HARDWARE: usize = 256;

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
    /// Opens the adapter of a device anew, with the network, the data and the batch of `from`. Returns `None` if the
    /// adapter has no subgroups of one size.
    ///
    /// # Errors
    /// If the adapter is not found or refuses.
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

    /// Hands over so many steps in one submission.
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

    /// Dispatches of a step.
    pub(crate) fn dispatches(&self) -> usize {
        self.dispatches.len()
    }

    /// The first losses of the log.
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

/// The adapter that a device was opened from.
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

/// The answer of a native backend, which needs no wait.
fn at_once<T>(future: impl Future<Output = T>, info: &DeviceInfo) -> Result<T> {
    match std::pin::pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => Err(refused(info, &"it answers later")),
    }
}

fn refused(info: &DeviceInfo, reason: &dyn std::fmt::Display) -> Error {
    Error::Adapter { adapter: info.name.clone(), reason: reason.to_string() }
}

/// Where the weight of a layer starts in the arena of parameters; its bias follows.
const fn offset(layer: usize) -> usize {
    let (mut offset, mut i) = (0, 0);
    while i < layer {
        offset += (PADDED[i] + 1) * PADDED[i + 1];
        i += 1;
    }
    offset
}

/// Where the bias of a layer starts.
const fn bias(layer: usize) -> usize {
    offset(layer) + PADDED[layer] * PADDED[layer + 1]
}

/// Parameters, padded so that the lanes of a subgroup take two vectors each.
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
            None => unreachable!("kernels bind what is listed: {name}"),
        }
    }
}

/// The arena: weights `[in, out]` of the first two layers, that of the last as `[out, in]`; biases behind them.
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
use Access::{Read, Write as ReadWrite};

impl Kernel {
    fn compile(self, device: &wgpu::Device, buffers: &Buffers) -> Dispatch {
        let mut text = String::new();
        for (i, (name, access, element)) in self.bindings.iter().enumerate() {
            let access = if *access == Read { "read" } else { "read_write" };
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
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

/// What the texts depend on.
struct Kernels {
    lanes: usize,
    batch: usize,
    /// The batch with padding.
    rows: usize,
    software: bool,
    threads: usize,
}

impl Kernels {
    fn groups(&self) -> usize {
        if self.software { GROUPS_IN_SOFTWARE } else { GROUPS_IN_HARDWARE }
    }

    /// The dispatches of a step, in order.
    fn all(&self) -> Vec<Kernel> {
        let (rows, [_, first, second, classes]) = (self.rows, PADDED);
        let params = |offset| Matrix { name: "params", offset, lines: Lines::OfInner };
        let by_rows = |name| Matrix { name, offset: 0, lines: Lines::OfOuter };
        let by_columns = |name| Matrix { name, offset: 0, lines: Lines::OfInner };
        let forward = |name, x, layer: usize, y| Product {
            name,
            extents: [rows, PADDED[layer + 1], PADDED[layer]],
            left: by_rows(x),
            right: params(offset(layer)),
            into: y,
            epilogue: Epilogue::BiasRelu { bias: bias(layer) },
        };
        let grad = |name, x, dy, layer: usize| Product {
            name,
            extents: [PADDED[layer], PADDED[layer + 1], rows],
            left: by_columns(x),
            right: by_columns(dy),
            into: "grads",
            epilogue: Epilogue::Grad { offset: offset(layer), bias: bias(layer), bias_of_rows: false },
        };
        let products = [
            forward("forward 1", "x", 0, "h1"),
            forward("forward 2", "h1", 1, "h2"),
            Product {
                name: "weight grad 3",
                extents: [classes, second, rows],
                left: by_columns("d3"),
                right: by_columns("h2"),
                into: "grads",
                epilogue: Epilogue::Grad { offset: offset(2), bias: bias(2), bias_of_rows: true },
            },
            Product {
                name: "input grad 3",
                extents: [rows, second, classes],
                left: by_rows("d3"),
                right: params(offset(2)),
                into: "d2",
                epilogue: Epilogue::Mask { activation: "h2" },
            },
            grad("weight grad 2", "h1", "d2", 1),
            Product {
                name: "input grad 2",
                extents: [rows, first, second],
                left: by_rows("d2"),
                right: Matrix { name: "params", offset: offset(1), lines: Lines::OfOuter },
                into: "d1",
                epilogue: Epilogue::Mask { activation: "h1" },
            },
            grad("weight grad 1", "x", "d1", 0),
        ];
        let [forward1, forward2, grad3, back3, grad2, back2, grad1] = products.map(|product| self.product(&product));
        vec![
            self.gather(),
            forward1,
            forward2,
            self.head(),
            grad3,
            back3,
            grad2,
            back2,
            grad1,
            self.norm(),
            self.tick(),
            self.adamw(),
        ]
    }

    /// The next batch. In software a lane takes a row from end to end; in hardware the lanes of a workgroup share one.
    fn gather(&self) -> Kernel {
        let Self { lanes, batch, rows, .. } = *self;
        let units = PADDED[0] / 4;
        let find = format!(
            "    let place = order[(clock.position + min(sample, {batch}u - 1u)) % {ROWS}u];
    let start = sample * {units}u;
    let source = place * {units}u;"
        );
        let (text, groups) = if self.software {
            let text = format!(
                "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {{
    let sample = group.x * {lanes}u + lane;
    if (sample >= {rows}u) {{ return; }}
{find}
    y[sample] = targets[place];
    for (var i = 0u; i < {units}u; i += 2u) {{
        let a = features[source + i];
        let b = features[source + i + 1u];
        x[start + i] = a;
        x[start + i + 1u] = b;
    }}
}}"
            );
            (text, rows.div_ceil(lanes))
        } else {
            let text = format!(
                "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {{
    let sample = group.x;
{find}
    if (lane == 0u) {{ y[sample] = targets[place]; }}
    for (var i = lane; i < {units}u; i += {lanes}u) {{ x[start + i] = features[source + i]; }}
}}"
            );
            (text, rows)
        };
        Kernel {
            name: "gather",
            bindings: vec![
                ("features", Read, "vec4f"),
                ("targets", Read, "u32"),
                ("order", Read, "u32"),
                ("clock", Read, "Clock"),
                ("x", ReadWrite, "vec4f"),
                ("y", ReadWrite, "u32"),
            ],
            text,
            groups: [groups, 1],
        }
    }

    /// The logits of the last layer, the losses of rows and the gradient of the logits: a lane takes a row.
    fn head(&self) -> Kernel {
        let Self { lanes, batch, rows, .. } = *self;
        let (units, classes, inner) = (PADDED[3], WIDTHS[3], PADDED[2] / 4);
        let mut text = format!(
            "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {{
    let row = group.x * {lanes}u + lane;
    let first = min(row, {rows}u - 1u) * {inner}u;
"
        );
        for unit in 0..units {
            line(&mut text, format!("    var l{unit} = params[{}u].{};", (bias(2) + unit) / 4, COMPONENTS[unit % 4]));
        }
        let loads = units.div_ceil(lanes);
        line(&mut text, format!("    for (var q = 0u; q < {inner}u; q++) {{\n        let h = h2[first + q];"));
        for load in 0..loads {
            let unit = format!("min(lane + {}u, {}u)", load * lanes, units - 1);
            line(&mut text, format!("        let w{load} = params[{}u + {unit} * {inner}u + q];", offset(2) / 4));
        }
        for unit in 0..units {
            let (load, lane) = (unit / lanes, unit % lanes);
            line(&mut text, format!("        let v{unit} = subgroupBroadcast(w{load}, {lane}u);"));
            line(
                &mut text,
                format!("        l{unit} += h.x * v{unit}.x + h.y * v{unit}.y + h.z * v{unit}.z + h.w * v{unit}.w;"),
            );
        }
        line(&mut text, "    }\n    var largest = l0;");
        for unit in 1..classes {
            line(&mut text, format!("    largest = max(largest, l{unit});"));
        }
        line(&mut text, "    var sum = 0.0;");
        for unit in 0..classes {
            line(&mut text, format!("    let e{unit} = exp(l{unit} - largest); sum += e{unit};"));
        }
        line(&mut text, format!("    if (row >= {rows}u) {{ return; }}\n    let scale = 1.0 / {batch}.0;"));
        line(&mut text, "    let class_of = y[row];\n    var own = 0.0;");
        for unit in 0..classes {
            line(&mut text, format!("    own = select(own, l{unit}, class_of == {unit}u);"));
        }
        line(&mut text, format!("    let counts = row < {batch}u;"));
        line(&mut text, "    row_losses[row] = select(0.0, (log(sum) - (own - largest)) * scale, counts);");
        line(&mut text, "    let share = select(0.0, scale / sum, counts);\n    let one = select(0.0, scale, counts);");
        for unit in 0..units {
            let value = if unit < classes {
                format!("share * e{unit} - select(0.0, one, class_of == {unit}u)")
            } else {
                "0.0".to_string()
            };
            line(&mut text, format!("    let g{unit} = {value};"));
        }
        for vector in 0..units / 4 {
            let [a, b, c, d] = [0, 1, 2, 3].map(|e| 4 * vector + e);
            line(&mut text, format!("    d3[row * {}u + {vector}u] = vec4f(g{a}, g{b}, g{c}, g{d});", units / 4));
        }
        line(&mut text, "}");
        Kernel {
            name: "head",
            bindings: vec![
                ("h2", Read, "vec4f"),
                ("params", Read, "vec4f"),
                ("y", Read, "u32"),
                ("d3", ReadWrite, "vec4f"),
                ("row_losses", ReadWrite, "f32"),
            ],
            text,
            groups: [rows.div_ceil(lanes), 1],
        }
    }

    /// The share of a workgroup in the arena: `i` from `start` to `end`, in units of a subgroup.
    fn share(&self) -> (String, usize) {
        let (units, groups) = (PARAMETERS / (8 * self.lanes), self.groups());
        let share = format!(
            "    let end = (group.x + 1u) * {units}u / {groups}u;
    for (var unit = group.x * {units}u / {groups}u; unit < end; unit++) {{
        let i = unit * {}u + lane;",
            2 * self.lanes
        );
        (share, groups)
    }

    /// Partial sums of squares of all gradients.
    fn norm(&self) -> Kernel {
        let (share, groups) = self.share();
        let lanes = self.lanes;
        let text = format!(
            "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {{
    var a = vec4f();
    var b = vec4f();
{share}
        let x = grads[i];
        let y = grads[i + {lanes}u];
        a += x * x;
        b += y * y;
    }}
    let sum = a + b;
    var total = (sum.x + sum.y) + (sum.z + sum.w);
{}    if (lane == 0u) {{ partials[group.x] = total; }}
}}",
            self.butterfly("total")
        );
        let bindings = vec![("grads", Read, "vec4f"), ("partials", ReadWrite, "f32")];
        Kernel { name: "norm", bindings, text, groups: [groups, 1] }
    }

    /// Adds a variable over all lanes of a subgroup.
    fn butterfly(&self, name: &str) -> String {
        let mut text = String::new();
        let mut distance = self.lanes / 2;
        while distance > 0 {
            line(&mut text, format!("    {name} += subgroupShuffleXor({name}, {distance}u);"));
            distance /= 2;
        }
        text
    }

    /// Ends the norm and the loss of the batch, and advances the clock.
    fn tick(&self) -> Kernel {
        let Self { lanes, batch, rows, .. } = *self;
        let groups = self.groups();
        let (rest1, rest2) = (1.0 - BETAS.0, 1.0 - BETAS.1);
        let text = format!(
            "@compute @workgroup_size({lanes})
fn main(@builtin(subgroup_invocation_id) lane: u32) {{
    var total = 0.0;
    for (var i = lane; i < {groups}u; i += {lanes}u) {{ total += partials[i]; }}
    var loss = 0.0;
    for (var i = lane; i < {rows}u; i += {lanes}u) {{ loss += row_losses[i]; }}
{}{}    if (lane != 0u) {{ return; }}
    loss_log[clock.logged % {LOG}u] = loss;
    clock.logged += 1u;
    clock.position = (clock.position + {batch}u) % {ROWS}u;
    clock.correction1 += {rest1:?} * (1.0 - clock.correction1);
    clock.correction2 += {rest2:?} * (1.0 - clock.correction2);
    clock.factor = min(1.0, {MAX_NORM:?} / (sqrt(total) + 1e-6));
}}",
            self.butterfly("total"),
            self.butterfly("loss")
        );
        let bindings = vec![
            ("partials", Read, "f32"),
            ("row_losses", Read, "f32"),
            ("loss_log", ReadWrite, "f32"),
            ("clock", ReadWrite, "Clock"),
        ];
        Kernel { name: "tick", bindings, text, groups: [1, 1] }
    }

    fn adamw(&self) -> Kernel {
        let (share, groups) = self.share();
        let lanes = self.lanes;
        let kept = 1.0 - LEARNING_RATE * WEIGHT_DECAY;
        let (beta1, beta2) = BETAS;
        let (rest1, rest2) = (1.0 - beta1, 1.0 - beta2);
        let mut body = String::new();
        for (at, lanes) in [("i", 0), ("j", lanes)] {
            line(&mut body, format!("        let {at}_at = i + {lanes}u;"));
            for (name, array) in [("p", "params"), ("g", "grads"), ("m", "moment1"), ("v", "moment2")] {
                line(&mut body, format!("        let {name}_{at} = {array}[{at}_at];"));
            }
        }
        for at in ["i", "j"] {
            line(
                &mut body,
                format!(
                    "        let g{at} = clock_factor * g_{at};
        let m{at} = {beta1:?} * m_{at} + {rest1:?} * g{at};
        let v{at} = {beta2:?} * v_{at} + {rest2:?} * (g{at} * g{at});
        params[{at}_at] = {kept:?} * p_{at} - step_size * (m{at} / (sqrt(v{at}) * root + {EPS:?}));
        moment1[{at}_at] = m{at};
        moment2[{at}_at] = v{at};"
                ),
            );
        }
        let text = format!(
            "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {{
    let step_size = {LEARNING_RATE:?} / clock.correction1;
    let root = 1.0 / sqrt(clock.correction2);
    let clock_factor = clock.factor;
{share}
{body}    }}
}}"
        );
        let bindings = vec![
            ("clock", Read, "Clock"),
            ("params", ReadWrite, "vec4f"),
            ("grads", Read, "vec4f"),
            ("moment1", ReadWrite, "vec4f"),
            ("moment2", ReadWrite, "vec4f"),
        ];
        Kernel { name: "adamw", bindings, text, groups: [groups, 1] }
    }
}

const COMPONENTS: [char; 4] = ['x', 'y', 'z', 'w'];

/// The lines of memory of an operand: `OfInner` has a line for each step of the inner dimension, `OfOuter` one for each
/// row of the left operand, or column of the right one.
#[derive(Clone, Copy, PartialEq)]
enum Lines {
    OfInner,
    OfOuter,
}

#[derive(Clone, Copy)]
struct Matrix {
    name: &'static str,
    offset: usize,
    lines: Lines,
}

enum Epilogue {
    BiasRelu { bias: usize },
    Mask { activation: &'static str },
    Grad { offset: usize, bias: usize, bias_of_rows: bool },
}

/// c[m, n] = a[m, k] b[k, n] with what is done where it is stored.
struct Product {
    name: &'static str,
    extents: [usize; 3],
    left: Matrix,
    right: Matrix,
    into: &'static str,
    epilogue: Epilogue,
}

impl Kernels {
    /// Rows of the tile of a subgroup, and vectors of four columns of a lane.
    fn tile(&self, [m, n, k]: [usize; 3]) -> (usize, usize) {
        if !self.software {
            return (16, 1);
        }
        let time = |(rows, vectors): (usize, usize)| {
            let tiles = m.div_ceil(rows) * n.div_ceil(4 * self.lanes * vectors);
            let lanes = self.lanes as f64 / 8.0;
            let step = 15.0 * lanes * (rows.div_ceil(self.lanes) + 4 * vectors) as f64 + 2.9 * (rows * vectors) as f64;
            let stores = 15.0 * lanes * (rows * vectors) as f64;
            tiles.div_ceil(self.threads) as f64 * (step * k as f64 / 4.0 + stores + 500.0)
        };
        let tiles = [8, 12, 16, 32, 56, 64].into_iter().flat_map(|rows| [(rows, 1), (rows, 2)]);
        let fitting = tiles.filter(|(rows, vectors)| rows * vectors <= 64);
        fitting.min_by(|&x, &y| time(x).total_cmp(&time(y))).unwrap_or((16, 1))
    }

    fn product(&self, product: &Product) -> Kernel {
        let Product { name, extents: [m, n, k], left, right, into, ref epilogue } = *product;
        let lanes = self.lanes;
        let (tile_rows, vectors) = self.tile(product.extents);
        let (tiles_down, tiles_across) = (m.div_ceil(tile_rows), n.div_ceil(4 * lanes * vectors));
        let guards_rows = !m.is_multiple_of(tile_rows);
        let guards_columns = !n.is_multiple_of(4 * lanes * vectors);
        let clamped = |index: String, most: usize, is_clamped: bool| match is_clamped {
            true => format!("min({index}, {}u)", most - 1),
            false => index,
        };
        let mut loads = Vec::new();
        if left.lines == Lines::OfOuter {
            for load in 0..tile_rows.div_ceil(lanes) {
                let row = format!("(first_row + lane + {}u)", load * lanes);
                let row = clamped(row, m, guards_rows || !tile_rows.is_multiple_of(lanes));
                loads.push((format!("a{load}"), left, format!("{row} * {}u", k / 4), "1u".to_string()));
            }
        } else {
            let groups = tile_rows / 4;
            for load in 0..tile_rows.div_ceil(lanes) {
                let unit = clamped(format!("(lane + {}u)", load * lanes), tile_rows, !tile_rows.is_multiple_of(lanes));
                let row = clamped(format!("(first_row / 4u + {unit} % {groups}u)"), m / 4, guards_rows);
                loads.push((
                    format!("a{load}"),
                    left,
                    format!("{row} + {unit} / {groups}u * {}u", m / 4),
                    format!("{m}u"),
                ));
            }
        }
        for j in 0..vectors {
            let column = clamped(format!("(column + {}u)", j * lanes), n / 4, guards_columns);
            for step in 0..4 {
                let (place, by) = match right.lines {
                    Lines::OfInner => (format!("{column} + {}u", step * n / 4), format!("{n}u")),
                    Lines::OfOuter => (format!("(4u * {column} + {step}u) * {}u", k / 4), "1u".to_string()),
                };
                let name = if right.lines == Lines::OfInner { format!("b{step}_{j}") } else { format!("t{step}_{j}") };
                loads.push((name, right, place, by));
            }
        }
        let mut text = format!(
            "@compute @workgroup_size({lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {{
    let first_row = group.y * {tile_rows}u;
    let column = group.x * {}u + lane;
",
            lanes * vectors
        );
        for (i, j) in (0..tile_rows).flat_map(|i| (0..vectors).map(move |j| (i, j))) {
            line(&mut text, format!("    var s{i}_{j} = vec4f();"));
        }
        let bias_sums = match *epilogue {
            Epilogue::Grad { bias_of_rows: true, .. } => tile_rows / 4,
            Epilogue::Grad { .. } => vectors,
            _ => 0,
        };
        for i in 0..bias_sums {
            line(&mut text, format!("    var bias{i} = vec4f();"));
        }
        for (value, matrix, place, _) in &loads {
            line(&mut text, format!("    var {value}_at = {}u + {place};", matrix.offset / 4));
        }
        line(&mut text, format!("    for (var q = 0u; q < {}u; q++) {{", k / 4));
        for (value, matrix, ..) in &loads {
            line(&mut text, format!("        let {value} = {}[{value}_at];", matrix.name));
        }
        for (value, .., by) in &loads {
            line(&mut text, format!("        {value}_at += {by};"));
        }
        if right.lines == Lines::OfOuter {
            for (j, (step, x)) in (0..vectors).flat_map(|j| COMPONENTS.iter().enumerate().map(move |x| (j, x))) {
                line(
                    &mut text,
                    format!("        let b{step}_{j} = vec4f(t0_{j}.{x}, t1_{j}.{x}, t2_{j}.{x}, t3_{j}.{x});"),
                );
            }
        }
        let add = |text: &mut String, row: usize, factors: [String; 4]| {
            for j in 0..vectors {
                let [a, b, c, d] = &factors;
                line(
                    text,
                    format!(
                        "        s{row}_{j} = s{row}_{j} + {a} * b0_{j} + {b} * b1_{j} + {c} * b2_{j} + {d} * b3_{j};"
                    ),
                );
            }
        };
        if left.lines == Lines::OfOuter {
            for row in 0..tile_rows {
                line(&mut text, format!("        let v{row} = subgroupBroadcast(a{}, {}u);", row / lanes, row % lanes));
                add(&mut text, row, COMPONENTS.map(|x| format!("v{row}.{x}")));
            }
        } else {
            let groups = tile_rows / 4;
            for group in 0..groups {
                for step in 0..4 {
                    let unit = step * groups + group;
                    line(
                        &mut text,
                        format!(
                            "        let v{group}_{step} = subgroupBroadcast(a{}, {}u);",
                            unit / lanes,
                            unit % lanes
                        ),
                    );
                }
                for (e, x) in COMPONENTS.iter().enumerate() {
                    add(&mut text, 4 * group + e, [0, 1, 2, 3].map(|step| format!("v{group}_{step}.{x}")));
                }
            }
        }
        for i in 0..bias_sums {
            let of_rows = matches!(epilogue, Epilogue::Grad { bias_of_rows: true, .. });
            let value = |step: usize| if of_rows { format!("v{i}_{step}") } else { format!("b{step}_{i}") };
            line(
                &mut text,
                format!("        bias{i} = bias{i} + {} + {} + {} + {};", value(0), value(1), value(2), value(3)),
            );
        }
        line(&mut text, "    }");
        for j in 0..vectors {
            line(&mut text, format!("    let column{j} = column + {}u;", j * lanes));
            line(
                &mut text,
                if guards_columns { format!("    if (column{j} < {}u) {{", n / 4) } else { "    {".to_string() },
            );
            if let Epilogue::BiasRelu { bias } = epilogue {
                line(&mut text, format!("    let bias = params[{}u + column{j}];", bias / 4));
            }
            for i in 0..tile_rows {
                let at = format!("(first_row + {i}u) * {}u + column{j}", n / 4);
                let guard = if guards_rows { format!("if (first_row + {i}u < {m}u) ") } else { String::new() };
                let store = match *epilogue {
                    Epilogue::BiasRelu { .. } => format!("{into}[{at}] = max(s{i}_{j} + bias, vec4f());"),
                    Epilogue::Mask { activation } => {
                        format!("{into}[{at}] = select(s{i}_{j}, vec4f(), {activation}[{at}] <= vec4f());")
                    }
                    Epilogue::Grad { offset, .. } => format!("{into}[{}u + {at}] = s{i}_{j};", offset / 4),
                };
                line(&mut text, format!("    {guard}{{ {store} }}"));
            }
            if let Epilogue::Grad { bias, bias_of_rows: false, .. } = epilogue {
                line(&mut text, format!("    if (group.y == 0u) {{ {into}[{}u + column{j}] = bias{j}; }}", bias / 4));
            }
            line(&mut text, "    }");
        }
        if let Epilogue::Grad { bias, bias_of_rows: true, .. } = epilogue {
            line(&mut text, "    if (lane == 0u && group.x == 0u) {");
            for i in 0..bias_sums {
                line(
                    &mut text,
                    format!(
                        "    if (first_row / 4u + {i}u < {}u) {{ {into}[{}u + first_row / 4u + {i}u] = bias{i}; }}",
                        m / 4,
                        bias / 4
                    ),
                );
            }
            line(&mut text, "    }");
        }
        line(&mut text, "}");
        let mut bindings = vec![(left.name, Read, "vec4f")];
        let other = match *epilogue {
            Epilogue::BiasRelu { .. } => "params",
            Epilogue::Mask { activation } => activation,
            Epilogue::Grad { .. } => right.name,
        };
        for name in [right.name, other] {
            if bindings.iter().all(|(bound, ..)| *bound != name) {
                bindings.push((name, Read, "vec4f"));
            }
        }
        bindings.push((into, ReadWrite, "vec4f"));
        Kernel { name, bindings, text, groups: [tiles_across, tiles_down] }
    }
}
