//! Initial values that are not independent of each other, and those by the inverse of a distribution function. All are
//! computed in f64, so that they are the same bits on every device.

/// Returns a matrix whose rows, or columns if there are fewer, are orthogonal and of length 1: Q of the QR decomposition
/// of `drawn`, normal numbers, with a positive diagonal of R (Saxe, McClelland, Ganguli, 2014).
pub(super) fn orthogonal(drawn: &[f32], rows: usize, columns: usize) -> Vec<f64> {
    let (count, length) = (rows.min(columns), rows.max(columns));
    let is_tall = rows >= columns;
    let of = |vector: usize, i: usize| if is_tall { i * columns + vector } else { vector * columns + i };
    // The vectors one after the other, each without its part along those before it. Twice is enough.
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(count);
    for vector in 0..count {
        let mut own: Vec<f64> = (0..length).map(|i| f64::from(drawn[of(vector, i)])).collect();
        for _ in 0..2 {
            for other in &basis {
                let along: f64 = own.iter().zip(other).map(|(x, y)| x * y).sum();
                own.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let norm = own.iter().map(|x| x * x).sum::<f64>().sqrt();
        own.iter_mut().for_each(|x| *x /= norm);
        basis.push(own);
    }
    let mut matrix = vec![0.0; rows * columns];
    for (vector, own) in basis.iter().enumerate() {
        for (i, &x) in own.iter().enumerate() {
            matrix[of(vector, i)] = x;
        }
    }
    matrix
}

/// Makes `zeros` elements of each column zero, those with the smallest keys.
pub(super) fn make_sparse(values: &mut [f32], keys: &[f32], columns: usize, zeros: usize) {
    let rows = values.len() / columns;
    let mut order: Vec<usize> = (0..rows).collect();
    for column in 0..columns {
        order.sort_by(|&i, &j| keys[i * columns + column].total_cmp(&keys[j * columns + column]).then(i.cmp(&j)));
        order[..zeros.min(rows)].iter().for_each(|&row| values[row * columns + column] = 0.0);
    }
}

/// Returns the standard normal number below which a share p of all lies, for p in (0, 1).
///
/// Acklam's rational approximation, with a relative error of 1.2e-9.
fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 5] = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0];
    let polynomial = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / polynomial(&D, q)
    };
    if p < 0.02425 {
        tail(p)
    } else if p > 1.0 - 0.02425 {
        -tail(1.0 - p)
    } else {
        let q = p - 0.5;
        q * polynomial(&A, q * q) / polynomial(&B, q * q)
    }
}

/// Returns the share of standard normal numbers below x: the Chebyshev fit of Press et al., Numerical Recipes, section
/// 6.2, with a relative error of 1.2e-7.
fn normal_share(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let z = x.abs() * std::f64::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let polynomial = COEFFICIENTS.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let tail = 0.5 * t * (-z * z + polynomial).exp();
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// Returns the normal number in [low, high] that corresponds to a uniform number in [0, 1).
pub(super) fn truncated_normal(uniform: f64, mean: f64, deviation: f64, low: f64, high: f64) -> f64 {
    let (from, to) = ((low - mean) / deviation, (high - mean) / deviation);
    // Shares are small numbers, and so exact, in the lower tail only.
    let quantile = if from > 0.0 {
        let (from, to) = (normal_share(-to), normal_share(-from));
        -normal_quantile((from + uniform * (to - from)).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON))
    } else {
        let (from, to) = (normal_share(from), normal_share(to));
        normal_quantile((from + uniform * (to - from)).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON))
    };
    (mean + deviation * quantile).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_the_inverse_of_the_share() {
        for x in [-5.0, -3.0, -1.5, -0.3, 0.0, 0.7, 2.0, 3.5] {
            assert!((normal_quantile(normal_share(x)) - x).abs() < 2e-6 * (1.0 + f64::exp(x.max(0.0))), "{x}");
        }
        // A table of the normal distribution.
        assert!((normal_share(1.96) - 0.975_002_1).abs() < 1e-6 && (normal_quantile(0.975) - 1.959_964).abs() < 1e-6);
    }

    #[test]
    fn each_column_loses_the_same_number_of_elements() {
        let mut values = vec![1.0; 12];
        make_sparse(&mut values, &[0.3, 0.9, 0.1, 0.2, 0.2, 0.2, 0.5, 0.1, 0.7, 0.9, 0.9, 0.9], 3, 2);
        assert_eq!(values, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
    }
}
