//! `thalweg bench optim`: the cost of an update of all parameters, next to the best copy kernel for as many elements.

use indicatif::ProgressBar;
use serde::Serialize;
use thalweg::nn::MethodEntry;
use thalweg::tensor::{Clip, Device};

use super::measure::{Pace, Work, measure};
use super::{by_hand, progress, report};
use crate::args::OptimArgs;
use crate::error::{Error, Result};
use crate::table::table;
use crate::updates::{self, Parameters};

/// The measurements of one comparison: a number of parameters, their split into tensors, and whether gradients are
/// clipped to a norm.
struct Group {
    parameters: usize,
    tensors: &'static [usize],
    clips: &'static [Clip],
}

/// Off, and clipping to a norm that all groups' gradients exceed.
const OFF_AND_ON: &[Clip] = &[Clip::Off, Clip::Norm(1.0)];

const FULL: [Group; 4] = [
    Group { parameters: 64 << 10, tensors: &[1], clips: OFF_AND_ON },
    Group { parameters: 1 << 20, tensors: &[1], clips: OFF_AND_ON },
    Group { parameters: 16 << 20, tensors: &[1], clips: &[Clip::Off] },
    Group { parameters: 1_000_000, tensors: &[1, 200], clips: OFF_AND_ON },
];

const QUICK: [Group; 2] = [
    Group { parameters: 64 << 10, tensors: &[1], clips: OFF_AND_ON },
    Group { parameters: 1_000_000, tensors: &[1, 200], clips: OFF_AND_ON },
];

#[derive(Debug, Serialize)]
struct Row {
    optimizer: &'static str,
    parameters: usize,
    tensors: usize,
    /// Whether gradients are clipped by their global norm.
    clipping: bool,
    launches: u64,
    bytes_per_parameter: u64,
    nanoseconds_per_parameter: f64,
    gb_per_s: f64,
    /// The rate of the fastest of the copy kernels and of all rows with the same number of parameters, which took
    /// turns.
    roof_gb_per_s: f64,
    share: f64,
}

pub(crate) fn run(args: &OptimArgs) -> Result<()> {
    let wanted = |name: &str| match args.optimizer.is_empty() {
        // Other forms of a method are measured on request.
        true => MethodEntry::find(name).is_some(),
        false => args.optimizer.iter().any(|wanted| wanted == name),
    };
    let measure = |device: &Device, pace| {
        let (pace, groups) = match (args.bench.quick, args.optimizer.is_empty()) {
            (true, _) => (pace, &QUICK[..]),
            (false, true) => (Pace::MANY, &FULL[..]),
            (false, false) => (pace, &FULL[..]),
        };
        let rows = measure_groups(device, pace, groups, wanted)?;
        if rows.is_empty() {
            let problem = "soap runs with sides as large as here in hardware and on the CPU alone".to_string();
            return Err(Error::Unfit { flag: "--optimizer", problem });
        }
        Ok(rows)
    };
    report(&args.bench, measure, render)
}

fn measure_groups(
    device: &Device,
    pace: Pace,
    groups: &[Group],
    wanted: impl Fn(&str) -> bool + Copy,
) -> Result<Vec<Row>> {
    let progress = progress(groups.len());
    let mut rows = Vec::new();
    for group in groups {
        progress.set_message(format!("{} parameters", group.parameters));
        rows.extend(group.measure(device, pace, wanted, &progress)?);
        device.release_memory();
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(rows)
}

impl Group {
    fn measure(
        &self,
        device: &Device,
        pace: Pace,
        wanted: impl Fn(&str) -> bool,
        progress: &ProgressBar,
    ) -> Result<Vec<Row>, Error> {
        // Matrix products are measured with few parameters only.
        if !updates::updates_of(device, self.parameters).any(|(name, _)| wanted(name)) {
            return Ok(Vec::new());
        }
        let layouts = self
            .tensors
            .iter()
            .map(|&tensors| Ok((tensors, Parameters::new(device, tensors, self.parameters / tensors)?)))
            .collect::<Result<Vec<_>>>()?;
        let mut works: Vec<Work<'_>> = Vec::new();
        let mut described = Vec::new();
        for (tensors, layout) in &layouts {
            for (name, update) in updates::updates_of(device, self.parameters).filter(|(name, _)| wanted(name)) {
                for &clip in self.clips {
                    described.push((name, *tensors, clip != Clip::Off, updates::update_bytes(&*update, clip)));
                    works.push(Box::new(layout.update(update.clone(), clip)?));
                }
            }
            if wanted("adamw") {
                described.push(("adamw-composed", *tensors, false, updates::ADAMW_COMPOSED_BYTES));
                works.push(Box::new(layout.adamw_composed()?));
            }
        }
        if device.is_cpu() && wanted("adamw") {
            // The reference there: the same update as a plain loop on as many threads.
            let [mut params, grads, mut moment1, mut moment2] =
                [0.5f32, 0.01, 0.0, 0.0].map(|value| vec![value; self.parameters]);
            described.push(("adamw-by-hand", 1, false, updates::update_bytes(&updates::ADAMW, Clip::Off)));
            works.push(Box::new(move || {
                by_hand::adamw(&mut params, &grads, &mut moment1, &mut moment2, 1.0, (0.1, 0.001));
                Ok(())
            }));
        }
        for copy in updates::copies(device, self.parameters)? {
            works.push(Box::new(copy));
        }
        let measured = measure(device, pace, &mut works, || progress.tick())?;
        let gb_per_s = |bytes: u64, seconds: f64| bytes as f64 * self.parameters as f64 / seconds / 1e9;
        let (measured, copies) = measured.split_at(described.len());
        let fastest = copies.iter().map(|copy| copy.seconds).fold(f64::INFINITY, f64::min);
        let copy = gb_per_s(updates::COPY_BYTES, fastest);
        // With some drivers a copy kernel is slower than one that computes.
        let updates = described.iter().zip(measured).map(|((.., bytes), measured)| gb_per_s(*bytes, measured.seconds));
        let roof = updates.fold(copy, f64::max);
        let row = |((optimizer, tensors, clipping, bytes), measured): (_, &super::measure::Measured)| {
            let achieved = gb_per_s(bytes, measured.seconds);
            Row {
                optimizer,
                parameters: self.parameters,
                tensors,
                clipping,
                launches: measured.launches,
                bytes_per_parameter: bytes,
                nanoseconds_per_parameter: 1e9 * measured.seconds / self.parameters as f64,
                gb_per_s: achieved,
                roof_gb_per_s: roof,
                share: achieved / roof,
            }
        };
        Ok(described.into_iter().zip(measured).map(row).collect())
    }
}

const HEADINGS: [&str; 10] = [
    "optimizer",
    "parameters",
    "tensors",
    "clipping",
    "launches",
    "bytes/param",
    "ns/param",
    "GB/s",
    "roof GB/s",
    "share",
];

const NUMBERS: [bool; 10] = [false, true, true, false, true, true, true, true, true, true];

fn render(rows: &[Row]) -> String {
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                row.optimizer.to_string(),
                row.parameters.to_string(),
                row.tensors.to_string(),
                if row.clipping { "on" } else { "off" }.to_string(),
                row.launches.to_string(),
                row.bytes_per_parameter.to_string(),
                format!("{:.3}", row.nanoseconds_per_parameter),
                format!("{:.2}", row.gb_per_s),
                format!("{:.2}", row.roof_gb_per_s),
                format!("{:.2}", row.share),
            ]
        })
        .collect();
    let table = table(HEADINGS, NUMBERS, &cells);
    format!(
        "{table}\nclipping: by the global norm, which reads the gradients once more; roof: the fastest of the plain \
         copy kernels and of these updates at as many parameters; share: of it\n"
    )
}
