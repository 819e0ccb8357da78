//! [`Standardizer`]: columns of mean 0 and deviation 1.

use serde::{Deserialize, Serialize};

use crate::Result;

/// Shifts and scales every column: x' = (x − mean) / scale.
///
/// mean and scale are the mean and the population standard deviation (divisor n) of the fitted rows, which must be the
/// training rows only; scale is 1 for a constant column.
///
/// # Numerics
/// Everything is computed in f64, and x' is rounded to f32 last. So a column may be large and vary little, such as
/// times in seconds, which f32 would merge.
///
/// ```
/// use thalweg_nn::data::Standardizer;
/// # fn main() -> thalweg_nn::Result<()> {
/// let seconds = [1_700_000_001.0, 1_700_000_003.0];
/// let standardizer = Standardizer::fit(&seconds, 1)?;
/// assert_eq!(standardizer.apply(&seconds)?, [-1.0, 1.0]);
/// assert_eq!(standardizer.invert(&[-1.0, 1.0])?, seconds);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standardizer {
    /// The number to subtract from each column.
    pub mean: Vec<f64>,
    /// The divisor of each column after that; never 0.
    pub scale: Vec<f64>,
}

impl Standardizer {
    /// Returns the standardizer of rows of `width` columns, `[rows, width]` row-major.
    ///
    /// # Errors
    /// If there is no row, or the number of values is not a multiple of the width.
    pub fn fit(values: &[f64], width: usize) -> Result<Self> {
        check_width(values.len(), width)?;
        if values.is_empty() {
            return Err(shape_error("there must be at least one row", 0, width));
        }
        let rows = (values.len() / width) as f64;
        let (mut mean, mut scale) = (Vec::with_capacity(width), Vec::with_capacity(width));
        for column in 0..width {
            let cells = || values[column..].iter().step_by(width);
            // Sums of differences lose fewer digits than sums of large numbers, and none in a constant column.
            let first = values[column];
            let center = first + cells().map(|value| value - first).sum::<f64>() / rows;
            let deviation = (cells().map(|value| (value - center).powi(2)).sum::<f64>() / rows).sqrt();
            mean.push(center);
            scale.push(if deviation == 0.0 { 1.0 } else { deviation });
        }
        Ok(Self { mean, scale })
    }

    /// Returns the number of columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Returns standardised rows, `[rows, width]` row-major.
    ///
    /// # Errors
    /// If the number of values is not a multiple of the width.
    pub fn apply(&self, values: &[f64]) -> Result<Vec<f32>> {
        self.check(values.len())?;
        Ok(self.columns(values).map(|(value, mean, scale)| ((value - mean) / scale) as f32).collect())
    }

    /// Returns rows in their original units, the inverse of [`apply`](Self::apply): x = x' · scale + mean.
    ///
    /// # Errors
    /// If the number of values is not a multiple of the width.
    pub fn invert(&self, values: &[f32]) -> Result<Vec<f64>> {
        self.check(values.len())?;
        Ok(self.columns(values).map(|(value, mean, scale)| f64::from(value) * scale + mean).collect())
    }

    /// Returns each value with the mean and scale of its column.
    fn columns<T: Copy>(&self, values: &[T]) -> impl Iterator<Item = (T, f64, f64)> {
        let columns = self.mean.iter().copied().zip(self.scale.iter().copied()).cycle();
        values.iter().copied().zip(columns).map(|(value, (mean, scale))| (value, mean, scale))
    }

    fn check(&self, values: usize) -> Result<()> {
        if self.scale.len() != self.mean.len() {
            return Err(shape_error("mean and scale differ in length", self.mean.len(), self.scale.len()));
        }
        check_width(values, self.width())
    }
}

fn check_width(values: usize, width: usize) -> Result<()> {
    if values == 0 || (width > 0 && values.is_multiple_of(width)) {
        return Ok(());
    }
    Err(shape_error("the number of values is not a multiple of the columns", values, width))
}

fn shape_error(rule: &'static str, left: usize, right: usize) -> crate::Error {
    thalweg_tensor::Error::Shape { op: "standardize", rule, left: vec![left], right: vec![right] }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_get_mean_0_and_deviation_1() {
        let values: Vec<f64> = (0..300u32).map(|i| f64::from(i * 7919 % 101) + 1e9 * f64::from(i % 3)).collect();
        let standardizer = Standardizer::fit(&values, 3).unwrap();
        let standardised = standardizer.apply(&values).unwrap();
        for column in 0..3 {
            let cells: Vec<f64> = standardised[column..].iter().step_by(3).map(|v| f64::from(*v)).collect();
            let mean = cells.iter().sum::<f64>() / 100.0;
            let variance = cells.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 100.0;
            // Each of the numbers, none above 2, is rounded by at most 2^-24 of it.
            assert!(mean.abs() < 2e-7 && (variance - 1.0).abs() < 4e-7, "{mean} {variance}");
        }
        for (value, original) in standardizer.invert(&standardised).unwrap().iter().zip(&values) {
            // The rounding to f32, times a deviation of 29; and one of a number of 2e9 to f64.
            assert!((value - original).abs() <= 29.0 * 1.2e-7 + 5e-7, "{value} {original}");
        }
    }

    #[test]
    fn a_column_far_from_0_keeps_all_its_digits() {
        let near: Vec<f64> = (0..200).map(|i| f64::from(i) + 0.5).collect();
        for offset in [1.7e9, -1.7e12, 1e8] {
            let far: Vec<f64> = near.iter().map(|value| offset + value).collect();
            let scaled = |values: &[f64]| Standardizer::fit(values, 1).unwrap().apply(values).unwrap();
            assert_eq!(scaled(&far), scaled(&near), "{offset}");
        }
    }

    #[test]
    fn constant_columns_are_only_shifted() {
        let values = [0.1; 7];
        let standardizer = Standardizer::fit(&values, 1).unwrap();
        assert_eq!((standardizer.mean[0], standardizer.scale[0]), (0.1, 1.0));
        assert_eq!(standardizer.apply(&values).unwrap(), [0.0; 7]);
        assert_eq!(Standardizer::fit(&[0.0, f64::from_bits(1)], 1).unwrap().scale, [1.0]);
    }

    #[test]
    fn wrong_shapes_are_errors() {
        assert!(Standardizer::fit(&[], 2).is_err() && Standardizer::fit(&[1.0; 3], 2).is_err());
        assert!(Standardizer::fit(&[1.0], 0).is_err());
        let standardizer = Standardizer::fit(&[1.0; 4], 2).unwrap();
        assert!(standardizer.apply(&[1.0; 3]).is_err() && standardizer.apply(&[]).unwrap().is_empty());
        let broken = Standardizer { mean: vec![0.0; 2], scale: vec![1.0] };
        assert!(broken.apply(&[1.0; 2]).is_err());
    }

    #[test]
    fn json_keeps_every_bit() {
        let standardizer = Standardizer { mean: vec![0.1, -1e-310, 1.7e308], scale: vec![1.0 / 3.0, 5e-324, 7.0] };
        let text = serde_json::to_string(&standardizer).unwrap();
        assert_eq!(serde_json::from_str::<Standardizer>(&text).unwrap(), standardizer);
    }
}
