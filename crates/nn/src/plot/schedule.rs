//! Pictures of schedules.

use plotters::prelude::*;

use super::{INK, LINE, SIZE, Unit};
use crate::{Error, Result, Schedule};

/// The maximum number of points of a picture, more than its columns.
const MOST_POINTS: u64 = 2_000;

/// Draws the values of the steps `0..steps` of any schedule over the step, and returns the text of an SVG file.
///
/// `name` labels the axis of the values, such as "momentum". At most 2,000 steps are drawn, at equal distances. Needs
/// the feature `plot`.
///
/// # Errors
/// Same as [`Schedule::validate`].
///
/// ```
/// use thalweg_nn::{OneCycle, plot_schedule};
/// # fn main() -> thalweg_nn::Result<()> {
/// let picture = plot_schedule(&OneCycle::new(0.1, 500).momentum(), 500, "momentum")?;
/// assert!(picture.starts_with("<svg") && picture.contains("momentum"));
/// # Ok(())
/// # }
/// ```
pub fn plot_schedule(schedule: &dyn Schedule, steps: u64, name: &str) -> Result<String> {
    schedule.validate()?;
    let points: Vec<(f64, f64)> = sampled(steps).map(|step| (step as f64, schedule.at(step))).collect();
    let mut text = String::new();
    draw_points(&mut text, &points, steps, name).map_err(|error| Error::Picture { problem: error.to_string() })?;
    Ok(text)
}

/// Returns the steps to draw, with the first and the last of the run.
fn sampled(steps: u64) -> impl Iterator<Item = u64> {
    let points = steps.min(MOST_POINTS);
    // The products fit in 128 bits.
    (0..points).map(move |point| match points - 1 {
        0 => 0,
        last => (u128::from(point) * u128::from(steps - 1) / u128::from(last)) as u64,
    })
}

fn draw_points(
    text: &mut String,
    points: &[(f64, f64)],
    steps: u64,
    name: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let finite = || points.iter().copied().filter(|(_, value)| value.is_finite());
    let largest = finite().map(|(_, value)| value).fold(0.0, f64::max);
    let (x, y) = (Unit::of((steps.max(2) - 1) as f64), Unit::of(largest));
    let top = if largest > 0.0 { 1.05 * y.in_it(largest) } else { 1.0 };
    let line = finite().map(|(step, value)| (x.in_it(step), y.in_it(value)));

    let root = SVGBackend::with_string(text, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(28)
        .x_label_area_size(88)
        .y_label_area_size(150)
        .build_cartesian_2d(0.0..x.in_it((steps.max(2) - 1) as f64), 0.0..top)?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc(name)
        .label_style(("sans-serif", 28).into_font().color(&INK))
        .axis_style(INK.stroke_width(2))
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.2))
        // There are no values between two steps, which shows in the shortest runs.
        .x_label_formatter(&|step| {
            let between = x.exponent == 0 && (step - step.round()).abs() > 1e-6;
            if between { String::new() } else { x.label(*step) }
        })
        .y_label_formatter(&|value| y.label(*value))
        .draw()?;
    chart.draw_series(LineSeries::new(line, LINE.stroke_width(4)))?;
    root.present()?;
    drop(chart);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::polyline;
    use super::*;
    use crate::{Chain, Constant, Cosine, Cyclic, LinearRamp, OneCycle, Warmup};

    fn line(picture: &str) -> Vec<(f64, f64)> {
        polyline(picture, LINE)
    }

    #[test]
    fn the_line_is_the_schedule() {
        let ramp = LinearRamp { initial_lr: 0.1, final_lr: 0.0, steps: 100 };
        let picture = plot_schedule(&ramp, 101, "learning rate").unwrap();
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
        for text in ["\nstep\n", "\nlearning rate\n", "\n0.1\n", "\n100\n"] {
            assert!(picture.contains(text), "{text:?} in {picture}");
        }
        let line = line(&picture);
        assert_eq!(line.len(), 101);
        let ((left, top), (right, bottom)) = (line[0], line[100]);
        assert!(left < right && top < bottom);
        for (step, (x, y)) in line.into_iter().enumerate() {
            let share = step as f64 / 100.0;
            assert!((x - left - (right - left) * share).abs() <= 1.0, "{step}: {x}");
            assert!((y - top - (bottom - top) * share).abs() <= 1.0, "{step}: {y}");
        }
    }

    #[test]
    fn odd_runs_and_values_are_drawn() {
        let rising = |lr| Warmup::linear(Constant { lr }, 3);
        for lr in [0.0, f64::from_bits(1), 1e-300, 1e-9, 0.1, 12345.0, f64::MAX] {
            for steps in [0, 1, 2, 10, 5_000, u64::MAX] {
                for schedule in [&Constant { lr } as &dyn Schedule, &rising(lr), &Cyclic::new(0.0, lr, 7)] {
                    let picture = plot_schedule(schedule, steps, "learning rate").unwrap();
                    let points = line(&picture);
                    assert!(points.len() as u64 <= steps.min(2_000), "{schedule:?}, {steps}");
                    assert!(points.iter().all(|(x, y)| (0.0..=1280.0).contains(x) && (0.0..=720.0).contains(y)));
                }
            }
        }
        let shortest = plot_schedule(&Constant { lr: 0.5 }, 3, "learning rate").unwrap();
        assert!(shortest.contains("\n2\n") && !shortest.contains("\n1.2\n"), "{shortest}");
        let overflow = Chain::new(Constant { lr: f64::MAX }).times(Constant { lr: 2.0 });
        assert!(line(&plot_schedule(&overflow, 10, "learning rate").unwrap()).is_empty());
        assert!(plot_schedule(&Cosine { lr: 0.1, min_lr: 0.0, steps: 0 }, 10, "learning rate").is_err());
    }

    #[test]
    fn a_name_is_written_as_text() {
        let picture = plot_schedule(&OneCycle::new(0.1, 9).momentum(), 9, "<b> & \"c\"").unwrap();
        assert!(picture.contains("&lt;b&gt; &amp;") && !picture.contains("<b>"), "{picture}");
    }

    #[test]
    fn first_and_last_step_are_drawn() {
        for steps in [1, 2, 1_999, 2_000, 2_001, 12_345, u64::MAX] {
            let sampled: Vec<u64> = sampled(steps).collect();
            assert_eq!((sampled[0], sampled[sampled.len() - 1]), (0, steps - 1));
            assert!(sampled.is_sorted_by(|a, b| a < b));
        }
    }
}
