//! `thalweg bench`: kernels measured on the user's own device, each beside its roof.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use thalweg::tensor::{Device, DeviceInfo};

use crate::args::BenchArgs;
use crate::error::Result;
use crate::files::{Named, check_outputs};
use crate::{devices, output};

#[allow(dead_code, reason = "a test that holds it against the library looks inside")]
mod by_hand;
mod gemm;
pub(crate) mod matmul;
mod measure;
pub(crate) mod optim;
pub(crate) mod step;
pub(crate) mod training_step;

use measure::Pace;

/// What every file of figures holds.
#[derive(Debug, Serialize)]
struct Report<R> {
    device: String,
    driver: String,
    rows: Vec<R>,
}

/// Measures on the device of the arguments, prints a table, and writes the rows as JSON where that is asked for.
fn report<R: Serialize>(
    args: &BenchArgs,
    measure: impl FnOnce(&Device, Pace) -> Result<Vec<R>>,
    render: impl FnOnce(&[R]) -> String,
) -> Result<()> {
    let device = devices::open_to_compute(&args.device)?;
    let file = args.json.as_deref().map(|path| Named::new("--json", path));
    check_outputs(&[], file.as_slice())?;
    let rows = measure(&device, if args.quick { Pace::QUICK } else { Pace::FULL })?;
    let info = device.info();
    let text = format!("{}\n{}", heading(&info), render(&rows));
    let json = output::to_json(&Report { device: info.name, driver: info.driver, rows });
    let written = file.map_or(Ok(()), |file| file.write(json.as_bytes()));
    // What took minutes to measure is shown in any case.
    output::print(&text)?;
    written
}

/// The device that figures were taken on, in two lines.
pub(crate) fn heading(info: &DeviceInfo) -> String {
    format!("device  {} ({}, {})\ndriver  {}\n", info.name, info.kind, info.backend, info.driver)
}

/// A spinner with what is being measured and how far it is.
fn progress(length: usize) -> ProgressBar {
    let progress = ProgressBar::new(length as u64);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {msg}") {
        progress.set_style(style);
    }
    progress
}
