//! [`Standardizer`]: columns of mean 0 and deviation 1.

use serde::{Deserialize, Serialize};

use crate::Result;

/// Shifts and scales every column: x' = (x − mean) / scale.
///
/// mean and scale are the mean and the population standard deviation (divisor n) of the rows that it was fitted to, which
/// must be the training rows only; scale is 1 where a column is constant.
///
/// # Numerics
/// Sums and the application run in f64; mean, scale and the results are rounded to f32.
///
/// ```
/// use thalweg_nn::data::Standardizer;
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut values = [1.0, 5.0, 3.0, 5.0];
/// let standardizer = Standardizer::fit(&values, 2)?;
/// standardizer.apply(&mut values)?;
/// assert_eq!(values, [-1.0, 0.0, 1.0, 0.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standardizer {
    /// What is subtracted from each column.
    pub mean: Vec<f32>,
    /// What each column is then divided by; never 0.
    pub scale: Vec<f32>,
}

impl Standardizer {
    /// The standardizer of rows of `width` columns, `[rows, width]` row-major.
    ///
    /// # Errors
    /// Where there is no row, or the number of values is not a multiple of the width.
    pub fn fit(values: &[f32], width: usize) -> Result<Self> {
        check_width(values, width)?;
        if values.is_empty() {
            return Err(shape_error("there must be at least one row", values, width));
        }
        let rows = (values.len() / width) as f64;
        let (mut mean, mut scale) = (Vec::with_capacity(width), Vec::with_capacity(width));
        for column in 0..width {
            let cells = || values[column..].iter().step_by(width).map(|value| f64::from(*value));
            let center = cells().sum::<f64>() / rows;
            let deviation = (cells().map(|value| (value - center).powi(2)).sum::<f64>() / rows).sqrt() as f32;
            let constant = cells().all(|value| value == f64::from(values[column]));
            mean.push(center as f32);
            scale.push(if constant || deviation == 0.0 { 1.0 } else { deviation });
        }
        Ok(Self { mean, scale })
    }

    /// The number of columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Standardises rows in place, `[rows, width]` row-major.
    ///
    /// # Errors
    /// Where the number of values is not a multiple of the width.
    pub fn apply(&self, values: &mut [f32]) -> Result<()> {
        self.each(values, |value, mean, scale| (value - mean) / scale)
    }

    /// Undoes [`apply`](Self::apply): x = x' · scale + mean.
    ///
    /// # Errors
    /// Where the number of values is not a multiple of the width.
    pub fn invert(&self, values: &mut [f32]) -> Result<()> {
        self.each(values, |value, mean, scale| value * scale + mean)
    }

    fn each(&self, values: &mut [f32], formula: impl Fn(f64, f64, f64) -> f64) -> Result<()> {
        check_width(values, self.width())?;
        if self.scale.len() != self.mean.len() {
            return Err(shape_error("mean and scale differ in length", &self.mean, self.scale.len()));
        }
        for row in values.chunks_exact_mut(self.width().max(1)) {
            for ((value, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = formula(f64::from(*value), f64::from(*mean), f64::from(*scale)) as f32;
            }
        }
        Ok(())
    }
}

fn check_width(values: &[f32], width: usize) -> Result<()> {
    if width > 0 && values.len().is_multiple_of(width) || values.is_empty() {
        return Ok(());
    }
    Err(shape_error("the number of values is not a multiple of the columns", values, width))
}

fn shape_error(rule: &'static str, values: &[f32], width: usize) -> crate::Error {
    let (left, right) = (vec![values.len()], vec![width]);
    thalweg_tensor::Error::Shape { op: "standardize", rule, left, right }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_get_mean_0_and_deviation_1() {
        let mut values: Vec<f32> = (0..300u32).map(|i| ((i * 7919) % 101) as f32 + 1e4 * (i % 3) as f32).collect();
        let standardizer = Standardizer::fit(&values, 3).unwrap();
        let before = values.clone();
        standardizer.apply(&mut values).unwrap();
        for column in 0..3 {
            let cells: Vec<f64> = values[column..].iter().step_by(3).map(|v| f64::from(*v)).collect();
            let mean = cells.iter().sum::<f64>() / 100.0;
            let variance = cells.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 100.0;
            assert!(mean.abs() < 1e-4 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
        }
        standardizer.invert(&mut values).unwrap();
        for (value, original) in values.iter().zip(&before) {
            assert!((value - original).abs() <= 2e-3, "{value} {original}");
        }
    }

    #[test]
    fn constant_columns_are_only_shifted() {
        let mut values = [0.1; 7];
        let standardizer = Standardizer::fit(&values, 1).unwrap();
        assert_eq!((standardizer.mean[0], standardizer.scale[0]), (0.1, 1.0));
        standardizer.apply(&mut values).unwrap();
        assert_eq!(values, [0.0; 7]);
        assert_eq!(Standardizer::fit(&[0.0, 1e-45], 1).unwrap().scale, [1.0]);
    }

    #[test]
    fn wrong_shapes_are_errors() {
        assert!(Standardizer::fit(&[], 2).is_err() && Standardizer::fit(&[1.0; 3], 2).is_err());
        assert!(Standardizer::fit(&[1.0], 0).is_err());
        let standardizer = Standardizer::fit(&[1.0; 4], 2).unwrap();
        assert!(standardizer.apply(&mut [1.0; 3]).is_err() && standardizer.apply(&mut []).is_ok());
        let broken = Standardizer { mean: vec![0.0; 2], scale: vec![1.0] };
        assert!(broken.apply(&mut [1.0; 2]).is_err());
    }

    #[test]
    fn json_keeps_every_bit() {
        let standardizer = Standardizer { mean: vec![0.1, -1e-42, 3.4e38], scale: vec![1.0 / 3.0, 1e-45, 7.0] };
        let text = serde_json::to_string(&standardizer).unwrap();
        assert_eq!(serde_json::from_str::<Standardizer>(&text).unwrap(), standardizer);
    }
}
