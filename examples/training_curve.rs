//! Draws `docs/training-curve.svg`: loss and accuracy on the digits, epoch by epoch, with the settings of `thalweg train`.
//!
//! `cargo run --release --example training_curve` writes this file; an argument names another path.
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use thalweg::nn::{EpochReport, Schedule, WarmupCosine, write_whole};
use thalweg::prelude::*;

/// Twice the displayed size: the library rounds coordinates to whole units.
const SIZE: (u32, u32) = (1840, 800);
/// Blue and vermilion of Okabe's and Ito's palette, which the colour-blind can distinguish.
const TRAIN: RGBColor = RGBColor(0, 114, 178);
const TEST: RGBColor = RGBColor(213, 94, 0);
const INK: RGBColor = RGBColor(60, 60, 60);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = std::env::args_os().nth(1).map_or_else(|| folder.join("docs/training-curve.svg"), Into::into);
    let device = Device::best();
    let table = Table::read(folder.join("examples/data/digits.csv.gz"))?;
    let data = TabularData::prepare(&table, "label", None, 0.2, 0, &device)?;
    let config = MlpConfig { hidden: vec![128, 64], ..MlpConfig::default() };
    let model = TabularModel::new(data.schema.clone(), config, 0, &device)?;

    let options = FitOptions { epochs: 87, batch_size: 64, seed: 0 };
    let steps = options.epochs * options.steps_per_epoch(data.train.len());
    let rate = WarmupCosine::new(1e-3, steps / 20, steps).over(steps);
    let optimizer = Optimizer::new(model.params(), AdamW::new(), rate)?.with_clip_norm(1.0)?;
    let mut trainer = Trainer::new(model, optimizer, data.schema.loss());
    let history = trainer.fit(&data.train, data.test.as_ref(), &options, |_| ())?;

    let text = draw(&history.epochs)?;
    write_whole(&path, text.as_bytes())?;
    println!("{} epochs on {} in {}", history.epochs.len(), device.info().name, path.display());
    Ok(())
}

/// Returns both panels, as the text of an SVG file.
fn draw(epochs: &[EpochReport]) -> Result<String, Box<dyn Error>> {
    let each = |value: &dyn Fn(&EpochReport) -> Option<f64>| -> Vec<(f64, f64)> {
        epochs.iter().filter_map(|report| Some((report.epoch as f64, value(report)?))).collect()
    };
    let train_loss = each(&|report| Some(report.train_loss));
    let test_loss = each(&|report| Some(report.test?.loss));
    let test_accuracy = each(&|report| Some(100.0 * report.test?.accuracy?));

    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (left, right) = root.split_horizontally(SIZE.0 / 2);
        draw_losses(&left, &train_loss, &test_loss)?;
        draw_accuracy(&right, &test_accuracy)?;
        root.present()?;
    }
    Ok(text)
}

fn draw_losses(area: &Area<'_>, train: &[(f64, f64)], test: &[(f64, f64)]) -> Result<(), Box<dyn Error>> {
    let last = train.last().map_or(1.0, |&(epoch, _)| epoch);
    let lowest = train.iter().chain(test).map(|&(_, loss)| loss).fold(f64::INFINITY, f64::min);
    let mut chart = ChartBuilder::on(area)
        .caption("Cross-entropy loss", font(36))
        .margin(28)
        .x_label_area_size(88)
        .y_label_area_size(120)
        .build_cartesian_2d(0.0..last, (10f64.powf(lowest.log10().floor())..4.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc("loss (logarithmic)")
        .label_style(font(28))
        .axis_style(INK.stroke_width(2))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.2))
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .draw()?;
    for (name, color, points) in [("train", TRAIN, train), ("test", TEST, test)] {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(4)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 44, y)], color.stroke_width(4)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .margin(24)
        .legend_area_size(60)
        .label_font(font(28))
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

fn draw_accuracy(area: &Area<'_>, test: &[(f64, f64)]) -> Result<(), Box<dyn Error>> {
    let last = test.last().map_or(1.0, |&(epoch, _)| epoch);
    let lowest = test.iter().map(|&(_, accuracy)| accuracy).fold(90.0, f64::min);
    let mut chart = ChartBuilder::on(area)
        .caption("Accuracy on the test rows", font(36))
        .margin(28)
        .x_label_area_size(88)
        .y_label_area_size(120)
        .build_cartesian_2d(0.0..last, (lowest / 10.0).floor() * 10.0..100.0)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc("right answers in %")
        .label_style(font(28))
        .axis_style(INK.stroke_width(2))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.2))
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(&|percent| format!("{percent:.0}"))
        .draw()?;
    chart.draw_series(LineSeries::new(test.iter().copied(), TEST.stroke_width(4)))?;
    Ok(())
}

fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}
