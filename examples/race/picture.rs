//! The paths on the contours, a panel for each family.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::contour::{Line, clip, simplify};
use crate::function::Function;
use crate::raster::{self, Raster};
use crate::run::Run;

/// A title, and runs with the names of their methods.
pub(crate) type Panel = (&'static str, Vec<(&'static str, Run)>);

// Twice the displayed size: the library rounds coordinates to whole units.
const WIDTH: u32 = 1840;
const TITLE: u32 = 110;
const PANEL: u32 = 790;
const COLUMNS: usize = 2;
const MARGIN: i32 = 24;
const LABELS: (i32, i32) = (70, 52);
/// The height of a panel's title and of two lines that name the paths.
const LEGEND: i32 = 142;
const LEGEND_COLUMNS: usize = 3;

const INK: RGBColor = RGBColor(60, 60, 60);
/// Blue, vermilion, green, orange, purple and sky blue of Okabe's and Ito's palette, which the colour-blind can
/// distinguish.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

/// Returns the picture as the text of an SVG file.
pub(crate) fn svg(function: &Function, contours: &[Line], panels: &[Panel]) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    draw(SVGBackend::with_string(&mut text, size(panels)), function, contours, panels)?;
    Ok(text)
}

/// Returns the picture as the bytes of a PNG file.
pub(crate) fn png(function: &Function, contours: &[Line], panels: &[Panel]) -> Result<Vec<u8>, Box<dyn Error>> {
    let (width, height) = size(panels);
    let mut pixels = vec![255; 3 * (width * height) as usize];
    draw(Raster::new(&mut pixels, (width, height))?, function, contours, panels)?;
    raster::encode(&pixels, (width, height))
}

fn size(panels: &[Panel]) -> (u32, u32) {
    (WIDTH, TITLE + PANEL * panels.len().div_ceil(COLUMNS) as u32)
}

fn draw<B>(backend: B, function: &Function, contours: &[Line], panels: &[Panel]) -> Result<(), Box<dyn Error>>
where
    B: DrawingBackend<ErrorType: 'static>,
{
    let root = backend.into_drawing_area();
    root.fill(&WHITE)?;
    let (title, rest) = root.split_vertically(TITLE);
    let steps = panels.iter().flat_map(|(_, runs)| runs).map(|(_, run)| run.path.len() - 1).max().unwrap_or(0);
    let middle = WIDTH as i32 / 2;
    title.draw(&Text::new(format!("{function}, {steps} steps"), (middle, 44), centered(52)))?;
    let [least, most] = function.levels.map(|power| format!("{}", 10f64.powi(power)));
    let key =
        format!("contours from {least} to {most}, two in a decade; a ring around the minimum; a dot where a path ends");
    title.draw(&Text::new(key, (middle, 90), centered(30)))?;
    let rows = panels.len().div_ceil(COLUMNS);
    for (area, panel) in rest.split_evenly((rows, COLUMNS)).iter().zip(panels) {
        draw_panel(area, function, contours, panel)?;
    }
    root.present()?;
    Ok(())
}

fn draw_panel<B>(
    area: &DrawingArea<B, Shift>,
    function: &Function,
    contours: &[Line],
    (title, runs): &Panel,
) -> Result<(), Box<dyn Error>>
where
    B: DrawingBackend<ErrorType: 'static>,
{
    let [x, y] = function.view;
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_top(LEGEND)
        .x_label_area_size(LABELS.1)
        .y_label_area_size(LABELS.0)
        .build_cartesian_2d(x[0]..x[1], y[0]..y[1])?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(8)
        .y_labels(8)
        .label_style(font(30))
        .axis_style(INK.stroke_width(2))
        .draw()?;
    let (width, height) = chart.plotting_area().dim_in_pixel();
    let scale = [f64::from(width) / (x[1] - x[0]), f64::from(height) / (y[1] - y[0])];
    let pieces = |points: &[[f64; 2]], tolerance: f64| -> Vec<Vec<(f64, f64)>> {
        let parts = clip(points, function.view).into_iter();
        parts.map(|part| simplify(&part, scale, tolerance).into_iter().map(|[x, y]| (x, y)).collect()).collect()
    };

    // Lower levels are darker.
    let [least, most] = function.levels.map(f64::from);
    for line in contours {
        let height = (line.level.log10() - least) / (most - least);
        let shade = RGBColor(90, 100, 115).mix(0.75 - 0.5 * height);
        chart.draw_series(
            pieces(&line.points, 0.3).into_iter().map(|part| PathElement::new(part, shade.stroke_width(2))),
        )?;
    }
    // If paths overlap, the lower ones are wider.
    for (i, ((_, run), color)) in runs.iter().zip(COLORS).enumerate() {
        let style = color.stroke_width(10u32.saturating_sub(2 * i as u32).max(3));
        chart.draw_series(pieces(&run.path, 0.7).into_iter().map(|part| PathElement::new(part, style)))?;
    }
    for ((_, run), color) in runs.iter().zip(COLORS) {
        let end = run.path.last().filter(|&&end| function.is_in_view(end));
        chart.draw_series(end.map(|&[x, y]| Circle::new((x, y), 9, color.filled())))?;
    }
    let at = |[x, y]: [f64; 2]| (x, y);
    chart.draw_series([
        Circle::new(at(function.start), 10, WHITE.filled()),
        Circle::new(at(function.start), 10, INK.stroke_width(3)),
        Circle::new(at(function.minimum), 20, BLACK.stroke_width(3)),
    ])?;

    let left = MARGIN + LABELS.0;
    area.draw(&Text::new(*title, (left, 30), font(40)))?;
    for (i, ((name, _), color)) in runs.iter().zip(COLORS).enumerate() {
        let column = width as i32 / LEGEND_COLUMNS as i32 * (i % LEGEND_COLUMNS) as i32;
        let (x, y) = (left + column, 76 + 38 * (i / LEGEND_COLUMNS) as i32);
        area.draw(&PathElement::new([(x, y), (x + 40, y)], color.stroke_width(6)))?;
        area.draw(&Text::new(*name, (x + 52, y), font(30)))?;
    }
    Ok(())
}

fn font(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center))
}

fn centered(size: u32) -> TextStyle<'static> {
    font(size).pos(Pos::new(HPos::Center, VPos::Center))
}
