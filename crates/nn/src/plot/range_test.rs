//! The picture of a range test.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{INK, LINE, SIZE, Unit};
use crate::{Error, Ramp, RangePoint, RangeReport, Result};

/// Colours of Okabe's and Ito's palette.
const PALE: RGBColor = RGBColor(170, 205, 230);
const STEEPEST: RGBColor = RGBColor(213, 94, 0);
const TENTH: RGBColor = RGBColor(0, 158, 115);

/// The height of the title and the legend, above the frame.
const HEAD: u32 = 116;

impl RangeReport {
    /// Draws losses over learning rates, with the suggestions marked, and returns the text of an SVG file.
    ///
    /// The picture ends before the rise of the loss makes its fall too small to see. Needs the feature `plot`.
    ///
    /// # Errors
    /// [`Error::Picture`] if it cannot be drawn.
    pub fn plot(&self) -> Result<String> {
        let mut text = String::new();
        self.draw(&mut text).map_err(|error| Error::Picture { problem: error.to_string() })?;
        Ok(text)
    }

    fn draw(&self, text: &mut String) -> std::result::Result<(), Box<dyn std::error::Error>> {
        let shown = shown(&self.points);
        let losses = || shown.iter().flat_map(|point| [point.loss, point.smoothed]);
        let (bottom, top) = match losses().next() {
            Some(first) => (losses().fold(first, f64::min), losses().fold(first, f64::max)),
            None => (0.0, 1.0),
        };
        // Powers of ten as the units of numbers; on an exponential ramp that of the learning rate itself.
        let is_exponential = self.ramp == Ramp::Exponential;
        let of_lr = Unit::of(if is_exponential { 1.0 } else { shown.last().map_or(1.0, |point| point.lr) });
        let of_loss = Unit::of(top.abs().max(bottom.abs()));
        let x = |lr: f64| if is_exponential { lr.log10() } else { of_lr.in_it(lr) };
        let (first, last) = match (shown.first(), shown.last()) {
            (Some(first), Some(last)) if x(last.lr) - x(first.lr) > 1e-6 => (x(first.lr), x(last.lr)),
            (Some(first), _) => (x(first.lr) - 0.5, x(first.lr) + 0.5),
            _ => (0.0, 1.0),
        };
        let (bottom, top) = (of_loss.in_it(bottom), of_loss.in_it(top));
        let room = 0.05 * (top - bottom).max(0.01);
        let (bottom, top) = (bottom - room, top + room);
        let y = |loss: f64| of_loss.in_it(loss);

        let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (head, body) = root.split_vertically(HEAD);
        let mut chart = ChartBuilder::on(&body)
            .margin(28)
            .margin_top(8)
            .x_label_area_size(88)
            .y_label_area_size(150)
            .build_cartesian_2d(first..last, bottom..top)?;
        chart
            .configure_mesh()
            .x_desc("learning rate")
            .y_desc("loss")
            .label_style(("sans-serif", 28).into_font().color(&INK))
            .axis_style(INK.stroke_width(2))
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.2))
            .x_label_formatter(&|x| if is_exponential { format!("{:.0e}", 10f64.powf(*x)) } else { of_lr.label(*x) })
            .y_label_formatter(&|y| of_loss.label(*y))
            .draw()?;
        let raw = shown.iter().map(|point| (x(point.lr), y(point.loss)));
        chart.draw_series(LineSeries::new(raw, PALE.stroke_width(2)))?;
        let smoothed = shown.iter().map(|point| (x(point.lr), y(point.smoothed)));
        chart.draw_series(LineSeries::new(smoothed, LINE.stroke_width(5)))?;
        let mut names = vec![(PALE, "loss".to_string()), (LINE, "smoothed".to_string())];
        let suggestions = [(self.steepest, STEEPEST, "steepest"), (self.minimum_over_ten, TENTH, "minimum / 10")];
        for (lr, color, name) in suggestions {
            let Some(lr) = lr else { continue };
            let at = x(lr).clamp(first, last);
            chart.draw_series(LineSeries::new([(at, bottom), (at, top)], color.stroke_width(3)))?;
            names.push((color, format!("{name}: {lr:.1e}")));
        }
        draw_head(&head, &names)?;
        root.present()?;
        drop(chart);
        drop((head, body));
        Ok(())
    }
}

/// Returns the steps to draw: those before the average, after its minimum, has risen by twice as much as it fell, or a
/// single loss by four times as much.
fn shown(points: &[RangePoint]) -> &[RangePoint] {
    let finite = points.iter().take_while(|point| point.loss.is_finite() && point.smoothed.is_finite()).count();
    let points = &points[..finite];
    let smoothed = |i: usize| points[i].smoothed;
    let Some(least) = (0..finite).min_by(|&a, &b| smoothed(a).total_cmp(&smoothed(b))) else { return points };
    // If the loss never falls, everything is drawn.
    let fall = if least > 0 { smoothed(0) - smoothed(least) } else { f64::INFINITY };
    let rises_far =
        |point: &RangePoint| point.smoothed - smoothed(least) > 2.0 * fall || point.loss - smoothed(least) > 4.0 * fall;
    let end = (least..finite).find(|&i| rises_far(&points[i])).unwrap_or(finite);
    &points[..end]
}

/// Draws the title, and under it the colours and names of the lines, side by side.
fn draw_head(
    head: &DrawingArea<SVGBackend<'_>, Shift>,
    names: &[(RGBColor, String)],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
    head.draw(&Text::new("Learning-rate range test", (28, 22), font(36)))?;
    let (mut x, y) = (28, 88);
    for (color, name) in names {
        head.draw(&PathElement::new([(x, y), (x + 32, y)], color.stroke_width(5)))?;
        head.draw(&Text::new(name.clone(), (x + 44, y - 14), font(26)))?;
        // Letters are at most 16 units wide, and mostly narrower.
        x += 44 + 15 * name.chars().count() as i32 + 36;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::polyline;
    use super::*;
    use crate::RangeTest;

    fn report(ramp: Ramp, losses: &[f64]) -> RangeReport {
        let mut values = losses.iter().copied();
        let test = RangeTest { steps: losses.len() as u64, ramp, ..RangeTest::default() };
        test.run(|_| Ok(values.next().unwrap())).unwrap()
    }

    /// Returns losses that fall, with single batches far off, and diverge.
    fn losses() -> Vec<f64> {
        let loss = |i: u32| match i {
            30 => 9.0,
            45 => 0.05,
            0..80 => 2.3 - 0.025 * f64::from(i) + 0.2 * f64::from(i * 7 % 5),
            _ => 2f64.powi(i as i32 - 80),
        };
        (0..100).map(loss).collect()
    }

    /// Returns left, top, right and bottom of the frame: the ends of the mark of a suggestion, and of the line of
    /// losses.
    fn frame(picture: &str) -> [f64; 4] {
        let (mark, line) = (polyline(picture, STEEPEST), polyline(picture, PALE));
        let (top, bottom) = (mark[0].1.min(mark[1].1), mark[0].1.max(mark[1].1));
        [line[0].0, top, line[line.len() - 1].0, bottom]
    }

    #[test]
    fn every_loss_is_inside_of_the_frame() {
        for ramp in [Ramp::Exponential, Ramp::Linear] {
            let report = report(ramp, &losses());
            let picture = report.plot().unwrap();
            let [left, top, right, bottom] = frame(&picture);
            let (raw, smoothed) = (polyline(&picture, PALE), polyline(&picture, LINE));
            let shown = shown(&report.points);
            assert_eq!((raw.len(), smoothed.len()), (shown.len(), shown.len()));
            assert!(raw.len() > 80 && raw.len() < report.points.len(), "{} of {}", raw.len(), report.points.len());
            for (x, y) in raw.iter().chain(&smoothed) {
                assert!(
                    (left..=right).contains(x) && top < *y && *y < bottom,
                    "{x}, {y} in {left}, {top}, {right}, {bottom}"
                );
            }
            // Each loss is at its position on the axis; the largest is below the top by a twentieth of the range.
            let losses = || shown.iter().map(|point| point.loss);
            let (most, least) = (losses().fold(0.0, f64::max), losses().fold(9.0, f64::min));
            assert_eq!((most, least), (9.0, 0.05));
            let scale = (bottom - top) / (1.1 * (most - least));
            for (point, (_, y)) in shown.iter().zip(&raw) {
                let expected = bottom - scale * (point.loss - least + 0.05 * (most - least));
                assert!((y - expected).abs() <= 1.5, "{}: {y}, {expected}", point.loss);
            }
        }
    }

    #[test]
    fn title_and_legend_are_above_the_frame() {
        let picture = report(Ramp::Exponential, &losses()).plot().unwrap();
        let [_, top, ..] = frame(&picture);
        for name in ["Learning-rate range test", "\nloss\n", "smoothed", "steepest: ", "minimum / 10: "] {
            // The axis and the first line have the same name, and the axis is drawn first.
            let (before, _) = picture.rsplit_once(name).unwrap_or_else(|| panic!("{name:?} in {picture}"));
            let element = &before[before.rfind("<text").unwrap()..];
            let y: f64 = element.split_once(" y=\"").unwrap().1.split_once('"').unwrap().0.parse().unwrap();
            assert!(y + 30.0 < top, "{name}: {y}, and the frame begins at {top}");
        }
        assert!(picture.contains("learning rate"));
    }

    #[test]
    fn odd_losses_are_drawn() {
        for losses in [
            vec![f64::NAN; 5],
            vec![1.0, 2.0, 3.0, 4.0, 3.9],
            vec![f64::INFINITY; 5],
            vec![0.0; 5],
            vec![-1e308; 5],
            vec![2.0, 1.0, f64::NAN, 1.0, 1.0],
            vec![1.0, 1e30],
        ] {
            let picture = report(Ramp::Exponential, &losses).plot().unwrap();
            assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{losses:?}");
        }
    }
}
