//! A backend of plotters that draws pixels: antialiased lines and circles by their distance, text from a font in the
//! example's folder. The library's own backend has steps in lines wider than one pixel, and uses the fonts of the
//! system.

use std::convert::Infallible;
use std::error::Error;

use ab_glyph::{Font, FontRef, InvalidFont, PxScale, ScaleFont};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind};

use crate::contour::distance;

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// A picture in memory: red, green and blue of each pixel, row by row.
pub(crate) struct Raster<'a> {
    pixels: &'a mut [u8],
    size: (u32, u32),
    font: FontRef<'static>,
}

impl<'a> Raster<'a> {
    pub(crate) fn new(pixels: &'a mut [u8], size: (u32, u32)) -> Result<Self, InvalidFont> {
        Ok(Self { pixels, size, font: FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT)? })
    }

    /// Blends a colour over a pixel by its coverage.
    fn blend(&mut self, x: i64, y: i64, color: BackendColor, coverage: f64) {
        let (width, height) = (i64::from(self.size.0), i64::from(self.size.1));
        if (0..width).contains(&x) && (0..height).contains(&y) {
            let start = 3 * (y * width + x) as usize;
            let alpha = color.alpha * coverage.clamp(0.0, 1.0);
            let (red, green, blue) = color.rgb;
            for (below, above) in self.pixels[start..start + 3].iter_mut().zip([red, green, blue]) {
                *below = (f64::from(*below) + alpha * (f64::from(above) - f64::from(*below))).round() as u8;
            }
        }
    }

    /// Draws the points closer than `reach` to a shape between two corners; `far` is the distance of a point from the
    /// shape.
    fn draw_near(&mut self, corners: [[f64; 2]; 2], reach: f64, color: BackendColor, far: impl Fn([f64; 2]) -> f64) {
        let size = [self.size.0, self.size.1].map(f64::from);
        let [columns, rows] = [0, 1].map(|i| {
            let start = (corners[0][i].min(corners[1][i]) - reach - 1.0).clamp(0.0, size[i]) as i64;
            start..(corners[0][i].max(corners[1][i]) + reach + 2.0).clamp(0.0, size[i]) as i64
        });
        for y in rows {
            for x in columns.clone() {
                self.blend(x, y, color, reach + 0.5 - far([x as f64, y as f64]));
            }
        }
    }
}

impl DrawingBackend for Raster<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        self.blend(x.into(), y.into(), color, 1.0);
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let points: Vec<[f64; 2]> = path.into_iter().map(|(x, y)| [x, y].map(f64::from)).collect();
        let reach = f64::from(style.stroke_width()) / 2.0;
        for (i, pair) in points.windows(2).enumerate() {
            // Pixels of the previous segment are not covered again: this would show in transparent colours.
            let before = i.checked_sub(1).map(|before| (points[before], points[i]));
            self.draw_near([pair[0], pair[1]], reach, style.color(), |point| {
                let here = distance(point, pair[0], pair[1]);
                match before {
                    Some((from, to)) if distance(point, from, to) <= here.min(reach + 0.5) => f64::INFINITY,
                    _ => here,
                }
            });
        }
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, center: BackendCoord, radius: u32, style: &S, fill: bool) -> Drawn {
        let (center, radius) = ([center.0, center.1].map(f64::from), f64::from(radius));
        let width = if fill { 0.0 } else { f64::from(style.stroke_width()) / 2.0 };
        self.draw_near([center, center], radius + width, style.color(), |point| {
            let from_center = distance(point, center, center);
            if fill { from_center } else { (from_center - radius).abs() + radius }
        });
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn {
        let font = self.font.clone();
        // As in the backend for SVG, plotters' size of a text is 1.24 em.
        let em = style.size() as f32 / 1.24;
        let scale = PxScale::from(em * font.height_unscaled() / font.units_per_em().unwrap_or(1000.0));
        let font = font.as_scaled(scale);
        let width: f32 = text.chars().map(|letter| font.h_advance(font.glyph_id(letter))).sum();
        let mut pen = x as f32
            - match style.anchor().h_pos {
                HPos::Left => 0.0,
                HPos::Center => width / 2.0,
                HPos::Right => width,
            };
        let baseline = y as f32
            + match style.anchor().v_pos {
                VPos::Top => font.ascent(),
                VPos::Center => (font.ascent() + font.descent()) / 2.0,
                VPos::Bottom => font.descent(),
            };
        for letter in text.chars() {
            let id = font.glyph_id(letter);
            let glyph = id.with_scale_and_position(scale, ab_glyph::point(pen, baseline));
            pen += font.h_advance(id);
            if let Some(outline) = font.outline_glyph(glyph) {
                let corner = outline.px_bounds().min;
                outline.draw(|column, row, coverage| {
                    let (x, y) = (corner.x as i64 + i64::from(column), corner.y as i64 + i64::from(row));
                    self.blend(x, y, style.color(), coverage.into());
                });
            }
        }
        Ok(())
    }
}

/// Returns the bytes of a PNG file.
pub(crate) fn encode(pixels: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}
