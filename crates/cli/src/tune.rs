//! `thalweg tune`: measures which kernels compute matrix products fastest on a device, and stores the choice.

use indicatif::{ProgressBar, ProgressStyle};
use thalweg::tensor::tune::{DeviceProducts, ProductShape, TunedProduct};
use thalweg::tensor::{DeviceInfo, DeviceKind};

use crate::args::TuneArgs;
use crate::error::Result;
use crate::table::table;
use crate::{choices, devices, output};

/// Layers to tune for: batch, inputs, outputs.
const FULL: [(usize, usize, usize); 7] =
    [(64, 64, 64), (64, 784, 256), (64, 256, 128), (64, 128, 10), (512, 784, 256), (512, 256, 128), (512, 128, 10)];

const QUICK: [(usize, usize, usize); 1] = [(64, 64, 64)];

/// The width of a large layer, for hardware.
const LARGE: usize = 2048;

pub(crate) fn run(args: &TuneArgs) -> Result<()> {
    let device = devices::open(&args.device)?;
    let info = device.info();
    if info.kind == DeviceKind::Cpu {
        return output::print("the CPU computes matrix products in one way: there is nothing to tune\n");
    }
    // Stores nothing: an error is reported before the work.
    choices::save(&info, &[])?;
    let layers = if args.quick { &QUICK[..] } else { &FULL[..] };
    let large = (info.kind == DeviceKind::Hardware && !args.quick).then_some((LARGE, LARGE, LARGE));
    let progress = ProgressBar::new(layers.len() as u64 + u64::from(large.is_some()));
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {msg}") {
        progress.set_style(style);
    }
    let mut shapes = Vec::new();
    for &(batch, inputs, outputs) in layers.iter().chain(&large) {
        shapes.extend(ProductShape::layer(batch, inputs, outputs));
    }
    progress.set_message("matrix products");
    progress.tick();
    let tuning = device.tune_products(&shapes)?;
    progress.finish_and_clear();
    let kept = choices::save(&info, &tuning.choices);
    output::print(&render(&info, &tuning.rows))?;
    output::print(&format!("kept in {}\n", kept?.display()))
}

const HEADINGS: [&str; 7] = ["m", "n", "k", "stored", "kernel", "GFLOP/s", "choice"];

const NUMBERS: [bool; 7] = [true, true, true, false, false, true, false];

fn render(info: &DeviceInfo, rows: &[TunedProduct]) -> String {
    let mut cells = Vec::new();
    for row in rows {
        let ProductShape { m, n, k, transpose_a, transpose_b } = row.shape;
        for (i, (kernel, rate)) in row.candidates.iter().enumerate() {
            let first = |text: String| if i == 0 { text } else { String::new() };
            let stored = format!("a{} b{}", if transpose_a { "ᵀ" } else { "" }, if transpose_b { "ᵀ" } else { "" });
            let choice = match (*kernel == row.choice, *kernel == row.default) {
                (true, true) => "chosen, as without tuning",
                (true, false) => "chosen",
                (false, true) => "without tuning",
                (false, false) => "",
            };
            cells.push([
                first(m.to_string()),
                first(n.to_string()),
                first(k.to_string()),
                first(stored),
                kernel.clone(),
                format!("{rate:.1}"),
                choice.to_string(),
            ]);
        }
    }
    format!(
        "device  {} ({}, {})\ndriver  {}\n\n{}\nA choice holds for extents up to the next powers of two. No choice changes \
         results, unless the driver contracts products and sums.\n",
        info.name,
        info.kind,
        info.backend,
        info.driver,
        table(HEADINGS, NUMBERS, &cells)
    )
}
