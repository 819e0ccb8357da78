//! `thalweg profile`: the time of the kernels of a training step, compared with a plain copy.

mod spans;
mod trace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use thalweg::nn::kernels;
use thalweg::tensor::{Cost, Device, LaunchProfile, Profile, Recording};

use crate::args::ProfileArgs;
use crate::bench::heading;
use crate::bench::training_step::TrainingStep;
use crate::error::Result;
use crate::files::{Named, check_outputs};
use crate::table::table;
use crate::{devices, output, updates};
use spans::{HostSpan, Spans};

/// The steps per submission, as the trainer replays them.
const STEPS: usize = 8;

/// The minimum duration of the measurement, and the minimum number of profiles.
const WATCH: Duration = Duration::from_millis(500);
const LEAST_SUBMISSIONS: usize = 3;

/// Returns whether a kernel reads its output, which then counts twice: the updates of parameters and their state do.
fn is_in_place(name: &str) -> bool {
    let kernel = kernels().find(|kernel| kernel.name() == name);
    kernel.is_some_and(|kernel| kernel.shader.path.starts_with("optim/") && kernel.shader.text.contains("fn factors("))
}

pub(crate) fn run(args: &ProfileArgs) -> Result<()> {
    let device = devices::open_to_compute(&args.device)?;
    let file = args.trace.as_deref().map(|path| Named::new("--trace", path));
    check_outputs(&[], file.as_slice())?;
    let mut step = TrainingStep::new(&device, &args.network.0, args.batch as usize)?;
    let (spans, from_the_start, recording) = watch_start(&device, &mut step)?;
    let watched = watch(&device, &recording)?;
    let text = format!("{}\n{}", heading(&device.info()), watched.render(roof(&device, &watched.lines)?));
    let written = file.map_or(Ok(()), |file| {
        file.write(output::to_json(&trace::trace(&device.to_string(), &spans, &from_the_start)).as_bytes())
    });
    output::print(&text)?;
    written
}

/// Runs the first steps of a run, for the trace: one eager, one recorded, then replays one and several at a time.
fn watch_start(device: &Device, step: &mut TrainingStep) -> Result<(Vec<HostSpan>, Profile, Recording)> {
    let spans = Arc::new(Spans::default());
    let (profile, recording) = tracing::subscriber::with_default(spans.clone(), || {
        device.profile(|| {
            let recording = step.record()?;
            recording.replay(1)?;
            recording.replay(STEPS)?;
            Ok::<_, thalweg::Error>(recording)
        })
    })?;
    Ok((spans.take(), profile, recording))
}

/// The measurements of many steps.
struct Watched {
    lines: Vec<Line>,
    layers: Vec<Layer>,
    /// Seconds per step without a profile.
    step_seconds: f64,
    source: String,
}

/// Equal launches of a step, with their total time.
struct Line {
    launch: LaunchProfile,
    calls: usize,
    seconds: f64,
}

/// A module of the network: the seconds per step of its launches forward, backward and in the update.
struct Layer {
    path: String,
    seconds: [f64; 3],
}

/// Profiles replays, and times some without a profile.
fn watch(device: &Device, recording: &Recording) -> Result<Watched> {
    let start = Instant::now();
    let (mut profiles, mut plain) = (Vec::new(), Vec::new());
    while profiles.len() < LEAST_SUBMISSIONS || start.elapsed() < WATCH {
        profiles.push(device.profile(|| recording.replay(STEPS))?.0);
        let start = Instant::now();
        recording.replay(STEPS)?;
        device.synchronize()?;
        plain.push(start.elapsed());
    }
    let step_seconds = median(plain) / STEPS as f64;
    let source = profiles[0].source().to_string();
    Ok(Watched { lines: lines(&profiles), layers: layers(&profiles), step_seconds, source })
}

/// Returns the median times of the launches of a step, by position.
fn medians(profiles: &[Profile]) -> Vec<f64> {
    let each = profiles[0].launches().len() / STEPS;
    let at_place = |place| profiles.iter().flat_map(move |profile| profile.launches().iter().skip(place).step_by(each));
    (0..each).map(|place| median(at_place(place).map(|launch| launch.duration).collect())).collect()
}

/// Returns the modules of a step, in the order in which they first run.
fn layers(profiles: &[Profile]) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    for (launch, seconds) in profiles[0].launches().iter().zip(medians(profiles)) {
        let path = launch.origin.path.as_deref().unwrap_or("(no module)");
        let place = layers.iter().position(|layer| layer.path == path).unwrap_or_else(|| {
            layers.push(Layer { path: path.to_string(), seconds: [0.0; 3] });
            layers.len() - 1
        });
        layers[place].seconds[launch.origin.pass as usize] += seconds;
    }
    layers
}

/// Returns the launches of a step, each with the median of its times over all steps. Equal launches are combined; the
/// longest come first.
fn lines(profiles: &[Profile]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (place, seconds) in medians(profiles).into_iter().enumerate() {
        let launch = profiles[0].launches()[place].clone();
        let alike = |line: &&mut Line| {
            (line.launch.kernel, line.launch.workgroups, line.launch.cost)
                == (launch.kernel, launch.workgroups, launch.cost)
        };
        match lines.iter_mut().find(alike) {
            Some(line) => {
                line.calls += 1;
                line.seconds += seconds;
            }
            None => lines.push(Line { launch, calls: 1, seconds }),
        }
    }
    lines.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    lines
}

/// Returns the median in seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

impl Line {
    /// Returns the bytes that its launches move.
    fn bytes(&self) -> u64 {
        let Cost { bytes_read, bytes_written, .. } = self.launch.cost;
        let in_place = is_in_place(self.launch.kernel);
        self.calls as u64 * (bytes_read + if in_place { 2 * bytes_written } else { bytes_written })
    }

    fn operations(&self) -> u64 {
        self.calls as u64 * self.launch.cost.operations
    }
}

/// Returns the bytes per second of the best copy kernel that moves as much as the largest launch other than a product.
fn roof(device: &Device, lines: &[Line]) -> Result<f64> {
    let largest = lines.iter().filter(|line| line.operations() == 0).map(|line| line.bytes() / line.calls as u64).max();
    let elements = (largest.unwrap_or(0) / updates::COPY_BYTES).next_multiple_of(1024).max(1024);
    let mut best = f64::INFINITY;
    for mut copy in updates::copies(device, elements as usize)? {
        let (profile, ()) = device.profile(|| (0..20).try_for_each(|_| copy()))?;
        best = best.min(median(profile.launches().iter().map(|launch| launch.duration).collect()));
    }
    Ok((elements * updates::COPY_BYTES) as f64 / best)
}

const HEADINGS: [&str; 9] = ["kernel", "calls", "workgroups", "us", "share", "KB", "GB/s", "of a copy", "GFLOP/s"];

const NUMBERS: [bool; 9] = [false, true, true, true, true, true, true, true, true];

const LAYER_HEADINGS: [&str; 6] = ["module", "forward us", "backward us", "update us", "us", "share"];

const LAYER_NUMBERS: [bool; 6] = [false, true, true, true, true, true];

impl Watched {
    fn render(&self, roof: f64) -> String {
        let total: f64 = self.lines.iter().map(|line| line.seconds).sum();
        let cells: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let (bytes, operations) = (line.bytes() as f64, line.operations() as f64);
                let product = operations > 0.0;
                let unless = |not: bool, text: String| if not { String::new() } else { text };
                [
                    line.launch.kernel.to_string(),
                    line.calls.to_string(),
                    line.launch.workgroups.to_string(),
                    format!("{:.1}", 1e6 * line.seconds),
                    format!("{:.1} %", 100.0 * line.seconds / total),
                    format!("{:.1}", bytes / 1e3),
                    format!("{:.2}", bytes / line.seconds / 1e9),
                    unless(product, format!("{:.0} %", 100.0 * bytes / line.seconds / roof)),
                    unless(!product, format!("{:.2}", operations / line.seconds / 1e9)),
                ]
            })
            .collect();
        let layers: Vec<_> = self
            .layers
            .iter()
            .map(|Layer { path, seconds: [forward, backward, update] }| {
                let all = forward + backward + update;
                let [forward, backward, update, us] =
                    [*forward, *backward, *update, all].map(|seconds| format!("{:.1}", 1e6 * seconds));
                [path.clone(), forward, backward, update, us, format!("{:.1} %", 100.0 * all / total)]
            })
            .collect();
        format!(
            "{}\n{}\n{} launches take {:.1} us one by one; a step takes {:.1} us, {STEPS} in a submission and not watched\nall \
             figures are per step; times: {}; a copy of as many bytes as the largest launch that is no product: {:.2} \
             GB/s\n",
            table(HEADINGS, NUMBERS, &cells),
            table(LAYER_HEADINGS, LAYER_NUMBERS, &layers),
            self.lines.iter().map(|line| line.calls).sum::<usize>(),
            1e6 * total,
            1e6 * self.step_seconds,
            self.source,
            roof / 1e9,
        )
    }
}
