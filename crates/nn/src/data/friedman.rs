//! Friedman's first benchmark function.

use std::f64::consts::{PI, TAU};

use super::shuffle::Words;

/// The number of inputs; the last five do not affect the target.
const INPUTS: usize = 10;

/// Returns samples of Friedman's first benchmark function: inputs, `[rows, 10]` row-major, and targets, `[rows]`.
///
/// y = 10 sin(π x₀ x₁) + 20 (x₂ − ½)² + 10 x₃ + 5 x₄ + noise · z, with x uniform on [0, 1) and z standard normal; x₅ to
/// x₉ do not affect y. Even the exact function reaches no R² above 0.96 at noise 1.
///
/// # Numerics
/// Inputs have 24 random bits. Targets are computed in f64 from these inputs and rounded to f32.
///
/// Source: Friedman: Multivariate adaptive regression splines (Annals of Statistics 19, 1991).
///
/// ```
/// let (inputs, targets) = thalweg_nn::data::friedman1(100, 1.0, 0);
/// assert_eq!((inputs.len(), targets.len()), (1000, 100));
/// ```
#[must_use]
pub fn friedman1(rows: usize, noise: f32, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let mut inputs = Vec::with_capacity(rows * INPUTS);
    let mut targets = Vec::with_capacity(rows);
    for row in 0..rows {
        // A stream for each row, so that a longer table begins with the shorter one.
        let mut words = Words::new(seed, row as u64);
        let x: [f32; INPUTS] = std::array::from_fn(|_| unit_interval(words.next()) as f32);
        // By Box and Muller; 1 − u is in (0, 1], so its logarithm is finite.
        let radius = (-2.0 * (1.0 - unit_interval(words.next())).ln()).sqrt();
        let z = radius * (TAU * unit_interval(words.next())).cos();
        targets.push((friedman1_function(&x.map(f64::from)) + f64::from(noise) * z) as f32);
        inputs.extend(x);
    }
    (inputs, targets)
}

fn friedman1_function(x: &[f64; INPUTS]) -> f64 {
    10.0 * (PI * x[0] * x[1]).sin() + 20.0 * (x[2] - 0.5).powi(2) + 10.0 * x[3] + 5.0 * x[4]
}

/// Returns a word as a number in [0, 1): its upper 24 bits, which an f32 represents exactly.
fn unit_interval(word: u32) -> f64 {
    f64::from(word >> 8) / 16_777_216.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let mut x = [0.5; INPUTS];
        assert!((friedman1_function(&x) - (10.0 * (PI / 4.0).sin() + 7.5)).abs() < 1e-12);
        (x[0], x[1], x[2], x[3], x[4]) = (0.5, 1.0, 0.0, 1.0, 1.0);
        assert!((friedman1_function(&x) - 30.0).abs() < 1e-12);
    }

    #[test]
    fn noise_has_the_asked_deviation_and_inputs_are_uniform() {
        let rows = 10_000;
        let (inputs, exact) = friedman1(rows, 0.0, 5);
        let (same, noisy) = friedman1(rows, 2.0, 5);
        assert_eq!(inputs, same);
        let noise: Vec<f64> = noisy.iter().zip(&exact).map(|(a, b)| f64::from(a - b)).collect();
        let mean = noise.iter().sum::<f64>() / rows as f64;
        let variance = noise.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / rows as f64;
        // Four standard errors: 4 · 2 / 100 of the mean, 4 · 4 √2 / 100 of the variance.
        assert!(mean.abs() < 0.08 && (variance - 4.0).abs() < 0.23, "{mean} {variance}");
        for column in 0..INPUTS {
            let mean = inputs[column..].iter().step_by(INPUTS).map(|x| f64::from(*x)).sum::<f64>() / rows as f64;
            assert!((mean - 0.5).abs() < 4.0 * (1.0f64 / 12.0).sqrt() / 100.0, "{column}: {mean}");
        }
        assert!(inputs.iter().all(|x| (0.0..1.0).contains(x)));
    }

    #[test]
    fn a_longer_table_begins_with_the_shorter() {
        let (short, long) = (friedman1(3, 1.0, 9), friedman1(5, 1.0, 9));
        assert_eq!((&long.0[..30], &long.1[..3]), (&short.0[..], &short.1[..]));
        assert_ne!(friedman1(3, 1.0, 8), short);
    }
}
