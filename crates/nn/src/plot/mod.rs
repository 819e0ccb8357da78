//! Pictures, as the text of SVG files.

mod range_test;
mod schedule;

pub use schedule::plot_schedule;

use plotters::style::RGBColor;

/// Twice the displayed size of a picture: the library rounds coordinates to whole units.
const SIZE: (u32, u32) = (1280, 720);
const INK: RGBColor = RGBColor(60, 60, 60);
/// Blue of Okabe's and Ito's palette.
const LINE: RGBColor = RGBColor(0, 114, 178);

/// A power of ten as the unit of an axis, so that its largest number has one digit before the point. The library does
/// not terminate for some ranges that are very long or short.
#[derive(Clone, Copy)]
struct Unit {
    exponent: i32,
}

impl Unit {
    fn of(largest: f64) -> Self {
        Self { exponent: if largest > 0.0 { largest.log10().floor() as i32 } else { 0 } }
    }

    fn in_it(self, number: f64) -> f64 {
        // By two factors, because the powers of the smallest numbers have no inverse.
        let half = self.exponent / 2;
        number / 10f64.powi(half) / 10f64.powi(self.exponent - half)
    }

    /// Returns a number in this unit, written with digits if these are few.
    fn label(self, number: f64) -> String {
        let (text, exponent) = if (-3..6).contains(&self.exponent) {
            let decimals = (2 - self.exponent).max(0) as usize;
            (format!("{:.decimals$}", number * 10f64.powi(self.exponent)), String::new())
        } else {
            (format!("{number:.2}"), format!("e{}", self.exponent))
        };
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        if number == 0.0 { "0".to_string() } else { format!("{text}{exponent}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the points of the first line of this colour.
    pub(super) fn polyline(picture: &str, RGBColor(r, g, b): RGBColor) -> Vec<(f64, f64)> {
        let Some((_, rest)) = picture.split_once(&format!("stroke=\"#{r:02X}{g:02X}{b:02X}\"")) else {
            return Vec::new();
        };
        let (points, _) = rest.split_once("points=\"").unwrap().1.split_once('"').unwrap();
        let point = |text: &str| {
            let (x, y) = text.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        points.split_whitespace().map(point).collect()
    }

    #[test]
    fn numbers_are_short() {
        for (value, exponent, text) in [
            (0.0, -9, "0"),
            (5.0, -2, "0.05"),
            (2.5, 0, "2.5"),
            (1.0, 3, "1000"),
            (2.0, 2, "200"),
            (7.5, -4, "7.5e-4"),
            (1.0, 300, "1e300"),
            (1.84, 19, "1.84e19"),
        ] {
            assert_eq!(Unit { exponent }.label(value), text);
        }
    }
}
