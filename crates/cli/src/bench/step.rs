//! `thalweg bench step`: a training step of a small network, eager and recorded, next to the time of its kernels.

use serde::Serialize;
use thalweg::tensor::{Device, Error as TensorError, Result as TensorResult};

use super::by_hand::{self, ByHand};
use super::by_hand_gpu::ByHandGpu;
use super::measure::{Detailed, Pace, Work, measure_in_detail};
use super::training_step::{TrainingStep, WIDTHS};
use super::{progress, report};
use crate::args::StepArgs;
use crate::error::Result;
use crate::table::table;

/// The number of steps per submission: one, and as many as the trainer replays at once.
const STEPS_PER_SUBMISSION: [usize; 2] = [1, 8];

/// The mode of the step without the library.
const BY_HAND: &str = "by-hand";

#[derive(Debug, Serialize)]
struct Row {
    network: String,
    batch: usize,
    mode: &'static str,
    steps_per_submission: usize,
    launches_per_step: f64,
    submissions_per_step: f64,
    host_syncs_per_step: f64,
    microseconds_per_step: f64,
    host_microseconds_per_step: f64,
    kernel_microseconds_per_step: f64,
}

/// A way to run steps, and the number of steps per call.
struct Mode<'a> {
    name: &'static str,
    steps: usize,
    work: Work<'a>,
}

pub(crate) fn run(args: &StepArgs) -> Result<()> {
    let batches: Vec<usize> = args.batch.iter().map(|&batch| batch as usize).collect();
    report(&args.bench, |device, pace| measure_batches(device, pace, &batches), render)
}

fn measure_batches(device: &Device, pace: Pace, batches: &[usize]) -> Result<Vec<Row>> {
    let progress = progress(batches.len());
    let mut rows = Vec::new();
    for &batch in batches {
        let by_hand = if device.is_cpu() { None } else { ByHandGpu::open(&device.info(), &ByHand::new(batch, 0))? };
        progress.set_message(format!("batch {batch}"));
        rows.extend(measure_modes(device, pace, batch, ("eager", "recorded"), by_hand.as_ref(), || progress.tick())?);
        if !device.is_cpu() {
            // The host's work, on an adapter that does nothing.
            let noop = Device::noop()?;
            rows.extend(measure_modes(&noop, pace, batch, ("noop-eager", "noop-recorded"), None, || progress.tick())?);
        }
        device.release_memory();
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(rows)
}

/// Measures all ways to run a step with one batch size, in turns.
fn measure_modes(
    device: &Device,
    pace: Pace,
    batch: usize,
    (eager, recorded): (&'static str, &'static str),
    by_hand: Option<&ByHandGpu>,
    tick: impl FnMut(),
) -> Result<Vec<Row>> {
    let mut step = TrainingStep::new(device, &WIDTHS, batch)?;
    let recording = step.record()?;
    let mut modes = Vec::new();
    let one_step = move || -> TensorResult<()> {
        // All other errors would have occurred before: the step is the recorded one.
        step.step().map_err(|error| match error {
            thalweg::Error::Tensor(error) => error,
            other => TensorError::DeviceLost { reason: other.to_string() },
        })?;
        device.flush()
    };
    modes.push(Mode { name: eager, steps: 1, work: Box::new(one_step) });
    for steps in STEPS_PER_SUBMISSION {
        let recording = &recording;
        modes.push(Mode { name: recorded, steps, work: Box::new(move || recording.replay(steps)) });
    }
    if device.is_cpu() {
        let mut by_hand = ByHand::new(batch, 0);
        let step = move || {
            by_hand.step();
            Ok(())
        };
        modes.push(Mode { name: BY_HAND, steps: 1, work: Box::new(step) });
    }
    if let Some(by_hand) = by_hand {
        for steps in STEPS_PER_SUBMISSION {
            let work = move || {
                by_hand.step(steps);
                Ok(())
            };
            modes.push(Mode { name: BY_HAND, steps, work: Box::new(work) });
        }
    }
    let wait = || {
        device.synchronize()?;
        by_hand.map_or(Ok(()), ByHandGpu::wait)
    };
    let (described, mut works): (Vec<_>, Vec<_>) =
        modes.into_iter().map(|mode| ((mode.name, mode.steps), mode.work)).unzip();
    let measured = measure_in_detail(device, pace, &mut works, &wait, tick)?;
    let mut rows: Vec<Row> =
        described.into_iter().zip(&measured).map(|((mode, steps), m)| row(batch, mode, steps, m)).collect();
    if let Some(by_hand) = by_hand {
        // The library's counters do not include it.
        for row in rows.iter_mut().filter(|row| row.mode == BY_HAND) {
            row.launches_per_step = by_hand.dispatches() as f64;
            row.submissions_per_step = 1.0 / row.steps_per_submission as f64;
        }
    }
    Ok(rows)
}

fn row(batch: usize, mode: &'static str, steps: usize, measured: &Detailed) -> Row {
    let microseconds = |seconds: f64| 1e6 * seconds / steps as f64;
    let per_step = |count: f64| count / steps as f64;
    let seconds = measured.work.seconds;
    // Plain code on the CPU has no launches, and is all kernel; hand-written dispatches have no profile.
    let plain = mode == BY_HAND;
    Row {
        network: WIDTHS.map(|width| width.to_string()).join("-"),
        batch,
        mode,
        steps_per_submission: steps,
        launches_per_step: per_step(measured.work.launches as f64),
        submissions_per_step: per_step(measured.submissions),
        host_syncs_per_step: per_step(measured.host_syncs),
        microseconds_per_step: microseconds(seconds),
        host_microseconds_per_step: microseconds(measured.host_seconds),
        kernel_microseconds_per_step: microseconds(if plain { seconds } else { measured.kernel_seconds }),
    }
}

const HEADINGS: [&str; 11] = [
    "network",
    "batch",
    "mode",
    "steps/submission",
    "launches",
    "submissions",
    "syncs",
    "us",
    "host us",
    "kernel us",
    "us/kernel us",
];

const NUMBERS: [bool; 11] = [false, true, false, true, true, true, true, true, true, true, true];

fn render(rows: &[Row]) -> String {
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            let is_noop = row.mode.starts_with("noop");
            [
                row.network.clone(),
                row.batch.to_string(),
                row.mode.to_string(),
                row.steps_per_submission.to_string(),
                format!("{}", row.launches_per_step),
                format!("{:.3}", row.submissions_per_step),
                format!("{:.3}", row.host_syncs_per_step),
                format!("{:.1}", row.microseconds_per_step),
                format!("{:.1}", row.host_microseconds_per_step),
                format!("{:.1}", row.kernel_microseconds_per_step),
                if is_noop {
                    "-".to_string()
                } else {
                    format!("{:.2}", row.microseconds_per_step / row.kernel_microseconds_per_step)
                },
            ]
        })
        .collect();
    let mut text = table(HEADINGS, NUMBERS, &cells);
    text.push_str(
        "\nall figures are per step; host: what the host needs to hand it over while the device is idle; kernel: the \
         sum of its kernels' own times\n",
    );
    for line in comparisons(rows) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Compares the rows of one batch.
fn comparisons(rows: &[Row]) -> Vec<String> {
    let last = |batch, mode: &str| rows.iter().rev().find(|row| row.batch == batch && row.mode == mode);
    // Several steps in a submission are not always faster than one.
    let best = |batch, mode: &str| {
        let of_mode = rows.iter().filter(|row| row.batch == batch && row.mode == mode);
        of_mode.map(|row| row.microseconds_per_step).min_by(f64::total_cmp)
    };
    let mut batches: Vec<usize> = rows.iter().map(|row| row.batch).collect();
    batches.dedup();
    let mut lines = Vec::new();
    for batch in batches {
        if let (Some(eager), Some(recorded)) = (last(batch, "eager"), last(batch, "recorded")) {
            let ratio = eager.microseconds_per_step / recorded.microseconds_per_step;
            lines.push(format!("batch {batch}: eager takes {ratio:.2} times as long as recorded"));
        }
        if let (Some(recorded), Some(by_hand)) = (best(batch, "recorded"), best(batch, BY_HAND)) {
            let ratio = recorded / by_hand;
            lines.push(format!("batch {batch}: recorded takes {ratio:.2} times as long as the step written by hand"));
        } else {
            lines.push(format!("batch {batch}: no step written by hand, which needs subgroups of one size"));
        }
        if let Some(noop) = last(batch, "noop-recorded") {
            let each = noop.host_microseconds_per_step / noop.launches_per_step;
            lines.push(format!(
                "batch {batch}: replay takes {each:.2} us of the host for each launch, without a driver"
            ));
        }
    }
    lines
}

const _: () = {
    let mut i = 0;
    while i < WIDTHS.len() {
        assert!(WIDTHS[i] == by_hand::WIDTHS[i], "both steps are of one network");
        i += 1;
    }
};
