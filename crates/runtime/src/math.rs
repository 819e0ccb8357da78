//! The scalar functions of the kernels, and the order in which a workgroup adds.
//!
//! Twin of `shaders/shared/math.wgsl` and `shaders/shared/tree.wgsl`. The standard library's functions are correct on
//! every platform, so they are used here where the shaders need their own wrappers. Functions that it lacks are
//! computed as in the shaders.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// The lanes of a workgroup.
pub const LANES: usize = 64;

/// Returns the larger one; NaN propagates, as in PyTorch.
#[inline]
#[must_use]
pub fn maximum(x: f32, y: f32) -> f32 {
    if x.is_nan() || x > y { x } else { y }
}

/// Returns the smaller one; NaN propagates.
#[inline]
#[must_use]
pub fn minimum(x: f32, y: f32) -> f32 {
    if x.is_nan() || x < y { x } else { y }
}

/// Returns max(x, 0); NaN propagates.
#[inline]
pub fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// Returns the cotangent where the activation is positive or NaN, as in PyTorch, else 0.
#[inline]
pub fn relu_grad(activation: f32, cotangent: f32) -> f32 {
    if activation <= 0.0 { 0.0 } else { cotangent }
}

/// Returns 1 / (1 + e^-x).
#[inline]
pub fn sigmoid(x: f32) -> f32 {
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// Returns the derivative of the sigmoid, σ(x) σ(-x), which stays accurate far from 0.
#[inline(always)]
pub fn sigmoid_slope(x: f32) -> f32 {
    let e = decaying_exp(-x.abs());
    e / ((1.0 + e) * (1.0 + e))
}

/// Returns e^x for x <= 0, computed from additions and products alone. So a loop over it is vectorized, and it has
/// the same bits as the shader on a GPU that does not contract.
#[inline(always)]
fn decaying_exp(x: f32) -> f32 {
    let n = (x * std::f32::consts::LOG2_E + 0.5).floor();
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let tail = 0.5
        + r * (0.166_666_65 + r * (0.041_665_796 + r * (0.008_333_452 + r * (0.001_398_199_9 + r * 0.000_198_756_92))));
    let half = n as i32 / 2;
    let power_of_two = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
    let result = (1.0 + (r + r * r * tail)) * power_of_two(half) * power_of_two(n as i32 - half);
    if x < -103.972_1 { 0.0 } else { result }
}

/// Returns ln(1 + e^x) without overflow.
#[inline]
pub fn softplus(x: f32) -> f32 {
    maximum(x, 0.0) + (-x.abs()).exp().ln_1p()
}

/// Returns the error function: its Taylor series below 0.5, and 1 - erfc above.
#[inline]
pub fn erf(x: f32) -> f32 {
    let magnitude = minimum(x.abs(), 10.0);
    if magnitude < 0.5 {
        let q = x * x;
        let series = FRAC_2_SQRT_PI
            + q * (-0.376_126_4
                + q * (0.112_837_92 + q * (-0.026_866_17 + q * (0.005_223_977_6 + q * -0.000_854_832_7))));
        return x * series;
    }
    (1.0 - erfc_positive(magnitude)).copysign(x)
}

/// Returns 1 - erf(x) for x >= 0: the Chebyshev fit of Press et al., Numerical Recipes, section 6.2.
fn erfc_positive(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 9] = [
        1.000_023_7,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_204,
        1.488_515_9,
        -0.822_152_2,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x);
    let polynomial = COEFFICIENTS.iter().rev().fold(0.0, |sum, c| sum * t + c) * t - 1.265_512_2;
    t * (-x * x + polynomial).exp()
}

/// Returns 1 - erf(x), accurate in the upper tail as well.
#[inline]
#[must_use]
pub fn erfc(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    if x.abs() < 0.5 {
        return 1.0 - erf(x);
    }
    let tail = erfc_positive(minimum(x.abs(), 20.0));
    if x < 0.0 { 2.0 - tail } else { tail }
}

/// Returns the inverse hyperbolic sine.
#[inline]
#[must_use]
pub fn asinh(x: f32) -> f32 {
    let magnitude = x.abs();
    let result = if magnitude > 1e9 {
        magnitude.ln() + std::f32::consts::LN_2
    } else {
        let square = magnitude * magnitude;
        (magnitude + square / (1.0 + (square + 1.0).sqrt())).ln_1p()
    };
    result.copysign(x)
}

/// Returns the inverse hyperbolic cosine, NaN below 1, accurate near 1.
#[inline]
#[must_use]
pub fn acosh(x: f32) -> f32 {
    if x > 1e9 {
        return x.ln() + std::f32::consts::LN_2;
    }
    if x < 1.0 {
        return f32::NAN;
    }
    let above = x - 1.0;
    (above + (2.0 * above + above * above).sqrt()).ln_1p()
}

/// Returns x - tanh x, by its series near 0.
#[inline]
#[must_use]
pub fn tanhshrink(x: f32) -> f32 {
    if x.is_nan() || x.abs() >= 0.5 {
        return x - x.tanh();
    }
    const COEFFICIENTS: [f32; 7] =
        [0.333_333_34, -0.133_333_33, 0.053_968_254, -0.021_869_488, 0.008_863_235, -0.003_592_128, 0.001_455_834_4];
    let q = x * x;
    x * q * COEFFICIENTS.iter().rev().fold(0.0, |sum, c| sum * q + c)
}

/// Returns x tanh(softplus(x)), with tanh(ln(1 + e)) = e (e + 2) / (e (e + 2) + 2).
#[inline]
#[must_use]
pub fn mish(x: f32) -> f32 {
    let e = (-x.abs()).exp();
    let fraction =
        if x < 0.0 { e * (e + 2.0) / (e * (e + 2.0) + 2.0) } else { (1.0 + 2.0 * e) / (1.0 + 2.0 * e * (1.0 + e)) };
    x * fraction
}

/// Returns the remainder with the sign of y, as Python's `%`.
#[inline]
#[must_use]
pub fn remainder(x: f32, y: f32) -> f32 {
    let rest = x % y;
    if rest.is_nan() || rest == 0.0 || (rest < 0.0) == (y < 0.0) { rest } else { rest + y }
}

/// Returns the distribution function of the standard normal, accurate in the lower tail as well.
#[inline]
pub fn normal_cdf(x: f32) -> f32 {
    let z = x * FRAC_1_SQRT_2;
    if z.is_nan() {
        return z;
    }
    if z.abs() < 0.5 {
        return 0.5 + 0.5 * erf(z);
    }
    let tail = 0.5 * erfc_positive(minimum(z.abs(), 20.0));
    if z < 0.0 { tail } else { 1.0 - tail }
}

/// Returns the density of the standard normal.
#[inline]
pub fn normal_density(x: f32) -> f32 {
    0.398_942_3 * (-0.5 * x * x).exp()
}

/// Returns ln x for positive, normal x, from additions and products alone: the same bits on a GPU that does not
/// contract.
#[inline]
pub fn portable_log(x: f32) -> f32 {
    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    let bits = x.to_bits();
    let mut exponent = (bits >> 23) as f32 - 127.0;
    let mut mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f80_0000);
    if mantissa > std::f32::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1.0;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let q = s * s;
    let log_of_ratio =
        2.0 * s + s * q * (0.666_666_7 + q * (0.4 + q * (0.285_714_3 + q * (0.222_222_22 + q * 0.181_818_18))));
    exponent * 0.693_359_4 + (exponent * -2.121_944_4e-4 + log_of_ratio)
}

/// Returns sine and cosine for |x| <= 8192, from additions and products alone.
#[inline]
pub fn portable_sine_cosine(x: f32) -> (f32, f32) {
    let quarter = (x * std::f32::consts::FRAC_2_PI + 0.5).floor();
    let r = ((x - quarter * 1.570_312_5) - quarter * 4.837_513e-4) - quarter * 7.549_79e-8;
    let q = r * r;
    let s = r + r * q * (-0.166_666_55 + q * (0.008_332_161 + q * -0.000_195_152_96));
    let c = 1.0 - 0.5 * q + q * q * (0.041_666_646 + q * (-0.001_388_731_6 + q * 0.000_024_433_157));
    match quarter as i32 & 3 {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

/// Combines the lanes of a workgroup: halves are folded onto each other.
#[inline]
pub fn tree(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Returns the sum of a row in the order of a workgroup: lane j adds the elements j, j + 64, …, and a tree adds the
/// lanes.
#[inline]
pub fn tree_sum(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for chunk in row.chunks(LANES) {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += term(x);
        }
    }
    tree(lanes, |x, y| x + y)
}

/// Returns the largest element of a row; NaN if it contains one, minus infinity if it is empty.
#[inline]
pub fn row_maximum(row: &[f32]) -> f32 {
    row.iter().fold(f32::NEG_INFINITY, |largest, &x| maximum(largest, x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_function_meets_its_table() {
        // Abramowitz and Stegun, table 7.1.
        for (x, expected) in
            [(0.0, 0.0), (0.1, 0.112_462_92), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.0, 0.995_322_3)]
        {
            approx::assert_relative_eq!(erf(x), expected, max_relative = 4e-7);
            approx::assert_relative_eq!(erf(-x), -expected, max_relative = 4e-7);
        }
        assert!(erf(f32::NAN).is_nan() && normal_cdf(f32::NAN).is_nan());
        assert_eq!((erf(f32::INFINITY), normal_cdf(f32::NEG_INFINITY)), (1.0, 0.0));
    }

    #[test]
    fn portable_functions_are_as_good_as_the_library_s() {
        for i in 1..=1000 {
            let u = i as f32 / 1000.0;
            approx::assert_relative_eq!(portable_log(u), u.ln(), max_relative = 5e-7, epsilon = 1e-9);
            let angle = u * std::f32::consts::TAU;
            let (s, c) = portable_sine_cosine(angle);
            approx::assert_abs_diff_eq!(s, angle.sin(), epsilon = 2e-7);
            approx::assert_abs_diff_eq!(c, angle.cos(), epsilon = 2e-7);
        }
    }

    #[test]
    fn nan_wins_in_maximum_and_minimum() {
        for (x, y) in [(f32::NAN, 1.0), (1.0, f32::NAN)] {
            assert!(maximum(x, y).is_nan() && minimum(x, y).is_nan());
        }
    }
}
