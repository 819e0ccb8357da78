//! `thalweg bench`: kernels measured on the user's own device, each next to its roofline.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use thalweg::tensor::{Device, DeviceInfo};

use crate::args::BenchArgs;
use crate::error::Result;
use crate::files::{Named, check_outputs};
use crate::{devices, output};

#[allow(dead_code, reason = "a test that holds it against the library looks inside")]
mod by_hand;
#[allow(dead_code, reason = "a test that holds it against the library looks inside")]
mod by_hand_gpu;
mod gemm;
pub(crate) mod matmul;
mod measure;
pub(crate) mod optim;
pub(crate) mod step;
pub(crate) mod training_step;

use measure::Pace;

/// The content of every file of measurements.
#[derive(Debug, Serialize)]
struct Report<R> {
    device: String,
    driver: String,
    processor: String,
    rows: Vec<R>,
}

/// Measures on the device of the arguments, prints a table, and writes the rows as JSON if a file is given.
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
    let json = output::to_json(&Report { device: info.name, driver: info.driver, processor: processor(), rows });
    let written = file.map_or(Ok(()), |file| file.write(json.as_bytes()));
    // Results of minutes of work are printed first.
    output::print(&text)?;
    written
}

/// Returns the measured device, its driver and the processor, a line each.
pub(crate) fn heading(info: &DeviceInfo) -> String {
    let DeviceInfo { name, kind, backend, driver, .. } = info;
    format!("device     {name} ({kind}, {backend})\ndriver     {driver}\nprocessor  {}\n", processor())
}

/// Returns the name of the processor, which software drivers use, and its number of threads.
fn processor() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let name = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| processor_of(&text));
    let name = name.or_else(|| std::env::var("PROCESSOR_IDENTIFIER").ok());
    format!("{} ({threads} threads)", name.unwrap_or_else(|| std::env::consts::ARCH.to_string()))
}

/// Returns the name in Linux's list of processors, with the family and the model, because clouds give many the same
/// name.
fn processor_of(cpuinfo: &str) -> Option<String> {
    let field = |wanted: &str| {
        let mut fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.trim() == wanted).map(|(_, value)| value.trim())
    };
    let name = field("model name")?;
    Some(match (field("cpu family"), field("model")) {
        (Some(family), Some(model)) => format!("{name}, family {family}, model {model}"),
        _ => name.to_string(),
    })
}

/// Returns a spinner with the current measurement and the progress.
fn progress(length: usize) -> ProgressBar {
    let progress = ProgressBar::new(length as u64);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {msg}") {
        progress.set_style(style);
    }
    progress
}

#[cfg(test)]
mod tests {
    use super::processor_of;

    #[test]
    fn a_processor_is_told_by_name_family_and_model() {
        let linux = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\n";
        assert_eq!(processor_of(linux).as_deref(), Some("AMD EPYC, family 25, model 1"));
        assert_eq!(processor_of("model name : A\n").as_deref(), Some("A"));
        assert_eq!(processor_of("processor : 0\n"), None);
    }
}
