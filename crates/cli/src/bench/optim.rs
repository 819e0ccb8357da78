//! `thalweg bench optim`: what an update of all parameters costs, beside the best copy kernel of as many elements.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use thalweg::tensor::{Device, DeviceInfo};

use super::measure::{Pace, Work, measure};
use super::updates::{self, Parameters};
use crate::args::OptimArgs;
use crate::error::Result;
use crate::files::{Named, check_outputs};
use crate::output;
use crate::table::table;
use crate::{devices, error};

/// What is measured together: a number of parameters, as so many tensors each.
struct Group {
    parameters: usize,
    tensors: &'static [usize],
}

const FULL: [Group; 4] = [
    Group { parameters: 64 << 10, tensors: &[1] },
    Group { parameters: 1 << 20, tensors: &[1] },
    Group { parameters: 16 << 20, tensors: &[1] },
    Group { parameters: 1_000_000, tensors: &[1, 200] },
];

const QUICK: [Group; 2] =
    [Group { parameters: 64 << 10, tensors: &[1] }, Group { parameters: 1_000_000, tensors: &[1, 200] }];

#[derive(Debug, Serialize)]
struct Report {
    device: String,
    driver: String,
    rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    optimizer: &'static str,
    parameters: usize,
    tensors: usize,
    launches: u64,
    bytes_per_parameter: u64,
    nanoseconds_per_parameter: f64,
    gb_per_s: f64,
    /// The best copy kernel, at the same number of elements, measured in turns with the update.
    roof_gb_per_s: f64,
    share: f64,
}

pub(crate) fn run(args: &OptimArgs) -> Result<()> {
    let device = devices::open(&args.device)?;
    let file = args.json.as_deref().map(|path| Named::new("--json", path));
    check_outputs(&[], file.as_slice())?;
    let (groups, pace) = if args.quick { (&QUICK[..], Pace::QUICK) } else { (&FULL[..], Pace::FULL) };
    let progress = ProgressBar::new(groups.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {msg}") {
        progress.set_style(style);
    }
    let mut rows = Vec::new();
    for group in groups {
        progress.set_message(format!("{} parameters", group.parameters));
        rows.extend(group.measure(&device, pace, &progress)?);
        device.release_memory();
        progress.inc(1);
    }
    progress.finish_and_clear();
    let info = device.info();
    let text = render(&info, &rows);
    if let Some(file) = file {
        file.write(output::to_json(&Report { device: info.name, driver: info.driver, rows }).as_bytes())?;
    }
    output::print(&text)
}

impl Group {
    fn measure(&self, device: &Device, pace: Pace, progress: &ProgressBar) -> Result<Vec<Row>, error::Error> {
        let layouts = self
            .tensors
            .iter()
            .map(|&tensors| Ok((tensors, Parameters::new(device, tensors, self.parameters / tensors)?)))
            .collect::<Result<Vec<_>>>()?;
        let mut works: Vec<Work<'_>> = Vec::new();
        let mut described = Vec::new();
        for (tensors, layout) in &layouts {
            let mut add = |optimizer, bytes, work| {
                described.push((optimizer, *tensors, bytes));
                works.push(work);
            };
            add("adamw", updates::ADAMW_BYTES, Box::new(layout.adamw()?));
            add("sgd", updates::SGD_BYTES, Box::new(layout.sgd()?));
            add("adamw-composed", updates::ADAMW_COMPOSED_BYTES, Box::new(layout.adamw_composed()?));
        }
        for copy in updates::copies(device, self.parameters)? {
            works.push(Box::new(copy));
        }
        let measured = measure(device, pace, &mut works, || progress.tick())?;
        let gb_per_s = |bytes: u64, seconds: f64| bytes as f64 * self.parameters as f64 / seconds / 1e9;
        let (measured, copies) = measured.split_at(described.len());
        let fastest = copies.iter().map(|copy| copy.seconds).fold(f64::INFINITY, f64::min);
        let roof = gb_per_s(updates::COPY_BYTES, fastest);
        let row = |((optimizer, tensors, bytes), measured): (_, &super::measure::Measured)| {
            let achieved = gb_per_s(bytes, measured.seconds);
            Row {
                optimizer,
                parameters: self.parameters,
                tensors,
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

const HEADINGS: [&str; 9] =
    ["optimizer", "parameters", "tensors", "launches", "bytes/param", "ns/param", "GB/s", "roof GB/s", "share"];

const NUMBERS: [bool; 9] = [false, true, true, true, true, true, true, true, true];

fn render(info: &DeviceInfo, rows: &[Row]) -> String {
    let cells: Vec<_> = rows
        .iter()
        .map(|row| {
            [
                row.optimizer.to_string(),
                row.parameters.to_string(),
                row.tensors.to_string(),
                row.launches.to_string(),
                row.bytes_per_parameter.to_string(),
                format!("{:.3}", row.nanoseconds_per_parameter),
                format!("{:.2}", row.gb_per_s),
                format!("{:.2}", row.roof_gb_per_s),
                format!("{:.2}", row.share),
            ]
        })
        .collect();
    format!(
        "device  {} ({}, {})\ndriver  {}\n\n{}\nroof: the best of the plain copy kernels at as many elements; share: \
         of it\n",
        info.name,
        info.kind,
        info.backend,
        info.driver,
        table(HEADINGS, NUMBERS, &cells)
    )
}
