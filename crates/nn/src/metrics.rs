//! Metrics: the quality of predictions as numbers.

/// Returns the share, from 0 to 1, of predicted classes that equal the expected ones. Without rows it is NaN.
///
/// ```
/// assert_eq!(thalweg_nn::metrics::accuracy(&[0, 1, 2, 2], &[0, 1, 1, 2]), 0.75);
/// ```
#[must_use]
pub fn accuracy(predicted: &[u32], expected: &[u32]) -> f64 {
    let right = predicted.iter().zip(expected).filter(|(p, e)| p == e).count();
    right as f64 / expected.len() as f64
}

/// Returns the coefficient of determination, 1 - Σ (y - ŷ)² / Σ (y - ȳ)², averaged over the columns. Returns `None` if
/// a column of expected values is constant, or there is no column. Sums are in f64.
///
/// Both are `[rows, columns]` row-major. The same as scikit-learn's `r2_score`.
///
/// ```
/// assert_eq!(thalweg_nn::metrics::r2(&[1.0, 2.0, 6.0], &[1.0, 2.0, 6.0], 1), Some(1.0));
/// assert_eq!(thalweg_nn::metrics::r2(&[3.0; 3], &[1.0, 2.0, 6.0], 1), Some(0.0));
/// ```
#[must_use]
pub fn r2(predicted: &[f32], expected: &[f32], columns: usize) -> Option<f64> {
    let of_column = |column: usize| {
        let pairs = || predicted.iter().zip(expected).skip(column).step_by(columns);
        let mean = pairs().map(|(_, &y)| f64::from(y)).sum::<f64>() / pairs().count() as f64;
        let residual: f64 = pairs().map(|(&p, &y)| (f64::from(y) - f64::from(p)).powi(2)).sum();
        let total: f64 = pairs().map(|(_, &y)| (f64::from(y) - mean).powi(2)).sum();
        (total > 0.0).then(|| 1.0 - residual / total)
    };
    let each = (0..columns).map(of_column).collect::<Option<Vec<f64>>>()?;
    (columns > 0).then(|| each.iter().sum::<f64>() / columns as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_target_has_no_r2() {
        assert_eq!(r2(&[3.0], &[1.0], 1), None);
        assert_eq!(r2(&[1.0, 3.0, 2.0, 3.0], &[1.0, 5.0, 2.0, 5.0], 2), None);
        assert_eq!(r2(&[], &[], 0), None);
    }
}
